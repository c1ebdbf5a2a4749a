"""Approvals: questions that people answer before a run goes on."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

from pyflow.frozen import frozen

__all__ = ["ON_EXPIRY", "Approval", "OnExpiry", "answered"]

OnExpiry: TypeAlias = Literal["reject", "approve", "hold"]
"""What a question counts as when nobody has answered it in time."""

ON_EXPIRY: tuple[OnExpiry, ...] = get_args(OnExpiry)


@frozen
class Approval:
    """A question, and who may answer it."""

    question: str
    """What is asked."""

    approvers: tuple[str, ...] | None
    """Who may answer; everybody where None."""

    quorum: int
    """How many different people have to approve."""

    expires_s: float | None
    """How long the question stands, in seconds."""

    on_expiry: OnExpiry
    """What it counts as after that."""

    not_initiator: bool
    """Whether whoever started the run may not approve it."""


def answered() -> dict[str, Any]:
    """Stand where a task has its function; people answer, and nothing is called."""
    raise AssertionError("an approval is not called")
