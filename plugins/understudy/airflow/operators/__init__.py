"""The tasks of a night but its steps, one module for each kind; they never import each other."""
