"""`approve reject resolve pause unpause cancel`: what is asked is in the journal, or refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest

import pyflow
from pyflow.cli.codes import Refusal
from pyflow.cli.journals import known_run
from pyflow.record import events as ev
from pyflow.record.sqlite.journal import SQLiteJournal
from support.command_line import CommandLine
from support.journals import started
from support.trails import AT


def held(cli: CommandLine) -> str:
    """Return the id of a run that asks something."""
    said = cli("run", "deploy.py:asking", "-p", "version=2.0", "--json")
    return said.data["run"]["id"]


def crashed(cli: CommandLine) -> str:
    """Return the id of a run whose process died in the middle of a task."""
    (cli.directory / "doubt.py").write_text(
        "import pyflow\nwf = pyflow.Workflow('doubt')\n"
        "@wf.task\ndef deploy() -> str:\n    return '2.0'\n"
    )
    start = ev.RunStarted("doubt", "f", {}, {"id": "ada", "source": "given"}, {}, {"deploy": "d"})
    with SQLiteJournal(cli.environ["PYFLOW_JOURNAL"]) as journal:
        begun = [start, ev.TaskStarted("deploy", 1, "no dependencies")]
        journal.append("20260102-030405-00000001", begun, at=AT)
    cli("resume", "doubt.py", "20260102-030405-00000001", "--accept-changes")
    return "20260102-030405-00000001"


class TestApprove:
    def test_is_recorded(self, cli: CommandLine) -> None:
        """An answer says who and why, and what has to happen for it to count."""
        run = held(cli)

        said = cli("approve", run, "go", "--by", "ann", "--reason", "looked", "--json")
        cli("resume", "deploy.py:asking", run)

        assert said.code == 0
        assert said.data["run"] == {"id": run, "is_alive": False}
        with pyflow.history(cli.directory / "deploys.db") as history:
            (answer,) = history.trail(run).query(kind="approval_answered")
            assert (answer.data["by"], answer.data["comment"]) == ("ann", "looked")

    def test_says_how_to_go_on(self, cli: CommandLine) -> None:
        """Where no process has the run, the command that takes it up is named."""
        said = cli("approve", held(cli), "go")

        assert "it takes effect with: pyflow-deploy resume FILE:WORKFLOW" in said.err

    def test_tells_who_has_the_run(self, cli: CommandLine) -> None:
        """Where a process has the run, it is named."""
        workflow = pyflow.Workflow("here")
        workflow.add_approval("go", "Ship it?")
        with pyflow.Engine(journal=cli.environ["PYFLOW_JOURNAL"]) as engine:
            run = engine.start(workflow)
            run.wait()
            said = cli("cancel", run.id)
            run.cancel()
            run.wait()

        assert "the process that has the run (" in said.err

    @pytest.mark.parametrize("command", ["approve", "reject"])
    def test_refuses_what_is_not_asked(self, cli: CommandLine, command: str) -> None:
        """A question that the run does not ask is refused, with those that it asks."""
        run = held(cli)

        said = cli(command, run, "ship")

        assert said.code == 2
        assert "it asks about go" in said.err

    def test_refuses_what_has_ended(self, cli: CommandLine) -> None:
        """A run that is over asks nothing any more."""
        run = cli.run()["id"]

        said = cli("approve", run, "go")

        assert said.code == 2
        assert "it has ended as succeeded" in said.err

    def test_rejects(self, cli: CommandLine) -> None:
        """A no takes the run back."""
        run = held(cli)
        cli("reject", run, "go", "--by", "ann")

        assert cli("resume", "deploy.py:asking", run).code == 3


class TestResolve:
    def test_says_that_it_took_effect(self, cli: CommandLine) -> None:
        """An attempt in doubt is counted as done, with the output that it would have had."""
        run = crashed(cli)

        said = cli("resolve", run, "deploy", "--applied", "--output", '"2.0"', "--by", "ann")
        after = cli("resume", "doubt.py", run, "--accept-changes", "--json")

        assert (said.code, after.code) == (0, 0)

    @pytest.mark.parametrize("answer", ["--not-applied", "--skip", "--retry"])
    def test_decides_otherwise(self, cli: CommandLine, answer: str) -> None:
        """What did not take effect runs again; what is asked in vain is recorded as refused."""
        run = crashed(cli)

        said = cli("resolve", run, "deploy", answer, "--by", "ann")

        assert said.code == 0
        assert cli("resume", "doubt.py", run, "--accept-changes").code in (0, 7)

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["deploy"], "one of the arguments --applied --not-applied --retry --skip is required"),
            (["deploy", "--applied", "--skip"], "not allowed with argument"),
            (["deploy", "--applied", "--output", "{"], "is no JSON"),
            (["deploy", "--not-applied", "--output", "1"], "--output goes with --applied alone"),
            (["deplyo", "--applied"], "asks nothing about 'deplyo': it asks about deploy"),
        ],
    )
    def test_refuses(self, cli: CommandLine, words: list[str], sentence: str) -> None:
        """What makes no sense is refused, and is not in the journal."""
        run = crashed(cli)

        said = cli("resolve", run, *words)

        assert said.code == 2
        assert sentence in said.err


class TestCommands:
    @pytest.mark.parametrize("command", ["pause", "unpause", "cancel"])
    def test_reach_the_journal(self, cli: CommandLine, command: str) -> None:
        """What is asked waits for whoever takes the run up."""
        run = held(cli)

        said = cli(command, run, "--by", "ann", "--reason", "the database is slow")

        assert said.code == 0
        with pyflow.Engine(journal=cli.environ["PYFLOW_JOURNAL"]) as engine:
            (message,) = engine.journal.pending(run)  # type: ignore[attr-defined]
        assert (message.command, message.by, message.reason) == (
            command,
            "ann",
            "the database is slow",
        )

    def test_cancelled_is_130(self, cli: CommandLine) -> None:
        """A run that somebody cancels ends with 130."""
        run = held(cli)
        cli("cancel", run)

        assert cli("resume", "deploy.py:asking", run).code == 130

    @pytest.mark.parametrize("command", ["pause", "unpause", "cancel"])
    def test_refuse_an_unknown_run(self, cli: CommandLine, command: str) -> None:
        """A run that the journal lacks is refused, with the nearest."""
        run = held(cli)

        said = cli(command, run[:-1] + "x")

        assert said.code == 2
        assert f"did you mean {run}?" in said.err

    def test_asks_for_the_run_itself(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whether a run is there is seen without a list of all; a ledger is none."""
        with SQLiteJournal(tmp_path / "j.db") as journal:
            for run_id in ("run-1", "run-1.notices"):
                journal.append(run_id, [started(run_id)], at=AT)
            monkeypatch.setattr(journal, "runs", None)

            known_run(journal, "run-1")
            for run_id in ("run-1.notices", "run-2"):
                with pytest.raises(Refusal, match=f"no run {run_id!r} is in the journal"):
                    known_run(journal, run_id)

    def test_refuse_what_has_ended(self, cli: CommandLine) -> None:
        """Nothing can be asked of a run that is over."""
        run = cli.run()["id"]

        said = cli("pause", run)

        assert said.code == 2
        assert "has ended" in said.err
