"""In a notebook things show themselves, and a run keeps its cell up to date."""

from __future__ import annotations

import asyncio
import sys
import types
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import pyflow
from pyflow.record.audit import AuditTrail
from pyflow.reports import notebook
from pyflow.testing import World, explore
from support.told import HOSTILE, do, shop, troubled


def bundle(thing: Any) -> dict[str, str]:
    """Return what Jupyter is given of *thing*, which it asks for in this way."""
    return thing._repr_mimebundle_(include=None, exclude=None)


def cell(thing: Any) -> str:
    """Return the HTML of a cell, which has to be well-formed and harmless."""
    html = bundle(thing)["text/html"]
    ET.fromstring(html)
    assert "<script" not in html
    assert html.startswith('<div class="pyflow report cell"><style>')
    return html.partition("</style>")[2]


def asking() -> pyflow.Workflow:
    workflow = pyflow.Workflow("asking")
    workflow.add_task("build", do)
    workflow.add_approval("go", f"Go? {HOSTILE}", depends_on=["build"])
    workflow.add_task("deploy", do, depends_on=["go"])
    return workflow


class TestBundles:
    def test_workflow(self) -> None:
        """A workflow is its drawing."""
        shown = bundle(shop())

        assert ET.fromstring(shown["image/svg+xml"]).tag.endswith("svg")
        assert shown["text/plain"] == "<Workflow 'shop' tasks=7>"

    def test_wrong_workflow(self) -> None:
        """A workflow that is wrong shows all that is wrong with it."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", do, depends_on=["b", "c"])

        assert "&#x27;b&#x27;" in cell(workflow)
        assert "2 problems" in bundle(workflow)["text/plain"]

    def test_plan(self) -> None:
        """A plan is its drawing, and in text what print gives."""
        plan = shop().check()

        assert set(bundle(plan)) == {"text/plain", "image/svg+xml"}
        assert bundle(plan)["text/plain"] == str(plan)

    def test_result(self) -> None:
        """A result says how it ended, why, what is left, and when what happened."""
        run = troubled()

        assert bundle(run)["text/plain"] == str(run)
        for words in ("rollback failed", "Still applied: migrate", "What failed", "<svg"):
            assert words in cell(run)

    def test_good_result(self) -> None:
        """Where all went well, nothing is said of what went wrong."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", do)

        assert "What failed" not in cell(pyflow.Engine().execute(workflow))

    def test_trail(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A trail is the table of its records; of very many, the first."""
        trail = troubled().audit_trail
        assert cell(trail).count("<tr>") == len(trail) + 1

        monkeypatch.setattr(notebook, "RECORDS_MAX", 10)

        assert f"and {len(trail) - 10} more" in cell(trail)
        assert bundle(trail)["text/plain"] == str(trail)
        assert "an empty audit trail" in cell(AuditTrail(()))

    def test_run(self) -> None:
        """A run that goes on says how far it is, and what it waits for."""
        with pyflow.Engine() as engine:
            run = engine.start(asking())
            run.wait()
            shown = cell(run)

        assert '<progress max="3" value="1">' in shown
        assert "go waits: Go?" in shown

    def test_run_that_left_something_out(self) -> None:
        """What was left out is as settled as what was done, in a cell as on a terminal."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", do)
        workflow.add_task("b", do, depends_on=["a"], when=lambda: False)
        with pyflow.Engine() as engine:
            run = engine.start(workflow)
            run.wait()
            shown = cell(run)

        assert '<progress max="2" value="2">' in shown

    def test_world(self) -> None:
        """A world is its facts."""
        world = World()
        world.service("shop", version="1.0", instances=4)

        assert "shop instances 1.0" in cell(world)
        assert bundle(world)["text/plain"] == str(world)

    def test_exploration(self) -> None:
        """An exploration is its figures, and the counterexample where there is one."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", do)
        found = explore(lambda: workflow, world=World(), faults=1, kinds=["fails"])
        wrong = explore(lambda: workflow, world=World(), faults=1, kinds=["hangs"])
        short = explore(lambda: workflow, world=World(), faults=1, time_limit=1e-9)

        assert '<span class="badge good">safe</span>' in cell(found)
        assert "not safe" in cell(wrong)
        assert "counterexample: an invariant does not hold" in cell(wrong)
        assert "not complete" in cell(short)


class Handle:
    """A display that remembers what it was told."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []
        self.updated = asyncio.Event()

    def update(self, shown: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(shown)
        self.updated.set()


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """Stand in for IPython, which has been imported, with one display."""
    handle, module = Handle(), types.ModuleType("IPython.display")

    def display(shown: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        handle.shown.append(shown)
        return handle

    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return handle


class TestLive:
    def test_updates_in_place(self, handle: Handle) -> None:
        """A run that is shown is shown anew in its place, and at its end at once."""

        async def look() -> None:
            run = pyflow.Engine().start(asking())
            run._ipython_display_()
            await run
            async with asyncio.timeout(20):
                await handle.updated.wait()
            run.approve("go", by="ada")
            await run

        asyncio.run(look())

        first, *_, last = handle.shown
        assert '<progress max="3" value="0">' in first["text/html"]
        assert any("go waits" in one["text/html"] for one in handle.shown[1:])
        assert '<progress max="3" value="3">' in last["text/html"]

    def test_never_stops_a_run(self, handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
        """A display that is gone costs the run nothing."""
        monkeypatch.setattr(handle, "update", None)

        async def look() -> pyflow.Result:
            workflow = pyflow.Workflow("w")
            workflow.add_task("a", do)
            run = pyflow.Engine().start(workflow)
            run._ipython_display_()
            return await run

        assert asyncio.run(look()).status == "succeeded"

    def test_on_another_thread(self, handle: Handle) -> None:
        """A run on a thread of the engine's own keeps its cell up to date as well."""
        with pyflow.Engine() as engine:
            run = engine.start(asking())
            run.wait()
            run._ipython_display_()
            run.approve("go", by="ada")
            run.wait()

        assert "succeeded" in handle.shown[-1]["text/html"]

    def test_without_ipython(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where IPython is not, a run is its repr, and nothing is imported."""
        monkeypatch.delitem(sys.modules, "IPython.display", raising=False)
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", do)
        with pyflow.Engine() as engine:
            run = engine.start(workflow)
            run.wait()
            run._ipython_display_()

        assert capsys.readouterr().out == f"<Run {run.id} succeeded>\n"
        assert "IPython.display" not in sys.modules
