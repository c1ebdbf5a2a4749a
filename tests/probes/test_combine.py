"""Probes made of probes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, cast

import pytest

from pyflow.errors import DefinitionError
from pyflow.probes import all_of, any_of, consistently
from pyflow.protocols import Health, Probe, Reading
from pyflow.testing.loop import run_virtual

HEALTHS: tuple[Health, ...] = ("healthy", "unhealthy", "unknown")


class Script:
    """A probe that says what it is told, then repeats itself."""

    def __init__(self, *healths: Any, after_s: float = 0) -> None:
        self.healths: Iterator[Any] = itertools.chain(healths, itertools.repeat(healths[-1]))
        self.after_s = after_s
        self.calls = 0

    async def read(self) -> Reading:
        self.calls += 1
        await asyncio.sleep(self.after_s)
        said = next(self.healths)
        if isinstance(said, Exception):
            raise said
        return Reading(said, {"call": self.calls})

    def __repr__(self) -> str:
        return f"Script({self.after_s})"


def probes(healths: Iterable[Health]) -> list[Script]:
    return [Script(health) for health in healths]


def health_of(probe: Probe) -> Health:
    return asyncio.run(probe.read()).health


triples = pytest.mark.parametrize("healths", list(itertools.product(HEALTHS, repeat=3)))
makers = pytest.mark.parametrize("make", [all_of, any_of])


class TestAllOf:
    @triples
    def test_rule(self, healths: tuple[Health, ...]) -> None:
        """Any unhealthy makes it unhealthy, else any unknown makes it unknown."""
        expected = next((h for h in ("unhealthy", "unknown") if h in healths), "healthy")

        assert health_of(all_of(*probes(healths))) == expected

    def test_repr(self) -> None:
        """The repr reads like the call."""
        assert repr(all_of(Script("healthy"), Script("healthy"))) == "all_of(Script(0), Script(0))"


class TestAnyOf:
    @triples
    def test_rule(self, healths: tuple[Health, ...]) -> None:
        """Any healthy makes it healthy, else any unknown makes it unknown."""
        expected = next((h for h in ("healthy", "unknown") if h in healths), "unhealthy")

        assert health_of(any_of(*probes(healths))) == expected

    def test_repr(self) -> None:
        """The repr reads like the call."""
        assert repr(any_of(Script("healthy"))) == "any_of(Script(0))"


class TestTogether:
    @makers
    def test_at_once(self, make: Any) -> None:
        """The probes are read at once, and the evidence is in the declared order."""

        async def run() -> tuple[Reading, float]:
            loop = asyncio.get_running_loop()
            start = loop.time()
            reading = await make(
                Script("healthy", after_s=30), Script("healthy", after_s=20)
            ).read()
            return reading, loop.time() - start

        reading, elapsed_s = run_virtual(run())

        assert elapsed_s == 30
        assert [entry["probe"] for entry in reading.evidence["readings"]] == [
            "Script(30)",
            "Script(20)",
        ]

    @makers
    @pytest.mark.parametrize("bad", [RuntimeError("boom"), "fine", None])
    def test_broken_probe(self, make: Any, bad: Any) -> None:
        """A probe that raises or talks nonsense is unknown, and the others still count."""
        assert health_of(make(Script(bad))) == "unknown"
        assert health_of(any_of(Script(bad), Script("healthy"))) == "healthy"
        assert health_of(all_of(Script(bad), Script("unhealthy"))) == "unhealthy"

    def test_nested(self) -> None:
        """Combined probes are probes."""
        probe = all_of(
            any_of(*probes(["unknown", "healthy"])), consistently(Script("healthy"), interval=0)
        )

        assert isinstance(probe, Probe)
        assert health_of(probe) == "healthy"

    @makers
    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ((), "no probe"),
            ((7,), "is no probe"),
            ((Script,), "is a class"),
            ((7, None), "2 problems"),
        ],
    )
    def test_refuses(self, make: Any, given: tuple[Any, ...], words: str) -> None:
        """Nothing, and what is no probe, is refused at once."""
        with pytest.raises(DefinitionError, match=words):
            make(*given)


class TestConsistently:
    @pytest.mark.parametrize(
        ("healths", "expected", "calls"),
        [
            (["healthy"], "healthy", 3),
            (["unhealthy"], "unhealthy", 3),
            (["unknown"], "unknown", 1),
            (["healthy", "unhealthy"], "unknown", 2),
            (["healthy", "healthy", "unknown"], "unknown", 3),
            (["unhealthy", "unhealthy", "healthy"], "unknown", 3),
        ],
    )
    def test_rule(self, healths: list[Any], expected: str, calls: int) -> None:
        """Readings that agree count; the first that does not ends the look."""
        script = Script(*healths)

        assert health_of(consistently(script, interval=0)) == expected
        assert script.calls == calls

    def test_interval(self) -> None:
        """The interval lies between readings, not around them."""

        async def run() -> float:
            loop = asyncio.get_running_loop()
            start = loop.time()
            await consistently(Script("healthy"), times=4, interval="10s").read()
            return loop.time() - start

        assert run_virtual(run()) == 30

    def test_evidence(self) -> None:
        """The evidence holds every reading that was taken."""
        reading = asyncio.run(consistently(Script("healthy"), times=2, interval=0).read())

        assert [entry["evidence"] for entry in reading.evidence["readings"]] == [
            {"call": 1},
            {"call": 2},
        ]

    def test_repr(self) -> None:
        """The repr reads like the call."""
        assert (
            repr(consistently(Script("healthy")))
            == "consistently(Script(0), times=3, interval='1s')"
        )

    @pytest.mark.parametrize(
        ("probe", "options", "words"),
        [
            (None, {}, "is no probe"),
            (Script("healthy"), {"times": 1}, "times"),
            (Script("healthy"), {"times": 101}, "times"),
            (Script("healthy"), {"times": 2.0}, "times"),
            (Script("healthy"), {"interval": -1}, "interval"),
            (None, {"times": 0, "interval": "x"}, "3 problems"),
        ],
    )
    def test_refuses(self, probe: Any, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused at once."""
        with pytest.raises(DefinitionError, match=words):
            consistently(cast("Probe", probe), **options)
