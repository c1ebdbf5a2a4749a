"""Where words go: what was asked for to stdout, what is told on the way to stderr.

With ``--json`` stdout holds one JSON document and nothing else: what tasks
and their programs print goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

__all__ = ["SCHEMA", "Answer", "Output"]

SCHEMA = "pyflow.cli/1"
"""The version of the JSON documents: fields may be added within one, never changed or taken out."""

COLOURS = (
    (("succeeded", "ok", "yes"), "32"),
    (("failed", "rollback_failed", "no"), "31"),
    (("rolled_back", "held", "paused", "cancelled"), "33"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to."""

    data: Mapping[str, Any]
    """For programs: the command's own fields of the JSON document."""

    text: str
    """For people."""

    code: int = 0
    """The exit code."""

    told: bool = False
    """Whether *text* is news, for stderr; otherwise it is what was asked for, for stdout."""

    problem: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What went wrong, where something did: type, message and next step."""


class Output:
    """Writes what a command says.

    Args:
        command: Its name.
        wants_json: Whether programs read it.
        quiet: Whether to say only what was asked for, and errors.
        environ: Where ``NO_COLOR`` and ``TERM`` are looked up.
    """

    def __init__(
        self, command: str, *, wants_json: bool, quiet: bool, environ: Mapping[str, str]
    ) -> None:
        self.command = command
        self.wants_json = wants_json
        self.quiet = quiet
        self.environ = environ
        self._plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"

    def tell(self, text: str) -> None:
        """Say something on the way, to people."""
        if not self.quiet:
            _write(sys.stderr, text)

    def give(self, answer: Answer) -> None:
        """Give the *answer*: as JSON to programs, as text to people."""
        if self.wants_json:
            document = {
                "schema": SCHEMA,
                "command": self.command,
                "exit_code": answer.code,
                **answer.data,
            }
            if answer.problem:
                document["error"] = dict(answer.problem)
            _write(sys.stdout, json.dumps(document, ensure_ascii=True, indent=1))
        if not self.wants_json and not answer.told and answer.text:
            _write(sys.stdout, answer.text)
        elif (answer.told and not self.quiet) or answer.problem:
            _write(sys.stderr, answer.text)

    def pour(self, pieces: Iterable[str]) -> None:
        """Write *pieces* to stdout as they come, in UTF-8: they are a file for programs."""
        stream: Any = getattr(sys.stdout, "buffer", None)
        for piece in pieces:
            if stream is None:  # something that stands in for stdout, and takes text alone
                sys.stdout.write(piece)
            else:
                stream.write(piece.encode())
        sys.stdout.flush()

    def painted(self, word: str, stream: TextIO | None = None) -> str:
        """Return *word* in the colour of what it means, on a terminal that has colours."""
        stream = sys.stdout if stream is None else stream
        code = next((code for words, code in COLOURS if word in words), None)
        if code is None or self._plain or stream is None or not stream.isatty():
            return word
        return f"\033[{code}m{word}\033[0m"

    @contextlib.contextmanager
    def guarded(self) -> Generator[None]:
        """Keep stdout for the document while others may print."""
        if not self.wants_json:
            yield
            return
        sys.stdout.flush()
        with contextlib.redirect_stdout(sys.stderr), _descriptor_kept():
            yield


@contextlib.contextmanager
def _descriptor_kept() -> Generator[None]:
    """Lead what programs write to descriptor 1 to stderr, where both are those of the process."""
    try:
        out, err = sys.__stdout__.fileno(), sys.__stderr__.fileno()  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):  # closed, or not of this process
        yield
        return
    kept = os.dup(out)
    os.dup2(err, out)
    try:
        yield
    finally:
        os.dup2(kept, out)
        os.close(kept)


def _write(stream: TextIO, text: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    safe = text.encode(encoding, "backslashreplace").decode(encoding)
    stream.write(safe + "\n")
    stream.flush()
