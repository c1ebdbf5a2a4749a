"""Locks that live as long as their process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyflow.errors import LockError, LockHeld, LockMoved, RunAlive
from pyflow.protocols import Holder, Lease
from pyflow.record.refusals import (
    alive_text,
    held_text,
    in_line_text,
    moved_text,
    residue_text,
    unfinished_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pyflow.protocols import LockPolicy

__all__ = ["MemoryLocks"]


@dataclass(frozen=True, slots=True)
class _Left:
    """A lock that nobody holds and that is not free."""

    lease: Lease
    """What its last run had."""

    since: datetime | None
    """Since when it is so."""

    residue: bool
    """Whether the run gave it back so; else its holder died."""


@dataclass(eq=False, slots=True)
class _Place:
    """One who wants some resources: it keeps its turn while futures come and go."""

    run_id: str
    wanted: list[str]
    had: Sequence[Lease]
    told: Callable[[Holder], None] | None
    turn: asyncio.Future[None] = field(init=False)

    def tell(self, holder: Holder) -> None:
        """Have whoever waits hear of *holder*, where they listen; from any thread."""
        if self.told is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.turn.get_loop().call_soon_threadsafe(self.told, holder)


class MemoryLocks:
    """Lets one run of this process at a time touch a resource.

    Resources are taken all or none, and those who wait are served in the
    order in which they came. A resource where a run left residue is not
    free: only that run may take it, until somebody breaks the lock.

    Args:
        now: Tells the instants that errors name; they name none without it.
    """

    def __init__(self, *, now: Callable[[], datetime | None] | None = None) -> None:
        self._now: Callable[[], datetime | None] = now if now is not None else _nobody_knows
        self._guard = threading.Lock()
        self._held: dict[str, Lease] = {}
        self._since: dict[str, datetime | None] = {}
        self._epochs: dict[str, int] = {}
        self._left: dict[str, _Left] = {}
        self._waiting: dict[object, _Place] = {}

    def __repr__(self) -> str:
        return f"<MemoryLocks held={len(self._held)} waiting={len(self._waiting)}>"

    async def acquire(
        self,
        run_id: str,
        resources: Sequence[str],
        /,
        *,
        policy: LockPolicy = "wait",
        had: Sequence[Lease] = (),
        told: Callable[[Holder], None] | None = None,
    ) -> list[Lease]:
        """Wait until every one of *resources* is free, and take them all, in sorted order.

        *had* is what the run says that it has had of them, and *told* hears of
        everybody who has one of them while this waits.

        Raises:
            LockHeld: Another run has one of them, and *policy* is ``fail``.
            LockMoved: Somebody broke or took one that the run has had.
            RunAlive: *run_id* has one of them already.
            LockError: Another run left residue on one of them, or died there.
        """
        place = _Place(run_id, sorted(set(resources)), had, told)
        try:
            while True:
                with self._guard:
                    if self._may_take(place, policy):
                        return self._take(run_id, place.wanted)
                    self._wait_in_line(place)
                await place.turn
        finally:
            with self._guard:
                if self._waiting.pop(place, None) is not None:
                    self._wake()

    def release(self, leases: Sequence[Lease], /, *, residue: bool = False) -> None:
        """Give *leases* back; with *residue*, so that nobody takes them unawares."""
        with self._guard:
            for lease in leases:
                if self._held.get(lease.resource) == lease:
                    del self._held[lease.resource]
                    if residue:
                        self._left[lease.resource] = _Left(lease, self._now(), residue=True)
            self._wake()

    def break_lock(self, resource: str, /) -> int:
        """Free *resource* whatever its state, and return its new epoch; the old lease is void."""
        with self._guard:
            self._held.pop(resource, None)
            self._left.pop(resource, None)
            self._epochs[resource] = self._epochs.get(resource, 0) + 1
            self._wake()
            return self._epochs[resource]

    def refusal(
        self,
        resources: Sequence[str],
        /,
        *,
        run_id: str | None = None,
        policy: LockPolicy = "wait",
        had: Sequence[Lease] = (),
    ) -> LockError | None:
        """Return what `acquire` would raise as things are, or None where it would take or wait."""
        with self._guard:
            try:
                self._check(resources, run_id, had)
                if policy == "fail" and self._in_the_way(self._contested(resources), None):
                    return self._taken(resources)
            except LockError as error:
                return error
        return None

    def left(self, run_id: str, /) -> list[str]:
        """Return, in sorted order, what only *run_id* may take: it died there, or left residue."""
        with self._guard:
            return sorted(r for r, left in self._left.items() if left.lease.run_id == run_id)

    def holder(self, resource: str, /) -> Holder | None:
        """Return who holds *resource*, or None where nobody does."""
        left = self._left.get(resource)
        if left is not None and not left.residue:
            return self._holder(left.lease, is_alive=False)
        lease = self._held.get(resource)
        return self._holder(lease, is_alive=True) if lease is not None else None

    def orphan(self) -> None:
        """Let every holder count as dead from now on, as if its process had been killed."""
        with self._guard:
            for lease in self._held.values():
                self._left[lease.resource] = _Left(lease, self._now(), residue=False)
            self._held.clear()
            self._wake()

    def copy(self) -> MemoryLocks:
        """Return locks in the same state, for which nobody waits."""
        copied = MemoryLocks(now=self._now)
        with self._guard:
            copied._held.update(self._held)
            copied._since.update(self._since)
            copied._epochs.update(self._epochs)
            copied._left.update(self._left)
        return copied

    def _may_take(self, place: _Place, policy: LockPolicy) -> bool:
        """Return whether it is the turn of *place*; it may wait if not.

        Raises:
            LockError: It can neither take nor wait.
        """
        self._check(place.wanted, place.run_id, place.had)
        if not self._in_the_way(self._contested(place.wanted), place):
            return True
        if policy == "fail":
            raise self._taken(place.wanted)
        return False

    def _wait_in_line(self, place: _Place) -> None:
        place.turn = asyncio.get_running_loop().create_future()
        if place not in self._waiting:
            for resource in place.wanted:
                lease = self._held.get(resource)
                if lease is not None:
                    place.tell(self._holder(lease, is_alive=True))
        self._waiting[place] = place

    def _check(self, resources: Sequence[str], run_id: str | None, had: Sequence[Lease]) -> None:
        for lease in had:
            if lease.resource in resources:
                self._check_still(lease)
        for resource in resources:
            left = self._left.get(resource)
            if left is not None and left.lease.run_id != run_id:
                raise LockError(self._why_left(left))
            lease = self._held.get(resource)
            if lease is not None and lease.run_id == run_id:
                holder = self._holder(lease, is_alive=True)
                raise RunAlive(alive_text(holder, now=self._now()), holder=holder)

    def _check_still(self, had: Lease) -> None:
        """Make sure that nobody else has had what a run has *had*; locks made anew know of nobody."""
        epoch, left = self._epochs.get(had.resource), self._left.get(had.resource)
        last = self._held.get(had.resource) or (left.lease if left is not None else None)
        if epoch in (None, had.epoch) or (last is not None and last.run_id == had.run_id):
            return
        text = moved_text(had, epoch, last.run_id if last is not None else None)
        raise LockMoved(text, lease=had, epoch=epoch)

    def _why_left(self, left: _Left) -> str:
        if not left.residue:
            return unfinished_text(self._holder(left.lease, is_alive=False), now=self._now())
        resource, run_id = left.lease.resource, left.lease.run_id
        return residue_text(resource, run_id, since=left.since, now=self._now())

    def _taken(self, resources: Sequence[str]) -> LockHeld:
        """Return the error for whoever does not want to wait for *resources*."""
        for resource in resources:
            lease = self._held.get(resource)
            if lease is not None:
                holder = self._holder(lease, is_alive=True)
                return LockHeld(held_text(holder, now=self._now()), holder=holder)
        shared = ((s, place.run_id) for place in self._waiting.values() for s in place.wanted)
        return LockHeld(next(in_line_text(s, r) for s, r in shared if s in resources))

    def _holder(self, lease: Lease, *, is_alive: bool) -> Holder:
        since = self._since.get(lease.resource)
        return Holder(lease, is_alive, os.uname().nodename, os.getpid(), since)

    def _contested(self, resources: Sequence[str]) -> list[str]:
        """Return those that somebody else could take; what a run has left is its own to take."""
        return [resource for resource in resources if resource not in self._left]

    def _in_the_way(self, resources: Sequence[str], place: object) -> bool:
        if any(resource in self._held for resource in resources):
            return True
        for key, other in self._waiting.items():
            if key is place:
                return False
            if not other.turn.get_loop().is_closed() and not set(other.wanted).isdisjoint(
                resources
            ):
                return True  # somebody came earlier
        return False

    def _take(self, run_id: str, resources: Sequence[str]) -> list[Lease]:
        leases: list[Lease] = []
        for resource in resources:
            self._left.pop(resource, None)
            self._epochs[resource] = self._epochs.get(resource, 0) + 1
            self._held[resource] = Lease(resource, run_id, self._epochs[resource])
            self._since[resource] = self._now()
            leases.append(self._held[resource])
            for other in self._waiting.values():
                if resource in other.wanted and other.run_id != run_id:
                    other.tell(self._holder(leases[-1], is_alive=True))
        return leases

    def _wake(self) -> None:
        """Have those look again who may go on now: nobody who holds or came earlier is in the way."""
        taken = set(self._held)
        for place in self._waiting.values():
            loop, wanted = place.turn.get_loop(), place.wanted
            barred = not self._left.keys().isdisjoint(wanted)
            if barred or place.had or taken.isdisjoint(wanted):
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(_done, place.turn)
            if not loop.is_closed():
                taken.update(wanted)


def _nobody_knows() -> None:
    return None


def _done(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
