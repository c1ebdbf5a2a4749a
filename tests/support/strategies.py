"""Random workflows and random worlds, for laws.

A workflow is built by one function from numbers; they come from Hypothesis
(which shrinks) or from a seeded generator (which is fast).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from pyflow.define.policies import Retry
from pyflow.define.workflow import Workflow
from pyflow.run import inputs as on
from support.driving import World

Number = Callable[[int], int]
"""Returns a number from 0 up to, not including, its argument."""


def nothing() -> None:
    """Do nothing; the world of a law decides what comes of it."""


def truly() -> bool:
    """Answer a condition; the world of a law decides."""
    return True


def build(number: Number, max_tasks: int = 8, *, people: bool = False) -> Workflow:
    """Return a workflow over a random graph, with every policy that a task can have.

    With *people*, some tasks are questions, and some may be cut off without asking anybody.
    """

    def pick(*options: Any) -> Any:
        return options[number(len(options))]

    workflow = Workflow(
        "w",
        on_failure=pick("rollback", "rollback", "rollback", "rollback", "stop", "continue", "hold"),
        max_parallel=pick(None, None, 1, 2),
        locks=pick((), (), ("service:shop",)),
    )
    names = [f"t{n}" for n in range(1 + number(max_tasks))]
    may_fail: dict[str, bool] = {}
    for place, name in enumerate(names):
        deps = [d for d in names[:place] if number(3) == 0]
        join = (
            pick("success", "success", "success", "done", "failure", "any") if deps else "success"
        )
        if join == "failure" and not any(may_fail[d] for d in deps):
            join = "done"
        options: dict[str, Any] = {
            "depends_on": deps,
            "join": join,
            "when": pick(None, None, None, None, truly),
            "retry": pick(None, None, None, Retry(2), Retry(3)),
            "allow_failure": join != "failure" and number(7) == 6,
            "point_of_no_return": number(14) == 13,
            "locks": ("task:shared", "task:z")[: place % 3],
        }
        passing: dict[str, Any] = {
            "skippable": pick(False, False, "step", True),
            "skip_on_promotion": number(3) == 0,
        }
        may_fail[name] = bool(deps) or not options["allow_failure"]
        if people and number(6) == 5:
            asked = {key: options[key] for key in ("depends_on", "join", "when", "allow_failure")}
            expires, on_expiry = pick(None, "1h"), pick("reject", "approve", "hold")
            asked |= passing
            workflow.add_approval(name, "Go on?", expires=expires, on_expiry=on_expiry, **asked)
            continue
        options["effect"] = number(4) < 3
        if people:
            options["on_interrupt"] = pick("ask", "rerun", "rerun", truly)
            if options["retry"] is not None and number(2):
                options["retry"] = Retry(3, after_crash=True)
        if number(6) == 5:
            over, limit = [1, 2, 3], pick(None, 1, 2)
            workflow.add_map(
                name, nothing, over=over, tolerate=number(2), max_parallel=limit, **options
            )
        else:
            passing["background"] = number(6) == 5
            workflow.add_task(name, nothing, **options, **passing)
        if number(4) > 0:
            workflow.add_recovery(name, nothing, retry=pick(None, None, Retry(2)))
        if number(5) == 4:
            workflow.add_recovery(
                name, nothing, then=pick("retry", "continue"), times=1 + number(2)
            )
    for place in range(number(3)):
        workflow.add_finalizer(f"f{place}", nothing)
    return workflow


@st.composite
def workflows(draw: Any, max_tasks: int = 8) -> Workflow:
    """Workflows that Hypothesis can shrink."""
    return build(lambda below: draw(st.integers(0, below - 1)), max_tasks)


def random_workflow(rng: random.Random, max_tasks: int = 8, *, people: bool = False) -> Workflow:
    """Return a workflow that *rng* draws."""
    return build(rng.randrange, max_tasks, people=people)


def random_world(workflow: Workflow, rng: random.Random, *, slots: int | None = None) -> World:
    """Return a world in which *rng* decides whatever happens to *workflow*."""
    odds = {"undo": rng.choice([0, 0, 30]), "task": rng.choice([0, 10, 30, 60])}
    hanging = rng.choice([0, 0, 10])
    commands: list[Any] = rng.choices(
        ["pause", "unpause", "cancel", "rollback", "skip", "skip", "promote"], k=rng.randrange(4)
    )
    passed = rng.choice(["step", "t0", "t1", "t2", "nothing"])

    def fails(what: str, attempt: int) -> bool:
        return rng.randrange(100) < odds["undo" if what.startswith("undo:") else "task"]

    return World(
        workflow.check(),
        choose=rng.randrange,
        fails=fails,
        answers=lambda task: [True, True, False, None][rng.randrange(4)],
        asks=[on.Asked(command, "ann", "why not", passed) for command in commands],
        hangs=lambda what: rng.randrange(100) < hanging,
        max_parallel=workflow.max_parallel,
        slots=slots or rng.choice([1, 2, 1_000]),
    )
