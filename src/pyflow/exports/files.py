"""Putting an export in a file: all of it, or what was there before."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyflow.errors import ExportError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["save"]


def save(path: str | os.PathLike[str], pieces: Iterable[str]) -> int:
    """Write *pieces* to the file at *path*, in UTF-8, and return how many bytes that were.

    Whoever reads the file sees what was there before or all that is new, and
    never a part: it is written beside it, under a name that begins with a dot
    and ends in ``.tmp``, made durable, and put in its place. Where writing, or
    making the pieces, fails, the file stays what it was. A file that was there
    keeps its permissions, and a link keeps leading to it.

    Raises:
        ExportError: It cannot be written there; the text says why.
    """
    target = Path(path).resolve()
    mode = _mode_of(target, shown(str(path)))
    beside = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with beside.open("x", encoding="utf-8", newline="") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        beside.replace(target)
    except OSError as error:
        raise ExportError(
            f"{shown(str(path))} cannot be written: {error.strerror or error}"
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink()
    return size


def _mode_of(target: Path, named: str) -> int | None:
    """Return the permissions of the file that is there, if one is.

    Raises:
        ExportError: What is there is no file, or its directory is not there.
    """
    try:
        found = target.stat()
    except FileNotFoundError:
        if target.parent.is_dir():
            return None
        raise ExportError(f"{named} cannot be written: there is no such directory") from None
    except OSError as error:
        raise ExportError(f"{named} cannot be written: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        what = "a directory" if stat.S_ISDIR(found.st_mode) else "no ordinary file"
        raise ExportError(f"{named} cannot be written: it is {what}")
    return stat.S_IMODE(found.st_mode)
