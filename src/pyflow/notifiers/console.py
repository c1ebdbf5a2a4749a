"""Tell whoever watches this program's output."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from pyflow.errors import refuse, shown
from pyflow.messages import FIRST, Attempt, Delivery, delivered, retrying
from pyflow.notifiers._text import line_of, plain

if TYPE_CHECKING:
    from pyflow.messages import Message

__all__ = ["Console"]


@dataclass(frozen=True, slots=True)
class Console:
    """Writes each message to a stream: its title, and its text indented below.

    No control character of a message reaches the stream, so a text from
    outside can neither hide what stands before it nor pass for a command of a
    CI system.

    Raises:
        DefinitionError: *stream* is none.
    """

    stream: TextIO | None = field(default=None, repr=False, hash=False)
    """Where to; standard error as it is when a message comes, unless given."""

    def __post_init__(self) -> None:
        if self.stream is not None and not callable(getattr(self.stream, "write", None)):
            problem = f"stream={shown(self.stream)} is no stream; give one, such as sys.stdout"
            refuse("Console", [problem])

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:  # noqa: ARG002
        """Write *message*."""
        stream = self.stream if self.stream is not None else sys.stderr
        try:
            stream.write(text_of(message))
            stream.flush()
        except (OSError, ValueError) as error:  # closed, full, or nobody reads it
            return retrying(line_of(f"{type(error).__name__}: {error}"))
        return delivered()


def text_of(message: Message) -> str:
    """Return *message* as lines, each but the opening one indented."""
    when = f"{message.at:%H:%M:%S}"
    lines = [f"{when} {message.severity.upper():<8} {line_of(message.title)}"]
    lines += [f"  {line}" for line in plain(message.text).splitlines() if line.strip()]
    lines += [f"  {line_of(words)}: {url}" for words, url in message.links]
    return "".join(f"{line}\n" for line in lines)
