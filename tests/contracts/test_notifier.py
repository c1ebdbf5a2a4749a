"""The contract of a notifier, over what keeps it and over what breaks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pyflow.messages import FIRST, Attempt, Delivery, Message, delivered
from pyflow.notices.wording import NOTICES
from pyflow.protocols import Notifier
from pyflow.testing.contracts import check_notifier
from pyflow.testing.contracts import notifier as suite
from pyflow.testing.loop import run_virtual
from support.contracts import Broken, assert_breaks, ids, never_broken


class Diary:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Any:
        self.told.append(message.id)
        return delivered()


class Picky(Diary):
    """Has no words for one kind of event."""

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Any:
        if message.event == "undo_failed":
            raise KeyError(message.event)
        return await super().notify(message, attempt)


class Strict(Diary):
    """Takes a repeat for a mistake."""

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Any:
        if message.id in self.told:
            raise ValueError("told already")
        return await super().notify(message, attempt)


class Silent(Diary):
    """Does not say what came of it."""

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Any:
        await super().notify(message, attempt)


class Demanding(Diary):
    """Has to be told of the attempt."""

    async def notify(self, message: Message, attempt: Attempt, /) -> Any:
        return await super().notify(message, attempt)


class Loses(Diary):
    """Keeps one kind of event to itself."""

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        if message.event != "paused":
            await super().notify(message, attempt)
        return delivered()


class Shuffles(Diary):
    """Tells of the end before it tells of the rest."""

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        await super().notify(message, attempt)
        self.told.sort(key=lambda told: not told.endswith("-3"))
        return delivered()


class Confuses(Diary):
    """Takes what has the same number for a repeat."""

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        if message.id[-2:] not in [told[-2:] for told in self.told]:
            await super().notify(message, attempt)
        return delivered()


BROKEN: list[Broken] = [
    (Strict, ["taken again"]),
    (Silent, ["returns a `Delivery`"]),
    (Picky, ["every kind of event"]),
    (Demanding, ["may be left out"]),
]
UNDELIVERED: list[Broken] = [
    (Loses, ["is delivered, in order"]),
    (Shuffles, ["is delivered, in order"]),
    (Confuses, ["told apart"]),
]


def told(notifier: Notifier) -> Sequence[str]:
    assert isinstance(notifier, Diary)
    return notifier.told


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

        assert_breaks(check, ["every kind of event", "is delivered, in order"])

    def test_every_event(self) -> None:
        """The messages are about every kind of event that people are told about, and some are long."""
        messages = suite.messages_of("r")

        assert [message.event for message in messages] == list(NOTICES)
        assert max(len(message.text) for message in messages) > 20_000
