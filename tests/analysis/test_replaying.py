"""Every verdict is derived again from the trail, bit for bit; and a run that was cut off goes on."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any

import pytest

import pyflow
from pyflow.analysis import (
    Alarm,
    Compare,
    CompareValues,
    Counts,
    Custom,
    FixedSample,
    Judgement,
    Threshold,
    analysis,
    replay,
)
from pyflow.errors import JournalError
from pyflow.frozen import replace
from pyflow.metrics import MetricProbe
from pyflow.testing import VirtualClock, run_virtual
from support.crashes import Disk
from support.measured import Told, analysed, measurements, says, traffic, verdicts, workflow_of


def latencies(seed: int) -> Told:
    rng = random.Random(seed)
    return Told(lambda query, now_s: rng.lognormvariate(0, 0.3) * (1.1 if "2.0" in query else 1))


def every_kind() -> list[Any]:
    """Return a check of every kind, none of which ends the others."""
    return [
        Threshold(latencies(1), "p50", above=0, interval="20s", count=9, take="mean"),
        Compare(
            traffic(0.02), "errors $version", "requests $version", max_increase=0.2, interval="30s", count=6,
        ),
        CompareValues(
            latencies(2), "p99 $version", max_increase=3, interval="15s", count=40, window="5m"
        ),
        CompareValues(
            latencies(3), "x $version", max_increase=9, interval="1m", count=6, weight=1,
            judge_with=FixedSample(), name="once",
        ),
        Alarm(MetricProbe(says(1), "up", below=5), interval="1m", count=2),
        Custom(lambda arms: ("pass", {"x": 0.1}), interval="1m", count=2, name="own"),
        Threshold(says(1, None, ZeroDivisionError()), "odd", above=0, interval="9s", count=3, dry_run=True),
    ]  # fmt: skip


class TestReplay:
    def test_bit_for_bit(self) -> None:
        """Every verdict of every kind of check comes out of the values in the trail."""
        result = analysed(*every_kind())

        found = replay(result.audit_trail)

        assert len(found) == len(measurements(result)) > 60
        assert {one.check for one in found} == {str(check.name) for check in every_kind()}
        assert [one for one in found if not one.is_same] == []
        assert [one.verdict for one in found] == verdicts(result)

    def test_from_file(self) -> None:
        """A trail that was exported and read back serves as well."""
        result = analysed(*every_kind())

        read = pyflow.AuditTrail.from_jsonl(result.audit_trail.to_jsonl())

        assert replay(read) == replay(result.audit_trail)

    def test_another_value(self) -> None:
        """A trail whose values were changed gives itself away."""
        text = analysed(Threshold(says(0.25), "up", above=0)).audit_trail.to_jsonl()

        (found,) = replay(pyflow.AuditTrail.from_jsonl(text.replace("0.25]", "-0.25]")))

        assert not found.is_same
        assert (found.verdict, found.derived and found.derived.verdict) == ("pass", "fail")

    def test_several_comparisons(self) -> None:
        """What held a failure back among several comparisons is derived as well."""
        checks = [
            Compare(
                traffic(0.021, seed),
                "errors $version",
                "requests $version",
                max_increase=0.001,
                interval="1m",
                count=30,
                name=str(seed),
            )
            for seed in (0.01, 0.0101, 0.0102, 0.0103)
        ]
        result = analysed(*checks)

        assert "inconclusive" in verdicts(result)
        assert any("among 4" in json.dumps(m) for m in measurements(result))
        assert all(one.is_same for one in replay(result.audit_trail))

    def test_another_attempt(self) -> None:
        """An attempt after one that failed is derived from its own values."""
        workflow = pyflow.Workflow("w")

        check = Compare(
            traffic(0.06), "errors $version", "requests $version", max_increase=0.01,
            interval="1m", count=3,
        )  # fmt: skip
        task = analysis([check], canary="2.0", baseline="1.0")
        workflow.add_task("analyse", task, retry=pyflow.Retry(2), effect=False)

        result = run_virtual(pyflow.Engine(clock=VirtualClock(), environ={}).run(workflow))

        assert verdicts(result) == ["inconclusive", "fail"] * 2
        assert all(one.is_same for one in replay(result.audit_trail))

    def test_other_judges(self) -> None:
        """The verdict of a judge that is not ours is read, and not derived."""

        class Own:
            def judge_counts(self, *arms: Counts, **limits: Any) -> Judgement:
                return Judgement("pass", "why not", "own")

            def judge_values(self, *arms: Any, **limits: Any) -> Judgement:
                raise NotImplementedError

        check = Compare(
            traffic(0),
            "errors $version",
            "requests $version",
            max_increase=0.01,
            judge_with=Own(),
            interval="1m",
            count=1,
        )
        found = replay(analysed(check).audit_trail)

        assert [(one.verdict, one.derived) for one in found] == [
            ("inconclusive", None),
            ("pass", None),
        ]

    @pytest.mark.parametrize(
        "changes",
        [
            {"settings": {"kind": "guess"}},
            {"settings": None},
            {"values": {}},
            {"judgement": None},
            {"judgement": {"verdict": "sure", "reason": "", "method": ""}},
        ],
    )
    def test_nonsense(self, changes: dict[str, Any]) -> None:
        """A measurement that no analysis records is refused, and the error names it."""
        record = analysed(Threshold(says(1), "up", above=0)).audit_trail[2]
        broken: Any = SimpleNamespace(seq=3, event=replace(record.event, **changes))

        with pytest.raises(JournalError, match="record 3 is no measurement"):
            replay([broken])


class TestResume:
    def checks(self) -> list[Any]:
        return [
            Threshold(says(1), "up", above=0, interval="20s", count=6),
            Compare(
                traffic(0.01, per_s=200), "errors $version", "requests $version",
                max_increase=0.01, interval="30s", count=4,
            ),
        ]  # fmt: skip

    def test_goes_on(self) -> None:
        """Cut off after any commit, a run goes on at the measurement where it stopped."""
        whole = Disk()
        expected = numbers(whole.resume(workflow_of(self.checks())))
        assert len(expected) == 11

        for commits in range(1, whole.commits):
            disk = Disk().cut(workflow_of(self.checks()), commits)
            done = disk.kinds().count("measurement_taken")

            result = disk.resume(workflow_of(self.checks()))

            assert result.status == "succeeded"
            assert numbers(result) == expected, f"cut off after {commits} commits"
            assert done <= len(measurements(result))
            assert all(one.is_same for one in replay(result.audit_trail))

    def test_stands_by_it(self) -> None:
        """Cut off after any commit, a failure that is on record stays one, whatever is measured then."""
        failing, better = (workflow_of([Threshold(says(n), "up", above=0)]) for n in (0, 1))
        whole = Disk()
        whole.resume(failing)

        for commits in range(1, whole.commits):
            disk = Disk().cut(failing, commits)
            on_record = "measurement_taken" in disk.kinds()

            result = disk.resume(better)

            assert result.status == ("rolled_back" if on_record else "succeeded")
            assert len(verdicts(result)) == 1


def numbers(result: pyflow.Result) -> list[tuple[str, int]]:
    """Return which measurements of which checks were made, in order."""
    return [(data["check"], data["number"]) for data in measurements(result)]
