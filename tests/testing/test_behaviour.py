"""Behaviours: what each call comes to, by number, and how they say so."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.testing.behaviour import (
    Act,
    Behaviour,
    applied_then_fails,
    fails,
    flaps,
    hangs,
    lies,
    missing,
    nan,
    original,
    returns,
    stale,
    takes,
)

Failing = Callable[..., Behaviour]
BOTH = pytest.mark.parametrize("failing", [fails, applied_then_fails], ids=lambda f: f.__name__)


class Denied(Exception):
    """An error that is not made from what it keeps in its ``args``."""

    def __init__(self, who: str, why: str) -> None:
        super().__init__(f"{who}: {why}")
        self.who = who


class Greets(Exception):
    """An error that takes one thing and keeps another."""

    def __init__(self, who: str) -> None:
        super().__init__(f"hello {who}")


class Silent(Exception):
    """An error that takes nothing."""

    def __init__(self) -> None:
        super().__init__("silence")


def errors(behaviour: Behaviour, calls: int) -> list[str | None]:
    """Return the error of each call, by its type, None where there is none."""
    acts = [behaviour.act(number) for number in range(1, calls + 1)]
    return [type(act.error).__name__ if act and act.error else None for act in acts]


def error_of(behaviour: Behaviour, number: int = 1) -> BaseException:
    """Return the error that a call comes to."""
    act = behaviour.act(number)
    assert act is not None
    assert act.error is not None
    return act.error


class TestEveryCall:
    @pytest.mark.parametrize(
        ("behaviour", "act"),
        [
            (original(), Act(does=True)),
            (returns(None), Act(does=False, value=None)),
            (returns({"image": "shop:2"}), Act(does=False, value={"image": "shop:2"})),
            (lies(), Act(does=False)),
            (hangs(), Act(delay_s=math.inf, does=False)),
            (takes("10m"), Act(delay_s=600.0)),
            (takes(timedelta(hours=1)), Act(delay_s=3600.0)),
            (takes(0), Act(delay_s=0.0)),
            (stale(), Act(twist="stale")),
            (stale("90s"), Act(twist="stale", age_s=90.0)),
            (missing(), Act(twist="missing")),
            (nan(), Act(twist="nan")),
        ],
        ids=lambda value: repr(value) if isinstance(value, Behaviour) else "",
    )
    def test_is_alike(self, behaviour: Behaviour, act: Act) -> None:
        """Behaviours without times come to the same in the first call and in the thousandth."""
        assert [behaviour.act(number) for number in (1, 2, 1_000)] == [act] * 3

    def test_flaps(self) -> None:
        """Every second call, from the first one on, tells the opposite of the truth."""
        twists = [act.twist if act else "?" for act in map(flaps().act, range(1, 6))]

        assert twists == ["flipped", None, "flipped", None, "flipped"]

    def test_keeps_no_count(self) -> None:
        """A behaviour is a value: what call 3 comes to does not depend on the calls before."""
        behaviour = fails(KeyError, times=2)

        assert [behaviour.act(3), errors(behaviour, 2), behaviour.act(3)] == [
            None,
            ["KeyError", "KeyError"],
            None,
        ]


class TestFails:
    @BOTH
    def test_always(self, failing: Failing) -> None:
        """Without times= every call fails."""
        assert errors(failing(KeyError), 5) == ["KeyError"] * 5

    @pytest.mark.parametrize(
        ("behaviour", "does", "kind"),
        [(fails(), False, RuntimeError), (applied_then_fails(), True, TimeoutError)],
        ids=repr,
    )
    def test_defaults(self, behaviour: Behaviour, does: bool, kind: type) -> None:
        """Unless told otherwise one fails before its effect, the other after it, as lost calls do."""
        act = behaviour.act(1)

        assert act is not None
        assert (act.does, type(act.error), act.delay_s) == (does, kind, 0.0)

    @BOTH
    def test_times(self, failing: Failing) -> None:
        """After *times* failures comes what would have been done anyway."""
        behaviour = failing(KeyError, times=2)

        assert errors(behaviour, 2) == ["KeyError", "KeyError"]
        assert [behaviour.act(3), behaviour.act(4)] == [None, None]

    @BOTH
    def test_then(self, failing: Failing) -> None:
        """After *times* failures comes what *then* says."""
        behaviour = failing(KeyError, times=2, then=returns(7))

        assert errors(behaviour, 2) == ["KeyError", "KeyError"]
        assert behaviour.act(3) == behaviour.act(4) == Act(does=False, value=7)

    def test_then_counts_from_one(self) -> None:
        """What follows counts its own calls, however deep it is nested."""
        behaviour = fails(
            KeyError,
            times=2,
            then=fails(ValueError, times=1, then=applied_then_fails(OSError, times=2)),
        )

        assert errors(behaviour, 6) == ["KeyError"] * 2 + ["ValueError"] + ["OSError"] * 2 + [None]
        assert behaviour.act(6) is None

    def test_then_flaps(self) -> None:
        """A behaviour that looks at numbers begins anew where it follows another."""
        behaviour = fails(times=1, then=flaps())

        twists = [act.twist if act else "?" for act in map(behaviour.act, range(1, 5))]

        assert twists == [None, "flipped", None, "flipped"]

    @pytest.mark.parametrize(
        "error", [KeyboardInterrupt, SystemExit(3), ExceptionGroup("g", [ValueError()])], ids=repr
    )
    def test_anything_raised(self, error: Any) -> None:
        """What can be raised can be simulated, also what is no Exception."""
        kind = error if isinstance(error, type) else type(error)

        assert type(error_of(fails(error))) is kind


class TestExceptions:
    def test_of_a_class(self) -> None:
        """A class is made into an exception that says where it comes from, a new one each time."""
        behaviour = fails(ConnectionError)

        one, other = error_of(behaviour), error_of(behaviour)

        assert one is not other
        assert (str(one), type(one)) == ("simulated", ConnectionError)

    def test_of_a_class_that_takes_nothing(self) -> None:
        """A class that takes no message is made without one."""
        assert str(error_of(fails(Silent))) == "silence"

    @pytest.mark.parametrize(
        "error",
        [
            ConnectionError("refused"),
            FileNotFoundError(2, "gone", "shop.yaml"),
            subprocess.CalledProcessError(3, ["deploy"]),
            Denied("ann", "no"),
            Greets("ann"),
            KeyError(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_given(self, error: Exception) -> None:
        """An exception is copied with all that it says, whatever its class takes."""
        behaviour = fails(error)

        one, other = error_of(behaviour), error_of(behaviour)

        assert one is not other
        assert error not in (one, other)
        assert type(one) is type(error)
        assert (str(one), one.args, vars(one)) == (str(error), error.args, vars(error))

    def test_gather_no_traceback(self) -> None:
        """What one call leaves on its exception is not there in the next one."""
        error = ConnectionError("refused")
        behaviour = fails(error)
        for number in (1, 2):
            one = error_of(behaviour, number)
            assert (one.__traceback__, one.__context__) == (None, None)

            with pytest.raises(ConnectionError):
                raise one
            assert one.__traceback__ is not None

        assert error.__traceback__ is None


class TestTakes:
    @pytest.mark.parametrize(
        ("then", "act"),
        [
            (returns(7), Act(5.0, does=False, value=7)),
            (original(), Act(5.0, does=True)),
            (takes("1m"), Act(65.0)),
            (hangs(), Act(math.inf, does=False)),
            (stale("1m"), Act(5.0, twist="stale", age_s=60.0)),
            (nan(), Act(5.0, twist="nan")),
        ],
        ids=lambda value: repr(value) if isinstance(value, Behaviour) else "",
    )
    def test_then(self, then: Behaviour, act: Act) -> None:
        """What follows comes after the delay, and keeps all that it is."""
        assert takes(5, then=then).act(1) == act

    def test_then_fails(self) -> None:
        """A failure may follow, and then what follows that; each after the delay."""
        behaviour = takes("5s", then=fails(KeyError, times=1, then=lies()))

        first = behaviour.act(1)
        assert first is not None
        assert (first.delay_s, first.does, type(first.error)) == (5.0, False, KeyError)
        assert behaviour.act(2) == Act(5.0, does=False)

    def test_then_nothing(self) -> None:
        """Once what follows has run out, the delay remains, and what would have been done anyway."""
        assert takes("5s", then=fails(times=1)).act(2) == Act(5.0)

    def test_after_failures(self) -> None:
        """A delay may follow failures, which themselves come at once."""
        behaviour = fails(KeyError, times=1, then=takes("4m", then=returns(1)))

        first = behaviour.act(1)
        assert first is not None
        assert first.delay_s == 0.0
        assert behaviour.act(2) == Act(240.0, does=False, value=1)


class TestRepr:
    @pytest.mark.parametrize(
        ("behaviour", "text"),
        [
            (original(), "original()"),
            (returns({"a": 1}), "returns({'a': 1})"),
            (lies(), "lies()"),
            (hangs(), "hangs()"),
            (takes("10m"), "takes('10m')"),
            (takes(5, then=returns(1)), "takes(5, then=returns(1))"),
            (fails(), "fails(RuntimeError)"),
            (fails(KeyError("a")), "fails(KeyError('a'))"),
            (fails(OSError, times=2), "fails(OSError, times=2)"),
            (
                fails(OSError, times=2, then=takes("4m")),
                "fails(OSError, times=2, then=takes('4m'))",
            ),
            (applied_then_fails(), "applied_then_fails(TimeoutError)"),
            (applied_then_fails(OSError, times=1), "applied_then_fails(OSError, times=1)"),
            (stale(), "stale()"),
            (stale("5m"), "stale('5m')"),
            (missing(), "missing()"),
            (nan(), "nan()"),
            (flaps(), "flaps()"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_is_how_it_was_written(self, behaviour: Behaviour, text: str) -> None:
        """A behaviour shows the code that makes it."""
        assert repr(behaviour) == text

    def test_is_short(self) -> None:
        """A large value is cut."""
        assert len(repr(returns("x" * 10_000))) < 250


class TestBadArguments:
    @BOTH
    @pytest.mark.parametrize(
        "error", ["KeyError", 7, None, int, lambda: None], ids=["text", "7", "None", "int", "def"]
    )
    def test_no_exception(self, failing: Failing, error: Any) -> None:
        """What cannot be raised is refused, and named."""
        with pytest.raises(TypeError, match=r"fails\(.*\): give an exception, or a class of") as e:
            failing(error)

        assert str(e.value).startswith(f"{failing.__name__}(")

    @BOTH
    def test_a_class_that_needs_arguments(self, failing: Failing) -> None:
        """A class that cannot be made from nothing is refused when it is given, not when it is due."""
        with pytest.raises(
            TypeError, match=r"CalledProcessError\): it needs arguments; give an exception, as in"
        ):
            failing(subprocess.CalledProcessError)

    @BOTH
    @pytest.mark.parametrize("times", [0, -1, True, 1.5, "2"], ids=repr)
    def test_times(self, failing: Failing, times: Any) -> None:
        """A number of times is a whole number from 1."""
        with pytest.raises(ValueError, match=rf"\(times={times!r}\): give a whole number from 1"):
            failing(times=times)

    @BOTH
    def test_then_never(self, failing: Failing) -> None:
        """What would never come is refused."""
        with pytest.raises(ValueError, match=r"then=returns\(1\)\) would never come.*say times="):
            failing(then=returns(1))

    @pytest.mark.parametrize(
        ("then", "text"),
        [
            (5, "then=5): give a behaviour, such as returns(1)"),
            (lambda: None, "then=TestBadArguments.<lambda>): give a behaviour"),
            (hangs, "then=hangs): write hangs() with the parentheses"),
            (RuntimeError, "then=RuntimeError): write fails(RuntimeError), which raises it"),
            (OSError("no"), "then=OSError('no')): write fails(OSError('no')), which raises it"),
        ],
        ids=["number", "function", "behaviour", "class", "exception"],
    )
    def test_then_no_behaviour(self, then: Any, text: str) -> None:
        """What follows is a behaviour, and anything else is refused when it is given."""
        for name, make in (
            ("takes", lambda: takes("5s", then=then)),
            ("fails", lambda: fails(times=1, then=then)),
            ("applied_then_fails", lambda: applied_then_fails(times=1, then=then)),
        ):
            with pytest.raises(TypeError) as caught:
                make()
            assert str(caught.value).startswith(f"{name}({text}")

    @pytest.mark.parametrize("span", ["soon", -1, math.inf, math.nan, None, True], ids=repr)
    def test_spans(self, span: Any) -> None:
        """A span that is none is refused, and what it was for is named."""
        with pytest.raises(DefinitionError, match="takes"):
            takes(span)

    @pytest.mark.parametrize("age", ["soon", 0, -1, math.nan], ids=repr)
    def test_ages(self, age: Any) -> None:
        """An age is more than nothing."""
        with pytest.raises(DefinitionError, match="stale"):
            stale(age)
