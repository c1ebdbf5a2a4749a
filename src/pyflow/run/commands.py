"""What people ask of a run, on its way to the engine that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast, get_args

from pyflow.errors import EngineError, nearest, shown
from pyflow.record.values import encode
from pyflow.run import inputs as on

if TYPE_CHECKING:
    from pyflow.protocols import JSON

__all__ = ["Message", "asked", "asked_in", "data_of"]


class Message(Protocol):
    """A message from another process."""

    @property
    def id(self) -> str:
        """Its number in the inbox."""
        ...

    @property
    def command(self) -> str:
        """What is asked."""
        ...

    @property
    def task(self) -> str | None:
        """What it is about."""
        ...

    @property
    def by(self) -> str | None:
        """Who asks."""
        ...

    @property
    def reason(self) -> str | None:
        """Why."""
        ...

    @property
    def data(self) -> JSON:
        """What there is besides."""
        ...


def asked(
    command: str,
    *,
    task: str | None = None,
    by: str | None = None,
    reason: str | None = None,
    answer: str | None = None,
    output: Any = None,
    digest: str | None = None,
) -> on.Asked:
    """Return what somebody asks of a run.

    Raises:
        EngineError: That cannot be asked, or something is missing.
    """
    if command not in get_args(on.Asking):
        near = nearest(command, get_args(on.Asking))
        hint = f"; did you mean {near!r}?" if near is not None else ""
        raise EngineError(f"nobody can ask {shown(command)} of a run{hint}")
    if command in ("retry", "skip", "resolve", "approve", "reject") and not task:
        raise EngineError(f"{command} needs the name of what it is about")
    if command in ("promote", "resolve", "approve", "reject") and not by:
        raise EngineError(f"{command} needs by=: who says so")
    if command == "resolve" and answer not in ("applied", "not_applied"):
        raise EngineError(f"resolve(answer={shown(answer)}): say applied or not_applied")
    return on.Asked(
        cast("on.Asking", command),
        by,
        reason,
        task,
        cast("Any", answer),
        encode(output, "output"),
        digest,
    )


def data_of(one: on.Asked) -> JSON:
    """Return what a message says besides its columns."""
    data = {"answer": one.answer, "output": one.output, "digest": one.digest}
    return {key: value for key, value in data.items() if value is not None} or None


def asked_in(message: Message) -> on.Asked:
    """Return what *message* asks."""
    data = message.data if isinstance(message.data, dict) else {}
    return on.Asked(
        cast("on.Asking", message.command),
        message.by,
        message.reason,
        message.task,
        cast("Any", data.get("answer")),
        data.get("output"),
        cast("Any", data.get("digest")),
        message.id,
    )
