"""Branches that are moved from one commit to the next, unless somebody else has moved them.

A local branch is moved here; one of a remote is moved there, by a push that
only ever goes forward. Each says when it was too late, so that whoever moves
it begins anew on what the others have left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pyflow.errors import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Git", "LocalBranch", "RemoteBranch"]


class Git(Protocol):
    """Calls git in a repository, and returns what it says."""

    async def __call__(
        self, *words: str, stdin: str | None = None, env: Mapping[str, str] | None = None
    ) -> str: ...


@dataclass(frozen=True, slots=True)
class LocalBranch:
    """A branch of the repository itself."""

    git: Git
    name: str

    @property
    def ref(self) -> str:
        """Its full name."""
        return f"refs/heads/{self.name}"

    async def refusal(self) -> str | None:
        """Return why it must not be moved, if so: moved where it is checked out, files would differ."""
        trees = (await self.git("worktree", "list", "--porcelain")).splitlines()
        if f"branch {self.ref}" not in trees:
            return None
        return f"{self.name} is checked out, and committing would make that differ; name another"

    async def tip(self) -> str:
        """Return the commit that it points to; empty without one."""
        try:
            return await self.git("rev-parse", "--verify", "--quiet", self.ref)
        except CommandFailed as error:
            if error.code == 1 and not error.output:  # there is no such branch yet
                return ""
            raise

    async def move(self, commit: str, tip: str) -> bool:
        """Have it point to *commit* if it still points to *tip*; return whether it does."""
        # The old tip is named, so that of two who write at a time one is told.
        words = ("-m", "pyflow: keep a run", self.ref, commit, tip or "0" * 40)
        return await _is_moved(self, tip, "update-ref", *words)


@dataclass(frozen=True, slots=True)
class RemoteBranch:
    """A branch of a remote. No branch here is touched, but for where git remembers the remote's."""

    git: Git
    remote: str
    name: str

    @property
    def ref(self) -> str:
        """Its full name, there."""
        return f"refs/heads/{self.name}"

    async def refusal(self) -> str | None:
        """Return None: what it points to is for the remote to allow."""
        return None

    async def tip(self) -> str:
        """Return the commit that it points to, having fetched it; empty without one."""
        listed = await self.git("ls-remote", "--", self.remote, self.ref)
        if not listed:
            return ""
        kept = f"refs/remotes/{self.remote}/{self.name}"
        words = ("--quiet", "--no-tags", "--no-write-fetch-head", "--", self.remote)
        await self.git("fetch", *words, f"+{self.ref}:{kept}")
        return await self.git("rev-parse", "--verify", "--quiet", kept)

    async def move(self, commit: str, tip: str) -> bool:
        """Have it point to *commit* if it still points to *tip*; return whether it does."""
        lease = f"--force-with-lease={self.ref}:{tip}"  # none may have been made meanwhile, either
        words = ("--quiet", lease, "--", self.remote, f"{commit}:{self.ref}")
        return await _is_moved(self, tip, "push", *words)


async def _is_moved(branch: LocalBranch | RemoteBranch, tip: str, *words: str) -> bool:
    """Call git with *words*, which move *branch*; return False where it is no longer at *tip*."""
    try:
        await branch.git(*words)
    except CommandFailed:
        if await branch.tip() == tip:  # nobody was quicker: git has another reason
            raise
        return False
    return True
