"""`explore`: run a workflow under every fault and every pair, and check what must hold."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pyflow.define.wiring import is_async
from pyflow.define.workflow import Workflow
from pyflow.errors import shown
from pyflow.spans import Span, seconds
from pyflow.testing.arguments import (
    AS_FAKES,
    AS_PARAMS,
    call_problem,
    check_invariant,
    check_kinds,
    check_script,
    check_world,
    mapping,
    several,
)
from pyflow.testing.errors import SimulationError
from pyflow.testing.exploration.explored import Explored
from pyflow.testing.exploration.laboratory import Laboratory
from pyflow.testing.exploration.report import Counterexample, Exploration, Progress
from pyflow.testing.exploration.scout import Scout
from pyflow.testing.exploration.search import Made, Search
from pyflow.testing.exploration.spreading import Crew, can_spread
from pyflow.testing.exploration.telling import tell, write_test
from pyflow.testing.exploration.template import Template, unequal
from pyflow.testing.exploration.trial import Options, Trial
from pyflow.testing.faults import KINDS, Fault, FaultKind
from pyflow.testing.simulation import aside
from pyflow.testing.where import name_of
from pyflow.testing.world import World
from pyflow.testing.world.given import check_seed

if TYPE_CHECKING:
    from pyflow.define.environment import Environment
    from pyflow.testing.stage import Fake

__all__ = ["always", "explore", "replay"]

Factory: TypeAlias = Callable[[], Workflow]
Told: TypeAlias = Callable[[Progress], object]
AnyInvariant: TypeAlias = Callable[[Explored], object]
AlwaysInvariant = TypeVar("AlwaysInvariant", bound=Callable[[World], object])

FAULTS_MAX = 5
PROGRESS_EVERY_S = 1.0
YOUNG_MAX = 50_000
"""How many objects may come to be, while runs are made, before garbage is looked for among them."""
COUNTEREXAMPLES_MAX = 20
PROCESSES_MAX = 256


def always(invariant: AlwaysInvariant, /) -> AlwaysInvariant:
    """Mark *invariant* as one that is asked about the world at every change of it.

    Without the mark an invariant is asked about the run, once it has ended::

        from pyflow.testing import World, always


        @always
        def at_most_six_instances(world: World) -> None:
            assert sum(world.services["shop"].counts().values()) <= 6
    """
    invariant.always = True  # type: ignore[attr-defined]
    return invariant


def explore(
    factory: Factory | Workflow,
    *,
    world: World,
    faults: int = 2,
    kinds: Iterable[FaultKind] = KINDS,
    invariants: Iterable[Callable[..., object]] = (),
    fakes: Mapping[str, Fake] | None = None,
    params: Mapping[str, Any] | None = None,
    environment: Environment | None = None,
    seed: int = 0,
    within: Span = "7d",
    time_limit: Span | None = None,
    prune: bool = True,
    find_all: bool = False,
    progress: Told | bool | None = None,
    max_parallel: int = 64,
    drain_timeout: Span = "10m",
    processes: int = 1,
) -> Exploration:
    """Run a workflow under every combination of up to *faults* faults, in virtual time.

    Something can go wrong at every point that a run reaches: before and after
    each function, in each call of the world's ports, around each commit of
    the journal (a crash, an operator's cancel, pause or rollback), in the
    middle of each wait, and during undos as well. A minute after a crash
    another engine takes the run up. Every run starts from the world as it was
    handed in, which is also how it is left.

    Equal runs have to be equal: a factory that keeps something from one run to
    the next, or draws at random, is refused as soon as that shows.

    Pruning takes two states for the same if tasks, calls under way, records
    and world are, whatever the time; of a call under way it knows what it was
    answered, of a poll the last look. Of a run that rolls back it forgets why
    once nothing else is under way, unless an undo or a finalizer asks for that
    (``ctx.cause``, ``ctx.outcome``) or an invariant does (`Explored.state`,
    `Explored.result`, `Explored.events`, `Explored.calls`); once that shows, it
    begins again and forgets nothing, so invariants see some runs twice. The
    time that this takes counts. Switch it off where behaviour depends on
    the hour, where a function keeps in a variable what it was told and another
    acts on that (an output would be seen), or a probe until its next look, or
    where an invariant looks at the whole history of a run.

    Args:
        factory: Returns the workflow, a new one at each call, with functions
            that act on *world*. It is called for every run, and again for
            whoever takes a run up after a crash.
        world: Where it runs.
        faults: How many things may go wrong in one run, at most.
        kinds: What may go wrong; all of `KINDS` unless given.
        invariants: What has to hold besides the built-in invariants: functions of
            an `Explored` run, or, marked with `always`, of the `World`. Broken if one
            returns False or a sentence, or fails an assertion, or raises.
        fakes: What stands in for functions; as for `simulate`.
        params: Values for the workflow's parameters.
        environment: Where it runs.
        seed: Decides everything that is drawn.
        within: How much virtual time a run may take; longer counts as never ending.
        time_limit: How much real time to spend; unless given, as much as it takes.
        prune: Whether a run is given up at a state that another went on from.
        find_all: Whether to go on after the first counterexample, up to 20.
        progress: Called about once a second; True writes to stderr, which is
            also done where stderr is a terminal and nothing else is said.
        max_parallel: As for `pyflow.Engine`.
        drain_timeout: As for `pyflow.Engine`.
        processes: How many processes make the runs. The report is the same whatever
            the number. They are forked, so what the workflow and the invariants keep
            in variables stays with them; where the system cannot fork, or where
            other threads run, this process makes all runs itself.

    Raises:
        DefinitionError: The workflow or a parameter is wrong.
        SimulationError: An argument makes no sense, the workflow asks for what
            a simulation cannot give, or equal runs differ.
    """
    made_by = _as_factory(factory)
    check_world(world)
    if type(faults) is not int or not 0 <= faults <= FAULTS_MAX:
        raise SimulationError(f"faults={shown(faults)}: give a whole number from 0 to {FAULTS_MAX}")
    if type(processes) is not int or not 1 <= processes <= PROCESSES_MAX:
        raise SimulationError(
            f"processes={shown(processes)}: give a whole number from 1 to {PROCESSES_MAX}"
        )
    chosen = frozenset(check_kinds(kinds))
    limit_s = seconds(time_limit, what="time_limit") if time_limit is not None else None
    options = _options(
        invariants,
        fakes=fakes,
        params=params,
        environment=environment,
        seed=seed,
        within=within,
        max_parallel=max_parallel,
        drain_timeout=drain_timeout,
    )

    began = _stopwatch_s()
    most = COUNTEREXAMPLES_MAX if find_all else 1

    def explored(options: Options) -> Exploration:
        def prepare() -> tuple[Laboratory, Search]:
            laboratory = Laboratory(Template(made_by), world, options)
            return laboratory, Search(laboratory.run, faults=faults, kinds=chosen, prune=prune)

        crew = Crew(processes, prepare) if processes > 1 and can_spread() else None
        laboratory, search = prepare()
        if crew is not None:
            crew.help(search)
        tour = _Tour(factory, laboratory, search, _told(progress), began=began)
        try:
            with _as_found(world), _few_collections():
                return tour.make(limit_s=limit_s, most=most)
        finally:
            laboratory.close()
            if crew is not None:
                crew.close()

    def work() -> Exploration:
        if prune and not any(map(callable, options.fakes.values())):
            try:
                return explored(replace(options, looks_back=False))
            except _LookedBack:
                pass  # so states count as one that are not; and it begins again
        return explored(options)

    with _as_found(world):
        return _heard(aside(work))


def replay(
    factory: Factory | Workflow,
    *,
    world: World,
    faults: Sequence[Fault],
    invariants: Iterable[Callable[..., object]] = (),
    fakes: Mapping[str, Fake] | None = None,
    params: Mapping[str, Any] | None = None,
    environment: Environment | None = None,
    seed: int = 0,
    within: Span = "7d",
    max_parallel: int = 64,
    drain_timeout: Span = "10m",
) -> Exploration:
    """Run a workflow once under the given *faults*, and check what `explore` checks.

    Raises:
        SimulationError: An argument makes no sense, or the run never gets to
            the point of one of them, or it cannot happen there.
    """
    made_by = _as_factory(factory)
    check_world(world)
    script = check_script(faults)
    options = _options(
        invariants,
        fakes=fakes,
        params=params,
        environment=environment,
        seed=seed,
        within=within,
        max_parallel=max_parallel,
        drain_timeout=drain_timeout,
    )

    def work() -> Exploration:
        laboratory = Laboratory(Template(made_by), world, options)
        search = Search(laboratory.run, faults=len(script), kinds=frozenset(KINDS), prune=False)
        tour = _Tour(factory, laboratory, search, None, began=_stopwatch_s())
        try:
            return tour.repeat(script)
        finally:
            laboratory.close()

    with _as_found(world):
        return _heard(aside(work))


def _heard(report: Exploration) -> Exploration:
    """Return *report*, of which pytest hears where it has loaded our plugin."""
    plugin = sys.modules.get("_pyflow_pytestplugin")
    if plugin is not None:
        plugin.explored(report)
    return report


@contextmanager
def _as_found(world: World) -> Generator[None]:
    """Leave *world* as it is now, on the thread whose loop its clock may follow."""
    saved, faults = world.save(), world.faults
    try:
        yield
    finally:
        world.restore(saved)
        world.faults = faults


@contextmanager
def _few_collections() -> Generator[None]:
    """Look for garbage less often: a run leaves little of it, and makes many objects that live on."""
    before = gc.get_threshold()
    if before[0]:
        gc.set_threshold(max(before[0], YOUNG_MAX), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _LookedBack(Exception):
    """A function or an invariant wants to know why a run rolled back."""


class _Tour:
    """One exploration, while it goes on."""

    def __init__(
        self,
        factory: object,
        laboratory: Laboratory,
        search: Search,
        told: Told | None,
        *,
        began: float,
    ) -> None:
        self._factory = factory
        self._laboratory = laboratory
        self._search = search
        self._told = told
        self._began = self._said = began
        self._found: list[Counterexample] = []

    def make(self, *, limit_s: float | None, most: int) -> Exploration:
        """Make every run, until the time is up or *most* counterexamples are found.

        Raises:
            _LookedBack: Somebody looked at what is forgotten of runs that roll back.
        """
        for trial in self._search.trials():
            if trial.scout.looked_back is not None and not self._laboratory.options.looks_back:
                raise _LookedBack
            if not trial.violations:
                _check_repeats(trial)
            broken = self._news(trial)
            if broken is not None:
                assert isinstance(trial, Trial)  # which a run that broke something is
                self._found.append(self._told_of(_shrunk(self._laboratory, trial, broken)))
            elapsed_s = self._tell(trial)
            if len(self._found) >= most or (limit_s is not None and elapsed_s > limit_s):
                break
        return self._report()

    def repeat(self, script: tuple[Fault, ...]) -> Exploration:
        """Make one run alone."""
        trial = self._search.attempt(script)
        self._search.forget()
        trial.scout.check_used()
        if trial.violations:
            assert isinstance(trial, Trial)
            self._found.append(self._told_of(trial))
        return self._report()

    def _news(self, trial: Made) -> str | None:
        """Return an invariant that *trial* broke, and that no part of its faults broke before."""
        known = {
            one.invariant
            for found in self._found
            if set(found.faults) <= set(trial.script)
            for one in found.violations
        }
        new = (one.invariant for one in trial.violations if one.invariant not in known)
        return next(new, None)

    def _told_of(self, trial: Trial) -> Counterexample:
        assert trial.explored is not None
        violations, options = tuple(trial.violations), self._laboratory.options
        return Counterexample(
            faults=trial.script,
            violations=violations,
            run=trial.explored,
            timeline=tell(trial.explored, violations),
            test=write_test(self._factory, trial.script, violations[0], options),
        )

    def _tell(self, trial: Made) -> float:
        now = _stopwatch_s()
        if self._told is not None and now - self._said >= PROGRESS_EVERY_S:
            self._said = now
            search, faults = self._search, len(trial.script)
            self._told(Progress(search.runs, search.waiting, faults, now - self._began))
        return now - self._began

    def _report(self) -> Exploration:
        search = self._search
        self._found.sort(key=lambda one: len(one.faults))
        return Exploration(
            workflow=self._laboratory.workflow_name,
            faults=search.faults,
            runs=search.runs,
            by_faults=dict(sorted(search.by_faults.items())),
            by_kind={kind: search.by_kind[kind] for kind in KINDS if search.by_kind[kind]},
            points=len(search.points),
            pruned=search.pruned,
            skipped=search.waiting,
            endings=dict(sorted(search.endings.items())),
            elapsed_s=_stopwatch_s() - self._began,
            counterexamples=tuple(self._found),
        )


def _check_repeats(trial: Made) -> None:
    """Check that a run got to where an equal one had got to before.

    Raises:
        SimulationError: It did not, so trying all faults means nothing.
    """
    try:
        trial.scout.check_used()
    except SimulationError as error:
        raise unequal(error) from None


def _shrunk(laboratory: Laboratory, trial: Trial, broken: str) -> Trial:
    """Return a run that breaks the invariant *broken* too, with as few faults as possible.

    Raises:
        SimulationError: Made again, the same run did not break it.
    """
    for number in range(len(trial.script)):
        script = trial.script[:number] + trial.script[number + 1 :]
        smaller = laboratory.run(script, Scout(script, frozenset()))
        if any(one.invariant == broken for one in smaller.violations):
            return _shrunk(laboratory, smaller, broken)
    # Once more and to its end, which it has not seen where it was given up on the way.
    whole = laboratory.run(trial.script, Scout(trial.script, frozenset()))
    if not any(one.invariant == broken for one in whole.violations):
        script = "; ".join(map(str, trial.script)) or "no fault"
        raise unequal(f"one under {script} broke {broken!r}, and the next did not")
    return whole


def _stopwatch_s() -> float:
    """Return real seconds, for how long an exploration takes; nothing in it depends on them."""
    return time.monotonic()


# Arguments --------------------------------------------------------------------------------


def _options(
    invariants: Iterable[Callable[..., object]],
    *,
    fakes: Mapping[str, Fake] | None,
    params: Mapping[str, Any] | None,
    environment: Environment | None,
    seed: int,
    within: Span,
    max_parallel: int,
    drain_timeout: Span,
) -> Options:
    check_seed(seed)
    given = several("invariants", invariants)
    for invariant in given:
        check_invariant(invariant)
    return Options(
        fakes=mapping("fakes", fakes, example=AS_FAKES),
        params=mapping("params", params, example=AS_PARAMS),
        environment=environment,
        seed=seed,
        within_s=seconds(within, what="within"),
        max_parallel=max_parallel,
        drain_timeout_s=seconds(drain_timeout, what="drain_timeout", zero=True),
        at_the_end=tuple(one for one in given if not getattr(one, "always", False)),
        always=tuple(one for one in given if getattr(one, "always", False)),
    )


def _as_factory(factory: Factory | Workflow) -> Factory:
    if isinstance(factory, Workflow):
        return lambda: factory
    if not callable(factory):
        raise SimulationError(f"{shown(factory)} is no workflow, nor a function that returns one")
    name = name_of(factory)
    if is_async(factory):
        raise SimulationError(f"the factory {name} is async; make it a plain function")
    reason = call_problem(factory, 0)
    if reason is not None:
        raise SimulationError(
            f"the factory {name} {reason}; write lambda: {name.rpartition('.')[2]}(...) with what "
            "it is to be given"
        )
    return factory


def _told(progress: Told | bool | None) -> Told | None:
    if callable(progress):
        return progress
    if progress is None:
        progress = sys.stderr.isatty()
    return _on_stderr if progress else None


def _on_stderr(progress: Progress) -> None:
    sys.stderr.write(f"{progress}\n")
