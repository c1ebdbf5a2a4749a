"""Ask whether a process is alive on this machine."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from pyflow.errors import shown
from pyflow.probes._checks import count_problems, excerpt, path_problems, refuse, unknown
from pyflow.protocols import Reading

__all__ = ["Process"]

PID_MAX = 2**31 - 1
PIDFILE_BYTES_MAX = 64


@dataclass(frozen=True, slots=True)
class Process:
    """Healthy if the process of that number, or of that pidfile, is alive.

    A number that no process has is `unhealthy`, and so is a zombie, which has
    ended and waits to be collected (proc(5), state Z). A process that we may
    not signal is alive all the same (kill(2), EPERM). A pidfile that is
    missing, unreadable or holds no number is `unknown`: it says nothing about
    the process. Numbers are used again, so a stale pidfile may name a
    stranger; ask the service itself where you can.
    """

    pid: int | None = None
    """The number of the process."""

    _: KW_ONLY

    pidfile: str | os.PathLike[str] | None = None
    """The file that holds the number, read anew each time."""

    def __post_init__(self) -> None:
        problems: list[str] = []
        if (self.pid is None) == (self.pidfile is None):
            problems.append("give either a pid or pidfile=, as in Process(pidfile='/run/shop.pid')")
        if self.pid is not None:
            problems += count_problems("pid", self.pid, least=1, most=PID_MAX)
        if self.pidfile is not None:
            problems += path_problems("pidfile", self.pidfile)
        refuse("Process", problems)

    async def read(self) -> Reading:
        """Look once, and say what was seen."""
        if self.pidfile is None:
            assert self.pid is not None
            return _looked_up(self.pid, {})
        seen = {"pidfile": os.fspath(self.pidfile)}
        try:
            pid = _pid_in(self.pidfile)
        except OSError as error:
            return unknown(error.strerror or shown(error), **seen)
        except ValueError as error:
            return unknown(str(error), **seen)
        return _looked_up(pid, seen)


def _pid_in(pidfile: str | os.PathLike[str]) -> int:
    # Without O_NONBLOCK, a FIFO in the pidfile's place would block for ever.
    with os.fdopen(os.open(pidfile, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        text = file.read(PIDFILE_BYTES_MAX).decode("ascii", "backslashreplace").strip()
    if not text.isdecimal() or not 0 < int(text) <= PID_MAX:
        raise ValueError(f"{excerpt(text)!r} is not the number of a process")
    return int(text)


def _looked_up(pid: int, seen: dict[str, str]) -> Reading:
    evidence = {**seen, "pid": pid}
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return Reading("unhealthy", {**evidence, "error": "there is no such process"})
    except PermissionError:
        pass
    if _state(pid) in {"Z", "X"}:
        return Reading("unhealthy", {**evidence, "error": "it has ended and is a zombie"})
    return Reading("healthy", evidence)


def _state(pid: int) -> str:
    """Return the state letter of proc(5), or nothing where there is no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "backslashreplace")
    except OSError:
        return ""
    # The name before it stands in parentheses and may itself hold any character.
    return text.rpartition(")")[2].split()[0]
