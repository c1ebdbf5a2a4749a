"""Mistakes in what is handed to `simulate`, `explore` and `replay`: one error each, before anything runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import pyflow
from pyflow.testing import (
    Explored,
    Fault,
    SimulatedEngine,
    SimulationError,
    World,
    always,
    explore,
    replay,
    returns,
    simulate,
)
from support.simulated import rollout, single


def simulated(workflow: pyflow.Workflow, **options: Any) -> object:
    return simulate(workflow, **options)


def explored(workflow: pyflow.Workflow, **options: Any) -> object:
    given: dict[str, Any] = {"world": World(), "faults": 0, **options}
    return explore(workflow, **given)


def replayed(workflow: pyflow.Workflow, **options: Any) -> object:
    given: dict[str, Any] = {"world": World(), "faults": [], **options}
    return replay(workflow, **given)


ALL = pytest.mark.parametrize("tool", [simulated, explored, replayed])
EXPLORING = pytest.mark.parametrize("tool", [explored, replayed])


def refused(tool: Callable[..., object], **options: Any) -> str:
    """Return what *tool* says to *options*, and make sure that nothing ran before it said so."""
    calls: list[str] = []
    workflow = single(lambda: calls.append("deploy"))
    with pytest.raises(SimulationError) as caught:
        tool(workflow, **options)
    assert calls == []
    return str(caught.value)


class TestWorlds:
    @ALL
    def test_class(self, tool: Any) -> None:
        """The class in place of a world is refused, with the parentheses that it needs."""
        assert refused(tool, world=World) == (
            "world=<class 'pyflow.testing.world.world.World'>: give a World, which is World() with "
            "the parentheses"
        )

    @ALL
    def test_none(self, tool: Any) -> None:
        """What is no world is refused."""
        assert refused(tool, world="w") == "world='w': give a World"


class TestSeeds:
    @ALL
    @pytest.mark.parametrize("seed", [None, [1], "1", 1.0, True], ids=repr)
    def test_none(self, tool: Any, seed: Any) -> None:
        """A seed is a whole number, or the same run could not be made again."""
        assert refused(tool, seed=seed) == f"seed={seed!r}: give a whole number, such as 0"

    @ALL
    @pytest.mark.parametrize("seed", [None, [1]], ids=repr)
    def test_of_the_world(self, tool: Any, seed: Any) -> None:
        """What the world draws by has to be such a seed, too."""
        world = World()
        world.seed = seed

        text = refused(tool, world=world)

        assert text == f"the world's seed={seed!r}: give a whole number, such as 0"

    def test_made(self) -> None:
        """A world asks for one as it is made."""
        with pytest.raises(SimulationError, match="seed=None: give a whole number"):
            World(seed=None)  # type: ignore[arg-type]

    def test_engine(self) -> None:
        """An engine in virtual time asks for the same."""
        with pytest.raises(SimulationError, match="seed=None: give a whole number"):
            SimulatedEngine(seed=None)  # type: ignore[arg-type]

    @ALL
    @pytest.mark.parametrize("seed", [0, 7, -1, 10**39])
    def test_whole(self, tool: Any, seed: int) -> None:
        """Any whole number is a seed, as long as the option of pytest takes them."""
        tool(single(), seed=seed)


class TestMappings:
    @ALL
    @pytest.mark.parametrize("fakes", [["deploy"], "deploy", returns(1), 0, []], ids=repr)
    def test_fakes(self, tool: Any, fakes: Any) -> None:
        """Fakes that are not given by name are refused, empty ones too."""
        text = refused(tool, fakes=fakes)
        assert text == f'fakes={fakes!r}: give a dict, such as {{"deploy": returns(1)}}'

    @ALL
    def test_names(self, tool: Any) -> None:
        """A name that is no text is no function of the workflow."""
        assert refused(tool, fakes={7: returns(1)}).startswith("fakes= has 7, and the workflow has")

    @EXPLORING
    def test_params(self, tool: Any) -> None:
        """Parameters are given by name."""
        assert refused(tool, params=["version"]).startswith("params=['version']: give a dict")


class TestScripts:
    @pytest.mark.parametrize("tool", [simulated, replayed])
    @pytest.mark.parametrize(
        ("faults", "text"),
        [
            (Fault("a", "fails"), "faults=Fault(point='a', kind='fails'): give a list of them"),
            ("x", "faults='x': give a list of them"),
            (None, "faults=None: give a list of them"),
            (["x"], "'x' is no fault; give Fault(point, kind)"),
            ([Fault(1, "fails")], "Fault(point=1, kind='fails') is no fault"),  # type: ignore[arg-type]
            ([Fault("a", "fials")], "'fials' is no kind of fault; did you mean 'fails'? There"),  # type: ignore[arg-type]
            ([Fault("a", "fails"), Fault("a", "hangs")], "two faults cannot happen at one point"),
        ],
        ids=lambda value: "" if isinstance(value, str) else repr(value)[:30],
    )
    def test_none(self, tool: Any, faults: Any, text: str) -> None:
        """A script is a list of faults, each of a known kind and at a point of its own."""
        assert refused(tool, faults=faults).startswith(text)

    @pytest.mark.parametrize("kind", ["crash", "cancel", "pause", "roll_back", "skip", "promote"])
    def test_of_a_run(self, kind: Any) -> None:
        """What only an exploration can make happen is refused with who makes it."""
        fault = Fault("after record 1 (run_started)", kind)

        text = refused(simulated, faults=[fault])

        assert text.startswith(f"simulate() cannot make {kind!r} happen at {fault.point!r}: ")
        assert text.endswith("call replay() with these faults")
        if kind != "skip":  # which needs a task that may be skipped
            assert replayed(single(), faults=[Fault("after record 1 (run_started)", "cancel")])


class TestOperators:
    @pytest.mark.parametrize("awaited", [None, 7], ids=repr)
    def test_plain(self, awaited: Any) -> None:
        """A plain function, which gives nothing to await, is refused with what to write."""
        with pytest.raises(SimulationError) as caught:
            simulate(rollout(), operator=lambda run: awaited)

        assert str(caught.value) == (
            "operator= has to be awaited, and TestOperators.test_plain.<locals>.<lambda> returned "
            f"{awaited!r}; write it with async def"
        )

    def test_generator(self) -> None:
        """A function that yields would do nothing."""

        async def operator(run: pyflow.Run) -> AsyncIterator[int]:
            yield 1

        assert "return instead of yield" in refused(simulated, operator=operator)

    def test_called(self) -> None:
        """A coroutine is refused and closed: it was called where it should be handed over."""
        text = refused(simulated, operator=asyncio.sleep(1))

        assert text == (
            "operator= is the coroutine that sleep() returned; pass the function itself, without (); "
            "it is called with the Run"
        )

    @pytest.mark.parametrize("operator", [7, "cancel"], ids=repr)
    def test_none(self, operator: Any) -> None:
        """What cannot be called is refused."""
        text = refused(simulated, operator=operator)
        assert text.startswith(f"operator= is {operator!r}, which cannot be called")

    def test_asks_for_nothing(self) -> None:
        """An operator who does not take the run is refused before it begins."""

        async def operator() -> None: ...

        text = refused(simulated, operator=operator)

        assert text.startswith("operator= cannot be called with 1 argument: ")

    def test_returns_what_is_awaited(self) -> None:
        """A plain function will do that returns something to await."""

        async def cancel(run: pyflow.Run) -> None:
            run.cancel()

        assert simulate(single(), operator=lambda run: cancel(run)).status == "cancelled"


class TestInvariants:
    @EXPLORING
    def test_async(self, tool: Any) -> None:
        """An async invariant would never be awaited, and so always hold."""

        async def holds(run: Explored) -> bool:
            return False

        text = refused(tool, invariants=[holds])

        assert text.startswith("the invariant TestInvariants.test_async.<locals>.holds is async")

    @EXPLORING
    def test_generator(self, tool: Any) -> None:
        """One that yields would never be run."""

        def holds(run: Explored) -> Any:
            yield False

        assert "return instead of yield" in refused(tool, invariants=[holds])

    @EXPLORING
    @pytest.mark.parametrize(
        ("invariant", "about"),
        [(lambda: True, "an Explored run"), (always(lambda world, more: True), "the World")],  # type: ignore[arg-type]
        ids=["none", "two"],
    )
    def test_arguments(self, tool: Any, invariant: Any, about: str) -> None:
        """One that asks for nothing, or for too much, would be broken whatever happens."""
        text = refused(tool, invariants=[invariant])

        assert "<lambda> cannot be called with 1 argument: " in text
        assert text.endswith(f"; it is called with {about}")


class TestFactories:
    @pytest.mark.parametrize("tool", [explore, replay])
    def test_asks_for_something(self, tool: Any) -> None:
        """A factory that asks for arguments is refused, with how to give it some."""

        def make(world: World) -> pyflow.Workflow:
            raise AssertionError(world)

        with pytest.raises(SimulationError) as caught:
            tool(make, world=World(), faults=[] if tool is replay else 1)

        name = "TestFactories.test_asks_for_something.<locals>.make"
        assert str(caught.value).startswith(
            f"the factory {name} cannot be called without arguments"
        )
        assert "'world'" in str(caught.value)
        assert str(caught.value).endswith("; write lambda: make(...) with what it is to be given")

    def test_async(self) -> None:
        """An async factory is refused, and not called."""

        async def make() -> pyflow.Workflow:
            raise AssertionError

        with pytest.raises(SimulationError, match="make is async; make it a plain function"):
            explore(make, world=World())  # type: ignore[arg-type]
