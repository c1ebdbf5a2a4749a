"""Equal programs give equal runs: in one process, in another, and whatever strings hash to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyflow.testing.loop import run_virtual
from support.repeatable import run_elsewhere, run_python, trace_of, trail_of_run, without_origin

HASH_SEEDS = ["0", "1", "2", "12345", "random"]
TRACES = 1_000
TRAILS = 200


class Litter:
    """Memory that is taken between repeats, so that what is made later has other addresses."""

    def __init__(self) -> None:
        self._kept: list[object] = []

    def drop(self, n: int) -> None:
        self._kept.append([bytearray(n * 7 % 113) for _ in range(n % 17)])


@pytest.fixture(scope="module", params=HASH_SEEDS)
def elsewhere(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What both programs give in a fresh interpreter."""
    return run_elsewhere(request.param)


class TestProgram:
    def test_repeats(self) -> None:
        """A thousand runs of one seeded program in one process leave one trace."""
        litter = Litter()

        traces = set[str]()
        for n in range(TRACES):
            traces.add("\n".join(trace_of(1)))
            litter.drop(n)

        assert len(traces) == 1

    def test_elsewhere(self, elsewhere: dict[str, Any]) -> None:
        """A process in which strings hash otherwise leaves the same trace."""
        assert elsewhere["trace"] == trace_of(1)

    def test_is_worth_repeating(self) -> None:
        """Other seeds leave other traces, and each cancels, races, gives up and meets deadlines."""
        traces = {"\n".join(trace_of(seed)) for seed in range(20)}

        assert len(traces) == 20
        for what in ("cancelled", "group failed", "left Task", "made", "gave up", "timer 7"):
            assert all(what in trace for trace in traces), what


class TestRun:
    def test_repeats(self) -> None:
        """Two hundred whole runs of one workflow leave one audit trail, byte for byte."""
        litter = Litter()

        trails = set[str]()
        for n in range(TRAILS):
            trails.add(trail_of_run().to_jsonl())
            litter.drop(n)

        assert len(trails) == 1

    def test_elsewhere(self, elsewhere: dict[str, Any]) -> None:
        """A process in which strings hash otherwise leaves the same trail, but for its own id."""
        assert elsewhere["trail"] == without_origin(trail_of_run())

    def test_is_worth_repeating(self) -> None:
        """The run retries, times out, fails, rolls back, and retries undos."""
        trail = trail_of_run()
        kinds = {record.kind for record in trail}

        trail.verify()
        assert trail[-1].data["status"] == "rolled_back"
        assert kinds >= {
            "retry_scheduled",
            "attempt_failed",
            "map_expanded",
            "task_failed",
            "undo_retry_scheduled",
            "lock_released",
        }
        assert any("timeout" in str(r.data) for r in trail.query(task="slow"))


class TestSets:
    def test_of_tasks(self) -> None:
        """A set of tasks iterates in one order, and tasks are numbered from 1 in each run."""

        async def main() -> list[str]:
            tasks = {asyncio.create_task(asyncio.sleep(0)) for _ in range(100)}
            await asyncio.wait(tasks)
            return [t.get_name() for t in tasks]

        assert len({tuple(run_virtual(main())) for _ in range(20)}) == 1
        assert sorted(run_virtual(main())) == sorted(f"Task-{n}" for n in range(2, 102))

    def test_of_strings(self) -> None:
        """The hash seeds do change something: a set of strings has another order under each."""
        show = ["-c", "print(set('abcdefgh'))"]
        orders = {run_python(show, PYTHONHASHSEED=seed).stdout for seed in ("0", "1", "2")}

        assert len(orders) == 3
