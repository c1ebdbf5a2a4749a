"""What is drawn: a plan, or the workflow whose plan it is."""

from __future__ import annotations

from typing import TypeAlias, cast

from pyflow.define.plan import Plan
from pyflow.define.workflow import Workflow
from pyflow.errors import DefinitionError, shown

__all__ = ["Drawn", "plan_of"]

Drawn: TypeAlias = "Plan | Workflow"
"""A plan, or the workflow whose plan it is."""


def plan_of(given: Drawn) -> Plan:
    """Return a plan.

    Raises:
        DefinitionError: What is given is neither plan nor workflow, or a workflow that is wrong.
    """
    if isinstance(given, Workflow):
        return given.check()
    if isinstance(cast("object", given), Plan):
        return given
    advice = "give a workflow, or workflow.check()"
    raise DefinitionError("drawing of a plan", [f"{shown(given)} is no plan: {advice}"])
