"""What a test may not say of a world: each mistake gives one error that says what to give."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.testing import SimulationError, World, lies, run_virtual
from support.worlds import HOUR, shop

BAD: dict[str, tuple[Callable[[World], object], str]] = {
    "service twice": (lambda w: w.service("shop", version="1"), "has a service 'shop' already"),
    "service name": (lambda w: w.service("my shop", version="1"), "no name for a service"),
    "service number": (lambda w: w.service(7, version="1"), "no name for a service"),  # type: ignore[arg-type]
    "service version": (lambda w: w.service("b", version=""), "'' is no name for a version"),
    "service instances": (
        lambda w: w.service("b", version="1", instances=-1),
        "number of instances of b cannot be -1; give a whole number from 0 to 10,000",
    ),
    "release version": (lambda w: w.release("shop", "2 0"), "'2 0' is no name for a version"),
    "release error_rate": (
        lambda w: w.release("shop", "2", error_rate=2),
        "error_rate cannot be 2; give a finite number from 0 to 1$",
    ),
    "release latency": (lambda w: w.release("shop", "2", latency_s=-1), "latency_s cannot be -1"),
    "release capacity": (
        lambda w: w.release("shop", "2", capacity_rps=math.inf),
        "capacity_rps cannot be inf; give a finite number from 0$",
    ),
    "traffic rps": (lambda w: w.traffic("shop", math.nan), "rps cannot be nan; give a number"),
    "traffic text": (lambda w: w.traffic("shop", "9"), "rps cannot be '9'"),  # type: ignore[arg-type]
    "traffic wave": (lambda w: w.traffic("shop", 9, wave=1.5), "wave cannot be 1.5"),
    "at": (lambda w: w.at("1s", None), r"at\(\) cannot do None"),  # type: ignore[arg-type]
    "probe version": (lambda w: w.probe("shop", "2 0"), "'2 0' is no name for a version"),
    "probe ready": (lambda w: w.probe("shop", ready=0), "ready cannot be 0.* from 1"),
    "scale version": (lambda w: w.apply_scale("shop", " ", 1), "' ' is no name for a version"),
    "scale count": (lambda w: w.apply_scale("shop", "2", True), "cannot be True"),
    "scale limit": (lambda w: w.apply_scale("shop", "2", 10_001), "cannot be 10001"),
    "kill": (lambda w: w.kill("shop", "1.0", -1), "to kill cannot be -1.* from 1"),
    "weights sum": (lambda w: w.apply_weights("shop", {"1.0": 99}), "{'1.0': 99}.*sum to 100"),
    "weights none": (lambda w: w.apply_weights("shop", {}), "sum to 100"),
    "weights sign": (lambda w: w.apply_weights("shop", {"1": 120, "2": -20}), "percentages"),
    "weights nan": (lambda w: w.apply_weights("shop", {"1": math.nan}), "weight of shop .* nan"),
    "weights version": (lambda w: w.apply_weights("shop", {"": 100}), "no name for a version"),
    "config key": (lambda w: w.config.update({1: 2}), "1 is no name for a setting"),  # type: ignore[dict-item]
    "schema": (lambda w: setattr(w, "schema_version", "2"), "schema version cannot be '2'"),
    "date": (lambda w: w.seconds_of(datetime(2026, 1, 1)), "has no time zone"),  # noqa: DTZ001
}  # fmt: skip


class TestBadArguments:
    @pytest.mark.parametrize("case", BAD)
    def test_are_refused(self, case: str) -> None:
        """What cannot be is refused with what was given and what to give, and changes nothing."""
        world, (act, words) = shop(), BAD[case]
        before = world.facts()

        with pytest.raises(SimulationError, match=words):
            act(world)
        assert world.facts() == before

    @pytest.mark.parametrize("span", ["soon", -1, math.nan])
    def test_spans(self, span: Any) -> None:
        """A span that is none is refused as everywhere else."""
        world = shop()

        with pytest.raises(DefinitionError, match="startup"):
            world.release("shop", "2.0", startup=span)
        with pytest.raises(DefinitionError, match="at"):
            world.at(span, lambda: None)

    @pytest.mark.parametrize("window", [timedelta(0), "5m"], ids=str)
    def test_windows(self, window: Any) -> None:
        """A window has to be a span of time above zero."""
        with pytest.raises(SimulationError, match="window cannot be"):
            run_virtual(shop().metrics.query("rps shop", window=window))

    def test_unknown_service(self) -> None:
        """Whoever asks for a service that is not there is told of the nearest."""
        world = shop()
        asked: list[Callable[[], Any]] = [
            lambda: world.find("shp"),
            lambda: world.release("shp", "2.0"),
            lambda: world.traffic("shp", 1),
            lambda: world.probe("shp"),
            lambda: world.kill("shp", "1.0"),
            lambda: run_virtual(world.platform.observe("shp")),
            lambda: run_virtual(world.platform.scale("shp", "1.0", 1)),
            lambda: run_virtual(world.router.weights("shp")),
            lambda: run_virtual(world.router.set_weights("shp", {"1.0": 100})),
            lambda: run_virtual(world.metrics.query("rps shp", window=HOUR)),
        ]

        for ask in asked:
            with pytest.raises(SimulationError, match=r"did you mean 'shop'.* It has: shop\. Add"):
                ask()

    def test_unknown_service_of_a_liar(self) -> None:
        """What does nothing when it is called refuses a service that is not there all the same."""
        world = shop()
        world.platform.on("scale", lies())
        world.router.on("set_weights", lies())

        with pytest.raises(SimulationError, match="did you mean 'shop'"):
            run_virtual(world.platform.scale("shp", "2.0", 1))
        with pytest.raises(SimulationError, match="did you mean 'shop'"):
            run_virtual(world.router.set_weights("shp", {"2.0": 100}))

    def test_no_service(self) -> None:
        """Where there is nothing near, or nothing at all, the error says what there is."""
        with pytest.raises(SimulationError, match=r"no service 'shop'\. It has: none\. Add it"):
            World().find("shop")
        with pytest.raises(SimulationError, match=r"no service \['shop'\]"):
            shop().find(["shop"])  # type: ignore[arg-type]
