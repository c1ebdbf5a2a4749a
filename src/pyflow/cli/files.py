"""What a command writes for somebody: a whole file, or nothing."""

from __future__ import annotations

from pathlib import Path

from pyflow.cli.codes import Refusal

__all__ = ["written"]


def written(file: str, text: str, *, option: str) -> str:
    """Write *text* to *file* in UTF-8, over what is there, and return where that is.

    Raises:
        Refusal: It cannot be written.
    """
    path = Path(file)
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise Refusal(
            f"{option} {file!r} cannot be written: {error.strerror or error}",
            "name a file in a directory that is there and that you may write to",
        ) from error
    return str(path)
