"""Cells of a journal's tables as they come out of SQLite, where damage can make anything of them.

One flipped bit turns a text into a number, and SQLite, which would not have
taken it in, hands it out. What comes of that is an error that says so, like
that of any other damage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pyflow.errors import JournalError, shown
from pyflow.record.sqlite.faults import BROKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["MAYBE", "checked", "parsed"]

T = TypeVar("T")

MAYBE = (str, type(None))
"""The types of a text that may be missing."""


def checked(
    what: str, row: Sequence[Any], *types: type | tuple[type, ...], private: bool = False
) -> Any:
    """Return *row*, which is *what*, if each of its cells has one of its *types*.

    Where it is *private*, the error does not show it.

    Raises:
        JournalError: One has not, so it is not what was written.
    """
    if not all(map(isinstance, row, types)):
        pairs = zip(row, types, strict=True)
        bad = next(cell for cell, one in pairs if not isinstance(cell, one))
        raise _damaged(what, bad, private=private)
    return row


def parsed(what: str, parse: Callable[[str], T], text: str, *, private: bool = False) -> T:
    """Return what *parse* makes of *text*, which is *what*.

    Where it is *private*, the error does not show it.

    Raises:
        JournalError: Nothing, so it is not what was written.
    """
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(what, text, private=private) from error


def _damaged(what: str, cell: object, *, private: bool) -> JournalError:
    held = "what is there" if private else shown(cell)
    return JournalError(f"{what} cannot have held {held}: {BROKEN}")
