"""The environments in which projects run: each built once per content, and kept."""
