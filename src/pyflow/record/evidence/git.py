"""Anchors in git: a branch of a repository with a commit for each.

Pushed to a place where whoever deploys cannot rewrite it, the branch is a
witness. Nothing but that branch is touched: no work tree, no index.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from pyflow.errors import CommandFailed, JournalError
from pyflow.record.evidence.anchors import Anchor, anchors_in_text, read_anchors

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

__all__ = ["BRANCH", "TAG", "anchors_in_git", "anchors_in_tags", "commit_anchor", "tag_anchor"]

BRANCH = "pyflow-anchors"
TAG = "pyflow-anchor-"
"""How the names of tags begin that are anchors."""
FILE = "anchors.jsonl"
TIMEOUT_S = 30.0
WHO = ("-c", "user.name=pyflow", "-c", "user.email=pyflow@localhost")


def commit_anchor(
    repository: str | os.PathLike[str],
    anchor: Anchor,
    *,
    branch: str = BRANCH,
    sign: bool = False,
) -> str:
    """Commit *anchor* to *branch* of *repository*, which is made if it is not there.

    Args:
        repository: A git repository on this machine.
        anchor: What to keep.
        branch: Where. Push it, or it is no witness.
        sign: Whether git signs the commit, as it is set up to.

    Returns:
        The commit.

    Raises:
        CommandFailed: git is missing, or says no.
    """
    tip = _tip(repository, branch)
    known = _git(repository, "cat-file", "blob", f"{tip}:{FILE}") if tip else ""
    text = known + anchor.to_line() + "\n"
    blob = _git(repository, "hash-object", "-w", "--stdin", stdin=text).strip()
    tree = _git(repository, "mktree", stdin=f"100644 blob {blob}\t{FILE}\n").strip()
    message = f"Anchor {anchor.subject} at record {anchor.records}\n\n{anchor.to_line()}"
    words = ["commit-tree", tree, *(("-p", tip) if tip else ()), *(("-S",) if sign else ())]
    commit = _git(repository, *words, "-m", message).strip()
    # The old tip is named, so that of two who write at a time one is told.
    _git(repository, "update-ref", f"refs/heads/{branch}", commit, tip or "0" * 40)
    return commit


def anchors_in_git(repository: str | os.PathLike[str], *, branch: str = BRANCH) -> Sequence[Anchor]:
    """Return the anchors on *branch* of *repository*, in order.

    Raises:
        JournalError: There is no such branch, or it holds something else.
        CommandFailed: git is missing, or says no.
    """
    tip = _tip(repository, branch)
    if not tip:
        raise JournalError(
            f"{repository} has no branch {branch!r}, so no anchor; fetch it, or anchor first"
        )
    return read_anchors(_git(repository, "cat-file", "blob", f"{tip}:{FILE}").split("\n"))


def tag_anchor(
    repository: str | os.PathLike[str], anchor: Anchor, *, commit: str = "HEAD", sign: bool = False
) -> str:
    """Tag *commit* of *repository* with *anchor*, and return the name of the tag.

    Args:
        repository: A git repository on this machine.
        anchor: What to keep; it is the message of the tag.
        commit: What is tagged.
        sign: Whether git signs the tag, as it is set up to.

    Raises:
        CommandFailed: git is missing, or says no: there is such a tag, or no key.
    """
    name = f"{TAG}{anchor.subject[:12]}-{anchor.records}"
    _git(
        repository,
        "tag",
        "-s" if sign else "-a",
        *("-m", f"Anchor {anchor.subject} at record {anchor.records}", "-m", anchor.to_line()),
        name,
        commit,
    )
    return name


def anchors_in_tags(
    repository: str | os.PathLike[str], *, signed: bool = False
) -> Sequence[Anchor]:
    """Return the anchors in the tags of *repository*, in the order of their names.

    Args:
        repository: A git repository on this machine.
        signed: Whether each tag has to be signed by a key that git knows and trusts.

    Raises:
        JournalError: There is no such tag, or one holds no anchor.
        CommandFailed: git is missing, or does not trust a tag.
    """
    names = _git(repository, "tag", "--list", f"{TAG}*").split()
    if not names:
        raise JournalError(
            f"{repository} has no tag {TAG}*, so no anchor; fetch tags, or anchor first"
        )
    if signed:
        _git(repository, "verify-tag", *names)
    return [
        anchor
        for name in names
        for anchor in anchors_in_text(_git(repository, "cat-file", "tag", f"refs/tags/{name}"))
    ]


def _tip(repository: str | os.PathLike[str], branch: str) -> str:
    _git(repository, "rev-parse", "--git-dir")  # says so where this is no repository
    try:
        return _git(repository, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}").strip()
    except CommandFailed:
        return ""


def _git(repository: str | os.PathLike[str], *words: str, stdin: str = "") -> str:
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            ["git", "-C", str(repository), *WHO, *words],  # noqa: S607 - the user's git
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandFailed("git", f"could not be called: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-400:]
        raise CommandFailed(
            "git", f"{words[0]} ended with {done.returncode}", code=done.returncode, output=said
        )
    return done.stdout
