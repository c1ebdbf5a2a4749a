"""Ask whether a file is there, says something, and is fresh."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyflow.errors import shown
from pyflow.probes._checks import path_problems, refuse, span_problems, text_problems, unknown
from pyflow.protocols import Reading
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from pyflow.protocols import Clock

__all__ = ["File"]

READ_BYTES_MAX = 1_048_576
SKEW_S = 1.0


@dataclass(frozen=True, slots=True)
class File:
    """Healthy if a regular file is at *path*, holds a text, and is fresh enough.

    Missing, something other than a file, without the text, or too old is
    `unhealthy`. A file that may not be looked at, one that is larger than
    1 MiB and lacks the text so far, and one that was written in the future
    are `unknown`.
    """

    path: str | os.PathLike[str]
    """Where to look. Links are followed."""

    _: KW_ONLY

    contains: str | None = None
    """Text that must be in the file's first 1 MiB, as UTF-8."""

    max_age: Span | None = None
    """The longest time since the file was last written."""

    clock: Clock | None = None
    """What tells the present instant for `max_age`; by default the system, whose
    clock is the one that stamps files."""

    timeout: Span = "5s"
    """Span for the look; a network file system may never answer."""

    def __post_init__(self) -> None:
        problems = [
            *path_problems("path", self.path),
            *text_problems("contains", self.contains),
            *([] if self.max_age is None else span_problems("max_age", self.max_age)),
            *span_problems("timeout", self.timeout),
        ]
        refuse("File", problems)

    async def read(self) -> Reading:
        """Look once, and say what was seen."""
        path = os.fspath(self.path)
        try:
            async with asyncio.timeout(seconds(self.timeout)):
                return await asyncio.to_thread(self._look, {"path": path})
        except TimeoutError:
            return unknown(f"no answer within {seconds(self.timeout):g} s", path=path)

    def _look(self, seen: dict[str, Any]) -> Reading:
        try:
            found = Path(self.path).stat()
            if not stat.S_ISREG(found.st_mode):
                return Reading("unhealthy", {**seen, "error": "it is not a regular file"})
            seen["bytes"] = found.st_size
            stale = self._stale(found.st_mtime, seen)
            return stale or self._searched(found.st_size, seen)
        except (FileNotFoundError, NotADirectoryError):
            return Reading("unhealthy", {**seen, "error": "there is no such file"})
        except OSError as error:
            return unknown(error.strerror or shown(error), **seen)

    def _stale(self, written_s: float, seen: dict[str, Any]) -> Reading | None:
        if self.max_age is None:
            return None
        now_s = time.time() if self.clock is None else self.clock.now().timestamp()
        age_s = seen["age_s"] = round(now_s - written_s, 3)
        if age_s < -SKEW_S:
            return unknown("it was written in the future", **seen)
        if age_s > seconds(self.max_age):
            return Reading("unhealthy", {**seen, "max_age_s": seconds(self.max_age)})
        return None

    def _searched(self, size: int, seen: dict[str, Any]) -> Reading:
        if self.contains is None:
            return Reading("healthy", seen)
        # Without O_NONBLOCK, a FIFO put in the file's place would block for ever.
        with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            found = self.contains.encode() in file.read(READ_BYTES_MAX)
        if found:
            return Reading("healthy", seen)
        if size > READ_BYTES_MAX:
            return unknown(f"the text is not in the first {READ_BYTES_MAX} bytes", **seen)
        return Reading("unhealthy", {**seen, "expected": shown(self.contains)})
