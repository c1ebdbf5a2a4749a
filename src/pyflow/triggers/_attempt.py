"""One attempt of a task that starts a pipeline and waits for it.

The order is that of all of pyflow: save the intent, send, save what came of
it. A start whose outcome is not known is looked up by its key, and nothing is
sent again while that is open.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pyflow.errors import PipelineError, PipelineFailed, PipelineUnknown, RunStopping
from pyflow.triggers._progress import CHECKPOINT, Progress, after, key_of
from pyflow.triggers._service import (
    Absent,
    Details,
    Doubt,
    Find,
    Found,
    Gone,
    Handle,
    Order,
    Refused,
    Seen,
    Service,
    Several,
    Unseen,
)
from pyflow.triggers.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from pyflow.protocols import Clock
    from pyflow.spans import Span
    from pyflow.triggers.watch import Watch

__all__ = ["Attempt", "Run"]

T = TypeVar("T")

DETAILS_S = 20.0
WAIT_S_MIN = 0.001
CLOCK_S = 0.005
"""How much a timer may be early, in seconds."""
JOBS_NAMED_MAX = 5


class Run(Protocol):
    """**Protocol:** what a trigger needs of its context; see `pyflow.AsyncContext`."""

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this task in this run."""
        ...

    @property
    def checkpoints(self) -> Mapping[str, Any]:
        """What attempts have saved."""
        ...

    @property
    def deadline(self) -> float | None:
        """When the attempt is cut off, by the loop's clock."""
        ...

    def checkpoint(self, key: str, value: Any) -> None:
        """Save progress; it is durable when this returns."""
        ...

    def log(self, message: str, **data: Any) -> None:
        """Put a message in the audit trail."""
        ...

    def record_change(self, resource: str, *, before: Any = None, after: Any = None) -> None:
        """Put a change of the world in the audit trail."""
        ...

    async def sleep(self, span: Span) -> None:
        """Wait, unless the run stops."""
        ...


class Attempt:
    """Starts a pipeline, or goes on with the one that was started, and waits for its end."""

    def __init__(
        self,
        ctx: Run,
        service: Service,
        *,
        ref: str,
        values: Mapping[str, str],
        watch: Watch,
        clock: Clock,
    ) -> None:
        self._ctx = ctx
        self._service = service
        self._ref = ref
        self._values = values
        self._watch = watch
        self._clock = clock
        self._now = asyncio.get_running_loop().time
        self._end = self._now() + watch.span_s("timeout")
        self._progress = after(Progress.of(ctx.checkpoints), clock.now())
        self._chance = random.Random(self.key).random  # noqa: S311 - jitter is no secret

    @property
    def key(self) -> str:
        """The correlation id of the pipeline at hand."""
        return key_of(self._ctx.idempotency_key, self._progress.number)

    @property
    def url(self) -> str:
        """Where a person reads about it, once that is known."""
        return self._progress.handle.get("url", "")

    async def run(self) -> Pipeline:
        """Return the pipeline once it has ended well.

        Raises:
            PipelineFailed: It has not, or took too long.
            PipelineError: It could not be started.
            PipelineUnknown: Nobody can tell.
        """
        try:
            await self._begin()
            seen = await self._ended()
        except TooLong:
            raise self._too_long(await self._call_off()) from None
        except RunStopping:
            await self._call_off()
            raise
        except asyncio.CancelledError:
            # Torn down with its engine, the pipeline lives on, and a resume finds it.
            if self._ctx.deadline is not None and self._now() >= self._ctx.deadline - CLOCK_S:
                await self._call_off()
            raise
        return await self._judged(seen)

    # Starting -----------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Have a pipeline whose handle is known."""
        saved = Progress.of(self._ctx.checkpoints)
        if saved is not None and saved.stage in ("sent", "taken", "started"):
            self._progress = saved
            if saved.stage == "started":
                self._ctx.log(f"goes on with a pipeline that was started before: {self.url}")
                return
            if await self._looked_up("an earlier attempt ended while it was being started"):
                return
        while not await self._started():
            pass

    async def _started(self) -> bool:
        """Send the start until something comes of it; return False if it has to be sent anew."""
        patience, tries = self._now() + self._watch.span_s("patience"), 0
        while True:
            self._save(replace(self._progress, stage="sent", at=self._clock.now()))
            found = await self._service.start(self._order())
            if isinstance(found, Found):
                self._take(found.handle)
                return True
            if isinstance(found, Doubt):
                if found.taken:
                    self._save(replace(self._progress, stage="taken"))
                return await self._looked_up(found.reason)
            self._save(replace(self._progress, stage="idle"))
            tries += 1
            wait_s = None if isinstance(found, Refused) else self._wait_s(tries, found.wait_s)
            if wait_s is None or self._now() + wait_s > patience:
                raise PipelineError(self._service.resource, f"it was not started: {found.reason}")
            await self._pause(wait_s)

    def _take(self, handle: Handle) -> None:
        """Have *handle* saved: from here on, everybody knows which pipeline it is."""
        self._save(replace(self._progress, stage="started", handle=handle))
        self._ctx.record_change(
            self._service.resource, after={"started": handle.get("id", ""), "url": self.url}
        )

    async def _looked_up(self, why: str) -> bool:
        """Find what may have been started; return False where it is certain that nothing was.

        Raises:
            PipelineUnknown: Nobody can tell.
        """
        settled, tries = self._now() + self._watch.span_s("settle"), 0
        while True:
            found = await self._found()
            if isinstance(found, Found):
                self._ctx.log(f"found by its key: {found.handle.get('url', '')}", key=self.key)
                self._take(found.handle)
                return True
            if isinstance(found, Absent) and self._may_restart():
                self._ctx.log(f"nothing was started under {self.key}, so it is sent again")
                self._save(replace(self._progress, stage="idle"))
                return False
            tries += 1
            wait_s = self._wait_s(tries, getattr(found, "wait_s", None))
            hopeless = isinstance(found, Several) or (isinstance(found, Unseen) and found.final)
            if hopeless or self._now() + wait_s > settled:
                raise PipelineUnknown(self._service.resource, self._in_doubt(why, found))
            await self._pause(wait_s)

    async def _found(self) -> Find:
        try:
            return await self._in_time(self._service.find(self._order()))
        except TooLong:
            return Unseen("no answer came before the time was up", final=True)

    def _may_restart(self) -> bool:
        """Return whether a start that is not to be found counts as one that never was."""
        if self._watch.restart_after is None or self._progress.stage == "taken":
            return False
        old = self._clock.now() - self._progress.at
        return old >= timedelta(seconds=self._watch.span_s("restart_after"))

    def _in_doubt(self, why: str, found: Find) -> str:
        sent = f"{self._progress.at:%Y-%m-%d %H:%M:%S} UTC"
        if isinstance(found, Several):
            seen = f"these could be it: {', '.join(found.urls) or 'none that has a URL'}"
        elif isinstance(found, Unseen):
            seen = f"and it could not be looked up: {found.reason}"
        else:
            seen = f"and none with the key {self.key} is to be found"
        if self._progress.stage == "taken":
            text = f"it was started at {sent} under an unknown name ({why}), {seen}. "
        else:
            text = (
                f"nobody knows whether the start that was sent at {sent} arrived ({why}), {seen}. "
            )
        return text + self._advice(found)

    def _advice(self, found: Find) -> str:
        advice = (
            "Look for it there. If it runs, wait for its end and skip this task, or roll back. "
        )
        if self._progress.stage == "taken" or self._watch.restart_after is None:
            return advice + "A retry looks it up again, and starts nothing"
        if not isinstance(found, Absent):
            return advice + "A retry looks it up again"
        at = self._progress.at + timedelta(seconds=self._watch.span_s("restart_after"))
        return (
            f"{advice}A retry looks it up again, and starts it anew if it is not to be found at "
            f"{at:%H:%M:%S} UTC or later"
        )

    # Waiting ------------------------------------------------------------------------------

    async def _ended(self) -> Seen:
        """Wait until the pipeline has ended.

        Raises:
            PipelineUnknown: It cannot be seen any more.
            TooLong: It took too long.
        """
        looks, blind, blind_since, status = 0, 0, self._now(), ""
        while True:
            seen = await self._in_time(self._service.look(self._progress.handle))
            if isinstance(seen, Gone):
                seen = await self._again(seen)
            if isinstance(seen, Seen):
                if seen.handle != self._progress.handle:
                    self._save(replace(self._progress, handle=seen.handle))
                if seen.ended:
                    return seen
                if seen.status != status:
                    looks, status = 0, seen.status
                    self._ctx.log(f"{self._service.resource} is {status}: {self.url}")
                blind, blind_since, wait_s = 0, self._now(), None
                looks += 1
            else:
                blind, wait_s = blind + 1, seen.wait_s
                lost = self._now() - blind_since >= self._watch.span_s("patience")
                if lost or seen.final:
                    raise PipelineUnknown(self._service.resource, self._unseen(seen), url=self.url)
            await self._pause(self._wait_s(looks + blind, wait_s))

    async def _again(self, gone: Gone) -> Seen | Unseen:
        """Look for a pipeline by its key, where its handle leads nowhere any more."""
        found = await self._in_time(self._service.find(self._order()))
        if not isinstance(found, Found):
            return Unseen(gone.reason)
        self._save(replace(self._progress, handle=found.handle))
        seen = await self._in_time(self._service.look(found.handle))
        return Unseen(seen.reason) if isinstance(seen, Gone) else seen

    def _unseen(self, seen: Unseen) -> str:
        return (
            f"it was started, and cannot be seen: {seen.reason}. Look at {self.url or 'it'}; once "
            "it can be seen again, a retry goes on waiting for it and starts nothing"
        )

    # The end ------------------------------------------------------------------------------

    async def _judged(self, seen: Seen) -> Pipeline:
        """Return the pipeline if it ended well.

        Raises:
            PipelineFailed: It did not.
        """
        good = seen.status in self._service.good
        details = await self._details(failed=not good)
        if good:
            return Pipeline(
                system=self._service.system,
                id=self._progress.handle.get("id", ""),
                url=self.url,
                status=seen.status,
                ref=seen.ref or self._ref,
                key=self.key,
                commit=seen.commit,
                jobs=tuple(details.jobs),
                log=details.log,
            )
        self._save(replace(self._progress, stage="told"))
        bad = [job for job in details.jobs if job.status not in (*self._service.good, "skipped")]
        named = [f"{job.name}: {job.status} ({job.url})" for job in bad[:JOBS_NAMED_MAX]]
        text = f"it ended as {seen.status}: {self.url}"
        text += f"\nJobs: {'; '.join(named)}" if named else ""
        text += f"\nIts log ends with:\n{details.log}" if details.log else ""
        raise PipelineFailed(
            self._service.resource,
            text,
            url=self.url,
            status=seen.status,
            failed=[job.name for job in bad],
            log=details.log,
        )

    async def _details(self, *, failed: bool) -> Details:
        """Return what else is known, if that is to be had soon."""
        left_s = max(0.0, min(DETAILS_S, self._end - self._now()))
        try:
            async with asyncio.timeout(left_s):
                return await self._service.details(self._progress.handle, failed=failed)
        except TimeoutError:
            return Details()

    async def _call_off(self) -> str:
        """Cancel whatever was started, and return what came of that: '' where it has ended."""
        try:
            async with asyncio.timeout(self._watch.span_s("cancel_within")):
                return await self._cancelled()
        except TimeoutError:
            ending = "it did not end in time, and may still run"
        self._ctx.log(f"{self._service.resource} was to be cancelled: {ending}: {self.url}")
        return ending

    async def _cancelled(self) -> str:
        if self._progress.stage in ("sent", "taken"):
            found = await self._service.find(self._order())
            if not isinstance(found, Found):
                ending = "it may have been started, and was not found"
                self._ctx.log(f"{self._service.resource} was to be cancelled: {ending}")
                return ending
            self._take(found.handle)
        if self._progress.stage != "started":
            return ""
        tries, stopped = 0, None
        while True:
            handle = self._progress.handle
            if stopped != handle and await self._service.stop(handle) is None:
                stopped = handle
            seen = await self._service.look(handle)
            if isinstance(seen, Seen) and seen.ended:
                after = {"ended": seen.status, "url": self.url}
                self._ctx.record_change(self._service.resource, after=after)
                return ""
            moved = await self._service.find(self._order()) if isinstance(seen, Gone) else seen
            if isinstance(moved, (Seen, Found)) and moved.handle != handle:
                # Out of a queue, it has become something that is stopped by another name.
                self._save(replace(self._progress, handle=moved.handle))
            tries += 1
            await asyncio.sleep(self._wait_s(tries, None))

    def _too_long(self, ending: str) -> PipelineError:
        """Return what it means that the time was up, where cancelling came to *ending*."""
        took = f"it took longer than {self._watch.span_s('timeout'):g} s"
        if ending or self._progress.stage in ("sent", "taken"):
            text = f"{took}, and {ending}: {self.url}".rstrip(": ")
            return PipelineUnknown(self._service.resource, text, url=self.url)
        if self._progress.stage != "started":
            return PipelineError(self._service.resource, f"{took}, and was not started")
        self._save(replace(self._progress, stage="told"))
        text = f"{took}, and was cancelled: {self.url}"
        return PipelineFailed(self._service.resource, text, url=self.url, status="timed_out")

    # Small parts --------------------------------------------------------------------------

    def _order(self) -> Order:
        return Order(self._ref, self._values, self.key, self._progress.at, self._end)

    def _save(self, progress: Progress) -> None:
        self._progress = progress
        self._ctx.checkpoint(CHECKPOINT, progress.to_data())

    def _wait_s(self, tries: int, asked_s: float | None) -> float:
        own_s = max(WAIT_S_MIN, self._watch.poll.delay_s(max(1, tries), self._chance()))
        return own_s if asked_s is None else max(own_s, asked_s)

    async def _pause(self, wait_s: float) -> None:
        left_s = self._end - self._now()
        if left_s > 0:
            await self._ctx.sleep(min(wait_s, left_s))
        if self._now() >= self._end:
            raise TooLong

    async def _in_time(self, asking: Coroutine[Any, Any, T]) -> T:
        scope = asyncio.timeout_at(self._end)
        try:
            async with scope:
                return await asking
        except TimeoutError:
            if scope.expired():
                raise TooLong from None
            raise


class TooLong(Exception):
    """The time that the trigger has for all of it is up."""
