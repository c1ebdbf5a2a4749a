"""How a trigger waits: in virtual time, over a service that does as it is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

import pyflow
from pyflow.errors import PipelineError, PipelineFailed, PipelineUnknown
from pyflow.testing import run_virtual
from pyflow.triggers import Pipeline, Watch
from pyflow.triggers._attempt import Attempt
from pyflow.triggers._progress import Progress, after, key_of, mentions
from pyflow.triggers._service import (
    Absent,
    Details,
    Doubt,
    Found,
    Gone,
    Later,
    Order,
    Refused,
    Seen,
    Several,
    Unseen,
)
from support.virtual import this_loop

HANDLE = {"id": "7", "url": "https://ci.example/7"}
AT = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


class Scripted:
    """A service that gives what it was told to, and notes when it was asked."""

    system = "scripted"
    resource = "scripted:deploy"
    good: tuple[str, ...] = ("good",)

    def __init__(
        self,
        *,
        starts: list[Any] | None = None,
        finds: Callable[[float], Any] = lambda _: Absent(),
        looks: Callable[[float], Any] = lambda _: Seen("good", ended=True, handle=HANDLE),
    ) -> None:
        self.starts = starts or [Found(HANDLE)]
        self.finds = finds
        self.looks = looks
        self.asked: dict[str, list[float]] = {"start": [], "find": [], "look": [], "stop": []}
        self.is_stopped = False

    def note(self, what: str) -> float:
        self.asked[what].append(this_loop().time())
        return this_loop().time()

    async def start(self, order: Order, /) -> Any:
        self.note("start")
        return self.starts.pop(0)

    async def find(self, order: Order, /) -> Any:
        return self.finds(self.note("find"))

    async def look(self, handle: Any, /) -> Any:
        if self.is_stopped:
            return Seen("stopped", ended=True, handle=handle)
        return self.looks(self.note("look"))

    async def stop(self, handle: Any, /) -> str | None:
        self.note("stop")
        self.is_stopped = True
        return None

    async def details(self, handle: Any, *, failed: bool) -> Details:
        return Details()


class Ctx:
    """A context that keeps what it is told."""

    idempotency_key = "0123456789abcdef" * 2
    deadline: float | None = None

    def __init__(self, **saved: Any) -> None:
        self.checkpoints: dict[str, Any] = dict(saved)
        self.stages: list[str] = []
        self.said: list[str] = []

    def checkpoint(self, key: str, value: Any) -> None:
        self.checkpoints[key] = value
        self.stages.append(value["stage"])

    def log(self, message: str, **data: Any) -> None:
        self.said.append(message)

    def record_change(self, resource: str, *, before: Any = None, after: Any = None) -> None: ...

    async def sleep(self, span: Any) -> None:
        import asyncio

        await asyncio.sleep(span)


class LoopClock:
    """The wall clock of virtual time."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(AT.timestamp() + this_loop().time(), UTC)


def attempt(service: Scripted, ctx: Ctx | None = None, **watch: Any) -> Any:
    """Make one attempt in virtual time, and return its pipeline, or its error."""

    async def make() -> Any:
        made = Attempt(
            ctx or Ctx(), service, ref="main", values={}, watch=Watch(**watch), clock=LoopClock()
        )
        try:
            return await made.run()
        except PipelineError as error:
            return error

    return run_virtual(make())


def running_for(span_s: float) -> Callable[[float], Any]:
    return lambda now: Seen("good" if now >= span_s else "running", now >= span_s, HANDLE)


class TestPolling:
    def test_backs_off(self) -> None:
        """Looks are five seconds apart at the beginning, and half a minute later on."""
        service = Scripted(looks=running_for(3_000))

        assert isinstance(attempt(service), Pipeline)

        looks = service.asked["look"]
        gaps = [b - a for a, b in pairwise(looks)]
        assert 2.5 <= gaps[0] <= 5
        assert all(15 <= gap <= 30 for gap in gaps[6:])
        assert len(looks) <= 3_000 / 15

    def test_asked_to_wait(self) -> None:
        """A service that asks for a longer wait gets it."""
        replies = [Unseen("slow down", 90.0), Seen("good", ended=True, handle=HANDLE)]
        service = Scripted(looks=lambda _: replies.pop(0))

        attempt(service)

        first, second = service.asked["look"]
        assert second - first == 90

    def test_status_changes(self) -> None:
        """A change of status is told once, and looks are close together again after it."""
        ctx = Ctx()
        service = Scripted(
            looks=lambda now: Seen(
                "queued" if now < 600 else "running" if now < 700 else "good", now >= 700, HANDLE
            )
        )

        attempt(service, ctx)

        said = [line.split(" is ")[1] for line in ctx.said]
        assert [line.partition(":")[0] for line in said] == ["queued", "running"]

    def test_limit_in_between(self) -> None:
        """Starts that were refused for now are sent again, each after its wait."""
        ctx = Ctx()
        service = Scripted(starts=[Later("limit", 60.0), Later("limit", 60.0), Found(HANDLE)])

        assert isinstance(attempt(service, ctx), Pipeline)

        assert service.asked["start"] == [0, 60, 120]
        assert ctx.stages == ["sent", "idle", "sent", "idle", "sent", "started"]


class TestEnds:
    def test_time_is_up(self) -> None:
        """The time is kept to the second, and the pipeline is cancelled then."""
        service = Scripted(looks=lambda _: Seen("running", ended=False, handle=HANDLE))
        ctx = Ctx()

        error = attempt(service, ctx, timeout="10m")

        assert isinstance(error, PipelineFailed)
        assert service.asked["stop"] == [600]
        assert ctx.stages[-1] == "told"

    def test_patience(self) -> None:
        """A service that is silent for long is a question, and nothing is cancelled."""
        service = Scripted(looks=lambda now: Unseen("down") if now else running_for(1)(now))

        error = attempt(service, patience="10m")

        assert isinstance(error, PipelineUnknown)
        assert 590 <= service.asked["look"][-1] <= 640
        assert service.asked["stop"] == []

    def test_patience_begins_anew(self) -> None:
        """Every answer renews it."""
        service = Scripted(
            looks=lambda now: (
                running_for(3_000)(now) if now % 600 < 60 or now > 2_990 else Unseen("down")
            )
        )

        assert isinstance(attempt(service, patience="10m"), Pipeline)

    def test_settles(self) -> None:
        """A start in doubt is looked up for two minutes, and is not sent again."""
        service = Scripted(starts=[Doubt("reset")])

        error = attempt(service)

        assert isinstance(error, PipelineUnknown)
        assert 90 <= service.asked["find"][-1] <= 120
        assert service.asked["start"] == [0]

    def test_found_late(self) -> None:
        """One that shows up late is found."""
        service = Scripted(
            starts=[Doubt("reset")], finds=lambda now: Found(HANDLE) if now > 100 else Absent()
        )

        assert isinstance(attempt(service), Pipeline)

    def test_refused(self) -> None:
        """What is refused is not tried again."""
        service = Scripted(starts=[Refused("no")])

        assert type(attempt(service)) is PipelineError
        assert len(service.asked["start"]) == 1

    def test_several(self) -> None:
        """What cannot be told apart is asked about at once."""
        service = Scripted(
            starts=[Doubt("reset")], finds=lambda _: Several(("https://a", "https://b"))
        )

        error = attempt(service)

        assert "https://a, https://b" in str(error)
        assert service.asked["find"] == [0]

    def test_gone(self) -> None:
        """A handle that leads nowhere any more is replaced by what is found by the key."""
        other = {"id": "8", "url": "https://ci.example/8"}
        replies = [Gone("404"), Seen("good", ended=True, handle=other)]
        service = Scripted(looks=lambda _: replies.pop(0), finds=lambda _: Found(other))
        ctx = Ctx()

        assert attempt(service, ctx).id == "8"
        assert ctx.checkpoints["pipeline"]["handle"] == other


def saved(stage: str, *, minutes: float = 0.0) -> Ctx:
    at = datetime.fromtimestamp(AT.timestamp() - 60 * minutes, UTC)
    return Ctx(pipeline=Progress(1, stage, at, HANDLE if stage == "started" else {}).to_data())  # type: ignore[arg-type]


class TestTakenUp:
    @pytest.mark.parametrize(
        ("stage", "minutes", "starts"),
        [
            ("idle", 0, 1), ("sent", 0, 0), ("sent", 14.9, 1), ("sent", 15, 1), ("sent", 10, 0),
            ("taken", 600, 0), ("started", 0, 0), ("told", 0, 1),
        ],
    )  # fmt: skip
    def test_starts(self, stage: str, minutes: float, starts: int) -> None:
        """Whether another attempt starts one depends on how far the last had come, and when."""
        service = Scripted()

        found = attempt(service, saved(stage, minutes=minutes))

        assert len(service.asked["start"]) == starts
        assert isinstance(found, Pipeline) == bool(starts or stage == "started")

    def test_never(self) -> None:
        """Without restart_after, what may have been sent is never sent again."""
        service = Scripted()

        assert isinstance(
            attempt(service, saved("sent", minutes=10**6), restart_after=None), PipelineUnknown
        )
        assert service.asked["start"] == []

    def test_keys(self) -> None:
        """A pipeline that was told of has the next number, and any other its own again."""
        for stage, number in (("idle", 3), ("sent", 3), ("told", 4)):
            before = Progress(3, stage, AT)  # type: ignore[arg-type]
            assert after(before, AT).number == number
        assert key_of("a" * 32, 2) == f"pyflow-{'a' * 20}-2"

    def test_mentions(self) -> None:
        """A key is found among other words, and not in a longer one."""
        assert mentions("deploy (pyflow-ab-1)", "pyflow-ab-1")
        assert mentions("pyflow-ab-1", "pyflow-ab-1")
        for text in ("pyflow-ab-10", "x-pyflow-ab-1", "pyflow-ab-1-x", None, ""):
            assert not mentions(text, "pyflow-ab-1")


def test_map() -> None:
    """A trigger runs over the items of a map, and each has a pipeline and an id of its own."""
    from support.pipelines import kit

    with kit("github") as at:
        workflow = pyflow.Workflow("w")
        workflow.add_map(
            "deploy", at.trigger(inputs=lambda item: {"version": item}), over=["eu-1", "us-1"]
        )
        result = pyflow.Engine().execute(workflow)

        assert result.status == "succeeded"
        assert sorted(run["inputs"]["version"] for run in at.server.runs) == ["eu-1", "us-1"]
        assert len({run["inputs"]["pyflow_id"] for run in at.server.runs}) == 2
