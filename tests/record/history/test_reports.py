"""Reports: the fields that auditors ask for, and DORA's five metrics with their denominators."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pyflow.errors import JournalError
from pyflow.record import events as ev
from pyflow.record.codec import seal
from pyflow.record.history.comparing import diff_of
from pyflow.record.history.compliance import compliance_of
from pyflow.record.history.dora import dora_of
from pyflow.record.history.summary import RunSummary
from support.trails import AT, EVENTS, STARTED, trail_of

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def records(*events: ev.Event) -> list[object]:
    return list(seal("r1", events, at=AT, seq=0, prev="0" * 64))


class TestCompliance:
    def test_names_what_is_there(self) -> None:
        """Each field that is there names the record that has it."""
        report = compliance_of(trail_of())

        found = {one.field: (one.found, one.seq) for one in report.evidence}
        assert found["user"] == ("ada (given)", 1)
        assert found["success or failure"] == ("rolled_back", 21)
        assert found["affected resource"] == ("weights", 11)
        assert found["fall-back"] == ("undo_succeeded of deploy[eu]", 16)
        assert found["ticket or pipeline"] == ("https://ci/1", 1)
        assert [one.field for one in report.missing] == [
            "developed: the source",
            "tested: a check that was passed",
            "approved",
            "approved by another person",
        ]
        assert str(report).startswith("run r1 has 13 of 17 fields\n")

    def test_says_how_to_get_what_is_missing(self) -> None:
        """A run that is nothing but begun lacks most, and each says how to get it."""
        start = ev.RunStarted("w", "f", {}, {}, {}, {})

        report = compliance_of(records(start))  # type: ignore[arg-type]

        assert {one.field for one in report.missing} >= {
            "user",
            "environment",
            "origination",
            "approved",
        }
        assert all(one.advice for one in report.missing)
        assert not report.missing[0].is_present

    @pytest.mark.parametrize(("by", "other"), [("ada", None), ("grace", "grace"), (None, None)])
    def test_tells_who_approved(self, by: str | None, other: str | None) -> None:
        """An approval by whoever asked for the run is one, but not by another person."""
        answer = ev.ApprovalAnswered("go", "approve", "x", by=by)

        report = compliance_of(records(STARTED, answer))  # type: ignore[arg-type]

        found = {one.field: one.found for one in report.evidence}
        assert found["approved"] == by
        assert found["approved by another person"] == other

    def test_counts_no_rejection(self) -> None:
        """A no is no approval."""
        report = compliance_of(records(STARTED, ev.ApprovalAnswered("go", "reject", "x", by="g")))  # type: ignore[arg-type]

        assert "approved" in {one.field for one in report.missing}

    @pytest.mark.parametrize(
        ("check", "is_there"),
        [
            (ev.ReadingTaken("a", "TCP", "healthy"), True),
            (ev.ReadingTaken("a", "TCP", "unhealthy"), False),
            (ev.ReadingTaken("a", "TCP", "unknown"), False),
            (ev.MeasurementTaken("a", "errors", 1, "pass", "go_on"), True),
            (ev.MeasurementTaken("a", "errors", 1, "fail", "abort"), False),
        ],
    )
    def test_counts_no_failed_check(self, check: ev.Event, is_there: bool) -> None:
        """A check is evidence of a test only if it was passed."""
        report = compliance_of(records(STARTED, check))  # type: ignore[arg-type]

        missing = {one.field for one in report.missing}
        assert ("tested: a check that was passed" not in missing) == is_there

    def test_takes_locks_for_resources(self) -> None:
        """Where no change was recorded, what was locked is what was affected."""
        report = compliance_of(records(*EVENTS[:2]))  # type: ignore[arg-type]

        assert {one.field: one.found for one in report.evidence}[
            "affected resource"
        ] == "service:shop"

    def test_needs_the_start(self) -> None:
        """A part of a trail says nothing of the whole."""
        for ask in (compliance_of, lambda some: diff_of(some, some)):
            with pytest.raises(JournalError, match="have none"):
                ask(trail_of()[1:])


def run(
    day: float, status: str, *, hours: float | None = 1, place: str = "production"
) -> RunSummary:
    """Return a run that began on *day* and took *hours*."""
    start = DAY + timedelta(days=day)
    ended = start + timedelta(hours=hours) if hours is not None else None
    return RunSummary(1, "r", "w", place, "2", "shop", "ada", status, start, ended, 9, None, "c1")


class TestDora:
    def test_counts(self) -> None:
        """Each figure is counted by hand here, with what it was counted over."""
        runs = [
            run(0, "succeeded"),
            run(1, "failed"),
            run(1, "succeeded", place="staging"),
            run(1.5, "rolled_back"),
            run(2, "succeeded", hours=2),
            run(3, "cancelled"),
            run(4, "running", hours=None),
            run(5, "rollback_failed"),
        ]

        figures = dora_of(runs, days=10, committed_at=lambda commit: DAY)

        assert (figures.deployment_frequency.value, figures.deployment_frequency.of) == (0.3, 3)
        assert (figures.change_fail_rate.value, figures.change_fail_rate.of) == (50.0, 6)
        # From the first failure on day 1 to the end of the one that mended it, on day 2 at 2:00.
        recovery = figures.failed_deployment_recovery_time
        assert (recovery.value, recovery.of) == (26.0, 1)
        assert figures.deployment_rework_rate.value == pytest.approx(100 / 3)
        assert (figures.change_lead_time.value, figures.change_lead_time.of) == (25.0, 3)
        assert "50 %, over 6 deployments" in str(figures)

    def test_gives_no_figure_over_nothing(self) -> None:
        """Where there is nothing to count over there is no figure, never a zero."""
        figures = dora_of([], days=0)

        assert [getattr(figures, name).value for name in type(figures).__slots__] == [None] * 5
        assert "no figure, over 0" in str(figures)

    def test_knows_no_lead_time_without_commits(self) -> None:
        """Only deployments whose commit time is known have a lead time."""
        assert dora_of([run(0, "succeeded")], days=1).change_lead_time.of == 0
        assert (
            dora_of([run(0, "succeeded")], days=1, committed_at=lambda _: None).change_lead_time.of
            == 0
        )
