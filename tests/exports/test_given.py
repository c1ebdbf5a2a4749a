"""Exports take runs however they are given, and refuse what is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

import pyflow
from pyflow import exports
from pyflow.errors import DefinitionError

ALL: list[Callable[[Any], Iterable[str]]] = [
    exports.cdevents,
    exports.csv,
    exports.jsonl,
    exports.otlp,
]


def finished() -> pyflow.Result:
    """Return a run that has ended."""
    workflow = pyflow.Workflow("release")
    workflow.add_task("deploy", lambda: None)
    return pyflow.Engine().execute(workflow)


@pytest.mark.parametrize("export", ALL)
class TestGiven:
    def test_results_and_trails(self, export: Callable[[Any], Iterable[str]]) -> None:
        """A result is exported as its trail is, alone or among others."""
        result = finished()

        whole = list(export(result.audit_trail))
        assert whole
        assert list(export(result)) == whole
        assert list(export([result, result])) == list(export([result.audit_trail] * 2))

    @pytest.mark.parametrize("given", ["deploys.db", None, [None], pyflow.Workflow("w")])
    def test_refuses(self, export: Callable[[Any], Iterable[str]], given: Any) -> None:
        """What is no run is refused with what would be one."""
        with pytest.raises(DefinitionError, match="is no run: give a result, or a trail"):
            list(export(given))
