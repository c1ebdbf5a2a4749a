"""The plots of docs/explanation/analysis.md, drawn from simulations as SVG.

    PYTHONPATH=tests python tests/docs/plots.py

writes the three plots anew, and the table of rates in the page. It takes a
minute or two.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from pyflow.analysis import Characteristics, FixedSample, Points, Requests, Sequential
from pyflow.analysis.simulating import simulate_judge
from support.operating import SCENARIOS, Scenario, simulated

__all__ = ["FOLDER", "PAGE", "Line", "Plot", "drawn", "row", "table"]

PAGE = Path(__file__).parents[2] / "docs/explanation/analysis.md"
FOLDER = PAGE.parent / "analysis"
WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 44, 56
COLOURS = ("#1f5fa8", "#c2571a", "#2f7d4f", "#7a3fa0")
DASHES = ("", "7 4", "2 3", "10 3 2 3")
TABLE = re.compile(r"(?<=<!-- rates -->\n).*?(?=<!-- end of rates -->)", re.DOTALL)


@dataclass(frozen=True)
class Line:
    """A named line through points."""

    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """Lines over two axes that begin at zero."""

    title: str
    across: str
    up: str
    lines: list[Line]
    x_ticks: list[float]
    y_ticks: list[float]
    bar: float | None = None
    """A level to compare with."""


def drawn(plot: Plot) -> str:
    """Return *plot* as SVG."""
    x_most, y_most = plot.x_ticks[-1], plot.y_ticks[-1]

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / x_most * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - y / y_most * (HEIGHT - TOP - BOTTOM)

    about = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{plot.title}"'
    font = 'font-family="Helvetica, Arial, sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {about} {font}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold" fill="#222222">{plot.title}</text>',
    ]
    for y in plot.y_ticks:
        x0, y0 = at(0, y)
        parts.append(
            f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{WIDTH - RIGHT}" y2="{y0:.1f}" stroke="#e2e2e2"/>'
            f'<text x="{x0 - 8:.1f}" y="{y0 + 4:.1f}" text-anchor="end" fill="#555555">{y:g} %</text>'
        )
    for x in plot.x_ticks:
        x0, y0 = at(x, 0)
        parts.append(
            f'<text x="{x0:.1f}" y="{y0 + 18:.1f}" text-anchor="middle" fill="#555555">{x:,g}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{HEIGHT - 14}" text-anchor="middle" fill="#222222">{plot.across}</text>'
        f'<text transform="translate(16 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle" '
        f'fill="#222222">{plot.up}</text>'
    )
    if plot.bar is not None:
        x0, y0 = at(0, plot.bar)
        parts.append(
            f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{WIDTH - RIGHT}" y2="{y0:.1f}" '
            'stroke="#888888" stroke-dasharray="4 4"/>'
        )
    for number, line in enumerate(plot.lines):
        path = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in line.points)
        look = f'stroke="{COLOURS[number]}" stroke-dasharray="{DASHES[number]}" stroke-width="2"'
        parts.append(f'<polyline points="{path}" fill="none" {look}/>')
    parts += legend(plot)
    return "\n".join([*parts, "</svg>", ""])


def legend(plot: Plot) -> list[str]:
    """Return the legend, in the half that has more room on the right."""
    ends = [line.points[-1][1] / plot.y_ticks[-1] for line in plot.lines]
    top = TOP + 10 if sum(ends) / len(ends) < 0.5 else HEIGHT - BOTTOM - 20 * len(plot.lines) - 2
    parts: list[str] = []
    for number, line in enumerate(plot.lines):
        y = top + 20 * number
        look = f'stroke="{COLOURS[number]}" stroke-dasharray="{DASHES[number]}" stroke-width="2"'
        parts.append(
            f'<line x1="{WIDTH - 250}" y1="{y}" x2="{WIDTH - 218}" y2="{y}" {look}/>'
            f'<text x="{WIDTH - 210}" y="{y + 4}" fill="#222222">{line.name}</text>'
        )
    return parts


def upto(name: str, found: Characteristics, looks: int, step: float = 1.0) -> Line:
    """Return by which look which share of the comparisons had failed, in per cent."""
    shares = [bisect_right(found.looks, look) / found.runs * 100 for look in range(looks + 1)]
    return Line(name, [(look * step, share) for look, share in enumerate(shares)])


def peeking() -> Plot:
    """Draw how often a healthy canary has been aborted by which look."""
    traffic = Requests(canary=50, baseline=50, rate=0.02)
    lines = [
        upto(
            name,
            simulate_judge(judge, traffic, looks=100, max_increase=0.0, runs=600, seed=4),
            100,
        )
        for name, judge in (
            ("FixedSample, at every look", FixedSample()),
            ("Sequential", Sequential()),
        )
    ]
    return Plot(
        "A healthy canary, looked at a hundred times",
        "looks (50 requests of each arm between them, 2 % errors in both)",
        "aborted so far",
        lines,
        [0, 20, 40, 60, 80, 100],
        [0, 10, 20, 30, 40],
        bar=5,
    )


def how_soon() -> Plot:
    """Draw by how many requests which regression has been found."""
    traffic = Requests(canary=50, baseline=50, rate=0.02)
    lines: list[Line] = []
    for effect in (0.04, 0.02, 0.015):
        found = simulate_judge(
            Sequential(), traffic, looks=80, effect=effect, max_increase=0.01, runs=400, seed=4
        )
        lines.append(upto(f"2 % to {2 + effect * 100:g} %", found, 80, 50))
    return Plot(
        "How soon a regression of errors is found",
        "requests of each arm",
        "found so far",
        lines,
        [0, 1000, 2000, 3000, 4000],
        [0, 25, 50, 75, 100],
        bar=50,
    )


def what_is_found() -> Plot:
    """Draw which slowdown is found with which probability, for series with and without memory."""
    lines: list[Line] = []
    for correlation in (0.0, 0.5, 0.8):
        traffic = Points(per_look=5, first=20, sd=0.2, correlation=correlation)
        points = [
            (
                effect * 100,
                simulate_judge(
                    Sequential(),
                    traffic,
                    looks=9,
                    effect=effect,
                    max_increase=0.05,
                    runs=250,
                    seed=4,
                ).failed
                * 100,
            )
            for effect in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
        ]
        lines.append(Line(f"correlation {correlation:g}", points))
    return Plot(
        "Which slowdown is found in 60 points",
        "how much slower the canary is, in % (limit: 5 %)",
        "found within 9 looks",
        lines,
        [0, 10, 20, 30, 40, 50],
        [0, 25, 50, 75, 100],
        bar=80,
    )


PLOTS = {"peeking": peeking, "how-soon": how_soon, "what-is-found": what_is_found}


def row(scenario: Scenario, found: Characteristics) -> str:
    """Return the row of the page's table for a scenario."""
    failed, error = found.failed * 100, found.error(found.failed) * 100
    return f"| {scenario.name} | {failed:.1f} % ± {error:.1f} | {found.passed * 100:.0f} % | {found.runs:,} |"


def table() -> str:
    """Return the table of all rates."""
    head = "| simulation | failed | passed at a look | runs |\n|---|---|---|---|\n"
    return head + "".join(f"{row(s, simulated(s))}\n" for s in SCENARIOS)


def write() -> None:
    """Write the plots, and the table in the page."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in PLOTS.items():
        (FOLDER / f"{name}.svg").write_text(drawn(make()))
    rates = table()
    PAGE.write_text(TABLE.sub(lambda _: rates, PAGE.read_text()))


if __name__ == "__main__":
    write()
