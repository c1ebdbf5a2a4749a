"""The contract of a probe, over what keeps it and over what breaks it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from pyflow.probes import Callable, File, all_of
from pyflow.protocols import Probe, Reading
from pyflow.testing.contracts import check_probe
from pyflow.testing.contracts import probe as suite
from pyflow.testing.loop import run_virtual
from support.contracts import Broken, assert_breaks, ids, never_broken


def fail() -> None:
    raise OSError("no route")


class Well:
    """Finds everything well."""

    def __init__(self, evidence: Any = None) -> None:
        self.evidence = evidence or {"instances": [1, 2.5, None, "é"]}

    async def read(self) -> Any:
        return Reading("healthy", self.evidence)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Raises(Well):
    """Raises for what it finds."""

    async def read(self) -> Any:
        raise OSError("no route")


class Cancels(Well):
    """Takes its own end for that of whoever asks."""

    async def read(self) -> Any:
        raise asyncio.CancelledError


class Hangs(Well):
    """Takes longer than it may."""

    async def read(self) -> Any:
        await asyncio.sleep(61)
        return await super().read()


class Bare(Well):
    """Answers yes."""

    async def read(self) -> Any:
        return True


class Degraded(Well):
    """Has a word of its own for how things are."""

    async def read(self) -> Any:
        return Reading("degraded", {})  # type: ignore[arg-type]


class Listed(Well):
    """Hands out its evidence as a list."""

    def __init__(self) -> None:
        super().__init__(("a", "b"))


class Gaps(Well):
    """Has NaN among its evidence."""

    def __init__(self) -> None:
        super().__init__({"latency_s": math.nan})


class Dated(Well):
    """Has an instant among its evidence."""

    def __init__(self) -> None:
        super().__init__({"at": datetime(2026, 1, 2, tzinfo=UTC)})


class Numbered(Well):
    """Has keys that are no text."""

    def __init__(self) -> None:
        super().__init__({80: "open"})


class Once(Well):
    """Looks only once."""

    def __init__(self) -> None:
        super().__init__()
        self.readings = [Reading("healthy")]

    async def read(self) -> Any:
        return self.readings.pop()


class Verbose(Well):
    """Shows everything about itself."""

    def __repr__(self) -> str:
        return "Verbose(" + 200 * "x" + ")"


class Lines(Well):
    """Shows itself on two lines."""

    def __repr__(self) -> str:
        return "Lines(\n)"


EVERY_READ = [
    "in time, and never raises",
    "healthy, unhealthy or unknown",
    "a dict of JSON data",
    "read again",
]

BROKEN: list[Broken] = [
    (Raises, EVERY_READ),
    (Cancels, EVERY_READ),
    (Hangs, EVERY_READ),
    (Bare, EVERY_READ),
    (Degraded, ["healthy, unhealthy or unknown"]),
    (Listed, ["a dict of JSON data"]),
    (Gaps, ["a dict of JSON data"]),
    (Dated, ["a dict of JSON data"]),
    (Numbered, ["a dict of JSON data"]),
    (Once, ["read again"]),
    (Verbose, ["one line"]),
    (Lines, ["one line"]),
]

PROBES = [
    Well(),
    Callable(lambda: True, name="well"),
    Callable(fail),
    File(__file__, contains="pyflow"),
    File("/nowhere"),
    all_of(File(__file__), Callable(fail)),
]


class TestCheckProbe:
    @pytest.mark.parametrize("probe", PROBES, ids=repr)
    def test_passes(self, probe: Probe) -> None:
        """The probes of the house keep the contract, whatever they find."""
        asyncio.run(check_probe(lambda: probe))

    @pytest.mark.parametrize(("broken", "rules"), BROKEN, ids=ids)
    def test_catches(self, broken: Any, rules: Sequence[str]) -> None:
        """A probe that breaks a rule is caught, and the rule is named."""
        assert_breaks(lambda: run_virtual(check_probe(broken)), rules)

    def test_every_rule(self) -> None:
        """Every rule is broken by one of the probes above."""
        assert never_broken(suite._RULES, BROKEN) == []

    def test_within(self) -> None:
        """A probe may take as long as the suite is told."""
        run_virtual(check_probe(Hangs, within="62s"))
