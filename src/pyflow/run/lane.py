"""One route, for one run: one message after the other, each until its fate is settled.

There is no queue. The journal is the queue, and a lane is a place in it; so
what waits takes no memory, however long a service is down, and nothing is
lost.
"""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from pyflow.errors import shown
from pyflow.messages import Attempt, Delivery, Message, rejected, retrying, unknown
from pyflow.notices.story import Story
from pyflow.notices.wording import message_of, notice_of
from pyflow.record.events import Notified

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from pyflow.notices.route import Route
    from pyflow.protocols import Clock
    from pyflow.record.codec import Record
    from pyflow.secrets import Redactor

__all__ = ["Lane"]

GUARD_S = 0.1
"""How much longer than its timeout a notifier may take before it is given up, in seconds."""
BATCH_MAX = 32
"""How many results may wait to be recorded while there is more to tell at once."""
DETAIL_CHARS_MAX = 500


class Lane:
    """Tells one route what happens in one run.

    Args:
        route: Who is told.
        run_id: The run.
        read: Returns the run's records above a number.
        note: Records what came of it.
        redactor: Masks what the words of a notifier may give away.
        clock: Tells the instant of an attempt.
        rng: For jitter.
        settled: The record up to which this route had come before.
        receipt: What deliveries before have left to remember.
    """

    def __init__(
        self,
        route: Route,
        run_id: str,
        *,
        read: Callable[[int], Sequence[Record]],
        note: Callable[[list[Notified]], None],
        redactor: Redactor,
        clock: Clock,
        rng: random.Random,
        settled: int = 0,
        receipt: dict[str, Any] | None = None,
    ) -> None:
        self.route = route
        self.seq = 0
        """The number of the last record that was looked at, and is settled."""
        self.start: bool | None = None
        """Whether the run's start was told, once that is settled; True if it need not be."""
        self._story = Story(run_id)
        self._read = read
        self._note = note
        self._redactor = redactor
        self._clock = clock
        self._rng = rng
        self._settled = settled
        self._receipt = dict(receipt or {})
        self._unrecorded: list[Notified] = []

    def __repr__(self) -> str:
        return f"<Lane {self.route.name} at {self.seq}>"

    async def catch_up(self) -> int:
        """Tell everything that is in the journal by now; return how many records that were."""
        records = self._read(self.seq)
        try:
            for record in records:
                await self._take(record)
        finally:
            self._record()
        return len(records)

    async def _take(self, record: Record) -> None:
        self._story.tell([record])
        event = notice_of(record, self._story)
        if self.route.wants(event) and record.seq > self._settled:
            message = message_of(record, self._story, self.route.template_for(event))
            if self.route.fits(message):
                found = await self._deliver(self._masked(message), record.seq)
                if record.seq == 1:
                    self.start = found.status == "delivered" or (
                        found.status == "unknown" and not found.again
                    )
        if record.seq == 1 and self.start is None:
            self.start = True
        self.seq = record.seq

    async def _deliver(self, message: Message, seq: int) -> Delivery:
        """Try until *message* is settled, and return what came of it."""
        now = asyncio.get_running_loop().time
        deadline = now() + self.route.deadline_s
        tries, doubtful = 0, False
        while True:
            tries += 1
            found = await self._attempt(message, seq, tries, deadline - now())
            doubtful = doubtful or found.status == "unknown"
            wait_s = self._wait_s(found, tries)
            if not found.again or tries >= self.route.attempts or now() + wait_s >= deadline:
                break
            if tries == 1:  # once is enough to see that it hangs
                self._settle(message, seq, Delivery("retrying", found.detail), tries)
                self._record()
            await asyncio.sleep(wait_s)
        if found.again:
            words = f"given up after {tries} tries: {found.detail}"
            found = replace(unknown(words) if doubtful else rejected(words), again=True)
        self._settle(message, seq, found, tries)
        return found

    def _wait_s(self, found: Delivery, tries: int) -> float:
        own_s = self.route.backoff.delay_s(tries, self._rng.random())
        return own_s if found.wait_s is None else max(found.wait_s, 0.001)

    async def _attempt(self, message: Message, seq: int, number: int, left_s: float) -> Delivery:
        timeout_s = max(0.001, min(self.route.timeout_s, left_s))
        attempt = Attempt(
            number=number,
            at=self._clock.now(),
            timeout_s=timeout_s,
            receipt=dict(self._receipt),
        )
        try:
            async with asyncio.timeout(timeout_s + GUARD_S):
                found: Any = await self._told(message, seq, attempt)
        except TimeoutError:
            return unknown(f"the notifier took longer than {timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 - a notifier of the user's own may raise anything
            return retrying(f"the notifier raised {shown(error)}")
        if not isinstance(found, Delivery):
            return unknown(f"the notifier returned {shown(found)}, no Delivery", again=False)
        return found

    async def _told(self, message: Message, seq: int, attempt: Attempt) -> Any:
        """Return what the notifier says: one that keeps records gets them with the run's end."""
        keep = getattr(self.route.notifier, "keep", None)
        if keep is None or not message.is_ending:
            return await self.route.notifier.notify(message, attempt)
        return await keep(list(self._read(0))[:seq], message, attempt)

    def _settle(self, message: Message, seq: int, found: Delivery, tries: int) -> None:
        receipt = dict(found.receipt) if found.receipt else None
        if receipt:
            self._receipt.update(receipt)
        detail = found.detail
        if self._redactor:
            detail = self._redactor.redact(detail)
        self._unrecorded.append(
            Notified(
                route=self.route.name,
                seq=seq,
                message=message.id,
                event=message.event,
                result=found.status,
                tries=tries,
                detail=detail[:DETAIL_CHARS_MAX] or None,
                receipt=receipt,
            )
        )
        if len(self._unrecorded) >= BATCH_MAX or seq == 1:
            self._record()

    def _record(self) -> None:
        if self._unrecorded:
            events, self._unrecorded = self._unrecorded, []
            self._note(events)

    def _masked(self, message: Message) -> Message:
        """Return *message* without any secret: its words are the user's, and may hold one."""
        if not self._redactor:
            return message
        clean: Any = self._redactor.redact_data
        changes = {
            name: clean(getattr(message, name)) for name in ("title", "text", "summary", "fields")
        }
        run = {f.name: clean(getattr(message.run, f.name)) for f in fields(message.run)}
        links = tuple((words, url) for words, url in message.links if clean(url) == url)
        return replace(message, **changes, links=links, run=replace(message.run, **run))
