"""`check` and `plan`: look at a workflow, and touch nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.cli.describing import plan_data
from pyflow.cli.output import Answer
from pyflow.cli.parsing import add_inputs, add_target, command
from pyflow.cli.target import loaded
from pyflow.define.environment import bind_params

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from pyflow.cli.output import Output
    from pyflow.cli.parsing import Commands
    from pyflow.define.plan import Plan

__all__ = ["add"]


def add(commands: Commands, _: Mapping[str, str]) -> None:
    """Add the commands."""
    parser = command(
        commands,
        "check",
        check,
        does="find everything that is wrong with a workflow",
        example="pyflow-deploy check deploy.py:release",
        more="""
        Nothing is run and nothing is recorded. With --param or --env, the
        parameters are checked as well.
        """,
    )
    add_target(parser)
    add_inputs(parser)
    parser = command(
        commands,
        "plan",
        plan,
        does="show what a workflow would run, and in which order",
        example="pyflow-deploy plan deploy.py:release",
    )
    add_target(parser)


def check(args: argparse.Namespace, out: Output) -> Answer:
    """Check a workflow, and its parameters if some are given."""
    with out.guarded(), loaded(args.workflow, args.ref) as target:
        environment = target.environment(args.env)
        if args.param or environment is not None:
            bind_params(target.plan, environment, target.params(args.param))
    data = {"workflow": target.plan.workflow_name, "fingerprint": target.plan.fingerprint}
    return Answer(data, f"{target.plan.workflow_name}: nothing is wrong with it")


def plan(args: argparse.Namespace, out: Output) -> Answer:
    """Show a plan."""
    with out.guarded(), loaded(args.workflow, args.ref) as target:
        pass
    return Answer({"plan": plan_data(target.plan)}, _told(target.plan))


def _told(plan: Plan) -> str:
    lines = [str(plan)]
    marked = {name: _marks(plan, name) for name in plan.nodes}
    lines += [f"  {name}: {', '.join(marks)}" for name, marks in marked.items() if marks]
    if plan.locks:
        lines.append(f"  locks: {', '.join(plan.locks)}")
    params = [
        f"{p.name}: {getattr(p.annotation, '__name__', p.annotation)}" for p in plan.params.values()
    ]
    if params:
        lines.append(f"  parameters: {', '.join(params)}")
    lines.append(f"  after a failure: {plan.on_failure}")
    return "\n".join(lines)


def _marks(plan: Plan, name: str) -> list[str]:
    node = plan.nodes[name]
    marks = (
        (node.undo is not None, "has an undo"),
        (node.task.approval is not None, "asks a person"),
        (node.task.point_of_no_return, "no return after it"),
        (bool(node.locks), f"locks {', '.join(node.locks)}"),
    )
    return [words for is_so, words in marks if is_so]
