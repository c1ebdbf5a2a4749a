"""What tests of simulated runs share: small workflows, and what is asked of their results."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

import pyflow
from pyflow.testing import Simulation
from support.runs import Journal

SURE = pyflow.Retry(3, backoff=pyflow.Backoff("1s", jitter=0))
"""Three tries, with waits of exactly 1 s and 2 s between them."""


@dataclass
class Image:
    """What a build makes."""

    name: str


class Flips:
    """A probe that is healthy from its third look on."""

    def __init__(self) -> None:
        self.looks = 0

    async def read(self) -> pyflow.Reading:
        self.looks += 1
        return pyflow.Reading("healthy" if self.looks >= 3 else "unhealthy", {"look": self.looks})

    def __repr__(self) -> str:
        return "Flips()"


def nap_isolated(ctx: pyflow.Context) -> int:
    ctx.sleep("1m")
    return os.getpid()


async def nap_isolated_async(ctx: pyflow.AsyncContext) -> int:
    await ctx.sleep("1m")
    return os.getpid()


def undo_isolated(ctx: pyflow.RecoveryContext) -> None:
    ctx.sleep("1m")


def promise_isolated() -> Any:
    return Flips().read()


def rollout(did: Journal | None = None, **options: Any) -> pyflow.Workflow:
    """Return build > deploy > check; deploy and build can be taken back, and it reports."""
    did = did or Journal()
    workflow = pyflow.Workflow("rollout", **options)
    workflow.add_task("build", did.does("build", "shop:2"), effect=False)
    workflow.add_task("deploy", did.does("deploy"), depends_on=["build"], retry=SURE)
    workflow.add_recovery("deploy", did.does("undo"))
    workflow.add_task("check", did.does("check"), depends_on=["deploy"])
    workflow.add_finalizer("report", did.does("report"))
    return workflow


def single(fn: Callable[..., Any] | None = None, **options: Any) -> pyflow.Workflow:
    """Return a workflow of one task, `deploy`."""
    workflow = pyflow.Workflow("single", on_failure="stop")
    workflow.add_task("deploy", fn or Journal().does("deploy"), **options)
    return workflow


def waits(result: Simulation) -> list[float]:
    """Return how long the run waited before each retry."""
    return [r.data["delay_s"] for r in result.audit_trail if r.kind == "retry_scheduled"]


def message(result: Simulation) -> str:
    """Return why the run failed."""
    assert result.error is not None
    return result.error.message


@contextmanager
def nothing_behind(caplog: pytest.LogCaptureFixture) -> Generator[None]:
    """Check that nothing goes wrong behind the scenes: no callback fails, and no thread is left."""
    before = set(threading.enumerate())
    yield
    assert [record.getMessage() for record in caplog.records] == []
    assert set(threading.enumerate()) - before == set()
