"""Requests to a front door: as many as it takes to measure, or at a constant rate meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

TIMEOUT_S = 10.0


@dataclass
class Answers:
    """What became of the requests."""

    by_version: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list[str])
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, count: int) -> None:
        """Wait until *count* more requests have an answer."""
        due = self.requests + count
        async with asyncio.timeout(60):
            while self.requests < due:
                self.more.clear()
                await self.more.wait()

    @property
    def requests(self) -> int:
        return self.by_version.total() + len(self.failures)

    def share_pct(self, version: str) -> float:
        return self.by_version[version] * 100 / self.requests


async def ask(port: int, answers: Answers) -> None:
    """Send one request, and note which version answered or why none did."""
    await _ask(port, answers)
    answers.more.set()


async def _ask(port: int, answers: Answers) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
                answer = await reader.read(-1)
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError) as error:
        answers.failures.append(repr(error))
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " in head.split(b"\r\n")[0] + b" " and body:
        answers.by_version[body.split()[0].decode()] += 1
    else:
        answers.failures.append(repr(answer[:80]))


async def measure(port: int, requests: int, *, at_once: int = 8) -> Answers:
    """Send *requests*, some of them at once."""
    answers = Answers()
    left = iter(range(requests))

    async def work() -> None:
        for _ in left:
            await ask(port, answers)

    await asyncio.gather(*(work() for _ in range(at_once)))
    return answers


@contextlib.asynccontextmanager
async def load(port: int, *, rps: float) -> AsyncGenerator[Answers]:
    """Send requests at a constant rate, whether or not they are answered in time."""
    answers, stop = Answers(), asyncio.Event()

    async def send() -> None:
        now = asyncio.get_running_loop().time
        due = now()
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                group.create_task(ask(port, answers))
                due += 1 / rps
                await asyncio.sleep(max(0.0, due - now()))

    sending = asyncio.create_task(send())
    try:
        yield answers
    finally:
        stop.set()
        await sending
