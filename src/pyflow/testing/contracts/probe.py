"""What every `Probe` has to keep."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

from pyflow.errors import shown
from pyflow.protocols import Health, Reading
from pyflow.record.values import encode
from pyflow.spans import Span, seconds
from pyflow.testing.contracts.rules import check_async_rules, expect_a, run_within

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pyflow.protocols import Probe

__all__ = ["check_probe"]

REPR_CHARS_MAX = 200


async def check_probe(make: Callable[[], Probe], *, within: Span = "1m") -> None:
    """Check that a probe keeps what `Probe` promises.

    It ends in time with a reading that can be recorded, whatever it finds, and
    does so again. Run the suite once where the probe finds things well, and
    once where what it asks is not there: a probe does not raise for either.

    Args:
        make: Returns a probe at each call.
        within: The longest that one reading may take.

    Raises:
        AssertionError: Names every rule that is broken, and how.
        DefinitionError: An argument makes no sense, which is no fault of the probe.
    """
    within_s = seconds(within, what="within=")
    await check_async_rules(_RULES, make, within_s, guard_s=3 * within_s)


async def _answers(probe: Probe, within_s: float) -> None:
    """`read` returns a `Reading` in time, and never raises."""
    await _read(probe, within_s)


async def _names_health(probe: Probe, within_s: float) -> None:
    """The health is healthy, unhealthy or unknown."""
    health = (await _read(probe, within_s)).health
    if health not in get_args(Health):
        raise AssertionError(f"found {shown(health)}")


async def _gives_data(probe: Probe, within_s: float) -> None:
    """The evidence is a dict of JSON data, such as the record can hold."""
    evidence = (await _read(probe, within_s)).evidence
    expect_a(dict, evidence)
    encode(evidence, "evidence")
    json.dumps(evidence, allow_nan=False)


async def _answers_again(probe: Probe, within_s: float) -> None:
    """A probe may be read again."""
    await _read(probe, within_s)
    await _read(probe, within_s)


async def _is_shown(probe: Probe, _: float) -> None:
    """The repr is one line of at most 200 characters."""
    text = repr(probe)
    if len(text.splitlines()) != 1 or len(text) > REPR_CHARS_MAX:
        raise AssertionError(f"found {len(text)} characters: {shown(text)}")


async def _read(probe: Probe, within_s: float) -> Reading:
    return expect_a(Reading, await run_within(within_s, probe.read()))


_RULES: tuple[Callable[[Probe, float], Coroutine[Any, Any, None]], ...] = (
    _answers,
    _names_health,
    _gives_data,
    _answers_again,
    _is_shown,
)
