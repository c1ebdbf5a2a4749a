"""What a type checker sees: read by pyright, and run so that it stays true.

A comment that silences an error is itself an error once there is nothing to
silence, so every wrong use below has to be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_type

import pytest

import pyflow


class TestDecorators:
    def test_return_the_function(self) -> None:
        """A decorated function keeps its type, with and without options."""
        workflow = pyflow.Workflow("w", params={"version": str})

        @workflow.task
        def build(version: str) -> int:
            return len(version)

        @workflow.task(retry=pyflow.Retry(2), timeout="1m")
        async def deploy(build: int) -> str:
            return str(build)

        @workflow.recovery(deploy)
        def undo(deploy: str | None) -> None:
            assert deploy is None or deploy

        assert_type(build("1.0"), int)
        same: Callable[[str | None], None] = undo
        assert same is undo
        workflow.check()

    def test_wrong_uses_are_seen(self) -> None:
        """Misspelt options and values of the wrong type are errors before anything runs."""
        workflow = pyflow.Workflow("w")

        with pytest.raises(TypeError):
            workflow.add_task("a", print, retires=3)  # pyright: ignore[reportCallIssue]
        workflow.add_task("b", print, join="sucess")  # pyright: ignore[reportArgumentType]
        with pytest.raises(pyflow.DefinitionError):
            pyflow.Workflow("w", on_failure="explode").check()  # pyright: ignore[reportArgumentType]
        with pytest.raises(pyflow.DefinitionError):
            pyflow.Retry("often")  # pyright: ignore[reportArgumentType]


class TestResults:
    def test_have_types(self) -> None:
        """Results, trails and their parts are typed through and through."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", lambda: 1)

        result = pyflow.Engine(environ={}).execute(workflow)

        assert_type(result.residue, tuple[str, ...])
        assert_type(result.audit_trail.query(task="a"), tuple[pyflow.Record, ...])
        assert_type(result.raise_for_status(), pyflow.Result)
        assert result.error is None

    def test_values_never_change(self) -> None:
        """A result, a record and a policy cannot be assigned to."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", lambda: 1)
        result = pyflow.Engine(environ={}).execute(workflow)

        with pytest.raises(AttributeError):
            result.status = "failed"  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(AttributeError):
            result.audit_trail[0].seq = 2  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(AttributeError):
            pyflow.Retry().attempts = 5  # pyright: ignore[reportAttributeAccessIssue]


class TestProtocols:
    def test_are_met_by_shape(self) -> None:
        """A class with the right methods is a probe, a clock or a journal without inheriting."""

        class Up:
            async def read(self) -> pyflow.Reading:
                return pyflow.Reading("healthy")

        class Down:
            def read(self) -> pyflow.Reading:
                return pyflow.Reading("unhealthy")

        probe: pyflow.Probe = Up()
        wrong: pyflow.Probe = Down()  # pyright: ignore[reportAssignmentType]
        assert isinstance(probe, pyflow.Probe)
        assert wrong is not probe
