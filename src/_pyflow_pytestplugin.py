"""The pytest plugin of pyflow: fixtures for simulated deployments, and seeds that can be replayed.

It stands beside the package, because pytest loads it in every session of
everybody who has pyflow installed: it imports nothing until a fixture is used.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from pyflow.testing import (
        Exploration,
        Sample,
        SimulatedEngine,
        SimulatedNotifier,
        Simulation,
        World,
    )

SEED = pytest.StashKey[int]()
SIMULATED = pytest.StashKey[list[str]]()
EXPLORED = pytest.StashKey[list[str]]()
UNDER_WAY: list[pytest.Item] = []
"""The test that runs now, below those whose session it is a part of."""
SHOWN_MAX = 3
DIGITS_MAX = 40


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--pyflow-seed``."""
    parser.getgroup("pyflow").addoption(
        "--pyflow-seed",
        default="0",
        metavar="N|random",
        help="seed of every simulated world, engine and run (default: 0)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the seed, once for the whole session."""
    text = str(config.getoption("--pyflow-seed"))
    if text == "random":
        import secrets

        config.stash[SEED] = secrets.randbelow(2**31)
    elif text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX:
        config.stash[SEED] = int(text)
    else:
        raise pytest.UsageError(
            f"--pyflow-seed={text!r}: give a whole number from 0, of up to {DIGITS_MAX} digits, "
            "or the word random"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Know which test is under way."""
    UNDER_WAY.append(item)
    try:
        return (yield)
    finally:
        UNDER_WAY.pop()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin anew, also where a test is run again."""
    _explored_by(item).clear()


def explored(exploration: Exploration) -> None:
    """Keep what *exploration* found for the test under way; whoever explored calls this."""
    if UNDER_WAY and not exploration.ok:
        told = _explored_by(UNDER_WAY[-1])
        told.append(str(exploration))
        del told[:-SHOWN_MAX]


def _explored_by(item: pytest.Item) -> list[str]:
    """Return what was found while *item* was under way, to add to."""
    return item.stash.setdefault(EXPLORED, [])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say, under a test that failed, what was explored and simulated, and how to do that again."""
    report = yield
    if report.failed:
        _add_section(report, "pyflow exploration", [*_handed_in(item), *_explored_by(item)])
        simulated = item.stash.get(SIMULATED, None)
        if simulated is not None:
            seed = item.config.stash[SEED]
            replay = f"replay: pytest {_place(item)} --pyflow-seed={seed}"
            _add_section(report, "pyflow simulation", simulated, replay)
    return report


def _add_section(report: pytest.TestReport, title: str, told: list[str], *more: str) -> None:
    """Add a section with the last of what was *told*, which is nearest to the failure."""
    paragraphs = [*told[-SHOWN_MAX:], *more]
    if paragraphs:
        report.sections.append((title, "\n\n".join(paragraphs)))


def _handed_in(item: pytest.Item) -> list[str]:
    """Return what those explorations found that fixtures made before *item* began."""
    module = sys.modules.get("pyflow.testing.exploration.report")
    if module is None:
        return []
    fixtures: dict[str, Any] = getattr(item, "funcargs", None) or {}
    found = [one for one in fixtures.values() if isinstance(one, module.Exploration)]
    told = [str(one) for one in found if not one.ok]
    return [text for text in told if text not in _explored_by(item)]


def _place(item: pytest.Item) -> str:
    """Return what names *item* on a command line, in the directory that pytest was called in."""
    path, *names = item.nodeid.split("::")
    path = os.path.relpath(item.config.rootpath / path, item.config.invocation_params.dir)
    return shlex.quote("::".join([path, *names]))


@pytest.fixture
def pyflow_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this session, as ``--pyflow-seed`` gives it."""
    request.node.stash[SIMULATED] = []
    return request.config.stash[SEED]


@pytest.fixture
def pyflow_world(pyflow_seed: int) -> World:
    """An empty simulated infrastructure."""
    from pyflow.testing import World

    return World(seed=pyflow_seed)


@pytest.fixture
def pyflow_notifications(pyflow_world: World) -> SimulatedNotifier:
    """The notifier of `pyflow_world`; what it was told is in its ``sent``."""
    return pyflow_world.notifier


@pytest.fixture
def pyflow_engine(pyflow_seed: int) -> Iterator[SimulatedEngine]:
    """An engine in virtual time: ``execute`` takes milliseconds, whatever the workflow waits for."""
    from pyflow.testing import SimulatedEngine

    with SimulatedEngine(seed=pyflow_seed) as engine:
        yield engine


@pytest.fixture
def pyflow_simulation(
    request: pytest.FixtureRequest, pyflow_seed: int, pyflow_world: World
) -> Callable[..., Simulation]:
    """`pyflow.testing.simulate`, with the session's seed and in `pyflow_world`.

    Where the test fails, what it simulated is shown below the failure.
    """
    from pyflow.testing import simulate

    def simulated(workflow: Any, **options: Any) -> Simulation:
        options = {"seed": pyflow_seed, "world": pyflow_world, **options}
        simulation = simulate(workflow, **options)
        request.node.stash[SIMULATED].append(str(simulation))
        return simulation

    return simulated


@pytest.fixture
def pyflow_blue_green(pyflow_world: World) -> Sample:
    """A blue-green rollout, with `pyflow_world` set up for it."""
    return _sample("blue_green", pyflow_world)


@pytest.fixture
def pyflow_canary(pyflow_world: World) -> Sample:
    """A canary rollout of three steps, with `pyflow_world` set up for it."""
    return _sample("canary", pyflow_world)


@pytest.fixture
def pyflow_release_train(pyflow_world: World) -> Sample:
    """A release train of a schema and two services, with `pyflow_world` set up for it."""
    return _sample("release_train", pyflow_world)


@pytest.fixture
def pyflow_progressive(pyflow_world: World) -> Sample:
    """Hand over a rollout over three targets in three waves, with `pyflow_world` set up for it."""
    return _sample("progressive", pyflow_world)


@pytest.fixture
def pyflow_rolling(pyflow_world: World) -> Sample:
    """Hand over a rolling update of four instances, with `pyflow_world` set up for it."""
    return _sample("rolling", pyflow_world)


def _sample(strategy: str, world: World) -> Sample:
    from pyflow.testing import Sample

    return Sample.of(strategy, world)
