"""What passes between an engine and the process of an isolated task.

Both ends speak JSON, each message behind its length. An argument is packed
with the names of its classes, so it arrives as the very thing that an inline
task would get, whatever the function says or does not say about it. Nothing
is pickled: classes are imported by name, and built from their fields.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import socket
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, cast

from pyflow.define.compiler import unimportable
from pyflow.errors import CodecError, shown
from pyflow.secrets import Secret

__all__ = ["LENGTH_BYTES", "frame", "locate", "pack", "receive", "size_of", "unpack"]

MESSAGE_BYTES_MAX = 1_048_576
LENGTH_BYTES = 4
DEPTH_MAX = 64


# Messages ---------------------------------------------------------------------------------


def frame(message: Mapping[str, Any], what: str) -> bytes:
    """Return *message* as it goes over the wire; *what* names it in the error.

    Raises:
        CodecError: It is larger than 1 MiB.
    """
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > MESSAGE_BYTES_MAX:
        raise CodecError(
            what,
            f"{len(data):,} bytes as JSON, and at most {MESSAGE_BYTES_MAX:,} pass between an "
            "isolated task and its engine; store it elsewhere and hand over where it is",
        )
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def size_of(head: bytes) -> int:
    """Return the size of the message that *head* announces.

    Raises:
        ValueError: No message is that large.
    """
    size = int.from_bytes(head, "big")
    if size > MESSAGE_BYTES_MAX:
        raise ValueError(f"a message of {size:,} bytes was announced")
    return size


def receive(line: socket.socket) -> dict[str, Any] | None:
    """Block until a message has arrived, and return it; None where the other end is gone."""
    try:
        head = line.recv(LENGTH_BYTES, socket.MSG_WAITALL)
        data = line.recv(size_of(head), socket.MSG_WAITALL)
    except OSError:
        return None
    return json.loads(data) if data else None


# Values -----------------------------------------------------------------------------------


def pack(value: object, path: str, depth: int = 0) -> Any:  # noqa: PLR0911 - one return for each kind of value
    """Return *value* as JSON data that `unpack` makes into an equal value.

    Raises:
        CodecError: It is, or holds, an object that only this process has.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if depth >= DEPTH_MAX:
        raise CodecError(path, f"nested more than {DEPTH_MAX} deep, or a ring; flatten it")
    if isinstance(value, Enum):
        return {"enum": _named(type(value), path), "value": pack(value.value, path, depth + 1)}
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {
            "dict": [
                [pack(k, path, depth + 1), pack(v, f"{path}.{k}", depth + 1)] for k, v in items
            ]
        }
    if isinstance(value, (list, tuple)):
        return _pack_sequence(cast("list[object] | tuple[object, ...]", value), path, depth)
    if isinstance(value, Secret):
        return {"secret": value.reveal(), "reference": value.reference}
    if isinstance(value, timedelta):
        return {"timedelta": [value.days, value.seconds, value.microseconds]}
    for cls, tag in _TEXTS.items():
        if isinstance(value, cls):
            return {tag: str(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _pack_dataclass(value, path, depth)
    raise CodecError(
        path,
        f"{shown(value)} is a {type(value).__name__}, which cannot enter the process of an "
        "isolated task; hand over plain data and make the object in the task, or run the task "
        'with isolation="thread"',
    )


def _pack_sequence(value: list[object] | tuple[object, ...], path: str, depth: int) -> Any:
    items = [pack(item, f"{path}[{n}]", depth + 1) for n, item in enumerate(value)]
    if isinstance(value, list):
        return items
    if hasattr(value, "_fields"):
        return {"tuple": items, "class": _named(type(value), path)}
    return {"tuple": items}


def _pack_dataclass(value: Any, path: str, depth: int) -> dict[str, Any]:
    given: dict[str, Any] = {}
    computed: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        if hasattr(value, field.name):
            packed = pack(getattr(value, field.name), f"{path}.{field.name}", depth + 1)
            (given if field.init else computed)[field.name] = packed
    cls = cast("type[Any]", type(value))
    return {"class": _named(cls, path), "given": given, "computed": computed}


def _named(cls: type, path: str) -> list[str]:
    """Return the names by which the other end finds *cls*."""
    reason = unimportable(cls)
    if reason is not None:
        raise CodecError(
            path,
            f"the process of an isolated task could not find its class: {reason}; define it at "
            "the top of a module that can be imported",
        )
    return [cls.__module__, cls.__qualname__]


def unpack(data: Any) -> Any:
    """Return the value that `pack` made *data* from."""
    if isinstance(data, list):
        return [unpack(item) for item in cast("list[Any]", data)]
    if not isinstance(data, dict):
        return data
    parcel = cast("dict[str, Any]", data)
    return _UNPACK[next(iter(parcel))](parcel)


def _unpack_enum(parcel: dict[str, Any]) -> Any:
    return locate(*parcel["enum"])(unpack(parcel["value"]))


def _unpack_mapping(parcel: dict[str, Any]) -> Any:
    return {unpack(key): unpack(item) for key, item in parcel["dict"]}


def _unpack_tuple(parcel: dict[str, Any]) -> Any:
    items = tuple(unpack(item) for item in parcel["tuple"])
    return locate(*parcel["class"])(*items) if "class" in parcel else items


def _unpack_class(parcel: dict[str, Any]) -> Any:
    given = {name: unpack(value) for name, value in parcel["given"].items()}
    made = locate(*parcel["class"])(**given)
    for name, value in parcel["computed"].items():
        object.__setattr__(made, name, unpack(value))
    return made


def _unpack_secret(parcel: dict[str, Any]) -> Secret:
    value, reference = parcel["secret"], parcel["reference"]
    if reference is None:
        return Secret(value)
    # It keeps its reference, so that the task may return it.
    return Secret._lazy(reference, lambda: value)  # noqa: SLF001 - there is no public way, on purpose


_TEXTS: Mapping[type[Any], str] = {  # a datetime is a date, and a Path a PurePath
    datetime: "datetime",
    date: "date",
    Path: "path",
    PurePath: "purepath",
}
_UNPACK: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "enum": _unpack_enum,
    "dict": _unpack_mapping,
    "tuple": _unpack_tuple,
    "class": _unpack_class,
    "secret": _unpack_secret,
    "timedelta": lambda parcel: timedelta(*parcel["timedelta"]),
    "datetime": lambda parcel: datetime.fromisoformat(parcel["datetime"]),
    "date": lambda parcel: date.fromisoformat(parcel["date"]),
    "path": lambda parcel: Path(parcel["path"]),
    "purepath": lambda parcel: PurePath(parcel["purepath"]),
}


# Names ------------------------------------------------------------------------------------


def locate(module: str, qualname: str) -> Any:
    """Return what is called *qualname* in *module*, which is imported."""
    return functools.reduce(getattr, qualname.split("."), importlib.import_module(module))
