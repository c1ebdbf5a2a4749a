"""Records that are sealed when they are looked at: the same records, and none before."""

from __future__ import annotations

from datetime import timedelta

import pytest

import pyflow
from pyflow.record.codec import seal
from pyflow.record.memory import MemoryJournal
from pyflow.testing import drafts, simulate
from pyflow.testing.contracts import journal as contract
from pyflow.testing.contracts.rules import AT
from pyflow.testing.drafts import DraftJournal
from pyflow.testing.simulation import SimulatedEngine

RULES = [
    rule
    for rule in contract._RULES
    if rule is not contract._writes_all_or_nothing  # the engine's events can all be written
]


def workflow() -> pyflow.Workflow:
    """Return a workflow whose run has several records."""
    wf = pyflow.Workflow("release")
    wf.add_task("build", lambda: {"image": "shop:2.0"})
    wf.add_task("deploy", lambda: None, depends_on=["build"])
    return wf


class TestDraftJournal:
    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
    def test_keeps_the_contract(self, rule) -> None:
        """It is a journal like any other for whoever writes what an engine writes."""
        rule(DraftJournal())

    def test_holds_what_memory_holds(self) -> None:
        """What is read in the end is equal to the byte to what was sealed at once."""
        late, at_once = DraftJournal(), MemoryJournal()

        trails = [
            SimulatedEngine(journal=journal).execute(workflow()).audit_trail
            for journal in (late, at_once)
        ]

        assert trails[0].to_jsonl() == trails[1].to_jsonl()
        trails[0].verify()

    def test_keeps_the_instant_of_each_commit(self) -> None:
        """Commits that are sealed together have the instants at which they were made."""
        late, at_once = DraftJournal(), MemoryJournal()
        for journal in (late, at_once):
            journal.append("r", contract.EVENTS[:2], at=AT)
            journal.append("r", contract.EVENTS[2:], at=AT + timedelta(hours=1))

        assert list(late.read("r")) == list(at_once.read("r"))
        assert len({record.at for record in late.read("r")}) == 2

    def test_seals_nothing_that_nobody_reads(self, monkeypatch) -> None:
        """A run is simulated without the hash of a single record; reading makes each one once."""
        made: list[int] = []

        def noted(run_id, events, **where):
            made.extend(where["seq"] + number for number in range(len(events)))
            return seal(run_id, events, **where)

        monkeypatch.setattr(drafts, "seal", noted)

        result = simulate(workflow())
        before = list(made)
        total = len(list(result.audit_trail))
        result.audit_trail.verify()

        assert before == []
        assert made == list(range(total))

    def test_gives_snapshots(self) -> None:
        """What was read stays as it was, whatever is added later."""
        journal = DraftJournal()
        journal.append("r", contract.EVENTS[:2], at=AT)
        early = journal.read("r")

        journal.append("r", contract.EVENTS[2:], at=AT)

        assert len(early) == len(list(early)) == 2
        assert early[0].seq == 1
        assert [record.seq for record in early[1:]] == [2]

    def test_says_what_it_is(self) -> None:
        """The repr counts the runs."""
        journal = DraftJournal()
        journal.append("r", contract.EVENTS[:1], at=AT)

        assert repr(journal) == "<DraftJournal runs=1>"
        assert journal.read("r") != "r"
        assert journal.read("r") == MemoryJournal().append("r", contract.EVENTS[:1], at=AT)
