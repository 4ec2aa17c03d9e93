"""An entry point as a process: its variables, its supervisor, its lines and how it ended."""
