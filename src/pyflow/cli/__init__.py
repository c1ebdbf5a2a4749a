"""The command line: each command is one call of the Python API."""

from __future__ import annotations

from pyflow.cli.main import main

__all__ = ["main"]
