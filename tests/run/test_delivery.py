"""Engines that tell people what happens: from the journal, in the background, at least once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.messages import FIRST, Attempt, Delivery, Message, delivered, rejected, retrying
from pyflow.notifiers import File, Route, Slack, Webhook
from pyflow.run.result import Result
from pyflow.testing.servers import Hang, HTTPServer, Reply, SlackServer, WebhookServer
from support.journals import note_reads


class Ear:
    """Hears what it is told."""

    def __init__(self, answer: Callable[[], Delivery] = delivered) -> None:
        self.heard: list[Message] = []
        self.attempts: list[Attempt] = []
        self.answer = answer

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        self.heard.append(message)
        self.attempts.append(attempt)
        return self.answer()

    @property
    def events(self) -> list[str]:
        return [message.event for message in self.heard]


class Stuck(Ear):
    """Never answers, and keeps nobody from being told but itself."""

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        await super().notify(message, attempt)
        await asyncio.get_running_loop().create_future()
        raise AssertionError


class Raises(Ear):
    """Raises something that is hard to bear."""

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        await super().notify(message, attempt)
        raise asyncio.CancelledError


class Shifted:
    """A clock that is wrong by as much as it is told."""

    def __init__(self, by: timedelta) -> None:
        self.by = by

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by


def boom() -> None:
    raise OSError("no route to host")


def shop(*, fails: bool = True) -> pyflow.Workflow:
    workflow = pyflow.Workflow("shop", params={"version": "2.3.1"})
    workflow.add_task("deploy", lambda: 1)
    workflow.add_task("check", boom if fails else lambda: 2, depends_on=["deploy"])
    workflow.add_recovery("deploy", lambda: None)
    return workflow


ROLLED_BACK = ["started", "task_failed", "rolling_back", "rolled_back"]


def ran(
    workflow: pyflow.Workflow, *routes: Any, **options: Any
) -> tuple[Result, pyflow.AuditTrail]:
    """Run *workflow* with *routes*, and return its result and what was told."""
    with pyflow.Engine(notifiers=routes, **options) as engine:
        result = engine.execute(workflow)
        assert engine.wait_delivered("20s")
        return result, engine.notices(result.run_id)


def settled(trail: pyflow.AuditTrail) -> list[tuple[str, str]]:
    return [(r.data["event"], r.data["result"]) for r in trail.query(kind="notified")]


@pytest.fixture(params=["memory", "disk"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return None if request.param == "memory" else str(tmp_path / "deploys.db")


class TestTelling:
    def test_tells(self, journal: Any) -> None:
        """What happens is told in order, and what came of it is on record, in a chain of its own."""
        ear = Ear()

        result, trail = ran(shop(), ear, journal=journal)

        assert result.status == "rolled_back"
        assert ear.events == ROLLED_BACK
        assert settled(trail) == [(event, "delivered") for event in ROLLED_BACK]
        assert trail[0].data == {"routes": ["ear"]}
        assert trail[-1].data == {"seq": len(result.audit_trail)}
        trail.verify(complete=False)
        result.audit_trail.verify()

    def test_nobody(self, journal: Any) -> None:
        """Without notifiers nothing is recorded besides the run."""
        with pyflow.Engine(journal=journal) as engine:
            run_id = engine.execute(shop()).run_id

            assert len(engine.notices(run_id)) == 0
            assert engine.wait_delivered(0)

    def test_is_on_record(self, journal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was waited for is on record as well, however long results are gathered."""
        monkeypatch.setattr("pyflow.run.notekeeping.GATHER_S", 0.1)

        with pyflow.Engine(journal=journal, notifiers=[Ear()]) as engine:
            run_id = engine.execute(shop()).run_id
            assert engine.wait_delivered()

            told = engine.notices(run_id).query(kind="notified")

        assert [record.data["result"] for record in told] == ["delivered"] * len(ROLLED_BACK)

    def test_is_no_run(self, journal: Any) -> None:
        """What was told is no run: it is not listed, and not resumed."""
        with pyflow.Engine(journal=journal, notifiers=[Ear()]) as engine:
            run_id = engine.execute(shop()).run_id
            assert engine.wait_delivered()

            assert list(engine.journal.runs()) == [run_id]
            assert engine.resume_all([shop()]) == {}

    def test_several_routes(self) -> None:
        """Each route has its own filters, words and pace."""
        all_of_it, ends = Ear(), Ear()

        ran(
            shop(),
            Route(all_of_it, name="a"),
            Route(ends, name="b", severity="error", events=["rolled_back", "succeeded"]),
        )

        assert all_of_it.events == ROLLED_BACK
        assert ends.events == ["rolled_back"]

    def test_many_runs(self) -> None:
        """Runs that go on at once are told about side by side, each in order."""
        ear = Ear()

        async def run(engine: pyflow.Engine) -> None:
            await asyncio.gather(*(engine.run(shop()) for _ in range(10)))

        with pyflow.Engine(notifiers=[ear]) as engine:
            asyncio.run(run(engine))
            assert engine.wait_delivered()

        runs = {message.run.id for message in ear.heard}
        assert len(runs) == 10
        for run_id in runs:
            assert [m.event for m in ear.heard if m.run.id == run_id] == ROLLED_BACK

    def test_ten_thousand(self) -> None:
        """Of 10,000 events none is lost, none repeated, and none out of order."""
        ear = Ear()

        async def talk(ctx: pyflow.AsyncContext) -> None:
            for number in range(10_000):
                ctx.log(str(number))
                if number % 1_000 == 0:
                    await ctx.sleep(0)

        workflow = pyflow.Workflow("talk")
        workflow.add_task("talk", talk)

        ran(workflow, Route(ear, events=["logged"]))

        assert [message.title.rpartition(" ")[2] for message in ear.heard] == ["talk"] * 10_000
        assert len({message.id for message in ear.heard}) == 10_000
        numbers = [int(message.id.rpartition("-")[2]) for message in ear.heard]
        assert numbers == sorted(numbers)

    def test_secret(self) -> None:
        """A secret parameter is masked in whatever goes out."""
        ear = Ear()
        workflow = pyflow.Workflow("w", params={"token": pyflow.Secret})
        workflow.add_task("a", lambda token: boom_with(token))

        with pyflow.Engine(notifiers=[ear]) as engine:
            engine.execute(workflow, params={"token": pyflow.Secret("hunter2-hunter2", name="t")})
            assert engine.wait_delivered()

        assert "refused: ***" in ear.heard[1].text
        assert "hunter2" not in repr(ear.heard)


def boom_with(token: pyflow.Secret) -> None:
    raise OSError(f"refused: {token.reveal()}")


class TestIndifference:
    @pytest.mark.parametrize("ear", [Stuck, Raises, lambda: Ear(lambda: rejected("no")),
                                     lambda: Ear(lambda: retrying("down", wait_s=99)),
                                     lambda: Ear(lambda: None)])  # type: ignore[arg-type, return-value]  # fmt: skip
    def test_run_is_the_same(self, ear: Any, journal: Any) -> None:
        """Whatever a notifier does, the run's record is what it is without one."""
        plain = pyflow.Engine().execute(shop()).audit_trail

        with pyflow.Engine(
            journal=journal, notifiers=[ear(), Route(Ear(), name="b")], drain=0
        ) as e:
            result = e.execute(shop())

        kinds = [record.kind for record in result.audit_trail]
        assert [k for k in kinds if not k.startswith("lock_")] == [r.kind for r in plain]

    def test_others_are_told(self) -> None:
        """One that hangs keeps nobody else waiting."""
        ear = Ear()

        with pyflow.Engine(notifiers=[Route(Stuck(), name="stuck"), ear], drain=0) as engine:
            engine.execute(shop())
            heard = threading.Event()
            for _ in range(6_000):
                if "rolled_back" in ear.events:
                    break
                heard.wait(0.01)

        assert ear.events == ROLLED_BACK

    def test_dead_service(self) -> None:
        """A service that takes a connection and says nothing does not delay the run or its end."""
        with HTTPServer().always(Hang()) as server:
            route = Route(Webhook(f"{server.base_url}/x", allow_private=True), timeout="10m")
            with pyflow.Engine(notifiers=[route], drain="50ms") as engine:
                result = engine.execute(shop())

        assert result.status == "rolled_back"
        assert result.metrics.wall_s < 300

    def test_given_up(self) -> None:
        """What cannot be delivered is on record as such, with the reason."""
        with HTTPServer().always(Reply(503, "down")) as server:
            route = Route(
                Webhook(f"{server.base_url}/x", allow_private=True),
                events=["started"],
                attempts=2,
                backoff=pyflow.Backoff("1ms"),
            )
            _, trail = ran(shop(), route)

        assert settled(trail) == [("started", "retrying"), ("started", "rejected")]
        assert trail.query(kind="notified")[1].data["detail"].startswith("given up after 2 tries")

    def test_journal_breaks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A ledger that cannot be written any more stops neither the run nor the telling."""
        ear = Ear()
        with pyflow.Engine(notifiers=[ear]) as engine:
            append: Any = engine.journal.append

            def broken(run_id: str, *args: Any, **options: Any) -> Any:
                if run_id.endswith(".notices"):
                    raise pyflow.JournalError("disk full")
                return append(run_id, *args, **options)

            monkeypatch.setattr(engine.journal, "append", broken)
            result = engine.execute(shop())
            assert engine.wait_delivered()

        assert (result.status, ear.events) == ("rolled_back", ROLLED_BACK)


class TestRequired:
    def test_told(self, journal: Any) -> None:
        """A run begins once those who have to know were told."""
        done: list[str] = []
        heard_at_start: list[list[str]] = []
        ear = Ear()
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", lambda: heard_at_start.append(ear.events) or done.append("a"))

        result, _ = ran(workflow, Route(ear, required=True), journal=journal)

        assert (result.status, done) == ("succeeded", ["a"])
        assert heard_at_start == [["started"]]

    @pytest.mark.parametrize("locks", [[], ["service:shop"]])
    def test_not_told(self, journal: Any, locks: list[str]) -> None:
        """Where that fails, the run is paused before its first effect, and says why."""
        done: list[str] = []
        workflow = pyflow.Workflow("w", locks=locks)
        workflow.add_task("a", lambda: done.append("a"))
        routes = [Route(Ear(lambda: rejected("no_service")), required=True)]

        with pyflow.Engine(notifiers=routes, journal=journal) as engine:
            result = engine.execute(workflow)

        assert (result.status, done) == ("paused", [])
        pause = result.audit_trail.query(kind="run_paused")[0].data
        assert (
            pause["reason"] == "notification: ear could not be told that it starts, and has to be"
        )

    def test_goes_on(self) -> None:
        """A person who knows lets it go on all the same."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", lambda: 1)
        routes = [Route(Ear(lambda: rejected("no")), required=True)]

        with pyflow.Engine(notifiers=routes) as engine:
            run = engine.start(workflow)
            assert run.wait().status == "paused"
            run.unpause(by="ada")
            assert run.wait().status == "succeeded"

    def test_optional_beside(self) -> None:
        """Those who need not know hold nothing."""
        result, _ = ran(
            shop(fails=False),
            Route(Ear(), name="a", required=True),
            Route(Ear(lambda: rejected("no")), name="b"),
        )

        assert result.status == "succeeded"

    def test_not_concerned(self) -> None:
        """A required route that a run does not fit holds it not."""
        route = Route(Ear(lambda: rejected("no")), required=True, environments=["production"])

        assert ran(shop(fails=False), route)[0].status == "succeeded"

    def test_resume(self, tmp_path: Path) -> None:
        """A run that is resumed is not held again for what a person knows by then."""
        workflow = pyflow.Workflow("w")
        workflow.add_task("a", lambda: 1)
        routes = [Route(Ear(lambda: rejected("no")), required=True)]
        options: Any = {"notifiers": routes, "journal": str(tmp_path / "d.db")}
        with pyflow.Engine(**options) as engine:
            run_id = engine.execute(workflow).run_id

        with pyflow.Engine(**options) as engine:
            assert engine.resume(run_id, workflow).status == "succeeded"


class TestRestarts:
    def test_goes_on(self, tmp_path: Path) -> None:
        """What one engine could not tell, the next one does, and nothing twice."""
        path = str(tmp_path / "deploys.db")
        ear, answers = Ear(), [delivered(), delivered()]

        def at_first() -> Delivery:
            return answers.pop() if answers else retrying("down", wait_s=60)

        with pyflow.Engine(
            journal=path, notifiers=[Route(Ear(at_first), name="x")], drain="3s"
        ) as e:
            run_id = e.execute(shop()).run_id
        with pyflow.Engine(journal=path, notifiers=[Route(ear, name="x")]) as engine:
            engine.execute(shop(fails=False))
            assert engine.wait_delivered()

        assert [m.event for m in ear.heard if m.run.id == run_id] == ROLLED_BACK[2:]

    def test_nothing_left(self, tmp_path: Path) -> None:
        """Where everything was told, an engine that starts later tells nothing again."""
        path = str(tmp_path / "deploys.db")
        first, second = Ear(), Ear()
        for ear in (first, second):
            with pyflow.Engine(journal=path, notifiers=[Route(ear, name="x")]) as engine:
                engine.execute(shop(fails=False))
                assert engine.wait_delivered()

        assert first.events == second.events == ["started", "succeeded"]
        assert {m.run.id for m in first.heard}.isdisjoint({m.run.id for m in second.heard})

    def test_before_its_time(self, tmp_path: Path) -> None:
        """Runs of a time when nobody was to be told are not told about."""
        path, ear = str(tmp_path / "deploys.db"), Ear()
        with pyflow.Engine(journal=path) as engine:
            engine.execute(shop())
        with pyflow.Engine(journal=path, notifiers=[ear]) as engine:
            engine.execute(shop(fails=False))
            assert engine.wait_delivered()

        assert ear.events == ["started", "succeeded"]

    def test_reads_how_runs_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Looking for what is left to tell takes no longer where earlier runs were long, or many."""
        path = str(tmp_path / "deploys.db")
        with pyflow.Engine(journal=path, notifiers=[Route(Ear(), name="x")]) as engine:
            earlier = [engine.execute(shop(fails=False)).run_id for _ in range(3)]
            assert engine.wait_delivered()
        with pyflow.Engine(journal=path, notifiers=[Route(Ear(), name="x")]) as engine:
            reads = note_reads(engine.journal, monkeypatch)
            engine.execute(shop(fails=False))
            assert engine.wait_delivered()

        assert reads != []
        assert [run_id for run_id in reads if run_id.removesuffix(".notices") in earlier] == []

    def test_of_yesterday(self, tmp_path: Path) -> None:
        """What is left of a run that began days ago is told if it has gone on since."""
        path, ear, clock = str(tmp_path / "deploys.db"), Ear(), Shifted(timedelta(days=-3))
        workflow = pyflow.Workflow("shop")
        workflow.add_approval("go", "Shall it go on?")
        with pyflow.Engine(journal=path, notifiers=[Route(Ear(), name="x")], clock=clock) as e:
            run_id = e.execute(workflow).run_id
            assert e.wait_delivered()
        with pyflow.Engine(journal=path) as engine:
            engine.approve(run_id, "go", by="ann")
            assert engine.resume(run_id, workflow).status == "succeeded"
        with pyflow.Engine(journal=path, notifiers=[Route(ear, name="x")]) as engine:
            engine.execute(shop(fails=False))
            assert engine.wait_delivered()

        assert [m.event for m in ear.heard if m.run.id == run_id][-1:] == ["succeeded"]

    def test_of_last_week(self, tmp_path: Path) -> None:
        """What is left of a run that ended days ago is told to nobody any more."""
        path, ear, clock = str(tmp_path / "deploys.db"), Ear(), Shifted(timedelta(days=-3))
        down = Ear(lambda: retrying("down", wait_s=60))
        with pyflow.Engine(journal=path, notifiers=[down], drain="0s", clock=clock) as engine:
            engine.execute(shop())
        with pyflow.Engine(journal=path, notifiers=[ear]) as engine:
            engine.execute(shop(fails=False))
            assert engine.wait_delivered()

        assert ear.events == ["started", "succeeded"]

    def test_rolled_back_later(self, tmp_path: Path) -> None:
        """A run that is taken up after its end is told about again, from there on, in its thread."""
        path = str(tmp_path / "deploys.db")
        workflow = pyflow.Workflow("shop", on_failure="stop")
        workflow.add_task("deploy", lambda: 1)
        workflow.add_task("check", boom, depends_on=["deploy"])
        workflow.add_recovery("deploy", lambda: None)
        with SlackServer() as slack:
            route = Route(
                Slack(
                    token=slack.token, channel="C0TEST", base_url=slack.api_url, allow_private=True
                )
            )
            with pyflow.Engine(journal=path, notifiers=[route]) as engine:
                run_id = engine.execute(workflow).run_id
                assert engine.wait_delivered()
            with pyflow.Engine(journal=path, notifiers=[route]) as engine:
                engine.rollback(run_id, workflow, reason="too slow")
                assert engine.wait_delivered()

            root, *answers = slack.channel
            assert [a["thread_ts"] for a in answers] == [root["ts"]] * len(answers)
            assert "rolled back" in answers[-1]["text"]
            assert "rolled back" in root["text"]

    def test_two_engines(self, tmp_path: Path) -> None:
        """Two engines on one journal, each with its runs, tell everything once."""
        path, ears = str(tmp_path / "deploys.db"), (Ear(), Ear())
        engines = [pyflow.Engine(journal=path, notifiers=[Route(ear, name="x")]) for ear in ears]
        for _ in range(3):
            for engine in engines:
                engine.execute(shop(fails=False))
        for engine in engines:
            assert engine.wait_delivered()
            engine.close()

        ids = [message.id for ear in ears for message in ear.heard]
        assert len(ids) == len(set(ids)) == 12

    def test_turns(self, tmp_path: Path) -> None:
        """While one engine tells about a run no other does; once it is gone, the next one goes on."""
        path, ears = str(tmp_path / "deploys.db"), (Ear(), Ear())

        with pyflow.Engine(journal=path, notifiers=[Route(Stuck(), name="x")], drain=0) as first:
            run_id = first.execute(shop()).run_id
            with pyflow.Engine(journal=path, notifiers=[Route(ears[0], name="x")]) as second:
                second.execute(shop(fails=False))
                assert second.wait_delivered()
        with pyflow.Engine(journal=path, notifiers=[Route(ears[1], name="x")]) as third:
            third.execute(shop(fails=False))
            assert third.wait_delivered()

        assert [m.event for m in ears[0].heard if m.run.id == run_id] == []
        assert [m.event for m in ears[1].heard if m.run.id == run_id] == ROLLED_BACK

    @pytest.mark.parametrize("seq_told", [0, 1, 2, 3])
    def test_killed(self, tmp_path: Path, seq_told: int) -> None:
        """Killed between sending and recording, a message comes again with the same id, and none is lost."""
        out, path = tmp_path / "told.jsonl", tmp_path / "deploys.db"
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(path), str(out), str(seq_told)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 9, done.stderr

        with pyflow.Engine(journal=str(path), notifiers=[Route(File(out), name="x")]) as engine:
            (run_id,) = engine.journal.runs()
            engine.execute(shop(fails=False))
            assert engine.wait_delivered()

        lines = [json.loads(line) for line in out.read_text().splitlines()]
        told = [line["id"] for line in lines if line["run"] == run_id]
        events = [line["event"] for line in lines if line["run"] == run_id]
        assert list(dict.fromkeys(events)) == ROLLED_BACK
        assert len(set(told)) == len(ROLLED_BACK)
        assert max(told.count(one) for one in told) <= 2

    def test_end_of_program(self, tmp_path: Path) -> None:
        """A program that ends without closing its engine still tells what is left."""
        out = tmp_path / "told.jsonl"
        done = subprocess.run(
            [sys.executable, "-c", ENDS, str(out)], capture_output=True, text=True, check=False
        )

        assert (done.returncode, done.stderr) == (0, "")
        events = [json.loads(line)["event"] for line in out.read_text().splitlines()]
        assert events == ["started", "succeeded"]


KILLED = """
import os, sys, pyflow
from pyflow.notifiers import File, Route

class Dies:
    def __init__(self, path, count):
        self.file, self.left = File(path), count
    async def notify(self, message, attempt, /):
        if message.event == "started":
            done.wait()  # so that the run is over, and its record complete
        found = await self.file.notify(message, attempt)
        self.left -= 1
        if self.left < 0:
            os._exit(9)
        return found

def boom():
    raise OSError("no route to host")

import threading
done = threading.Event()
path, out, count = sys.argv[1:]
w = pyflow.Workflow("shop", params={"version": "2.3.1"})
w.add_task("deploy", lambda: 1)
w.add_task("check", boom, depends_on=["deploy"])
w.add_recovery("deploy", lambda: None)
engine = pyflow.Engine(journal=path, notifiers=[Route(Dies(out, int(count)), name="x")])
engine.execute(w)
done.set()
engine.wait_delivered()
"""
ENDS = """
import sys, pyflow
from pyflow.notifiers import File
w = pyflow.Workflow("w")
w.add_task("a", lambda: 1)
pyflow.Engine(notifiers=[File(sys.argv[1])]).execute(w)
"""


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"notifiers": "slack"}, "no list of routes"),
            ({"notifiers": [None]}, "is no notifier"),
            ({"notifiers": [Ear(), Ear()]}, "stand twice"),
            ({"drain": -1}, "drain"),
        ],
    )
    def test_refused(self, options: Any, words: str) -> None:
        """What is no route is refused when the engine is made."""
        with pytest.raises(pyflow.DefinitionError, match=words):
            pyflow.Engine(**options)


class TestWebhookEndToEnd:
    def test_signed(self) -> None:
        """From a run to a receiver that checks signatures, through every layer."""
        key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        with WebhookServer(secrets=(key,)) as server:
            ran(shop(), Webhook(server.url, secrets=[key], allow_private=True))

        assert [e["type"] for e in server.events] == [f"deployment.{e}" for e in ROLLED_BACK]
