"""Plain functions in virtual time: on the loop, or on threads that run while it stands still."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from pyflow.testing.errors import SimulationError, SimulationStalled
from pyflow.testing.loop import run_virtual
from pyflow.testing.strands import _STRAND, SimulatedExecutor
from support.virtual import GUARD_S, Stuck, this_loop

T = TypeVar("T")
COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")
LONG_S = 3_600.0
STALL_S = 0.1
ANY_ERROR = pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        ExceptionGroup("g", [ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)


@pytest.fixture
def executor() -> Iterator[SimulatedExecutor]:
    made = SimulatedExecutor()
    yield made
    made.close()


def strands() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pyflow-simulated"]


def run(executor: SimulatedExecutor, fn: Callable[[], Any], *, waits: bool) -> Any:
    """Run *fn* in virtual time, and return what it returned."""
    return run_virtual(executor.run(fn, waits=waits))


async def outcome_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Wait for *task*, and return what it raised."""
    await asyncio.wait([task])
    return task.exception() if not task.cancelled() else asyncio.CancelledError()


def raiser(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


async def napping(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return this_loop().time()


class TestInline:
    def test_runs_on_the_loop(self, executor: SimulatedExecutor) -> None:
        """A function that cannot wait runs on the loop's own thread, and no other is made."""
        before = threading.active_count()

        ran_on = run(executor, threading.current_thread, waits=False)

        assert ran_on is threading.current_thread()
        assert threading.active_count() == before

    def test_takes_no_turn(self, executor: SimulatedExecutor) -> None:
        """Nothing else runs between the call and its return."""

        async def main() -> list[str]:
            trace: list[str] = []
            this_loop().call_soon(trace.append, "other")
            await executor.run(lambda: trace.append("function"))
            trace.append("returned")
            await asyncio.sleep(0)
            return trace

        assert run_virtual(main()) == ["function", "returned", "other"]


@pytest.mark.parametrize("waits", [False, True], ids=["inline", "thread"])
class TestOutcome:
    def test_value(self, executor: SimulatedExecutor, waits: bool) -> None:
        """What the function returned is returned, the same object."""
        value = object()

        assert run(executor, lambda: value, waits=waits) is value

    @ANY_ERROR
    def test_error(self, executor: SimulatedExecutor, waits: bool, error: BaseException) -> None:
        """What the function raised is raised, the same object, whatever it is."""

        async def main() -> BaseException | None:
            try:
                await executor.run(raiser(error), waits=waits)
            except BaseException as caught:
                return caught
            return None

        assert run_virtual(main()) is error

    def test_cancelled_error(self, executor: SimulatedExecutor, waits: bool) -> None:
        """A function may raise CancelledError of its own."""

        async def main() -> bool:
            with pytest.raises(asyncio.CancelledError):
                await executor.run(raiser(asyncio.CancelledError()), waits=waits)
            return True

        assert run_virtual(main())

    def test_after_an_error(self, executor: SimulatedExecutor, waits: bool) -> None:
        """A function that raised spoils nothing for the next one."""

        async def main() -> int:
            with pytest.raises(ValueError, match="no"):
                await executor.run(raiser(ValueError("no")), waits=waits)
            return await executor.run(lambda: 7, waits=waits)

        assert run_virtual(main()) == 7

    def test_context_variables(self, executor: SimulatedExecutor, waits: bool) -> None:
        """The function sees the variables of its caller."""
        COLOUR.set("caller's")

        assert run(executor, COLOUR.get, waits=waits) == "caller's"


class TestThread:
    def test_stands_aside(self, executor: SimulatedExecutor) -> None:
        """While the function runs the loop takes no turn, though others could run."""

        async def main() -> tuple[bool, int, int]:
            turns = 0

            async def turn() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            def work() -> tuple[bool, int, int]:
                before = turns
                threading.Event().wait(0.01)
                return threading.current_thread() is threading.main_thread(), before, turns

            turning = asyncio.create_task(turn())
            await asyncio.sleep(0)
            seen = await executor.run(work, waits=True)
            turning.cancel()
            return seen

        on_main, before, after = run_virtual(main())

        assert not on_main
        assert before == after > 0

    def test_waits(self, executor: SimulatedExecutor) -> None:
        """A wait takes virtual time, and gives what the coroutine returned."""

        def work() -> list[float]:
            return [executor.wait(lambda: napping(LONG_S)) for _ in range(3)]

        assert run(executor, work, waits=True) == [LONG_S, 2 * LONG_S, 3 * LONG_S]

    def test_others_go_on(self, executor: SimulatedExecutor) -> None:
        """While the function waits, time passes for everybody else."""

        async def main() -> tuple[float, float]:
            working = asyncio.create_task(
                executor.run(lambda: executor.wait(lambda: napping(LONG_S)), waits=True)
            )
            return await napping(60), await working

        assert run_virtual(main()) == (60.0, LONG_S)

    def test_interleave(self, executor: SimulatedExecutor) -> None:
        """Functions that wait in turn go on in the order in which the loop serves them."""

        async def main() -> list[str]:
            trace: list[str] = []

            def walk(name: str, nap_s: float) -> None:
                for step in range(4):
                    trace.append(f"{name}{step} {this.time():g}")
                    executor.wait(lambda: asyncio.sleep(nap_s))

            this = this_loop()
            async with asyncio.TaskGroup() as group:
                group.create_task(executor.run(lambda: walk("a", 2), waits=True))
                group.create_task(executor.run(lambda: walk("b", 3), waits=True))
            return trace

        assert run_virtual(main()) == [
            *["a0 0", "b0 0", "a1 2", "b1 3", "a2 4"],
            *["b2 6", "a3 6", "b3 9"],
        ]

    @ANY_ERROR
    def test_awaited_error(self, executor: SimulatedExecutor, error: BaseException) -> None:
        """What the coroutine raised arrives in the function, the same object, to be handled there."""

        async def fail() -> None:
            await asyncio.sleep(1)
            raise error

        def work() -> BaseException | None:
            try:
                executor.wait(fail)
            except BaseException as caught:
                return caught
            return None

        assert run(executor, work, waits=True) is error

    def test_goes_on_after_an_error(self, executor: SimulatedExecutor) -> None:
        """A function that handled an error may wait again."""

        async def fail() -> None:
            raise ValueError("no")

        def work() -> float:
            with pytest.raises(ValueError, match="no"):
                executor.wait(fail)
            return executor.wait(lambda: napping(5))

        assert run(executor, work, waits=True) == 5.0

    def test_nothing_to_await(self, executor: SimulatedExecutor) -> None:
        """What goes wrong before there is a coroutine arrives in the function as well."""

        def make() -> Any:
            raise LookupError("no probe")

        def work() -> str:
            with pytest.raises(LookupError, match="no probe"):
                executor.wait(make)
            return "handled"

        assert run(executor, work, waits=True) == "handled"

    def test_nested(self, executor: SimulatedExecutor) -> None:
        """What a function waits for may run another function that waits."""

        def inner() -> float:
            return executor.wait(lambda: napping(5))

        def outer() -> float:
            return executor.wait(lambda: executor.run(inner, waits=True)) + 1

        assert run(executor, outer, waits=True) == 6.0

    def test_in_real_time(self, executor: SimulatedExecutor) -> None:
        """A loop that knows nothing of virtual time is served as well."""

        def work() -> str:
            return executor.wait(lambda: asyncio.sleep(0, "slept"))

        assert asyncio.run(executor.run(work, waits=True)) == "slept"


class TestContextVariables:
    def test_stay_inside(self, executor: SimulatedExecutor) -> None:
        """What a function sets is its own, across its waits, and no caller's."""

        async def main() -> tuple[str, str]:
            COLOUR.set("caller's")

            def work() -> str:
                COLOUR.set("own")
                executor.wait(lambda: asyncio.sleep(1))
                return COLOUR.get()

            return await executor.run(work, waits=True), COLOUR.get()

        assert run_virtual(main()) == ("own", "caller's")

    def test_reach_what_is_awaited(self, executor: SimulatedExecutor) -> None:
        """What a function set, its coroutines see, as they do on real threads."""

        async def look() -> str:
            seen = COLOUR.get()
            COLOUR.set("the coroutine's")
            await asyncio.sleep(1)
            return seen

        def work() -> tuple[str, str]:
            COLOUR.set("own")
            return executor.wait(look), COLOUR.get()

        assert run(executor, work, waits=True) == ("own", "own")


class TestCancel:
    def test_reaches_the_function(self, executor: SimulatedExecutor) -> None:
        """A cancelled call is cancelled where it waits, and its clean-up runs and may wait."""
        trace: list[str] = []

        async def main() -> tuple[BaseException | None, float]:
            loop = this_loop()

            def work() -> None:
                try:
                    executor.wait(lambda: asyncio.sleep(LONG_S))
                except asyncio.CancelledError:
                    trace.append(f"cancelled at {loop.time():g}")
                    raise
                finally:
                    executor.wait(lambda: asyncio.sleep(1))
                    trace.append(f"cleaned up at {loop.time():g}")

            call = asyncio.create_task(executor.run(work, waits=True))
            await asyncio.sleep(5)
            call.cancel()
            return await outcome_of(call), loop.time()

        error, ended_s = run_virtual(main())

        assert isinstance(error, asyncio.CancelledError)
        assert trace == ["cancelled at 5", "cleaned up at 6"]
        assert ended_s == 6.0

    def test_before_the_wait_begins(self, executor: SimulatedExecutor) -> None:
        """A call that is cancelled before its wait has begun is cancelled there all the same."""

        async def main() -> BaseException | None:
            call = asyncio.create_task(
                executor.run(lambda: executor.wait(lambda: asyncio.sleep(LONG_S)), waits=True)
            )
            await asyncio.sleep(0)
            call.cancel()
            return await outcome_of(call)

        assert isinstance(run_virtual(main()), asyncio.CancelledError)

    def test_does_not_pretend(self, executor: SimulatedExecutor) -> None:
        """A function that goes on all the same is waited for, and its value is returned."""

        async def main() -> tuple[str, float]:
            def stubborn() -> str:
                try:
                    executor.wait(lambda: asyncio.sleep(LONG_S))
                except asyncio.CancelledError:
                    executor.wait(lambda: asyncio.sleep(60))
                return "done"

            call = asyncio.create_task(executor.run(stubborn, waits=True))
            await asyncio.sleep(5)
            call.cancel()
            return await call, this_loop().time()

        assert run_virtual(main()) == ("done", 65.0)

    def test_by_a_timeout(self, executor: SimulatedExecutor) -> None:
        """A timeout around the call ends the function's wait, and its thread serves the next one."""

        async def main() -> tuple[float, str]:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await executor.run(
                        lambda: executor.wait(lambda: asyncio.sleep(LONG_S)), waits=True
                    )
            at_s = this_loop().time()
            return at_s, await executor.run(lambda: "next", waits=True)

        assert run_virtual(main()) == (5.0, "next")
        assert len(strands()) == 1

    def test_when_the_loop_is_gone(self, executor: SimulatedExecutor) -> None:
        """A call that is thrown away ends its function; no wait is served then, and no thread stays."""
        trace: list[str] = []

        def work() -> None:
            try:
                executor.wait(lambda: asyncio.sleep(LONG_S))
            finally:
                for _ in range(2):
                    with pytest.raises(SimulationError, match="has ended, so nothing waits"):
                        executor.wait(lambda: asyncio.sleep(1))
                trace.append("cleaned up")

        async def main() -> None:
            call = executor.run(work, waits=True)
            call.send(None)
            await asyncio.sleep(0)
            call.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        run_virtual(main())

        assert trace == ["cleaned up"]
        assert strands() == []


class TestThreads:
    def test_are_reused(self, executor: SimulatedExecutor) -> None:
        """Calls one after another share a thread; as many are made as wait at once."""

        async def main() -> tuple[int, int]:
            def work() -> None:
                used.append(threading.get_ident())
                executor.wait(lambda: asyncio.sleep(1))

            used: list[int] = []
            for _ in range(5):
                await executor.run(work, waits=True)
            one = len(set(used))
            await asyncio.gather(*[executor.run(work, waits=True) for _ in range(3)])
            return one, len(set(used))

        assert run_virtual(main()) == (1, 3)
        assert repr(executor) == "<SimulatedExecutor idle=3>"

    def test_end_at_close(self, executor: SimulatedExecutor) -> None:
        """`close` waits until every idle thread has ended, and may be called again."""
        run(executor, lambda: None, waits=True)
        assert [thread.daemon for thread in strands()] == [True]

        executor.close()
        executor.close()

        assert strands() == []
        assert repr(executor) == "<SimulatedExecutor idle=0>"

    def test_that_wait_outlive_a_close(self, executor: SimulatedExecutor) -> None:
        """A call under way goes on when the executor is closed."""

        async def main() -> float:
            call = asyncio.create_task(
                executor.run(lambda: executor.wait(lambda: napping(5)), waits=True)
            )
            await asyncio.sleep(1)
            executor.close()
            return await call

        assert run_virtual(main()) == 5.0

    def test_are_made_again(self, executor: SimulatedExecutor) -> None:
        """A closed executor still runs what it is given."""
        executor.close()

        assert run(executor, lambda: 7, waits=True) == 7


class TestLater:
    def test_from_the_loop(self, executor: SimulatedExecutor) -> None:
        """What began on the loop and has to wait is carried on where it may."""

        def rest() -> float:
            return executor.wait(lambda: napping(5))

        assert run(executor, lambda: executor.later(rest), waits=False) == 5.0

    def test_from_a_thread(self, executor: SimulatedExecutor) -> None:
        """What runs where it may wait is carried on right there."""

        def work() -> tuple[int, int]:
            return threading.get_ident(), executor.later(threading.get_ident)

        here, there = run(executor, work, waits=True)

        assert here == there

    def test_error(self, executor: SimulatedExecutor) -> None:
        """What is carried on may fail as well."""
        with pytest.raises(ValueError, match="no"):
            run(executor, lambda: executor.later(raiser(ValueError("no"))), waits=False)


class TestOutside:
    def test_without_a_loop(self, executor: SimulatedExecutor) -> None:
        """`wait` outside of any function is refused, and nothing is left unawaited."""
        with pytest.raises(
            SimulationError, match=r"outside of a function that run\(fn, waits=True\)"
        ):
            executor.wait(lambda: asyncio.sleep(1))

    def test_inline(self, executor: SimulatedExecutor) -> None:
        """A function that runs on the loop itself cannot wait."""
        with pytest.raises(SimulationError, match="outside of a function"):
            run(executor, lambda: executor.wait(lambda: asyncio.sleep(1)), waits=False)

    def test_after_a_thread(self, executor: SimulatedExecutor) -> None:
        """Where a function has waited, its caller cannot for that."""

        async def main() -> None:
            await executor.run(lambda: executor.wait(lambda: asyncio.sleep(1)), waits=True)
            with pytest.raises(SimulationError, match="outside of a function"):
                executor.wait(lambda: asyncio.sleep(1))

        run_virtual(main())

    def test_in_what_is_awaited(self, executor: SimulatedExecutor) -> None:
        """The coroutine runs on the loop, where `wait` would block it for ever."""

        async def ask() -> None:
            executor.wait(lambda: asyncio.sleep(1))

        with pytest.raises(SimulationError, match="outside of a function"):
            run(executor, lambda: executor.wait(ask), waits=True)


class TestStall:
    def test_names_the_function(self) -> None:
        """A function that neither returns nor waits is named, with its place; its thread ends later."""
        executor = SimulatedExecutor(stall_s=STALL_S)
        with Stuck() as stuck:

            def migrate_schema() -> None:
                stuck.wait()

            with pytest.raises(SimulationStalled) as caught:
                run(executor, migrate_schema, waits=True)

        name = "TestStall.test_names_the_function.<locals>.migrate_schema"
        assert caught.value.work == (name,)
        assert str(caught.value).startswith(
            f"{name} neither returned nor waited for 0.1 real seconds: "
        )
        assert "(threading.py:" in str(caught.value)
        assert "put a fake in its place" in str(caught.value)
        assert strands() == []

    def test_that_began_on_the_loop(self) -> None:
        """What was carried on elsewhere goes by the name of the function that began it."""
        executor = SimulatedExecutor(stall_s=STALL_S)
        with Stuck() as stuck:

            def migrate_schema() -> None:
                return executor.later(lambda: stuck.wait())

            with pytest.raises(SimulationStalled, match=r"migrate_schema neither"):
                run(executor, migrate_schema, waits=False)

    def test_after_a_wait(self) -> None:
        """The time that a wait takes does not count, however long; what comes after it does."""
        executor = SimulatedExecutor(stall_s=STALL_S)
        with Stuck() as stuck:

            def work() -> None:
                executor.wait(lambda: asyncio.sleep(LONG_S))
                stuck.wait()

            async def main() -> float:
                with pytest.raises(SimulationStalled):
                    await executor.run(work, waits=True)
                return this_loop().time()

            assert run_virtual(main()) == LONG_S

    def test_that_then_waits(self) -> None:
        """A function that was given up is told so when it wants to wait after all."""
        executor = SimulatedExecutor(stall_s=STALL_S)
        told: list[BaseException] = []
        with Stuck() as stuck:

            def work() -> None:
                stuck.wait()
                for _ in range(2):
                    try:
                        executor.wait(lambda: asyncio.sleep(1))
                    except BaseException as error:
                        told.append(error)

            with pytest.raises(SimulationStalled):
                run(executor, work, waits=True)

        assert [type(error) for error in told] == [SimulationError] * 2

    def test_that_waits_in_that_instant(self) -> None:
        """A function that asks for a wait just as it is given up is told so as well."""
        executor = SimulatedExecutor(stall_s=STALL_S)
        told: list[BaseException] = []

        def work() -> None:
            strand: Any = _STRAND.get()
            strand._out = queue.SimpleQueue()  # where the loop no longer looks
            try:
                executor.wait(lambda: asyncio.sleep(1))
            except BaseException as error:
                told.append(error)

        with pytest.raises(SimulationStalled):
            run(executor, work, waits=True)
        for thread in strands():
            thread.join(GUARD_S)

        assert [type(error) for error in told] == [SimulationError]

    def test_the_next_function(self) -> None:
        """An executor that gave one function up serves the next one."""
        executor = SimulatedExecutor(stall_s=STALL_S)
        with Stuck() as stuck:

            async def main() -> str:
                with pytest.raises(SimulationStalled):
                    await executor.run(stuck.wait, waits=True)
                return await executor.run(lambda: "next", waits=True)

            assert run_virtual(main()) == "next"
        executor.close()


class TestSameRun:
    def trace_of(self, seed: int) -> tuple[str, ...]:
        """Run functions that nap at random, on threads and not, and return what happened."""
        executor = SimulatedExecutor()
        rng = random.Random(seed)
        trace: list[str] = []

        async def main() -> None:
            loop = this_loop()

            def walk(name: str) -> None:
                for step in range(4):
                    trace.append(f"{loop.time():g} {name}{step}")
                    executor.wait(lambda: asyncio.sleep(rng.choice([0.0, 0.1, 0.1, 0.25])))

            async def call(name: str) -> None:
                await asyncio.sleep(rng.choice([0.0, 0.1]))
                await executor.run(lambda: trace.append(f"{loop.time():g} {name}"))
                await executor.run(lambda: walk(name), waits=True)

            async with asyncio.TaskGroup() as group:
                for name in "abcd":
                    group.create_task(call(name))

        run_virtual(main())
        executor.close()
        return tuple(trace)

    def test_repeats(self) -> None:
        """A thousand runs of one seeded program leave one trace."""
        assert len({self.trace_of(1) for _ in range(1_000)}) == 1

    def test_seed_matters(self) -> None:
        """The program is worth repeating: other seeds leave other traces."""
        assert len({self.trace_of(seed) for seed in range(20)}) == 20
