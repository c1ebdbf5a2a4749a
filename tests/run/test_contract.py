"""The snippet of the front page: it works exactly as written."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

SNIPPET = textwrap.dedent(
    """
    import pyflow

    workflow = pyflow.Workflow("deployment")
    workflow.add_task("check_infrastructure", check_infrastructure)
    workflow.add_task("deploy_canary", deploy_canary, depends_on=["check_infrastructure"])
    workflow.add_task("monitor_canary", monitor_canary, depends_on=["deploy_canary"])
    workflow.add_task("shift_traffic", shift_traffic, depends_on=["monitor_canary"])
    workflow.add_task("cleanup", cleanup, depends_on=["shift_traffic"])

    workflow.add_recovery("deploy_canary", rollback_canary)
    workflow.add_recovery("shift_traffic", restore_traffic)

    engine = pyflow.Engine()
    result = engine.execute(workflow)
    print(result.status)
    print(result.audit_trail)
    """
)

NAMES = ("check_infrastructure", "deploy_canary", "monitor_canary", "shift_traffic", "cleanup")
RECOVERIES = ("rollback_canary", "restore_traffic")


def run_snippet(failing: str | None = None) -> tuple[list[str], dict[str, Any]]:
    """Run the snippet with functions of no argument, one of which may fail."""
    done: list[str] = []

    def function(name: str) -> Any:
        def act() -> None:
            done.append(name)
            if name == failing:
                raise RuntimeError(f"{name} failed")

        return act

    space: dict[str, Any] = {name: function(name) for name in (*NAMES, *RECOVERIES)}
    exec(SNIPPET, space)
    return done, space


class TestTheSnippet:
    def test_runs_as_written(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Every task runs once, in order, and the trail is printed."""
        done, space = run_snippet()

        printed = capsys.readouterr().out
        assert done == list(NAMES)
        assert printed.startswith("succeeded\n")
        assert "task succeeded   cleanup" in printed
        space["result"].audit_trail.verify()

    def test_rolls_back(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A failure undoes what was started and has an undo, and nothing else."""
        done, space = run_snippet(failing="monitor_canary")

        assert done == [*NAMES[:3], "rollback_canary"]
        assert capsys.readouterr().out.startswith("rolled_back\n")
        assert space["result"].error.message == "monitor_canary failed"

    def test_undoes_the_task_that_failed(self) -> None:
        """The failed task was started, so it is undone too; before what it depends on."""
        done, space = run_snippet(failing="shift_traffic")

        assert done == [*NAMES[:4], "restore_traffic", "rollback_canary"]
        assert space["result"].status == "rolled_back"
