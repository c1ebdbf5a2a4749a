"""Runs as timelines and as JUnit's XML, drawn from their records alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from pyflow import JournalError, Workflow
from pyflow.record.audit import AuditTrail
from pyflow.reports import junit, timeline, timeline_svg
from pyflow.testing import fails, simulate, takes

SVG = "{http://www.w3.org/2000/svg}"


def do() -> None:
    """Do nothing."""


def shop() -> Workflow:
    workflow = Workflow("shop")
    workflow.add_task("build", do)
    workflow.add_recovery("build", do)
    workflow.add_approval("go", "Go?", depends_on=["build"])
    workflow.add_task("deploy", do, depends_on=["go"])
    workflow.add_recovery("deploy", do)
    workflow.add_task("verify", do, depends_on=["deploy"])
    workflow.add_task("tell", do, depends_on=["verify"])
    workflow.add_finalizer("clean", do)
    return workflow


def failing(error: Exception, after_s: float) -> Callable[[], Awaitable[None]]:
    """Return what fails after a while."""

    async def fail() -> None:
        await asyncio.sleep(after_s)
        raise error

    return fail


async def agree(run: Any) -> None:
    await asyncio.sleep(300)
    run.approve("go", by="ada")


@pytest.fixture(scope="module")
def trail() -> AuditTrail:
    """Return the trail of a run that was rolled back, in which an undo and a finalizer failed."""
    fakes: dict[str, Any] = {
        "build": takes("2m"),
        "deploy": takes("1m"),
        "verify": failing(RuntimeError("503 <html> \x00"), 30),
        "undo of deploy": takes("1m"),
        "undo of build": failing(OSError("gone"), 10),
        "finalizer clean": fails(OSError("full")),
    }
    return simulate(shop(), fakes=fakes, operator=agree).audit_trail


class TestTimeline:
    def test_text(self, trail: AuditTrail) -> None:
        """Work, failures, undos and questions are to be told apart, in their order."""
        head, *rows = timeline(trail, columns=60).splitlines()

        assert head.startswith("shop: rollback_failed after ")
        assert [row.split()[0] for row in rows] == ["build", "go", "deploy", "verify", "clean"]
        build, go, deploy, verify, _ = (row.split(None, 1)[1] for row in rows)
        assert set(build) == set("█ x")
        assert set(go) == {"░"}
        assert deploy.strip("█").strip() == "◄" * len(deploy.strip("█").strip())
        assert set(verify) == {"x"}

    def test_svg(self, trail: AuditTrail) -> None:
        """Each bar says what it is and how long it took."""
        root = ET.fromstring(timeline_svg(trail))
        bars = [
            (rect.get("class"), rect[0].text) for rect in root.iter(f"{SVG}rect") if len(rect) > 0
        ]

        assert bars[:4] == [
            ("ok", "build: attempt 1, 2m"),
            ("bad", "build: undo 1, 10s"),
            ("wait", "go: question, 3m"),
            ("ok", "deploy: attempt 1, 1m"),
        ]
        assert ("undo", "deploy: undo 1, 1m") in bars

    def test_in_the_middle(self, trail: AuditTrail) -> None:
        """What has no end in the records yet goes on to the last of them."""
        part = trail[: trail.index(trail.query(task="deploy", kind="task_succeeded")[0])]

        assert timeline(part).splitlines()[0].startswith("shop: not ended after ")
        assert "▒" in timeline(part).splitlines()[-1]

    def test_cut_short(self) -> None:
        """What was stopped because something else failed has not failed itself."""
        workflow = Workflow("w")
        workflow.add_task("fails", do)
        workflow.add_task("bakes", do)
        fakes = {"fails": failing(OSError("gone"), 10), "bakes": takes("1h")}

        trail = simulate(workflow, fakes=fakes).audit_trail

        drawn = dict(row.split(None, 1) for row in timeline(trail).splitlines()[1:])
        assert set(drawn["fails"]) == {"x"}
        assert set(drawn["bakes"]) == {"/"}

    def test_nothing(self) -> None:
        """An empty trail is one."""
        assert timeline(AuditTrail(())) == "an empty audit trail"
        assert "an empty audit trail" in timeline_svg(AuditTrail(()))

    @pytest.mark.parametrize("days", [0.001, 3, 400])
    def test_axis(self, days: float) -> None:
        """Whatever a run takes, its axis names a handful of round instants."""
        workflow = Workflow("long")
        workflow.add_task("wait", do)
        trail = simulate(workflow, fakes={"wait": takes(days * 86_400)}).audit_trail

        root = ET.fromstring(timeline_svg(trail))

        ticks = [t.text for t in root.iter(f"{SVG}text") if t.get("class") == "tick"]
        assert 3 <= len(ticks) <= 9


class TestJUnit:
    def test_is_read(self, trail: AuditTrail) -> None:
        """Another parser finds each task, what became of it, and why."""
        [suite] = JUnitXml.fromstring(junit(trail).encode())

        results = {case.name: case.result for case in suite}
        assert suite.name == "shop"
        assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (6, 1, 2, 2)
        assert [type(r[0]) for r in results.values() if r] == [
            Error,
            Skipped,
            Failure,
            Skipped,
            Error,
        ]
        assert results["go"] == []
        [failure] = results["verify"]
        assert (failure.type, failure.message) == ("RuntimeError", "503 <html> ")
        assert results["tell"][0].message == "verify failed"

    def test_times(self, trail: AuditTrail) -> None:
        """A task has the time that it and its undo took."""
        [suite] = JUnitXml.fromstring(junit(trail).encode())

        times = {case.name: case.time for case in suite}
        assert (times["build"], times["deploy"], times["verify"]) == (130.0, 120.0, 30.0)

    def test_part(self, trail: AuditTrail) -> None:
        """A part of a trail does not say what should have run."""
        with pytest.raises(JournalError, match="a part of one"):
            junit(trail[1:])
