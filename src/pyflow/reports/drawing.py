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

__all__ = ["SMALL", "STYLE", "TEXT", "bare", "document", "text", "width_of"]

TEXT, SMALL = 13, 11
"""Sizes of texts, in pixels."""

ADVANCE = 0.6
"""The width of a column over the size of the text."""

STYLE = """
.pyflow text { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1c2430; }
.pyflow .paper { fill: #ffffff; }
.pyflow .note, .pyflow .tick { fill: #5a6675; }
.pyflow .box { fill: #f4f7fb; stroke: #6b7d94; }
.pyflow .approval { fill: #fff6df; stroke: #b98a1d; }
.pyflow .map { fill: #eef7f0; stroke: #4d8a5f; }
.pyflow .box.good { fill: #e3f6e8; stroke: #1a7f37; }
.pyflow .box.bad { fill: #ffe9e7; stroke: #b3261e; }
.pyflow .box.back { fill: #f1eafa; stroke: #7a52a5; }
.pyflow .box.doubt { fill: #fff6d6; stroke: #9a6700; }
.pyflow .box.busy { fill: #e2f2ff; stroke: #0969da; }
.pyflow .box.off { fill: #f6f8fa; stroke: #a9b4c0; stroke-dasharray: 3 3; }
.pyflow .final { stroke: #b3261e; stroke-width: 3; }
.pyflow .arrow { fill: none; stroke: #6b7d94; stroke-width: 1.2; }
.pyflow .other { stroke-dasharray: 5 4; }
.pyflow .tip { fill: #6b7d94; }
.pyflow .grid { stroke: #dfe5ec; }
.pyflow .stripe { fill: #f6f8fb; }
.pyflow .ok { fill: #4d8a5f; }
.pyflow .bad { fill: #b3261e; }
.pyflow .cut { fill: #d3875c; }
.pyflow .undo { fill: #7a52a5; }
.pyflow .wait { fill: #c9a648; }
.pyflow .open { fill: #8393a7; }
@media screen and (prefers-color-scheme: dark) {
  .pyflow text { fill: #e6ebf2; }
  .pyflow .paper { fill: #14181f; }
  .pyflow .note, .pyflow .tick { fill: #9fb0c3; }
  .pyflow .box { fill: #1f2733; stroke: #8393a7; }
  .pyflow .approval { fill: #332b16; stroke: #c9a648; }
  .pyflow .map { fill: #18291d; stroke: #6fae82; }
  .pyflow .box.good { fill: #12301c; stroke: #4fae6d; }
  .pyflow .box.bad { fill: #401a1a; stroke: #f2736b; }
  .pyflow .box.back { fill: #2a1f3a; stroke: #ad87d8; }
  .pyflow .box.doubt { fill: #3a2f10; stroke: #d4a72c; }
  .pyflow .box.busy { fill: #10294a; stroke: #58a6ff; }
  .pyflow .box.off { fill: #171c24; stroke: #566273; }
  .pyflow .final { stroke: #f2736b; }
  .pyflow .arrow { stroke: #8393a7; }
  .pyflow .tip { fill: #8393a7; }
  .pyflow .grid { stroke: #2b3441; }
  .pyflow .stripe { fill: #191f28; }
  .pyflow .bad { fill: #e5645c; }
  .pyflow .cut { fill: #b06a43; }
  .pyflow .undo { fill: #a47fd0; }
}
""".strip()
"""Only what is in a drawing is styled, so that one may stand in a page of other things."""

STYLED = f"<style>{STYLE}</style>"


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
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pyflow" {size} role="img" '
        f'aria-label="{escape(title)}">'
    )
    paper = f'<rect class="paper" width="{width:.0f}" height="{height:.0f}"/>'
    return "\n".join(
        [
            opening,
            f"<title>{escape(title)}</title>",
            STYLED,
            paper,
            *parts,
            "</svg>",
            "",
        ]
    )


def bare(drawing: str) -> str:
    """Return a *drawing* without its style, for a page that has it already."""
    return drawing.replace(f"{STYLED}\n", "", 1)
