"""A run as one page of HTML: what is on it, and that nothing on it can do anything."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

import pyflow
from pyflow.frozen import replace
from pyflow.record.audit import AuditTrail
from pyflow.record.memory import MemoryJournal
from pyflow.reports import html
from pyflow.reports import sections as sections_module
from pyflow.testing import Simulation, simulate
from support.told import HOSTILE, shop, troubled

VOID = {"meta", "br"}
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "div", "header", "section", "footer"),
    *("h1", "h2", "h3", "p", "span", "code", "pre", "time", "a", "dl", "dt", "dd"),
    *("table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "g", "rect", "text", "path", "line"),
}


class Page(HTMLParser):
    """Reads a page: its elements, and the words under each heading."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {"": ""}
        self._open: list[str] = []
        self._title = ""
        self.feed(text)
        assert self._open == []
        self.sections = {title: " ".join(told.split()) for title, told in self.sections.items()}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "h2":
            self._title = ""
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "h2":
            self._title = data
            self.sections[data] = ""
        elif "style" not in self._open and "head" not in self._open:
            self.sections[self._title] += f"{data} "


@pytest.fixture(scope="module")
def run() -> Simulation:
    return troubled()


@pytest.fixture(scope="module")
def text(run: Simulation) -> str:
    return html(run.audit_trail, plan=shop().check())


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


class TestHTML:
    def test_tells_how_it_ended(self, page: Page, run: Simulation) -> None:
        """The heading says what, how, why, where, when and by whom."""
        head = page.sections[""]

        for words in ("shop", "rollback failed", "verify failed", run.run_id, "production"):
            assert words in head
        for words in ("simulation (given)", "2026-01-01 00:00:00 UTC", "1 skipped"):
            assert words in head

    def test_tells_what_is_left(self, page: Page) -> None:
        """What is still applied stands with the reason, what was taken back with how long it took."""
        assert re.search(r"migrate\s+OSError: gone", page.sections["Still applied"])
        assert re.findall(r"deploy\[\w+\]", page.sections["Taken back"]) == [
            "deploy[eu]",
            "deploy[us]",
        ]
        assert "for want of an undo: shift, verify" in page.sections["Taken back"]

    def test_tells_what_failed(self, page: Page) -> None:
        """What decided the run comes first; what a later try made good says so."""
        told = page.sections["What failed, and why"]

        assert told.split()[0] == "verify"
        assert told.count("This decided the run: ") == 1
        assert told.count("A later try went well: ") == 1
        assert "TimeoutError: lock wait timeout exceeded" in told
        assert "undo, try 1" in told
        assert "finalizer" in told
        assert "raise act.error" in told  # from a traceback

    def test_tells_who_decided(self, page: Page) -> None:
        """Decisions have a person; one that came to nothing says why."""
        told = page.sections["What people decided"]

        assert "bob pause refused, because the run is held" in told
        assert re.search(r"ada\s+approve\s+go\s+fine", told)

    def test_tells_what_changed(self, page: Page) -> None:
        """A change of the world has its before and after."""
        assert re.search(
            r'lb/shop\s+{"1.0": 100}\s+{"1.0": 50, "2.0": 50}', page.sections["Changes"]
        )

    def test_tells_where_the_definition_is_from(self, run: Simulation) -> None:
        """The commit that is in the record is on the page, and that it is not all of it."""
        start, *others = run.audit_trail
        source = {"commit": "4f1c" * 10, "dirty": True, "file": "ops/deploy.py"}
        opening: Any = start.event
        told = replace(opening, origin={**opening.origin, "source": source})
        trail = AuditTrail([replace(start, event=told), *others])

        head = Page(html(trail)).sections[""]

        assert (
            "definition ops/deploy.py at 4f1c4f1c4f1c, with changes that are in no commit" in head
        )

    def test_tasks_stand_as_they_were_worked_on(self) -> None:
        """What came first stands first, whatever its name, and the items of a map below it."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("survey", lambda: None)
        workflow.add_map("deploy", lambda item: None, over=["x", "y"], depends_on=["survey"])
        workflow.add_task("confirm", lambda: None, depends_on=["deploy"])

        read = AuditTrail.from_jsonl(simulate(workflow).audit_trail.to_jsonl())
        told = Page(html(read)).sections["Tasks"]

        assert re.findall(r"survey|confirm|deploy(?:\[\w\])?", told) == [
            *("survey", "deploy", "deploy[x]", "deploy[y]", "confirm"),
        ]

    def test_draws(self, page: Page) -> None:
        """The plan has what became of each task, a map what became of its items."""
        assert "deploy undone for each of its items" in page.sections["Plan"]
        assert "optional skipped" in page.sections["Plan"]
        assert "shop: rollback_failed after " in page.sections["Timeline"]
        assert re.search(r"deploy\s+undone .* deploy\[eu\]\s+undone", page.sections["Tasks"])

    def test_has_every_record(self, page: Page, run: Simulation) -> None:
        """Every record is there, in order, and whether their chain holds."""
        told = page.sections["Records"]

        assert re.findall(r" (\d+) \+[\d.]+ s", f" {told}") == [
            str(record.seq) for record in run.audit_trail
        ]
        assert f"the chain holds. Its head is {run.audit_trail[-1].hash}" in told

    def test_says_that_it_was_tampered_with(self, run: Simulation) -> None:
        """A trail whose chain does not hold says so."""
        records = list(run.audit_trail)
        records[3] = replace(records[3], hash="0" * 64)

        assert "The chain is broken: " in Page(html(AuditTrail(records))).sections["Records"]


class TestSafety:
    def test_has_no_script(self, page: Page, text: str) -> None:
        """There is no element and no attribute by which anything could run or be fetched."""
        names = {name for name, _ in page.elements}
        attributes = {key for _, given in page.elements for key in given}

        assert names <= ALLOWED
        assert not [key for key in attributes if key.startswith("on") or key in ("src", "style")]
        assert "url(" not in text
        assert "@import" not in text

    def test_hostile_words_are_words(self, text: str) -> None:
        """Whatever a name holds is shown as it is, without control characters."""
        assert HOSTILE[:20] not in text
        assert "&lt;/td&gt;&lt;script&gt;" in text
        assert not set("\x1b\x00\u202e") & set(text)

    def test_policy_is_of_this_style(self, page: Page, text: str) -> None:
        """The policy allows the style that is there, by its hash, and nothing else."""
        (policy,) = (g["content"] for _, g in page.elements if g.get("http-equiv"))
        (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
        seal = b64encode(sha256(style.encode()).digest()).decode()

        assert policy == (
            f"default-src 'none'; style-src 'sha256-{seal}'; base-uri 'none'; form-action 'none'"
        )

    @pytest.mark.parametrize(
        ("address", "links"), [("https://ci.example/1?a=1&b=2", 1), ("javascript:alert(1)", 0)]
    )
    def test_links_lead_to_the_web(self, address: str, links: int) -> None:
        """The pipeline is a link where it is an address of the web, and words where it is not."""
        environ = {"CI": "true", "JENKINS_URL": "x", "BUILD_URL": address, "GIT_COMMIT": "5f9d31c"}
        engine = pyflow.Engine(environ=environ)
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", lambda: None)

        page = Page(html(engine.execute(workflow).audit_trail))

        found = [given for name, given in page.elements if name == "a"]
        assert [one["href"] for one in found] == [address] * links
        assert f"commit 5f9d31c pipeline {address}" in page.sections[""]


class TestParts:
    def test_without_a_plan(self, run: Simulation) -> None:
        """Records hold no dependencies, so without a plan there is no drawing of it."""
        assert "Plan" not in Page(html(run.audit_trail)).sections

    def test_another_plan(self, run: Simulation) -> None:
        """A plan that has changed since is drawn, and says so."""
        workflow = shop()
        workflow.add_task("more", lambda: None)

        assert (
            "not the one that ran"
            in Page(html(run.audit_trail, plan=workflow.check())).sections["Plan"]
        )

    def test_in_the_middle(self, run: Simulation) -> None:
        """A run that waits for a person says for what, and has no end."""
        asked = run.audit_trail.query(kind="intent_raised")[0]
        page = Page(html(run.audit_trail[: asked.seq]))

        assert "held" in page.sections[""]
        assert re.search(r"go\s+approval\s+Release it\?", page.sections["Waits for a person"])
        assert "ended" not in page.sections[""]
        assert "the chain holds" in page.sections["Records"]

    def test_part_of_a_trail(self, run: Simulation) -> None:
        """A part of a trail is told as one."""
        assert "a part of a run" in Page(html(run.audit_trail[5:])).sections[""]

    def test_nothing(self) -> None:
        """An empty trail is a page, and so is one of a workflow that is drawn."""
        assert Page(html(AuditTrail(()))).sections[""].startswith("an empty audit trail")
        assert "Plan" in Page(html(AuditTrail(()), plan=shop().check())).sections

    def test_many_records(self, run: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of very many records the opening and closing ones are shown, and how many are not."""
        monkeypatch.setattr(sections_module, "RECORDS_MAX", 10)

        told = Page(html(run.audit_trail)).sections["Records"]

        assert f"{len(run.audit_trail) - 10} records are left out here" in told
        assert len(re.findall(r"\+[\d.]+ s", told)) == 10

    def test_a_condition_that_failed(self) -> None:
        """What failed without an attempt is told as well."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", lambda: None, when=lambda: 1 / 0)

        told = Page(html(simulate(workflow).audit_trail)).sections["What failed, and why"]

        assert told.startswith("a ZeroDivisionError: division by zero This decided the run: task,")

    def test_after_an_interruption(self) -> None:
        """What nobody knows of, and who took the run up, are told."""
        page = Page(html(AuditTrail(interrupted())))

        assert "nobody knows whether it took effect" in page.sections["What failed, and why"]
        assert re.search(r"resume", page.sections["What people decided"])
        assert re.search(r"a\s+interrupted", page.sections["Waits for a person"])


def interrupted() -> Iterator[pyflow.Record]:
    """Yield the records of a run whose process died, and that was taken up."""
    workflow = pyflow.Workflow("w")
    workflow.add_task("a", lambda: None)
    whole = simulate(workflow)
    journal = MemoryJournal()
    events = [record.event for record in whole.audit_trail[:2]]
    journal.append("r1", events, at=whole.audit_trail[0].at)
    with pyflow.Engine(journal=journal) as engine:
        engine.resume("r1", workflow.check())
        yield from journal.read("r1")


class TestExpiry:
    def test_nobody_answered(self) -> None:
        """A question that expired was decided by nobody."""
        workflow = pyflow.Workflow("w")
        workflow.add_approval("go", "Go?", expires="1h", on_expiry="reject")

        run = simulate(workflow, operator=lambda _: asyncio.sleep(7_200))
        page = Page(html(run.audit_trail))

        assert re.search(r"nobody answered\s+go", page.sections["What people decided"])
