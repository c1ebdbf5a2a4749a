"""Faults by script: where they can happen, what they do there, and what is no fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import pyflow
from pyflow.testing import (
    Fault,
    SimulatedFault,
    SimulationDeadlock,
    SimulationError,
    fails,
    simulate,
)
from pyflow.testing.faults import NO_FAULTS, act_of
from support.runs import Journal, statuses
from support.simulated import (
    message,
    nothing_behind,
    rollout,
    single,
)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with nothing_behind(caplog):
        yield


class TestFaults:
    def test_begins(self) -> None:
        """A call may fail as it begins, so nothing of it is done; the next try is spared."""
        did = Journal()
        fault = Fault("deploy#1 begins", "fails")

        result = simulate(rollout(did), faults=[fault])

        assert result.status == "succeeded"
        assert result.faults == (fault,)
        assert result.order == ("build", "deploy", "deploy", "check", "finalizer report")
        assert did.done.count("deploy") == 1
        failed = result.audit_trail.query(kind="attempt_failed")[0]
        assert failed.data["error"]["type"].endswith("SimulatedFault")

    def test_ends(self) -> None:
        """A call may fail as it ends, so all of it is done."""
        did = Journal()

        result = simulate(rollout(did), faults=[Fault("deploy#1 ends", "applied_then_fails")])

        assert result.tasks["deploy"].attempts == 2
        assert did.done.count("deploy") == 2

    @pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "async"])
    def test_hangs(self, asynchronous: bool) -> None:
        """A call may never begin, until its timeout; what has none waits for ever."""
        fn = None if asynchronous else lambda: None
        faults = [Fault("deploy#1 begins", "hangs")]

        result = simulate(single(fn, timeout="1m"), faults=faults)

        assert "took longer than its timeout of 60 s" in message(result)
        with pytest.raises(SimulationDeadlock):
            simulate(single(fn), faults=faults)

    def test_of_undo(self) -> None:
        """An undo has points as well."""
        result = simulate(
            rollout(),
            faults=[Fault("check#1 begins", "fails"), Fault("undo of deploy#1 begins", "fails")],
        )

        assert result.status == "rollback_failed"
        assert result.residue == ("deploy",)
        assert isinstance(result.recovery_errors["deploy"].__cause__, SimulatedFault)

    def test_of_every_kind_of_function(self) -> None:
        """Repairs, conditions, finalizers and items have points, and each is named."""
        workflow = pyflow.Workflow("w", on_failure="continue")
        workflow.add_map("deploy", lambda item: item, over=["eu", "us"], when=lambda: True)
        workflow.add_recovery("deploy", lambda item: item, then="continue")
        workflow.add_task("maybe", lambda: None, when=lambda: True)
        workflow.add_finalizer("report", lambda: None)

        result = simulate(
            workflow,
            faults=[
                Fault("deploy[eu]#1 begins", "fails"),
                Fault("repair of deploy[eu]#1 ends", "applied_then_fails"),
                Fault("when= of maybe#1 begins", "fails"),
                Fault("finalizer report#1 ends", "applied_then_fails"),
            ],
        )

        assert statuses(result) == {
            "deploy": "failed",
            "maybe": "failed",
            "deploy[eu]": "failed",
            "deploy[us]": "succeeded",
        }
        assert list(result.finalizer_errors) == ["report"]

    def test_outrank_fakes(self) -> None:
        """A fault at a point comes before the fake that is called there, which counts its call."""
        result = simulate(
            rollout(),
            fakes={"deploy": fails(OSError("fake"), times=2)},
            faults=[Fault("deploy#1 begins", "fails")],
        )

        errors = [
            r.data["error"]["message"] for r in result.audit_trail.query(kind="attempt_failed")
        ]
        assert errors == ["injected by the simulation", "fake"]
        assert result.tasks["deploy"].attempts == 3

    @pytest.mark.parametrize(
        ("point", "near"),
        [
            ("deploy#2 begins", "deploy#1 begins"),
            ("deplyo#1 ends", "deploy#1 ends"),
            ("undo of deploy#1 begins", "deploy#1 begins"),
        ],
    )
    def test_not_reached(self, point: str, near: str) -> None:
        """A fault at a point that the run never reached is an error, with the nearest that it did."""
        with pytest.raises(SimulationError) as caught:
            simulate(rollout(), faults=[Fault(point, "fails")])

        assert str(caught.value) == (
            f"the run never reached the point {point!r}; the nearest that it did reach is {near!r}"
        )

    def test_conditions_have_no_end(self) -> None:
        """A condition applies nothing, so there is no point at which it could fail after that."""
        workflow = single(when=lambda: True)

        with pytest.raises(
            SimulationError, match="never reached the point 'when= of deploy#1 ends'"
        ):
            simulate(workflow, faults=[Fault("when= of deploy#1 ends", "applied_then_fails")])

    def test_not_reached_and_unlike(self) -> None:
        """Where no point is near, none is named."""
        with pytest.raises(SimulationError, match=r"never reached the point 'xyz'$"):
            simulate(rollout(), faults=[Fault("xyz", "fails")])

    @pytest.mark.parametrize(
        ("point", "kind", "kinds"),
        [
            ("deploy#1 begins", "stale", "fails, hangs"),
            ("deploy#1 begins", "applied_then_fails", "fails, hangs"),
            ("deploy#1 ends", "fails", "applied_then_fails"),
            ("when= of last#1 begins", "hangs", "fails"),
        ],
    )
    def test_impossible(self, point: str, kind: Any, kinds: str) -> None:
        """A fault that cannot happen at its point is an error, though a retry would get over it."""
        workflow = rollout()
        workflow.add_task("last", lambda: None, when=lambda: True, depends_on=["check"])

        with pytest.raises(SimulationError) as caught:
            simulate(workflow, faults=[Fault(point, kind)])

        assert str(caught.value) == f"{kind!r} cannot happen at {point!r}; it can be: {kinds}"

    def test_impossible_and_got_over(self) -> None:
        """The error does not get lost where later tries fail of something else."""
        with pytest.raises(SimulationError, match="'stale' cannot happen at 'deploy#1 begins'"):
            simulate(
                rollout(),
                fakes={"deploy": fails(OSError)},
                faults=[Fault("deploy#1 begins", "stale")],
            )

    def test_impossible_call(self) -> None:
        """What happens to a run is nothing that a call can come to."""
        with pytest.raises(SimulationError, match="'crash' is nothing that a call can come to"):
            act_of("crash")

    def test_none(self) -> None:
        """Without faults nothing goes wrong anywhere."""
        assert NO_FAULTS.choose("deploy#1 begins", ("fails",)) is None
