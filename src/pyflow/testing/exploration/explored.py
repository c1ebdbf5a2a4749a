"""`Explored`: one run under faults, as invariants see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.errors import PyflowError
from pyflow.run.state import RunState
from pyflow.testing.errors import counted
from pyflow.testing.exploration.recorder import EngineDied

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pyflow.define.plan import Plan
    from pyflow.record.audit import AuditTrail
    from pyflow.record.events import Event
    from pyflow.record.locks import MemoryLocks
    from pyflow.run.handle import Run
    from pyflow.run.result import Result
    from pyflow.secrets import Redactor
    from pyflow.testing.errors import Waiting
    from pyflow.testing.exploration.recorder import Recorder
    from pyflow.testing.faults import Fault
    from pyflow.testing.stage import StagedCall
    from pyflow.testing.world import Change, World

__all__ = ["Explored", "NotRun"]


class NotRun(PyflowError):
    """The engine died before the run began, so there is nothing to look at."""


class Explored:
    """One run of an exploration, at its end: what went wrong, and what came of it."""

    def __init__(
        self,
        *,
        faults: tuple[Fault, ...],
        status: str,
        plan: Plan,
        world: World,
        before: Mapping[str, Any],
        calls: Sequence[StagedCall],
        authors: Mapping[str, AbstractSet[str | None]],
        placed: Sequence[int],
        recorder: Recorder,
        run: Run | None,
        elapsed_s: float,
        waiting: Sequence[Waiting],
    ) -> None:
        self.faults = faults
        self.status = status
        self.plan = plan
        self.world = world
        self.before = before
        self.after: Mapping[str, Any] = world.facts()
        self._calls = calls
        self.authors = authors
        self.placed = placed
        self.history: Sequence[Change] = tuple(world.history[-len(placed) :] if placed else ())
        self.elapsed_s = elapsed_s
        self.waiting = waiting
        self._recorder = recorder
        self._run = run
        self._state: RunState | None = None
        self.on_look_back: Callable[[], object] | None = None

    def __repr__(self) -> str:
        faults = counted(self.faults, "fault", "faults")
        return f"<Explored {self.status} after {self.elapsed_s:g} s under {faults}>"

    @property
    def id(self) -> str:
        """Id of the run.

        Raises:
            NotRun: The engine died before the run began.
        """
        return self._begun.id

    @property
    def events(self) -> list[Event]:
        """What was recorded, in order."""
        self._look_back()
        return self._recorder.events

    @property
    def calls(self) -> Sequence[StagedCall]:
        """Every call of a function, in order."""
        self._look_back()
        return self._calls

    @property
    def state(self) -> RunState:
        """What became of the tasks.

        Raises:
            NotRun: The engine died before the run began.
        """
        self._look_back()
        return self._known

    @property
    def _known(self) -> RunState:
        if self._state is None:
            self._state = self._begun._driver.state  # noqa: SLF001 - what the engine knows, at no cost
            if self.status == "crashed":  # it knew more than it had recorded, and took that along
                self._state = RunState.replay(self.plan, self._recorder.events)
        return self._state

    @property
    def result(self) -> Result:
        """The run's result.

        Raises:
            NotRun: The engine died before the run began.
        """
        self._look_back()
        return self._begun._result()  # noqa: SLF001

    @property
    def audit_trail(self) -> AuditTrail:
        """The run's audit trail."""
        return self.result.audit_trail

    @property
    def has_begun(self) -> bool:
        """Whether there is a run at all."""
        return self._run is not None

    @property
    def engine_error(self) -> BaseException | None:
        """Why the engine gave the run up, if it did so without having been killed."""
        error = self._run._driver._broken if self._run is not None else None  # noqa: SLF001
        was_killed = error is not None and isinstance(error.__cause__, EngineDied)
        return None if was_killed else error

    @property
    def residue(self) -> tuple[str, ...]:
        """Tasks whose effect is still applied after a rollback, as the run says."""
        outcome = self._known.outcome if self.has_begun else None
        return tuple(outcome.residue or ()) if outcome is not None else ()

    @property
    def locks(self) -> MemoryLocks:
        """The locks of the world."""
        return self.world.locks

    @property
    def redactor(self) -> Redactor:
        """What knows the run's secrets."""
        return self._begun._driver.redactor  # noqa: SLF001

    def is_undone(self, task: str | None) -> bool:
        """Return whether *task* counts as undone."""
        found = self._known.tasks.get(task or "")
        return found is not None and found.status == "undone"

    def _look_back(self) -> None:
        """Have it noted that an invariant looks at how the run got where it is."""
        if self.on_look_back is not None:
            self.on_look_back()

    @property
    def _begun(self) -> Run:
        if self._run is None:
            raise NotRun("the engine died before the run began")
        return self._run
