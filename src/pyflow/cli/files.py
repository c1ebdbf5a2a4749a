"""What a command writes for somebody: a whole file, or nothing."""

from __future__ import annotations

from pathlib import Path

from pyflow.cli.codes import Refusal
from pyflow.errors import ExportError
from pyflow.exports.files import save

__all__ = ["written"]


def written(file: str, text: str, *, option: str) -> str:
    """Write *text* to *file* in UTF-8, over what is there, and return where that is.

    Raises:
        Refusal: It cannot be written.
    """
    try:
        save(file, [text])
    except ExportError as error:
        raise Refusal(
            f"{option} {error}",
            "name a file in a directory that is there and that you may write to",
        ) from error
    return str(Path(file))
