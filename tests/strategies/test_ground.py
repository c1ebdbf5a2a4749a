"""The pure rules of every rollout."""

from __future__ import annotations

import pytest

from pyflow.errors import RolloutError
from pyflow.protocols import Instance, ServiceState
from pyflow.strategies.ground import (
    Survey,
    counts,
    is_same,
    left,
    needed,
    ready,
    shares,
    split,
    surveyed,
)


def state(**ready_by_version: list[bool]) -> ServiceState:
    """Return a service with instances that are ready or not, by version."""
    instances = [
        Instance(f"{version}-{number}", version, is_ready)
        for version, several in ready_by_version.items()
        for number, is_ready in enumerate(several)
    ]
    return ServiceState("shop", tuple(instances), "g")


class TestSurveyed:
    def test_finds_the_stable_version(self) -> None:
        """The version with all of the traffic is stable, and its capacity is full capacity."""
        survey = surveyed("shop", "new", state(old=[True, True]), {"old": 100}, instances=None)

        assert survey == Survey("old", stable_instances=2, instances=2)

    def test_takes_another_capacity(self) -> None:
        """Full capacity of the new version may be another number."""
        survey = surveyed("shop", "new", state(old=[True]), {"old": 100}, instances=5)

        assert (survey.stable_instances, survey.instances) == (1, 5)

    @pytest.mark.parametrize(
        ("found", "weights", "reason"),
        [
            (state(old=[True]), {"old": 60, "new": 40}, "share the traffic"),
            (state(old=[True]), {}, "share the traffic"),
            (state(new=[True]), {"new": 100}, "new has all of the traffic already"),
            (state(old=[True], new=[True]), {"old": 100}, "new runs beside old"),
            (state(old=[True], other=[True]), {"old": 100}, "other runs beside old"),
            (state(old=[True, False]), {"old": 100}, "1 of 2 instances of old are ready"),
            (state(), {"old": 100}, "0 of 0 instances of old are ready"),
        ],
    )
    def test_refuses(self, found: ServiceState, weights: dict[str, float], reason: str) -> None:
        """A rollout does not begin where another left off, or where there is no way back."""
        with pytest.raises(RolloutError, match=reason):
            surveyed("shop", "new", found, weights, instances=None)


class TestNumbers:
    def test_are_counted_by_version(self) -> None:
        """Instances and ready ones are counted for each version."""
        found = state(old=[True, False], new=[True])

        assert counts(found) == {"old": 2, "new": 1}
        assert (ready(found, "old"), ready(found, "new"), ready(found, "x")) == (1, 1, 0)

    def test_are_shares(self) -> None:
        """Without weights each version has the share of its instances."""
        assert shares(state(old=[True] * 3, new=[False])) == {"old": 75.0, "new": 25.0}
        assert shares(state()) == {}

    @pytest.mark.parametrize(
        ("instances", "back", "expected"),
        [(3, False, 3), (2, False, 2), (0, False, 1), (3, True, 3), (2, True, 3), (0, True, 1)],
    )
    def test_left_are_those_that_can_serve_for_sure(
        self, instances: int, back: bool, expected: int
    ) -> None:
        """Those that go may be ready ones; on the way back they are those that were started last."""
        found = state(old=[True], new=[True, True, False])

        assert left(found, "new", instances, back=back) == expected

    @pytest.mark.parametrize(
        ("full", "pct", "expected"),
        [(4, 0, 0), (4, 5, 1), (4, 25, 1), (4, 26, 2), (4, 100, 4), (3, 100 / 3, 1), (10, 70, 7)],
    )
    def test_cover_the_share(self, full: int, pct: float, expected: int) -> None:
        """A share of the traffic takes its share of the instances, rounded up."""
        assert needed(full, pct) == expected


class TestWeights:
    def test_are_split(self) -> None:
        """A version without traffic has no weight at all."""
        assert split("old", "new", 5) == {"old": 95.0, "new": 5.0}
        assert split("old", "new", 0) == {"old": 100.0}
        assert split("old", "new", 100) == {"new": 100.0}

    @pytest.mark.parametrize(
        ("seen", "expected", "same"),
        [
            ({"old": 95.2, "new": 4.8}, {"old": 95, "new": 5}, True),
            ({"old": 94, "new": 6}, {"old": 95, "new": 5}, False),
            ({"old": 100}, {"old": 100, "new": 0}, True),
            ({"old": 99.6, "new": 0.4}, {"old": 100}, False),
            ({}, {"old": 100}, False),
        ],
    )
    def test_are_the_same(
        self, seen: dict[str, float], expected: dict[str, float], same: bool
    ) -> None:
        """A router may round, but neither give a version its only traffic nor take it."""
        assert is_same(seen, expected) is same
