"""What is said of a whole journal, with its head, and with anchors that somebody else has kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyflow.errors import JournalError, JournalIntegrityError
from pyflow.record.audit import AuditTrail
from pyflow.record.evidence.anchors import (
    Anchor,
    anchor_journal,
    anchor_trail,
    append_anchor,
    read_anchors,
)
from pyflow.record.evidence.keys import make_key
from pyflow.record.evidence.verification import verify_journal
from pyflow.record.sqlite.database import Database
from pyflow.record.sqlite.head import write_head
from pyflow.record.sqlite.journal import SQLiteJournal
from support.journals import fill, image_of, logged, tamper
from support.trails import AT, trail_of

KEY = make_key()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of sixty records."""
    fill(tmp_path / "j.db")
    return tmp_path / "j.db"


def cut(path: Path, records: int) -> None:
    """Cut the journal down to *records*, with its head and its index, as a forger would."""
    tamper(path, "DELETE FROM records WHERE n > ?", (records,))
    tamper(
        path,
        "UPDATE runs SET status = 'unfinished', "
        "records = (SELECT count(*) FROM records r WHERE r.run_id = runs.run_id)",
    )
    tamper(path, "DELETE FROM runs WHERE records = 0")
    with Database(path, accept_loss=True):
        pass


class TestVerdicts:
    def test_ok(self, path: Path) -> None:
        """What was written passes, and what an anchor would add is said."""
        found = verify_journal(path)

        assert (found.verdict, found.records, found.first_bad) == ("ok", 60, None)
        assert bool(found)
        assert "without an anchor" in str(found)

    @pytest.mark.parametrize(
        ("sql", "verdict", "n"),
        [
            (
                "UPDATE records SET line = replace(line, 'line 9', 'line 8') WHERE line LIKE '%line 9\"%'",
                "modified",
                10,
            ),
            ("UPDATE records SET line = NULL || line WHERE 0", "ok", None),
            ("DELETE FROM records WHERE n = 20", "missing", 20),
            ("UPDATE records SET chain = lower(hex(randomblob(32))) WHERE n = 30", "unchained", 30),
            ("DELETE FROM records WHERE n > 50", "shorter_than_anchor", 51),
            ("UPDATE runs SET workflow = 'other' WHERE run_id = 'eu'", "index", 1),
            ("DELETE FROM runs WHERE run_id = 'eu'", "index", 1),
            ("UPDATE meta SET value = 'other' WHERE key = 'id'", "head", None),
        ],
    )
    def test_are_told_apart(self, path: Path, sql: str, verdict: str, n: int | None) -> None:
        """Each way to change a journal has its verdict and its place."""
        tamper(path, sql)

        found = verify_journal(path)

        assert found.verdict == verdict
        assert (found.first_bad.n if found.first_bad else None) == n

    def test_unreadable(self, tmp_path: Path) -> None:
        """What is no journal cannot be read; what is not there is an error."""
        (tmp_path / "j.db").write_bytes(b"x" * 4096)

        assert verify_journal(tmp_path / "j.db").verdict in ("head", "unreadable")
        with pytest.raises(JournalError, match="there is no journal"):
            verify_journal(tmp_path / "gone.db")

    def test_clock_went_back(self, path: Path) -> None:
        """A clock that went back is told with its place, and is no damage."""
        from datetime import timedelta

        with SQLiteJournal(path) as journal:
            journal.append("eu", [logged(1)], at=AT - timedelta(days=1))

        found = verify_journal(path)

        assert (found.verdict, found.ok) == ("clock_went_back", True)
        assert found.first_bad is not None
        assert found.first_bad.n == 61

    def test_are_cut_short_in_words(self, path: Path) -> None:
        """Where very much is wrong, the text names the first twenty things."""
        tamper(path, "UPDATE records SET line = line || ' '")

        assert "more" in str(verify_journal(path))


class TestAnchors:
    @pytest.mark.parametrize("records", [0, 1, 30, 59])
    def test_tell_of_a_cut_that_took_the_head_along(self, path: Path, records: int) -> None:
        """Records cut with the head and the index pass alone, and never with an anchor."""
        anchor = anchor_journal(path, at=AT, key=KEY)
        cut(path, records)

        assert verify_journal(path).verdict == "ok"
        found = verify_journal(path, anchors=[anchor], key=KEY)
        assert found.verdict == "shorter_than_anchor"
        assert found.first_bad is not None
        assert found.first_bad.n == records + 1

    def test_tell_of_another_course(self, path: Path, tmp_path: Path) -> None:
        """A copy that went its own way, head and all, differs from the anchor."""
        copy = image_of(path, tmp_path / "copy")
        for place, number in ((path, 1), (copy, 2)):
            with SQLiteJournal(place) as journal:
                journal.read("eu")
                journal.append("eu", [logged(100 + number)], at=AT)
        anchor = anchor_journal(path, at=AT)

        assert verify_journal(copy).verdict == "ok"
        assert verify_journal(copy, anchors=[anchor]).verdict == "differs_from_anchor"
        assert verify_journal(path, anchors=[anchor]).verdict == "ok"

    def test_of_other_journals(self, path: Path, tmp_path: Path) -> None:
        """Anchors of other journals are passed over; where there is no other, that is said."""
        fill(tmp_path / "other.db", 10)
        foreign, mine = anchor_journal(tmp_path / "other.db", at=AT), anchor_journal(path, at=AT)

        assert verify_journal(path, anchors=[foreign, mine]).verdict == "ok"
        assert verify_journal(path, anchors=[foreign]).verdict == "head"

    def test_are_not_made_of_what_is_broken(self, path: Path, tmp_path: Path) -> None:
        """A journal that is not what its head says has no end to anchor."""
        tamper(path, "DELETE FROM records WHERE n > 50")

        with pytest.raises(JournalIntegrityError, match="ends at record 50"):
            anchor_journal(path, at=AT)
        with pytest.raises(JournalError, match="there is no journal"):
            anchor_journal(tmp_path / "gone.db", at=AT)
        (tmp_path / "none.db").write_bytes(b"x" * 4096)
        with pytest.raises(JournalError):
            anchor_journal(tmp_path / "none.db", at=AT)

    def test_are_lines(self, path: Path, tmp_path: Path) -> None:
        """An anchor is a line of a file, and reads back as it was."""
        anchors = [anchor_journal(path, at=AT), anchor_journal(path, at=AT, key=KEY)]
        for anchor in anchors:
            append_anchor(tmp_path / "anchors", anchor)

        assert read_anchors((tmp_path / "anchors").read_text().split("\n")) == anchors
        with pytest.raises(JournalError, match="cannot be kept"):
            append_anchor(tmp_path / "no" / "anchors", anchors[0])

    @pytest.mark.parametrize(
        "line",
        ["x", "{}", "[]", '{"subject":"j"}', '{"at":"1","head":"2","records":"3","subject":"4"}'],
    )
    def test_refuse_other_lines(self, line: str) -> None:
        """What is no anchor is refused."""
        with pytest.raises(JournalError, match="not an anchor"):
            Anchor.from_line(line)

    def test_of_nothing(self) -> None:
        """An empty trail has no end."""
        with pytest.raises(JournalError, match="no end to anchor"):
            anchor_trail(AuditTrail([]))

    def test_of_a_run(self) -> None:
        """A trail's anchor is its last record."""
        trail = trail_of()
        anchor = anchor_trail(trail)

        assert (anchor.subject, anchor.records, anchor.head) == ("r1", 21, trail[-1].hash)
        assert anchor.is_signed_by(KEY) is None


def test_a_rewritten_head_alone_is_noticed(path: Path) -> None:
    """A head that names a place that the journal has not is noticed without any anchor."""
    with Database(path) as database:
        name = database.id
    from pyflow.record.sqlite.tip import Tip

    write_head(path.with_name("j.db.head"), name, Tip(60, 40, "f" * 64))

    assert verify_journal(path).verdict == "head"
