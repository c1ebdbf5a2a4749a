"""Plans as pictures and as text: what is in them, and what no name can do to them."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from pyflow import Retry, Workflow
from pyflow.define.plan import Plan, compile_plan
from pyflow.reports import plan_dot, plan_mermaid, plan_svg, plan_text

SVG = "{http://www.w3.org/2000/svg}"
NOTES = [
    "if is_needed",
    "waits for any success",
    "asks: Release <2.0> & go?",
    "locks table:orders",
    "3 tries, 1m30s each",
    "repair: mend",
    "undo: migrate_back",
    "may fail",
    "point of no return",
    "for each of regions",
    "for each of its items",
]


def do() -> None:
    """Do nothing."""


def migrate_back() -> None:
    """Do nothing."""


def mend() -> None:
    """Do nothing."""


def is_needed() -> bool:
    return True


def regions() -> list[str]:
    return ["eu"]


def roll(item: str) -> None:
    """Do nothing."""


@pytest.fixture
def plan() -> Plan:
    """Return a plan with everything that a box can say."""
    workflow = Workflow("shop", locks=["service:shop"])
    workflow.add_task("build", do)
    workflow.add_task("regions", regions)
    workflow.add_task(
        "migrate", do, depends_on=["build"], locks=["table:orders"], retry=Retry(3), timeout="90s"
    )
    workflow.add_recovery("migrate", migrate_back)
    workflow.add_recovery("build", mend, then="retry")
    workflow.add_task("warm", do, depends_on=["build"], when=is_needed, allow_failure=True)
    workflow.add_approval("go", "Release <2.0> & go?", depends_on=["migrate", "build"])
    workflow.add_task("switch", do, depends_on=["go", "warm"], point_of_no_return=True)
    workflow.add_map("roll", roll, over="regions", depends_on=["switch"], join="any")
    workflow.add_map("each", roll, over=["a", "b"], depends_on=["switch"])
    return compile_plan(workflow)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


class TestSVG:
    def test_says_everything(self, plan: Plan) -> None:
        """Every task is there with its conditions, recoveries, locks and points of no return."""
        found = texts(plan_svg(plan))

        assert found[0] == "shop: 8 tasks, locks service:shop"
        assert set(plan.nodes) <= set(found)
        assert set(NOTES) <= set(found)

    def test_arrows(self, plan: Plan) -> None:
        """A dependency that others imply is not drawn; one that waits for no success is dashed."""
        root = ET.fromstring(plan_svg(plan))
        styles = [path.get("class") for path in root.iter(f"{SVG}path")]

        assert styles.count("arrow") == 6  # not from build to go, which waits for migrate anyway
        assert styles.count("arrow other") == 2

    @pytest.mark.parametrize(("count", "trunks"), [(11, 0), (12, 24)])
    def test_fans(self, count: int, trunks: int) -> None:
        """Many arrows out of one box, or into one, share a trunk; few are curves of their own."""
        workflow = Workflow("w")
        workflow.add_task("first", do)
        names = [f"t{number}" for number in range(count)]
        for name in names:
            workflow.add_task(name, do, depends_on=["first"])
        workflow.add_task("last", do, depends_on=names)

        lines = [
            path.get("d") or ""
            for path in ET.fromstring(plan_svg(compile_plan(workflow))).iter(f"{SVG}path")
            if path.get("class") == "arrow"
        ]

        assert sum("V" in line for line in lines) == trunks
        assert sum("C" in line for line in lines) == 2 * count - trunks

    def test_statuses(self) -> None:
        """What became of a task is the first line in its box, and its look."""
        svg = plan_svg(
            compile_plan(in_a_row("deploy", "check")), statuses={"deploy": "undo_failed"}
        )

        assert texts(svg)[1:] == ["deploy", "undo failed", "check"]
        assert 'class="box bad"' in svg

    def test_long_names(self) -> None:
        """A name that is long is cut in its box, and whole in its title."""
        workflow = Workflow("shop")
        name = "deploy_" + "x" * 80
        workflow.add_task(name, do)

        svg = plan_svg(compile_plan(workflow))

        assert name not in texts(svg)
        assert name in [title.text for title in ET.fromstring(svg).iter(f"{SVG}title")]

    def test_hostile_question(self) -> None:
        """No text becomes markup, and control characters are spelled out."""
        workflow = Workflow("shop")
        workflow.add_approval("go", "</text><script>alert('x')</script>\x1b[2J\x00")

        svg = plan_svg(compile_plan(workflow))

        assert "<script" not in svg
        assert "\x1b" not in svg
        assert any(text.startswith("asks: </text><script>") for text in texts(svg))

    def test_thousand(self) -> None:
        """A thousand tasks are drawn, each once."""
        workflow = Workflow("wide")
        workflow.add_task("first", do)
        for number in range(999):
            workflow.add_task(f"t{number}", do, depends_on=["first"])

        found = texts(plan_svg(compile_plan(workflow)))

        assert len(found) == len(set(found)) == 1_001


class TestText:
    def test_mermaid(self, plan: Plan) -> None:
        """Boxes are numbered, and everything that Mermaid would read is an entity."""
        lines = plan_mermaid(plan).splitlines()

        assert lines[0] == "flowchart LR"
        assert '  t4{{"go<br/>asks: Release #60;2.0#62; #38; go?"}}' in lines
        assert "  t0 --> t2" in lines
        assert any(" -.-> " in line for line in lines)
        assert lines[-1] == "  class t5 final"

    def test_dot(self, plan: Plan) -> None:
        """Names are quoted, and quotes in them escaped."""
        workflow = Workflow("shop")
        workflow.add_approval("go", 'say "yes" \\ or no')

        lines = plan_dot(plan).splitlines()
        quoted = plan_dot(compile_plan(workflow))

        assert '  "build" -> "migrate"' in lines
        assert any("[style=dashed]" in line for line in lines)
        assert 'label="go\\nasks: say \\"yes\\" \\\\ or no"' in quoted

    def test_without_a_point_of_no_return(self) -> None:
        """What nothing needs is not declared."""
        workflow = Workflow("shop")
        workflow.add_task("build", do)

        assert plan_mermaid(compile_plan(workflow)) == 'flowchart LR\n  t0["build"]\n'

    def test_stages(self) -> None:
        """As plain text, each stage is a line, with what became of its tasks."""
        plan = compile_plan(in_a_row("deploy", "check"))

        assert plan_text(plan) == "1. deploy\n2. check"
        assert "deploy (failed)" in plan_text(plan, statuses={"deploy": "failed"})

    def test_statuses(self) -> None:
        """Mermaid shows what became of each task, in words and in colour."""
        plan = compile_plan(in_a_row("deploy", "check"))

        lines = plan_mermaid(plan, statuses={"deploy": "undone"}).splitlines()

        assert '  t0["deploy<br/>undone"]' in lines
        assert "  class t0 undone" in lines
        assert '  t1["check"]' in lines

    def test_many(self) -> None:
        """A plan of many tasks is told in part, and says so."""
        workflow = Workflow("w")
        for number in range(250):
            workflow.add_task(f"t{number}", do)
        plan = compile_plan(workflow)

        assert "and 50 more" in plan_mermaid(plan)
        assert plan_text(plan).endswith("and 50 more")


def in_a_row(*names: str) -> Workflow:
    """Return a workflow in which each of *names* waits for the one before."""
    workflow = Workflow("shop")
    for before, name in zip([None, *names], names, strict=False):
        workflow.add_task(name, do, depends_on=[before] if before is not None else [])
    return workflow
