"""An entry point as a process: its variables, its process_runner, its lines and how it ended."""
