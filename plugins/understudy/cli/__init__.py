"""The commands of the console script ``understudy``: one module each, thin faces of the package."""
