"""Virtual time: exact jumps, equal runs, and errors that name what waits."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import itertools
import math
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from pyflow.errors import PyflowError
from pyflow.testing.errors import SimulationDeadlock, SimulationError, SimulationStalled
from pyflow.testing.loop import VirtualLoop, run_virtual
from support.repeatable import run_python
from support.virtual import DAY_S, GUARD_S, HOUR_S, set_when_waiting, this_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TestTheFourRows:
    """Four cases in which other loops with virtual time hang, spin, or time out falsely."""

    def test_thread_under_a_timeout(self) -> None:
        """A timeout of 5 s does not strike a thread that works for 50 real ms."""

        async def main() -> tuple[bool, float]:
            async with asyncio.timeout(5):
                answer = await asyncio.to_thread(threading.Event().wait, 0.05)
            return answer, this_loop().time()

        assert run_virtual(main()) == (False, 0.0)

    @pytest.mark.leaves("a deadlock ends the loop, not its tasks")
    def test_wait_for_ever(self) -> None:
        """Waiting for what never comes is an error at that instant, after no real wait at all."""
        waited = threading.Event()

        async def main() -> None:
            set_when_waiting(this_loop(), waited)
            await asyncio.Event().wait()

        with pytest.raises(SimulationDeadlock) as caught:
            run_virtual(main())

        assert caught.value.at_s == 0.0
        assert not waited.is_set()

    @pytest.mark.parametrize("span_s", [36 * HOUR_S, 400 * DAY_S], ids=["36 h", "400 days"])
    def test_long_sleep(self, span_s: float) -> None:
        """A sleep of days ends exactly when it should, however few turns the loop may take."""

        async def main() -> float:
            this_loop().turns_max = 10
            await asyncio.sleep(span_s)
            return this_loop().time()

        assert run_virtual(main()) == span_s

    def test_subprocess_under_a_timeout(self) -> None:
        """A real process is refused in words, though a timeout stands around it."""
        struck: list[float] = []

        async def main() -> None:
            try:
                async with asyncio.timeout(5):
                    await asyncio.create_subprocess_exec(sys.executable, "-c", "")
            finally:
                struck.append(this_loop().time())

        with pytest.raises(SimulationError, match=r"subprocess_exec\(\).*subprocess\.run"):
            run_virtual(main())
        assert struck == [0.0]

    def test_subprocess_on_a_thread(self) -> None:
        """Run as the refusal advises, a real process ends before any timeout strikes."""

        async def main() -> tuple[str, float]:
            command = [sys.executable, "-c", "print('done')"]
            async with asyncio.timeout(0.001):
                done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE)
            return done.stdout.decode(), this_loop().time()

        assert run_virtual(main(), stall_s=60) == ("done\n", 0.0)


class TestTime:
    @pytest.mark.parametrize("span_s", [0.0, 1e-9, 0.05, 1e12])
    def test_sleeps(self, span_s: float) -> None:
        """A sleep of any length ends exactly when it should, at once."""

        async def main() -> float:
            await asyncio.sleep(span_s)
            return this_loop().time()

        ended_s = run_virtual(main())

        assert ended_s == span_s

    def test_one_jump(self) -> None:
        """However long the sleep, the loop gets there in one jump."""
        jumps: list[float] = []

        async def main() -> None:
            this_loop().on_jump = jumps.append
            await asyncio.sleep(400 * DAY_S)

        run_virtual(main())

        assert jumps == [400 * DAY_S]

    @pytest.mark.parametrize("start_s", [0.0, 1e8, 1.7e9, 1e15, 1e17])
    def test_starts_late(self, start_s: float) -> None:
        """A clock that begins at a large number neither spins nor loses a timer."""

        async def main() -> list[float]:
            loop = this_loop()
            loop.turns_max = 100
            fired: list[float] = []
            for span_s in (2.0, 0.001, 1.0):
                loop.call_later(span_s, lambda: fired.append(loop.time()))
            await asyncio.sleep(3.0)
            return fired

        fired = run_virtual(main(), start_s=start_s)

        assert len(fired) == 3
        assert fired == sorted(fired)
        assert fired[-1] == pytest.approx(start_s + 2.0, abs=math.ulp(start_s))

    def test_many_small_sleeps(self) -> None:
        """Ten thousand sleeps at a late hour each take a turn or two, not a spin."""

        async def main() -> float:
            this_loop().turns_max = 50
            for _ in range(10_000):
                await asyncio.sleep(0.1)
            return this_loop().time()

        assert run_virtual(main(), start_s=400 * DAY_S) == pytest.approx(400 * DAY_S + 1000)

    def test_timeout_strikes(self) -> None:
        """A timeout ends a longer wait at its own instant."""

        async def main() -> float:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await asyncio.sleep(36 * HOUR_S)
            return this_loop().time()

        assert run_virtual(main()) == 5.0

    def test_timeout_spares(self) -> None:
        """A timeout leaves a shorter wait alone, however long both are."""

        async def main() -> float:
            async with asyncio.timeout(400 * DAY_S):
                await asyncio.sleep(399 * DAY_S)
            return this_loop().time()

        assert run_virtual(main()) == 399 * DAY_S

    def test_order(self) -> None:
        """Timers fire in the order of their times."""
        rng = random.Random(7)
        spans = [rng.uniform(0, 1e6) for _ in range(500)]

        async def main() -> list[float]:
            fired: list[float] = []
            for span_s in spans:
                this_loop().call_later(span_s, fired.append, span_s)
            await asyncio.sleep(1e6)
            return fired

        assert run_virtual(main()) == sorted(spans)

    def test_nan(self) -> None:
        """A timer set for NaN is refused; it would break the order of all others."""

        async def main() -> None:
            this_loop().call_at(math.nan, print)

        with pytest.raises(ValueError, match="NaN"):
            run_virtual(main())

    def test_wait_idle(self) -> None:
        """`wait_idle` returns when all that can run has run, and time has not moved."""

        async def main() -> tuple[list[int], float]:
            steps: list[int] = []

            async def walk() -> None:
                for n in range(50):
                    steps.append(n)
                    await asyncio.sleep(0)
                await asyncio.sleep(1)

            walker = asyncio.create_task(walk())
            await this_loop().wait_idle()
            seen = list(steps), this_loop().time()
            await walker
            return seen

        assert run_virtual(main()) == (list(range(50)), 0.0)

    def test_wait_idle_given_up(self) -> None:
        """A cancelled `wait_idle` does not disturb the loop."""

        async def main() -> float:
            waiter = asyncio.create_task(this_loop().wait_idle())
            await asyncio.sleep(0)
            waiter.cancel()
            await asyncio.sleep(1)
            return this_loop().time()

        assert run_virtual(main()) == 1.0

    def test_repr(self) -> None:
        """A loop shows its time and what is in flight."""
        loop = VirtualLoop(start_s=0.1 + 0.2)
        shown = repr(loop)
        loop.close()

        assert shown == "<VirtualLoop at 0.3 s, 0 in flight>"
        assert repr(loop) == "<VirtualLoop at 0.3 s, closed>"


class TestSpinning:
    @pytest.mark.leaves("the loop ends, its task would spin on")
    def test_stalls(self) -> None:
        """A task that runs for ever at one instant is an error, not a hang."""

        async def main() -> None:
            this_loop().turns_max = 1000
            for _ in itertools.count():
                await asyncio.sleep(0)

        with pytest.raises(SimulationStalled, match=r"1,000 turns[\s\S]*Task-1: .*main"):
            run_virtual(main())


@pytest.mark.leaves("a deadlock ends the loop, not its tasks")
class TestDeadlock:
    def test_lists_everybody(self) -> None:
        """Waiting for ever names every task and the place where it waits."""

        async def wait_for_news(news: asyncio.Event) -> None:
            await news.wait()

        async def main() -> None:
            news = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(wait_for_news(news), name="reader")
                group.create_task(wait_for_news(news))
                await asyncio.sleep(60)

        with pytest.raises(SimulationDeadlock) as caught:
            run_virtual(main())

        error = caught.value
        assert isinstance(error, PyflowError)
        assert error.at_s == 60.0
        assert [w.task for w in error.waiting] == ["Task-1", "reader", "Task-3"]
        assert "wait_for_news (test_loop.py:" in error.waiting[1].where
        assert "Event.wait (locks.py:" in error.waiting[1].where
        assert all(str(w) in str(error) for w in error.waiting)

    def test_names_awaited_task(self) -> None:
        """A task that waits for another one says for which."""

        async def main() -> None:
            await asyncio.create_task(asyncio.Event().wait(), name="other")

        with pytest.raises(SimulationDeadlock) as caught:
            run_virtual(main())

        assert caught.value.waiting[0].where.endswith("> task other")

    def test_looks_into_generators(self) -> None:
        """The place is found through an async generator."""

        async def lines() -> AsyncIterator[int]:
            yield 1
            await asyncio.Event().wait()

        async def main() -> None:
            async for _ in lines():
                pass

        with pytest.raises(SimulationDeadlock, match=r"main \(test_loop.py") as caught:
            run_virtual(main())

        assert len(caught.value.waiting) == 1

    def test_cannot_be_caught(self) -> None:
        """No task can swallow the error, since it comes out of the loop."""

        async def main() -> str:
            try:
                await asyncio.Event().wait()
            except BaseException:
                return "swallowed"
            return "woke"

        with pytest.raises(SimulationDeadlock):
            run_virtual(main())

    def test_never(self) -> None:
        """A timer set for infinity does not keep a simulation alive."""

        async def main() -> None:
            await asyncio.sleep(math.inf)

        with pytest.raises(SimulationDeadlock, match="sleep"):
            run_virtual(main())

    def test_parked_thread(self) -> None:
        """A thread that waits for ever through the loop is listed, and let go."""

        async def main() -> None:
            loop = this_loop()

            async def never() -> None:
                with loop.parked():
                    await asyncio.Event().wait()

            def plain() -> None:
                asyncio.run_coroutine_threadsafe(never(), loop).result(GUARD_S)

            await loop.run_in_executor(None, plain)

        with pytest.raises(SimulationDeadlock, match=r"plain: parked") as caught:
            run_virtual(main())

        assert len(caught.value.waiting) == 3


class TestTasks:
    def test_options(self) -> None:
        """A task may still be given a name and a context."""

        async def main() -> tuple[str, str]:
            var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="outer")
            context = contextvars.copy_context()
            context.run(var.set, "inner")

            async def read() -> str:
                return var.get()

            task = this_loop().create_task(read(), name="reader", context=context)
            return task.get_name(), await task

        assert run_virtual(main()) == ("reader", "inner")


class TestRunVirtual:
    def test_returns(self) -> None:
        """The coroutine's result is returned."""

        async def main() -> int:
            return 42

        assert run_virtual(main()) == 42

    @pytest.mark.leaves("a run that raised says nothing of the rest")
    def test_raises(self) -> None:
        """What the coroutine raised is raised, though it also left a task behind."""

        async def main() -> None:
            tasks.append(asyncio.create_task(asyncio.sleep(1)))
            await asyncio.sleep(0)
            raise KeyError("news")

        tasks: list[asyncio.Task[None]] = []

        with pytest.raises(KeyError, match="news"):
            run_virtual(main())
        assert tasks[0].cancelled()

    def test_pool_ends_later(self, caplog: pytest.LogCaptureFixture) -> None:
        """A thread of a pool that nobody shut down may end in silence after a failed run."""
        go = threading.Event()

        async def main(pool: ThreadPoolExecutor) -> None:
            started = asyncio.Event()
            loop = this_loop()

            def work() -> None:
                loop.call_soon_threadsafe(started.set)
                go.wait(GUARD_S)

            call = loop.run_in_executor(pool, work)
            await started.wait()
            call.cancel()
            raise KeyError("news")

        with ThreadPoolExecutor(1) as pool:
            with pytest.raises(KeyError):
                run_virtual(main(pool))
            go.set()

        assert caplog.records == []

    def test_debug(self) -> None:
        """Debug mode is asyncio's, and changes no result."""

        async def main() -> bool:
            await asyncio.sleep(60)
            await asyncio.to_thread(int)
            return this_loop().get_debug()

        assert run_virtual(main(), debug=True)

    def test_within_a_loop(self) -> None:
        """Called inside a running loop it says what to do, and leaves nothing unawaited."""

        async def main() -> None:
            run_virtual(asyncio.sleep(1))

        with pytest.raises(SimulationError, match="inside a running loop"):
            asyncio.run(main())

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"start_s": "1h"}, "start_s='1h': give a finite number of seconds, such as 3600"),
            ({"start_s": math.nan}, "start_s=nan: give a finite number"),
            ({"start_s": math.inf}, "start_s=inf: give a finite number"),
            ({"start_s": None}, "start_s=None: give a finite number"),
            ({"stall_s": "5s"}, "stall_s='5s': give a number of seconds, more than 0"),
            ({"stall_s": 0}, "stall_s=0: give a number of seconds, more than 0"),
            ({"stall_s": math.nan}, "stall_s=nan: give a number"),
        ],
        ids=repr,
    )
    def test_times(self, options: dict[str, Any], text: str) -> None:
        """A time that is none is refused, and leaves nothing unawaited."""
        coro = asyncio.sleep(1)

        with pytest.raises(SimulationError) as caught:
            run_virtual(coro, **options)

        assert str(caught.value).startswith(f"run_virtual(): {text}")
        assert inspect.getcoroutinestate(coro) == inspect.CORO_CLOSED

    @pytest.mark.parametrize("thing", [asyncio.sleep, None, 7], ids=repr)
    def test_no_coroutine(self, thing: Any) -> None:
        """What is no coroutine is refused, such as a function that was not called."""
        with pytest.raises(SimulationError, match=r"give a coroutine, .*: run_virtual\(main\(\)\)"):
            run_virtual(thing)

    def test_leftover_task(self) -> None:
        """A task that was left waiting is named, after it was cancelled and has cleaned up."""
        cleaned: list[float] = []

        async def left() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(5)
                cleaned.append(this_loop().time())

        async def main() -> None:
            tasks.append(asyncio.create_task(left(), name="forgotten"))
            await asyncio.sleep(1)

        tasks: list[asyncio.Task[None]] = []

        with pytest.raises(SimulationError, match=r"1 thing unfinished\n  task forgotten: .*left"):
            run_virtual(main())
        assert cleaned == [6.0]
        assert tasks[0].cancelled()

    def test_leftover_that_goes_on(self) -> None:
        """A task that does not end when it is cancelled is given up, and named."""

        async def beat() -> None:
            while True:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(10)

        async def main() -> None:
            tasks.append(asyncio.create_task(beat(), name="heartbeat"))

        tasks: list[asyncio.Task[None]] = []

        with pytest.raises(SimulationError, match="task heartbeat goes on though it was cancelled"):
            run_virtual(main())

    def test_leftover_timer(self) -> None:
        """A timer that was left set is reported, a cancelled one is not."""

        def ring() -> None: ...

        async def main() -> None:
            this_loop().call_later(60, ring)
            this_loop().call_later(70, print).cancel()

        with pytest.raises(SimulationError, match=r"1 thing unfinished\n  timer .*ring"):
            run_virtual(main())

    def test_last_words(self) -> None:
        """What can still run when the coroutine returns may end, and is not left over."""
        ended: list[str] = []

        async def end() -> None:
            for _ in range(10):
                await asyncio.sleep(0)
            ended.append("end")

        async def main() -> None:
            tasks.append(asyncio.create_task(end()))
            tasks.append(asyncio.create_task(asyncio.sleep(60)))
            await asyncio.sleep(0)
            tasks[1].cancel()

        tasks: list[asyncio.Task[None]] = []
        run_virtual(main())

        assert ended == ["end"]

    def test_unfinished_thread(self) -> None:
        """A thread that is still at work when the coroutine returns is waited for."""
        go = threading.Event()
        ended: list[bool] = []

        async def main() -> None:
            set_when_waiting(this_loop(), go)
            this_loop().run_in_executor(None, lambda: ended.append(go.wait(GUARD_S)))

        run_virtual(main())

        assert ended == [True]

    def test_no_thread_left(self) -> None:
        """No thread of the default executor outlives the run."""
        before = threading.active_count()

        async def main() -> None:
            await asyncio.gather(*(asyncio.to_thread(int) for _ in range(10)))

        run_virtual(main())

        assert threading.active_count() == before

    def test_quiet(self) -> None:
        """Runs of every kind end without a warning or a word in asyncio's debug mode."""
        output = run_python(["-X", "dev", "-W", "error", "-c", QUIET])

        assert (output.returncode, output.stdout, output.stderr) == (0, "ok\n", "")

    def test_interrupt(self) -> None:
        """Ctrl-C ends a simulation at once."""

        async def main() -> None:
            await asyncio.sleep(1)
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(36 * HOUR_S)

        # Whoever is started in the background by a shell is born ignoring it.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                run_virtual(main())
        finally:
            signal.signal(signal.SIGINT, before)


QUIET = """
import asyncio
from pyflow.testing import SimulationDeadlock, SimulationError, run_virtual

async def numbers():
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(1)

async def busy():
    await asyncio.gather(*(asyncio.to_thread(int) for _ in range(20)))
    async for _ in numbers():
        break
    await asyncio.sleep(400 * 86400)

async def stuck():
    await asyncio.gather(asyncio.Event().wait(), asyncio.to_thread(int))

async def sloppy():
    asyncio.get_running_loop().keep = asyncio.create_task(asyncio.sleep(60))

run_virtual(busy())
run_virtual(busy(), debug=True)
for broken, error in ((stuck, SimulationDeadlock), (sloppy, SimulationError)):
    try:
        run_virtual(broken())
    except error:
        pass
    else:
        raise AssertionError(broken)
print("ok")
"""
