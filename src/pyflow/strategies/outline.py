"""`RolloutWorkflow`: the workflow of a rollout, which also says what its tasks are for.

A plan knows what waits for what, for how long at most, and what has an undo.
What it cannot know is which task gives the new version how much of whose
traffic, and which probes stand behind a check. Whoever adds such a task notes
that beside it, so a report needs to know no strategy.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.analysis.checks.base import Check as AnalysisCheck
from pyflow.define.workflow import Workflow
from pyflow.errors import shown
from pyflow.frozen import frozen
from pyflow.protocols import Probe
from pyflow.strategies.reckoning import reckoned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.spans import Span
    from pyflow.strategies.report import Report

__all__ = ["Kind", "Note", "RolloutWorkflow", "described"]

Kind: TypeAlias = Literal[
    "look", "deploy", "shift", "bake", "check", "approve", "keep", "retire", "change", "task"
]
"""What a task of a rollout is: `look`, `check` and `approve` can stop it; `shift`
moves traffic; `keep` and `retire` come last, and give up the instant way back."""


@frozen
class Note:
    """What a task of a rollout is for."""

    kind: Kind
    """What it is."""

    what: str
    """What it does, in words."""

    service: str = ""
    """The service that it is about; empty for a task about all of them."""

    weight_pct: float | None = None
    """The share of that service's traffic that the new version gets by it; None moves nothing."""

    span_s: float = 0.0
    """How long it takes where all is well, in seconds; that of a `deploy` is not known."""

    checks: tuple[str, ...] = ()
    """The probes and checks behind it, as they show themselves."""

    way_back: str = ""
    """What its undo does, in words."""


class RolloutWorkflow(Workflow):
    """A `Workflow` that a strategy has made; it can report what it risks before it runs."""

    @cached_property
    def notes(self) -> dict[str, Note]:
        """What was noted beside the tasks, by their names."""
        return {}

    def take_over(self, other: RolloutWorkflow, *, prefix: str) -> None:
        """Take over the notes of *other*, which was included under *prefix*."""
        self.notes.update({f"{prefix}.{name}": note for name, note in other.notes.items()})

    def report(
        self, *, traffic: float | Mapping[str, float] | None = None, startup: Span = 0
    ) -> Report:
        """Return what this rollout does and risks, before anything runs.

        Requests are weight x rate x time. Those that are expected go by what
        is known: bakes, measurements and *startup*. Those at most go by the
        limits of every task. What has no limit is not in them: a question that
        does not expire is said to have none, and a run that is held, or whose
        process is gone, keeps the weights that it has.

        Args:
            traffic: Requests a second, of each service: one figure, or one by
                the name of the service. Without it, requests are unknown.
            startup: How long instances are expected to take to become ready.

        Raises:
            DefinitionError: The workflow cannot be run, or an argument makes no sense.
        """
        return reckoned(self.check(), self.notes, traffic=traffic, startup=startup)


def described(check: object) -> str:
    """Return what *check* is, in a few words: what it is called, or how it shows itself."""
    if isinstance(check, AnalysisCheck):
        return str(check.name)
    if isinstance(check, Probe):
        return shown(check)
    return str(getattr(check, "__name__", None) or shown(check))
