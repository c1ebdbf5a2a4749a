"""No test leaves anything behind: no thread, no open loop, no task, no timer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from support.leftovers import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ("pytester",)

# A busy machine is no fault, and a failure has to come back; `make soak` draws anew each time.
settings.register_profile(
    "pyflow",
    deadline=None,
    derandomize="PYFLOW_SOAK" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("pyflow")

ADVICE = (
    "Join each thread, close each engine and loop, await or cancel each task, cancel each timer. "
    "If tasks or timers have to be left: @pytest.mark.leaves(why)."
)


@pytest.fixture(scope="session")
def watch() -> Iterator[Watch]:
    """What sees every loop and thread of the session."""
    watch = Watch()
    with watch.installed():
        yield watch


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest, watch: Watch) -> Iterator[None]:
    """Fail a test that leaves anything behind.

    A test marked `leaves` leaves tasks or timers, whose loop has been closed,
    and fails if it leaves none. Threads and open loops are never let pass.
    """
    watch.begin()
    yield
    left = watch.end()
    if request.node.get_closest_marker("leaves") is not None:
        gone = [thing for thing in left if thing.kind in ("task", "timer")]
        if not gone:
            pytest.fail("marked `leaves`, but no task or timer was left", pytrace=False)
        left = [thing for thing in left if thing not in gone]
    if left:
        lines = "".join(f"\n  {thing}" for thing in left)
        pytest.fail(f"left behind:{lines}\n{ADVICE}", pytrace=False)
