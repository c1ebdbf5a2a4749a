"""`frozen`: the decorator of the many small values inside pyflow.

It gives what ``dataclass(frozen=True, slots=True)`` gives, for classes that
are plain lists of fields: an ``__init__``, equality, a hash, a repr, slots,
and no assignment. Making a class costs a fifth of the time, which at a
hundred classes is most of ``import pyflow``, and making a value half, which
every record of a run pays.
"""

from __future__ import annotations

import itertools
from typing import Any, NoReturn, TypeVar, dataclass_transform

__all__ = ["Frozen", "fields_of", "frozen", "replace"]

T = TypeVar("T")


class Frozen:
    """The behaviour that all frozen classes share."""

    __slots__ = ()

    def __repr__(self) -> str:
        pairs = ", ".join(f"{name}={getattr(self, name)!r}" for name in fields_of(type(self)))
        return f"{type(self).__qualname__}({pairs})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in fields_of(type(self)))

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in fields_of(type(self)))))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot assign {name!r}: a {type(self).__qualname__} never changes")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name!r}: a {type(self).__qualname__} never changes")

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), tuple(getattr(self, name) for name in fields_of(type(self)))


def fields_of(cls: type) -> tuple[str, ...]:
    """Return the names of the fields of a frozen class, in order."""
    return cls.__match_args__  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]


@dataclass_transform(frozen_default=True)
def frozen(cls: type[T], /) -> type[T]:
    """Make *cls*, a list of annotated fields, into a class of values that never change.

    A field may have a default, which has to be immutable. Only fields of
    *cls* itself count, so it cannot extend a class that has some.

    Raises:
        TypeError: A base has fields, a default can change, or a field
            without a default follows one with.
    """
    names = [name for name, hint in cls.__annotations__.items() if "ClassVar" not in str(hint)]
    defaults = {name: vars(cls)[name] for name in names if name in vars(cls)}
    _check(cls, names, defaults)
    space = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__", *names)}
    space |= {
        "__slots__": tuple(names),
        "__match_args__": tuple(names),
        "__qualname__": cls.__qualname__,
    }
    bases = tuple(base for base in cls.__bases__ if base is not object)
    made: Any = type(cls.__name__, bases if issubclass(cls, Frozen) else (Frozen, *bases), space)
    made.__init__ = _late_init(made, names, defaults)
    return made


def replace(value: T, **changes: Any) -> T:
    """Return a value like *value*, with the fields in *changes* changed.

    Raises:
        TypeError: There is no such field.
    """
    cls = type(value)
    given = [
        changes.pop(name) if name in changes else getattr(value, name) for name in fields_of(cls)
    ]
    return cls(*given, **changes)  # what is left in it is no field, and is refused


def _check(cls: type, names: list[str], defaults: dict[str, Any]) -> None:
    for base in cls.__mro__[1:]:
        if getattr(base, "__match_args__", ()):
            raise TypeError(
                f"{cls.__qualname__} extends {base.__qualname__}, which has fields of its own; "
                "extend a class without fields, or hold one as a field"
            )
    for name, value in defaults.items():
        if type(value).__hash__ is None:
            raise TypeError(
                f"{cls.__qualname__}.{name} has the default {value!r}, which can change and would "
                "be shared; give an immutable one"
            )
    for before, name in itertools.pairwise(names):
        if before in defaults and name not in defaults:
            raise TypeError(
                f"{cls.__qualname__}.{name} has no default, but {before} before it has; "
                "put fields with defaults last"
            )


def _late_init(made: Any, names: list[str], defaults: dict[str, Any]) -> Any:
    """Return an ``__init__`` that makes the real one when the class is used for the first time."""

    def init(self: object, *args: Any, **fields: Any) -> None:
        made.__init__ = _init(made, names, defaults)
        made.__init__(self, *args, **fields)

    return init


def _init(made: type, names: list[str], defaults: dict[str, Any]) -> Any:
    """Return an ``__init__`` that fills the slots directly, past the refusing ``__setattr__``."""
    scope = {f"__set_{name}": vars(made)[name].__set__ for name in names}
    scope |= {f"__default_{name}": value for name, value in defaults.items()}
    head = "".join(f", {n}=__default_{n}" if n in defaults else f", {n}" for n in names)
    body = "; ".join(f"__set_{name}(self, {name})" for name in names) or "pass"
    exec(f"def __init__(self{head}): {body}", scope)  # noqa: S102 - made of field names alone
    init = scope["__init__"]
    init.__qualname__ = f"{made.__qualname__}.__init__"
    return init
