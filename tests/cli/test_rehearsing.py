"""`simulate` and `explore`: nothing is touched, and what follows from what is shown."""

from __future__ import annotations

import pytest

from support.command_line import CommandLine


class TestSimulate:
    def test_calls_nothing(self, cli: CommandLine) -> None:
        """Stand-ins take the place of all functions."""
        said = cli("simulate", "deploy.py:release", "-p", "version=2.0", "--json")

        assert said.code == 0
        assert said.data["order"] == ["before", "deploy", "announce"]
        assert "looking" not in said.err

    def test_shows_a_rollback(self, cli: CommandLine) -> None:
        """A task that is made to fail shows what is taken back."""
        said = cli(
            "simulate", "deploy.py:release", "-p", "version=2.0", "--fail", "announce", "--json"
        )

        assert said.code == 3
        assert said.data["order"] == ["before", "deploy", "announce", "undo of deploy"]

    def test_calls_what_is_real(self, cli: CommandLine) -> None:
        """With --real the functions are called."""
        said = cli("simulate", "deploy.py:release", "-p", "version=2.0", "--real", "--json")

        assert said.data["run"]["tasks"][1]["output"] == "2.0"
        assert "looking" in said.err

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["--fail", "shift", "-p", "version=1"], "--fail shift: the workflow has no such task"),
            ([], "'version': no value was given"),
        ],
    )
    def test_refuses(self, cli: CommandLine, words: list[str], sentence: str) -> None:
        """What makes no sense is refused."""
        said = cli("simulate", "deploy.py:release", *words)

        assert said.code == 2
        assert sentence in said.err


class TestExplore:
    def test_finds_what_hangs(self, cli: CommandLine) -> None:
        """A task without a timeout may hang for ever, and that is found: 1."""
        said = cli("explore", "deploy.py:make_release", "-p", "version=2.0", "--json")

        assert said.code == 1
        (one,) = said.data["exploration"]["counterexamples"]
        assert "hangs" in one["faults"][0]

    def test_finds_nothing(self, cli: CommandLine) -> None:
        """A workflow that is safe under every fault ends with 0."""
        (cli.directory / "safe.py").write_text(
            "import pyflow\n"
            "def make() -> pyflow.Workflow:\n"
            "    wf = pyflow.Workflow('safe')\n"
            "    wf.add_task('a', lambda: 1, timeout='1m', effect=False)\n"
            "    return wf\n"
        )

        said = cli("explore", "safe.py:make")

        assert said.code == 0, said.out
        assert "all safe" in said.out

    def test_refuses(self, cli: CommandLine) -> None:
        """There cannot be fewer faults than none."""
        assert cli("explore", "deploy.py:release", "--faults", "-1").code == 2
