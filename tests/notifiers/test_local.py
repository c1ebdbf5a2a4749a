"""Console, log and file."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.notifiers import Console, File, Log
from support.notices import message, send, sent


class TestConsole:
    def test_writes(self) -> None:
        """The title stands on one line, and the text below it."""
        stream = io.StringIO()

        found = sent(Console(stream), message("failed"))

        assert found.status == "delivered"
        assert stream.getvalue() == (
            "12:00:00 ERROR    shop to production: failed\n"
            "  Failed: deploy: OSError: no route\n"
            "  Pipeline: https://ci.example/runs/7\n"
        )

    def test_control_characters(self) -> None:
        """No text from outside steers the terminal, or begins a line at its start."""
        stream = io.StringIO()

        sent(Console(stream), message(title="a\x1b[2Jb\r::error::x", text="::set-output\n\x07b"))

        assert "\x1b" not in stream.getvalue()
        assert not any(line.startswith("::") for line in stream.getvalue().splitlines())

    def test_standard_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Unless told otherwise it writes to standard error."""
        sent(Console())

        assert "shop to production: started" in capsys.readouterr().err

    def test_closed(self) -> None:
        """A stream that is closed is no reason to raise."""
        stream = io.StringIO()
        stream.close()

        assert sent(Console(stream)).status == "retrying"


class TestLog:
    @pytest.mark.parametrize(
        ("event", "level"),
        [
            ("started", logging.INFO),
            ("held", logging.WARNING),
            ("failed", logging.ERROR),
            ("undo_failed", logging.CRITICAL),
        ],
    )
    def test_logs(self, caplog: pytest.LogCaptureFixture, event: str, level: int) -> None:
        """A message is one line at the level of its severity, with its id besides."""
        with caplog.at_level(logging.DEBUG, logger="deploys"):
            assert sent(Log("deploys"), message(event)).status == "delivered"

        record: Any = caplog.records[0]
        assert (record.levelno, record.pyflow_event) == (level, event)
        assert record.pyflow_id == message().id
        assert "\n" not in record.getMessage()

    def test_name(self) -> None:
        """A logger's name is text."""
        with pytest.raises(DefinitionError, match="logger="):
            Log("")


class TestFile:
    def test_appends(self, tmp_path: Path) -> None:
        """Each message is a line of JSON, in a file for its owner alone."""
        path = tmp_path / "told.jsonl"

        found = send(File(path), message(), message("failed", title="é\ud800\n"))

        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [one.status for one in found] == ["delivered"] * 2
        assert [line["event"] for line in lines] == ["started", "failed"]
        assert lines[0]["id"] == message().id
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_no_link(self, tmp_path: Path) -> None:
        """A link is not followed."""
        (tmp_path / "target").write_text("")
        (tmp_path / "link").symlink_to(tmp_path / "target")

        assert sent(File(tmp_path / "link")).status == "retrying"
        assert (tmp_path / "target").read_text() == ""

    def test_odd_files(self, tmp_path: Path) -> None:
        """A pipe that nobody reads, a device and a directory that is missing are reported."""
        os.mkfifo(tmp_path / "pipe")

        for path in (tmp_path / "pipe", "/dev/null", tmp_path / "a" / "b", tmp_path):
            found = sent(File(path))
            assert (found.status, found.again) == ("retrying", True)

    def test_path(self) -> None:
        """A path is one."""
        for path in ("", 7, "a\0b"):
            with pytest.raises(DefinitionError, match="path="):
                File(path)  # type: ignore[arg-type]
