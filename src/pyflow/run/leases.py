"""The locks that one run has: taken when it is told to, on every commit, and given back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pyflow.errors import LockError, PyflowError
from pyflow.protocols import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyflow.protocols import Holder, LockManager, LockPolicy
    from pyflow.run.inputs import TakeLocks

__all__ = ["Leases"]

LOG = logging.getLogger("pyflow.locks")


class Leases:
    """What a run holds: its claim to itself, where others could take it up, and resources."""

    def __init__(self, locks: LockManager, run_id: str, claim: Lease | None) -> None:
        self.fences: tuple[Lease, ...] = (claim,) if claim is not None else ()
        """What each commit checks that the run still has."""
        self.refusal: LockError | None = None
        """Why it got no locks, where it got none."""
        self._locks = locks
        self._run_id = run_id
        self._claim = claim
        self._held: dict[str, Lease] = {}

    def left(self) -> tuple[str, ...]:
        """Return the resources that the run barred when it was cut off."""
        return tuple(self._locks.left(self._run_id))

    def check(self, command: TakeLocks) -> None:
        """Look whether waiting could help.

        Raises:
            LockError: It would not.
        """
        refusal = self._locks.refusal(
            command.resources,
            run_id=self._run_id,
            policy=_policy(command),
            had=self._had(command),
        )
        if refusal is not None:
            raise refusal

    async def take(
        self, command: TakeLocks, told: Callable[[Holder], None] | None
    ) -> Sequence[Lease]:
        """Take what is asked for, all of it or nothing, and have commits check it from now on.

        Raises:
            LockError: The run cannot have it; that is kept as `refusal`.
        """
        try:
            leases = await self._locks.acquire(
                self._run_id,
                command.resources,
                policy=_policy(command),
                had=self._had(command),
                told=told,
            )
        except LockError as error:
            self.refusal = error
            raise
        self._held.update({lease.resource: lease for lease in leases})
        self._fence()
        return leases

    def give(self, resources: Iterable[str]) -> None:
        """Give back what is not needed any more; nothing is left there."""
        leases = [self._held.pop(resource) for resource in resources]
        self._fence()
        self._give_back(leases, residue=False)

    def give_all(self, *, residue: bool) -> None:
        """Give back everything, with *residue* where something is left there, and the claim."""
        self._give_back(list(self._held.values()), residue=residue)
        self._give_back([] if self._claim is None else [self._claim], residue=False)

    def give_up_claim(self) -> None:
        """Give back the claim alone: the run was not taken on."""
        if self._claim is not None:
            self._locks.release([self._claim])

    def _give_back(self, leases: Sequence[Lease], *, residue: bool) -> None:
        """Give *leases* back; where that fails, the run goes on, or has ended, all the same."""
        try:
            self._locks.release(leases, residue=residue)
        except PyflowError as error:
            LOG.warning(
                "run %s could not give its locks back, so they stay barred: %s", self._run_id, error
            )

    def _fence(self) -> None:
        if self._claim is not None:
            self.fences = (self._claim, *self._held.values())

    def _had(self, command: TakeLocks) -> list[Lease]:
        return [Lease(resource, self._run_id, epoch) for resource, epoch in command.had]


def _policy(command: TakeLocks) -> LockPolicy:
    """Return what the locks themselves are to do; whom to cancel is not for them to decide."""
    return "fail" if command.policy == "fail" else "wait"
