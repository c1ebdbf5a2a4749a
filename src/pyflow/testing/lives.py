"""Processes that are forked to be killed: several at once, and each is heard when it ends."""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Generator, Mapping

__all__ = ["End", "Story", "Work", "play"]

Work: TypeAlias = "Callable[[], Mapping[str, Any]]"
"""What a process does; it tells what that returns, as JSON data."""

Story: TypeAlias = "Generator[Work, End, None]"
"""Yields what one process after the other is to do, and is sent how each ended."""

CHUNK_BYTES = 65_536


@frozen
class End:
    """How a process ended."""

    code: int
    """What it exited with; for one that was killed, the number of the signal below zero."""

    told: Mapping[str, Any]
    """What it told; its ``error`` where it went wrong; nothing where it was killed."""


class _Process:
    """A process on its way, and the story that it belongs to."""

    def __init__(self, story: Story, work: Work, timeout_s: float) -> None:
        self.story = story
        self._heard = b""
        self.ear, mouth = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _be_born(work, mouth, timeout_s)
        os.close(mouth)

    def listen(self) -> bool:
        """Take in what it tells; return whether that was all."""
        chunk = os.read(self.ear, CHUNK_BYTES)
        self._heard += chunk
        return not chunk

    def bury(self) -> End:
        """Return how it ended."""
        os.close(self.ear)
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGALRM:
            return End(code, {"error": "it did not end in time: is it stuck?"})
        if not self._heard:
            return End(code, {})
        return End(code, json.loads(self._heard))


def play(stories: deque[Story], *, workers: int, timeout_s: float) -> None:
    """Play all of *stories*, *workers* processes at a time; one that goes on may add others.

    A process that does not end within *timeout_s* seconds is killed.
    """
    with selectors.DefaultSelector() as selector:
        try:
            while stories or selector.get_map():
                while stories and len(selector.get_map()) < workers:
                    _go_on(stories.popleft(), None, selector, timeout_s)
                for key, _ in selector.select():
                    if key.data.listen():
                        selector.unregister(key.fd)
                        _go_on(key.data.story, key.data.bury(), selector, timeout_s)
        finally:
            for key in list(selector.get_map().values()):
                os.kill(key.data.pid, signal.SIGKILL)
                key.data.bury()
                key.data.story.close()


def _go_on(
    story: Story, end: End | None, selector: selectors.BaseSelector, timeout_s: float
) -> None:
    """Have the next process of *story* begin, if there is one."""
    try:
        work = next(story) if end is None else story.send(end)
    except StopIteration:
        return
    process = _Process(story, work, timeout_s)
    selector.register(process.ear, selectors.EVENT_READ, process)


def _be_born(work: Work, mouth: int, timeout_s: float) -> NoReturn:
    """Do *work*, tell what came of it, and end; nothing of the parent runs on in here."""
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        try:
            told = work()
            code = 0
        except SystemExit as end:  # what a signal leads to
            told, code = {}, end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - it is the parent's to judge
            told = {"error": traceback.format_exc()}
        if told:
            _say(mouth, json.dumps(told).encode())
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _say(mouth: int, text: bytes) -> None:
    while text:
        text = text[os.write(mouth, text) :]
