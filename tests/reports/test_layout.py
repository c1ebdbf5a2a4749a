"""Boxes in layers: whatever the graph is, nothing lies on anything else."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from pyflow.reports.layout import Layout, Place, laid_out

SIZE = st.tuples(st.floats(20, 300), st.floats(10, 90))


@st.composite
def graphs(
    draw: st.DrawFn,
) -> tuple[dict[str, tuple[float, float]], list[tuple[str, str]], list[list[str]]]:
    """Return sizes, arrows and layers of an arbitrary graph."""
    counts = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    layers = [[f"{n}-{m}" for m in range(count)] for n, count in enumerate(counts)]
    sizes = {name: draw(SIZE) for layer in layers for name in layer}
    pairs = [(a, b) for one, other in combinations(layers, 2) for a in one for b in other]
    arrows = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=20)) if pairs else []
    return sizes, arrows, layers


def overlap(one: Place, other: Place) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def level_parts(layout: Layout, arrow: tuple[str, str]) -> list[Place]:
    """Return the parts of an arrow that are level, as places without height."""
    points = layout.paths[arrow]
    pairs = zip(points[::2], points[1::2], strict=True)
    return [Place(x0, y0, x1 - x0, 0.0) for (x0, y0), (x1, _) in pairs]


class TestLaidOut:
    @given(graphs())
    def test_no_overlap(
        self, graph: tuple[dict[str, tuple[float, float]], list[tuple[str, str]], list[list[str]]]
    ) -> None:
        """No box lies on another, and all are inside the drawing."""
        layout = laid_out(*graph)

        places = list(layout.places.values())
        assert not any(overlap(one, other) for one, other in combinations(places, 2))
        for place in places:
            assert place.x >= 0
            assert place.y >= -1e-6
            assert place.x + place.width <= layout.width + 1e-6
            assert place.y + place.height <= layout.height + 1e-6

    @given(graphs())
    def test_arrows(
        self, graph: tuple[dict[str, tuple[float, float]], list[tuple[str, str]], list[list[str]]]
    ) -> None:
        """Arrows go to the right only, from box to box, and pass through no other."""
        layout = laid_out(*graph)

        for arrow, points in layout.paths.items():
            source, target = (layout.places[name] for name in arrow)
            assert points[0] == (source.x + source.width, points[0][1])
            assert points[-1] == (target.x, points[-1][1])
            assert [x for x, _ in points] == sorted(x for x, _ in points)
            others = [place for name, place in layout.places.items() if name not in arrow]
            for part in level_parts(layout, arrow):
                assert not any(overlap(part, other) for other in others)

    def test_untangles(self) -> None:
        """Arrows that need not cross do not."""
        sizes = dict.fromkeys("abcdef", (40.0, 20.0))
        arrows = [("a", "f"), ("b", "e"), ("c", "d")]

        layout = laid_out(sizes, arrows, [list("abc"), list("def")])

        heights = [layout.places[name].y for name in "fed"]
        assert heights == sorted(heights)
        assert [layout.places[name].y for name in "abc"] == heights

    def test_nothing(self) -> None:
        """A graph of nothing takes no room."""
        assert laid_out({}, [], []) == Layout({}, {}, 0.0, 0.0)
