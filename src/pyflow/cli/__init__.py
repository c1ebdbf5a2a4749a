"""The command line: each command is one call of the Python API. It begins in `pyflow.cli.main`."""
