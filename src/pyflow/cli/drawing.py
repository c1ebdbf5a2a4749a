"""`graph`: draw a workflow, and touch nothing."""

from __future__ import annotations

from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING

from pyflow.cli.files import written
from pyflow.cli.output import Answer
from pyflow.cli.parsing import add_target, command
from pyflow.cli.target import loaded
from pyflow.reports import plan_dot, plan_mermaid, plan_svg, plan_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from pyflow.cli.output import Output
    from pyflow.cli.parsing import Commands
    from pyflow.define.plan import Plan

__all__ = ["add"]

FORMATS: Mapping[str, Callable[[Plan], str]] = MappingProxyType(
    {"text": plan_text, "mermaid": plan_mermaid, "dot": plan_dot, "svg": plan_svg}
)
SUFFIXES = MappingProxyType({".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid"})
"""The format that the name of a file asks for, where --format does not."""


def add(commands: Commands, _: Mapping[str, str]) -> None:
    """Add the command."""
    parser = command(
        commands,
        "graph",
        graph,
        does="draw a workflow: what waits for what, and what is done when it goes wrong",
        example="""
        pyflow-deploy graph deploy.py:release
        pyflow-deploy graph deploy.py:release --format mermaid
        pyflow-deploy graph deploy.py:release --out release.svg
        """,
        more="""
        Nothing is run. SVG needs no other program: open it in a browser. Mermaid
        is what GitHub and GitLab draw, DOT is for Graphviz.
        """,
    )
    add_target(parser)
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        metavar="FORMAT",
        help="text, mermaid, dot or svg; else what the name of the file says, else text",
    )
    parser.add_argument("--out", metavar="FILE", help="write it there, and not to stdout")


def graph(args: argparse.Namespace, out: Output) -> Answer:
    """Draw a workflow."""
    with out.guarded(), loaded(args.workflow, args.ref) as target:
        plan = target.plan
    suffix = PurePath(args.out).suffix.lower() if args.out else ""
    form = args.format or SUFFIXES.get(suffix, "text")
    drawn = FORMATS[form](plan)
    told = {"workflow": plan.workflow_name, "fingerprint": plan.fingerprint, "format": form}
    if args.out is None:
        data = {"graph": {**told, "text": drawn, "file": None}}
        return Answer(data, drawn.rstrip("\n"))
    file = written(args.out, drawn if drawn.endswith("\n") else f"{drawn}\n", option="--out")
    return Answer({"graph": {**told, "text": None, "file": file}}, f"wrote {file}", told=True)
