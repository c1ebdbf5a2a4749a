"""What every `Clock` has to keep."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pyflow.errors import shown
from pyflow.testing.contracts.rules import check_rules, expect_a
from pyflow.testing.loop import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyflow.protocols import Clock

__all__ = ["check_clock"]

READINGS = 100


def check_clock(make: Callable[[], Clock]) -> None:
    """Check that a clock keeps what `Clock` promises.

    It tells aware instants in UTC, as often as it is asked, with and without
    an event loop that runs. The loop is one in virtual time. Whether the
    instants are true is not checked, nor that they never go back: they may.

    Call it from plain code, where no loop runs.

    Args:
        make: Returns a clock at each call.

    Raises:
        AssertionError: Names every rule that is broken, and how.
        DefinitionError: An argument makes no sense, which is no fault of the clock.
    """
    check_rules(_RULES, make)


def _tells_instants(clock: Clock) -> None:
    """`now` returns a `datetime` where no event loop runs."""
    expect_a(datetime, clock.now())


def _tells_utc(clock: Clock) -> None:
    """The instant is aware, in UTC."""
    now = clock.now()
    if now.utcoffset() != timedelta(0):
        raise AssertionError(f"found {shown(now)}, expected an offset of zero, as with tzinfo=UTC")


def _answers_again(clock: Clock) -> None:
    """`now` may be read again and again."""
    for _ in range(READINGS):
        expect_a(datetime, clock.now())


def _answers_under_a_loop(clock: Clock) -> None:
    """`now` returns a `datetime` where an event loop runs."""

    async def read() -> datetime:
        return clock.now()

    expect_a(datetime, run_virtual(read()))


_RULES: tuple[Callable[[Clock], None], ...] = (
    _tells_instants,
    _tells_utc,
    _answers_again,
    _answers_under_a_loop,
)
