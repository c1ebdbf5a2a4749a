"""What a script makes of the calls of a simulated world's ports."""

from __future__ import annotations

from typing import Any

import pytest

from pyflow.protocols import Notifier
from pyflow.testing import (
    SimulationError,
    applied_then_fails,
    fails,
    flaps,
    hangs,
    lies,
    missing,
    nan,
    original,
    returns,
    run_virtual,
    stale,
    takes,
)
from support.ports import EFFECTS, LOOKS, message, outcome
from support.worlds import shop


@pytest.mark.parametrize("name", EFFECTS)
class TestEffects:
    """Calls that change something: whether they end, what they raise, and whether they did it."""

    @pytest.mark.parametrize(
        ("behaviour", "ends", "applied"),
        [
            (original(), "done at 0 s", True),
            (takes("10s"), "done at 10 s", True),
            (fails(OSError), "OSError at 0 s", False),
            (applied_then_fails(OSError), "OSError at 0 s", True),
            (takes("10s", then=applied_then_fails(OSError)), "OSError at 10 s", True),
            (lies(), "done at 0 s", False),
            (takes("10s", then=lies()), "done at 10 s", False),
            (hangs(), "TimeoutError at 60 s", False),
        ],
        ids=repr,
    )
    def test_misbehave(self, name: str, behaviour: Any, ends: str, applied: bool) -> None:
        """A scripted call comes to what its behaviour says, and does what that says."""
        op, port, act, done = EFFECTS[name]
        world = shop()
        port(world).on(op, behaviour)

        assert run_virtual(outcome(act(world))) == ends
        assert done(world) is applied

    def test_by_number(self, name: str) -> None:
        """A script counts calls; later ones do as then= says, and then as if there were none."""
        op, port, act, done = EFFECTS[name]
        world = shop()
        port(world).on(op, fails(OSError, times=2, then=fails(KeyError, times=1)))

        seen = [run_virtual(outcome(act(world))).split()[0] for _ in range(4)]

        assert seen == ["OSError", "OSError", "KeyError", "done"]
        assert done(world) is True

    def test_replaced(self, name: str) -> None:
        """A new script takes the place of the one before, and counts anew."""
        op, port, act, _ = EFFECTS[name]
        world, once = shop(), fails(OSError, times=1)
        seen: list[str] = []
        for _ in range(2):
            port(world).on(op, once)
            seen += [run_virtual(outcome(act(world))).split()[0] for _ in range(2)]

        assert seen == ["OSError", "done"] * 2

    def test_impossible(self, name: str) -> None:
        """What has no answer cannot give a false one."""
        op, port, act, done = EFFECTS[name]
        world = shop()
        port(world).on(op, stale())

        with pytest.raises(
            SimulationError, match=f"{name}.{op} cannot be 'stale'; it can be: fails"
        ):
            run_virtual(act(world))
        assert done(world) is False


@pytest.mark.parametrize("name", LOOKS)
class TestLooks:
    """Calls that only look: whether they end, and what they answer."""

    @pytest.mark.parametrize(
        ("behaviour", "ends"),
        [
            (original(), "done at 0 s"),
            (takes("10s"), "done at 10 s"),
            (fails(OSError), "OSError at 0 s"),
            (applied_then_fails(OSError), "OSError at 0 s"),
            (hangs(), "TimeoutError at 60 s"),
        ],
        ids=repr,
    )
    def test_misbehave(self, name: str, behaviour: Any, ends: str) -> None:
        """A scripted look ends as its behaviour says."""
        port, look = LOOKS[name]
        world = shop()
        port(world).on(name, behaviour)

        assert run_virtual(outcome(look(world))) == ends

    def test_answers_as_scripted(self, name: str) -> None:
        """A look may answer anything that a script says."""
        port, look = LOOKS[name]
        world = shop()
        port(world).on(name, returns("anything"))

        assert run_virtual(look(world)) == "anything"

    def test_has_to_answer(self, name: str) -> None:
        """A look cannot lie by doing nothing; the error says what it can do."""
        port, look = LOOKS[name]
        world = shop()
        port(world).on(name, lies())

        with pytest.raises(
            SimulationError, match=rf"{name} has to answer .* lies\(\) is no answer"
        ):
            run_virtual(look(world))


class TestScripts:
    def test_unknown_call(self) -> None:
        """A script for a call that the port lacks is refused, and the nearest is named."""
        world = shop()

        with pytest.raises(
            SimulationError, match="platform has no call 'scal'; did you mean 'scale'"
        ):
            world.platform.on("scal", fails())
        with pytest.raises(
            SimulationError, match=r"router has no call 'x'\. It has: weights, set_w"
        ):
            world.router.on("x", fails())

    def test_no_behaviour(self) -> None:
        """A script is a behaviour, made by calling one of them."""
        with pytest.raises(SimulationError, match=r"platform\.scale cannot do <function lies"):
            shop().platform.on("scale", lies)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("op", "behaviour"),
        [
            ("platform.observe", missing()),
            ("platform.observe", flaps()),
            ("router.weights", nan()),
            ("probe.read", stale()),
            ("metrics.query", stale()),
            ("metrics.query", flaps()),
        ],
        ids=str,
    )
    def test_impossible(self, op: str, behaviour: Any) -> None:
        """Not every answer can be spoilt in every way; the error says in which it can."""
        world = shop()
        name = op.split(".")[1]
        port = (
            world.probe("shop") if name == "read" else getattr(world, op.split(".", maxsplit=1)[0])
        )
        port.on(name, behaviour)
        kind = behaviour.act(1).twist

        with pytest.raises(SimulationError, match=f"{op} cannot be '{kind}'; it can be: "):
            run_virtual(LOOKS[name][1](world))


class TestNotifier:
    def test_keeps(self) -> None:
        """It keeps what it is told, in order."""
        world = shop()
        notifier: Notifier = world.notifier
        told = [message(), message()]
        for one in told:
            run_virtual(notifier.notify(one))

        assert world.notifier.sent == told
