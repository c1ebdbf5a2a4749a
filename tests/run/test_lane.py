"""One route for one run, in virtual time: tries, waits, order, and what is recorded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pyflow.messages import FIRST, Attempt, Delivery, Message, rejected, retrying, unknown
from pyflow.messages import delivered as ok
from pyflow.notices.route import Route
from pyflow.notices.template import Template
from pyflow.record import events as ev
from pyflow.record.codec import GENESIS, Record, seal
from pyflow.run.lane import BATCH_MAX, Lane
from pyflow.secrets import Redactor
from pyflow.spans import Backoff
from pyflow.testing import VirtualClock, run_virtual
from support.notices import AT
from support.virtual import this_loop

START = ev.RunStarted(
    "shop", "f", {"version": "2.3.1"}, {"id": "ada", "source": "given"}, {}, {"a": "1"}
)
HANGS = object()
NEVER = Delivery("retrying", "never answers", again=True, wait_s=1e9)


class Scripted:
    """Answers as it is told to, and notes when it was asked what."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[float, str, int]] = []
        self.messages: list[Message] = []
        self.attempts: list[Attempt] = []

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        self.asked.append((this_loop().time(), message.event, attempt.number))
        self.messages.append(message)
        self.attempts.append(attempt)
        answer = self.answers.pop(0) if self.answers else ok()
        if isinstance(answer, BaseException):
            raise answer
        if answer is HANGS:
            await asyncio.sleep(1e6)
        return answer


def records(*events: ev.Event) -> list[Record]:
    return seal("r", [START, *events], at=AT, seq=0, prev=GENESIS)


def told(
    notifier: Scripted,
    trail: Sequence[Record],
    *,
    settled: int = 0,
    receipt: dict[str, Any] | None = None,
    redactor: Redactor | None = None,
    note: Callable[[list[ev.Notified]], None] | None = None,
    **route: Any,
) -> list[ev.Notified]:
    """Have *trail* told to *notifier*, and return what was recorded."""
    noted: list[ev.Notified] = []
    options: dict[str, Any] = {"backoff": Backoff("1s", jitter=0), "name": "it", **route}
    lane = Lane(
        Route(notifier, **options),
        "r",
        read=lambda after: trail[after:],
        note=note or noted.extend,
        redactor=redactor or Redactor(),
        clock=VirtualClock(),
        rng=random.Random(0),
        settled=settled,
        receipt=receipt,
    )

    async def run() -> None:
        while await lane.catch_up():
            pass

    run_virtual(run())
    return noted


def results(noted: Sequence[ev.Notified]) -> list[tuple[int, str, int]]:
    return [(one.seq, one.result, one.tries) for one in noted]


class TestOrder:
    def test_in_order(self) -> None:
        """Everything is told in the order in which it happened, and recorded with its stable id."""
        notifier = Scripted()

        noted = told(notifier, records(ev.RunPaused("x"), ev.RunUnpaused(), ev.RunPaused("y")))

        assert [event for _, event, _ in notifier.asked] == [
            "started",
            "paused",
            "unpaused",
            "paused",
        ]
        assert [one.message for one in noted] == ["r-1", "r-2", "r-3", "r-4"]
        assert {one.result for one in noted} == {"delivered"}

    def test_behind_trouble(self) -> None:
        """What happened later waits until what happened before is settled."""
        notifier = Scripted(retrying("down"), retrying("down"))

        noted = told(notifier, records(ev.RunPaused("x")))

        assert notifier.asked == [
            (0, "started", 1),
            (1, "started", 2),
            (3, "started", 3),
            (3, "paused", 1),
        ]
        assert results(noted) == [(1, "retrying", 1), (1, "delivered", 3), (2, "delivered", 1)]

    def test_goes_on(self) -> None:
        """Where this route had come before, it goes on, with what there was to remember."""
        notifier = Scripted()

        noted = told(
            notifier, records(ev.RunPaused("x")), settled=1, receipt={"ts": "7", "channel": "C"}
        )

        assert results(noted) == [(2, "delivered", 1)]
        assert notifier.attempts[0].receipt == {"ts": "7", "channel": "C"}

    def test_receipts(self) -> None:
        """What a delivery leaves to remember is there for all later ones, and recorded."""
        notifier = Scripted(ok(receipt={"ts": "1"}), ok(), ok(receipt={"alert": "k"}))

        trail = records(ev.RunPaused("x"), ev.RunUnpaused(), ev.RunPaused("y"))
        noted = told(notifier, trail)

        assert [a.receipt for a in notifier.attempts] == [
            {},
            {"ts": "1"},
            {"ts": "1"},
            {"ts": "1", "alert": "k"},
        ]
        assert noted[0].receipt == {"ts": "1"}

    def test_filters(self) -> None:
        """What is filtered out is neither told nor recorded, and costs nothing."""
        notifier = Scripted()

        noted = told(notifier, records(ev.RunPaused("x"), ev.RunUnpaused()), events=["paused"])

        assert results(noted) == [(2, "delivered", 1)]

    def test_batches(self) -> None:
        """Where there is much to tell at once, results are recorded together; none is lost."""
        batches: list[int] = []
        trail = records(*[ev.Logged("a", str(n)) for n in range(100)])

        told(Scripted(), trail, events=["started", "logged"], note=lambda e: batches.append(len(e)))

        assert batches == [1, BATCH_MAX, BATCH_MAX, BATCH_MAX, 100 - 3 * BATCH_MAX]


class TestTries:
    def test_retry_after(self) -> None:
        """The service's own wait counts, in place of the backoff."""
        notifier = Scripted(retrying("429", wait_s=42.5))

        told(notifier, records())

        assert [at for at, _, _ in notifier.asked] == [0, 42.5]

    def test_backoff(self) -> None:
        """Without one, waits grow up to their ceiling."""
        notifier = Scripted(*[unknown("500")] * 5)

        told(notifier, records(), backoff=Backoff("1s", ceiling="4s", jitter=0))

        assert [at for at, _, _ in notifier.asked] == [0, 1, 3, 7, 11, 15]

    def test_rejected(self) -> None:
        """What is rejected is final, and the next one goes on."""
        noted = told(Scripted(rejected("no_service")), records(ev.RunPaused("x")))

        assert results(noted) == [(1, "rejected", 1), (2, "delivered", 1)]
        assert noted[0].detail == "no_service"

    def test_accepted(self) -> None:
        """What a service has accepted without saying more is not sent again."""
        noted = told(Scripted(unknown("202", again=False)), records())

        assert results(noted) == [(1, "unknown", 1)]

    @pytest.mark.parametrize(
        ("answer", "result"), [(retrying("down"), "rejected"), (unknown("500"), "unknown")]
    )
    def test_attempts(self, answer: Delivery, result: str) -> None:
        """After its attempts a message is given up; whether it may have arrived is said."""
        noted = told(Scripted(*[answer] * 9), records(), attempts=3)

        assert results(noted) == [(1, "retrying", 1), (1, result, 3)]
        assert noted[1].detail == f"given up after 3 tries: {answer.detail}"

    def test_deadline(self) -> None:
        """No try begins after the deadline, and a wait beyond it is not begun."""
        notifier = Scripted(*[retrying("down")] * 99)

        told(notifier, records(ev.RunPaused("x")), deadline="10s", attempts=99)

        assert [at for at, event, _ in notifier.asked if event == "started"] == [0, 1, 3, 7]

    def test_absurd_wait(self) -> None:
        """A service that asks for more than the deadline is given up at once."""
        noted = told(Scripted(NEVER), records(ev.RunPaused("x")))

        assert results(noted) == [(1, "rejected", 1), (2, "delivered", 1)]

    def test_hangs(self) -> None:
        """A notifier that hangs is cut off a little after its timeout, and tried again."""
        notifier = Scripted(HANGS)

        noted = told(notifier, records(), timeout="5s")

        assert [at for at, _, _ in notifier.asked] == [0, pytest.approx(6.1)]
        assert results(noted) == [(1, "retrying", 1), (1, "delivered", 2)]

    def test_attempt(self) -> None:
        """Each try is told its number, the instant, and the time that it has."""
        notifier = Scripted(retrying("down", wait_s=8.0))

        told(notifier, records(), timeout="5s", deadline="10s")

        assert [a.number for a in notifier.attempts] == [1, 2]
        assert [a.timeout_s for a in notifier.attempts] == [5, 2]
        assert all(a.at is not None for a in notifier.attempts)

    @pytest.mark.parametrize(
        "answer", [ValueError("odd"), RuntimeError(), None, "delivered", 7], ids=repr
    )
    def test_bad_notifier(self, answer: Any) -> None:
        """A notifier that raises, or returns anything else, spoils nothing but its own delivery."""
        noted = told(Scripted(answer), records(ev.RunPaused("x")))

        assert noted[-1].result == "delivered"
        assert noted[0].result in ("retrying", "unknown")
        assert "the notifier" in str(noted[0].detail)


class TestSecrets:
    def test_masked(self) -> None:
        """A secret that words of the user's own would show is masked, and so is one in a detail."""
        redactor = Redactor()
        redactor.register("hunter2-hunter2")
        notifier = Scripted(rejected("no such token: hunter2-hunter2"))

        noted = told(
            notifier,
            records(),
            redactor=redactor,
            template=Template("hunter2-hunter2", "aHVudGVyMi1odW50ZXIy"),
        )

        assert (notifier.messages[0].title, notifier.messages[0].text) == ("***", "***")
        assert noted[0].detail == "no such token: ***"
