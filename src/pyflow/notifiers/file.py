"""Tell a file, one line of JSON for each message."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pyflow.errors import shown
from pyflow.messages import FIRST, Attempt, Delivery, delivered, retrying
from pyflow.notifiers._aside import aside
from pyflow.notifiers._checks import refuse
from pyflow.notifiers._http import encoded
from pyflow.notifiers._text import line_of

if TYPE_CHECKING:
    from pyflow.messages import Message

__all__ = ["File"]


@dataclass(frozen=True, slots=True)
class File:
    """Appends each message to a file of JSON lines, which its owner alone may read.

    A line is written in one piece, so several programs may share the file. It
    is not followed if it is a link, and not waited for if it is a pipe.
    """

    path: str | os.PathLike[str]
    """The file; its directory has to be there."""

    def __post_init__(self) -> None:
        refuse("File", _path_problems(self.path))

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        """Append *message*."""
        line = encoded(_data_of(message)) + b"\n"
        try:
            await aside(lambda: self._append(line), timeout_s=attempt.timeout_s)
        except OSError as error:  # a timeout is one as well
            return retrying(line_of(f"{type(error).__name__}: {error}"))
        return delivered()

    def _append(self, line: bytes) -> None:
        flags = (
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        )
        descriptor = os.open(self.path, flags, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{os.fspath(self.path)} is no regular file")
            if os.write(descriptor, line) != len(line):
                raise OSError(f"{os.fspath(self.path)} took only a part of the line")
        finally:
            os.close(descriptor)


def _data_of(message: Message) -> dict[str, object]:
    return {
        "id": message.id,
        "at": message.at.isoformat(),
        "event": message.event,
        "severity": message.severity,
        "title": message.title,
        "text": message.text,
        "run": message.run.id,
        "workflow": message.run.workflow,
        "environment": message.run.environment,
        "status": message.run.status,
        "fields": dict(message.fields),
        "links": dict(message.links),
    }


def _path_problems(path: object) -> list[str]:
    if isinstance(path, os.PathLike) or (isinstance(path, str) and path and "\0" not in path):
        return []
    return [f"path={shown(cast('object', path))} must be a path as text or pathlib.Path"]
