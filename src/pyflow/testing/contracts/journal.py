"""What every `Journal` has to keep."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pyflow.errors import JournalError
from pyflow.record.codec import GENESIS, verify_chain
from pyflow.record.events import (
    AttemptFailed,
    ErrorInfo,
    Logged,
    RunFinished,
    RunStarted,
    TaskStarted,
    TaskSucceeded,
)
from pyflow.testing.contracts.rules import AT, check_rules, same

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyflow.protocols import Journal
    from pyflow.record.codec import Record
    from pyflow.record.events import Event

__all__ = ["check_journal"]

EVENTS: tuple[Event, ...] = (
    RunStarted(
        "shop", "f1", {"name": "é漢😀\n\x00"}, {"id": "ada"}, {"ci": {"n": 1.5}}, {"a": "1"}
    ),
    TaskStarted("a", 1, "it has no dependencies"),
    AttemptFailed("a", 1, ErrorInfo("OSError", "no route", "line 1\nline 2"), 0.25),
    Logged("a", "again", {"deep": [{"list": [1, 2.5, None, True, "x"]}]}),
    TaskSucceeded("a", 2, 1e-06, {"host": "eu-1", "ports": [80, 443]}),
    RunFinished("succeeded", 6),
)
"""A short run, with texts, numbers and nesting that storage likes to lose."""


class _Unwritable:
    """What no record can hold."""


def check_journal(make: Callable[[], Journal]) -> None:
    """Check that a journal keeps what `Journal` promises.

    Args:
        make: Returns a new, empty journal at each call.

    Raises:
        AssertionError: Names every rule that is broken, and how.
        DefinitionError: An argument makes no sense, which is no fault of the journal.
    """
    check_rules(_RULES, make)


def _appends(journal: Journal) -> None:
    """`append` returns the records of its events, numbered from 1, with their run and instant."""
    records = [*journal.append("r", EVENTS[:2], at=AT), *journal.append("r", EVENTS[2:], at=AT)]

    same([record.event for record in records], list(EVENTS))
    same([record.seq for record in records], list(range(1, len(EVENTS) + 1)))
    same({(record.run_id, record.at) for record in records}, {("r", AT)})


def _reads(journal: Journal) -> None:
    """`read` returns what `append` returned, in order, in any number of readings."""
    written = _filled(journal)

    same(list(journal.read("r")), written)
    same(list(journal.read("r")), written)


def _reads_after(journal: Journal) -> None:
    """`read(after=n)` leaves out the records up to number n."""
    written = _filled(journal)

    for after in range(len(written) + 2):
        same(list(journal.read("r", after=after)), written[after:])


def _does_not_know(journal: Journal) -> None:
    """A run that was never appended to has no records and is no run, in an empty journal too."""
    same(list(journal.read("r")), [])
    same(list(journal.runs()), [])
    journal.append("r", EVENTS[:1], at=AT)

    same(list(journal.read("other")), [])
    same(list(journal.runs()), ["r"])


def _lists_runs(journal: Journal) -> None:
    """`runs` names the runs in the order in which they began, whatever they are called."""
    for run_id in ("b", "a", "c", "a", "b"):
        journal.append(run_id, EVENTS[1:2], at=AT)

    same(list(journal.runs()), ["b", "a", "c"])


def _keeps_runs_apart(journal: Journal) -> None:
    """Runs that write in turn have a chain each."""
    for event in EVENTS:
        journal.append("r", [event], at=AT)
        journal.append("s", [event], at=AT + timedelta(seconds=1))

    for run_id in ("r", "s"):
        same([record.event for record in journal.read(run_id)], list(EVENTS))
        verify_chain(journal.read(run_id), complete=True)


def _chains(journal: Journal) -> None:
    """The records of a run are chained by hash, from the opening one on."""
    _filled(journal)
    records = journal.read("r")

    same([record.prev for record in records], [GENESIS, *(r.hash for r in records[:-1])])
    verify_chain(records, complete=True)


def _writes_all_or_nothing(journal: Journal) -> None:
    """A commit with an event that cannot be written raises `JournalError` and adds nothing."""
    written = list(journal.append("r", EVENTS[:2], at=AT))
    hopeless = Logged("a", "no", {"thing": _Unwritable()})

    for run_id in ("r", "new"):
        try:
            journal.append(run_id, [EVENTS[2], hopeless], at=AT)
        except JournalError:
            continue
        raise AssertionError("append() took an event that cannot be written")
    same(list(journal.read("r")), written)
    same(list(journal.runs()), ["r"])
    journal.append("r", EVENTS[2:], at=AT)
    verify_chain(journal.read("r"), complete=True)


def _gives_frozen_records(journal: Journal) -> None:
    """Neither records nor the lists of them are a way into the journal."""
    returned = journal.append("r", EVENTS, at=AT)
    for records in (returned, journal.read("r")):
        if isinstance(records, list):
            records.clear()

    same([record.event for record in journal.read("r")], list(EVENTS))
    try:
        journal.read("r")[0].seq = 7  # pyright: ignore[reportAttributeAccessIssue]
    except AttributeError:
        return
    raise AssertionError("a record could be changed")


def _filled(journal: Journal) -> list[Record]:
    return [record for event in EVENTS for record in journal.append("r", [event], at=AT)]


_RULES: tuple[Callable[[Journal], None], ...] = (
    _appends,
    _reads,
    _reads_after,
    _does_not_know,
    _lists_runs,
    _keeps_runs_apart,
    _chains,
    _writes_all_or_nothing,
    _gives_frozen_records,
)
