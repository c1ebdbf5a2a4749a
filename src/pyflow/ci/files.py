"""The files through which a step hands something on: outputs and summaries, within their limits."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

__all__ = ["DOTENV_BYTES_MAX", "SUMMARY_BYTES_MAX", "add_dotenv", "add_output", "add_summary"]

SUMMARY_BYTES_MAX = 1_048_576
"""What one step of GitHub Actions may have, in bytes; a larger file is not shown at all."""
DOTENV_BYTES_MAX = 5_120
"""What GitLab reads of a dotenv report, in bytes."""
CUT = "\n\n*The summary is cut here: the CI system takes 1 MiB.*\n"


def add_output(path: str | os.PathLike[str], name: str, value: str) -> None:
    """Add an output to the file at *path*, as ``GITHUB_OUTPUT`` is read.

    The delimiter is random, so no value can end itself and begin another one.
    """
    delimiter = f"ghadelimiter_{secrets.token_hex(16)}"
    while delimiter in value:  # one in 2**128
        delimiter = f"ghadelimiter_{secrets.token_hex(16)}"
    _append(path, f"{name}<<{delimiter}\n{value}\n{delimiter}\n".encode("utf-8", "replace"))


def add_dotenv(path: str | os.PathLike[str], name: str, value: str) -> bool:
    """Add an output to a dotenv report of GitLab; return False where it is full."""
    line = f"{name}={value}\n".encode("utf-8", "replace")
    if _size(path) + len(line) > DOTENV_BYTES_MAX:
        return False
    _append(path, line)
    return True


def add_summary(path: str | os.PathLike[str], markdown: str) -> bool:
    """Add *markdown* to the summary at *path*, or as many lines as it has room for.

    Returns:
        Whether all of it is there.
    """
    data = (markdown.rstrip("\n") + "\n\n").encode("utf-8", "replace")
    room = SUMMARY_BYTES_MAX - _size(path)
    if len(data) <= room:
        _append(path, data)
        return True
    room -= len(CUT.encode())
    kept = _lines_within(data, room)
    if room > 0:
        _append(path, b"".join([*kept, CUT.encode()]))
    return False


def _lines_within(data: bytes, room: int) -> Sequence[bytes]:
    """Return the lines of *data* that fit into *room* bytes, without a fence left open."""
    kept: list[bytes] = []
    closed, is_open = 0, False
    for line in data.splitlines(keepends=True):
        room -= len(line)
        if room < 0:
            break
        kept.append(line)
        is_open ^= line.startswith(b"```")
        if not is_open:
            closed = len(kept)
    return kept[:closed]


def _append(path: str | os.PathLike[str], data: bytes) -> None:
    with Path(path).open("ab") as file:
        file.write(data)


def _size(path: str | os.PathLike[str]) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
