"""A rollout over several targets: its tasks, wave after wave, each with its way back.

Each target is a task of its own, so people can have one tried again. A wave of
more targets than may be under way at once goes by batches, and so does the
way back.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from pyflow.errors import NeedsDecision, RolloutError, Unconfirmed, shown
from pyflow.strategies.ground import Survey
from pyflow.strategies.portions import batches
from pyflow.strategies.rollout import LOOK_RETRY, SPARE_S, UNDO_RETRY, Rollout
from pyflow.strategies.targets import Place, Standing

if TYPE_CHECKING:
    from collections.abc import Callable as Function
    from collections.abc import Sequence

    from pyflow.run.context import AsyncContext
    from pyflow.strategies.targets import Target

__all__ = ["Fleet", "slug"]

Standings: TypeAlias = dict[str, Standing]


class Fleet(Rollout):
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
        """Have a failure take back the wave in which it was, and nothing else.

        What handles the failure takes nothing back itself, and so does not
        fail. Whatever cannot be taken back is then a failure of its own, which
        holds the run.
        """
        backs: list[str] = []
        for number, wave in enumerate(self._waves, start=1):
            found = f"wave_{number}_failed"
            self._before = tuple(wave.tasks)
            self._look(found, partial(self._find_begun, wave=wave), join="failure")
            for batch in reversed(wave.batches):
                for name in batch:
                    self._add_back(name, found, self._before)
                self._before = tuple(map(_back, batch))
                backs += self._before
        self._before = tuple(backs)
        self._add("abort", self._abort, effect=False, timeout=SPARE_S)

    def _add_back(self, name: str, found: str, before: tuple[str, ...]) -> None:
        self.workflow.add_task(
            _back(name),
            partial(self._take_back, name=name),
            depends_on=before,
            retry=UNDO_RETRY,
            on_interrupt="rerun",
            timeout=2 * self._ready_s + SPARE_S,
            inputs={"standings": found},
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

    async def _find_begun(
        self, ctx: AsyncContext, standings: Standings | None, *, wave: _Wave
    ) -> Standings:
        """Return how those targets of *wave* stood of which any has been begun."""
        names = (name for batch in wave.batches for name in batch)
        begun = [name for name in names if ctx.outcome(_task(name)) != "blocked"]
        return {name: standings[name] for name in begun if standings is not None}

    async def _take_back(self, ctx: AsyncContext, standings: Standings, *, name: str) -> None:
        """Take back what was begun at one target, in a wave in which something failed."""
        if name not in standings:
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


def slug(name: str) -> str:
    """Return *name* as part of the name of a task."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _task(name: str) -> str:
    return f"roll_{slug(name)}"


def _back(name: str) -> str:
    return f"take_back_{slug(name)}"
