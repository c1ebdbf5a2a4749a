"""The decorator of small values."""

from __future__ import annotations

import copy
import pickle
from typing import Any, ClassVar

import pytest

from pyflow.frozen import Frozen, fields_of, frozen, replace


@frozen
class Point:
    """A place."""

    x: int
    """How far."""

    y: int = 0
    origin: ClassVar[str] = "here"

    def __str__(self) -> str:
        return f"{self.x}|{self.y}"


@frozen
class Empty:
    """No fields at all."""


class Shape(Frozen):
    __slots__ = ()
    kind: ClassVar[str] = ""

    @property
    def area(self) -> int:
        return 0


@frozen
class Square(Shape):
    kind: ClassVar[str] = "square"
    side: int

    @property
    def area(self) -> int:
        return self.side**2


class TestFrozen:
    def test_fields(self) -> None:
        """Fields are filled by place or by name, and defaults stand in."""
        assert Point(1, 2).y == 2
        assert Point(x=1) == Point(1, 0)
        assert fields_of(Point) == ("x", "y")
        assert Point.origin == "here"

    def test_equality(self) -> None:
        """Equal fields make equal values, of the same class only."""

        @frozen
        class Other:
            x: int
            y: int = 0

        assert Point(1, 2) == Point(1, 2) != Point(2, 1)
        assert Point(1) != Other(1)
        assert Point(1) != (1, 0)
        assert len({Point(1), Point(1), Other(1)}) == 2
        assert Empty() == Empty()

    def test_unhashable(self) -> None:
        """A value that holds a list cannot be hashed, like the list."""
        with pytest.raises(TypeError, match="unhashable"):
            hash(Point([]))  # type: ignore[arg-type]

    def test_repr(self) -> None:
        """The repr is the call that makes it; a class may have a text of its own."""

        @frozen
        class Local:
            x: int

        assert repr(Point(1)) == "Point(x=1, y=0)"
        assert str(Point(1)) == "1|0"
        assert repr(Empty()) == "Empty()"
        assert "test_repr.<locals>.Local(x=5)" in repr(Local(5))

    def test_never_changes(self) -> None:
        """No field can be assigned or deleted, and none added."""
        point: Any = Point(1)

        with pytest.raises(AttributeError, match="cannot assign 'x': a Point never changes"):
            point.x = 5
        with pytest.raises(AttributeError, match="cannot assign 'z'"):
            point.z = 5
        with pytest.raises(AttributeError, match="cannot delete 'x': a Point never changes"):
            del point.x
        assert not hasattr(point, "__dict__")

    def test_copies(self) -> None:
        """It survives copying and pickling."""
        point = Point(1, 2)

        assert copy.copy(point) == copy.deepcopy(point) == point
        assert pickle.loads(pickle.dumps(point)) == point

    def test_matches(self) -> None:
        """It can be taken apart by a match statement."""
        match Point(1, 2):
            case Point(x, y):
                assert (x, y) == (1, 2)

    def test_extends(self) -> None:
        """It may extend a class without fields."""
        square = Square(3)

        assert isinstance(square, Shape)
        assert (square.kind, square.area) == ("square", 9)
        assert repr(square) == "Square(side=3)"

    def test_mixes(self) -> None:
        """It may have another base besides, and keeps the annotations that are no strings."""

        class Mixin:
            __slots__ = ()

            def double(self) -> int:
                return self.n * 2  # type: ignore[attr-defined]

        space = {"__annotations__": {"n": int, "kind": ClassVar[str]}, "kind": "k"}
        made: Any = frozen(type("Made", (Mixin,), space))

        assert made(4).double() == 8
        assert fields_of(made) == ("n",)
        assert issubclass(made, Frozen)

    def test_field_names(self) -> None:
        """A field may be called like what another one's setter could be."""

        @frozen
        class Odd:
            a: int
            set_a: int
            default_b: int
            b: int = 7

        assert repr(Odd(1, 2, 3)).endswith("Odd(a=1, set_a=2, default_b=3, b=7)")

    @pytest.mark.parametrize(
        ("arguments", "says"), [((), "missing 1 required"), ((1, 2, 3), "takes from 2 to 3")]
    )
    def test_wrong_arguments(self, arguments: Any, says: str) -> None:
        """A wrong call is an error that names the class."""
        with pytest.raises(TypeError, match=rf"^Point.__init__\(\) {says}"):
            Point(*arguments)

    def test_extends_fields(self) -> None:
        """A class that has fields is not extended: the new one would lose them."""
        with pytest.raises(TypeError, match="More extends Point, which has fields of its own"):

            @frozen
            class More(Point):
                z: int = 0

    def test_mutable_default(self) -> None:
        """A default that can change would be shared."""
        with pytest.raises(TypeError, match=r"Shared\.items has the default \[\]"):

            @frozen
            class Shared:
                items: list[int] = []  # noqa: RUF012

    def test_order_of_defaults(self) -> None:
        """Fields without a default come first."""
        with pytest.raises(TypeError, match=r"Late\.b has no default, but a before it has"):

            @frozen
            class Late:
                a: int = 1
                b: int  # type: ignore[misc]


class TestReplace:
    def test_changes(self) -> None:
        """Another value, with some fields changed; the one before stays."""
        point = Point(1, 2)

        assert replace(point, y=5) == Point(1, 5)
        assert replace(point) == point == Point(1, 2)

    def test_unknown_field(self) -> None:
        """A field that is not there cannot be changed."""
        with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
            replace(Point(1), z=5)
