"""Locks that live as long as their process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from pyflow.errors import LockError
from pyflow.protocols import Lease

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MemoryLocks"]


class MemoryLocks:
    """Lets one run of this process at a time touch a resource.

    Resources are taken all or none, and those who wait are served in the
    order in which they came. A resource where a run left residue is not
    free: only that run may take it, until somebody breaks the lock.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[str, Lease] = {}
        self._epochs: dict[str, int] = {}
        self._spoiled: dict[str, str] = {}
        self._waiting: dict[object, tuple[asyncio.Future[None], list[str]]] = {}

    def __repr__(self) -> str:
        return f"<MemoryLocks held={len(self._held)} waiting={len(self._waiting)}>"

    async def acquire(self, run_id: str, resources: Sequence[str], /) -> list[Lease]:
        """Wait until every one of *resources* is free, and take them all, in sorted order.

        Raises:
            LockError: Another run left residue on one of them.
        """
        wanted = sorted(set(resources))
        place = object()  # keeps its turn while futures come and go
        try:
            while True:
                with self._guard:
                    refusal = self.refusal(wanted, run_id=run_id)
                    if refusal is not None:
                        raise LockError(refusal)
                    if not self._in_the_way(wanted, place):
                        return self._take(run_id, wanted)
                    turn = asyncio.get_running_loop().create_future()
                    self._waiting[place] = (turn, wanted)
                await turn
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
                        self._spoiled[lease.resource] = lease.run_id
            self._wake()

    def break_lock(self, resource: str, /) -> int:
        """Free *resource* whatever its state, and return its new epoch; the old lease is void."""
        with self._guard:
            self._held.pop(resource, None)
            self._spoiled.pop(resource, None)
            self._epochs[resource] = self._epochs.get(resource, 0) + 1
            self._wake()
            return self._epochs[resource]

    def refusal(self, resources: Sequence[str], /, *, run_id: str | None = None) -> str | None:
        """Return why *run_id* cannot even wait for one of *resources*, or None."""
        for resource in resources:
            if self._spoiled.get(resource, run_id) != run_id:
                return (
                    f"{resource!r} is not free: run {self._spoiled[resource]} left residue there; "
                    "clean up, then engine.break_lock(resource, by=..., reason=...)"
                )
        return None

    def _in_the_way(self, resources: Sequence[str], place: object) -> bool:
        if any(resource in self._held for resource in resources):
            return True
        for other, (turn, wanted) in self._waiting.items():
            if other is place:
                return False
            if not turn.get_loop().is_closed() and not set(wanted).isdisjoint(resources):
                return True  # somebody came earlier
        return False

    def _take(self, run_id: str, resources: Sequence[str]) -> list[Lease]:
        leases: list[Lease] = []
        for resource in resources:
            self._spoiled.pop(resource, None)
            self._epochs[resource] = self._epochs.get(resource, 0) + 1
            self._held[resource] = Lease(resource, run_id, self._epochs[resource])
            leases.append(self._held[resource])
        return leases

    def _wake(self) -> None:
        """Have those look again who may go on now: nobody who holds or came earlier is in the way."""
        taken = set(self._held)
        for turn, wanted in self._waiting.values():
            loop = turn.get_loop()
            if taken.isdisjoint(wanted) or not self._spoiled.keys().isdisjoint(wanted):
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(_done, turn)
            if not loop.is_closed():
                taken.update(wanted)


def _done(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
