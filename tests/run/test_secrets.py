"""Secrets of an engine: got ready once, masked in each of its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

import pyflow
from pyflow import Engine, Secret
from pyflow.errors import SecretError
from pyflow.redaction import encoded_forms

if TYPE_CHECKING:
    from collections.abc import Callable


class Renewed:
    """A secret whose value is another one each time that it is asked for."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self.reference = None

    def reveal(self) -> str:
        self.values.append(f"the-value-of-time-{len(self.values)}")
        return self.values[-1]


class TestOfTheEngine:
    def telling(self, say: Callable[[], str]) -> pyflow.Workflow:
        """Return a workflow that says something where it is recorded."""
        workflow = pyflow.Workflow("tells")

        @workflow.task
        def tell(ctx: pyflow.Context) -> None:
            ctx.log(say())

        return workflow

    def said(self, result: pyflow.Result) -> list[str]:
        return [record.data["message"] for record in result.audit_trail.query(kind="logged")]

    def test_prepared_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The forms of the engine's secrets are worked out for its first run, and not for others."""
        worked_out: list[str] = []

        def forms(value: str) -> frozenset[str]:
            worked_out.append(value)
            return encoded_forms(value)

        monkeypatch.setattr("pyflow.redactor.encoded_forms", forms)
        values = [f"value-number-{n}" for n in range(20)]
        workflow = self.telling(lambda: " ".join(values))
        with Engine(secrets=[Secret(value) for value in values]) as engine:
            results = [engine.execute(workflow) for _ in range(3)]

        assert [self.said(result) for result in results] == [[" ".join(["***"] * 20)]] * 3
        assert sorted(worked_out) == sorted(values)

    def test_renewed(self) -> None:
        """A value that is another one by the next run is masked there, and so is what it was."""
        renewed = Renewed()
        workflow = self.telling(lambda: " ".join(renewed.values))
        with Engine(secrets=[cast("Secret", renewed)]) as engine:
            results = [engine.execute(workflow) for _ in range(3)]

        assert [self.said(result) for result in results] == [
            [" ".join(["***"] * n)] for n in (1, 2, 3)
        ]

    def test_fetched_later(self) -> None:
        """Where a value cannot be fetched nothing is run; the next run asks for it again."""
        answers: list[str] = []
        secret = Secret.from_provider(answers.pop, name="vault")
        workflow = self.telling(lambda: "it is fetched-in-the-end")
        with Engine(secrets=[Secret("another-value"), secret]) as engine:
            with pytest.raises(SecretError, match="provider:vault"):
                engine.execute(workflow)
            answers.append("fetched-in-the-end")
            result = engine.execute(workflow)

        assert self.said(result) == ["it is ***"]

    def test_of_a_run(self) -> None:
        """A secret among the parameters of one run is not the engine's."""
        workflow = pyflow.Workflow("tells", params={"key": pyflow.Secret})

        @workflow.task
        def tell(ctx: pyflow.Context) -> None:
            ctx.log("engine-value first-value second-value")

        with Engine(secrets=[Secret("engine-value")]) as engine:
            results = [
                engine.execute(workflow, params={"key": Secret(f"{one}-value", name=one)})
                for one in ("first", "second")
            ]

        assert [self.said(result) for result in results] == [
            ["*** *** second-value"],
            ["*** first-value ***"],
        ]
