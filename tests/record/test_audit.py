"""The audit trail, as a person reads it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pyflow.errors import JournalError, TamperedJournal
from pyflow.record import events as ev
from pyflow.record.audit import AuditTrail
from pyflow.record.codec import GENESIS, seal
from support.trails import AT, EVENTS, STARTED, TIMEOUT, trail_of

TRAIL = trail_of()
PART = TRAIL[3:]

PRINTED = """\
run r1 of shop
  started      2026-01-02 03:04:05 UTC on ci-7
  initiator    ada (given)
  environment  production (high)
  parameters   version=2.3.1, replicas=2, token=***
  pipeline     https://ci/1

 #       time  what               task        detail
──  ─────────  ─────────────────  ──────────  ────────────────────────────────────────
 1   +0.000 s  run started                    2 tasks, plan 0123456789ab
 2   +1.000 s  lock acquired                  service:shop, epoch 3
 3   +2.000 s  task started       build       attempt 1: it has no dependencies
 4   +3.000 s  attempt failed     build       attempt 1 after 250.0 ms: OSError: no route to host
 5   +4.000 s  retry scheduled    build       attempt 2 in 1.500 s
 6   +5.000 s  task started       build       attempt 2: it is tried again
 7   +6.000 s  logged             build       pulled {"layers": 3}
 8   +7.000 s  task succeeded     build       in 12.3 ms, gave {"image": "shop:2.3.1"}
 9   +8.000 s  map expanded       deploy      2 items
10   +9.000 s  task started       deploy[eu]  attempt 1: its dependencies succeeded
11  +10.000 s  change recorded    deploy[eu]  weights: {"canary": 0} -> {"canary": 5}
12  +11.000 s  reading taken      deploy[eu]  unhealthy after 3 looks, {"status": 503}, says http
13  +12.000 s  task failed        deploy[eu]  no attempt is left: OSError: no route to host
14  +13.000 s  intent raised      deploy[eu]  rollback: a task failed
15  +14.000 s  undo started       deploy[eu]  attempt 1
16  +15.000 s  undo succeeded     deploy[eu]  in 2.500 s
17  +16.000 s  outcome decided                rolled_back: deploy[eu] failed; no undo for build
18  +17.000 s  finalizer started  report
19  +18.000 s  finalizer failed   report      OSError: no route to host
20  +19.000 s  lock released                  service:shop, epoch 3
21  +20.000 s  run finished                   rolled_back, 21 records
"""

HOSTILE = {
    "newline": "one\r\ntwo\x0b\x0c\x1c\x85\u2028\u2029three",
    "escape": "\x1b[2J\x1b]0;owned\x07\x9b31m\x00\x08\x7f",
    "direction": "\u202egnp.exe\u2066\u200f\u061c",
    "invisible": "a\u200bb\u00adc\ufeff",
    "surrogate": "lone \ud800 and \udfff",
    "row": "x\n 99  +1.000 s  run finished    succeeded",
    "long": "word " * 100_000,
    "unbroken": "x" * 100_000,
    "wide": "漢" * 500,
    "zalgo": "e" + "\u0301" * 5_000,
}
"""What a text may hold that could break a table or a terminal."""


def printed(*events: ev.Event) -> list[str]:
    return str(trail_of(events)).split("\n")


def detail(event: ev.Event) -> str:
    """Return the last column of the row of *event*."""
    head, _, row = printed(event)[-3:]
    return row[head.index("detail") :]


class TestSequence:
    def test_items(self) -> None:
        """A trail is the sequence of its records."""
        assert len(TRAIL) == len(EVENTS)
        assert [record.event for record in TRAIL] == list(EVENTS)
        assert TRAIL[0].event is STARTED
        assert TRAIL[0] in TRAIL

    def test_slice(self) -> None:
        """A part of a trail is a trail."""
        assert isinstance(PART, AuditTrail)
        assert PART[0] == TRAIL[3]
        with pytest.raises(IndexError):
            TRAIL[99]

    def test_equal(self) -> None:
        """Trails of equal records are equal, and no trail equals a list."""
        assert trail_of() == TRAIL != PART
        assert hash(trail_of()) == hash(TRAIL) != hash(AuditTrail([]))
        assert list(TRAIL) != TRAIL

    def test_repr(self) -> None:
        """The repr is short."""
        assert repr(TRAIL) == "<AuditTrail run='r1' records=21>"
        assert repr(AuditTrail([])) == "<AuditTrail records=0>"


class TestAnswers:
    def test_opening(self) -> None:
        """Who asked, with what, and where, is what the run's start recorded."""
        assert TRAIL.who == {"id": "ada", "source": "given"}
        assert TRAIL.params["token"] == {"$secret": "env:TOKEN"}
        assert TRAIL.environment == {"name": "production", "tier": "high"}

    def test_copies(self) -> None:
        """What a reader does with an answer does not change the record."""
        for answer in (TRAIL.who, TRAIL.params, TRAIL.environment or {}):
            answer.clear()
        TRAIL.params["token"]["$secret"] = "other"

        TRAIL.verify()

    @pytest.mark.parametrize("question", ["who", "params", "environment"])
    @pytest.mark.parametrize("trail", [PART, AuditTrail([])], ids=["part", "empty"])
    def test_no_opening(self, question: str, trail: AuditTrail) -> None:
        """A part of a trail does not know how the run began, and says so."""
        with pytest.raises(JournalError, match="does not begin with run_started"):
            getattr(trail, question)

    def test_outcome(self) -> None:
        """The outcome is the status that the run ended with."""
        assert TRAIL.outcome == "rolled_back"
        assert TRAIL[:-1].outcome is None
        assert AuditTrail([]).outcome is None

    def test_changes(self) -> None:
        """Every change of the world is there, before and after."""
        assert [(c.data["before"], c.data["after"]) for c in TRAIL.changes] == [
            ({"canary": 0}, {"canary": 5})
        ]
        assert TRAIL[:5].changes == ()


class TestQuery:
    def test_task(self) -> None:
        """The records of a task; those of a map include its items'."""
        assert {record.task for record in TRAIL.query(task="build")} == {"build"}
        assert {r.task for r in TRAIL.query(task="deploy")} == {"deploy", "deploy[eu]"}
        assert {r.task for r in TRAIL.query(task="deploy[eu]")} == {"deploy[eu]"}

    def test_near_name(self) -> None:
        """A task whose name begins alike is another task."""
        trail = trail_of((ev.TaskSkipped("build_all", ""), ev.TaskSkipped("build", "")))

        assert [r.task for r in trail.query(task="build")] == ["build"]
        assert trail.query(task="") == ()

    def test_kind(self) -> None:
        """The records of one kind."""
        assert [r.seq for r in TRAIL.query(kind="task_started")] == [3, 6, 10]

    def test_since(self) -> None:
        """What was recorded at an instant or later."""
        assert [r.seq for r in TRAIL.query(since=AT + timedelta(seconds=19))] == [20, 21]

    def test_all_conditions(self) -> None:
        """Every condition given has to hold."""
        since = AT + timedelta(seconds=3)

        assert [r.seq for r in TRAIL.query(task="build", kind="task_started", since=since)] == [6]
        assert len(TRAIL.query()) == len(TRAIL)

    def test_refuses(self) -> None:
        """A kind that does not exist, and an instant without a zone, are no questions."""
        with pytest.raises(JournalError, match=r"no kind 'task_danced' .* run_started, "):
            TRAIL.query(kind="task_danced")
        with pytest.raises(JournalError, match="no time zone"):
            TRAIL.query(since=AT.replace(tzinfo=None))


class TestVerify:
    def test_complete(self) -> None:
        """A whole trail verifies; one that lacks its end only without *complete*."""
        TRAIL.verify()
        TRAIL[:-1].verify(complete=False)

        with pytest.raises(TamperedJournal):
            TRAIL[:-1].verify()

    def test_part(self) -> None:
        """A part from the middle is no chain."""
        with pytest.raises(TamperedJournal, match="has number 4"):
            PART.verify()


class TestJsonl:
    def test_round_trip(self) -> None:
        """A trail reads back as it was written, a record a line."""
        text = TRAIL.to_jsonl()

        assert AuditTrail.from_jsonl(text) == TRAIL
        assert text.count("\n") == len(TRAIL)
        assert text.isascii()

    def test_empty(self) -> None:
        """An empty trail is an empty text."""
        assert AuditTrail([]).to_jsonl() == ""
        assert AuditTrail.from_jsonl("") == AuditTrail([])

    def test_hostile(self) -> None:
        """Texts that hold line ends of any sort stay in their line."""
        trail = trail_of([ev.Logged("a", text) for text in HOSTILE.values()])

        assert AuditTrail.from_jsonl(trail.to_jsonl()) == trail

    def test_names_the_line(self) -> None:
        """A line that is no record is named."""
        with pytest.raises(JournalError, match="not a record") as caught:
            AuditTrail.from_jsonl(TRAIL[:2].to_jsonl() + "{}\n")

        assert caught.value.__notes__ == ["in line 3: '{}'"]

    @pytest.mark.parametrize("end", ["\x0b", "\x85", "\u2028", "\r\n"])
    def test_other_line_ends(self, end: str) -> None:
        """Only a line feed ends a line."""
        with pytest.raises(JournalError):
            AuditTrail.from_jsonl(TRAIL.to_jsonl().replace("\n", end, 1))

    def test_cut(self) -> None:
        """A last line without its end was cut."""
        with pytest.raises(JournalError, match="line 21 has no end"):
            AuditTrail.from_jsonl(TRAIL.to_jsonl()[:-1])


class TestPrint:
    def test_golden(self) -> None:
        """A printed trail says who did what, when, where, and what came of it."""
        assert str(TRAIL) == PRINTED.rstrip("\n")

    def test_empty(self) -> None:
        """An empty trail says so."""
        assert str(AuditTrail([])) == "an empty audit trail"

    def test_part(self) -> None:
        """A part of a trail says that it is one."""
        assert str(PART).startswith("run r1 (a part of its trail)\n\n")

    def test_bare_opening(self) -> None:
        """What the start of a run does not tell is left out."""
        bare = ev.RunStarted("w", "f", {}, {}, {}, {})

        assert printed(bare)[:4] == [
            "run r1 of w",
            "  started      2026-01-02 03:04:05 UTC on an unknown host",
            "  initiator    None (None)",
            "",
        ]

    def test_other_opening(self) -> None:
        """An environment may lack a tier, and a pipeline its address."""
        event = ev.RunStarted(
            "w", "f", {}, {}, {"ci": {"system": "jenkins"}}, {}, environment={"name": "dev"}
        )

        assert printed(event)[3:5] == ["  environment  dev", "  pipeline     jenkins"]

    def test_clock_goes_back(self) -> None:
        """A time before the start has a minus sign."""
        opening = seal("r", EVENTS[:1], at=AT, seq=0, prev=GENESIS)
        later = seal("r", EVENTS[1:2], at=AT - timedelta(seconds=1), seq=1, prev=opening[0].hash)

        assert "-1.000 s" in str(AuditTrail([*opening, *later]))

    @pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
    def test_hostile(self, text: str) -> None:
        """Whatever a text holds, each record is one visible line, and the columns stand."""
        opening = ev.RunStarted(
            text,
            text,
            {text: text},
            {"id": text, "source": text},
            {"host": text},
            {},
            environment={"name": text, "tier": text},
        )
        events = [
            opening,
            ev.TaskStarted(text, 1, text),
            ev.TaskFailed(text, text, ev.ErrorInfo(text, text)),
            ev.FinalizerStarted(text),
            ev.TaskSucceeded("b", 1, 0.5, {text: [text]}),
        ]

        lines = printed(*events)

        assert all(line.isprintable() for line in lines)
        assert lines.index("") == 5
        assert len(lines) == 6 + 2 + len(events)
        assert [line.split()[0] for line in lines[-5:]] == ["1", "2", "3", "4", "5"]
        assert max(map(len, lines)) <= 220
        "\n".join(lines).encode()

    def test_wide_columns(self) -> None:
        """Characters that take two columns, or none, keep the table straight."""
        rows = printed(
            ev.TaskSkipped("plain", "x"),
            ev.TaskSkipped("漢字", "x"),
            ev.TaskSkipped("e\u0301", "x"),
        )[-3:]

        assert [row[row.index("task skipped") :] for row in rows] == [
            "task skipped  plain  x",
            "task skipped  漢字   x",
            "task skipped  e\u0301      x",
        ]

    def test_cut(self) -> None:
        """A long detail is cut, and shows that it was."""
        assert detail(ev.TaskSkipped("a", "x" * 110)) == "x" * 110
        assert detail(ev.TaskSkipped("a", "x" * 111)) == "x" * 109 + "…"
        assert detail(ev.TaskSkipped("a", "漢" * 56)) == "漢" * 54 + "…"


DETAILS: list[tuple[ev.Event, str]] = [
    (ev.RunResumed({"id": "bob"}, {}), "by bob"),
    (ev.RunPaused("why", "bob"), "by bob: why"),
    (ev.RunUnpaused(), ""),
    (ev.RunUnpaused(by="bob"), "by bob"),
    (ev.IntentRaised("hold", "why", by="bob"), "hold: by bob: why"),
    (ev.IntentRaised("hold", ""), "hold"),
    (ev.HoldReleased("retry", "a"), "retry"),
    (ev.PassedOver("skip", ["a", "b"], "bob", "why"), "skip by bob: why: a, b"),
    (ev.CommandReceived("pause", accepted=True), "pause"),
    (ev.CommandReceived("skip", True, "bob", "why", "a"), "skip a, by bob: why"),
    (ev.CommandReceived("skip", accepted=False, note="too late"), "skip (refused: too late)"),
    (ev.CommandReceived("skip", accepted=False), "skip (refused)"),
    (
        ev.OutcomeDecided("rollback_failed", "why", ["a", "b"], ["c"]),
        "rollback_failed: why; still applied: a, b; no undo for c",
    ),
    (ev.OutcomeDecided("succeeded", "why"), "succeeded: why"),
    (ev.RunFinished("succeeded", 1), "succeeded, 1 record"),
    (ev.TaskSucceeded("a", 1, 1.5), "in 1.500 s"),
    (ev.TaskSucceeded("a", 1, 0.5, "x", repaired=True), "repaired, in 500.0 ms, gave x"),
    (ev.TaskSucceeded("a", 1, 0.5, {"$secret": "env:X"}), "in 500.0 ms, gave ***"),
    (ev.TaskSucceeded("a", 1, 0.5, {"$object": "<P>"}), "in 500.0 ms, gave <P>"),
    (ev.TaskSucceeded("a", 1, 0.5, {"$object": 1, "b": 2}), 'in 500.0 ms, gave {"$object": 1, "b": 2}'),
    (ev.AttemptFailed("a", 1, TIMEOUT, 2.0), "attempt 1 after 2.000 s: OSError: no route to host"),
    (ev.TaskFailed("a", "why"), "why"),
    (ev.TaskFailed("a", "", ev.ErrorInfo("KeyError", "")), "KeyError"),
    (ev.FailureDeferred("a", ["b", "c"]), "left to b, c"),
    (ev.FailureHandled("a", "b"), "by b"),
    (ev.TaskBlocked("a", "why"), "why"),
    (ev.TaskCancelled("a", "why"), "why"),
    (ev.TaskInterrupted("a", 2, "why"), "attempt 2: why"),
    (ev.InterruptResolved("a", "applied", "exists"), "applied, exists"),
    (ev.InterruptResolved("a", "applied", "person", by="bob", reason="saw"), "applied, by bob: saw"),
    (ev.MapExpanded("a", ["a[1]"], [1]), "1 item"),
    (ev.RepairStarted("a", 0, "fix"), "fix"),
    (ev.RepairSucceeded("a", 0, 0.5, "retry"), "in 500.0 ms, then retry"),
    (ev.RepairFailed("a", 0, TIMEOUT, 0.5), "OSError: no route to host"),
    (ev.UndoAttemptFailed("a", 1, TIMEOUT, 0.5), "attempt 1 after 500.0 ms: OSError: no route to host"),
    (ev.UndoRetryScheduled("a", 2, 0.5), "attempt 2 in 500.0 ms"),
    (ev.UndoFailed("a", "why"), "why"),
    (ev.UndoBlocked("a", ["b"], "why"), "why"),
    (ev.FinalizerSucceeded("f", 0.5), "in 500.0 ms"),
    (ev.ChangeRecorded("a", "r", None, 1.5), "r: none -> 1.5"),
    (ev.ReadingTaken("a", "http", "healthy"), "healthy, says http"),
    (ev.ReadingTaken("a", "http", "healthy", {"s": 1}, 1), 'healthy after 1 look, {"s": 1}, says http'),
    (ev.MeasurementTaken("a", "p99", 2, "pass", "go_on"), "p99 2: pass"),
    (
        ev.MeasurementTaken("a", "p99", 2, "no_data", "again", {}, {"reason": "none"}),
        "p99 2: no_data, then again: none",
    ),
    (ev.Logged("a", "m"), "m"),
    (ev.Logged("a", "m", {"k": "v"}), 'm {"k": "v"}'),
    (ev.CheckpointSaved("a", "k", [1]), "k=[1]"),
    (ev.ApprovalRequested("a", "go?", "d"), "go?"),
    (ev.ApprovalAnswered("a", "approve", "d", "bob", "ok"), "approve by bob: ok"),
    (ev.HolderAsked("r", 3, "r1"), "run r1, which has r, to cancel"),
    (ev.HolderAsked("r", 3, "r1", "rollback"), "run r1, which has r, to roll back"),
    (ev.LockBroken("r", 3, "bob", "why"), "r, by bob: why"),
    (ev.NotificationsOpened(["slack", "mail"]), "slack, mail"),
    (
        ev.Notified("slack", 3, "r-3", "failed", "rejected", 1, "no_service"),
        "slack: failed of record 3 rejected: no_service",
    ),
    (ev.NotificationsClosed(9), "up to record 9"),
    (
        ev.RecordsArchived("a.gz", "d", 12, 40, ["r1"], [], "old", "ada"),
        "1 run, 12 records up to 40, in a.gz by ada",
    ),
    (ev.LeftoverEnded("a"), ""),
]  # fmt: skip


class TestDetail:
    @pytest.mark.parametrize(("event", "expected"), DETAILS, ids=lambda e: getattr(e, "kind", ""))
    def test_words(self, event: ev.Event, expected: str) -> None:
        """Each kind of record has its own words."""
        assert detail(event) == expected

    def test_every_kind(self) -> None:
        """No kind is without an example here or in the golden trail."""
        shown = {event.kind for event, _ in DETAILS} | {record.kind for record in TRAIL}

        assert shown == set(ev.EVENTS) - {"task_skipped"}

    def test_wrong_types(self) -> None:
        """A record whose fields are of other types than ours prints all the same."""
        wrong: Any = ev.TaskSucceeded("a", 1, "***")  # pyright: ignore[reportArgumentType]

        assert detail(wrong).startswith("TaskSucceeded(task='a', attempt=1, duration_s='***'")
