"""Drives a `Machine` without an engine: every choice that the world could make is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyflow.define.plan import Plan
from pyflow.protocols import Lease
from pyflow.record import events as ev
from pyflow.run import inputs as on
from pyflow.run.machine import Machine
from pyflow.run.resuming import Past

Choose = Callable[[int], int]
"""Returns a number from 0 up to, not including, its argument."""

BOOM = ev.ErrorInfo("ValueError", "boom")
KINDS = ("builtins.ValueError", "builtins.Exception", "builtins.BaseException", "builtins.object")

STARTED = ev.RunStarted("w", "f", {}, {"id": "t", "source": "given"}, {}, {})


@dataclass(repr=False)
class World:
    """What the functions of the workflow will do, and what the machine has asked for."""

    plan: Plan
    choose: Choose
    fails: Callable[[str, int], bool] = lambda what, attempt: False
    answers: Callable[[str], bool | None] = lambda task: True
    items: Callable[[str], list[Any] | None] = lambda task: ["a", "b", "c"]
    asks: list[on.Asked] = field(default_factory=list[on.Asked])
    hangs: Callable[[str], bool] = lambda what: False
    max_parallel: int | None = None
    slots: int = 1_000

    def __post_init__(self) -> None:
        self.machine = Machine(self.plan, max_parallel=self.max_parallel, drain_s=60)
        self.events: list[ev.Event] = []
        self.batches: list[list[ev.Event]] = []
        self.pending: list[tuple[str, on.Command]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.finished = False
        self.rested = False

    def __repr__(self) -> str:
        lines = [
            f"{name}: {t.node.task.join} {t.node.depends_on}"
            for name, t in self.machine.state.tasks.items()
        ]
        return "\n".join(["World", self.plan.on_failure, *lines, *map(repr, self.events)])

    def run(self, steps: int = 10_000) -> World:
        """Let everything happen, in an order that is drawn, until nothing is left to do."""
        self.machine.start(STARTED)
        self._turn()
        return self.continue_(steps)

    def resume(self, dead: World, commits: int, **options: Any) -> World:
        """Take up what *dead* has recorded in so many commits, and let everything happen."""
        self.batches = dead.batches[:commits]
        self.events = [event for batch in self.batches for event in batch]
        ages_s = sorted((float(self.choose(100)) for _ in self.events), reverse=True)
        past = Past(tuple(self.events), ages_s, **options)
        self.machine.resume(past, ev.RunResumed({"id": "t", "source": "given"}, {}))
        self._turn()
        return self.continue_()

    def continue_(self, steps: int = 10_000) -> World:
        """Go on as `run` does, after something was told."""
        for _ in range(steps):
            if self.finished:
                break
            if self.asks and self.choose(4) == 0:
                self.machine.handle(self.asks.pop(0))
                self._turn()
                continue
            ready = [n for n, (kind, _) in enumerate(self.pending) if kind != "hang"]
            if not ready:
                if self.asks:
                    self.machine.handle(self.asks.pop(0))
                    self._turn()
                    continue
                break
            kind, command = self.pending.pop(ready[self.choose(len(ready))])
            self.under_way += kind == "late"  # which nobody counts any more
            self._happen(command)
            self._turn()
        return self

    def tell(self, happening: on.Happening) -> World:
        """Tell the machine one thing, and do nothing else."""
        self.machine.handle(happening)
        self._turn()
        return self

    def _turn(self) -> None:
        for _ in range(2):
            free = self.slots - self.under_way
            self.machine.dispatch(max(0, min(free, self.machine.wanted)))
            self._take()

    def _take(self) -> None:
        events, commands = self.machine.take()
        self.events += events
        if events:
            self.batches.append(events)
        for command in commands:
            if isinstance(command, on.Finish):
                self.finished = True
            elif isinstance(command, on.CutWaits | on.GiveLocks):
                continue
            elif isinstance(command, on.DropLocks):
                self.pending = [
                    (kind, one)
                    for kind, one in self.pending
                    if not (isinstance(one, on.TakeLocks) and one.task == command.task)
                ]
            elif isinstance(command, on.Abandon):
                self.slots += 1
            elif isinstance(command, on.EndCall):
                self._end_call(command.task)
            elif isinstance(command, (on.StartAttempt, on.StartRepair, on.StartUndo)):
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
                may_hang = isinstance(command, (on.StartAttempt, on.StartRepair))
                hangs = may_hang and self.hangs(command.task)
                self.pending.append(("hang" if hangs else "call", command))
            elif isinstance(command, on.SetTimer) and command.key[0] == "drain":
                self.pending.append(("drain", command))
            else:
                self.pending.append(("call", command))

    def _end_call(self, task: str) -> None:
        """Count the call of *task* no more; it may end all the same, and nobody listens."""
        for place, (kind, one) in enumerate(self.pending):
            if isinstance(one, on.StartAttempt | on.StartRepair) and one.task == task:
                self.under_way -= 1
                self.pending[place] = ("hang" if kind == "hang" else "late", one)

    def _happen(self, command: on.Command) -> None:
        handle = self.machine.handle
        failure = on.Failure(BOOM, KINDS, 0.5)
        match command:
            case on.StartAttempt(task, attempt):
                self.under_way -= 1
                if self.fails(task, attempt):
                    stopped = self.state.intent in ("cancel", "rollback") and self.choose(2) == 0
                    cut = on.Failure(BOOM, KINDS, 0.5, stopped=stopped)
                    handle(on.AttemptRaised(task, 1.0, cut))
                else:
                    handle(on.AttemptReturned(task, 1.0, f"{task}#{attempt}"))
            case on.StartRepair(task, repair):
                self.under_way -= 1
                if self.fails(f"repair:{task}", repair + 1):
                    handle(on.RepairRaised(task, 1.0, failure))
                else:
                    handle(on.RepairReturned(task, 1.0, "repaired"))
            case on.StartUndo(task, attempt):
                self.under_way -= 1
                if self.fails(f"undo:{task}", attempt):
                    handle(on.UndoRaised(task, 1.0, failure))
                else:
                    handle(on.UndoReturned(task, 1.0))
            case on.StartFinalizer(name):
                error = BOOM if self.fails(f"finalizer:{name}", 1) else None
                handle(on.FinalizerReturned(name, 1.0, error))
            case on.AskCondition(task):
                answer = self.answers(task)
                handle(on.ConditionAnswered(task, answer is True, BOOM if answer is None else None))
            case on.ListItems(task):
                items = self.items(task)
                if items is None:
                    handle(on.ItemsListed(task, error=BOOM))
                else:
                    names = tuple(f"{task}[{n}]" for n in range(len(items)))
                    handle(on.ItemsListed(task, names, tuple(items)))
            case on.AskInterrupt(task):
                answers: Any = ("applied", "not_applied", "unknown")
                handle(on.InterruptAnswered(task, answers[self.choose(3)], "look"))
            case on.TakeLocks(resources):
                leases = tuple(Lease(r, "r", self.state.epochs.get(r, 0) + 1) for r in resources)
                handle(on.LocksTaken(leases, task=command.task))
            case on.SetTimer(key, _):
                if key[0] == "drain" and not any(kind == "hang" for kind, _ in self.pending):
                    return  # the calls end in time
                handle(on.TimerFired(key))
            case _:
                raise AssertionError(command)

    # Readings -----------------------------------------------------------------------------

    @property
    def state(self) -> Any:
        """The state of the run."""
        return self.machine.state

    @property
    def status(self) -> str:
        """The status of the run."""
        return self.machine.state.status

    def of(self, *kinds: type[ev.Event]) -> list[Any]:
        """Return the events of these kinds, in order."""
        return [event for event in self.events if isinstance(event, kinds)]

    def statuses(self) -> dict[str, str]:
        """Return the status of every task."""
        return {name: task.status for name, task in self.machine.state.tasks.items()}
