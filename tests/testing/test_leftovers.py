"""The check of `tests/conftest.py` that no test leaves anything behind, checked itself."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import pyflow
from pyflow.testing.loop import VirtualLoop
from support.leftovers import Left, Watch
from support.virtual import GUARD_S

TESTS = Path(__file__).parents[1]
CONFTEST = """
@pytest.fixture(scope="session")
def watch():
    watch = Watch(join_s=0.05)
    with watch.installed():
        yield watch
"""
SUITE = """
import asyncio, threading, pytest

kept = []
leaves = pytest.mark.leaves("to see what comes of it")

def in_loop(act):
    async def main():
        act()
    asyncio.run(main())

def leave_thread():
    threading.Thread(target=threading.Event().wait, daemon=True).start()

def leave_loop():
    asyncio.new_event_loop()

def leave_task():
    in_loop(lambda: kept.append(asyncio.ensure_future(asyncio.sleep(60))))

def leave_timer():
    in_loop(lambda: asyncio.get_running_loop().call_later(60, print))

def test_thread(): leave_thread()
def test_loop(): leave_loop()
def test_task(): leave_task()
def test_timer(): leave_timer()
def test_clean(): in_loop(int)

@leaves
def test_marked_thread(): leave_thread(); leave_task()
@leaves
def test_marked_loop(): leave_loop(); leave_task()
@leaves
def test_marked_task(): leave_task()
@leaves
def test_marked_timer(): leave_timer()
@leaves
def test_marked_clean(): in_loop(int)
"""


def left_by(act: Callable[[], object], *, join_s: float = 0.05) -> list[Left]:
    """Return what *act* leaves behind."""
    watch = Watch(join_s=join_s)
    with watch.installed():
        watch.begin()
        act()
        return watch.end()


def in_loop(act: Callable[[], object]) -> Callable[[], None]:
    """Return a function that calls *act* in a loop of its own."""

    async def main() -> None:
        act()

    return lambda: asyncio.run(main())


def this_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


class TestThreads:
    def test_left(self) -> None:
        """A thread that goes on is left, and its name and place are said."""
        go = threading.Event()
        thread = threading.Thread(target=go.wait, args=(GUARD_S,), name="stray")

        left = left_by(thread.start)
        go.set()
        thread.join()

        assert [thing.kind for thing in left] == ["thread"]
        assert re.fullmatch(r"stray: Condition\.wait \(threading\.py:\d+\)", left[0].what)

    def test_about_to_end(self) -> None:
        """A thread that is just ending is waited for."""
        thread = threading.Thread(target=threading.Event().wait, args=(0.01,))

        assert left_by(thread.start, join_s=GUARD_S) == []

    def test_from_before(self) -> None:
        """A thread that was there before is not left by what came later."""
        go = threading.Event()
        thread = threading.Thread(target=go.wait, args=(GUARD_S,))
        thread.start()

        left = left_by(int)
        go.set()
        thread.join()

        assert left == []

    def test_of_an_idle_engine(self) -> None:
        """An engine's threads end when it has nothing to do, though nobody closes it."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", lambda: None)
        engine = pyflow.Engine()

        assert left_by(lambda: engine.execute(workflow), join_s=GUARD_S) == []

    def test_of_an_open_engine(self) -> None:
        """An engine that made a loop of its own is left until it is closed."""

        async def act() -> None: ...

        workflow = pyflow.Workflow("w")
        workflow.add_task("a", act)
        engine = pyflow.Engine()

        left = left_by(lambda: engine.start(workflow).wait())
        engine.close()

        assert [thing.kind for thing in left] == ["thread", "loop"]
        assert "pyflow-loop" in left[0].what


class TestLoops:
    @pytest.mark.parametrize("make", [asyncio.new_event_loop, VirtualLoop])
    def test_left_open(self, make: Callable[[], asyncio.AbstractEventLoop]) -> None:
        """A loop that was not closed is left, and is closed then."""
        made: list[asyncio.AbstractEventLoop] = []

        left = left_by(lambda: made.append(make()))

        assert [(thing.kind, type(made[0]).__name__ in thing.what) for thing in left] == [
            ("loop", True)
        ]
        assert made[0].is_closed()

    def test_closed(self) -> None:
        """Loops that were closed, some twice, are not left."""

        def act() -> None:
            loop = asyncio.new_event_loop()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            loop.close()

        assert left_by(act) == []

    def test_still_running(self) -> None:
        """A refused attempt to close a running loop closes nothing, and is left to its caller."""

        def close() -> None:
            with pytest.raises(RuntimeError, match="running"):
                this_loop().close()

        assert left_by(in_loop(close)) == []

    def test_are_as_before(self) -> None:
        """What was wrapped is put back."""
        before = (asyncio.BaseEventLoop.__init__, asyncio.BaseEventLoop.close)

        left_by(int)

        assert (asyncio.BaseEventLoop.__init__, asyncio.BaseEventLoop.close) == before


class TestTasks:
    @pytest.mark.leaves("it is this check's to see")
    def test_cancelled_by_the_runner(self) -> None:
        """A task that only the end of `asyncio.run` cancels is left."""
        tasks: list[asyncio.Task[None]] = []

        left = left_by(in_loop(lambda: tasks.append(this_loop().create_task(asyncio.sleep(60)))))

        assert [thing.kind for thing in left] == ["task"]
        assert tasks[0].cancelled()

    @pytest.mark.leaves("it is this check's to see")
    def test_in_a_closed_loop(self) -> None:
        """A task is left that still waits when its loop is closed."""
        tasks: list[asyncio.Task[bool]] = []

        def act() -> None:
            loop = asyncio.new_event_loop()
            tasks.append(loop.create_task(asyncio.Event().wait(), name="forgotten"))
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

        left = left_by(act)

        assert [thing.kind for thing in left] == ["task"]
        assert re.fullmatch(r"forgotten: Event\.wait \(locks\.py:\d+\)", left[0].what)

    def test_awaited(self) -> None:
        """Tasks that ended or were cancelled and awaited are not left."""

        async def main() -> None:
            ended = asyncio.create_task(asyncio.sleep(0))
            cancelled = asyncio.create_task(asyncio.sleep(60))
            await ended
            cancelled.cancel()
            await asyncio.wait([cancelled])

        assert left_by(lambda: asyncio.run(main())) == []


class TestTimers:
    @pytest.mark.leaves("it is this check's to see")
    def test_left(self) -> None:
        """A timer that is still set when its loop is closed is left, a cancelled one is not."""

        def act() -> None:
            this_loop().call_later(60, breakpoint)
            this_loop().call_later(70, print).cancel()

        left = left_by(in_loop(act))

        assert [thing.kind for thing in left] == ["timer"]
        assert "breakpoint" in left[0].what


class TestSuite:
    def test_fails_and_passes(self, pytester: pytest.Pytester) -> None:
        """A test fails for what it leaves; a mark excuses tasks and timers, if there are any."""
        pytester.makeconftest((TESTS / "conftest.py").read_text() + CONFTEST)
        pytester.makepyfile(SUITE)
        paths = f"{TESTS} {Path(pyflow.__file__).parents[1]}"
        pytester.makeini(f"[pytest]\npythonpath = {paths}\nmarkers = leaves(why): in this test")

        outcome = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--strict-markers")

        failed = set(re.findall(r"^ERROR \S+::(\w+)", outcome.stdout.str(), re.MULTILINE))
        assert failed == {
            "test_thread",
            "test_loop",
            "test_task",
            "test_timer",
            "test_marked_thread",
            "test_marked_loop",
            "test_marked_clean",
        }
        outcome.assert_outcomes(passed=10, errors=7)
        outcome.stdout.fnmatch_lines(["*left behind:", "  thread *", "Join each thread*"])
