"""Call git: under a deadline, without asking anybody anything, without touching what is not named."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyflow.programs import call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.spans import Span

__all__ = ["git"]

QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",  # looking at a repository does not write its index
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


async def git(
    repository: str | os.PathLike[str],
    *words: str,
    stdin: bytes | None = None,
    timeout: Span = "30s",
    env: Mapping[str, str] | None = None,
) -> str:
    """Return what ``git -C REPOSITORY WORDS`` writes to its standard output.

    Args:
        repository: A directory in it.
        words: The command and its arguments.
        stdin: What it reads; nothing unless given.
        timeout: Span that it may take.
        env: Variables besides those of this process.

    Raises:
        CommandFailed: git is missing, says no, or takes too long.
    """
    done = await call(
        ["git", "-C", os.fspath(repository), *words],
        stdin=stdin,
        timeout=timeout,
        env={**os.environ, **QUIET, **(env or {})},
    )
    return done.check().stdout
