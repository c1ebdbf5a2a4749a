"""The command line as a whole: help that teaches, one schema, colours, errors."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from pyflow.cli.codes import CODES, Refusal, code_of_error, code_of_status, next_step
from pyflow.cli.main import make_parser
from pyflow.cli.output import Answer, Output
from pyflow.errors import PyflowError
from pyflow.run.states import RUN_TRANSITIONS
from support.command_line import CommandLine


def commands() -> dict[str, Any]:
    """Return the parser of each command."""
    parser = make_parser({})
    return next(iter(parser._subparsers._group_actions)).choices  # type: ignore[union-attr, return-value]


class TestHelp:
    @pytest.mark.parametrize("name", commands())
    def test_has_an_example(self, name: str) -> None:
        """Each command's help has an example that its own parser takes."""
        text = commands()[name].format_help()
        _, _, examples = text.partition("example:\n")

        lines = [line.strip() for line in examples.splitlines() if line.strip()]
        assert lines
        for line in lines:
            import shlex

            make_parser({}).parse_args(shlex.split(line)[1:])

    def test_names_the_codes(self, cli: CommandLine) -> None:
        """The help of the program lists every exit code."""
        said = cli("--help")

        assert said.code == 0
        assert all(f"{code:>3}  {name}" in said.out for code, name, _ in CODES)

    def test_is_asked_for(self, cli: CommandLine) -> None:
        """--version says the version; no command at all is refused with where to look."""
        assert cli("--version").out.startswith("pyflow ")
        assert cli().code == 2
        assert "pyflow-deploy --help" in cli().err

    def test_suggests(self, cli: CommandLine) -> None:
        """A command with a typo is told what was probably meant."""
        assert "did you mean 'rollback'?" in cli("rolback").err
        assert "there are check, plan" in cli("zzzzzz").err


class TestErrors:
    def test_are_data(self, cli: CommandLine) -> None:
        """With --json an error is a document too, with the next step."""
        said = cli("run", "gone.py", "--json")

        assert said.data["exit_code"] == said.code == 2
        assert said.data["error"]["message"] == "there is no file 'gone.py'"
        assert said.data["error"]["next"]

    def test_keep_their_codes(self) -> None:
        """Every status of a run has a code; an error that nobody knows is a failure."""
        assert {code_of_status(status) for status in RUN_TRANSITIONS} == {0, 1, 3, 5, 7, 130}
        assert code_of_error(PyflowError("x")) == 1
        assert code_of_error(Refusal("x", "y", code=4)) == 4
        assert "history --journal 'a b'" in next_step(PyflowError("x"), journal="a b")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestOutput:
    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({}, "\033[32msucceeded\033[0m"),
            ({"NO_COLOR": "1"}, "succeeded"),
            ({"NO_COLOR": ""}, "\033[32msucceeded\033[0m"),
            ({"TERM": "dumb"}, "succeeded"),
        ],
    )
    def test_colours(self, environ: dict[str, str], expected: str) -> None:
        """Words have colours on a terminal, unless NO_COLOR is set or it has none."""
        out = Output("status", wants_json=False, quiet=False, environ=environ)

        assert out.painted("succeeded", Terminal()) == expected
        assert out.painted("succeeded", io.StringIO()) == "succeeded"
        assert out.painted("blocked", Terminal()) == "blocked"

    def test_survives_a_poor_encoding(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a terminal cannot show is escaped."""
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        out = Output("show", wants_json=False, quiet=False, environ={})

        out.give(Answer({}, "caf\xe9"))

        assert raw.getvalue() == b"caf\\xe9\n"

    def test_survives_a_reader_that_goes(
        self, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A pipe whose reader has seen enough is no error."""

        class Closed(io.StringIO):
            def write(self, text: str, /) -> int:
                raise BrokenPipeError

            def fileno(self) -> int:
                return spare

        import os

        spare = os.open(os.devnull, os.O_WRONLY)
        monkeypatch.setattr(sys, "stdout", Closed())
        try:
            from pyflow.cli.main import main

            assert main(["check", "deploy.py:release"], {}) == 0
        finally:
            os.close(spare)
