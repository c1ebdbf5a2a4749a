"""An analysis as a task: what it waits for, comes to, and records."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import pyflow
from pyflow.analysis import Alarm, Arms, Custom, Limits, Threshold, analysis, extend, retry
from pyflow.errors import AnalysisFailed, AnalysisHeld, DefinitionError, MetricError
from pyflow.metrics import MetricProbe
from pyflow.testing import Fault, VirtualClock, World, run_virtual, simulate
from support.measured import (
    Told,
    analysed,
    failure,
    measurements,
    says,
    verdicts,
    workflow_of,
)


def up(*answers: Any, **options: Any) -> Threshold:
    given: dict[str, Any] = {"above": 0, "name": "up"} | options
    return Threshold(says(*answers), "up", **given)


def span_s(result: pyflow.Result) -> float:
    """Return how long a run took, in virtual seconds."""
    return (result.audit_trail[-1].at - result.audit_trail[0].at).total_seconds()


class TestSchedule:
    def test_in_turn(self) -> None:
        """A check measures at its interval, and the measuring does not shift the schedule."""

        async def slow(arms: Arms) -> bool:
            seen.append(asyncio.get_running_loop().time())
            await asyncio.sleep(7)
            return True

        seen: list[float] = []
        analysed(Custom(slow, interval="30s", count=3, initial_delay="10s"))

        assert seen == [10, 40, 70]

    def test_missed(self) -> None:
        """A turn that was missed is not made up for in a burst."""

        async def slow(arms: Arms) -> bool:
            seen.append(asyncio.get_running_loop().time())
            await asyncio.sleep(70)
            return True

        seen: list[float] = []
        analysed(Custom(slow, interval="30s", count=3, timeout="2m"))

        assert seen == [0, 100, 200]

    def test_each_its_own(self) -> None:
        """Checks keep their own time, their own limits and their own policies."""
        source = says(1)
        one = Threshold(source, "a", above=0, interval="20s", count=3)
        two = Threshold(source, "b", above=0, interval="30s", count=2, initial_delay="5s")

        analysed(one, two)

        assert source.asked == [("a", 0), ("b", 5), ("a", 20), ("b", 35), ("a", 40)]

    def test_retries_soon(self) -> None:
        """After an error it asks again soon, whatever the interval."""
        source = says(MetricError("s", "q", "down"), 1)

        analysed(Threshold(source, "a", above=0, interval="5m", count=1, error=retry(2, every=3)))

        assert [at for _, at in source.asked] == [0, 3]


class TestOutcome:
    def test_passes(self) -> None:
        """What became of each check is the output of the task."""
        result = analysed(up(1, interval="1m", count=2))

        assert result.status == "succeeded"
        assert result.tasks["analyse"].output == {
            "verdict": "pass",
            "reason": "1 of 1 checks passed",
            "checks": {"up": {"verdict": "pass", "measurements": 2, "reason": "1 is above 0"}},
        }

    def test_aborts(self) -> None:
        """A critical check that fails ends the analysis at once, whatever the others still measure."""
        slow = up(1, interval="1h", count=9, name="slow")

        result = analysed(slow, up(0))

        assert result.status == "rolled_back"
        assert failure(result) == "AnalysisFailed: up: fail: 0 is not above 0"
        assert len(measurements(result, "slow")) == 1

    @pytest.mark.parametrize("on_failure", ["rollback", "stop", "continue", "hold"])
    def test_holds(self, on_failure: str) -> None:
        """An analysis that is unsure holds the run for a person, whatever `on_failure` says."""
        result = analysed(up(None), on_failure=on_failure)

        assert result.status == "held"
        assert failure(result) == "AnalysisHeld: up: no_data: no sample in the window"

    def test_abort_outranks_hold(self) -> None:
        """Of two endings, the one that aborts counts."""
        result = analysed(up(1, interval="1m", count=1, name="x"), up(0, fail="abort"))

        assert result.status == "rolled_back"

    def test_dry_run(self) -> None:
        """A dry run is recorded, and neither aborts nor is waited for."""
        dry = up(0, dry_run=True, name="dry", interval="1h", count=99)

        result = analysed(up(1, interval="1m", count=2), dry)

        assert result.status == "succeeded"
        assert result.tasks["analyse"].output["checks"]["dry"]["dry_run"] is True
        assert measurements(result, "dry")[0]["then"] == "end"

    def test_only_dry(self) -> None:
        """An analysis of dry runs alone waits for them, and passes."""
        result = analysed(up(0, dry_run=True, limits=Limits(failures=9), interval="1m", count=3))

        assert (result.status, len(measurements(result))) == ("succeeded", 3)

    @pytest.mark.parametrize(
        ("answers", "status", "reason"),
        [
            ((1, 1, 1), "succeeded", "the score is 100.00;"),
            ((1, 1, 0), "succeeded", "the score is 95.00;"),
            ((1, 0, 1), "held", "the score is 80.00; 95 passes"),
            ((0, 1, 1), "rolled_back", "the score is 25.00; 95 passes, below 75 fails"),
            ((1, None, 1), "succeeded", "the score is 100.00;"),
            ((None, None, None), "held", "no data: 0, 1, 2"),
            ((MetricError("s", "q", "x"), 1, 1), "rolled_back", "the score is 25.00;"),
        ],
    )
    def test_weights(self, answers: tuple[Any, ...], status: str, reason: str) -> None:
        """Checks with weights come to a score: no data is left out, an error scores nothing."""
        weights = (75, 20, 5)
        checks = [
            up(a, name=str(n), weight=w, error="abort")
            for n, (a, w) in enumerate(zip(answers, weights, strict=True))
        ]

        result = analysed(*checks)

        assert result.status == status
        found = result.tasks["analyse"].output
        assert reason in (found["reason"] if found else failure(result))

    def test_critical_first(self) -> None:
        """No score makes up for a critical check."""
        assert analysed(up(1, weight=1, name="w"), up(0)).status == "rolled_back"


class TestEndless:
    def test_beside_others(self) -> None:
        """A check without a count goes on as long as the others, and has to pass then."""
        endless = up(1, interval="10s", name="endless")

        result = analysed(endless, up(1, interval="1m", count=2))

        assert result.status == "succeeded"
        assert 6 <= len(measurements(result, "endless")) <= 7

    def test_doubtful_end(self) -> None:
        """One that is in doubt when the others end asks for a person."""
        source = Told(lambda query, now_s: 1 if now_s < 50 else None)
        endless = Threshold(source, "e", above=0, interval="20s", no_data=extend(9))

        result = analysed(endless, up(1, interval="1m", count=2))

        assert failure(result) == "AnalysisHeld: e: no_data: no sample in the window"

    def test_until(self) -> None:
        """It may be told when to end, and finds out soon though it waits for long."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("shift", lambda ctx: ctx.sleep("95s"), isolation=None)
        watch = analysis(
            [up(1, interval="1m")], until=lambda ctx: ctx.outcome("shift") == "succeeded"
        )
        workflow.add_task("watch", watch, effect=False)

        result = run_virtual(pyflow.Engine(clock=VirtualClock(), environ={}).run(workflow))

        assert result.status == "succeeded"
        assert len(measurements(result)) == 2
        assert 95 <= span_s(result) <= 100

    def test_until_at_once(self) -> None:
        """Ended before anything was measured, it has no data, and has not passed."""
        result = analysed(up(1), until=lambda ctx: True)

        assert failure(result) == "AnalysisHeld: up: no_data: nothing was measured"


class TestCancel:
    def test_cuts_the_wait(self) -> None:
        """A run that stops does not wait for the next measurement."""

        async def main() -> pyflow.Result:
            engine = pyflow.Engine(clock=VirtualClock(), environ={})
            run = engine.start(workflow_of([up(1, interval="1h", count=9)]))
            await asyncio.sleep(60)
            run.cancel(by="ann")
            return await run

        result = run_virtual(main())

        assert result.status == "cancelled"
        assert span_s(result) == 60

    def test_retry(self) -> None:
        """Another attempt after one that failed measures anew."""
        workflow = pyflow.Workflow("w")
        task = analysis([up(1, 0, 1, 1, interval="1m", count=2)])
        workflow.add_task("analyse", task, retry=pyflow.Retry(2), effect=False)

        result = run_virtual(pyflow.Engine(clock=VirtualClock(), environ={}).run(workflow))

        assert result.status == "succeeded"
        assert [m["number"] for m in measurements(result)] == [1, 2, 1, 2]

    def test_decided_by_a_person(self) -> None:
        """A person who is asked may have it measured once more."""

        async def main() -> pyflow.Result:
            engine = pyflow.Engine(clock=VirtualClock(), environ={})
            run = engine.start(workflow_of([up(None, 1)]))
            async for record in run.events():
                if record.kind == "intent_raised":
                    run.retry("analyse", by="ann")
            return await run

        result = run_virtual(main())

        assert (result.status, verdicts(result)) == ("succeeded", ["no_data", "pass"])


class TestAlarm:
    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [(1, "pass"), (9, "fail"), (None, "no_data"), (MetricError("s", "q", "x"), "error")],
    )
    def test_verdicts(self, answer: Any, verdict: str) -> None:
        """An alarm that is on fails, and one that is unknown never passes."""
        probe = MetricProbe(says(answer), "up", below=5)

        assert verdicts(analysed(Alarm(probe, error="abort"))) == [verdict]

    def test_raises(self) -> None:
        """A probe that raises is an error."""

        class Broken:
            async def read(self) -> Any:
                raise ZeroDivisionError

        assert verdicts(analysed(Alarm(Broken(), error="abort"))) == ["error"]

    def test_stands_alone(self) -> None:
        """A reading that cannot be had at all is an error for whoever judges it."""
        found = Alarm.judge({}, [{"error": "down"}])

        assert found is not None
        assert found.verdict == "error"

    def test_refuses(self) -> None:
        """It takes a probe."""
        with pytest.raises(DefinitionError, match="no probe"):
            Alarm(7)  # pyright: ignore[reportArgumentType]


class TestCustom:
    @pytest.mark.parametrize(
        ("answer", "verdict"),
        [
            (True, "pass"),
            (False, "fail"),
            ("inconclusive", "inconclusive"),
            (None, "no_data"),
            (("fail", {"p99": 7}), "fail"),
            ("perhaps", "error"),
            (1.5, "error"),
        ],
    )
    def test_verdicts(self, answer: Any, verdict: str) -> None:
        """A function says what it says; what is no verdict is an error."""
        (data,) = measurements(analysed(Custom(lambda arms: answer, error="abort")))

        assert data["verdict"] == verdict
        if isinstance(answer, tuple):
            assert data["values"] == {"answer": "fail", "values": {"p99": 7}}

    def test_arms(self) -> None:
        """It is given the versions."""
        given: list[Any] = []

        analysed(Custom(lambda arms: given.append(arms)))

        assert given == [Arms("2.0", "1.0")]

    def test_slow(self) -> None:
        """One that takes too long is an error; one of our errors passes as it is."""

        async def slow(arms: Arms) -> None:
            await asyncio.sleep(60)

        def refuses(arms: Arms) -> None:
            raise MetricError("s", "q", "on strike")

        (late,) = measurements(analysed(Custom(slow, timeout=5, error="abort")))
        (refused,) = measurements(analysed(Custom(refuses, error="abort")))

        assert "no answer within 5 s" in late["values"]["error"]
        assert "on strike" in refused["values"]["error"]

    def test_refuses(self) -> None:
        """It takes a function, and a span."""
        with pytest.raises(DefinitionError, match="2 problems"):
            Custom(7, timeout=0)  # pyright: ignore[reportArgumentType]


class TestSources:
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_strange(self, value: float) -> None:
        """A source that gives NaN or infinities, as it must not, gives no data, and that is noted."""
        result = analysed(up(value, above=-1, name="up"))

        assert verdicts(result) == ["no_data"]
        assert measurements(result)[0]["notes"] == ["1 of 1 values were NaN or infinite"]

    def test_hangs(self) -> None:
        """A source that never answers is an error, after a while."""

        class Hangs:
            async def query(self, query: str, /, **options: Any) -> Any:
                await asyncio.get_running_loop().create_future()

        result = analysed(Threshold(Hangs(), "up", above=0, error="abort"))

        assert failure(result) == "AnalysisFailed: up: error: no answer within 120 s"
        assert span_s(result) == 120

    @pytest.mark.parametrize(
        ("kind", "looks"), [("fails", 5), ("missing", 1), ("nan", 1), ("hangs", 5)]
    )
    def test_faults(self, kind: Any, looks: int) -> None:
        """Whatever goes wrong with a source for good, nothing passes."""
        world = World()
        world.service("shop", version="2.0")
        world.traffic("shop", rps=50)
        check = Threshold(world.metrics, "error_rate shop 2.0", below=0.5, initial_delay="1m")
        faulty = [Fault(f"analyse#1 metrics.query#{n}", kind) for n in range(1, looks + 1)]

        result = simulate(workflow_of([check]), world=world, faults=faulty)

        assert result.status == "held"
        assert verdicts(result) == ["no_data" if looks == 1 else "error"] * looks


class TestMake:
    @pytest.mark.parametrize(
        ("checks", "options", "words"),
        [
            ([], {}, "no check"),
            ([7], {}, "7 is no check"),
            ([up(1), up(1)], {}, "two checks are called 'up'"),
            ([up(1, interval="1m")], {}, "never end"),
            ([up(1)], {"until": 7}, "until=7"),
            ([up(1)], {"fail": "promote"}, "fail='promote'"),
            ([up(1)], {"unsure": extend(3)}, "unsure="),
            ([up(1)], {"pass_score": 0}, "pass_score=0"),
            ([up(1)], {"pass_score": 60}, "swap them"),
            ([Threshold(says(1), "x $version", above=0)], {}, "give canary="),
        ],
    )
    def test_refuses(self, checks: Any, options: dict[str, Any], words: str) -> None:
        """What cannot be an analysis is refused when it is made."""
        with pytest.raises(DefinitionError) as caught:
            analysis(checks, **options)

        assert words in str(caught.value)

    def test_versions(self) -> None:
        """A version may be found out from the run, such as from its parameters."""
        source = says(1)
        workflow = pyflow.Workflow("w", params={"version": "3.1"})
        check = Threshold(source, "p99 $version", above=0)
        workflow.add_task("a", analysis([check], canary=lambda ctx: ctx.params["version"]))

        run_virtual(pyflow.Engine(clock=VirtualClock(), environ={}).run(workflow))

        assert source.asked == [("p99 3.1", 0)]

    def test_errors(self) -> None:
        """Both errors carry what became of each check."""
        held = AnalysisHeld("unsure", verdict="no_data", result={"checks": {}})

        assert isinstance(held, AnalysisFailed)
        assert (held.verdict, held.result) == ("no_data", {"checks": {}})
