"""`archive`, and what `verify` and `show` say afterwards; anchors as people copy them."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command_line import CommandLine
from support.repositories import commit, make_repository, sign_with


class TestArchive:
    def test_moves_runs(self, cli: CommandLine) -> None:
        """Runs leave, the journal says where to, and everything is found and verified."""
        runs = [cli.run(version=f"2.{n}")["id"] for n in range(3)]

        moved = cli("archive", "--to", "old", "--keep-last", "1", "--by", "ada", "--json")

        (archive,) = moved.data["archives"]
        assert (moved.code, archive["runs"], moved.data["kept"]) == (0, 2, [])
        (told,) = cli("verify", "--json").data["verification"]["archived"]
        assert (told["digest"], told["by"]) == (archive["digest"], "ada")
        whole = cli("verify", "--with", "old", "--json").data["verification"]
        assert (whole["verdict"], whole["unseen"][0][:17]) == ("ok", "without an anchor")
        alone = cli("verify", "--archive", archive["path"], "--digest", archive["digest"], "--json")
        assert (alone.code, alone.data["verification"]["unseen"]) == (0, [])
        assert cli("show", runs[0], "--archive", archive["path"]).out.startswith(f"run {runs[0]}")
        assert [run["id"] for run in cli("history", "--json").data["runs"]] == [runs[2]]

    def test_tells_people(self, cli: CommandLine) -> None:
        """What was done, what stays and why, and what comes next."""
        cli.run()
        cli.run()

        assert "stay: 1 last of a lock" in cli("archive", "--to", "old", "--older-than", "0s").err
        assert "nothing was archived" in cli("archive", "--to", "old", "--older-than", "9d").err

    @pytest.mark.parametrize(
        ("words", "code", "sentence"),
        [
            (["archive", "--to", "old"], 2, "nothing says what to archive"),
            (["archive", "--to", "old", "--older-than", "soon"], 2, "not a span"),
            (["archive", "--to", "old", "--keep-last", "-1"], 6, "keep_last=-1"),
            (["verify", "--archive", "none.gz"], 6, "there is no archive"),
            (["verify", "--anchor", "hello"], 6, "no anchor is in 'hello'"),
            (["anchor", "--tag"], 2, "--sign and --tag are for git"),
            (["show", "r", "--archive", "x", "--compliance"], 2, "shows a trail alone"),
        ],
    )
    def test_refuses(self, cli: CommandLine, words: list[str], code: int, sentence: str) -> None:
        """What cannot be done is told in a sentence, with its code."""
        cli.run()

        said = cli(*words)

        assert (said.code, sentence in said.err) == (code, True), said.err


class TestAnchors:
    def test_of_a_run(self, cli: CommandLine) -> None:
        """A mark is accepted with whatever stands around it, and tells of another past."""
        run = cli.run()
        mark = f"{run['id']}@{run['records']}:{run['head']}"

        assert cli("verify", "--anchor", f"Anchor: `{mark}`").code == 0
        said = cli("verify", "--anchor", mark.replace(run["head"], "0" * 64), "--json")
        assert said.data["verification"]["verdict"] == "differs_from_anchor"

    def test_as_it_is_printed(self, cli: CommandLine) -> None:
        """The line that `anchor` gives is accepted."""
        cli.run()

        assert cli("verify", "--anchor", cli("anchor").out).code == 0

    def test_in_a_signed_tag(self, cli: CommandLine, tmp_path: Path) -> None:
        """A tag that git signs is an anchor; one that it does not trust is none, where asked."""
        repository = make_repository(tmp_path / "repo", deploy="a = 1\n")
        commit(repository, deploy="a = 2\n")
        sign_with(repository, tmp_path / "key")
        cli.run()

        assert cli("anchor", "--git", str(repository), "--tag", "--sign").code == 0
        assert cli("verify", "--tags", str(repository), "--signed").code == 0
        cli.run()
        assert cli("anchor", "--git", str(repository), "--tag").code == 0
        assert cli("verify", "--tags", str(repository)).code == 0
        assert cli("verify", "--tags", str(repository), "--signed").code == 2
        assert "has no tag" in cli("verify", "--tags", str(make_repository(tmp_path / "e"))).err
