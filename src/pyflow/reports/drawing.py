"""SVG that people read as it is: escaped texts, sizes from their lengths, colours for day and night.

Texts are set in a monospaced font, so that their widths are known, and told
to take just as much. There is no script in a drawing, and nothing is fetched.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from pyflow.record.rendering import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SMALL", "TEXT", "document", "text", "width_of"]

TEXT, SMALL = 13, 11
"""Sizes of texts, in pixels."""

ADVANCE = 0.6
"""The width of a column over the size of the text."""

STYLE = """
text { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1c2430; }
.paper { fill: #ffffff; }
.note, .tick { fill: #5a6675; }
.box { fill: #f4f7fb; stroke: #6b7d94; }
.approval { fill: #fff6df; stroke: #b98a1d; }
.map { fill: #eef7f0; stroke: #4d8a5f; }
.final { stroke: #b3261e; stroke-width: 3; }
.arrow { fill: none; stroke: #6b7d94; stroke-width: 1.2; }
.other { stroke-dasharray: 5 4; }
.tip { fill: #6b7d94; }
.grid { stroke: #dfe5ec; }
.ok { fill: #4d8a5f; }
.bad { fill: #b3261e; }
.undo { fill: #7a52a5; }
.wait { fill: #c9a648; }
.open { fill: #8393a7; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6ebf2; }
  .paper { fill: #14181f; }
  .note, .tick { fill: #9fb0c3; }
  .box { fill: #1f2733; stroke: #8393a7; }
  .approval { fill: #332b16; stroke: #c9a648; }
  .map { fill: #18291d; stroke: #6fae82; }
  .arrow { stroke: #8393a7; }
  .tip { fill: #8393a7; }
  .grid { stroke: #2b3441; }
}
""".strip()


def width_of(words: str, size: int) -> float:
    """Return how wide *words* are, in pixels."""
    return columns_of(words) * size * ADVANCE


def text(x: float, y: float, words: str, size: int, *, style: str = "", bold: bool = False) -> str:
    """Return *words* with their left end on the line at *y*, as wide as `width_of` says."""
    looks = f' class="{style}"' if style else ""
    weight = ' font-weight="bold"' if bold else ""
    fits = f'textLength="{width_of(words, size):.1f}" lengthAdjust="spacingAndGlyphs"'
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" {fits}{looks}{weight} '
        f'xml:space="preserve">{escape(words)}</text>'
    )


def document(title: str, width: float, height: float, parts: Iterable[str]) -> str:
    """Return a whole SVG document of this size, in pixels."""
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">'
    )
    paper = f'<rect class="paper" width="{width:.0f}" height="{height:.0f}"/>'
    return "\n".join(
        [
            opening,
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            paper,
            *parts,
            "</svg>",
            "",
        ]
    )
