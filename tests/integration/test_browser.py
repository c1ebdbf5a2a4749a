"""Reports in a real browser: Chromium measures the drawings, holds pages to their policy, and draws Mermaid."""

from __future__ import annotations

import html as markup
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pyflow.define.plan import Plan
from pyflow.reports import html, plan_mermaid, plan_svg, timeline_svg
from pyflow.testing import simulate
from support.browser import loaded, mermaid
from support.drawn import chain, mixed, wide
from support.told import HOSTILE, shop, troubled

pytestmark = pytest.mark.integration

MEASURE = """
<script>
const texts = [...document.querySelectorAll("svg g > text")].map(t => [t, t.getBBox()]);
const beyond = texts.filter(([t, box]) => {
  const around = t.parentNode.querySelector("rect");
  if (!around) return false;
  const edge = around.getBBox();
  return box.x < edge.x - 1 || box.x + box.width > edge.x + edge.width + 1
    || box.y < edge.y - 1 || box.y + box.height > edge.y + edge.height + 1;
}).map(([t]) => t.textContent);
const boxes = [...document.querySelectorAll("svg g > rect")].map(r => [r.parentNode.textContent, r.getBBox()]);
boxes.sort((a, b) => a[1].x - b[1].x);
const over = [];
boxes.forEach(([name, a], i) => {
  for (let j = i + 1; j < boxes.length && boxes[j][1].x < a.x + a.width; j++) {
    const b = boxes[j][1];
    if (b.y < a.y + a.height && a.y < b.y + b.height) over.push([name, boxes[j][0]]);
  }
});
const found = {texts: texts.length, boxes: boxes.length, beyond, over};
document.body.innerHTML = "<pre></pre>";
document.querySelector("pre").textContent = JSON.stringify(found);
</script>
"""

DRAW = """
<meta charset="utf-8"><body><script src="SCRIPT"></script><script>
const diagrams = DIAGRAMS;
(async () => {
  mermaid.initialize({startOnLoad: false, maxTextSize: 200000, maxEdges: 5000});
  const found = [];
  for (const [n, text] of diagrams.entries()) {
    try {
      const kind = (await mermaid.parse(text)).diagramType;
      const {svg} = await mermaid.render("d" + n, text);
      const drawn = new DOMParser().parseFromString(svg, "text/html");
      const nodes = [...drawn.querySelectorAll(".node")].map(n => n.textContent.replace(/\\s+/g, " "));
      found.push({kind, nodes, scripts: drawn.querySelectorAll("script, img").length});
    } catch (error) { found.push({error: String(error)}); }
  }
  document.body.innerHTML = "<pre></pre>";
  document.querySelector("pre").textContent = JSON.stringify(found);
})();
</script></body>
"""


def told(document: str) -> Any:
    """Return what a page has written down about itself."""
    (found,) = re.findall(r"<pre>(.*)</pre>", document, re.DOTALL)
    return json.loads(markup.unescape(found))


class TestDrawings:
    @pytest.mark.parametrize("size", [10, 100, 1_000])
    @pytest.mark.parametrize("shape", [mixed, wide, chain])
    def test_nothing_overlaps(self, shape: Any, size: int, tmp_path: Path) -> None:
        """As Chromium sets them, texts are in their boxes, and no box is over another."""
        plan: Plan = shape(size)
        page = tmp_path / "plan.html"
        svg = plan_svg(plan, statuses=dict.fromkeys(plan.nodes, "succeeded"))
        page.write_text(f"<!DOCTYPE html><body>{svg}{MEASURE}</body>")

        found = told(loaded(page)[0])

        assert found["boxes"] == size
        assert found["texts"] >= 2 * size
        assert (found["beyond"], found["over"]) == ([], [])


class TestPages:
    def test_keeps_to_its_policy(self, tmp_path: Path) -> None:
        """Chromium takes the page as it is: its style counts, and nothing is refused or fetched."""
        page = tmp_path / "run.html"
        page.write_text(html(troubled().audit_trail, plan=shop().check()))

        document, said = loaded(page)

        assert "<h2>Still applied</h2>" in document
        assert not re.search(r"Content.Security.Policy|CONSOLE|Refused", said)

    def test_a_foreign_script_is_refused(self, tmp_path: Path) -> None:
        """Were there ever a script or another style in it, the policy would not let it be."""
        page = tmp_path / "run.html"
        text = html(troubled().audit_trail)
        evil = '<script>document.title = "taken"</script><style>body { color: red }</style></body>'
        page.write_text(text.replace("</body>", evil))

        document, said = loaded(page)

        assert "<title>taken</title>" not in document
        assert len(re.findall(r"Content Security Policy", said)) >= 2

    @pytest.mark.parametrize("size", [10, 100, 1_000])
    def test_sizes(self, size: int, tmp_path: Path) -> None:
        """Pages about runs of any size are loaded whole."""
        plan = wide(size)
        page = tmp_path / "run.html"
        page.write_text(html(simulate(plan).audit_trail, plan=plan))

        document, said = loaded(page)

        assert document.count('<rect class="box good"') == size
        assert document.count('<rect class="ok"') - 1 == size  # one is in the legend
        assert "CONSOLE" not in said

    def test_timeline_is_one_by_itself(self, tmp_path: Path) -> None:
        """A timeline is a document of its own, which Chromium finds no fault with."""
        page = tmp_path / "run.svg"
        page.write_text(timeline_svg(troubled().audit_trail))

        document, _ = loaded(page)

        assert "parsererror" not in document
        assert "took back" in document


class TestMermaid:
    def test_is_drawn(self, tmp_path: Path) -> None:
        """Mermaid's own parser takes every diagram, draws each task, and runs nothing."""
        plans = [shop().check(), mixed(10), mixed(100), wide(100), chain(200), mixed(1_000)]
        statuses = {"migrate": "undo_failed", "deploy": "undone", "tell": "blocked"}
        diagrams = [plan_mermaid(plan, statuses=statuses) for plan in plans]
        page = tmp_path / "mermaid.html"
        text = DRAW.replace("SCRIPT", mermaid().as_uri())
        page.write_text(text.replace("DIAGRAMS", json.dumps(diagrams).replace("</", "<\\/")))

        found = told(loaded(page)[0])

        assert [one.get("error") for one in found] == [None] * len(plans)
        assert [(one["kind"], one["scripts"]) for one in found] == [("flowchart-v2", 0)] * len(
            plans
        )
        assert [len(one["nodes"]) for one in found] == [7, 10, 100, 100, 200, 201]
        (asked,) = [node for node in found[0]["nodes"] if node.startswith("go")]
        assert HOSTILE[:20] in asked
