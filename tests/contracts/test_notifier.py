"""The contract of a notifier, over what keeps it and over what breaks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pyflow.protocols import Notifier
from pyflow.record import events as ev
from pyflow.record.codec import Record
from pyflow.testing.contracts import check_notifier
from pyflow.testing.contracts import notifier as suite
from pyflow.testing.loop import run_virtual
from support.contracts import Broken, assert_breaks, ids, never_broken


class Diary:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def notify(self, record: Record, /) -> Any:
        self.records.append(record)


class Picky(Diary):
    """Has no words for one kind of record."""

    async def notify(self, record: Record, /) -> Any:
        if record.kind == "lock_broken":
            raise KeyError(record.kind)
        await super().notify(record)


class Strict(Diary):
    """Takes a repeat for a mistake."""

    async def notify(self, record: Record, /) -> Any:
        if record in self.records:
            raise ValueError("told already")
        await super().notify(record)


class Chatty(Diary):
    """Returns what it has sent."""

    async def notify(self, record: Record, /) -> Any:
        await super().notify(record)
        return record


class Loses(Diary):
    """Keeps one kind of record to itself."""

    async def notify(self, record: Record, /) -> Any:
        if record.kind != "run_paused":
            await super().notify(record)


class Shuffles(Diary):
    """Tells that a lock was taken before it tells why."""

    async def notify(self, record: Record, /) -> Any:
        await super().notify(record)
        self.records.sort(key=lambda told: told.kind != "lock_acquired")


class Confuses(Diary):
    """Takes what has the same number for a repeat."""

    async def notify(self, record: Record, /) -> Any:
        if record.seq not in [told.seq for told in self.records]:
            await super().notify(record)


BROKEN: list[Broken] = [
    (Strict, ["taken again"]),
    (Chatty, ["returns None"]),
    (Picky, ["of every kind"]),
]
UNDELIVERED: list[Broken] = [
    (Loses, ["is delivered, in order"]),
    (Shuffles, ["is delivered, in order"]),
    (Confuses, ["told apart"]),
]


def told(notifier: Notifier) -> Sequence[Record]:
    assert isinstance(notifier, Diary)
    return notifier.records


class TestCheckNotifier:
    def test_passes(self) -> None:
        """A notifier that notes everything keeps the contract."""
        run_virtual(check_notifier(Diary))
        run_virtual(check_notifier(Diary, delivered=told))

    @pytest.mark.parametrize(("broken", "rules"), BROKEN, ids=ids)
    def test_catches(self, broken: Any, rules: Sequence[str]) -> None:
        """A notifier that breaks a rule is caught, and the rule is named."""
        assert_breaks(lambda: run_virtual(check_notifier(broken)), rules)

    @pytest.mark.parametrize(("broken", "rules"), UNDELIVERED, ids=ids)
    def test_undelivered(self, broken: Any, rules: Sequence[str]) -> None:
        """What was taken and not delivered is caught where it can be seen."""
        run_virtual(check_notifier(broken))

        assert_breaks(lambda: run_virtual(check_notifier(broken, delivered=told)), rules)

    def test_every_rule(self) -> None:
        """Every rule is broken by one of the notifiers above."""
        rules = [*suite._RULES, *suite._DELIVERY_RULES]

        assert never_broken(rules, BROKEN + UNDELIVERED) == []

    def test_both_at_once(self) -> None:
        """Rules of both sorts are reported together."""
        check = lambda: run_virtual(check_notifier(Picky, delivered=told))  # noqa: E731

        assert_breaks(check, ["of every kind", "is delivered, in order"])

    def test_every_kind(self) -> None:
        """The records are of every kind that is not about one task."""
        kinds = {kind for kind, cls in ev.EVENTS.items() if not issubclass(cls, ev.TaskEvent)}

        assert {event.kind for event in suite.EVENTS} == kinds
