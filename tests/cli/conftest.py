"""A command line in a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflow.ci import SYSTEMS
from support.command_line import CommandLine, fresh_modules


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[CommandLine]:
    """The command line, where there is a ``deploy.py`` and no CI system."""
    for variable in ("CI", *(system.marker for system in SYSTEMS)):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    with fresh_modules():
        yield CommandLine(tmp_path, capsys)
