"""Where the definition of a workflow comes from: its file, its commit, and whether that is all of it.

Nothing here fails: where there is no file, no repository, no git, or no
answer in time, that is what is known.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pyflow.errors import CommandFailed
from pyflow.frozen import fields_of, frozen
from pyflow.git import git

if TYPE_CHECKING:
    from pyflow.spans import Span

__all__ = ["Source", "digest_of", "source_of"]

FILE_BYTES_MAX = 4_194_304
SAID_CHARS_MAX = 200
OID = "# branch.oid "


@frozen
class Source:
    """Where a definition comes from. What is None is not known."""

    commit: str | None = None
    """The commit that was checked out, or that it was loaded from."""

    dirty: bool | None = None
    """Whether anything that is under version control differed from that commit, or the
    definition's own file is not under version control."""

    file: str | None = None
    """The file that defines the workflow, from the top of its repository; else its name alone."""

    digest: str | None = None
    """SHA-256 of that file, in hexadecimal."""

    ref: str | None = None
    """The branch, tag or other name by which the commit was asked for."""

    unknown: str | None = None
    """Why there is no commit."""

    def to_data(self) -> dict[str, Any]:
        """Return what is known as JSON data; what is not is left out."""
        values = ((name, getattr(self, name)) for name in fields_of(type(self)))
        return {name: value for name, value in values if value is not None}


async def source_of(file: str, *, timeout: Span = "2s") -> Source:
    """Return where the definition in *file* comes from.

    git is asked twice, at once: for the commit and what differs from it, and
    for the file itself. Its index is not written.

    Args:
        file: The file, as Python knows it; it need not be one.
        timeout: Span that git may take.
    """
    digest = digest_of(file)
    if digest is None:
        return Source(unknown="the definition is in no file")
    directory, name = os.path.split(_real(file))
    said = await asyncio.gather(
        git(
            directory,
            *("status", "--porcelain=v2", "--branch", "--untracked-files=no"),
            timeout=timeout,
        ),
        git(directory, "ls-files", "--full-name", "-z", "--", name, timeout=timeout),
        return_exceptions=True,  # so that neither outlasts this
    )
    error = next((one for one in said if isinstance(one, BaseException)), None)
    if isinstance(error, CommandFailed):
        words = " ".join((error.output or str(error)).split())[:SAID_CHARS_MAX]
        return Source(file=name, digest=digest, unknown=words)
    if error is not None:
        raise error
    status, found = cast("list[str]", said)
    lines = status.splitlines()
    commit = next((line.removeprefix(OID) for line in lines if line.startswith(OID)), "")
    if not commit or not commit.isalnum():  # "(initial)" in a repository without a commit
        return Source(file=name, digest=digest, unknown="the repository has no commit")
    known = found.split("\0")[0]
    changed = any(not line.startswith("#") for line in lines)
    return Source(commit, changed or not known, known or name, digest)


def _real(file: str) -> str:
    return str(Path(file).resolve())


def digest_of(file: str | os.PathLike[str]) -> str | None:
    """Return the digest of *file*, or None where there is no such file, as for code that was typed."""
    try:
        with Path(file).open("rb") as opened:
            return hashlib.sha256(opened.read(FILE_BYTES_MAX)).hexdigest()
    except (OSError, ValueError):
        return None
