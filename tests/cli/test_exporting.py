"""`export`: each format as a file and on stdout, and everything that cannot be exported."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pyflow.cli.exporting import FORMATS
from pyflow.exports import trails_in
from pyflow.testing.servers import HTTPServer, Reply
from support.command_line import CommandLine
from support.journals import content_of, environment

TEXTS = [name for name in FORMATS if name != "otel"]


@pytest.fixture
def runs(cli: CommandLine) -> list[str]:
    """Three runs: one that succeeded, one that was rolled back, one that waits."""
    first = cli.run("--env", "production", "--by", "ada")["id"]
    second = cli.run("--env", "staging", "-p", "fail=true", version="2.1")["id"]
    third = cli("run", "deploy.py:asking", "-p", "version=2.2", "--json").data["run"]["id"]
    return [first, second, third]


class TestExport:
    @pytest.mark.parametrize("form", TEXTS)
    def test_to_a_file(self, cli: CommandLine, runs: list[str], form: str) -> None:
        """A file holds what stdout gets, and a document says what was written."""
        path = cli.directory / "out"
        said = cli("export", "--all", "--format", form)
        told = cli("export", "--all", "--format", form, "--out", str(path), "--json")

        assert (said.code, told.code) == (0, 0)
        assert path.read_bytes().decode() == said.out != ""
        ended = form == "otlp"
        assert told.data["export"] == {
            "format": form,
            "runs": 2 if ended else 3,
            "skipped": 1 if ended else 0,
            "bytes": path.stat().st_size,
            "out": str(path),
        }
        assert ("1 had not ended" in said.err) is ended

    def test_one(self, cli: CommandLine, runs: list[str]) -> None:
        """One run is exported as it is, in any format that is of one."""
        (trail,) = trails_in(cli("export", runs[1], "--format", "jsonl").out.splitlines())
        rows = list(csv.DictReader(io.StringIO(cli("export", runs[1], "--format", "csv").out)))
        traces = cli("export", runs[1], "--format", "otlp").out.splitlines()
        events = cli("export", runs[2], "--format", "cdevents", "--source", "/x").out.splitlines()

        trail.verify()
        assert trail[0].run_id == runs[1]
        assert {row["run"] for row in rows} == {runs[1]}
        assert len(traces) == 1
        assert {json.loads(line)["source"] for line in events} == {"/x"}

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ([], [0, 1, 2]),
            (["--env", "staging"], [1]),
            (["--service", "shop", "--version", "2.0"], [0]),
            (["--status", "held"], [2]),
            (["--since", "1d", "--text", "reset by peer"], [1]),
            (["--until", "2020-01-01"], []),
        ],
    )
    def test_those_that_fit(
        self, cli: CommandLine, runs: list[str], words: list[str], expected: list[int]
    ) -> None:
        """Runs are chosen as in the history, and come in the order in which they began."""
        lines = cli("export", "--all", "--format", "jsonl", *words).out.splitlines()

        found = [trail[0].run_id for trail in trails_in(lines)]
        assert found == [runs[n] for n in expected]

    def test_figures(self, cli: CommandLine, runs: list[str]) -> None:
        """Figures for Prometheus are read by its own parser."""
        text = cli("export", "--all", "--format", "prometheus", "--window", "1d").out

        found = {f.name: f for f in text_string_to_metric_families(text)}
        assert sum(s.value for s in found["pyflow_runs"].samples) == 2
        assert sum(s.value for s in found["pyflow_runs_unfinished"].samples) == 1

    def test_sending(
        self, cli: CommandLine, runs: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Traces of runs that have ended go to the collector."""
        with HTTPServer() as server:
            server.always(Reply(200))
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.base_url)

            said = cli("export", "--all", "--format", "otel")
            told = cli("export", runs[0], "--format", "otel", "--json")

            assert {request.path for request in server.received} == {"/v1/traces"}
            assert len(server.received) == 3
        assert said.err == "2 runs sent; 1 had not ended, and were left out\n"
        assert told.data["export"]["bytes"] is None

    def test_needs_the_extra(
        self, cli: CommandLine, runs: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without OpenTelemetry the error says what to install."""
        monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)

        said = cli("export", runs[0], "--format", "otel")

        assert said.code == 2
        assert "pip install 'pyflow-deploy[otel]'" in said.err

    def test_changes_nothing(self, cli: CommandLine, runs: list[str]) -> None:
        """The journal is what it was, while another connection is writing to it."""
        import sqlite3
        from contextlib import closing

        path = cli.directory / "deploys.db"
        cli("history")
        before = content_of(cli.directory)
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("UPDATE meta SET value = 'x' WHERE key = 'nothing'")

            for form in TEXTS:
                assert cli("export", "--all", "--format", form).code == 0
            writer.execute("ROLLBACK")

        after = content_of(cli.directory)
        for name in ("deploys.db", "deploys.db.head"):
            assert after[name] == before[name]

    def test_a_reader_that_leaves(self, cli: CommandLine, runs: list[str]) -> None:
        """`| head` ends it without a word."""
        words = ["-m", "pyflow", "export", "--all", "--format", "csv", "--quiet"]
        reading, writing = os.pipe()
        os.close(reading)

        done = subprocess.run(
            [sys.executable, *words, "--journal", str(cli.directory / "deploys.db")],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
        )

        os.close(writing)
        assert (done.returncode, done.stderr) == (0, b"")

    def test_tampered(self, cli: CommandLine, runs: list[str]) -> None:
        """A record that is not what was written ends it, and the file stays what it was."""
        from support.journals import tamper

        path = cli.directory / "out"
        path.write_text("old")
        tamper(
            cli.directory / "deploys.db",
            "UPDATE records SET line = replace(line, 'reset by peer', 'reset by pear')",
        )

        said = cli("export", "--all", "--format", "csv", "--out", str(path))

        assert said.code == 6
        assert path.read_text() == "old"
        assert not list(cli.directory.glob(".*.tmp"))


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "text", "step"),
        [
            ([], "--format", "--help"),
            (["--format", "jsonl"], "one run or of all", "say --all"),
            (["RUN", "--all", "--format", "jsonl"], "one run or of all", "say --all"),
            (["--all", "--format", "jsno"], "no FORMAT", "--help"),
            (["--all", "--format", "jsonnl"], "did you mean 'jsonl'?", "--help"),
            (["RUN", "--format", "csv", "--env", "x"], "--env chooses", "say --all"),
            (["RUN", "--format", "csv", "--since", "1d"], "--since chooses", "say --all"),
            (["RUN", "--format", "prometheus"], "counts runs", "say --all"),
            (["RUN", "--format", "otel", "--out", "x"], "writes no file", "otlp"),
            (["RUN", "--format", "csv", "--json"], "both go to stdout", "--out FILE"),
            (["--all", "--format", "prometheus", "--window", "x"], "no span", "30d"),
            (["--all", "--format", "csv", "--since", "x"], "no instant", "7d"),
            (["HELD", "--format", "otlp"], "has not ended", "pyflow-deploy status"),
            (["nothing", "--format", "csv"], "no run 'nothing'", "history lists them"),
            (["RUN", "--format", "csv", "--out", "no/out"], "no such directory", "another file"),
            (["RUN", "--format", "csv", "--out", "."], "it is a directory", "another file"),
            (["RUN", "--format", "cdevents", "--source", ""], "source=", "--help"),
        ],
    )
    def test_say_what_to_do(
        self, cli: CommandLine, runs: list[str], words: list[str], text: str, step: str
    ) -> None:
        """What cannot be exported is said in a sentence, with a next step, and the code of usage."""
        names = {"RUN": runs[0], "HELD": runs[2]}

        said = cli("export", *(names.get(word, word) for word in words))

        assert said.code == 2
        assert text in said.err
        assert step in said.err.partition("next: ")[2]

    def test_make_no_journal(self, cli: CommandLine) -> None:
        """A journal that is not there is not made, and neither is the file."""
        said = cli("export", "--all", "--format", "csv", "--out", "out.csv")

        assert said.code == 2
        assert "there is no journal" in said.err
        assert list(cli.directory.glob("*.csv")) == []


class TestOutput:
    def test_without_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where something stands in for stdout that takes text alone, it gets text."""
        from pyflow.cli.output import Output

        stream: Any = io.StringIO()
        monkeypatch.setattr(sys, "stdout", stream)

        Output("export", wants_json=False, quiet=False, environ={}).pour(["a", "é"])

        assert stream.getvalue() == "aé"


def test_help_names_all(cli: CommandLine) -> None:
    """The help says what each format is."""
    text = cli("export", "--help").out

    assert all(f"- {name}: " in text for name in FORMATS)
    assert Path("deploys.db").exists() is False
