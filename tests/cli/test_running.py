"""`run`, `resume`, `rollback`: the exit code says how a run ended, and the text what comes next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pyflow
from pyflow.cli import running
from support.command_line import DEPLOY, CommandLine


class TestRun:
    def test_succeeds(self, cli: CommandLine) -> None:
        """A run that succeeds ends with 0; people are told on stderr, line by line."""
        said = cli("run", "deploy.py:release", "--param", "version=2.0", "--env", "production")

        assert said.code == 0
        assert "task started  deploy" in said.err
        assert "release: succeeded (run " in said.err
        assert said.out == "looking\n"

    def test_is_data(self, cli: CommandLine) -> None:
        """With --json stdout holds one document alone, whatever tasks print."""
        said = cli(
            "run", "deploy.py:release", "-p", "version=2.0", "--env", "staging", "--json", "-q"
        )

        assert said.data["schema"] == "pyflow.cli/1"
        assert (said.data["command"], said.data["exit_code"]) == ("run", 0)
        run = said.data["run"]
        assert (run["status"], run["environment"]) == ("succeeded", "staging")
        assert [task["output"] for task in run["tasks"]] == ["1.0", "2.0", None]
        assert said.err == "looking\n"

    def test_rolls_back(self, cli: CommandLine) -> None:
        """A run that is rolled back ends with 3, and says why."""
        said = cli("run", "deploy.py:release", "-p", "version=2.0", "-p", "fail=true")

        assert said.code == 3
        assert "because deploy: ConnectionError: reset by peer" in said.err

    def test_cannot_be_rolled_back(self, cli: CommandLine) -> None:
        """A rollback that cannot finish ends with 5, and names what is left and what to do."""
        said = cli("run", "deploy.py:release", "-p", "version=stuck", "-p", "fail=true")

        assert said.code == 5
        assert "still applied: deploy" in said.err
        assert "next: pyflow-deploy rollback deploy.py:release" in said.err

    def test_waits_for_a_person(self, cli: CommandLine) -> None:
        """A run that asks something ends with 7, with the command lines that answer."""
        said = cli("run", "deploy.py:asking", "-p", "version=2.0", "--json")

        run, steps = said.data["run"], said.data["next"]
        assert said.code == 7
        assert run["waits"] == [{"task": "go", "kind": "approval", "text": "Ship it?"}]
        assert steps[0].startswith(f"pyflow-deploy approve {run['id']} go --journal ")

    def test_takes_the_environments_of_the_file(self, cli: CommandLine) -> None:
        """An environment that the file defines brings its parameters."""
        cli.run("--env", "production")

        with pyflow.history(cli.directory / "deploys.db") as history:
            (run,) = history.runs()
            assert history.trail(run.run_id).params["instances"] == 4

    def test_takes_secrets_from_elsewhere(
        self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A secret is read from a variable or a file, and is not in the record."""
        monkeypatch.setenv("TOKEN", "correct-horse")
        (cli.directory / "token").write_text("battery-staple")

        for place in ("env:TOKEN", "file:token"):
            said = cli("run", "deploy.py:keeping", "-p", f"token={place}")
            assert said.code == 0

    @pytest.mark.parametrize(
        ("words", "code", "sentence"),
        [
            (["-p", "version"], 2, "--param 'version' has no value"),
            (["-p", "=2"], 2, "--param '=2' has no value"),
            (["-p", "version=1", "-p", "version=2"], 2, "--param version is given twice"),
            (["-p", "version=1", "-p", "fail=maybe"], 2, "--param fail=maybe is no bool"),
            (["-p", "version=1", "-p", "instances=many"], 2, "--param instances=many is no int"),
            (["-p", "versoin=1"], 2, "did you mean 'version'?"),
            (["-p", "version=1", "--env", "prodution"], 2, "did you mean 'production'?"),
            (["-p", "version=1", "--by", " "], 2, "does not name anybody"),
            (["-p", "version=1", "--grace", "soon"], 2, "is not a span of time"),
            (["-p", "version=1", "--on-cancel", "panic"], 2, "'panic' is no WHAT"),
            (["-p", "version=1", "--journal", "no/such/deploys.db"], 6, "does not exist (ENOENT)"),
            (["-p", "version=1", "--journal", "."], 6, "is a directory"),
            (["--param"], 2, "expected one argument"),
            (["--parm", "version=1"], 2, "unrecognized arguments: --parm"),
        ],
    )
    def test_refuses(self, cli: CommandLine, words: list[str], code: int, sentence: str) -> None:
        """A word that is wrong is refused before anything is recorded, and a next step is named."""
        said = cli("run", "deploy.py:release", *words)

        assert said.code == code
        assert sentence in said.err
        assert "\n  next: " in said.err
        assert not (cli.directory / "deploys.db.head").exists() or "prod" not in str(words)

    def test_refuses_a_plain_secret(self, cli: CommandLine) -> None:
        """A secret on the command line is refused, and is not repeated."""
        said = cli("run", "deploy.py:keeping", "-p", "token=correct-horse")

        assert said.code == 2
        assert "a command line is seen by everybody" in said.err
        assert "correct-horse" not in said.err

    def test_refuses_a_secret_that_is_not_set(self, cli: CommandLine) -> None:
        """A variable that is not set is named."""
        said = cli("run", "deploy.py:keeping", "-p", "token=env:NO_SUCH_VARIABLE")

        assert said.code == 2
        assert "NO_SUCH_VARIABLE" in said.err

    def test_is_locked_out(self, cli: CommandLine) -> None:
        """A resource that another run has left things on ends with 4."""
        cli("run", "deploy.py:release", "-p", "version=stuck", "-p", "fail=true")

        said = cli("run", "deploy.py:release", "-p", "version=2.1")

        assert said.code == 4
        assert "next: see who has what: pyflow-deploy locks --journal " in said.err

    def test_refuses_a_journal_that_lost_its_end(self, cli: CommandLine) -> None:
        """A journal that is not what its head says ends with 6."""
        cli.run()
        journal = cli.directory / "deploys.db"
        for path in (journal, cli.directory / "deploys.db-wal"):
            path.unlink(missing_ok=True)

        said = cli("run", "deploy.py:release", "-p", "version=2.1")

        assert said.code == 6
        assert "next: see what is wrong: pyflow-deploy verify" in said.err


class TestResume:
    def test_carries_on(self, cli: CommandLine) -> None:
        """A run whose question was answered is carried on with, to its end."""
        run = cli("run", "deploy.py:asking", "-p", "version=2.0", "--json").data["run"]["id"]
        cli("approve", run, "go", "--by", "ann")

        said = cli("resume", "deploy.py:asking", run)

        assert said.code == 0
        assert "asking: succeeded" in said.err
        assert "run started" not in said.err

    def test_carries_on_with_all(self, cli: CommandLine) -> None:
        """Without a run, all that are unfinished are taken up; the worst has its code."""
        for _ in range(2):
            cli("run", "deploy.py:asking", "-p", "version=2.0")

        said = cli("resume", "deploy.py:asking", "--json")

        assert said.code == 7
        assert [run["status"] for run in said.data["runs"]] == ["held", "held"]

    def test_has_nothing_to_carry_on_with(self, cli: CommandLine) -> None:
        """Where nothing is unfinished, that is said, and is no error."""
        cli.run()

        said = cli("resume", "deploy.py:release")

        assert said.code == 0
        assert "no run of release is unfinished" in said.err

    def test_refuses_a_changed_plan(self, cli: CommandLine) -> None:
        """A plan that has changed is refused unless that is accepted."""
        run = cli("run", "deploy.py:asking", "-p", "version=2.0", "--json").data["run"]["id"]
        changed = DEPLOY.replace(
            "def ship(version: str) -> str:\n    return version",
            "def ship(version: str) -> str:\n    return version + '!'",
        )
        (cli.directory / "later.py").write_text(changed)

        refused = cli("resume", "later.py:asking", run)
        accepted = cli("resume", "later.py:asking", run, "--accept-changes")

        assert refused.code == 2
        assert "or add --accept-changes" in refused.err
        assert accepted.code == 7

    @pytest.mark.parametrize("command", ["resume", "rollback"])
    def test_refuses(self, cli: CommandLine, command: str) -> None:
        """Without a journal, or for a run that it lacks, nothing is made or touched."""
        more = ["--reason", "slow"] if command == "rollback" else []
        none = cli(command, "deploy.py:release", "20261127", *more)
        assert not (cli.directory / "deploys.db").exists()
        run = cli.run()["id"]
        wrong = cli(command, "deploy.py:release", run[:-1] + "?", *more)

        assert (none.code, wrong.code) == (2, 2)
        assert "there is no journal" in none.err
        assert f"did you mean {run}?" in wrong.err


class TestRollback:
    def test_takes_back(self, cli: CommandLine) -> None:
        """A run that is held is taken back, and ends with 3."""
        run = cli("run", "deploy.py:asking", "-p", "version=2.0", "--json").data["run"]["id"]

        said = cli("rollback", "deploy.py:asking", run, "--reason", "too slow")

        assert said.code == 3
        assert "rolled_back" in said.err

    def test_refuses_what_has_succeeded(self, cli: CommandLine) -> None:
        """A run that has succeeded is not rolled back."""
        run = cli.run()["id"]

        said = cli("rollback", "deploy.py:release", run, "--reason", "too slow")

        assert said.code == 2
        assert "has ended as succeeded" in said.err

    def test_needs_a_reason(self, cli: CommandLine) -> None:
        """Somebody will ask why."""
        assert "--reason" in cli("rollback", "deploy.py:release", "r").err


class TestSignals:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_leave_the_run_to_a_resume(self, tmp_path: Path, number: int, code: int) -> None:
        """A real signal leaves the run paused; the code says which, the document how to go on."""
        (tmp_path / "slow.py").write_text(
            "import os, signal, pyflow\n"
            "wf = pyflow.Workflow('slow')\n"
            "@wf.task(on_interrupt='rerun')\n"
            "def wait(ctx: pyflow.Context):\n"
            f"    os.kill(os.getpid(), {int(number)})\n"
            "    ctx.sleep('1h')\n"
        )

        done = subprocess.run(
            [sys.executable, "-m", "pyflow", "run", "slow.py", "--json", "--grace", "0s"],
            cwd=tmp_path,
            env={**os.environ, "PYFLOW_JOURNAL": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

        assert done.returncode == code, done.stderr
        assert '"status": "paused"' in done.stdout
        assert "pyflow-deploy resume slow.py" in done.stdout

    def test_before_a_run_is_an_interruption(
        self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Interrupted before anything began, a command ends with 130 and no traceback."""

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(running, "loaded", interrupted)

        assert cli("run", "deploy.py:release").code == 130


class TestStdout:
    def test_is_kept_for_the_document(self, tmp_path: Path) -> None:
        """What programs of tasks write goes to stderr, even past Python."""
        (tmp_path / "loud.py").write_text(
            "import os, pyflow\nwf = pyflow.Workflow('loud')\n"
            "@wf.task\ndef shout():\n    os.system('echo from a program')\n"
        )

        done = subprocess.run(
            [sys.executable, "-m", "pyflow", "run", "loud.py", "--json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

        assert done.stdout.startswith("{")
        assert "from a program" in done.stderr
