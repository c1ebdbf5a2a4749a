"""The diagram of docs/explanation/rollout-states.md, drawn as SVG.

    PYTHONPATH=tests python tests/docs/states.py

writes it anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FILE", "Box", "Look", "across", "arrow", "drawn", "page", "words"]

FILE = Path(__file__).parents[2] / "docs/explanation/rollout-states.svg"
WIDTH, HEIGHT = 960, 470
FONT = 'font-family="Helvetica, Arial, sans-serif"'
TITLE = "The states of a rollout"
INK, SOFT = "#222222", "#555555"


@dataclass(frozen=True)
class Look:
    """The colours of a kind of box."""

    fill: str
    edge: str


TASK = Look("#ffffff", "#1f5fa8")
GOOD = Look("#e5f3ea", "#2f7d4f")
WAIT = Look("#fdf3dc", "#a87b12")
BACK = Look("#fbe9e0", "#c2571a")
BAD = Look("#f6dcdc", "#a32a2a")


@dataclass(frozen=True)
class Box:
    """A state, with a line or two of text in it."""

    x: float
    y: float
    width: float
    lines: tuple[str, ...]
    look: Look = TASK
    height: float = 46

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    def drawn(self) -> str:
        colours = f'fill="{self.look.fill}" stroke="{self.look.edge}" stroke-width="1.5"'
        parts = [
            f'<rect x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="6" {colours}/>'
        ]
        top = self.y + self.height / 2 - 7.5 * (len(self.lines) - 1) + 4
        for number, line in enumerate(self.lines):
            weight = ' font-weight="bold"' if number == 0 else ""
            ink = INK if number == 0 else SOFT
            parts.append(
                words(self.middle, top + 15 * number, line, ink, f'{weight} font-size="12"')
            )
        return "\n".join(parts)


def words(x: float, y: float, text: str, ink: str = SOFT, more: str = 'font-size="11"') -> str:
    """Return text around *x*."""
    return f'<text x="{x}" y="{y}" text-anchor="middle" fill="{ink}" {more.strip()}>{text}</text>'


def arrow(*points: tuple[float, float], ink: str = SOFT, head: bool = True) -> str:
    """Return a line through *points*, with a head at its end."""
    path = " ".join(f"{x},{y}" for x, y in points)
    end = ' marker-end="url(#head)"' if head else ""
    return f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="1.5"{end}/>'


def across(left: Box, right: Box) -> str:
    """Return the arrow from one box to the next in its row."""
    y = left.y + left.height / 2
    return arrow((left.right, y), (right.x, y))


PLANNED = Box(20, 110, 84, ("planned", "checked"))
SURVEY = Box(128, 110, 84, ("survey", "what is there"))
SCALE = Box(258, 110, 86, ("scale", "ready"))
SHIFT = Box(366, 110, 86, ("shift", "read back"))
BAKE = Box(474, 110, 86, ("bake", "and measure"))
CHECK = Box(582, 110, 86, ("check", "approve"))
RETIRE = Box(714, 110, 104, ("retire_old", "after keep_old"))
SUCCEEDED = Box(846, 110, 94, ("succeeded",), GOOD)
STEP = Box(240, 62, 446, (), Look("#f4f7fb", "#9db6d3"), 118)

HELD = Box(258, 240, 340, ("held", "a person decides, and nothing moves meanwhile"), WAIT)
BACKWARD = Box(
    258, 350, 410, ("rolling_back", "weight to the old version, then capacity away"), BACK
)
ROLLED_BACK = Box(714, 330, 226, ("rolled_back", "all as it was before"), GOOD)
FAILED = Box(714, 398, 226, ("rollback_failed", "residue named, lock kept"), BAD)
ROW = (PLANNED, SURVEY, SCALE, SHIFT, BAKE, CHECK, RETIRE, SUCCEEDED)
BOXES = (*ROW, HELD, BACKWARD, ROLLED_BACK, FAILED)


def arrows() -> list[str]:
    """Return what leads where, and why."""
    parts = [across(a, b) for a, b in itertools.pairwise(ROW)]
    loop = [
        (CHECK.middle, CHECK.y),
        (CHECK.middle, 88),
        (SCALE.middle, 88),
        (SCALE.middle, SCALE.y),
    ]
    parts += [
        arrow(*loop),
        words((CHECK.middle + SCALE.middle) / 2, 81, "the next step, with more of the traffic"),
        arrow((360, STEP.bottom), (360, HELD.y)),
        words(300, 206, "a foreign change,"),
        words(300, 221, "unconfirmed, unsure"),
        arrow((430, HELD.y), (430, STEP.bottom)),
        words(488, 214, "retry, skip, approve"),
        arrow((638, STEP.bottom), (638, BACKWARD.y)),
        words(736, 250, "a check fails, an effect fails,"),
        words(736, 265, "somebody rolls it back"),
        arrow((428, HELD.bottom), (428, BACKWARD.y)),
        words(506, 322, "a person rolls it back"),
    ]
    y = BACKWARD.y + BACKWARD.height / 2
    parts += [
        arrow((BACKWARD.right, y), (690, y), (690, to), (ROLLED_BACK.x, to))
        for to in (ROLLED_BACK.y + 23, FAILED.y + 23)
    ]
    return parts


def drawn() -> str:
    """Return the diagram as SVG."""
    return page(TITLE, WIDTH, HEIGHT, (STEP, *BOXES), arrows())


def page(title: str, width: int, height: int, boxes: Iterable[Box], parts: Iterable[str]) -> str:
    """Return a document with a *title*, *boxes*, and *parts* over them."""
    about = f'viewBox="0 0 {width} {height}" role="img" aria-label="{title}"'
    head = (
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto-start-reverse"><path d="M0,1 L10,5 L0,9 z" fill="{SOFT}"/>'
        "</marker></defs>"
    )
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {about} {FONT}>',
        head,
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        words(width / 2, 30, title, INK, 'font-size="15" font-weight="bold"'),
        *(box.drawn() for box in boxes),
        *parts,
        "</svg>",
        "",
    ]
    return "\n".join(drawn)


if __name__ == "__main__":
    FILE.write_text(drawn())
