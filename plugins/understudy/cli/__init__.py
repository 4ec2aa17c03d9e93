"""The command line ``understudy``: one module per command, loaded when it is used."""
