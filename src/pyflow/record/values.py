"""Values in the record: what a task may return, and how it comes back.

`encode` turns a value into JSON data; a decoder made by `decoder` turns the
data back into the type that a consumer's annotation asks for. Both happen in
memory and after a resume alike, so no task shares a mutable object with
another. Allowed are JSON values (finite floats included), dataclasses,
enums, datetimes, dates, timedeltas, paths and `Secret`.

The data does not say which type it came from. Of a union, the member that
fits is taken, in the order of the annotation: text that was a datetime comes
back as text under ``str | datetime``, and as a datetime under
``datetime | str``.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    Sequence,
)
from datetime import date, datetime, timedelta
from enum import Enum, Flag
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Literal, TypeAlias, Union

from pyflow.errors import CodecError, SecretError, shown
from pyflow.secrets import Secret

__all__ = ["Decoder", "copied", "decoder", "encode"]

Decoder: TypeAlias = Callable[[Any, str], Any]
"""Turns JSON data and the path to it into a value, or raises `CodecError`."""

DEPTH_MAX = 64
CHARS_MAX = 1_048_576
INT_MAX = 2**63
SPAN_MAX = timedelta(days=36_525)  # up to here, a float of seconds is exact to the microsecond
STEP_CHARS_MAX = 100
PLAIN = (Any, object)
LISTS = (list, Sequence, MutableSequence, Collection, Iterable)
MAPPINGS = (dict, Mapping, MutableMapping)
WRAPPERS = (
    typing.Annotated,
    typing.Required,
    typing.NotRequired,
    getattr(typing, "ReadOnly", typing.Annotated),  # newer than the oldest Python that we serve
)
SECRET_KEY = "$secret"  # noqa: S105 - it marks where a secret is to be fetched, and is none


class _Budget:
    """What is left of the size that one value may have in the record."""

    __slots__ = ("chars",)

    def __init__(self) -> None:
        self.chars = CHARS_MAX

    def take(self, chars: int, path: str) -> None:
        self.chars -= chars
        if self.chars < 0:
            raise CodecError(
                path,
                f"the whole value is larger than {CHARS_MAX:,} characters; "
                "store it elsewhere and return where it is",
            )


def copied(data: Any) -> Any:
    """Return JSON data that is equal to *data* and shares nothing mutable with it."""
    if isinstance(data, list):
        return [copied(item) for item in typing.cast("list[Any]", data)]
    if isinstance(data, dict):
        return {key: copied(item) for key, item in typing.cast("dict[str, Any]", data).items()}
    return data


def encode(value: object, path: str = "output") -> Any:
    """Return *value* as JSON data that shares nothing mutable with it.

    Raises:
        CodecError: It holds something that the record cannot; the error names
            the path to it, and never shows it, because it may be a secret. A
            set, bytes, NaN, an integer beyond 64 bits, a key that is not
            text, a ring, and more than a million characters are refused.
    """
    if value is None or value is True or value is False:
        return value
    if type(value) is int and -INT_MAX <= value < INT_MAX:
        return value
    return _encode(value, path, 0, _Budget())


def _encode(value: object, path: str, depth: int, budget: _Budget) -> Any:  # noqa: PLR0911 - one return for each kind of value
    budget.take(8, path)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _encode(value.value, path, depth, budget)
    if isinstance(value, str):
        return _encode_text(value, path, budget)
    if isinstance(value, int):
        return _encode_int(value, path)
    if isinstance(value, float):
        return _encode_float(value, path)
    if depth >= DEPTH_MAX:
        raise CodecError(path, f"nested more than {DEPTH_MAX} deep, or a ring; flatten it")
    if isinstance(value, Mapping):
        return _encode_mapping(typing.cast("Mapping[Any, Any]", value), path, depth, budget)
    if isinstance(value, (list, tuple)):
        items = typing.cast("Sequence[object]", value)
        return [_encode(v, f"{path}[{n}]", depth + 1, budget) for n, v in enumerate(items)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _encode(
                getattr(value, field.name), f"{path}.{field.name}", depth + 1, budget
            )
            for field in dataclasses.fields(value)
        }
    return _encode_scalar(value, path, budget)


def _encode_text(value: str, path: str, budget: _Budget) -> str:
    budget.take(len(value), path)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise CodecError(
                path,
                f"text that is not Unicode: a lone surrogate at place {error.start}; "
                'decode its bytes with errors="backslashreplace"',
            ) from None
    return str(value)


def _encode_int(value: int, path: str) -> int:
    if not -INT_MAX <= value < INT_MAX:
        raise CodecError(path, "an integer beyond 64 bits; return it as text")
    return int(value)


def _encode_float(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise CodecError(path, f"{value!r} is not a finite number; return None where there is none")
    return float(value)


def _encode_mapping(
    value: Mapping[Any, Any], path: str, depth: int, budget: _Budget
) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str) or isinstance(key, Enum):
            raise CodecError(
                path, f"a key of type {type(key).__name__}, which is not text; use text keys"
            )
        name = _encode_text(key, path, budget)
        data[name] = _encode(item, path + _step(name), depth + 1, budget)
    return data


def _step(key: str) -> str:
    """Return what *key* adds to a path; however long or odd it is, the path stays readable."""
    plain = len(key) <= STEP_CHARS_MAX and key.isidentifier()
    return f".{key}" if plain else f"[{shown(key)}]"


def _encode_scalar(value: object, path: str, budget: _Budget) -> Any:
    if isinstance(value, date):  # a datetime is one as well
        return value.isoformat()
    if isinstance(value, timedelta):
        return _encode_span(value, path)
    if isinstance(value, PurePath):
        return _encode_text(str(value), path, budget)
    if isinstance(value, Secret):
        return {SECRET_KEY: _stored_reference(value, path)}
    raise CodecError(
        path,
        f"a value of type {type(value).__name__}, which the record cannot hold; return JSON "
        "values, dataclasses, enums, datetimes, paths or secrets",
    )


def _encode_span(value: timedelta, path: str) -> float:
    if abs(value) > SPAN_MAX:
        raise CodecError(path, f"{value} is a span of more than a century; return it as text")
    return value.total_seconds()


def _stored_reference(secret: Secret, path: str) -> str:
    """Return where *secret* can be fetched again; its value never enters the record."""
    reference = secret.reference or ""
    if not reference.startswith(("env:", "file:")):
        raise CodecError(
            path,
            "a secret enters the record as the place to fetch it from again, and this one has "
            "none; return Secret.from_env(...) or Secret.from_file(...)",
        )
    return reference


# Decoding ---------------------------------------------------------------------------------


def decoder(annotation: Any) -> Decoder:
    """Return what turns JSON data into a value of the type *annotation*, `Any` for plain data.

    Raises:
        CodecError: No stored value can ever be of that type, so whoever asks
            for it would never get it.
    """
    try:
        return _Decoders().of(annotation)
    except RecursionError:
        raise CodecError("annotation", "it refers to itself without end") from None


class _Decoders:
    """Makes the decoders for one annotation; a class may refer to itself."""

    def __init__(self) -> None:
        self.made: dict[Any, Decoder] = {}
        """By annotation. One that is still being made stands here as well, so
        whoever refers to it looks it up when it decodes."""

    def of(self, annotation: Any) -> Decoder:
        annotation = _bare(annotation)
        if annotation in PLAIN or isinstance(annotation, typing.TypeVar):
            return _plain
        if annotation is None or annotation is types.NoneType:
            return _none
        if hasattr(annotation, "__value__"):  # a `type` statement
            return self.named(annotation, lambda: self.of(annotation.__value__))
        origin, args = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in (Union, types.UnionType):
            return self.union(args)
        if origin is Literal:
            return _one_of(f"{args}", args)
        cls: Any = origin or annotation
        if not isinstance(cls, type):
            raise CodecError("annotation", f"{shown(annotation)} is no type that can be decoded")
        return self.of_class(cls, annotation, args)

    def of_class(self, cls: Any, annotation: Any, args: tuple[Any, ...]) -> Decoder:  # noqa: PLR0911 - one return for each kind of type
        if cls in _SCALARS:
            return _SCALARS[cls]
        if issubclass(cls, Flag):
            return _parsed(cls, cls, int)
        if issubclass(cls, Enum):
            return _one_of(cls.__name__, tuple(cls))
        if dataclasses.is_dataclass(cls):
            return self.named(annotation, lambda: self.dataclass(cls, args))
        if cls is tuple or hasattr(cls, "_fields"):
            return self.tuple(cls, args)
        if cls in LISTS:
            return self.list(args)
        if typing.is_typeddict(cls):
            return self.named(annotation, lambda: self.typed_dict(cls, args))
        if cls in MAPPINGS:
            return self.mapping(args)
        raise CodecError(
            "annotation",
            f"{cls.__name__} cannot be made from stored data; make it a dataclass, or annotate "
            "with the plain JSON type",
        )

    def named(self, annotation: Any, make: Callable[[], Decoder]) -> Decoder:
        """Make the decoder of something that has a name, by which it may refer to itself."""

        def later(data: Any, path: str) -> Any:
            return self.made[annotation](data, path)

        if annotation not in self.made:
            self.made[annotation] = later
            self.made[annotation] = make()
        return later

    def union(self, args: tuple[Any, ...]) -> Decoder:
        options = [self.of(arg) for arg in args]

        def decode(data: Any, path: str) -> Any:
            reasons: list[str] = []
            for option in options:
                try:
                    return option(data, path)
                except CodecError as error:
                    where = "" if error.path == path else f"{error.path}: "
                    reasons.append(where + error.reason)
            raise CodecError(path, "; nor: ".join(reasons))

        return decode

    def list(self, args: tuple[Any, ...]) -> Decoder:
        item = self.of(args[0] if args else Any)

        def decode(data: Any, path: str) -> list[Any]:
            return [item(v, f"{path}[{n}]") for n, v in enumerate(_listed(data, path))]

        return decode

    def tuple(self, cls: Any, args: tuple[Any, ...]) -> Decoder:
        make: Callable[[list[Any]], Any] = tuple
        if cls is not tuple:
            hints = _hints(cls, args)
            args = tuple(hints.get(name, Any) for name in cls._fields)
            make = cls._make
        elif not args or args[-1] is ...:
            every = self.list(args[:1])
            return lambda data, path: make(every(data, path))
        items = [self.of(arg) for arg in args]

        def decode(data: Any, path: str) -> Any:
            values = _listed(data, path)
            if len(values) != len(items):
                raise CodecError(path, f"expected {len(items)} items, found {len(values)}")
            pairs = zip(items, values, strict=True)
            return make([one(v, f"{path}[{n}]") for n, (one, v) in enumerate(pairs)])

        return decode

    def mapping(self, args: tuple[Any, ...]) -> Decoder:
        key, item = map(self.of, args or (str, Any))
        if args and not _is_text(args[0]):
            raise CodecError("annotation", f"keys are text in the record, not {shown(args[0])}")

        def decode(data: Any, path: str) -> dict[str, Any]:
            return {key(k, path): item(v, path + _step(k)) for k, v in _mapped(data, path).items()}

        return decode

    def typed_dict(self, cls: Any, args: tuple[Any, ...]) -> Decoder:
        hints = _hints(cls, args)
        items = {name: self.of(hint) for name, hint in hints.items()}
        needed = [name for name, hint in hints.items() if _is_required(cls, name, hint)]

        def decode(data: Any, path: str) -> dict[str, Any]:
            values = _mapped(data, path)
            missing = [name for name in needed if name not in values]
            if missing:
                raise CodecError(path, f"{cls.__name__} needs {missing[0]!r}, which is missing")
            return {k: items.get(k, _plain)(v, path + _step(k)) for k, v in values.items()}

        return decode

    def dataclass(self, cls: Any, args: tuple[Any, ...]) -> Decoder:
        hints = _hints(cls, args)
        fields = {f.name: (self.of(hints[f.name]), f.init) for f in dataclasses.fields(cls)}

        def decode(data: Any, path: str) -> Any:
            given: dict[str, Any] = {}
            computed: dict[str, Any] = {}
            for name, value in _mapped(data, path).items():
                if name not in fields:
                    raise CodecError(path, f"{cls.__name__} has no field {shown(name)}")
                one, init = fields[name]
                (given if init else computed)[name] = one(value, f"{path}.{name}")
            try:
                made = cls(**given)
                for name, value in computed.items():
                    object.__setattr__(made, name, value)
            except Exception as error:
                raise CodecError(path, f"does not make a {cls.__name__}: {error}") from error
            return made

        return decode


def _bare(annotation: Any) -> Any:
    """Return *annotation* without what says nothing about the type."""
    while True:
        if isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif typing.get_origin(annotation) in WRAPPERS:
            annotation = typing.get_args(annotation)[0]
        else:
            return annotation


def _hints(cls: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    """Return the annotations of *cls*, with *args* for its type variables."""
    try:
        try:
            hints = typing.get_type_hints(cls, include_extras=True)
        except NameError:  # a class inside a function does not find itself
            hints = typing.get_type_hints(cls, localns={cls.__name__: cls}, include_extras=True)
    except (NameError, TypeError) as error:
        raise CodecError(
            "annotation", f"{cls.__name__} has an annotation that cannot be resolved: {error}"
        ) from error
    free = getattr(cls, "__parameters__", ())
    bound = dict(zip(free, args or (Any,) * len(free), strict=True))
    try:
        return {name: _bind(hint, bound) for name, hint in hints.items()}
    except KeyError as error:
        raise CodecError(
            "annotation",
            f"{cls.__name__} inherits {error} from a generic class; annotate its fields anew",
        ) from None


def _bind(hint: Any, bound: Mapping[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return bound[hint]
    free = getattr(hint, "__parameters__", ()) if typing.get_origin(hint) else ()
    return hint[tuple(bound[variable] for variable in free)] if free else hint


def _is_text(annotation: Any) -> bool:
    bare = _bare(annotation)
    return (
        bare is str
        or bare in PLAIN
        or isinstance(bare, typing.TypeVar)
        or typing.get_origin(bare) is Literal
    )


def _is_required(cls: Any, name: str, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Required, typing.NotRequired):
        return origin is typing.Required
    return name in cls.__required_keys__


def _plain(data: Any, _path: str) -> Any:
    """Return a copy of *data*, so that no two consumers share it."""
    return copied(data)


def _secret(data: Any, path: str) -> Secret:
    values = _mapped(data, path)
    reference = values.get(SECRET_KEY) if len(values) == 1 else None
    source, _, place = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    try:
        if source == "env":
            return Secret.from_env(place)
        if source == "file":
            return Secret.from_file(place)
    except SecretError as error:
        raise CodecError(path, f"not a reference to a secret: {error}") from error
    raise CodecError(path, f"expected a secret, found {shown(values)}")


def _none(data: Any, path: str) -> None:
    if data is not None:
        raise CodecError(path, f"expected None, found {shown(data)}")


def _listed(data: Any, path: str) -> list[Any]:
    if not isinstance(data, list):
        raise CodecError(path, f"expected a list, found {shown(data)}")
    return typing.cast("list[Any]", data)


def _mapped(data: Any, path: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise CodecError(path, f"expected an object, found {shown(data)}")
    return typing.cast("dict[str, Any]", data)


def _parsed(cls: Any, parse: Callable[[Any], Any], *accepted: type) -> Decoder:
    def decode(data: Any, path: str) -> Any:
        if type(data) in accepted:
            try:
                return parse(data)
            except (ValueError, OverflowError):
                pass
        raise CodecError(path, f"expected {cls.__name__}, found {shown(data)}")

    return decode


def _one_of(name: str, options: tuple[Any, ...]) -> Decoder:
    stored = [(encode(option, "annotation"), option) for option in options]

    def decode(data: Any, path: str) -> Any:
        for value, option in stored:
            if value == data and type(value) is type(data):
                return option
        raise CodecError(path, f"expected one of {name}, found {shown(data)}")

    return decode


_SCALARS: Mapping[Any, Decoder] = {
    bool: _parsed(bool, bool, bool),
    int: _parsed(int, int, int),
    float: _parsed(float, float, float, int),
    str: _parsed(str, str, str),
    datetime: _parsed(datetime, datetime.fromisoformat, str),
    date: _parsed(date, date.fromisoformat, str),
    timedelta: _parsed(timedelta, lambda s: timedelta(seconds=s), int, float),
    Secret: _secret,
} | {path: _parsed(path, path, str) for path in (Path, PurePath, PurePosixPath, PureWindowsPath)}
