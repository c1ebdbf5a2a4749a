"""The contract of a router, over what keeps it and over what breaks it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.protocols import Router
from pyflow.testing.contracts import check_router
from pyflow.testing.contracts import router as suite
from pyflow.testing.loop import run_virtual
from support.contracts import Broken, assert_breaks, ids, never_broken


class Switch:
    """Has the weights of one service in a dict."""

    def __init__(self) -> None:
        self.present: dict[str, float] = {"v1": 100.0}

    async def weights(self, service: str, /) -> Any:
        return dict(self.present)

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        self.check(weights)
        self.put(weights)

    def check(self, weights: Mapping[str, float]) -> None:
        if any(weight < 0 for weight in weights.values()):
            raise ValueError("a weight is negative")
        if math.isnan(sum(weights.values())):
            raise ValueError("a weight is NaN")
        if not math.isclose(sum(weights.values()), 100):
            raise ValueError("the weights do not sum to 100")

    def put(self, weights: Mapping[str, float]) -> None:
        self.present = {version: weight for version, weight in weights.items() if weight}


class Slow(Switch):
    """Takes a while to put in force what was set last."""

    pending: asyncio.TimerHandle | None = None

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        self.check(weights)
        if self.pending is not None:
            self.pending.cancel()
        self.pending = asyncio.get_running_loop().call_later(30, self.put, dict(weights))


class Never(Switch):
    """Takes longer than it may."""

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        self.check(weights)


class Shares(Switch):
    """Tells shares of one."""

    async def weights(self, service: str, /) -> Any:
        return {version: weight / 100 for version, weight in self.present.items()}


class Leaks(Switch):
    """Says nothing of a version with little traffic."""

    async def weights(self, service: str, /) -> Any:
        return {version: weight for version, weight in self.present.items() if weight >= 10}


class Halves(Switch):
    """Cannot split traffic evenly."""

    def put(self, weights: Mapping[str, float]) -> None:
        even = dict(weights) == {"v1": 50.0, "v2": 50.0}
        super().put({"v1": 49.0, "v2": 51.0} if even else weights)


class Toggles(Switch):
    """Takes back what is set again."""

    def put(self, weights: Mapping[str, float]) -> None:
        again = {version: weight for version, weight in weights.items() if weight} == self.present
        super().put({"v1": 100.0} if again else weights)


class Scales(Switch):
    """Makes the weights sum to 100 by itself."""

    def check(self, weights: Mapping[str, float]) -> None:
        if any(not weight >= 0 for weight in weights.values()):
            raise ValueError("a weight is negative or NaN")

    def put(self, weights: Mapping[str, float]) -> None:
        total = sum(weights.values()) or 1.0
        super().put({version: weight * 100 / total for version, weight in weights.items()})


class Applies(Switch):
    """Looks at the sum of the weights once they are in force."""

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        if all(weight >= 0 for weight in weights.values()):
            self.put(weights)
        self.check(weights)


class Signed(Switch):
    """Takes any weights that sum to 100."""

    def check(self, weights: Mapping[str, float]) -> None:
        super().check(dict(enumerate([sum(weights.values())])))  # type: ignore[arg-type]


class Trusts(Switch):
    """Compares so that NaN passes."""

    def check(self, weights: Mapping[str, float]) -> None:
        if any(weight < 0 for weight in weights.values()) or abs(sum(weights.values()) - 100) > 0.5:
            raise ValueError("the weights do not sum to 100")


class Borrows(Switch):
    """Keeps the mapping that it was handed."""

    def put(self, weights: Mapping[str, float]) -> None:
        self.present = weights  # type: ignore[assignment]


class Empties(Switch):
    """Takes the weights out of the mapping that it was handed."""

    def put(self, weights: Mapping[str, float]) -> None:
        super().put(dict(weights))
        weights.clear()  # type: ignore[attr-defined]


class Repairs(Switch):
    """Changes the weights that it refuses."""

    def check(self, weights: Mapping[str, float]) -> None:
        try:
            super().check(weights)
        except ValueError:
            weights.update({"v1": 100.0, "v2": 0.0})  # type: ignore[attr-defined]
            raise


class Exact(Switch):
    """Tells fractions."""

    async def weights(self, service: str, /) -> Any:
        return {version: Fraction(weight) for version, weight in self.present.items()}


class Lends(Switch):
    """Hands out its own dict."""

    async def weights(self, service: str, /) -> Any:
        return self.present


class Windows(Switch):
    """Hands out a view of its own dict."""

    async def weights(self, service: str, /) -> Any:
        return MappingProxyType(self.present)

    def put(self, weights: Mapping[str, float]) -> None:
        self.present.clear()
        self.present.update(weights)


READ_BACK = [
    "recorded as a change",
    "are read back",
    "Setting the present weights again",
    "do not sum to 100 are refused",
    "A negative weight",
    "NaN",
    "handed in may be changed",
    "handed in is left",
    "the caller's own",
]

BROKEN: list[Broken] = [
    (Never, READ_BACK),
    (Shares, ["whatever is set", *READ_BACK]),
    (Leaks, ["whatever is set", *READ_BACK]),
    (Exact, ["recorded as a change"]),
    (Halves, ["recorded as a change", "are read back"]),
    (Toggles, ["Setting the present weights again", "do not sum to 100 are refused"]),
    (Scales, ["do not sum to 100 are refused"]),
    (Applies, ["do not sum to 100 are refused"]),
    (Signed, ["A negative weight"]),
    (Trusts, ["NaN"]),
    (Borrows, ["handed in may be changed"]),
    (Empties, ["handed in is left"]),
    (Repairs, ["handed in is left"]),
    (Lends, ["the caller's own"]),
    (Windows, ["the caller's own"]),
]


def check(make: Any) -> None:
    run_virtual(check_router(make, service="shop", versions=("v1", "v2")))


def complaint(**options: Any) -> str:
    """Return what the suite says of the arguments that it is given."""
    given: dict[str, Any] = {
        "make": Switch,
        "service": "shop",
        "versions": ("v1", "v2"),
        **options,
    }
    with pytest.raises(DefinitionError) as caught:
        run_virtual(check_router(given.pop("make"), **given))
    return str(caught.value)


class TestArguments:
    @pytest.mark.parametrize(
        "versions", [("1.0",), "12", ("1", "2", "3"), ("1", "1"), None], ids=repr
    )
    def test_versions(self, versions: Any) -> None:
        """There are two versions to shift traffic between, and they differ."""
        assert complaint(versions=versions) == (
            f'versions=: {versions!r} is not two versions; give two, as in ("1.0", "2.0")'
        )

    def test_names(self) -> None:
        """The service and the versions have names."""
        assert complaint(service="") == "service=: '' is no name; give text"
        assert complaint(versions=("1.0", 2)) == "versions=: 2 is no name; give text"

    @pytest.mark.parametrize(
        "splits",
        [(), (0,), (100, 0), (5, 100), (0, 50), (0, 50, 50, 100), "0", 7, (0, "5", 100)],
        ids=repr,
    )
    def test_splits(self, splits: Any) -> None:
        """Splits rise from 0 to 100."""
        assert complaint(splits=splits) == (
            f"splits=: {splits!r} does not rise from 0 to 100; give percents, as in (0, 100)"
        )

    def test_settle(self) -> None:
        """A span that is none is refused by its name."""
        assert complaint(settle="soon").startswith("settle=: ")


class TestCheckRouter:
    @pytest.mark.parametrize("make", [Switch, Slow], ids=ids)
    def test_passes(self, make: Any) -> None:
        """A router keeps the contract, at once or after a while."""
        check(make)

    def test_shared(self) -> None:
        """All rules may be checked on one router."""
        router: Router = Switch()

        check(lambda: router)

    @pytest.mark.parametrize(("broken", "rules"), BROKEN, ids=ids)
    def test_catches(self, broken: Any, rules: Sequence[str]) -> None:
        """A router that breaks a rule is caught, and the rule is named."""
        assert_breaks(lambda: check(broken), rules)

    def test_every_rule(self) -> None:
        """Every rule is broken by one of the routers above."""
        assert never_broken(suite._RULES, BROKEN) == []
