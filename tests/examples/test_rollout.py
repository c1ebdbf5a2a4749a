"""The rollout of the examples: safe under every fault, and only because of the looks that it takes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pyflow.testing import Exploration, World, always, explore, simulate

ROOT = Path(__file__).parents[2]
COMMAND = "python examples/rollout.py"


@pytest.fixture
def rollout(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "examples")
    return import_module("rollout")


def explored(rollout: Any, faults: int = 1, **options: Any) -> Exploration:
    """Explore the rollout in a world of its own."""
    world = rollout.make_world()
    return explore(lambda: rollout.make_rollout(world), world=world, faults=faults, **options)


class TestMakeRollout:
    def test_succeeds(self, rollout: Any) -> None:
        """Without faults the new version has all the traffic at the end, and the old one is gone."""
        world = rollout.make_world()

        simulation = simulate(rollout.make_rollout(world), world=world)

        assert simulation.status == "succeeded"
        assert len(simulation.order) == 8
        assert world.facts() == {
            "shop instances 2.0": 4,
            "shop weight 2.0": 100.0,
            "schema version": 0,
        }

    def test_refuses_a_bad_release(self, rollout: Any) -> None:
        """A release that fails too often is taken back at 5 %, and all is as before."""
        world = rollout.make_world()
        world.release("shop", rollout.NEW, startup="30s", error_rate=0.1)
        before = world.facts()

        simulation = simulate(rollout.make_rollout(world), world=world)

        assert simulation.status == "rolled_back"
        assert simulation.tasks["measure_5"].status == "failed"
        assert world.facts() == before

    def test_is_safe(self, rollout: Any) -> None:
        """Under every single fault the rollout keeps every invariant."""
        report = explored(rollout)

        assert report.ok, report

    def test_keeps_bad_releases_small(self, rollout: Any) -> None:
        """Whatever fails, a bad release gets no more than 5 % of the traffic."""
        world = rollout.make_world()
        world.release("shop", rollout.NEW, startup="30s", error_rate=0.1)

        @always
        def is_small(world: Any) -> bool:
            return world.services["shop"].now.weights.get(rollout.NEW, 0) <= 5

        report = explore(
            lambda: rollout.make_rollout(world), world=world, faults=1, invariants=[is_small]
        )

        assert report.ok, report


class TestShop:
    def test_needs_to_look_at_weights(self, rollout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the look at the weights, a router that lies takes the shop down."""

        async def shift(shop: Any, pct: float) -> None:
            weights = {rollout.OLD: 100 - pct, rollout.NEW: pct}
            await shop.router.set_weights("shop", weights)

        monkeypatch.setattr(rollout.Shop, "shift", shift)
        report = explored(rollout)

        assert report.counterexample is not None
        assert [str(fault) for fault in report.counterexample.faults] == [
            "shift_100#1 router.set_weights#1: lies"
        ]

    def test_needs_to_look_at_instances(
        self, rollout: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without the look at the instances, an undo believes a platform that lies."""

        async def scale(shop: Any, ctx: Any, version: str, instances: int) -> None:
            await shop.platform.scale("shop", version, instances)
            if instances:
                await shop.check(ctx, version)

        monkeypatch.setattr(rollout.Shop, "scale", scale)
        report = explored(rollout, faults=2, kinds=["roll_back", "lies"])

        assert report.counterexample is not None
        assert report.counterexample.faults[-1].kind == "lies"
        assert report.counterexample.run.status == "rolled_back"

    def test_needs_to_look_thrice(self, rollout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A probe that is asked once has traffic sent to instances that still start."""
        monkeypatch.setattr(rollout, "consistently", lambda probe: probe)
        report = explored(rollout)

        assert report.counterexample is not None
        assert [fault.kind for fault in report.counterexample.faults] == ["flipped"]


class TestMain:
    def test_tries_every_pair(
        self, rollout: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The program explores pairs of faults, prints the report, and ends with 0 where all is safe."""
        asked: list[tuple[int, bool]] = []

        def small(factory: Any, *, world: World, faults: int, progress: bool) -> Exploration:
            asked.append((faults, progress))
            return explore(factory, world=world, faults=0)

        monkeypatch.setattr(rollout, "explore", small)
        with pytest.raises(SystemExit) as ended:
            rollout.main()

        assert ended.value.code == 0
        assert asked == [(2, True)]
        assert "all safe" in capsys.readouterr().out

    def test_says_what_is_wrong(
        self, rollout: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Where it is not safe, the program prints the counterexample and ends with 1."""

        def broken(factory: Any, *, world: World, **options: Any) -> Exploration:
            return explore(factory, world=world, faults=0, invariants=[lambda run: False])

        monkeypatch.setattr(rollout, "explore", broken)
        with pytest.raises(SystemExit) as ended:
            rollout.main()

        assert ended.value.code == 1
        assert "counterexample: an invariant does not hold" in capsys.readouterr().out

    def test_is_documented(self, rollout: Any) -> None:
        """The page on proofs and the program itself name the command line that runs it."""
        page = (ROOT / "docs/how-to/prove-a-rollout.md").read_text()

        assert COMMAND in page
        assert COMMAND in (rollout.__doc__ or "")
        assert "(../../examples/rollout.py)" in page
