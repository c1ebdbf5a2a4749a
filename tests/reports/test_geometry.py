"""Drawings of 10, 100 and 1,000 tasks: nothing overlaps, by their own figures."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from pyflow.define.plan import Plan
from pyflow.record.audit import AuditTrail
from pyflow.reports import plan_svg, timeline_svg
from pyflow.testing import simulate, takes
from support.drawn import SVG, Box, box_of, box_of_text, chain, meetings, mixed, points_of, wide

SIZES = (10, 100, 1_000)


SHAPES = [(shape, size) for shape in (mixed, wide, chain) for size in SIZES]


@pytest.fixture(scope="module", params=SHAPES, ids=lambda p: f"{p[0].__name__}-{p[1]}")
def drawn(request: pytest.FixtureRequest) -> ET.Element:
    """Return the drawing of a plan, with what became of some of its tasks."""
    shape, size = request.param
    plan: Plan = shape(size)
    statuses = {name: "undo_failed" for number, name in enumerate(plan.nodes) if number % 3}
    return ET.fromstring(plan_svg(plan, statuses=statuses))


def boxes_of(root: ET.Element) -> list[tuple[Box, list[Box]]]:
    """Return each box of a plan, with the texts in it."""
    return [
        (
            box_of(group[1], group[0].text or ""),
            [box_of_text(t) for t in group.findall(f"{SVG}text")],
        )
        for group in root.iter(f"{SVG}g")
        if group.get("transform") is None
    ]


class TestPlan:
    def test_boxes_keep_apart(self, drawn: ET.Element) -> None:
        """No box is over another."""
        boxes = [box for box, _ in boxes_of(drawn)]

        assert len(boxes) in SIZES
        assert meetings(boxes) == []

    def test_texts_are_inside(self, drawn: ET.Element) -> None:
        """Every text is in its box, and in no other text."""
        for box, texts in boxes_of(drawn):
            assert [text.name for text in texts if not box.holds(text)] == []
            assert meetings(texts) == []

    def test_arrows_go_around(self, drawn: ET.Element) -> None:
        """No arrow goes through a box: it ends at its edge."""
        boxes = sorted((box for box, _ in boxes_of(drawn)), key=lambda box: box.right)
        rights = [box.right for box in boxes]
        widest = max(box.right - box.left for box in boxes)
        through: set[str] = set()
        for path in drawn.iter(f"{SVG}path"):
            if path.get("class", "").startswith("arrow"):
                for x, y in points_of(path.get("d", "")):
                    first = bisect_left(rights, x + 0.2)
                    for box in boxes[first:]:
                        if box.right > x + widest + 0.2:
                            break
                        if box.left + 0.2 < x and box.top + 0.2 < y < box.bottom - 0.2:
                            through.add(box.name)

        assert through == set()

    def test_all_is_on_paper(self, drawn: ET.Element) -> None:
        """Nothing is beyond the edges of the drawing."""
        paper = box_of(drawn.find(f"{SVG}rect"))  # type: ignore[arg-type]
        edge = Box("", 0, 0, paper.right - 20, paper.bottom - 64)

        assert [box.name for box, _ in boxes_of(drawn) if not edge.holds(box)] == []


@pytest.fixture(scope="module", params=SIZES)
def trail(request: pytest.FixtureRequest) -> AuditTrail:
    """Return the trail of a run in which most work takes no time at all."""
    plan = wide(request.param)
    fakes = {name: takes("1h") for name in list(plan.nodes)[:2]}
    return simulate(plan, fakes=fakes).audit_trail


class TestTimeline:
    def test_bars_keep_apart(self, trail: AuditTrail) -> None:
        """No bar is over another, however short they are, and none is beyond the axis."""
        root = ET.fromstring(timeline_svg(trail))
        bars = [box_of(rect, rect[0].text or "") for rect in root.iter(f"{SVG}rect") if len(rect)]

        assert len(bars) in SIZES
        assert meetings(bars) == []

    def test_texts_keep_apart(self, trail: AuditTrail) -> None:
        """Names, ticks, title and legend are beside one another."""
        root = ET.fromstring(timeline_svg(trail))

        assert meetings([box_of_text(text) for text in root.iter(f"{SVG}text")]) == []

    def test_tries_in_no_time(self, seconds_of: Callable[[int], AuditTrail]) -> None:
        """Tries that took no time are drawn side by side."""
        root = ET.fromstring(timeline_svg(seconds_of(5)))
        bars = [box_of(rect, rect[0].text or "") for rect in root.iter(f"{SVG}rect") if len(rect)]

        assert len(bars) == 6
        assert meetings(bars) == []


@pytest.fixture
def seconds_of() -> Callable[[int], AuditTrail]:
    """Return what makes a run with so many failing tries, one right after the other."""
    from pyflow import Backoff, Retry, Workflow
    from pyflow.testing import fails

    def made(tries: int) -> AuditTrail:
        workflow = Workflow("w")
        workflow.add_task("long", lambda: None)
        waits = Backoff(0, jitter=0)
        workflow.add_task("short", lambda: None, retry=Retry(tries, backoff=waits))
        fakes = {"long": takes("1d"), "short": fails(OSError("no"))}
        return simulate(workflow, fakes=fakes).audit_trail

    return made
