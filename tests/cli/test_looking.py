"""`status history show locks`: what is found, in both forms, and what cannot be looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import JournalError
from pyflow.record.sqlite.journal import SQLiteJournal
from support.command_line import CommandLine


@pytest.fixture
def runs(cli: CommandLine) -> list[str]:
    """Three runs: one that succeeded, one that was rolled back, one that waits."""
    first = cli.run("--env", "production", "--by", "ada")["id"]
    second = cli.run("--env", "staging", "-p", "fail=true", version="2.1")["id"]
    third = cli("run", "deploy.py:asking", "-p", "version=2.2", "--json").data["run"]["id"]
    return [first, second, third]


class TestStatus:
    def test_shows_what_is_unfinished(self, cli: CommandLine, runs: list[str]) -> None:
        """Without a run, the unfinished ones come first, with what to do."""
        said = cli("status")

        assert said.out.startswith("1 unfinished\n")
        assert f"next: pyflow-deploy status {runs[2]}" in said.out
        data = cli("status", "--json").data
        assert [run["id"] for run in data["unfinished"]] == [runs[2]]
        assert [run["id"] for run in data["latest"]] == runs[::-1]

    def test_shows_a_run(self, cli: CommandLine, runs: list[str]) -> None:
        """A run is shown with its tasks, and what it waits for with the command that answers."""
        said = cli("status", runs[2])

        assert "asking: held" in said.out
        assert "go waits: Ship it?" in said.out
        assert f"pyflow-deploy approve {runs[2]} go" in said.out

    def test_shows_why(self, cli: CommandLine, runs: list[str]) -> None:
        """A run that was rolled back says of which failure."""
        run = cli("status", runs[1], "--json").data["run"]

        assert run["status"] == "rolled_back"
        assert run["error"] == "deploy: ConnectionError: reset by peer"
        assert {task["name"]: task["status"] for task in run["tasks"]} == {
            "announce": "blocked",
            "before": "succeeded",
            "deploy": "undone",
        }

    @pytest.mark.parametrize("command", ["status", "show"])
    def test_refuses_an_unknown_run(self, cli: CommandLine, runs: list[str], command: str) -> None:
        """A run that is not there is refused, with the nearest."""
        said = cli(command, runs[0][:-1] + "!")

        assert said.code == 2
        assert f"did you mean {runs[0]}?" in said.err

    @pytest.mark.parametrize(
        "words", [["status"], ["history"], ["show", "r"], ["locks"], ["verify"], ["anchor"]]
    )
    def test_makes_no_journal(self, cli: CommandLine, words: list[str]) -> None:
        """Looking for a journal that is not there says so, and makes none."""
        said = cli(*words)

        assert said.code == 2
        assert "there is no journal" in said.err
        assert list(cli.directory.glob("deploys*")) == []


class TestHistory:
    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ([], [2, 1, 0]),
            (["--limit", "1"], [2]),
            (["--workflow", "release"], [1, 0]),
            (["--env", "production"], [0]),
            (["--service", "shop", "--version", "2.1"], [1]),
            (["--task", "deploy"], [1, 0]),
            (["--initiator", "ada"], [0]),
            (["--approver", "ann"], []),
            (["--status", "held"], [2]),
            (["--change", "lb/shop"], [1, 0]),
            (["--text", "reset by peer"], [1]),
            (["--text", "conn*"], [1]),
            (["--since", "1d"], [2, 1, 0]),
            (["--until", "2026-01-01"], []),
            (["--since", "2020-01-01T00:00", "--until", "2999-01-01T00:00:00+02:00"], [2, 1, 0]),
        ],
    )
    def test_finds(
        self, cli: CommandLine, runs: list[str], words: list[str], expected: list[int]
    ) -> None:
        """Runs are found by everything that can be asked, the newest first."""
        found = cli("history", *words, "--json").data["runs"]

        assert [run["id"] for run in found] == [runs[n] for n in expected]
        assert cli("history", *words, "--count").out.strip() == str(
            len(expected) if "--limit" not in words else 3
        )

    def test_goes_on(self, cli: CommandLine, runs: list[str]) -> None:
        """A page that is full says how the next is asked for."""
        page = cli("history", "--limit", "2", "--json").data
        rest = cli("history", "--before", str(page["before"]), "--json").data

        assert [run["id"] for run in rest["runs"]] == runs[:1]
        assert rest["before"] is None
        assert "add --before" in cli("history", "--limit", "2").err

    def test_knows_the_last_good(self, cli: CommandLine, runs: list[str]) -> None:
        """The last run that succeeded, of a service in an environment."""
        words = ("history", "--last-good", "--service", "shop", "--env")

        assert cli(*words, "production", "--json").data["run"]["id"] == runs[0]
        assert cli(*words, "staging", "--json").data["run"] is None

    def test_knows_what_was_changed(self, cli: CommandLine, runs: list[str]) -> None:
        """What was changed in an environment, and by which run."""
        (change,) = cli("history", "--changes", "--env", "production", "--json").data["changes"]

        assert (change["run"], change["resource"]) == (runs[0], "lb/shop")
        assert (change["before"], change["after"]) == ("1.0", "2.0")

    def test_counts_dora(self, cli: CommandLine, runs: list[str]) -> None:
        """Five figures, each with what it was counted over."""
        figures = cli("history", "--dora", "--since", "1d", "--json").data["dora"]

        assert len(figures) == 5
        assert figures["change_fail_rate"] == {
            "value": 50.0,
            "unit": "%",
            "of": 2,
            "what": "deployments",
        }

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["--limit", "0"], "--limit 0 shows nothing"),
            (["--limit", "many"], "invalid int value"),
            (["--since", "yesterday"], "--since 'yesterday' is no instant"),
            (["--until", "2026-13-01"], "--until '2026-13-01' is no instant"),
            (["--last-good"], "--last-good is of one service in one environment"),
            (["--dora"], "--dora needs to know over which time"),
            (["--count", "--changes"], "not allowed with argument"),
        ],
    )
    def test_refuses(
        self, cli: CommandLine, runs: list[str], words: list[str], sentence: str
    ) -> None:
        """What cannot be looked for is refused, with what can."""
        said = cli("history", *words)

        assert said.code == 2
        assert sentence in said.err
        assert "\n  next: " in said.err

    def test_refuses_a_text_without_words(self, cli: CommandLine, runs: list[str]) -> None:
        """A text has to have a word in it."""
        assert "has no word in it" in cli("history", "--text", "?!").err


class TestShow:
    def test_is_the_trail(self, cli: CommandLine, runs: list[str]) -> None:
        """The trail is shown as a table; its chain was checked."""
        assert "change recorded" in cli("show", runs[0]).out
        assert len(cli("show", runs[0], "--json").data["records"]) == 12

    def test_is_stored_lines(self, cli: CommandLine, runs: list[str]) -> None:
        """The records as they are stored verify as a trail."""
        said = cli("show", runs[0], "--jsonl")
        Path("trail.jsonl").write_text(said.out)

        assert cli("verify", "--trail", "trail.jsonl").code == 0

    def test_is_a_difference(self, cli: CommandLine, runs: list[str]) -> None:
        """What differs in another run, by name."""
        rows = cli("show", runs[0], "--diff", runs[1], "--json").data["differences"]

        assert {"what": "params.version", "one": "2.0", "other": "2.1"} in rows

    def test_is_a_list_of_fields(self, cli: CommandLine, runs: list[str]) -> None:
        """Which fields auditors ask for are there, and which are not."""
        fields = cli("show", runs[0], "--compliance", "--json").data["fields"]

        found = {field["field"]: field["found"] for field in fields}
        assert found["user"] == "ada (given)"
        assert found["approved"] is None

    def test_refuses_two_forms(self, cli: CommandLine, runs: list[str]) -> None:
        """One form at a time."""
        assert cli("show", runs[0], "--jsonl", "--json").code == 2

    def test_refuses_what_was_tampered_with(self, cli: CommandLine, runs: list[str]) -> None:
        """A trail whose chain is broken ends with 6."""
        import sqlite3

        connection = sqlite3.connect(cli.directory / "deploys.db")
        connection.execute(
            "UPDATE records SET line = replace(line, 'lb/shop', 'lb/shed') WHERE run_id = ?",
            (runs[0],),
        )
        connection.commit()
        connection.close()

        said = cli("show", runs[0])

        assert said.code == 6
        assert "was changed after it was written" in said.err


class TestPage:
    def test_is_written(self, cli: CommandLine, runs: list[str]) -> None:
        """A run is one page, with its plan where the workflow is named."""
        said = cli("show", runs[1], "--html", "run.html", "--plan", "deploy.py:release")

        page = (cli.directory / "run.html").read_text()
        assert (said.code, said.out, said.err) == (0, "", "wrote run.html\n")
        assert "rolled back" in page
        assert "<h2>Plan</h2>" in page

    def test_goes_to_stdout(self, cli: CommandLine, runs: list[str]) -> None:
        """A page may be for another program."""
        said = cli("show", runs[0], "--html", "-")

        assert said.out.startswith("<!DOCTYPE html>\n")
        assert said.out.endswith("</html>\n")
        assert "<h2>Plan</h2>" not in said.out

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["--html", "no/such/run.html"], "cannot be written: there is no such directory"),
            (["--html", "-", "--json"], "both want stdout"),
            (["--plan", "deploy.py:release"], "none was asked for"),
            (["--html", "run.html", "--plan", "deploy.py:relase"], "did you mean 'release'?"),
            (["--html", "run.html", "--jsonl"], "not allowed with argument --html"),
        ],
    )
    def test_refuses(
        self, cli: CommandLine, runs: list[str], words: list[str], sentence: str
    ) -> None:
        """What cannot be written is refused in one sentence, with a next step."""
        said = cli("show", runs[0], *words)

        assert said.code == 2
        assert sentence in said.err + said.out
        assert "run.html" not in [path.name for path in cli.directory.iterdir()]


class TestLocks:
    def test_shows_residue(self, cli: CommandLine) -> None:
        """What a run has left behind bars others, and is shown with that run."""
        run = cli.run("-p", "fail=true", version="stuck")["id"]

        (lock,) = cli("locks", "--json").data["locks"]

        assert (lock["resource"], lock["standing"], lock["run"]) == ("service:shop", "residue", run)
        assert f"service:shop  residue  run {run}" in cli("locks").out

    def test_are_broken(self, cli: CommandLine) -> None:
        """A resource is freed by somebody, for a reason."""
        cli.run("-p", "fail=true", version="stuck")

        said = cli("locks", "service:shop", "--break", "--reason", "host is gone", "--by", "ann")

        assert said.code == 0
        assert cli("locks").out == "nothing is locked\n"

    def test_are_broken_and_not_recorded(
        self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever breaks one is told that it is free, even where that is not on record."""
        cli.run("-p", "fail=true", version="stuck")

        def full(*_: Any, **__: Any) -> Any:
            raise JournalError("the disk is full")

        monkeypatch.setattr(SQLiteJournal, "append", full)
        said = cli("locks", "service:shop", "--break", "--reason", "host is gone", "--by", "ann")

        assert said.code == 6
        assert "error: the disk is full\n'service:shop' is free all the same" in said.err

    @pytest.mark.parametrize("words", [["--break"], ["service:shop", "--break"]])
    def test_are_not_broken_without_a_reason(self, cli: CommandLine, words: list[str]) -> None:
        """Somebody will ask why."""
        said = cli("locks", *words)

        assert said.code == 2
        assert "--break frees one resource, for a reason" in said.err
