"""`verify` and `anchor`: a verdict, its code, and what it cannot say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from support.command_line import CommandLine
from support.journals import tamper


class TestVerify:
    def test_says_what_it_cannot_say(self, cli: CommandLine) -> None:
        """A sound journal passes, and what would go unnoticed is said."""
        cli.run()

        said = cli("verify", "--json")

        found = said.data["verification"]
        assert (said.code, found["verdict"], found["first_bad"]) == (0, "ok", None)
        assert "without an anchor" in found["unseen"][0]

    def test_names_the_first_bad_record(self, cli: CommandLine) -> None:
        """A record that was changed is named, with 6."""
        run = cli.run()["id"]
        tamper(cli.directory / "deploys.db", "UPDATE records SET line = line || ' ' WHERE n = 4")

        said = cli("verify", "--json")

        found = said.data["verification"]
        assert (said.code, found["verdict"]) == (6, "modified")
        assert found["first_bad"] == {"n": 4, "run": run, "seq": 4}

    def test_reads_a_trail(self, cli: CommandLine) -> None:
        """A trail that was cut in the middle of a line is torn."""
        run = cli.run()["id"]
        text = cli("show", run, "--jsonl").out
        Path("trail.jsonl").write_text(text[:-20])
        Path("part.jsonl").write_text("".join(text.splitlines(keepends=True)[:-1]))

        assert (
            cli("verify", "--trail", "trail.jsonl", "--json").data["verification"]["verdict"]
            == "torn_tail"
        )
        assert cli("verify", "--trail", "part.jsonl").code == 6
        assert cli("verify", "--trail", "part.jsonl", "--partial").code == 0

    @pytest.mark.parametrize(
        ("words", "code", "sentence"),
        [
            (["--trail", "gone.jsonl"], 2, "'gone.jsonl' cannot be read"),
            (["--anchors", "gone.jsonl"], 2, "'gone.jsonl' cannot be read"),
            (["--anchors", "deploy.py"], 6, "not an anchor"),
            (["--key", "secret"], 2, "--key is seen by everybody"),
            (["--key", "env:NO_SUCH_VARIABLE"], 2, "the variable NO_SUCH_VARIABLE is not set"),
            (["--key", "file:deploy.py"], 2, "may be read by others"),
            (["--git", "."], 2, "git rev-parse ended with"),
        ],
    )
    def test_refuses(self, cli: CommandLine, words: list[str], code: int, sentence: str) -> None:
        """What cannot be read is refused, with what is meant."""
        cli.run()
        (cli.directory / "deploy.py").chmod(0o644)

        said = cli("verify", *words)

        assert said.code == code
        assert sentence in said.err


class TestAnchor:
    def test_tells_a_journal_that_was_put_back(self, cli: CommandLine) -> None:
        """An old copy, head and all, is shorter than its anchor, and without one it passes."""
        cli.run()
        shutil.copytree(
            cli.directory, cli.directory / "old", ignore=shutil.ignore_patterns("*.owners")
        )
        cli.run(version="2.1")
        cli("anchor", "--file", "anchors.jsonl")
        for path in (cli.directory / "old").glob("deploys.db*"):
            shutil.copy(path, cli.directory / path.name)
        (cli.directory / "deploys.db-wal").unlink(missing_ok=True)

        assert cli("verify").code == 0
        said = cli("verify", "--anchors", "anchors.jsonl", "--json")
        assert (said.code, said.data["verification"]["verdict"]) == (6, "shorter_than_anchor")

    def test_is_kept_in_git(self, cli: CommandLine) -> None:
        """A branch has a commit for each anchor, and is read back."""
        subprocess.run(["git", "init", "-q", "repo"], check=True)
        cli.run()
        cli("anchor", "--git", "repo")
        cli.run(version="2.1")
        cli("anchor", "--git", "repo")

        said = cli("verify", "--git", "repo", "--json")

        assert (said.code, said.data["verification"]["anchored"]) == (0, 24)

    def test_is_signed_by_a_key_that_moves_on(
        self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The host has the next key alone; whoever has the first verifies all."""
        cli.run()
        assert cli("anchor", "--new-key", "first.key").code == 0
        shutil.copy("first.key", "host.key")
        for _ in range(2):
            cli("anchor", "--key-file", "host.key", "--file", "anchors.jsonl")
        monkeypatch.setenv("FIRST", Path("first.key").read_text())

        sound = cli("verify", "--anchors", "anchors.jsonl", "--key", "env:FIRST", "--json")
        late = cli("verify", "--anchors", "anchors.jsonl", "--key", "file:host.key", "--json")

        assert sound.data["verification"]["unseen"] == []
        assert late.data["verification"]["verdict"] == "unknown_key"

    def test_goes_to_stdout(self, cli: CommandLine) -> None:
        """Without a place it is printed, for a message or a summary."""
        cli.run()

        line = cli("anchor").out
        Path("anchors.jsonl").write_text(line)

        assert cli("verify", "--anchors", "anchors.jsonl").code == 0

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["--new-key", "deploy.py"], "'deploy.py' is there already"),
            (["--sign"], "--sign and --tag are for git"),
            (["--key", "env:K", "--key-file", "k"], "are two keys"),
            (["--key-file", "gone.key"], "cannot be read"),
            (["--file", "no/such/file"], "cannot be kept"),
        ],
    )
    def test_refuses(self, cli: CommandLine, words: list[str], sentence: str) -> None:
        """What makes no sense is refused."""
        cli.run()

        said = cli("anchor", *words)

        assert said.code != 0
        assert sentence in said.err
