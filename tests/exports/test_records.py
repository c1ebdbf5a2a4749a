"""Records as JSON Lines, CSV, CDEvents and JUnit's XML, read back by other parsers; and files."""

from __future__ import annotations

import csv as standard
import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import JUnitXml

from pyflow import JournalError, Workflow
from pyflow.errors import ExportError, TamperedJournal
from pyflow.exports import cdevents, csv, jsonl, junit_suites, save, trails_in
from pyflow.exports.csv import COLUMNS, plain_cell
from pyflow.notices.story import Story
from pyflow.notices.wording import NOTICES, message_of, notice_of
from pyflow.notifiers._cdevents import cloud_event
from pyflow.record import events as ev
from pyflow.record.audit import AuditTrail
from pyflow.reports import junit
from pyflow.testing import simulate
from support.cdevents import validator
from support.exported import ODD, do, rolled_back
from support.journals import names_in
from support.trails import STARTED, trail_of

FORMATS = (jsonl, csv, cdevents, junit_suites)


@pytest.fixture(scope="module")
def trail() -> AuditTrail:
    return rolled_back()


@pytest.fixture(scope="module")
def odd() -> AuditTrail:
    """A trail with odd characters wherever they can be."""
    started = ev.RunStarted(ODD, "f", {"version": ODD, "service": ODD}, {"id": ODD}, {}, {ODD: "1"})
    return trail_of(
        [
            started,
            ev.TaskStarted(ODD, 1, ODD),
            ev.Logged(ODD, ODD, {ODD: ODD}),
            ev.ChangeRecorded(ODD, ODD, ODD, {ODD: [ODD]}),
            ev.TaskFailed(ODD, ODD, ev.ErrorInfo(ODD, ODD, ODD)),
            ev.UndoBlocked(ODD, [ODD, ODD], ODD),
            ev.OutcomeDecided("failed", ODD),
            ev.RunFinished("failed", 8),
        ],
        run_id="r-" + ODD,
    )


def rows(trails: Any) -> list[dict[str, str]]:
    """Return the rows of a table, as the standard library's reader has them."""
    return list(standard.DictReader(io.StringIO("".join(csv(trails)), newline="")))


class TestEveryFormat:
    @pytest.mark.parametrize("form", FORMATS)
    def test_streams(self, form: Any, trail: AuditTrail) -> None:
        """Trails are asked for one by one, and each comes out before the next is read."""
        asked: list[int] = []

        def trails() -> Iterator[AuditTrail]:
            for number in range(1_000):
                asked.append(number)
                yield trail

        pieces = form(trails())
        for _ in range(3):
            next(pieces)

        assert len(asked) <= 3

    @pytest.mark.parametrize("form", FORMATS)
    def test_is_one_or_many(self, form: Any, trail: AuditTrail) -> None:
        """The trail of one run is taken as it is; no run at all is no fault."""
        assert "".join(form(trail)) == "".join(form([trail]))
        assert len("".join(form([]))) < len("".join(form(trail)))

    @pytest.mark.parametrize("form", FORMATS)
    def test_needs_the_start(self, form: Any, trail: AuditTrail) -> None:
        """A part of a trail does not say which run it is."""
        with pytest.raises(JournalError, match="a part of one"):
            "".join(form([trail[1:]]))

    @pytest.mark.parametrize("form", FORMATS)
    def test_is_text(self, form: Any, odd: AuditTrail) -> None:
        """Whatever names hold, what comes out is UTF-8, without what steers a terminal."""
        text = "".join(form(odd))

        assert text.encode().decode() == text
        assert "\x1b" not in text


class TestJsonLines:
    def test_can_be_verified(self, trail: AuditTrail, odd: AuditTrail) -> None:
        """Read back, they are the trails that they were, with their chains."""
        text = "".join(jsonl([trail, odd]))

        found = list(trails_in(text.splitlines(keepends=True)))

        assert found == [trail, odd]
        for one in found:
            one.verify()

    def test_show_what_was_changed(self, trail: AuditTrail) -> None:
        """A change on the way is found, as it would be in the journal."""
        text = "".join(jsonl(trail)).replace("503", "504")

        (found,) = trails_in(text.splitlines())

        with pytest.raises(TamperedJournal):
            found.verify()

    def test_stand_alone(self) -> None:
        """Each line says of which run, workflow and environment it is, and in which schema."""
        lines = [json.loads(line) for line in jsonl(trail_of())]

        assert all(line["schema"] == "pyflow.export/1" for line in lines)
        assert {(one["workflow"], one["environment"], one["run"]) for one in lines} == {
            ("shop", "production", "r1")
        }
        assert [one["seq"] for one in lines] == list(range(1, len(trail_of()) + 1))
        assert set(lines[0]) == {
            *("schema", "workflow", "environment", "at", "data", "hash", "kind", "prev"),
            *("run", "seq"),
        }

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("", "not of an export"),
            ("[]", "not of an export"),
            ("{}", "not of an export"),
            ('{"schema": "pyflow.export/2"}', "this pyflow reads pyflow.export/1"),
            ('{"schema": "pyflow.export/1"}', "line 1 cannot be read"),
        ],
    )
    def test_refuse_others(self, line: str, words: str) -> None:
        """What is none of these is refused, by its line."""
        with pytest.raises(JournalError, match=words):
            list(trails_in([line]))

    def test_of_nothing(self) -> None:
        """No line is no trail."""
        assert list(trails_in([])) == []


class TestCsv:
    def test_is_read(self, trail: AuditTrail) -> None:
        """Another reader finds a row for each record, with its fields in their columns."""
        found = rows(trail)

        assert [int(row["seq"]) for row in found] == [record.seq for record in trail]
        assert tuple(found[0]) == COLUMNS
        change = next(row for row in found if row["kind"] == "change_recorded")
        assert (change["task"], change["resource"]) == ("build", "lb/shop")
        assert json.loads(change["before"]) == {"canary": 0}
        answered = next(row for row in found if row["kind"] == "approval_answered")
        assert (answered["outcome"], answered["by"]) == ("approve", "ada")
        failed = next(row for row in found if row["kind"] == "attempt_failed")
        assert (failed["error_type"], failed["attempt"]) == ("ConnectionError", "1")
        assert {row["workflow"] for row in found} == {"shop"}
        assert {row["version"] for row in found} == {"2.1"}

    def test_keeps_to_the_rfc(self, odd: AuditTrail) -> None:
        """Lines end in CRLF, quotes are doubled, and every row has as many cells as the head."""
        text = "".join(csv(odd))

        found = list(standard.reader(io.StringIO(text, newline=""), strict=True))
        assert text.endswith("\r\n")
        assert {len(row) for row in found} == {len(COLUMNS)}
        assert len(found) == len(odd) + 1

    def test_runs_no_formula(self, odd: AuditTrail, trail: AuditTrail) -> None:
        """No cell begins with what a spreadsheet would run, in either line or full width."""
        cells = [cell for row in [*rows(odd), *rows(trail)] for cell in row.values()]

        assert [c for c in cells if c.strip()[:1] in tuple("=+-@＝＋－＠")] == []  # noqa: RUF001
        assert sum(c.startswith("'=") for c in cells) > 10

    @given(st.text(alphabet="'=+-@ \t\r\n＝a1", max_size=6))  # noqa: RUF001
    def test_loses_nothing(self, text: str) -> None:
        """Whatever a text is, no spreadsheet runs its cell, and it can be read back."""
        started = ev.RunStarted("w", "f", {"version": text}, {}, {}, {})

        cell = rows(trail_of([started]))[0]["version"]

        assert cell.lstrip("\t\r\n ")[:1] not in tuple("=+-@＝") or cell == ""  # noqa: RUF001
        assert plain_cell(cell) == text.replace("\r\n", "\n").replace("\r", "\n")

    def test_bounds_cells(self) -> None:
        """A spreadsheet takes no more than 32,767 characters in a cell."""
        started = ev.RunStarted("w", "f", {"version": "x" * 100_000}, {}, {}, {})

        assert len(rows(trail_of([started]))[0]["version"]) == 32_000


class TestCDEvents:
    def test_are_valid(self, trail: AuditTrail, odd: AuditTrail) -> None:
        """Each is valid by the specification's own schemas, and has an id of its own."""
        events = [json.loads(line) for line in cdevents([trail, odd], source="/deployments")]

        for event in events:
            made = event["data"]
            errors = [e.message for e in validator(made["context"]["type"]).iter_errors(made)]
            assert errors == [], made
            assert (event["id"], event["type"]) == (made["context"]["id"], made["context"]["type"])
        assert len({event["id"] for event in events}) == len(events)
        assert {event["source"] for event in events} == {"/deployments"}

    def test_are_those_of_the_webhook(self, trail: AuditTrail) -> None:
        """What is told of the run is what the notifier tells, so a receiver sees repeats."""
        story, told = Story(trail[0].run_id), list[Any]()
        for record in trail:
            story.tell([record])
            if notice_of(record, story) in NOTICES:
                told.append(cloud_event(message_of(record, story), source="pyflow"))

        found = [json.loads(line) for line in cdevents(trail)]

        assert told == [one for one in found if ".taskrun." not in one["type"]]

    def test_have_task_runs(self, trail: AuditTrail) -> None:
        """A task begins once, however often it is tried, and ends with what became of it."""
        events = [json.loads(line)["data"] for line in cdevents(trail)]
        runs = [e for e in events if ".taskrun." in e["context"]["type"]]
        told = [
            (
                e["context"]["type"].split(".")[3],
                e["subject"]["content"]["taskName"],
                e["subject"]["content"].get("outcome"),
                e["customData"]["attempts"],
            )
            for e in runs
        ]

        assert told == [
            ("started", "build", None, 1),
            ("finished", "build", "success", 2),
            ("started", "go", None, 1),
            ("finished", "go", "success", 1),
            ("started", "deploy[eu]", None, 1),
            ("started", "deploy[us]", None, 1),
            ("finished", "deploy[eu]", "success", 1),
            ("finished", "deploy[us]", "success", 1),
            ("started", "verify", None, 1),
            ("finished", "verify", "failure", 2),
        ]
        assert runs[-1]["subject"]["content"]["errors"] == "RuntimeError: 503 <html>"
        assert "errors" not in runs[1]["subject"]["content"]

    def test_begin_anew_after_a_crash(self) -> None:
        """A task in doubt has ended in error; tried again, it is another task run."""
        events = [
            STARTED,
            ev.TaskStarted("a", 1, "ready"),
            ev.TaskInterrupted("a", 1, "the engine ended"),
            ev.TaskStarted("a", 2, "again"),
            ev.TaskCancelled("a", "the run is cancelled"),
            ev.TaskCancelled("b", "it had not begun"),
        ]
        found = [json.loads(line)["data"]["subject"] for line in cdevents(trail_of(events))]

        told = [s["content"] for s in found if s["id"] == "r1/a"]
        assert [c.get("outcome") for c in told] == [None, "error", None, "cancel"]
        assert [c.get("errors") for c in told] == [
            *(None, "the engine ended", None, "the run is cancelled")
        ]
        assert {c["uri"] for c in told} == {"https://ci/1"}
        assert [s for s in found if s["id"] == "r1/b"] == []

    def test_need_a_source(self, trail: AuditTrail) -> None:
        """The vocabulary wants one."""
        with pytest.raises(ExportError, match="source="):
            list(cdevents(trail, source=" "))


class TestJUnit:
    def test_of_many(self, trail: AuditTrail, odd: AuditTrail) -> None:
        """Another parser finds a suite for each run; one alone is what the report gives."""
        suites = list(JUnitXml.fromstring("".join(junit_suites([trail, odd, trail])).encode()))

        assert [suite.tests for suite in suites] == [8, 1, 8]
        assert "".join(junit_suites(trail)) == junit(trail)


class TestSave:
    def test_writes(self, tmp_path: Path) -> None:
        """The file holds what came, as it is, and nothing is left beside it."""
        path = tmp_path / "out.csv"

        size = save(path, ["a\r\n", "é"])

        assert path.read_bytes() == "a\r\né".encode()
        assert size == len(path.read_bytes())
        assert names_in(tmp_path) == ["out.csv"]

    def test_is_all_or_nothing(self, tmp_path: Path) -> None:
        """What fails half-way leaves the old file, and what fails at the end too."""
        path = tmp_path / "out.prom"
        path.write_text("old")

        def pieces() -> Iterator[str]:
            yield "new"
            assert path.read_text() == "old"
            raise TamperedJournal("broken", run_id="r", seq=1)

        with pytest.raises(TamperedJournal):
            save(path, pieces())

        assert path.read_text() == "old"
        assert names_in(tmp_path) == ["out.prom"]

    def test_is_exchanged(self, tmp_path: Path) -> None:
        """Whoever has the old file open reads that to its end: the new one is another file."""
        path = tmp_path / "out.prom"
        path.write_text("old")
        with path.open() as reader:
            save(path, ["new"])

            assert reader.read() == "old"
        assert path.read_text() == "new"

    def test_keeps_permissions(self, tmp_path: Path) -> None:
        """A file that was there keeps its own; a new one has those of the process."""
        path, new = tmp_path / "old", tmp_path / "new"
        path.write_text("")
        path.chmod(0o604)
        mask = os.umask(0o027)
        try:
            save(path, ["x"])
            save(new, ["x"])
        finally:
            os.umask(mask)

        assert [stat.S_IMODE(p.stat().st_mode) for p in (path, new)] == [0o604, 0o640]

    def test_follows_links(self, tmp_path: Path) -> None:
        """A link keeps leading to the file."""
        (tmp_path / "real").write_text("old")
        (tmp_path / "link").symlink_to("real")

        save(tmp_path / "link", ["new"])

        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real").read_text() == "new"

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("", "it is a directory"),
            ("missing/out", "there is no such directory"),
            ("file/out", "Not a directory"),
            ("pipe", "no ordinary file"),
            ("x" * 300, "File name too long"),
            ("y" * 250, "File name too long"),
        ],
    )
    def test_says_why_not(self, tmp_path: Path, name: str, words: str) -> None:
        """What cannot be written is said in a sentence, and nothing is left."""
        (tmp_path / "file").write_text("")
        os.mkfifo(tmp_path / "pipe")

        with pytest.raises(ExportError, match=f"cannot be written: .*{words}"):
            save(tmp_path / name, ["x"])

        assert names_in(tmp_path) == ["file", "pipe"]


def test_a_run_that_goes_on(trail: AuditTrail) -> None:
    """Records can be exported while the run is under way: those that there are."""
    part = trail[:10]

    assert len(list(jsonl(part))) == 10
    assert len(rows(part)) == 10
    assert len(list(cdevents(part))) == 3
    workflow = Workflow("w")
    workflow.add_task("a", do)
    assert len(list(jsonl(simulate(workflow).audit_trail))) == 5
