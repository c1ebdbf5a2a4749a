"""Polling in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import pytest

from pyflow.errors import DefinitionError, PollTimeout, ProbeError
from pyflow.polling import LOOK, Look, Polled, look, poll, probe_problem
from pyflow.protocols import Reading
from pyflow.spans import Backoff
from pyflow.testing.loop import run_virtual

STEADY = Backoff("10s", factor=1, jitter=0)
DOUBLING = Backoff("1s", ceiling="30s", jitter=0)


class Script:
    """A probe that says what it is told, then repeats itself; it notes when it was asked."""

    def __init__(self, *healths: Any, takes_s: float = 0) -> None:
        self.healths = itertools.chain(healths, itertools.repeat(healths[-1]))
        self.takes_s = takes_s
        self.asked_s: list[float] = []

    async def read(self) -> Reading:
        self.asked_s.append(asyncio.get_running_loop().time())
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        return Reading(next(self.healths), {"n": len(self.asked_s)})

    def __repr__(self) -> str:
        return "Script()"


class Odd:
    """A probe that does what it is told."""

    def __init__(self, act: Any) -> None:
        self.act = act

    async def read(self) -> Any:
        return await self.act()


def polled(probe: Any, **options: Any) -> Polled:
    return run_virtual(poll(probe, **options))


def given_up(probe: Any, **options: Any) -> ProbeError:
    with pytest.raises(ProbeError) as caught:
        polled(probe, **options)
    return caught.value


def asked_s(script: Script) -> list[float]:
    return [round(at_s - script.asked_s[0], 6) for at_s in script.asked_s]


def read_once(act: Any) -> Reading:
    return asyncio.run(look(Odd(act)))


class TestPoll:
    def test_at_once(self) -> None:
        """The first look is taken at once, and may be the only one."""
        assert polled(Script("healthy")) == Polled(Reading("healthy", {"n": 1}), 1, 0.0)

    def test_waits(self) -> None:
        """It looks again until the health is there."""
        result = polled(Script("unhealthy", "unknown", "healthy"), backoff=STEADY)

        assert (result.calls, result.elapsed_s) == (3, 20.0)

    def test_until_unhealthy(self) -> None:
        """It can wait for something to go away."""
        assert polled(Script("healthy", "unhealthy"), until="unhealthy").calls == 2

    def test_backs_off(self) -> None:
        """The waits double up to the ceiling."""
        script = Script(*["unhealthy"] * 7, "healthy")

        polled(script, backoff=DOUBLING)

        assert asked_s(script) == [0, 1, 3, 7, 15, 31, 61, 91]

    def test_span(self) -> None:
        """A span in the backoff's place sets the first wait, with the usual ceiling."""
        script = Script(*["unhealthy"] * 6, "healthy")

        polled(script, backoff="20s", timeout="1h", rng=random.Random(7))

        waits_s = [b - a for a, b in itertools.pairwise(script.asked_s)]
        assert 10 <= waits_s[0] <= 20
        assert all(15 <= wait_s <= 30 for wait_s in waits_s[1:])

    def test_jitter(self) -> None:
        """Equal seeds wait equally, other seeds wait otherwise, within the jitter's share."""

        def looks(seed: int) -> list[float]:
            script = Script(*["unhealthy"] * 5, "healthy")
            polled(script, backoff=Backoff("10s", factor=1), rng=random.Random(seed))
            return asked_s(script)

        assert looks(1) == looks(1)
        assert looks(1) != looks(2)
        assert all(5 <= b - a <= 10 for a, b in itertools.pairwise(looks(1)))

    def test_own_jitter(self) -> None:
        """Without a generator, two polls wait in rhythms of their own."""
        scripts = [Script(*["unhealthy"] * 5, "healthy") for _ in range(2)]

        for script in scripts:
            polled(script, backoff=Backoff("10s", jitter=1))

        assert asked_s(scripts[0]) != asked_s(scripts[1])

    def test_timeout(self) -> None:
        """The last look is at the deadline, and the error tells what it said."""
        script = Script("unhealthy")

        error = given_up(script, backoff=STEADY, timeout=25)

        assert isinstance(error, PollTimeout)
        assert isinstance(error, TimeoutError)
        assert asked_s(script) == [0, 10, 20, 25]
        assert error.calls == 4
        assert error.reading == Reading("unhealthy", {"n": 4})
        assert str(error) == (
            "Script() was unhealthy, not healthy, after 4 looks in 25 s; it last said {'n': 4}"
        )

    def test_last_chance(self) -> None:
        """A health that is there at the deadline counts."""
        result = polled(Script("unhealthy", "unhealthy", "healthy"), backoff=STEADY, timeout=15)

        assert (result.calls, result.elapsed_s) == (3, 15.0)

    def test_slow_probe(self) -> None:
        """The last look starts early enough to end by the deadline."""
        script = Script("unhealthy", takes_s=4)

        error = given_up(script, backoff=STEADY, timeout=30)

        assert asked_s(script) == [0, 14, 22]
        assert "26 s" in str(error)
        assert error.reading == Reading("unhealthy", {"n": 3})

    def test_no_room(self) -> None:
        """With no room for a look like the one before, one more is tried at once, and cut."""
        script = Script("unhealthy", takes_s=4)

        error = given_up(script, backoff=STEADY, timeout=5)

        assert asked_s(script) == [0, 4]
        assert isinstance(error.reading, Reading)
        assert error.reading.health == "unknown"

    def test_zero_wait(self) -> None:
        """A backoff of nothing leaves the loop some air, and ends at the deadline."""
        error = given_up(Script("unhealthy"), backoff=Backoff(0), timeout=1)

        assert isinstance(error, PollTimeout)
        assert 900 < error.calls <= 1_001

    def test_hangs(self) -> None:
        """A probe that hangs is cut at the deadline, and counts as unknown."""

        async def run() -> tuple[ProbeError, float]:
            loop = asyncio.get_running_loop()
            start = loop.time()
            with pytest.raises(PollTimeout) as caught:
                await poll(Odd(loop.create_future), timeout="1h")
            return caught.value, loop.time() - start

        error, elapsed_s = run_virtual(run())

        assert elapsed_s == 3_600
        assert error.calls == 1
        assert "after 1 look in" in str(error)
        assert error.reading == Reading(
            "unknown", {"error": "no answer by the deadline of the poll"}
        )

    def test_cancelled(self) -> None:
        """A cancellation passes through."""

        async def run() -> bool:
            task = asyncio.create_task(poll(Script("unhealthy")))
            await asyncio.sleep(5)
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled()

        assert run_virtual(run())


class TestOnUnknown:
    def test_wait(self) -> None:
        """By default an unknown reading is waited out."""
        assert polled(Script("unknown", "healthy")).calls == 2

    def test_fail(self) -> None:
        """Under "fail", it ends the poll as a failure that is no timeout."""
        error = given_up(Script("unhealthy", "unknown"), on_unknown="fail")

        assert not isinstance(error, PollTimeout)
        assert error.calls == 2
        assert error.reading == Reading("unknown", {"n": 2})
        assert "was unknown, not healthy" in str(error)

    def test_fail_late(self) -> None:
        """Under "fail", a look that the deadline cut is a timeout."""
        assert isinstance(
            given_up(Script("healthy", takes_s=9), on_unknown="fail", timeout=5), PollTimeout
        )

    def test_fail_unhealthy(self) -> None:
        """Under "fail", an unhealthy reading is still waited out."""
        assert polled(Script("unhealthy", "healthy"), on_unknown="fail").calls == 2

    def test_proceed(self) -> None:
        """Under "proceed", it ends the poll, and says what it was."""
        result = polled(Script("unhealthy", "unknown"), on_unknown="proceed")

        assert (result.reading.health, result.calls) == ("unknown", 2)

    def test_raising_probe(self) -> None:
        """A probe that raises is unknown, with the error as evidence."""

        async def broken() -> Reading:
            raise ValueError("no route")

        result = polled(Odd(broken), on_unknown="proceed")

        assert result.reading == Reading("unknown", {"error": "ValueError('no route')"})


class TestPollArguments:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"probe": None}, "is no probe"),
            ({"probe": Script}, "is a class"),
            ({"until": "unknown"}, "until="),
            ({"on_unknown": "panic"}, "on_unknown="),
            ({"backoff": "soon"}, "Backoff"),
            ({"backoff": None}, "Backoff"),
            ({"timeout": 0}, "timeout="),
            ({"timeout": None}, "timeout="),
            ({"rng": 7}, "rng="),
            ({"until": 1, "on_unknown": 2, "rng": 3, "timeout": -4}, "4 problems"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused before the probe is read."""
        options, script = dict(options), Script("healthy")

        with pytest.raises(DefinitionError, match=words):
            polled(options.pop("probe", script), **options)

        assert script.asked_s == []


class TestLook:
    def test_passes_on(self) -> None:
        """A reading comes through as it is."""
        reading = Reading("healthy", {"a": [1, None]})

        async def act() -> Reading:
            return reading

        assert read_once(act) is reading

    @pytest.mark.parametrize(
        ("said", "words"),
        [
            (True, "no Reading"),
            (None, "no Reading"),
            (Reading("fine"), "'fine'"),  # type: ignore[arg-type]
            (Reading("healthy", {"at": object()}), "no JSON"),
            (Reading("healthy", {"ratio": float("nan")}), "no JSON"),
        ],
    )
    def test_nonsense(self, said: Any, words: str) -> None:
        """What is no reading, or cannot be recorded, is unknown."""

        async def act() -> Any:
            return said

        reading = read_once(act)

        assert reading.health == "unknown"
        assert words in reading.evidence["error"]

    def test_own_cancellation(self) -> None:
        """A cancellation that nobody asked for is the probe's own failure."""

        async def act() -> Reading:
            raise asyncio.CancelledError

        assert read_once(act).health == "unknown"

    def test_not_async(self) -> None:
        """A read that is not awaitable is unknown."""

        class Plain:
            def read(self) -> Reading:
                return Reading("healthy")

        assert asyncio.run(look(Plain())).health == "unknown"  # type: ignore[arg-type]


class TestProbeProblem:
    def test_probe(self) -> None:
        """A probe has no problem."""
        assert probe_problem(Script("healthy")) is None

    def test_no_probe(self) -> None:
        """What is no probe is described; a coroutine is closed."""
        assert "lacks" in str(probe_problem(7))
        assert "Script(...)" in str(probe_problem(Script))
        assert "without .read()" in str(probe_problem(Script("healthy").read()))


class TestLooks:
    def test_each_is_one(self) -> None:
        """A probe is read within a look of its own, and looks tell which poll they belong to."""
        seen: list[Look | None] = []

        class Noting:
            async def read(self) -> Reading:
                seen.append(LOOK.get())
                return Reading("healthy" if len(seen) % 2 == 0 else "unhealthy")

        async def main() -> None:
            for _ in range(2):
                await poll(Noting(), backoff="1s")
                seen.append(LOOK.get())

        run_virtual(main())

        one, two, after, other, *_ = seen
        assert one is not None
        assert two is not None
        assert other is not None
        assert (after, one is two, one.first is two.first) == (None, False, True)
        assert other.first is not one.first
