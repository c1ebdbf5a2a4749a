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
from pyflow.notifiers._checks import flag_problems, refuse
from pyflow.notifiers._text import line_of
from pyflow.record.events import RunStarted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyflow.messages import Message
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
    once, one begins anew on what the other has left. A run that is rolled back
    after its end is committed again, with what was added.
    """

    repository: str | os.PathLike[str]
    """A git repository on this machine, bare or not."""

    branch: str = BRANCH
    """The branch, which is made if it is not there. It must not be checked out."""

    directory: str = "runs"
    """Where in it the runs are."""

    sign: bool = False
    """Whether git signs each commit, as it is set up to."""

    def __post_init__(self) -> None:
        problems = _path_problems(self.repository)
        for option in ("branch", "directory"):
            name = cast("object", getattr(self, option))
            if not isinstance(name, str) or not NAME.fullmatch(name):
                problems.append(
                    f"{option}={shown(name)} must be a name that git takes, such as runs"
                )
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


class _Committing:
    """One try at one run."""

    def __init__(self, archive: GitArchive, records: Sequence[Record], timeout_s: float) -> None:
        self._repository = Path(archive.repository)
        self._branch = archive.branch
        self._sign = archive.sign
        self._records = records
        self._parts = (*archive.directory.split("/"), *place_of(records))
        self._timeout_s = timeout_s

    async def commit(self) -> Delivery:
        """Have the record on the branch."""
        trees = (await self._git("worktree", "list", "--porcelain")).splitlines()
        if f"branch refs/heads/{self._branch}" in trees:
            return rejected(
                f"{self._branch} is checked out, and committing would make that differ; name another"
            )
        leaf = await self._leaf(files_of(self._records))
        for _ in range(ROUNDS_MAX):
            tip = await self._tip()
            before = await self._git("rev-parse", f"{tip}^{{tree}}") if tip else ""
            tree = await self._grafted(before, self._parts, leaf)
            if tree == before:
                return delivered(f"commit {tip[:12]} has it")
            commit = await self._committed(tree, tip)
            if await self._moved(commit, tip):
                return delivered(f"commit {commit[:12]}")
        return retrying(f"{self._branch} was moved by others {ROUNDS_MAX} times")

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

    async def _moved(self, commit: str, tip: str) -> bool:
        """Have the branch point to *commit* if it still points to *tip*; return whether it does."""
        ref = f"refs/heads/{self._branch}"
        try:
            # The old tip is named, so that of two who write at a time one is told.
            await self._git("update-ref", "-m", "pyflow: keep a run", ref, commit, tip or "0" * 40)
        except CommandFailed:
            if await self._tip() == tip:
                raise
            return False
        return True

    async def _tip(self) -> str:
        try:
            ref = f"refs/heads/{self._branch}"
            return await self._git("rev-parse", "--verify", "--quiet", ref)
        except CommandFailed as error:
            if error.code == 1 and not error.output:  # there is no such branch yet
                return ""
            raise

    async def _git(
        self, *words: str, stdin: str | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        data = stdin.encode("utf-8", "surrogateescape") if stdin is not None else None
        said = await git(self._repository, *words, stdin=data, timeout=self._timeout_s, env=env)
        return said if "-z" in words and words[0] == "ls-tree" else said.strip()
