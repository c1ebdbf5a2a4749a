"""Progressive: one target after another, in waves, each judged before the next begins."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable as Function
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

from pyflow.errors import DefinitionError, NeedsDecision, RolloutError, Unconfirmed, shown
from pyflow.protocols import Platform, Router
from pyflow.strategies.ground import Survey
from pyflow.strategies.measuring import is_comparison, measured
from pyflow.strategies.portions import batches, portion, waves_of
from pyflow.strategies.rollout import BACKOFF, LOOK_RETRY, SPARE_S, UNDO_RETRY, Rollout
from pyflow.strategies.targets import Place, Standing, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.define.policies import OnFailure
    from pyflow.define.workflow import Workflow
    from pyflow.run.context import AsyncContext
    from pyflow.spans import Backoff, Span
    from pyflow.strategies.portions import Portion
    from pyflow.strategies.rollout import Check

__all__ = ["progressive"]

WAVES: tuple[Portion, ...] = (1, "10%", "50%", "100%")
NAME_CHARS_MAX = 80
Scope: TypeAlias = Literal["wave", "all"]
Standings: TypeAlias = dict[str, Standing]
PlatformOf: TypeAlias = Function[[str], Platform]
RouterOf: TypeAlias = Function[[str], Router]


def progressive(
    service: str,
    version: str,
    *,
    targets: Sequence[Target | str],
    platform: PlatformOf | None = None,
    router: RouterOf | None = None,
    waves: Sequence[Portion] = WAVES,
    max_unavailable: Portion = "100%",
    tolerate: Portion = 0,
    bake: Span | None = None,
    checks: Sequence[Check] = (),
    approval: str | None = None,
    abort_scope: Scope = "all",
    ready_within: Span = "10m",
    check_within: Span = "1h",
    on_failure: OnFailure = "rollback",
    backoff: Backoff = BACKOFF,
) -> Workflow:
    """Return the rollout of *version* over *targets*, in waves, with checks between them.

    At each target the new version starts beside the old one, at full
    capacity; where there is a router it gets the traffic; then the old one
    goes. A target that has the version already is left as it is, so a rollout
    that ended half-way can be made again. Targets that matter less come
    earlier, and a rollback goes back in reverse.

    Args:
        service: The service; its lock is ``service:<service>``.
        version: The version to roll out.
        targets: Hosts, regions, tenants or cells: each a `Target`, or a name
            for which *platform* returns the platform.
        platform: Returns the platform of a target that is a name.
        router: Returns its router; without it such a target has none.
        waves: How many targets have been rolled over after each wave, of all
            targets: counts, or percentages, which are rounded up. The last is
            all of them; a wave that adds none is left out.
        max_unavailable: How many targets may be under way at once, there and
            back: a count, or a percentage of all of them, rounded down, at least one.
        tolerate: How many targets may fail, in all; rounded down. One that does
            is taken back at once and left behind.
        bake: How long to wait after each wave before it is judged.
        checks: What has to be well then; see `canary`. Comparisons are made up
            to the last wave, after which there is nothing to compare with.
        approval: A question to people after each wave but the last.
        abort_scope: What a failure takes back: `all` that was done, or the
            `wave` that failed, after which the run ends as `failed`, with
            earlier waves as they are. A person who rolls back takes back all.
        ready_within: How long instances may take to become ready.
        check_within: How long one check may take.
        on_failure: What a failure leads to, where *abort_scope* is `all`.
        backoff: The waits between tries, and between looks at what is to become ready.

    Raises:
        DefinitionError: An argument makes no sense.
    """
    several = _targets(targets, platform, router)
    _check_scope(abort_scope, on_failure)
    ends = waves_of("progressive", waves, len(several))
    together = _limit("max_unavailable", max_unavailable, len(several), least=1)
    fleet = _Fleet(
        several,
        tolerate=_limit("tolerate", tolerate, len(several), least=0),
        measures=bool(measured(checks)),
        service=service,
        version=version,
        ready_within=ready_within,
        check_within=check_within,
        on_failure="stop" if abort_scope == "wave" else on_failure,
        backoff=backoff,
    )
    names = [target.name for target in sorted(several, key=lambda one: one.criticality)]
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False), start=1):
        is_last = end == len(names)
        fleet.wave(names[start:end], together=together)
        fleet.reached(100 * end / len(names))
        made = [one for one in checks if not (is_last and is_comparison(one))]
        fleet.judge(f"bake_{number}", bake, f"check_{number}", made)
        fleet.approve(f"approve_{number}", None if is_last else approval)
        fleet.close()
    if abort_scope == "wave":
        fleet.take_back()
    return fleet.workflow


def _targets(
    given: Sequence[Target | str], platform: PlatformOf | None, router: RouterOf | None
) -> list[Target]:
    """Return the targets, each with its ports.

    Raises:
        DefinitionError: There are none, two have one name, or one has no platform.
    """
    several: list[object] = [] if isinstance(given, str) else list(given)
    problems = [] if several else [f"targets={shown(given)} must be a list of targets"]
    made: list[Target] = []
    for one in several:
        if isinstance(one, Target):
            made.append(one)
        elif isinstance(one, str) and platform is not None:
            made.append(Target(one, platform(one), router(one) if router is not None else None))
        else:
            hint = "give a Target, or a name and platform=, which returns the platform of each"
            problems.append(f"{shown(one)} is no target; {hint}")
    names = [_slug(one.name).lower() for one in made]
    problems += [
        f"two targets are called {one.name!r}, or nearly so; tell them apart by letters or digits"
        for number, one in enumerate(made)
        if names.index(names[number]) < number
    ]
    problems += [
        f"{one.name!r} is no name of a target"
        for one in made
        if not 0 < len(one.name) <= NAME_CHARS_MAX
    ]
    problems += [
        f"target {one.name!r}: instances={shown(one.instances)} must be a whole number of 1 or more"
        for one in made
        if one.instances is not None and (type(one.instances) is not int or one.instances < 1)
    ]
    if problems:
        raise DefinitionError("progressive", problems)
    return made


def _limit(what: str, given: Portion, total: int, *, least: int) -> int:
    """Return *given* as a number of targets, of at least *least*.

    Raises:
        DefinitionError: It is no such number.
    """
    found = portion(given, total, up=False)
    if found is None or (found < least and type(given) is int):
        problem = f"{what}={shown(given)} must be a count of {least} or more, or a percentage"
        raise DefinitionError("progressive", [problem])
    return max(least, found)


def _check_scope(scope: Scope, on_failure: OnFailure) -> None:
    if scope not in ("wave", "all"):
        problem = f'abort_scope={shown(scope)} must be "all" or "wave"'
        raise DefinitionError("progressive", [problem])
    if scope == "wave" and on_failure != "rollback":
        problem = (
            f'abort_scope="wave" says what a failure leads to, and on_failure={shown(on_failure)} '
            "something else; leave one of them out"
        )
        raise DefinitionError("progressive", [problem])


class _Fleet(Rollout):
    """A rollout over several targets, one wave after another."""

    def __init__(
        self, targets: Sequence[Target], *, tolerate: int, measures: bool, **options: Any
    ) -> None:
        self._targets = {target.name: target for target in targets}
        self._tolerate = tolerate
        self._measures = measures
        self._waves: list[_Wave] = []
        self._counted: dict[str, str] = {}
        first = targets[0]  # each target has a place, and hands, of its own
        ports = {"platform": first.platform, "router": first.router}
        locks = [f"service:{one.service}" for one in targets if one.service is not None]
        super().__init__("progressive", locks=locks, **ports, **options)

    def _begin(self) -> None:
        hands = self._hands
        self._places = {
            name: Place(
                target, hands.service, hands.version, ready_s=hands.ready_s, backoff=hands.backoff
            )
            for name, target in self._targets.items()
        }
        self._look("standings", self._look_around)
        if self._measures:
            self._look("survey", self._sum_up)

    # Steps --------------------------------------------------------------------------------

    def wave(self, names: list[str], *, together: int) -> None:
        """Roll these targets over, at most *together* at once, there and back."""
        begun = len(self.workflow.tasks)
        self._waves.append(_Wave(batches(names, together), begun))
        for batch in self._waves[-1].batches:
            before = self._before
            self._before = tuple(map(_task, batch))
            for name in batch:
                self._roll_over(name, before)
            if self._tolerate:
                self._count(batch)

    def _roll_over(self, name: str, before: tuple[str, ...]) -> None:
        timeout_s = 2 * self._ready_s + SPARE_S  # there, and back where it is left behind
        self.workflow.add_task(
            _task(name),
            partial(self._roll, name=name),
            depends_on=before,
            on_interrupt="rerun",
            timeout=timeout_s,
        )
        self.workflow.add_recovery(
            _task(name), partial(self._unroll, name=name), retry=UNDO_RETRY, timeout=timeout_s
        )

    def _count(self, batch: list[str]) -> None:
        """Have it counted how many failed, with those before."""
        name = f"count_{len(self.workflow.tasks)}"
        inputs = {f"target_{n}": _task(one) for n, one in enumerate(batch, start=1)}
        tally = Tally(batch, self._tolerate, after=bool(self._counted))
        self._look(name, tally, inputs={**inputs, **self._counted})
        self._counted = {"before": name}

    def reached(self, pct: float) -> None:
        """Note that so much of all is done, for who compares."""
        self._ladder.append(pct)

    def close(self) -> None:
        """End the wave: what was added since it began belongs to it."""
        wave = self._waves[-1]
        wave.tasks.extend(task.name for task in self.workflow.tasks[wave.begun :])

    def take_back(self) -> None:
        """Have a failure take back the wave in which it was, and nothing else."""
        backs: list[str] = []
        for wave in self._waves:
            before: tuple[str, ...] = ()
            for batch in reversed(wave.batches):
                for name in batch:
                    self._add_back(name, (*wave.tasks, *before))
                before = tuple(map(_back, batch))
                backs += before
        self._before = tuple(backs)
        self._add("abort", self._abort, effect=False, timeout=SPARE_S)

    def _add_back(self, name: str, before: tuple[str, ...]) -> None:
        self.workflow.add_task(
            _back(name),
            partial(self._take_back, name=name),
            depends_on=before,
            join="failure",
            retry=UNDO_RETRY,
            on_interrupt="rerun",
            timeout=2 * self._ready_s + SPARE_S,
        )

    def _look(self, name: str, fn: Function[..., Any], **options: Any) -> None:
        """Add what changes nothing."""
        self._add(name, fn, effect=False, retry=LOOK_RETRY, timeout=SPARE_S, **options)

    # What the tasks do --------------------------------------------------------------------

    async def _look_around(self) -> Standings:
        found = await asyncio.gather(*map(_stand, self._places.values()))
        standings = dict(zip(self._places, found, strict=True))
        problems = [f"{name}: {one.problem}" for name, one in standings.items() if one.problem]
        if len(problems) > self._tolerate:
            raise RolloutError("; ".join(problems))
        if all(one.survey is None for one in found):
            hands = self._hands
            nowhere = "; ".join(problems) or f"{hands.version} is at every target already"
            raise RolloutError(f"{hands.service}: {nowhere}")
        return standings

    async def _sum_up(self, standings: Standings) -> Survey:
        """Return one survey for all: what is compared with, and how much there is."""
        found = [one.survey for one in standings.values() if one.survey is not None]
        olds = sum(one.stable_instances for one in found)
        return Survey(found[0].stable, olds, sum(one.instances for one in found))

    async def _roll(self, ctx: AsyncContext, standings: Standings, *, name: str) -> str | None:
        """Roll one target over; return why it is left behind, if it is."""
        standing, place = standings[name], self._places[name]
        if standing.survey is None:
            return standing.problem
        try:
            await place.forward(ctx, standing.survey)
        except NeedsDecision:
            raise
        except Exception as error:
            if not self._tolerate:
                raise
            await place.back(ctx, standing.survey)
            return str(error) or shown(error)
        return None

    async def _unroll(self, ctx: AsyncContext, standings: Standings, *, name: str) -> None:
        survey = standings[name].survey
        if survey is not None:
            await self._places[name].back(ctx, survey)

    async def _take_back(
        self, ctx: AsyncContext, standings: Standings | None, *, name: str
    ) -> None:
        """Take back what was begun at one target, in a wave in which something failed."""
        if standings is None or ctx.outcome(_task(name)) == "blocked":
            return
        if "taking back" not in ctx.checkpoints:
            ctx.checkpoint("taking back", value=True)  # so that no look is trusted to do nothing
        try:
            await self._unroll(ctx, standings, name=name)
        except NeedsDecision:
            raise
        except Exception as error:
            raise Unconfirmed(f"{name} could not be taken back: {error or shown(error)}") from error

    async def _abort(self, ctx: AsyncContext) -> NoReturn:
        failed = [task.name for task in self.workflow.tasks if ctx.outcome(task.name) == "failed"]
        back = [
            name
            for name in self._targets
            if ctx.outcome(_back(name)) == "succeeded" and ctx.outcome(_task(name)) != "blocked"
        ]
        raise RolloutError(
            f"{', '.join(failed)} failed, and what was taken back is: {', '.join(back) or 'nothing'}; "
            "earlier waves are as they were"
        )


@dataclass(frozen=True, slots=True)
class _Wave:
    """What belongs to one wave."""

    batches: list[list[str]]
    """Its targets, those together that may be under way at once."""

    begun: int
    """How many tasks there were before it."""

    tasks: list[str] = field(default_factory=list[str])
    """Its tasks."""


class Tally:
    """A task function: counts the targets that failed, one argument for each, with those before.

    Args:
        names: The targets of the arguments ``target_1`` and so on.
        tolerate: How many may have failed.
        after: Whether there is an argument ``before``, the number up to now.
    """

    def __init__(self, names: Sequence[str], tolerate: int, *, after: bool) -> None:
        self._names = tuple(names)
        self._tolerate = tolerate
        arguments = [f"target_{number}" for number in range(1, len(names) + 1)]
        self.__signature__ = inspect.Signature(
            [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Any)
                for name in (*arguments, *(["before"] if after else []))
            ]
        )

    async def __call__(self, *, before: int = 0, **reasons: str | None) -> int:
        """Return how many have failed.

        Raises:
            RolloutError: They are too many.
        """
        said = zip(self._names, reasons.values(), strict=True)
        failed = [f"{name}: {reason}" for name, reason in said if reason is not None]
        count = before + len(failed)
        if count > self._tolerate:
            raise RolloutError(
                f"{count} targets have failed, and {self._tolerate} may: {'; '.join(failed)}"
            )
        return count


async def _stand(place: Place) -> Standing:
    try:
        return Standing(await place.look())
    except Exception as error:  # noqa: BLE001 - told with those of the others
        return Standing(None, str(error) or shown(error))


def _slug(name: str) -> str:
    """Return *name* as part of the name of a task."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _task(name: str) -> str:
    return f"roll_{_slug(name)}"


def _back(name: str) -> str:
    return f"take_back_{_slug(name)}"
