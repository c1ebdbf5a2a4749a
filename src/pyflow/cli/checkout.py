"""The files of a commit, in a directory of their own: what a workflow is loaded from with ``--ref``.

Neither work tree nor index of the repository is touched.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyflow.cli.codes import Refusal
from pyflow.errors import CommandFailed
from pyflow.git import git
from pyflow.source import Source, digest_of

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Checkout", "checked_out"]

GIT_S = 120.0
REF = "a branch, a tag or a commit: git log --oneline lists them"


@dataclass(frozen=True, slots=True)
class Checkout:
    """The files of a commit."""

    commit: str
    """The commit."""

    ref: str
    """How it was named."""

    top: Path
    """Where the top of the repository is here."""

    directory: Path
    """Where the directory is here that was asked for."""

    def source(self, file: Path) -> Source:
        """Return what is known of a definition in *file*, which is one of these."""
        return Source(
            commit=self.commit,
            dirty=False,
            file=file.relative_to(self.top).as_posix(),
            digest=digest_of(file),
            ref=self.ref if self.ref != self.commit else None,
        )


@contextmanager
def checked_out(directory: Path, ref: str) -> Generator[Checkout]:
    """Have the files of *ref*, of the repository that *directory* is in, until the block ends.

    Modules are then imported from there, and no longer from *directory* or the working directory.

    Raises:
        Refusal: There is no repository, or no such commit, or git is missing.
    """
    try:
        top = Path(_git(directory, "rev-parse", "--show-toplevel"))
        git_dir = _git(directory, "rev-parse", "--absolute-git-dir")
    except CommandFailed as error:
        raise Refusal(
            f"--ref {ref} needs a git repository around {str(directory)!r}: {error}",
            "run it there, or leave --ref out",
        ) from error
    try:
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        commit = _git(directory, *words)
    except CommandFailed as error:
        raise Refusal(f"--ref {ref!r} names no commit of {top}", f"name {REF}") from error
    before = list(sys.path)
    with tempfile.TemporaryDirectory(prefix="pyflow-ref-") as place:
        here = Path(place).resolve() / "tree"
        here.mkdir()
        env = {"GIT_INDEX_FILE": str(Path(place) / "index"), "GIT_DIR": git_dir}
        _git(here, "read-tree", commit, env=env)
        _git(here, "checkout-index", "--all", "--quiet", env=env | {"GIT_WORK_TREE": str(here)})
        away = {directory.resolve(), Path.cwd().resolve()}
        sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() not in away]
        try:
            yield Checkout(commit, ref, here, here / directory.resolve().relative_to(top.resolve()))
        finally:
            sys.path[:] = before


def _git(directory: Path, *words: str, env: dict[str, str] | None = None) -> str:
    return asyncio.run(git(directory, *words, timeout=GIT_S, env=env)).strip()
