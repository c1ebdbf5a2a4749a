"""Whatever has a trail, and whatever has a plan, can be told and drawn; nothing else can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pyflow
from pyflow import reports
from pyflow.errors import DefinitionError
from pyflow.testing import simulate

OF_RUNS: list[Callable[[Any], str]] = [
    reports.html,
    reports.junit,
    reports.timeline,
    reports.timeline_svg,
]
OF_PLANS: list[Callable[[Any], str]] = [
    reports.plan_dot,
    reports.plan_mermaid,
    reports.plan_svg,
    reports.plan_text,
]


def release() -> pyflow.Workflow:
    """Return a workflow of one task."""
    workflow = pyflow.Workflow("release")
    workflow.add_task("deploy", lambda: None)
    return workflow


@pytest.mark.parametrize("report", OF_RUNS)
class TestRuns:
    def test_of_what_has_a_trail(self, report: Callable[[Any], str]) -> None:
        """A result, a simulation and their trail are told alike."""
        simulation = simulate(release())
        result = pyflow.Engine().execute(release())

        assert report(simulation) == report(simulation.audit_trail)
        assert report(result) == report(result.audit_trail)

    @pytest.mark.parametrize("given", [release(), "deploys.db", None, [1, 2]])
    def test_refuses(self, report: Callable[[Any], str], given: Any) -> None:
        """What is no run is refused with what would be one."""
        with pytest.raises(DefinitionError, match=r"is no run: give a result, or a trail"):
            report(given)


@pytest.mark.parametrize("drawing", OF_PLANS)
class TestPlans:
    def test_of_a_workflow(self, drawing: Callable[[Any], str]) -> None:
        """A workflow is drawn as its plan is."""
        assert drawing(release()) == drawing(release().check())

    @pytest.mark.parametrize("given", ["deploy.py", None, release])
    def test_refuses(self, drawing: Callable[[Any], str], given: Any) -> None:
        """What is no plan is refused with what would be one."""
        with pytest.raises(DefinitionError, match=r"is no plan: give a workflow"):
            drawing(given)
