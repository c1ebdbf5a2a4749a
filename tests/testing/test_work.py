"""Real work beside virtual time: what the clock waits for, and what it does not."""

from __future__ import annotations

import asyncio
import multiprocessing
import operator
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pyflow.testing.errors import SimulationError, SimulationStalled
from pyflow.testing.loop import run_virtual
from support.virtual import GUARD_S, HOUR_S, Stuck, ask, serve, set_when_waiting, this_loop

if TYPE_CHECKING:
    from collections.abc import Callable


class TestThreads:
    def test_timeout_waits(self) -> None:
        """A timeout does not strike while a thread really works, though only timers are left."""
        go = threading.Event()

        async def main() -> tuple[bool, float]:
            set_when_waiting(this_loop(), go)
            async with asyncio.timeout(5):
                answer = await asyncio.to_thread(go.wait, GUARD_S)
            return answer, this_loop().time()

        assert run_virtual(main()) == (True, 0.0)

    def test_slowest_counts(self) -> None:
        """Time stands still until the last of several threads has returned."""
        go = threading.Event()

        async def main() -> list[float]:
            loop = this_loop()
            returned: list[float] = []

            async def call(func: Callable[[], object]) -> None:
                await loop.run_in_executor(None, func)
                returned.append(loop.time())
                await asyncio.sleep(1)

            set_when_waiting(loop, go)
            async with asyncio.TaskGroup() as group:
                group.create_task(call(lambda: go.wait(GUARD_S)))
                for _ in range(3):
                    group.create_task(call(int))
            return returned

        assert run_virtual(main()) == [0.0] * 4

    def test_cancelled_future(self) -> None:
        """A thread whose future was cancelled goes on, and so time waits for it."""
        go = threading.Event()
        finished: list[float] = []

        async def main() -> None:
            loop = this_loop()
            started = asyncio.Event()

            def work() -> None:
                loop.call_soon_threadsafe(started.set)
                go.wait(GUARD_S)
                finished.append(loop.time())

            future = loop.run_in_executor(None, work)
            await started.wait()
            future.cancel()
            set_when_waiting(loop, go)
            await asyncio.sleep(60)

        run_virtual(main())

        assert finished == [0.0]

    def test_cancelled_before_start(self) -> None:
        """Work that is cancelled while it is queued no longer counts."""
        go = threading.Event()

        async def main() -> float:
            loop = this_loop()
            with ThreadPoolExecutor(1) as pool:
                first = loop.run_in_executor(pool, go.wait, GUARD_S)
                second = loop.run_in_executor(pool, int)
                second.cancel()
                go.set()
                await first
                await asyncio.sleep(1)
            return loop.time()

        assert run_virtual(main()) == 1.0

    def test_raises(self) -> None:
        """What the function raised comes back, and the work no longer counts."""

        async def main() -> float:
            with pytest.raises(ZeroDivisionError):
                await asyncio.to_thread(operator.truediv, 1, 0)
            await asyncio.sleep(1)
            return this_loop().time()

        assert run_virtual(main()) == 1.0

    def test_refused_by_executor(self) -> None:
        """Work that the executor would not take does not count."""

        async def main() -> float:
            pool = ThreadPoolExecutor(1)
            pool.shutdown()
            with pytest.raises(RuntimeError, match="shutdown"):
                this_loop().run_in_executor(pool, int)
            await asyncio.sleep(1)
            return this_loop().time()

        assert run_virtual(main()) == 1.0

    def test_process_pool(self) -> None:
        """A pool of processes gets the function as it is, so that it can be pickled."""

        async def main() -> tuple[int, float]:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                async with asyncio.timeout(5):
                    answer = await this_loop().run_in_executor(pool, operator.add, 2, 3)
            return answer, this_loop().time()

        assert run_virtual(main(), stall_s=60) == (5, 0.0)

    def test_calls_in(self) -> None:
        """A thread in flight may queue calls on the loop."""

        async def main() -> list[int]:
            loop = this_loop()
            heard: list[int] = []

            def work() -> None:
                for n in range(100):
                    loop.call_soon_threadsafe(heard.append, n)

            await loop.run_in_executor(None, work)
            return heard

        assert run_virtual(main()) == list(range(100))

    def test_foreign_call(self) -> None:
        """A thread that the loop cannot wait for may not call in; the error names it."""
        errors: list[BaseException] = []

        async def main() -> None:
            loop = this_loop()

            def intrude() -> None:
                try:
                    loop.call_soon_threadsafe(print)
                except SimulationError as error:
                    errors.append(error)

            thread = threading.Thread(target=intrude, name="intruder")
            thread.start()
            thread.join()

        run_virtual(main())

        assert "'intruder' called call_soon_threadsafe()" in str(errors[0])

    def test_own_call(self) -> None:
        """The loop's own thread may use the thread-safe call as it likes."""

        async def main() -> list[int]:
            heard: list[int] = []
            this_loop().call_soon_threadsafe(heard.append, 1)
            await asyncio.sleep(1)
            return heard

        assert run_virtual(main()) == [1]

    def test_after_shutdown(self) -> None:
        """The default executor takes no work once it has been shut down."""

        async def main() -> None:
            await this_loop().shutdown_default_executor()
            await asyncio.to_thread(int)

        with pytest.raises(RuntimeError, match="shutdown"):
            run_virtual(main())


class TestParked:
    def test_sleep(self) -> None:
        """A plain function's long sleep takes its time in virtual seconds."""

        async def main() -> float:
            loop = this_loop()
            for span_s in (60, 36 * HOUR_S):
                await asyncio.to_thread(ask, loop, span_s)
            return loop.time()

        assert run_virtual(main()) == 60 + 36 * HOUR_S

    def test_several(self) -> None:
        """Several threads sleep side by side, each for its own span."""

        async def main() -> list[float]:
            loop = this_loop()
            woke: list[float] = []

            async def call(seconds: float) -> None:
                await loop.run_in_executor(pool, ask, loop, seconds)
                woke.append(loop.time())

            with ThreadPoolExecutor(3) as pool:
                await asyncio.gather(*(call(s) for s in (30.0, 10.0, 20.0)))
            return woke

        assert run_virtual(main()) == [10.0, 20.0, 30.0]

    def test_queued(self) -> None:
        """Work queued behind sleeping threads waits for them, and does not hold time."""

        async def main() -> float:
            loop = this_loop()
            with ThreadPoolExecutor(2) as pool:
                calls = [loop.run_in_executor(pool, ask, loop, 60.0) for _ in range(5)]
                await asyncio.gather(*calls)
            return loop.time()

        assert run_virtual(main()) == 180.0

    def test_other_thread_works(self) -> None:
        """Time stands still while another thread works, however deep the one is parked."""
        go = threading.Event()

        async def main() -> tuple[float, float]:
            loop = this_loop()

            async def serve_nested() -> None:
                with loop.parked(), loop.parked():
                    await serve(30)
                    await asyncio.sleep(30)

            def sleeper() -> None:
                asyncio.run_coroutine_threadsafe(serve_nested(), loop).result(GUARD_S)

            async def work() -> float:
                await asyncio.to_thread(go.wait, GUARD_S)
                return loop.time()

            sleeping = loop.run_in_executor(None, sleeper)
            working = asyncio.create_task(work())
            set_when_waiting(loop, go)
            worked_s = await working
            await sleeping
            return worked_s, loop.time()

        assert run_virtual(main()) == (0.0, 60.0)

    def test_outlives_thread(self) -> None:
        """A block that is entered when its thread has already ended parks no other thread."""
        go = threading.Event()

        async def main() -> tuple[float, float]:
            loop = this_loop()
            start = asyncio.Event()
            over = asyncio.Event()

            async def serve_late() -> None:
                await start.wait()
                await serve(60)
                over.set()

            def hasty() -> None:
                asyncio.run_coroutine_threadsafe(serve_late(), loop)

            await asyncio.to_thread(hasty)
            await loop.wait_idle()
            working = loop.run_in_executor(None, go.wait, GUARD_S)
            start.set()
            set_when_waiting(loop, go)
            await working
            worked_s = loop.time()
            await over.wait()
            return worked_s, loop.time()

        assert run_virtual(main()) == (0.0, 60.0)

    def test_run_within(self) -> None:
        """A second simulation on a thread of the first counts its own threads."""

        async def inner() -> float:
            over = threading.Event()
            waiting = this_loop().run_in_executor(None, over.wait, GUARD_S)
            await serve(7)
            over.set()
            assert await waiting
            return this_loop().time()

        async def main() -> tuple[float, float]:
            loop = this_loop()

            async def poll() -> float:
                with loop.parked():
                    return await asyncio.to_thread(run_virtual, inner())

            def plain() -> float:
                return asyncio.run_coroutine_threadsafe(poll(), loop).result(GUARD_S)

            return await loop.run_in_executor(None, plain), loop.time()

        assert run_virtual(main()) == (7.0, 0.0)

    def test_thread_within(self) -> None:
        """A parked coroutine may use a thread, which may sleep in its turn."""

        async def main() -> float:
            loop = this_loop()

            async def poll() -> None:
                with loop.parked():
                    await asyncio.sleep(10)
                    await asyncio.to_thread(ask, loop, 5)
                    await asyncio.sleep(10)

            def plain() -> None:
                asyncio.run_coroutine_threadsafe(poll(), loop).result(GUARD_S)

            await loop.run_in_executor(None, plain)
            return loop.time()

        assert run_virtual(main()) == 25.0

    def test_thread_within_works(self) -> None:
        """A thread that a parked coroutine uses holds time, though its context is inherited."""
        go = threading.Event()

        async def main() -> list[float]:
            loop = this_loop()
            times: list[float] = []

            async def poll() -> None:
                with loop.parked():
                    set_when_waiting(loop, go)
                    await asyncio.to_thread(go.wait, GUARD_S)
                    times.append(loop.time())

            def plain() -> None:
                asyncio.run_coroutine_threadsafe(poll(), loop).result(GUARD_S)

            async with asyncio.timeout(5):
                await loop.run_in_executor(None, plain)
            return times

        assert run_virtual(main()) == [0.0]

    def test_served_by_another_task(self) -> None:
        """A wait may be served by a task that the thread did not start."""

        async def main() -> float:
            loop = this_loop()
            queue: asyncio.Queue[threading.Event] = asyncio.Queue()

            async def serve_all() -> None:
                for _ in range(2):
                    answer = await queue.get()
                    with loop.parked():
                        await asyncio.sleep(30)
                    answer.set()

            def plain() -> None:
                answer = threading.Event()
                loop.call_soon_threadsafe(queue.put_nowait, answer)
                assert answer.wait(GUARD_S)

            async with asyncio.TaskGroup() as group:
                group.create_task(serve_all())
                for _ in range(2):
                    await asyncio.to_thread(plain)
            return loop.time()

        assert run_virtual(main()) == 60.0

    def test_thread_used_again(self) -> None:
        """A thread no longer speaks for the work it did before."""

        async def main() -> float:
            loop = this_loop()
            with ThreadPoolExecutor(1) as pool:
                await loop.run_in_executor(pool, int)
                with loop.external("other work"):
                    await asyncio.wrap_future(pool.submit(ask, loop, 5.0))
            return loop.time()

        assert run_virtual(main()) == 5.0

    def test_timeout_strikes(self) -> None:
        """A timeout strikes a sleeping thread, which then sleeps on to its own end."""

        async def main() -> tuple[float, float]:
            loop = this_loop()
            over = asyncio.Event()

            def plain() -> None:
                ask(loop, 60)
                loop.call_soon_threadsafe(over.set)

            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await loop.run_in_executor(None, plain)
            struck_s = loop.time()
            await over.wait()
            return struck_s, loop.time()

        assert run_virtual(main()) == (5.0, 60.0)

    def test_nothing_in_flight(self) -> None:
        """Parking without a thread is a mistake, and said to be one."""

        async def main() -> None:
            await serve(1)

        with pytest.raises(SimulationError, match="no work was in flight"):
            run_virtual(main())


class TestExternal:
    def test_holds_time(self) -> None:
        """Time stands still inside, and the declared thread may call in."""
        go = threading.Event()

        async def main() -> tuple[float, float]:
            loop = this_loop()
            answered = loop.create_future()

            def work() -> None:
                go.wait(GUARD_S)
                loop.call_soon_threadsafe(answered.set_result, None)

            thread = threading.Thread(target=work)
            set_when_waiting(loop, go)
            async with asyncio.timeout(5):
                with loop.external("worker"):
                    thread.start()
                    await answered
            thread.join()
            at_answer = loop.time()
            await asyncio.sleep(1)
            return at_answer, loop.time()

        assert run_virtual(main()) == (0.0, 1.0)

    def test_parks(self) -> None:
        """A declared thread that waits for the loop can be parked."""

        async def main() -> float:
            loop = this_loop()
            answered = loop.create_future()

            def work() -> None:
                ask(loop, 60)
                loop.call_soon_threadsafe(answered.set_result, None)

            thread = threading.Thread(target=work)
            with loop.external("worker"):
                thread.start()
                await answered
            thread.join()
            return loop.time()

        assert run_virtual(main()) == 60.0


@pytest.mark.leaves("a stall ends the loop, not its tasks")
class TestStall:
    def test_thread(self, caplog: pytest.LogCaptureFixture) -> None:
        """A thread that does not come back is named once, with its place, and may end later."""
        with Stuck() as stuck, pytest.raises(SimulationStalled) as caught:
            run_virtual(asyncio.to_thread(stuck.wait), stall_s=0.3)

        assert caught.value.work == ("Stuck.wait",)
        assert "0.3 real seconds" in str(caught.value)
        assert "threading.py" in str(caught.value)
        assert caplog.records == []

    def test_released_by_cancel(self, caplog: pytest.LogCaptureFixture) -> None:
        """A thread that was given up may end in silence while the run is cleared away."""
        go = threading.Event()

        async def main(pool: ThreadPoolExecutor) -> None:
            try:
                await this_loop().run_in_executor(pool, go.wait, GUARD_S)
            finally:
                go.set()
                pool.submit(int).result()  # by now the thread has said that it ended

        with ThreadPoolExecutor(1) as pool, pytest.raises(SimulationStalled):
            run_virtual(main(pool), stall_s=0.3)

        assert caplog.records == []

    def test_external(self) -> None:
        """Declared work that does not come back is named."""

        async def main() -> None:
            with this_loop().external("the reader"):
                await asyncio.Event().wait()

        with pytest.raises(SimulationStalled, match="the reader") as caught:
            run_virtual(main(), stall_s=0.02)

        assert caught.value.work == ("the reader",)

    def test_only_the_culprit(self) -> None:
        """A thread that sleeps in virtual time is not blamed for another that is stuck."""
        with Stuck() as stuck:

            async def main() -> None:
                loop = this_loop()
                sleeping = loop.run_in_executor(None, ask, loop, 60.0)
                await asyncio.gather(sleeping, loop.run_in_executor(None, stuck.wait))

            with pytest.raises(SimulationStalled) as caught:
                run_virtual(main(), stall_s=0.5)

        assert caught.value.work == ("Stuck.wait",)
