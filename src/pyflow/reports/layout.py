"""Place boxes in layers, from left to right, so that arrows go forward and cross little.

The steps are those of Sugiyama, Tagawa and Toda (1981). An arrow over more
than one layer gets a place of its own in each layer between, which all arrows
from one box share. The order in a layer follows the mean of the neighbours'
(barycentres), swept to and fro; the best order seen is kept. The heights are
then as near to the neighbours' as the order allows, which is an isotonic
regression (pool adjacent violators).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Layout", "Place", "Point", "laid_out"]

Spot: TypeAlias = tuple[str, int]
"""A box, or what an arrow from it passes, in a layer."""

Point: TypeAlias = tuple[float, float]

SWEEPS = 12
CROSSINGS_COUNTED_MAX = 20_000
LANE_HEIGHT = 6.0


@frozen
class Place:
    """Where a box is: its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float


@frozen
class Layout:
    """Boxes in their places, and the points that arrows go through, two for each layer."""

    places: Mapping[str, Place]
    """Each box."""

    paths: Mapping[tuple[str, str], tuple[Point, ...]]
    """Each arrow: out of its source, through each layer between, into its target."""

    width: float
    """Of all of it."""

    height: float
    """Of all of it."""


def laid_out(
    sizes: Mapping[str, tuple[float, float]],
    arrows: Sequence[tuple[str, str]],
    layers: Sequence[Sequence[str]],
    *,
    gap: float = 14.0,
    between: float = 56.0,
) -> Layout:
    """Return where boxes of these *sizes* go.

    Args:
        sizes: Width and height of each box.
        arrows: From an earlier layer to a later one each, without repeats.
        layers: Every box in its layer.
        gap: The least distance between boxes of one layer.
        between: The distance between layers.
    """
    depth = {name: number for number, layer in enumerate(layers) for name in layer}
    spots, ahead = _with_lanes(layers, arrows, depth)
    behind = _reversed(ahead)
    spots = _ordered(spots, ahead, behind)
    heights = {
        s: sizes[s[0]][1] if depth[s[0]] == s[1] else LANE_HEIGHT for row in spots for s in row
    }
    middles = _levelled(spots, ahead, behind, heights, gap)
    widths = [max((sizes[name][0] for name in layer), default=0.0) for layer in layers]
    lefts = [sum(widths[:n]) + between * n for n in range(len(widths))]
    places = {
        name: Place(
            lefts[n] + (widths[n] - sizes[name][0]) / 2,
            middles[name, n] - sizes[name][1] / 2,
            *sizes[name],
        )
        for name, n in depth.items()
    }
    columns = [(left, left + width) for left, width in zip(lefts, widths, strict=True)]
    paths = {arrow: _path(arrow, depth, places, middles, columns) for arrow in arrows}
    bottom = max((middles[s] + heights[s] / 2 for s in heights), default=0.0)
    return Layout(places, paths, columns[-1][1] if columns else 0.0, bottom)


def _with_lanes(
    layers: Sequence[Sequence[str]], arrows: Iterable[tuple[str, str]], depth: Mapping[str, int]
) -> tuple[list[list[Spot]], dict[Spot, list[Spot]]]:
    """Return what is in each layer, and what each of it leads to in the next."""
    rows = [[(name, number) for name in layer] for number, layer in enumerate(layers)]
    ahead: dict[Spot, list[Spot]] = {spot: [] for row in rows for spot in row}
    for source, target in arrows:
        last: Spot = (source, depth[source])
        for number in range(depth[source] + 1, depth[target]):
            lane: Spot = (source, number)
            if lane not in ahead:
                ahead[lane] = []
                rows[number].append(lane)
                ahead[last].append(lane)
            last = lane
        ahead[last].append((target, depth[target]))
    return rows, ahead


def _reversed(ahead: Mapping[Spot, Sequence[Spot]]) -> dict[Spot, list[Spot]]:
    behind: dict[Spot, list[Spot]] = {spot: [] for spot in ahead}
    for spot, others in ahead.items():
        for other in others:
            behind[other].append(spot)
    return behind


# Order ------------------------------------------------------------------------------------


def _ordered(
    rows: list[list[Spot]],
    ahead: Mapping[Spot, Sequence[Spot]],
    behind: Mapping[Spot, Sequence[Spot]],
) -> list[list[Spot]]:
    """Return the best order that some sweeps to and fro find."""
    arrows = sum(map(len, ahead.values()))
    best, least = rows, _crossings(rows, ahead)
    for sweep in range(SWEEPS if arrows <= CROSSINGS_COUNTED_MAX else 2):
        if least == 0:
            break
        rows = _swept(rows, behind if sweep % 2 == 0 else ahead, backwards=sweep % 2 == 1)
        found = _crossings(rows, ahead)
        if found < least:
            best, least = rows, found
    return best


def _swept(
    rows: list[list[Spot]], neighbours: Mapping[Spot, Sequence[Spot]], *, backwards: bool
) -> list[list[Spot]]:
    """Return each row in the order of the means of its neighbours in the row before it."""
    done: list[list[Spot]] = []
    rank: dict[Spot, float] = {}
    for row in reversed(rows) if backwards else rows:
        means = {
            spot: sum(rank[n] for n in near) / len(near) if (near := neighbours[spot]) else place
            for place, spot in enumerate(row)
        }
        ordered = sorted(row, key=means.__getitem__)
        rank |= {spot: float(place) for place, spot in enumerate(ordered)}
        done.append(ordered)
    return done[::-1] if backwards else done


def _crossings(rows: Sequence[Sequence[Spot]], ahead: Mapping[Spot, Sequence[Spot]]) -> int:
    """Return how many pairs of arrows cross: pairs whose ends are in opposite orders."""
    count = 0
    for row, following in pairwise(rows):
        rank = {spot: place for place, spot in enumerate(following)}
        seen: list[int] = []
        for spot in row:
            ends = sorted(rank[other] for other in ahead[spot])
            count += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


# Height -----------------------------------------------------------------------------------


def _levelled(
    rows: Sequence[Sequence[Spot]],
    ahead: Mapping[Spot, Sequence[Spot]],
    behind: Mapping[Spot, Sequence[Spot]],
    heights: Mapping[Spot, float],
    gap: float,
) -> dict[Spot, float]:
    """Return the middle of each spot, so that the uppermost box begins at zero."""
    middles: dict[Spot, float] = {}
    for row in rows:
        middles |= _spaced(row, [0.0] * len(row), heights, gap)
    for sweep in range(SWEEPS):
        there = sweep % 2 == 0
        neighbours = behind if there else ahead
        for row in rows if there else reversed(rows):
            wanted = [_mean([middles[n] for n in neighbours[spot]], middles[spot]) for spot in row]
            middles |= _spaced(row, wanted, heights, gap)
    top = min((middle - heights[spot] / 2 for spot, middle in middles.items()), default=0.0)
    return {spot: middle - top for spot, middle in middles.items()}


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _spaced(
    row: Sequence[Spot], wanted: Sequence[float], heights: Mapping[Spot, float], gap: float
) -> dict[Spot, float]:
    """Return middles as near to those *wanted* as order and distances allow, by least squares."""
    offsets, down = list[float](), 0.0
    for spot in row:
        offsets.append(down + heights[spot] / 2)
        down += heights[spot] + gap
    blocks: list[tuple[float, int]] = []  # the sum of the wanted places, and how many they are
    for want, offset in zip(wanted, offsets, strict=True):
        total, count = want - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            earlier = blocks.pop()
            total, count = total + earlier[0], count + earlier[1]
        blocks.append((total, count))
    levels = [total / count for total, count in blocks for _ in range(count)]
    return {s: level + off for s, level, off in zip(row, levels, offsets, strict=True)}


def _path(
    arrow: tuple[str, str],
    depth: Mapping[str, int],
    places: Mapping[str, Place],
    middles: Mapping[Spot, float],
    columns: Sequence[tuple[float, float]],
) -> tuple[Point, ...]:
    """Return the points of an arrow: level through each column, so that it meets no box."""
    source, target = arrow
    start, end = depth[source], depth[target]
    out, into = places[source], places[target]
    y = middles[source, start]
    points: list[Point] = [(out.x + out.width, y), (columns[start][1], y)]
    for number in range(start + 1, end):
        lane = middles[source, number]
        points += [(columns[number][0], lane), (columns[number][1], lane)]
    y = middles[target, end]
    return (*points, (columns[end][0], y), (into.x, y))
