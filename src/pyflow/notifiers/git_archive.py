"""Keep the record of every finished run on a branch of a git repository."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pyflow.errors import CommandFailed, shown
from pyflow.git import git
from pyflow.messages import FIRST, Attempt, Delivery, delivered, rejected, retrying
from pyflow.notices.keeping import files_of, place_of, subject_of, trailers_of
from pyflow.notifiers._branches import LocalBranch, RemoteBranch
from pyflow.notifiers._checks import flag_problems, refuse
from pyflow.notifiers._text import line_of
from pyflow.record.events import RunStarted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyflow.messages import Message
    from pyflow.notifiers._branches import Git
    from pyflow.record.codec import Record

__all__ = ["GitArchive"]

BRANCH = "pyflow-runs"
NAME = re.compile(r"(?![./-])(?!.*(\.\.|//|\.lock(/|$)|[./]$|/[.-]))[A-Za-z0-9._/-]{1,200}")
ROUNDS_MAX = 20
"""How often to begin anew in one try, where others move the branch meanwhile."""


@dataclass(frozen=True, slots=True)
class GitArchive:
    """Commits the record of each run that has ended, as JSON Lines and as Markdown.

    The files of a run are in ``runs/YYYY-MM/RUN/``. Only the branch is
    touched: no work tree, no index. What is there already is not committed
    again, so a message that comes twice changes nothing; of two that commit at
    once, on this machine or on others that push to the same remote, one begins
    anew on what the other has left, and nothing is ever overwritten. A run that
    is rolled back after its end is committed again, with what was added.
    """

    repository: str | os.PathLike[str]
    """A git repository on this machine, bare or not."""

    branch: str = BRANCH
    """The branch, which is made if it is not there. It must not be checked out."""

    directory: str = "runs"
    """Where in it the runs are."""

    sign: bool = False
    """Whether git signs each commit, as it is set up to."""

    push_to: str | None = None
    """The remote whose branch it is, such as origin: each commit is pushed there, and is kept
    when that has it. None for a branch of the repository itself."""

    def __post_init__(self) -> None:
        problems = _path_problems(self.repository)
        for option in ("branch", "directory"):
            name = cast("object", getattr(self, option))
            if not isinstance(name, str) or not NAME.fullmatch(name):
                problems.append(
                    f"{option}={shown(name)} must be a name that git takes, such as runs"
                )
        remote = cast("object", self.push_to)
        if remote is not None and not (isinstance(remote, str) and NAME.fullmatch(remote)):
            problems.append(f"push_to={shown(remote)} must be the name of a remote, such as origin")
        problems += flag_problems("sign", self.sign)
        refuse("GitArchive", problems)

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        """Take note that a run goes on; its end comes with its record, through `keep`."""
        del attempt
        if message.is_ending:
            return rejected("a record is kept from an engine's route, which hands it over")
        return delivered("it is kept once the run has ended")

    async def keep(
        self, records: Sequence[Record], message: Message, attempt: Attempt = FIRST, /
    ) -> Delivery:
        """Commit *records*, those of a run that has ended with *message*."""
        del message
        try:
            return await _Committing(self, records, attempt.timeout_s).commit()
        except CommandFailed as error:
            return retrying(line_of(str(error)))


def _path_problems(path: object) -> list[str]:
    if isinstance(path, os.PathLike) or (isinstance(path, str) and path and "\0" not in path):
        return []
    return [f"repository={shown(cast('object', path))} must be a path as text or pathlib.Path"]


def _branch_of(archive: GitArchive, git: Git) -> LocalBranch | RemoteBranch:
    """Return the branch that *archive* commits to, in a repository that *git* calls it in."""
    if archive.push_to is None:
        return LocalBranch(git, archive.branch)
    return RemoteBranch(git, archive.push_to, archive.branch)


class _Committing:
    """One try at one run."""

    def __init__(self, archive: GitArchive, records: Sequence[Record], timeout_s: float) -> None:
        self._repository = Path(archive.repository)
        self._branch = _branch_of(archive, self._git)
        self._sign = archive.sign
        self._records = records
        self._parts = (*archive.directory.split("/"), *place_of(records))
        self._timeout_s = timeout_s

    async def commit(self) -> Delivery:
        """Have the record on the branch."""
        refusal = await self._branch.refusal()
        if refusal is not None:
            return rejected(refusal)
        leaf = await self._leaf(files_of(self._records))
        for _ in range(ROUNDS_MAX):
            tip = await self._branch.tip()
            before = await self._git("rev-parse", f"{tip}^{{tree}}") if tip else ""
            tree = await self._grafted(before, self._parts, leaf)
            if tree == before:
                return delivered(f"commit {tip[:12]} has it")
            commit = await self._committed(tree, tip)
            if await self._branch.move(commit, tip):
                return delivered(f"commit {commit[:12]}")
        return retrying(f"{self._branch.name} was moved by others {ROUNDS_MAX} times")

    async def _leaf(self, files: Mapping[str, str]) -> str:
        """Return the tree that holds *files*."""
        lines: list[str] = []
        for name, text in files.items():
            blob = await self._git("hash-object", "-w", "--stdin", stdin=text)
            lines.append(f"100644 blob {blob}\t{name}\0")
        return await self._git("mktree", "-z", stdin="".join(lines))

    async def _grafted(self, base: str, parts: Sequence[str], leaf: str) -> str:
        """Return the tree *base* with the tree *leaf* under the directories *parts*."""
        name, *rest = parts
        listed = await self._git("ls-tree", "-z", base) if base else ""
        entries = {line.partition("\t")[2]: line for line in listed.split("\0") if line}
        _, kind, inside = entries.get(name, "- none -").partition("\t")[0].split(" ")
        child = leaf
        if rest:
            child = await self._grafted(inside if kind == "tree" else "", rest, leaf)
        entries[name] = f"040000 tree {child}\t{name}"
        lines = "".join(f"{line}\0" for line in entries.values())
        return await self._git("mktree", "-z", stdin=lines)

    async def _committed(self, tree: str, tip: str) -> str:
        start = self._records[0].event
        who = start.initiator.get("id", "") if isinstance(start, RunStarted) else ""
        who = re.sub(r"[<>\s\0]+", " ", who).strip() or "pyflow"
        names = {
            "GIT_AUTHOR_NAME": who,
            "GIT_AUTHOR_EMAIL": "pyflow@localhost",
            "GIT_AUTHOR_DATE": self._records[-1].at.strftime("%Y-%m-%dT%H:%M:%S+0000"),
            "GIT_COMMITTER_NAME": "pyflow",
            "GIT_COMMITTER_EMAIL": "pyflow@localhost",
        }
        message = f"{subject_of(self._records)}\n\n{trailers_of(self._records)}\n"
        words = [
            "commit-tree",
            tree,
            *(("-p", tip) if tip else ()),
            *(("-S",) if self._sign else ()),
        ]
        return await self._git(*words, stdin=message, env=names)

    async def _git(
        self, *words: str, stdin: str | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        data = stdin.encode("utf-8", "surrogateescape") if stdin is not None else None
        said = await git(self._repository, *words, stdin=data, timeout=self._timeout_s, env=env)
        return said if "-z" in words and words[0] == "ls-tree" else said.strip()
