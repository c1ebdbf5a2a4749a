"""Release train: several services, and changes of state, as one rollout with one way back."""

from __future__ import annotations

import functools
from functools import partial
from typing import TYPE_CHECKING, Any

from pyflow.analysis.checks.base import Check as AnalysisCheck
from pyflow.analysis.running import analysis
from pyflow.define.wiring import is_async, outer
from pyflow.errors import DefinitionError, NeedsDecision
from pyflow.frozen import replace
from pyflow.protocols import Probe
from pyflow.spans import seconds
from pyflow.strategies.coupling import Ends, Service, StateChange, ends_of, name_of, problems_of
from pyflow.strategies.measuring import fitted, lasting_s, measured
from pyflow.strategies.outline import Note, RolloutWorkflow, described
from pyflow.strategies.rollout import SPARE_S, UNDO_RETRY, Check, bake_for, read_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyflow.define.policies import OnFailure
    from pyflow.define.task import Function
    from pyflow.spans import Span

__all__ = ["release_train"]


def release_train(
    name: str = "release_train",
    *,
    services: Iterable[Service | RolloutWorkflow],
    changes: Iterable[StateChange] = (),
    bake: Span | None = None,
    checks: Iterable[Check] = (),
    approval: str | None = None,
    check_within: Span = "1h",
    on_failure: OnFailure = "rollback",
) -> RolloutWorkflow:
    """Return one rollout of several *services*, with one verdict and one way back.

    Each service goes through its own strategy, once what it depends on has
    arrived: it serves its new version, and its own checks have passed. No old
    version is given up before all have arrived and the verdict is there. A
    failure anywhere takes all of it back, in reverse order of dependency:
    whoever depends on a service goes back before it does.

    Args:
        name: The name of the workflow.
        services: What strategies have returned, each with what it waits for.
        changes: Changes of configuration, schemas and other state.
        bake: How long to wait, once all have arrived, before the verdict.
        checks: The verdict: what has to be well then. Checks of an analysis
            measure while it bakes; they cannot ask about ``$version``, of
            which there are several.
        approval: A question to people after that; none unless given.
        check_within: How long one check may take.
        on_failure: What a failure leads to; each service has to say the same.

    Raises:
        DefinitionError: An argument makes no sense; the error lists every problem.
    """
    coupled = [one if isinstance(one, Service) else Service(one) for one in services]
    state = list(changes)
    problems = problems_of(coupled, state)
    if problems:
        raise DefinitionError(name, problems)
    train = _Train(name, on_failure, seconds(check_within, what=f"{name}(check_within=)"))
    train.couple({name_of(one): one for one in coupled}, state)
    train.judge(bake, list(checks), approval)
    train.let_go()
    train.change_last()
    return train.workflow


class _Train:
    """A `RolloutWorkflow` of several rollouts in the making."""

    def __init__(self, name: str, on_failure: OnFailure, check_s: float) -> None:
        self.workflow = RolloutWorkflow(name, on_failure=on_failure)
        self._check_s = check_s
        self._ends: dict[str, Ends] = {}
        self._last: list[StateChange] = []
        self._arrived: tuple[str, ...] = ()

    # Parts --------------------------------------------------------------------------------

    def couple(self, services: dict[str, Service], changes: Sequence[StateChange]) -> None:
        """Add every part but the changes at the end, each behind what it depends on."""
        for name, service in services.items():
            ends = ends_of(service.workflow)
            self._ends[name] = Ends(_within(name, ends.arrived), _within(name, ends.tail))
        for change in changes:
            self._ends[change.name] = Ends(_checked(change) or (change.name,), ())
        for change in changes:
            if change.at_end:
                self._last.append(change)
            else:
                self._change(change, self._behind(change.depends_on))
        for name, service in services.items():
            before = self._behind(service.depends_on)
            self.workflow.include(service.workflow, prefix=name, depends_on=before)
            self.workflow.take_over(service.workflow, prefix=name)
        last = {change.name for change in self._last}
        self._arrived = self._behind([name for name in self._ends if name not in last])

    def _behind(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the tasks after which all of *names* have arrived."""
        return tuple(task for name in names for task in self._ends[name].arrived)

    def let_go(self) -> None:
        """Have no service give up its old version before the verdict.

        Raises:
            DefinitionError: A service has a task of the name that its end has to
                wait for, and inside of it that name would mean its own.
        """
        tails = {name for ends in self._ends.values() for name in ends.tail}
        known = {task.name for task in self.workflow.tasks}
        for number, task in enumerate(self.workflow.tasks):
            if task.name in tails:
                self._check_scope(task.scope, known)
                before = (*task.depends_on, *self._arrived)
                self.workflow.tasks[number] = replace(task, depends_on=before)

    def _check_scope(self, scope: str, known: set[str]) -> None:
        """Check that what has arrived is called the same inside *scope*, where names mean its own first."""
        while scope:
            for name in self._arrived:
                if scope + name in known:
                    problem = (
                        f"{scope}{name} is called like {name!r} of the train, which the end of "
                        f"{scope[:-1]} has to wait for; a train inside a train is one, so give its "
                        "services to this one, or else give that task another name"
                    )
                    raise DefinitionError(self.workflow.name, [problem])
            scope = outer(scope)

    def change_last(self) -> None:
        """Add the changes that wait until all old versions are gone."""
        services = tuple(self.workflow.includes)
        for change in self._last:
            self._change(change, (*services, *self._arrived, *self._behind(change.depends_on)))

    # Changes ------------------------------------------------------------------------------

    def _change(self, change: StateChange, before: tuple[str, ...]) -> None:
        """Add a change, what a rollback does about it, and its checks."""
        timeout_s = seconds(change.timeout, what=f"{change.name}(timeout=)")
        if change.way_back == "forward_only" and before:
            before = self._pass(change, before)
        self.workflow.add_task(
            change.name,
            change.do,
            depends_on=before,
            retry=change.retry,
            timeout=timeout_s,
            on_interrupt=change.on_interrupt,
            point_of_no_return=change.way_back == "freeze",
        )
        if change.undo is not None:
            self.workflow.add_recovery(
                change.name, change.undo, retry=UNDO_RETRY, timeout=timeout_s
            )
        self._tell(change.name, Note("change", described(change.do), way_back=_way_back(change)))
        for task, check in zip(_checked(change), change.checks, strict=True):
            self._check(task, _asking(change, check), check, (change.name,))

    def _pass(self, change: StateChange, before: tuple[str, ...]) -> tuple[str, ...]:
        """Add what stands between a change that stays and what came before it.

        It does nothing, and its undo makes a check once more: nothing that
        came before the change is taken back unless that passes.
        """
        tasks = _numbered(f"way_back_past_{change.name}", len(change.checks))
        for task, check in zip(tasks, change.checks, strict=True):
            self.workflow.add_task(task, _nothing, depends_on=before, effect=False, timeout=SPARE_S)
            self.workflow.add_recovery(
                task, _asking(change, check), retry=UNDO_RETRY, timeout=self._check_s
            )
            what = f"let a rollback past {change.name}"
            self._tell(task, Note("task", what, way_back=f"{described(check)} has to pass"))
        return tasks

    # The verdict --------------------------------------------------------------------------

    def judge(self, bake: Span | None, checks: Sequence[Check], approval: str | None) -> None:
        """Add the wait, the checks and the question that all of the train stands or falls by."""
        before = self._arrived
        span_s = 0.0 if bake is None else seconds(bake, what="bake=", zero=True)
        if span_s:
            fn = partial(bake_for, span_s=span_s)
            self.workflow.add_task(
                "bake", fn, depends_on=before, effect=False, timeout=2 * span_s + SPARE_S
            )
            self._tell("bake", Note("bake", "wait", span_s=span_s))
            self._arrived = ("bake",)
        analysed = measured(checks)
        others = [check for check in checks if not isinstance(check, AnalysisCheck)]
        tasks = _numbered("verdict", len(others) + bool(analysed))
        for task, check in zip(tasks, others, strict=False):
            fn = partial(read_once, probe=check) if isinstance(check, Probe) else check
            self._check(task, fn, check, self._arrived)
        if analysed:
            self._measure(tasks[-1], fitted(analysed, span_s), before, span_s)
        self._arrived = (*(self._arrived if not others else ()), *tasks) or self._arrived
        if approval is not None:
            self.workflow.add_approval("approve", approval, depends_on=self._arrived)
            self._tell("approve", Note("approve", "ask people"))
            self._arrived = ("approve",)

    def _measure(
        self, task: str, checks: Sequence[Any], before: tuple[str, ...], span_s: float
    ) -> None:
        fn, timeout_s = analysis(checks), self._check_s + span_s
        self.workflow.add_task(task, fn, depends_on=before, effect=False, timeout=timeout_s)
        asks = tuple(map(described, checks))
        self._tell(task, Note("check", "measure", span_s=lasting_s(checks), checks=asks))

    def _check(self, task: str, fn: Function, check: object, before: tuple[str, ...]) -> None:
        self.workflow.add_task(task, fn, depends_on=before, effect=False, timeout=self._check_s)
        self._tell(task, Note("check", "check", checks=(described(check),)))

    def _tell(self, name: str, note: Note) -> None:
        self.workflow.notes[name] = note


def _within(prefix: str, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names)


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return (name,) if count == 1 else tuple(f"{name}_{n}" for n in range(1, count + 1))


def _checked(change: StateChange) -> tuple[str, ...]:
    """Return the names of the tasks that check *change*."""
    return _numbered(f"check_{change.name}", len(change.checks))


def _way_back(change: StateChange) -> str:
    """Return what a rollback does about *change*, in words."""
    if change.way_back == "undo":
        return described(change.undo)
    return "stays" if change.way_back == "forward_only" else "none: the run holds"


def _asking(change: StateChange, check: Probe | Function) -> Function:
    """Return a task function that makes *check*; where *change* stays, its failure asks a person."""
    fn = _Read(check) if isinstance(check, Probe) else check
    if change.way_back != "forward_only":
        return fn
    name = change.name

    def trouble(error: Exception) -> NeedsDecision:
        return NeedsDecision(
            f"{name} only goes forward, and whether old versions work with it is not known: "
            f"{error or type(error).__name__}"
        )

    if is_async(fn):

        @functools.wraps(fn)
        async def asked(*args: Any, **inputs: Any) -> None:
            try:
                await fn(*args, **inputs)
            except Exception as error:
                raise trouble(error) from error

        return asked

    @functools.wraps(fn)
    def asked_plainly(*args: Any, **inputs: Any) -> None:
        try:
            fn(*args, **inputs)
        except Exception as error:
            raise trouble(error) from error

    return asked_plainly


class _Read:
    """A task function that reads a probe once; anything other than healthy is a failure."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    async def __call__(self, ctx: Any) -> None:
        await read_once(ctx, probe=self._probe)


async def _nothing() -> None:
    """Do nothing: what counts is the undo."""
