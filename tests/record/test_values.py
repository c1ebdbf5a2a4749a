"""Values in the record, and back."""

from __future__ import annotations

import collections
import dataclasses
import enum
import typing
from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    TypeVar,
    Union,
)

import pytest

from pyflow.errors import CodecError
from pyflow.record.codec import canonical
from pyflow.record.values import CHARS_MAX, copied, decoder, encode
from pyflow.secrets import Secret

T = TypeVar("T")
Name = NewType("Name", str)
Loose = collections.namedtuple("Loose", "a b")  # noqa: PYI024 # pyright: ignore[reportUntypedNamedTuple]


class Color(enum.Enum):
    RED = "red"
    BLUE = ("b", 1)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mood(enum.StrEnum):
    GOOD = "good"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Odd(enum.Enum):
    SET = frozenset({1})


@dataclass
class Host:
    name: str
    port: int = 80
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fleet:
    hosts: tuple[Host, ...]
    by_name: dict[str, Host]
    spare: Host | None = None


@dataclass
class Node:
    value: int
    next: Node | None = None
    children: list[Node] = field(default_factory=list)


@dataclass
class Ping:
    pong: Pong | None = None


@dataclass
class Pong:
    at: datetime
    ping: Ping | None = None


@dataclass
class Box(Generic[T]):
    item: T
    more: list[T] | None = None


@dataclass
class Chest(Box[Host]):
    pass


@dataclass
class Endless(Generic[T]):
    inner: Endless[list[T]] | None = None


@dataclass
class Area:
    width: int
    size: int = field(init=False)

    def __post_init__(self) -> None:
        if self.width < 0:
            raise LookupError("below zero")
        self.size = self.width**2


@dataclass
class Square:
    width: int
    colour: str = "red"


@dataclass
class Lost:
    thing: Nowhere  # noqa: F821 # pyright: ignore[reportUndefinedVariable]


class Point(NamedTuple):
    x: int
    at: Path


class Options(TypedDict, total=False):
    host: Required[Host]
    level: Level
    note: NotRequired[str]


class Reply(TypedDict):
    ok: bool
    next: NotRequired[Reply]


class Mask(str):
    __slots__ = ()


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def back(value: object, annotation: Any) -> Any:
    """Return *value* after a stay in the record."""
    data = encode(value)
    canonical(data)
    return decoder(annotation)(data, "output")


NOON = datetime(2026, 1, 2, 12, 0, 0, 5, UTC)

KEPT: list[tuple[Any, Any]] = [
    (None, None),
    (None, type(None)),
    (None, Any),
    (True, bool),
    (False, object),
    (0, int),
    (2**63 - 1, int),
    (-(2**63), int),
    (1.5, float),
    (-0.0, float),
    (5e-324, float),
    ("é漢😀\x00\n", str),
    ([1, "a", None, [2.5]], Any),
    ({"a": {"b": [1]}, "": 0, "é.[": 1}, Any),
    ([1, 2], list[int]),
    ([1, "a"], list),
    ([Host("a")], list[Host]),
    ([Host("a")], Sequence[Host]),
    ([Host("a")], MutableSequence[Host]),
    ([Host("a")], Iterable[Host]),
    ([Host("a")], typing.List[Host]),  # noqa: UP006 - users have these
    ({"a": Host("a")}, dict[str, Host]),
    ({"a": Host("a")}, Mapping[str, Host]),
    ({"a": Host("a")}, MutableMapping[Name, Host]),
    ({"a": 1}, dict[Any, int]),
    ({"a": 1}, dict[T, int]),  # pyright: ignore[reportGeneralTypeIssues]
    ({"a": 1}, dict[Literal["a", "b"], int]),
    ({"a": 1}, dict),
    ((1, "a"), tuple[int, str]),
    ((1, 2, 3), tuple[int, ...]),
    ((1, "a"), tuple),
    ((), tuple[int, ...]),
    (Point(1, Path("/x")), Point),
    (Loose(1, [2]), Loose),
    (Host("a", 1, ["b"]), Host),
    (Fleet((Host("a"),), {"a": Host("a")}), Fleet),
    (Node(1, Node(2, None, [Node(3)])), Node),
    (Ping(Pong(NOON, Ping())), Ping),
    (Box(Host("a"), [Host("b")]), Box[Host]),
    (Box(Box(1)), Box[Box[int]]),
    (Box({"a": 1}), Box),
    (Area(3), Area),
    (dataclasses.replace(Area(3)), Area),
    (Color.RED, Color),
    (Color.BLUE, Color),
    (Level.HIGH, Level),
    (Mood.GOOD, Mood),
    (Right.READ | Right.WRITE, Right),
    (Right(0), Right),
    (NOON, datetime),
    (NOON.replace(tzinfo=None), datetime),
    (NOON.astimezone(timezone(timedelta(hours=-3))), datetime),
    (date(2026, 1, 2), date),
    (timedelta(days=-1, microseconds=1), timedelta),
    (timedelta(days=36_525), timedelta),
    (timedelta(days=36_524, microseconds=999_999), timedelta),
    (Path("a/b"), Path),
    (PurePath("a"), PurePath),
    (PurePosixPath("/a"), PurePosixPath),
    (PureWindowsPath("C:\\a"), PureWindowsPath),
    (Name("a"), Name),
    (1, Annotated[int, "note"]),
    (Host("a"), Annotated[Host, ["unhashable"]]),
    ("a", Literal["a", 1, None]),  # noqa: PYI061 - users have these
    (1, Literal["a", 1, None]),  # noqa: PYI061 - users have these
    (None, Literal["a", 1, None]),  # noqa: PYI061 - users have these
    (Level.LOW, Literal[Level.LOW]),
    (Host("a"), Optional[Host]),  # noqa: UP045 - users have these
    (None, Host | None),
    ("a", Union[int, str]),  # noqa: UP007 - users have these
    (NOON, datetime | str),
    ("soon", datetime | str),
    ([Host("a")], Host | list[Host]),
    (Square(2, "blue"), Area | Square),
    ({"host": Host("a")}, Options),
    ({"host": Host("a"), "level": Level.LOW, "note": "x"}, Options),
    ({"ok": True, "next": {"ok": False}}, Reply),
    ({"ok": True, "extra": [1]}, Reply),
]
"""Values, and the annotation under which they come back as they were."""


class TestRoundTrip:
    @pytest.mark.parametrize(("value", "annotation"), KEPT, ids=lambda x: str(x)[:40])
    def test_kept(self, value: object, annotation: Any) -> None:
        """What a task returns comes back equal, and of the type that is asked for."""
        found = back(value, annotation)

        assert found == value
        assert type(found) is type(value)

    @pytest.mark.parametrize(("value", "annotation"), KEPT, ids=lambda x: str(x)[:40])
    def test_shares_nothing(self, value: object, annotation: Any) -> None:
        """Two consumers share nothing that either could change, nor with who returned it."""
        decode, data = decoder(annotation), encode(value)

        one, other = decode(data, "output"), decode(data, "output")

        assert mutables(one).isdisjoint(mutables(other))
        assert mutables(one).isdisjoint(mutables(data))
        assert mutables(data).isdisjoint(mutables(value))

    def test_nested_types(self) -> None:
        """A type is restored at any depth, also where a dataclass refers to itself."""
        node = back(Node(1, Node(2), [Node(3, Node(4))]), Node)

        assert type(node.next) is Node
        assert type(node.children[0].next) is Node
        assert type(back({"ok": True, "next": {"ok": False}}, Reply)["next"]) is dict

    def test_local_class(self) -> None:
        """A dataclass that is defined inside a function finds itself."""

        @dataclass
        class Local:
            inner: Local | None = None

        assert back(Local(Local()), Local) == Local(Local())

    def test_named_alias(self) -> None:
        """A `type` statement of a newer Python stands for its value, itself included."""

        class Alias:
            """Looks like what ``type Tree = Host | list[Tree]`` makes."""

        tree: Any = Alias()
        tree.__value__ = Union[Host, list[tree]]  # noqa: UP007 - an object, no type

        assert back([[Host("a")], Host("b")], tree) == [[Host("a")], Host("b")]

    def test_plain(self) -> None:
        """Under `Any` a value comes back as plain data."""
        assert back(Fleet((Host("a"),), {}), Any) == {
            "hosts": [{"name": "a", "port": 80, "tags": []}],
            "by_name": {},
            "spare": None,
        }

    def test_defaults(self) -> None:
        """Fields that the data lacks have their defaults; computed ones are computed."""
        assert decoder(Host)({"name": "a"}, "p") == Host("a")
        assert decoder(Area)({"width": 3}, "p") == Area(3)

    def test_union_order(self) -> None:
        """Of a union, the member that fits is taken, in order."""
        assert back(NOON, str | datetime) == NOON.isoformat()
        assert back(1, float | int) == 1.0

    def test_subclasses(self) -> None:
        """A text of a class of its own is stored as text, any mapping as an object."""
        assert type(encode(Mask("a"))) is str
        assert encode(MappingProxyType({"a": (1,)})) == {"a": [1]}

    def test_secret(self) -> None:
        """A secret is stored as the place where it is fetched again, never as its value."""
        for secret in (Secret.from_env("TOKEN"), Secret.from_file("/run/token")):
            data = encode({"token": secret})

            assert data == {"token": {"$secret": secret.reference}}
            found = decoder(dict[str, Secret])(data, "output")["token"]
            assert found.reference == secret.reference

    def test_data_looks_like_a_secret(self) -> None:
        """Nothing is fetched for who does not ask for a secret."""
        assert back({"$secret": "env:HOME"}, Any) == {"$secret": "env:HOME"}


def mutables(value: object) -> set[int]:
    """Return the identities of everything in *value* that can change."""
    if isinstance(value, dict):
        return {id(value)}.union(*map(mutables, value.values()))
    if isinstance(value, (list, tuple)):
        own = {id(value)} if isinstance(value, list) else set[int]()
        return own.union(*map(mutables, value))
    if dataclasses.is_dataclass(value):
        parts = (getattr(value, f.name) for f in dataclasses.fields(value))
        return {id(value)}.union(*map(mutables, parts))
    return set()


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def ring() -> Node:
    node = Node(1)
    node.next = Node(2, node)
    return node


REFUSED: dict[str, tuple[Any, str, str]] = {
    "set": ({"hosts": [1, {"a"}]}, "output.hosts[1]", "a value of type set"),
    "bytes": (b"x", "output", "of type bytes"),
    "decimal": ([Decimal(1)], "output[0]", "of type Decimal"),
    "time": (time(1), "output", "of type time"),
    "generator": ((n for n in "ab"), "output", "of type generator"),
    "class": (Host, "output", "of type type"),
    "nan": ({"a": float("nan")}, "output.a", "nan is not a finite number"),
    "inf": (Host("a", float("inf")), "output.port", "inf is not"),  # pyright: ignore[reportArgumentType]
    "digits": ([10**400], "output[0]", "beyond 64 bits"),
    "2**63": (2**63, "output", "beyond 64 bits"),
    "key int": ({"a": {1: 2}}, "output.a", "a key of type int"),
    "key enum": ({Mood.GOOD: 1}, "output", "a key of type Mood"),
    "odd key": ({"a b\n": {"c" * 500: b""}}, "output['a b\\n']['" + "c" * 198 + "…]", "bytes"),
    "ring": (ring(), "output" + ".next" * 64, "nested more than 64 deep, or a ring"),
    "deep": (nested(100), "output" + "[0]" * 64, "nested more than 64 deep"),
    "100 MB": ({"a": "x" * 100_000_000}, "output.a", "larger than 1,048,576 characters"),
    "many": ([0] * 200_000, "output[131071]", "larger than"),
    "long key": ({"x" * CHARS_MAX: 0}, "output", "larger than"),
    "repr": ([Broken()], "output[0]", "of type Broken"),
    "surrogate": ({"a": "b\udcff"}, "output.a", "a lone surrogate at place 1"),
    "surrogates": (["\ud83d\ude00"], "output[0]", "a lone surrogate at place 0"),
    "surrogate key": ({"\ud800": 1}, "output", "a lone surrogate"),
    "path": (Path("\udcff"), "output", "a lone surrogate"),
    "span": (timedelta(days=36_526), "output", "more than a century"),
    "given": (Secret("s3cr3t-t0ken"), "output", "this one has none"),
    "named": ([Secret("s3cr3t-t0ken", name="n")], "output[0]", "Secret.from_env"),
    "enum": (Odd.SET, "output", "of type frozenset"),
}
"""Values that the record cannot hold, where they are, and what the error says."""


class TestEncode:
    @pytest.mark.parametrize(("value", "path", "reason"), REFUSED.values(), ids=REFUSED)
    def test_refuses(self, value: object, path: str, reason: str) -> None:
        """What the record cannot hold is refused, with the path to it."""
        with pytest.raises(CodecError) as caught:
            encode(value)

        assert caught.value.path == path
        assert reason in caught.value.reason
        assert str(caught.value).isprintable()

    def test_names_the_root(self) -> None:
        """A path begins with what the value is called."""
        with pytest.raises(CodecError, match=r"^hosts\[0\]: "):
            encode([b""], "hosts")

    def test_does_not_show(self) -> None:
        """An error never shows the value: half of a secret would pass the redaction."""
        for value in ({"s3cr3t-t0ken"}, b"s3cr3t-t0ken", {("s3cr3t-t0ken",): 1}):
            with pytest.raises(CodecError) as caught:
                encode(value)

            assert "s3cr3t" not in str(caught.value)

    def test_limits(self) -> None:
        """What just fits is taken."""
        assert encode("x" * (CHARS_MAX - 8))
        assert encode(nested(63))


MISFITS: dict[str, tuple[Any, Any, str, str]] = {
    "text for int": (int, "1", "output", "expected int, found '1'"),
    "bool for int": (int, True, "output", "expected int, found True"),
    "float for int": (int, 1.0, "output", "expected int"),
    "int for bool": (bool, 1, "output", "expected bool"),
    "int for text": (str, 1, "output", "expected str"),
    "text for float": (float, "1", "output", "expected float"),
    "none": (None, 0, "output", "expected None, found 0"),
    "item": (list[int], [1, "a"], "output[1]", "expected int"),
    "no list": (list[int], {"a": 1}, "output", "expected a list"),
    "no object": (dict[str, int], [1], "output", "expected an object"),
    "value": (dict[str, int], {"a b": "x"}, "output['a b']", "expected int"),
    "key": (dict[Literal["a"], int], {"b": 1}, "output", "expected one of ('a',)"),
    "length": (tuple[int, str], [1], "output", "expected 2 items, found 1"),
    "variadic": (tuple[int, ...], ["a"], "output[0]", "expected int"),
    "named tuple": (Point, [1, 2], "output[1]", "expected Path"),
    "field": (Fleet, {"hosts": [{"name": 1}], "by_name": {}}, "output.hosts[0].name", "str"),
    "no field": (Host, {"name": "a", "ports": 1}, "output", "Host has no field 'ports'"),
    "missing field": (Host, {}, "output", "does not make a Host"),
    "post init": (Area, {"width": -1}, "output", "does not make a Area: below zero"),
    "recursive": (Node, {"value": 1, "next": {"value": "x"}}, "output.next", "output.next.value"),
    "enum": (Color, "green", "output", "expected one of Color, found 'green'"),
    "enum type": (Level, True, "output", "expected one of Level"),
    "flag": (Right, 8, "output", "expected Right"),
    "literal": (Literal["a", 1], True, "output", "expected one of ('a', 1)"),
    "datetime": (datetime, "soon", "output", "expected datetime"),
    "date": (date, 7, "output", "expected date"),
    "span": (timedelta, 1e300, "output", "expected timedelta"),
    "path": (Path, 1, "output", "expected Path"),
    "union": (int | None, "x", "output", "expected int, found 'x'; nor: expected None"),
    "union item": (list[int] | None, ["x"], "output", "output[0]: expected int"),
    "typed dict": (Options, {"note": "x"}, "output", "Options needs 'host'"),
    "typed dict item": (Reply, {"ok": 1}, "output.ok", "expected bool"),
    "typed dict list": (Reply, [1], "output", "expected an object"),
    "secret": (Secret, "env:X", "output", "expected an object"),
    "secret source": (Secret, {"$secret": "provider:x"}, "output", "expected a secret"),
    "secret given": (Secret, {"$secret": "given"}, "output", "expected a secret"),
    "secret type": (Secret, {"$secret": 7}, "output", "expected a secret"),
    "secret more": (Secret, {"$secret": "env:X", "a": 1}, "output", "expected a secret"),
    "secret place": (Secret, {"$secret": "env:A=B"}, "output", "not a reference to a secret"),
}
"""Annotations, data that does not fit them, where, and what the error says."""

NEVER: dict[str, tuple[Any, str]] = {
    "set": (set[int], "set cannot be made from stored data"),
    "bytes": (bytes, "bytes cannot be made"),
    "class": (Broken, "Broken cannot be made"),
    "nested": (list[dict[str, bytes]], "bytes cannot be made"),
    "in a union": (int | bytes, "bytes cannot be made"),
    "text": ("Host", "is no type that can be decoded"),
    "callable": (len, "is no type"),
    "int keys": (dict[int, str], "keys are text in the record"),
    "path keys": (Mapping[Path, str], "keys are text"),
    "nowhere": (Lost, "Lost has an annotation that cannot be resolved: name 'Nowhere'"),
    "enum": (Odd, "of type frozenset"),
    "literal": (Literal[b"x"], "of type bytes"),
    "endless": (Endless[int], "refers to itself without end"),
    "inherited": (Chest, "Chest inherits ~T from a generic class"),
    "own text": (Mask, "Mask cannot be made"),
}
"""Annotations under which no stored value can ever come back."""


class TestDecoder:
    @pytest.mark.parametrize(
        ("annotation", "data", "path", "reason"), MISFITS.values(), ids=MISFITS
    )
    def test_misfit(self, annotation: Any, data: Any, path: str, reason: str) -> None:
        """Data that does not fit the annotation is refused, with the path to the misfit."""
        with pytest.raises(CodecError) as caught:
            decoder(annotation)(data, "output")

        assert caught.value.path == path
        assert reason in caught.value.reason

    @pytest.mark.parametrize(("annotation", "reason"), NEVER.values(), ids=NEVER)
    def test_never(self, annotation: Any, reason: str) -> None:
        """A type that no stored value can have is refused when it is asked for."""
        with pytest.raises(CodecError, match=r"^annotation: ") as caught:
            decoder(annotation)

        assert reason in caught.value.reason


class TestCopied:
    def test_deep(self) -> None:
        """A copy is equal and shares nothing that can change."""
        data = {"a": [1, {"b": []}]}

        copy = copied(data)

        assert copy == data
        assert mutables(copy).isdisjoint(mutables(data))

    def test_leaves(self) -> None:
        """What cannot change is returned as it is."""
        assert copied("a") == "a"
        assert copied(None) is None
