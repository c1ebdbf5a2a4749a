"""Plans of many shapes and sizes to draw, and the geometry of what was drawn."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from pyflow import Retry, Workflow
from pyflow.define.plan import Plan, compile_plan

SVG = "{http://www.w3.org/2000/svg}"
VERBS = ("build", "migrate", "deploy", "verify", "shift_all_of_the_traffic", "tell")
CURVE_POINTS = 8
SLACK = 0.11
"""Figures in a drawing are rounded to a tenth of a pixel."""


def do() -> None:
    """Do nothing."""


def undo() -> None:
    """Do nothing."""


def is_public() -> bool:
    return True


def mixed(size: int, *, seed: int = 1) -> Plan:
    """Return a plan of tasks of all kinds that wait for one another at random."""
    rng, workflow, names = random.Random(seed), Workflow(f"mixed-{size}"), list[str]()
    for number in range(size):
        near = names[max(0, number - 16) :]
        waits = rng.sample(near, min(len(near), rng.choice((1, 1, 2, 3))))
        waits += [name for name in rng.sample(names, min(len(names), 1)) if name not in waits][:1]
        name = f"{rng.choice(VERBS)}_{number}"
        if rng.random() < 0.05:
            workflow.add_approval(
                name, "Release it to everybody, in all regions?", depends_on=waits
            )
        else:
            retry = Retry(3) if rng.random() < 0.3 else None
            when = is_public if rng.random() < 0.1 else None
            workflow.add_task(name, do, depends_on=waits, when=when, retry=retry)
            if rng.random() < 0.4:
                workflow.add_recovery(name, undo)
        names.append(name)
    return compile_plan(workflow)


def wide(size: int) -> Plan:
    """Return a plan of tasks that all wait for one, and that one waits for."""
    workflow = Workflow(f"wide-{size}")
    workflow.add_task("first", do)
    middle = [f"deploy_{number}" for number in range(size - 2)]
    for name in middle:
        workflow.add_task(name, do, depends_on=["first"])
    workflow.add_task("last", do, depends_on=middle)
    return compile_plan(workflow)


def chain(size: int) -> Plan:
    """Return a plan of tasks of which each waits for the one before."""
    workflow = Workflow(f"chain-{size}")
    for number in range(size):
        waits = [f"step_{number - 1}"] if number else []
        workflow.add_task(f"step_{number}", do, depends_on=waits)
    return compile_plan(workflow)


@dataclass(frozen=True)
class Box:
    """A rectangle of a drawing."""

    name: str
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Return whether the two have a part in common."""
        beside = self.right - SLACK <= other.left or other.right - SLACK <= self.left
        return not (beside or self.bottom - SLACK <= other.top or other.bottom - SLACK <= self.top)

    def holds(self, other: Box) -> bool:
        """Return whether the other is inside."""
        across = self.left - SLACK <= other.left and other.right <= self.right + SLACK
        return across and self.top - SLACK <= other.top and other.bottom <= self.bottom + SLACK


def box_of(rect: ET.Element, name: str = "") -> Box:
    """Return where a rectangle is."""
    x, y, width, height = (float(rect.get(k, "0")) for k in ("x", "y", "width", "height"))
    return Box(name, x, y, x + width, y + height)


def box_of_text(text: ET.Element) -> Box:
    """Return where a text is, from its line, its size and the length that it is told to have."""
    x, y = float(text.get("x", "0")), float(text.get("y", "0"))
    size = float(text.get("font-size", "0"))
    return Box(
        text.text or "", x, y - size * 0.8, x + float(text.get("textLength", "0")), y + size * 0.25
    )


def meetings(boxes: list[Box]) -> list[tuple[str, str]]:
    """Return the pairs that have a part in common, found in one sweep from left to right."""
    found: list[tuple[str, str]] = []
    open_: list[Box] = []
    for box in sorted(boxes, key=lambda one: one.left):
        open_ = [one for one in open_ if one.right - SLACK > box.left]
        found += [(one.name, box.name) for one in open_ if one.meets(box)]
        open_.append(box)
    return found


def points_of(path: str) -> Iterator[tuple[float, float]]:
    """Yield points along a path of M, H, V and C, close enough to one another to meet any box."""
    x = y = 0.0
    for letter, figures in re.findall(r"([MHVC])([^MHVC]*)", path):
        given = [float(figure) for figure in figures.split()]
        if letter == "M":
            x, y = given
        elif letter == "H":
            steps = max(1, int(abs(given[0] - x) // 10))
            yield from ((x + (given[0] - x) * n / steps, y) for n in range(steps))
            x = given[0]
        elif letter == "V":
            steps = max(1, int(abs(given[0] - y) // 10))
            yield from ((x, y + (given[0] - y) * n / steps) for n in range(steps))
            y = given[0]
        else:
            x1, y1, x2, y2, x3, y3 = given
            for n in range(CURVE_POINTS):
                t = n / CURVE_POINTS
                a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
                yield a * x + b * x1 + c * x2 + d * x3, a * y + b * y1 + c * y2 + d * y3
            x, y = x3, y3
    yield x, y
