"""The process probe against real processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.probes import Process
from pyflow.probes import process as module
from pyflow.protocols import Probe, Reading


def read(*arguments: Any, **options: Any) -> Reading:
    return asyncio.run(Process(*arguments, **options).read())


def ended() -> int:
    """Return the number of a process that has ended and was collected."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


class TestProcess:
    def test_alive(self) -> None:
        """A process that runs is healthy."""
        assert read(os.getpid()) == Reading("healthy", {"pid": os.getpid()})

    def test_gone(self) -> None:
        """A number that no process has is unhealthy."""
        assert read(ended()).health == "unhealthy"

    @pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
    def test_zombie(self) -> None:
        """A process that has ended but was not collected is unhealthy."""
        child = subprocess.Popen([sys.executable, "-c", ""])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        reading = read(child.pid)

        child.wait()
        assert reading.health == "unhealthy"
        assert "zombie" in reading.evidence["error"]

    def test_foreign(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that we may not signal is alive all the same."""

        def kill(pid: int, number: int) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "kill", kill)

        assert read(os.getpid()).health == "healthy"

    def test_no_proc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where there is no /proc, the signal alone decides."""

        def read_text(path: Path, *_: Any) -> str:
            raise FileNotFoundError

        monkeypatch.setattr(Path, "read_text", read_text)

        assert module._state(os.getpid()) == ""
        assert read(os.getpid()).health == "healthy"

    def test_pidfile(self, tmp_path: Path) -> None:
        """The number in a pidfile is read anew each time."""
        path = tmp_path / "shop.pid"
        probe = Process(pidfile=path)

        path.write_text(f"{os.getpid()}\n", "ascii")
        first = asyncio.run(probe.read())
        path.write_text(f"{ended()}\n", "ascii")
        second = asyncio.run(probe.read())

        assert first == Reading("healthy", {"pidfile": str(path), "pid": os.getpid()})
        assert second.health == "unhealthy"

    @pytest.mark.parametrize(
        "content", [b"", b"shop", b"-1", b"0", b"1.5", b"\xff\xfe", b"\xd9\xa3", b"9" * 30, b"1 2"]
    )
    def test_bad_pidfile(self, tmp_path: Path, content: bytes) -> None:
        """A pidfile that holds no number of a process is unknown."""
        path = tmp_path / "shop.pid"
        path.write_bytes(content)

        reading = read(pidfile=path)

        assert reading.health == "unknown"
        assert "not the number" in reading.evidence["error"]

    def test_missing_pidfile(self, tmp_path: Path) -> None:
        """A pidfile that is missing says nothing about the process."""
        reading = read(pidfile=tmp_path / "none.pid")

        assert reading.health == "unknown"
        assert "No such file" in reading.evidence["error"]

    def test_fifo(self, tmp_path: Path) -> None:
        """A FIFO in the pidfile's place is not waited for."""
        os.mkfifo(tmp_path / "fifo")

        assert read(pidfile=tmp_path / "fifo").health == "unknown"

    def test_is_value(self) -> None:
        """It is a `Probe`, and compares by value."""
        assert isinstance(Process(7), Probe)
        assert Process(7) == Process(pid=7)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({}, "either"),
            ({"pid": 7, "pidfile": "x"}, "either"),
            ({"pid": 0}, "pid=0"),
            ({"pid": -1}, "pid=-1"),
            ({"pid": True}, "pid=True"),
            ({"pid": 2**31}, "pid="),
            ({"pidfile": ""}, "pidfile"),
            ({"pidfile": 7}, "pidfile"),
            ({"pid": 0, "pidfile": ""}, "3 problems"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the probe is made."""
        with pytest.raises(DefinitionError, match=words):
            Process(**options)
