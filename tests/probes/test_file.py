"""The file probe against real files."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.probes import File
from pyflow.protocols import Probe, Reading

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return NOW


def read(path: Path, **options: Any) -> Reading:
    return asyncio.run(File(path, **options).read())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ready"
    path.write_text("version 7 is up\n", "utf-8")
    return path


class TestFile:
    def test_there(self, file: Path) -> None:
        """A file that is there is healthy."""
        reading = read(file)

        assert reading == Reading("healthy", {"path": str(file), "bytes": 16})

    def test_missing(self, file: Path) -> None:
        """A file that is missing is unhealthy."""
        assert read(file.parent / "none").health == "unhealthy"
        assert read(file / "below").health == "unhealthy"

    def test_no_file(self, tmp_path: Path) -> None:
        """A directory or a FIFO is no file, and is not waited for."""
        os.mkfifo(tmp_path / "fifo")

        assert read(tmp_path).health == "unhealthy"
        assert read(tmp_path / "fifo", contains="x").health == "unhealthy"

    def test_contains(self, file: Path) -> None:
        """A text is looked for."""
        assert read(file, contains="version 7").health == "healthy"
        assert read(file, contains="version 8").health == "unhealthy"

    def test_large(self, file: Path) -> None:
        """A text that is not in the opening part of a large file may still be further on."""
        file.write_bytes(b"x" * 2**20 + b"needle")

        assert read(file, contains="needle").health == "unknown"
        assert read(file, contains="xxx").health == "healthy"

    @pytest.mark.parametrize(
        ("age_s", "health"), [(0, "healthy"), (60, "healthy"), (61, "unhealthy"), (-60, "unknown")]
    )
    def test_age(self, file: Path, age_s: int, health: str) -> None:
        """A file that is too old is unhealthy; one from the future tells nothing."""
        written_s = NOW.timestamp() - age_s
        os.utime(file, (written_s, written_s))

        reading = read(file, max_age="1m", clock=FixedClock())

        assert reading.health == health
        assert reading.evidence["age_s"] == age_s

    def test_system_clock(self, file: Path) -> None:
        """Without a clock, the system's own is asked."""
        assert read(file, max_age="1h").health == "healthy"

        os.utime(file, (0, 0))

        assert read(file, max_age="1h").health == "unhealthy"

    def test_forbidden(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that may not be looked at is unknown."""

        def stat(path: Path) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "stat", stat)

        reading = read(file)

        assert reading.health == "unknown"
        assert reading.evidence["error"] == "Permission denied"

    def test_hangs(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file system that never answers is unknown."""
        gone_on = threading.Event()
        monkeypatch.setattr(File, "_look", lambda *_: gone_on.wait(5))

        async def run() -> Reading:
            reading = await File(file, timeout=0.05).read()
            gone_on.set()
            return reading

        assert asyncio.run(run()).health == "unknown"

    def test_is_value(self) -> None:
        """It is a `Probe`, and compares by value."""
        assert isinstance(File("x"), Probe)
        assert File("x") == File("x")

    @pytest.mark.parametrize(
        ("path", "options", "words"),
        [
            ("", {}, "path"),
            (None, {}, "path"),
            (b"x", {}, "path"),
            ("a\0b", {}, "path"),
            ("x", {"contains": ""}, "contains"),
            ("x", {"max_age": 0}, "max_age"),
            ("x", {"timeout": "never"}, "timeout"),
            ("", {"contains": 7, "max_age": -1, "timeout": 0}, "4 problems"),
        ],
    )
    def test_refuses(self, path: Any, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the probe is made."""
        with pytest.raises(DefinitionError, match=words):
            File(path, **options)
