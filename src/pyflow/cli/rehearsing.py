"""`simulate` and `explore`: run a workflow in virtual time, before it is run in earnest.

Functions are replaced: a task that is simulated from a command line must
touch nothing. Whoever wants the functions themselves, in a world of their
own, writes a test: `pyflow.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.cli.codes import FAILED, Refusal, code_of_status
from pyflow.cli.describing import result_data
from pyflow.cli.output import Answer
from pyflow.cli.parsing import add_inputs, add_target, command
from pyflow.cli.target import loaded

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
        "simulate",
        simulate,
        does="run a workflow in virtual time, with stand-ins for its functions",
        example="pyflow-deploy simulate deploy.py:release --param version=2.3.1 --fail shift_traffic",
        more="""
        No function of the workflow is called: each task gives nothing at once,
        and fails where --fail says so. It shows what follows from what: order,
        rollback, what stays applied. --real calls the functions themselves.
        """,
    )
    add_target(parser)
    add_inputs(parser)
    parser.add_argument(
        "--fail", metavar="TASK", action="append", default=[], help="have this task fail"
    )
    parser.add_argument(
        "--real", action="store_true", help="call the functions; they may touch what is real"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="decides all that is drawn; 0"
    )
    parser = command(
        commands,
        "explore",
        explore,
        does="run a workflow under every combination of faults, in virtual time",
        example="pyflow-deploy explore deploy.py:release --param version=2.3.1 --faults 2",
        more="""
        Stand-ins take the place of all functions, and what may go wrong does, at
        every point: a failure, a hang, a crash, a cancellation. What is checked
        is what pyflow promises of every run. Name a function that makes a
        workflow anew. A test with a simulated world shows more: pyflow.testing.
        """,
    )
    add_target(parser)
    add_inputs(parser)
    parser.add_argument(
        "--faults", type=int, default=1, metavar="N", help="how many faults in one run, at most; 1"
    )
    parser.add_argument("--time-limit", metavar="SPAN", help="give up after this long, such as 60s")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="decides all that is drawn; 0"
    )


def simulate(args: argparse.Namespace, out: Output) -> Answer:
    """Simulate a workflow."""
    from pyflow import testing  # noqa: PLC0415 - the simulator is large, and few commands need it

    with out.guarded(), loaded(args.workflow, args.ref) as target:
        fakes: dict[str, Any] = {} if args.real else _fakes(target.plan)
        for name in args.fail:
            if name not in target.plan.nodes:
                raise Refusal(
                    f"--fail {name}: the workflow has no such task",
                    f"it has {', '.join(target.plan.nodes)}",
                )
            fakes[name] = testing.fails(RuntimeError("made to fail"))
        run = testing.simulate(
            target.plan,
            fakes=fakes,
            params=target.params(args.param),
            environment=target.environment(args.env),
            seed=args.seed,
        )
    data = {
        "run": result_data(run),
        "order": list(run.order),
        "elapsed_s": run.elapsed.total_seconds(),
    }
    return Answer(data, str(run), code_of_status(run.status))


def explore(args: argparse.Namespace, out: Output) -> Answer:
    """Explore a workflow."""
    from pyflow import testing  # noqa: PLC0415 - the simulator is large, and few commands need it

    if args.faults < 0:
        raise Refusal(
            f"--faults {args.faults} is no number of faults", "give a whole number from 0"
        )
    with out.guarded(), loaded(args.workflow, args.ref) as target:
        report = testing.explore(
            target.make,  # type: ignore[arg-type]
            world=testing.World(),
            faults=args.faults,
            fakes=_fakes(target.plan),
            params=target.params(args.param),
            environment=target.environment(args.env),
            seed=args.seed,
            time_limit=args.time_limit,
        )
    data = {
        "exploration": {
            "workflow": report.workflow,
            "ok": report.ok,
            "complete": report.complete,
            "runs": report.runs,
            "points": report.points,
            "pruned": report.pruned,
            "skipped": report.skipped,
            "endings": dict(report.endings),
            "counterexamples": [
                {
                    "faults": [str(fault) for fault in one.faults],
                    "violations": [str(violation) for violation in one.violations],
                    "test": one.test,
                }
                for one in report.counterexamples
            ],
        }
    }
    return Answer(data, str(report), 0 if report.ok else FAILED)


def _fakes(plan: Plan) -> dict[str, Any]:
    """Return a stand-in for every function of *plan* that could touch anything."""
    from pyflow import testing  # noqa: PLC0415

    names = [name for name, node in plan.nodes.items() if node.task.approval is None]
    names += [f"undo of {name}" for name, node in plan.nodes.items() if node.undo is not None]
    names += [f"repair of {name}" for name, node in plan.nodes.items() if node.repairs]
    names += [f"finalizer {finalizer.name}" for finalizer, _ in plan.finalizers]
    return {name: testing.returns(None) for name in names}
