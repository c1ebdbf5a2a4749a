"""Runs to export: one that was rolled back, with all that can happen in it, and some with odd names."""

from __future__ import annotations

import asyncio
from typing import Any

import pyflow
from pyflow.record.audit import AuditTrail
from pyflow.testing import fails, simulate, takes

ODD = '=1+1",\n\x1b[31m<b>&"\ud800ü\u202e'
"""A name that no format may be broken by."""


def do() -> None: ...


async def agree(run: Any) -> None:
    await asyncio.sleep(300)
    run.approve("go", by="ada", comment="=HYPERLINK(1)")


def trying() -> pyflow.Workflow:
    """Return a workflow with a map, a retry, a question, changes, logs, undos and a finalizer."""
    workflow = pyflow.Workflow("shop", params={"version": "2.1", "service": "shop"})

    @workflow.task(retry=pyflow.Retry(2, backoff="1s"))
    def build(ctx: pyflow.Context) -> None:
        ctx.log("pulled", layers=3)
        ctx.record_change("lb/shop", before={"canary": 0}, after={"canary": 5})
        if ctx.attempt == 1:
            raise ConnectionError("@once more")

    @workflow.recovery(build)
    def unbuild() -> None: ...

    workflow.add_approval("go", "Go?", depends_on=["build"])
    workflow.add_map("deploy", lambda item: item, over=["eu", "us"], depends_on=["go"])
    workflow.add_recovery("deploy", do)
    workflow.add_task("verify", do, depends_on=["deploy"])
    workflow.add_recovery("verify", do, then="retry")
    workflow.add_task("tell", do, depends_on=["verify"])
    workflow.add_finalizer("clean", do)
    return workflow


def rolled_back(**fakes: Any) -> AuditTrail:
    """Return the trail of a run of it that was rolled back."""
    given: dict[str, Any] = {
        "verify": fails(RuntimeError("503 <html>")),
        "repair of verify": takes("30s"),
        "undo of build": takes("1m"),
        "finalizer clean": fails(OSError("full")),
    }
    return simulate(trying(), fakes=given | fakes, operator=agree).audit_trail
