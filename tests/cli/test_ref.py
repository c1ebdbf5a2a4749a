"""`--ref`: the definition is that of a commit, whatever lies in the directory now."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.command_line import CommandLine
from support.repositories import commit, git, make_repository

DEPLOY = """
import pyflow
import sibling

release = pyflow.Workflow("release")


@release.task
def deploy() -> str:
    return sibling.WORD


def anew() -> pyflow.Workflow:
    workflow = pyflow.Workflow("release")
    workflow.add_task("deploy", deploy, timeout="1m")
    return workflow
"""


@pytest.fixture
def repository(cli: CommandLine) -> Path:
    """The directory of the command line, with a commit that says old, and files that say new."""
    make_repository(cli.directory, deploy=DEPLOY, sibling='WORD = "old"\n')
    git(cli.directory, "tag", "v1")
    (cli.directory / "sibling.py").write_text('WORD = "new"\n')
    return cli.directory


class TestRun:
    def test_is_of_the_commit(self, cli: CommandLine, repository: Path) -> None:
        """File and sibling are those of the commit, which is recorded; nothing here has changed."""
        index, path = (repository / ".git" / "index").read_bytes(), sys.path[:]

        said = cli("run", "deploy.py:release", "--ref", "v1", "--json")

        run = said.data["run"]
        assert (said.code, run["tasks"][0]["output"]) == (0, "old")
        shown = cli("show", run["id"], "--json").data["records"][0]["data"]["origin"]["source"]
        assert shown == {
            "commit": git(repository, "rev-parse", "v1"),
            "dirty": False,
            "file": "deploy.py",
            "digest": shown["digest"],
            "ref": "v1",
        }
        assert (repository / ".git" / "index").read_bytes() == index
        assert (repository / "sibling.py").read_text() == 'WORD = "new"\n'
        assert sys.path == path

    def test_of_a_module(self, cli: CommandLine, repository: Path) -> None:
        """A module is that of the commit as well, from a directory inside of it too."""
        said = cli("run", "deploy:release", "--ref", "v1", "--json")

        assert said.data["run"]["tasks"][0]["output"] == "old"

    def test_says_how_to_go_on(self, cli: CommandLine, repository: Path) -> None:
        """The next step names the same commit."""
        commit(repository, deploy=DEPLOY.replace("return sibling.WORD", "raise OSError"))
        commit(repository, deploy=DEPLOY)

        said = cli("run", "deploy.py:release", "--ref", "HEAD^", "--json")

        assert said.code == 3
        assert said.data["run"]["error"]["type"] == "OSError"

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["deploy.py:release", "--ref", "v9"], "names no commit"),
            (["other.py:release", "--ref", "v1"], "no file 'other.py' at v1"),
            (["none/deploy.py:release", "--ref", "v1"], "no directory"),
            (["json:release", "--ref", "v1"], "imported from elsewhere"),
        ],
    )
    def test_refuses(
        self, cli: CommandLine, repository: Path, words: list[str], sentence: str
    ) -> None:
        """What is not there is told, with a next step, and nothing is started."""
        said = cli("run", *words)

        assert said.code == 2
        assert sentence in said.err
        assert "next:" in said.err
        assert not (repository / "deploys.db").exists()

    def test_needs_a_repository(self, cli: CommandLine) -> None:
        """Outside of a repository there are no commits."""
        said = cli("run", "deploy.py:release", "--ref", "v1")

        assert said.code == 2
        assert "needs a git repository" in said.err


class TestOthers:
    @pytest.mark.parametrize(
        "words",
        [
            ("check", "deploy.py:release"),
            ("plan", "deploy.py:release"),
            ("graph", "deploy.py:release"),
            ("simulate", "deploy.py:release"),
            ("explore", "deploy.py:anew"),
        ],
    )
    def test_look_at_the_commit(
        self, cli: CommandLine, repository: Path, words: tuple[str, str]
    ) -> None:
        """What is looked at is what would run."""
        (repository / "deploy.py").write_text("broken(")

        assert cli(*words, "--ref", "v1").code == 0
