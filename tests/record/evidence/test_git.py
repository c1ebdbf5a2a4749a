"""Anchors on a branch of a real repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pyflow.errors import CommandFailed, JournalError
from pyflow.record.evidence.anchors import Anchor
from pyflow.record.evidence.git import anchors_in_git, commit_anchor

ANCHORS = [Anchor("j", n, "f" * 64, "2026-01-02T03:04:05.000000Z") for n in (1, 2, 3)]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty repository."""
    subprocess.run(["git", "init", "-q", str(tmp_path / "repo")], check=True)
    return tmp_path / "repo"


class TestCommits:
    def test_are_a_history(self, repository: Path) -> None:
        """Each anchor is a commit on top of the last, and nothing else is touched."""
        commits = [commit_anchor(repository, anchor) for anchor in ANCHORS]

        log = subprocess.run(
            ["git", "-C", str(repository), "log", "--format=%H %s", "pyflow-anchors"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        assert [line.split()[0] for line in log] == commits[::-1]
        assert log[0].endswith("Anchor j at record 3")
        assert anchors_in_git(repository) == ANCHORS
        assert [path.name for path in repository.iterdir()] == [".git"]

    def test_need_a_branch(self, repository: Path) -> None:
        """A branch that is not there has no anchors."""
        with pytest.raises(JournalError, match="has no branch 'pyflow-anchors'"):
            anchors_in_git(repository)

    def test_need_a_repository(self, tmp_path: Path) -> None:
        """What is no repository is an error of git's, in its words."""
        with pytest.raises(CommandFailed, match="rev-parse ended with 128"):
            commit_anchor(tmp_path, ANCHORS[0])

    def test_need_git(self, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without git nothing can be kept there, and that is said."""
        monkeypatch.setenv("PATH", str(repository))

        with pytest.raises(CommandFailed, match="could not be called"):
            commit_anchor(repository, ANCHORS[0])

    def test_are_signed_where_git_can(self, repository: Path) -> None:
        """A signature that git cannot make is an error, and nothing is kept."""
        subprocess.run(["git", "-C", str(repository), "config", "gpg.program", "false"], check=True)

        with pytest.raises(CommandFailed, match="commit-tree ended with"):
            commit_anchor(repository, ANCHORS[0], sign=True)
        with pytest.raises(JournalError):
            anchors_in_git(repository)
