"""What anybody may ask of a recorded run, from the process that has it or from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pyflow.run.commands import asked

if TYPE_CHECKING:
    from pyflow.run.inputs import Asked

__all__ = ["Asking"]


class Asking:
    """The part of an engine that people ask things of runs with.

    A run under way in this engine answers at once; one of another process
    within a second. Where no engine is alive, the question waits in the journal
    for the next one that takes the run up. What became of it is in the audit
    trail, as a `command_received` that says whether it was accepted, and why not.
    Where a damaged journal keeps a run from hearing it, the log ``pyflow.inbox`` says so.

    Each raises `EngineError` where there is no such run, or it has ended.
    """

    def pause(self, run_id: str, *, by: str, reason: str | None = None) -> None:
        """Have the run start nothing further until `unpause`."""
        self._ask(run_id, asked("pause", by=by, reason=reason))

    def unpause(self, run_id: str, *, by: str, reason: str | None = None) -> None:
        """Have the run go on after `pause`."""
        self._ask(run_id, asked("unpause", by=by, reason=reason))

    def cancel(self, run_id: str, *, by: str, reason: str | None = None) -> None:
        """Have the run end as cancelled; what was done stays done."""
        self._ask(run_id, asked("cancel", by=by, reason=reason))

    def retry(self, run_id: str, task: str, *, by: str, reason: str | None = None) -> None:
        """Decide a hold: have the failed *task* tried once more."""
        self._ask(run_id, asked("retry", task=task, by=by, reason=reason))

    def skip(self, run_id: str, task: str, *, by: str, reason: str | None = None) -> None:
        """Decide a hold, or pass a task or a step over; see `Run.skip`."""
        self._ask(run_id, asked("skip", task=task, by=by, reason=reason))

    def promote(self, run_id: str, *, by: str, reason: str | None = None) -> None:
        """Have the run leave out all that its tasks say a promotion leaves out; see `Run.promote`."""
        self._ask(run_id, asked("promote", by=by, reason=reason))

    def resolve(
        self,
        run_id: str,
        task: str,
        answer: Literal["applied", "not_applied"],
        *,
        by: str,
        output: Any = None,
        reason: str | None = None,
    ) -> None:
        """Say whether the interrupted attempt of *task* took effect; see `Run.resolve`."""
        self._ask(
            run_id,
            asked("resolve", task=task, answer=answer, output=output, by=by, reason=reason),
        )

    def approve(
        self,
        run_id: str,
        name: str,
        *,
        by: str,
        comment: str | None = None,
        digest: str | None = None,
    ) -> None:
        """Answer the question *name* with yes; *digest* binds that to what was seen."""
        self._ask(run_id, asked("approve", task=name, by=by, reason=comment, digest=digest))

    def reject(
        self,
        run_id: str,
        name: str,
        *,
        by: str,
        comment: str | None = None,
        digest: str | None = None,
    ) -> None:
        """Answer the question *name* with no."""
        self._ask(run_id, asked("reject", task=name, by=by, reason=comment, digest=digest))

    def _ask(self, run_id: str, asked: Asked) -> None:
        raise NotImplementedError
