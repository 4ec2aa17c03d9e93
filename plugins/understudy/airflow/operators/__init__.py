"""The tasks of a night, one module for each kind; operators never import each other."""
