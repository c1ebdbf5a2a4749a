"""What the reference says of the documents is what the commands give."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pyflow.cli.main import make_parser
from pyflow.cli.schema import COMMON, DOCUMENTS, PARTS
from support.command_line import CommandLine

NAMED = (("results", "a result"), ("rows", "a row"))


def told(text: str) -> set[str]:
    """Return the fields that *text* names, in words or as a part."""
    part = next((part for word, part in NAMED if word in text), text)
    text = PARTS.get(part, text)
    return set(re.findall(r"`([a-z_ ]+)`", text)[0].split())


class TestDocuments:
    def test_are_there_for_every_command(self) -> None:
        """Each command has its entry."""
        (group,) = make_parser({})._subparsers._group_actions  # type: ignore[union-attr]
        assert set(DOCUMENTS) == set(group.choices)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("words", "fields"),
        [
            ("check deploy.py:release", ["workflow", "fingerprint"]),
            ("plan deploy.py:release", ["plan"]),
            ("graph deploy.py:release", ["graph"]),
            ("graph deploy.py:release --out release.svg", ["graph"]),
            ("run deploy.py:release -p version=2", ["run", "next"]),
            ("resume deploy.py:asking RUN", ["run", "next"]),
            ("resume deploy.py:asking", ["runs"]),
            ("rollback deploy.py:asking RUN --reason slow", ["run", "next"]),
            ("simulate deploy.py:release -p version=2", ["run", "order", "elapsed_s"]),
            ("approve RUN go", ["run", "asked"]),
            ("pause RUN", ["run", "asked"]),
            ("status", ["unfinished", "latest"]),
            ("status RUN", ["run", "next"]),
            ("history", ["runs", "before"]),
            ("history --count", ["count"]),
            ("history --changes", ["changes"]),
            ("history --dora --since 1d", ["dora"]),
            ("show RUN", ["run", "records"]),
            ("show RUN --diff RUN", ["one", "other", "differences"]),
            ("show RUN --compliance", ["run", "fields"]),
            ("show RUN --html run.html", ["run", "file"]),
            ("export RUN --format csv --out out.csv", ["export"]),
            ("locks", ["locks"]),
            ("verify", ["verification"]),
            ("archive --to old --keep-last 0", ["archives", "kept"]),
            ("anchor", ["anchor", "kept"]),
            ("anchor --new-key key", ["key"]),
        ],
    )
    def test_have_the_fields(self, cli: CommandLine, words: str, fields: list[str]) -> None:
        """A document has the fields that are written down, and those inside of them."""
        run = cli("run", "deploy.py:asking", "-p", "version=2", "--json").data["run"]["id"]

        data = cli(*words.replace("RUN", run).split(), "--json").data

        command = words.split(maxsplit=1)[0]
        assert set(data) - set(COMMON) == set(fields) <= set(DOCUMENTS[command])
        for field in fields:
            inside: Any = (
                data[field][0] if isinstance(data[field], list) and data[field] else data[field]
            )
            described = DOCUMENTS[command][field]
            if (
                isinstance(inside, dict)
                and field != "dora"
                and ("list" in described or "`" in described)
            ):
                assert set(inside) == told(described), field


class TestParts:
    def test_of_runs(self, cli: CommandLine) -> None:
        """A result, how a run stands, and a row have the fields that are written down."""
        result = cli("run", "deploy.py:asking", "-p", "version=2", "--json").data["run"]

        assert set(result) == told("a result")
        assert set(cli("status", result["id"], "--json").data["run"]) == told("how it stands")
        assert set(cli("history", "--json").data["runs"][0]) == told("a row")
