"""How long something took, without what this machine had no processor for.

A deadline is kept to a quarter of a second, which is less than a busy machine
may have a thread wait for its turn. The kernel counts those waits, so they can
be taken out, and nothing else.
"""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["now"]

SCHEDSTAT = Path("/proc/thread-self/schedstat")
"""Of this thread, in nanoseconds: the time on a processor, that in line for one, and the turns."""


def now() -> float:
    """Return an instant in seconds; it stands still while this thread waits for a processor."""
    return time.monotonic() - _in_line_s()


def _in_line_s() -> float:
    try:
        return int(SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, IndexError):  # another kernel
        return 0.0
