"""What all triggers promise, each against a server that plays its service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import pyflow
from pyflow.errors import NeedsDecision, PipelineError, PipelineFailed, PipelineUnknown
from pyflow.testing.servers import Hang, Reply, Reset
from pyflow.triggers import Pipeline
from support.pipelines import (
    KITS,
    START,
    Fixed,
    Kit,
    brief,
    execute,
    kit,
    one_task,
    quick,
    versioned,
)


@pytest.fixture(params=KITS)
def at(request: pytest.FixtureRequest) -> Iterator[Kit]:
    with kit(request.param) as made:
        yield made


def cause(result: pyflow.Result) -> BaseException:
    """Return what the task raised."""
    error = result.tasks["deploy"].error
    assert error is not None
    assert error.__cause__ is not None
    return error.__cause__


def saved(result: pyflow.Result) -> list[str]:
    """Return how far the task had come, at each time when that was saved."""
    records = result.audit_trail.query(kind="checkpoint_saved")
    return [record.data["value"]["stage"] for record in records]


class TestWaiting:
    def test_ends_well(self, at: Kit) -> None:
        """One pipeline is started, waited for, and is the output of the task."""
        result = execute(at.trigger(inputs=versioned))

        assert result.status == "succeeded"
        out: Pipeline = result.tasks["deploy"].output
        assert isinstance(out, Pipeline)
        assert out.status == at.good
        assert out.url.startswith("https://")
        assert out.log == ""
        assert (at.starts, len(at.started())) == (1, 1)
        assert "2.0" in json.dumps(at.started()[0])
        assert out.key in json.dumps(at.started()[0])
        assert saved(result)[:2] == ["sent", "started"]

    def test_ends_badly(self, at: Kit) -> None:
        """A pipeline that fails fails the task, with its address, its status and its last words."""
        at.server.conclusion = at.bad

        result = execute(at.trigger())

        error = cause(result)
        assert isinstance(error, PipelineFailed)
        assert result.status == "failed"
        assert (error.status, error.url) == (at.bad, error.url)
        assert error.url.startswith("https://")
        assert error.url in str(error)
        assert "no space left" in error.log
        assert "no space left" in str(error)
        assert "\x1b" not in str(error)

    def test_accepts(self, at: Kit) -> None:
        """Which ends are good ones is for the user to say."""
        at.server.conclusion = at.bad

        assert execute(at.trigger(accept=(at.good, at.bad))).status == "succeeded"

    def test_keeps_log(self, at: Kit) -> None:
        """The output holds the end of the log if that was asked for."""
        result = execute(at.trigger(keep_log=True))

        assert "no space left" in result.tasks["deploy"].output.log

    def test_retry(self, at: Kit) -> None:
        """A pipeline that has failed is started anew by a retry, under another id."""
        at.server.conclusion = at.bad

        result = execute(at.trigger(), retry=pyflow.Retry(2, backoff="1ms"))

        assert result.status == "failed"
        keys = [k for k in json.dumps(at.started()).split('"') if k.startswith("pyflow-")]
        assert len(at.started()) == 2
        assert {key.rpartition("-")[2] for key in keys} == {"1", "2"}

    def test_trail(self, at: Kit) -> None:
        """What was started is in the audit trail, where a person finds it."""
        result = execute(at.trigger())

        [change] = result.audit_trail.query(kind="change_recorded")
        assert change.data["after"]["url"].startswith(("https://", at.server.base_url))


class TestStarting:
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 301, 307])
    def test_refused(self, at: Kit, status: int) -> None:
        """What the service refuses has started nothing, and fails the task at once."""
        at.server.will(Reply(status, {"message": "no, because"}, {"Location": "/elsewhere"}))

        result = execute(at.trigger())

        error = cause(result)
        assert isinstance(error, PipelineError)
        assert not isinstance(error, NeedsDecision)
        assert "it was not started" in str(error)
        assert str(status) in str(error)
        assert at.starts == 1

    @pytest.mark.parametrize(
        "headers",
        [
            {"Retry-After": "0.002"},
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795780799"},
            {"RateLimit-Remaining": "0", "RateLimit-Reset": "1795780799"},
        ],
    )
    def test_limited(self, at: Kit, headers: dict[str, str]) -> None:
        """A rate limit has started nothing, and is waited for as it asks."""
        at.server.will(Reply(429, {"message": "slow down"}, headers))

        result = execute(at.trigger(clock=Fixed(), watch=quick(patience="20s")))

        assert result.status == "succeeded"
        assert (at.starts, len(at.started())) == (2, 1)
        assert saved(result)[:4] == ["sent", "idle", "sent", "started"]

    def test_limit_that_is_long(self, at: Kit) -> None:
        """A limit that asks for more time than there is patience fails the task; nothing runs."""
        at.server.will(Reply(429, "", {"Retry-After": "3600"}))

        assert type(cause(execute(at.trigger()))) is PipelineError
        assert at.started() == []

    def test_refused_connection(self, at: Kit) -> None:
        """A server that is not there has started nothing."""
        trigger = at.trigger(watch=brief())
        at.server.__exit__()

        error = cause(execute(trigger))
        at.server.__enter__()

        assert type(error) is PipelineError


class TestDoubt:
    @pytest.mark.parametrize(
        "step",
        [Reset(), Reply(500, "oops"), Reply(502, "<html>"), Reply(503, ""), Reply(200, "<html>")],
        ids=["reset", "500", "502", "503", "login page"],
    )
    def test_found(self, at: Kit, step: Any) -> None:
        """A start whose answer is lost is looked up, found, waited for, and not sent again."""
        trigger = at.trigger()

        def lost(request: Any) -> Any:
            if at.starts == 1 and not at.started():
                key = next(
                    part
                    for part in request.body.decode().replace("=", '"').replace("&", '"').split('"')
                    if part.startswith("pyflow-")
                )
                at.begin(key)
                return step
            return type(at.server).answer(at.server, request)

        at.server.answer = lost
        result = execute(trigger)

        assert result.status == "succeeded"
        assert (at.starts, len(at.started())) == (1, 1)

    def test_not_found(self, at: Kit) -> None:
        """One that is not to be found holds the run for a person, and is not sent again."""
        at.server.will(Reset())

        result = execute(at.trigger(watch=brief()), retry=pyflow.Retry(3, backoff="1ms"))

        error = cause(result)
        assert isinstance(error, PipelineUnknown)
        assert result.status == "held"
        assert at.starts == 1
        assert "nobody knows whether the start" in str(error)
        assert "A retry looks it up again" in str(error)

    def test_not_to_be_looked_up(self, at: Kit) -> None:
        """Where it cannot be looked up, the error says so."""
        at.server.will(Reset()).always(Reply(500, "gone fishing"))

        error = cause(execute(at.trigger(watch=brief())))

        assert isinstance(error, PipelineUnknown)
        assert "gone fishing" in str(error)

    def test_without_correlation(self, at: Kit) -> None:
        """Without a correlation id it is for a person, who is told what could be it."""
        at.begin("whatever")
        at.server.will(Reset())

        error = cause(execute(at.trigger(correlation=None, clock=Fixed(), inputs={"version": "1"})))

        assert isinstance(error, PipelineUnknown)
        assert "these could be it: http" in str(error)
        assert at.starts <= 1

    def test_retry_later(self, at: Kit) -> None:
        """A person's retry, when it is old and nowhere to be found, starts it anew."""
        clock = Fixed()
        at.server.will(Reset())
        trigger = at.trigger(clock=clock, watch=brief())

        with pyflow.Engine() as engine:
            run = engine.start(one_task(trigger))
            held = run.wait()
            run.retry("deploy", by="ada")
            still = run.wait()
            assert (held.status, still.status, at.starts) == ("held", "held", 1)
            clock.at += timedelta(minutes=16)
            run.retry("deploy", by="ada")
            result = run.wait()

        assert result.status == "succeeded"
        assert (at.starts, len(at.started())) == (2, 1)

    def test_never_again(self, at: Kit) -> None:
        """With restart_after=None no attempt ever sends it again."""
        clock = Fixed()
        at.server.will(Reset())
        trigger = at.trigger(clock=clock, watch=brief(restart_after=None))

        with pyflow.Engine() as engine:
            run = engine.start(one_task(trigger))
            run.wait()
            clock.at = START + timedelta(days=9)
            run.retry("deploy", by="ada")
            result = run.wait()

        assert (result.status, at.starts) == ("held", 1)


class TestLooking:
    def test_outage(self, at: Kit) -> None:
        """Looks that come to nothing are tried again."""
        trigger = at.trigger(watch=quick(patience="5s"))
        answer = at.server.answer
        looks = 0

        def shaky(request: Any) -> Any:
            nonlocal looks
            if request.method == "GET":
                looks += 1
                if looks <= 4:
                    return [Reset(), Reply(500), Reply(200, "<html>"), Reply(429, "", LIMIT)][
                        looks - 1
                    ]
            return answer(request)

        at.server.answer = shaky

        assert execute(trigger).status == "succeeded"
        assert at.starts == 1

    def test_blind(self, at: Kit) -> None:
        """A pipeline that cannot be seen any more holds the run, and a retry goes on waiting."""
        trigger = at.trigger(watch=brief())
        answer = at.server.answer
        is_down = True
        at.server.answer = lambda r: (
            Reply(500, "down") if is_down and r.method == "GET" else answer(r)
        )

        with pyflow.Engine() as engine:
            run = engine.start(one_task(trigger))
            held = run.wait()
            is_down = False
            run.retry("deploy", by="ada")
            result = run.wait()

        assert held.status == "held"
        assert "it was started, and cannot be seen" in str(held.tasks["deploy"].error)
        assert result.status == "succeeded"
        assert at.starts == 1

    def test_token_expires(self, at: Kit) -> None:
        """A token that is refused while waiting holds the run at once."""
        trigger = at.trigger(watch=quick(patience="1h"))
        answer = at.server.answer
        at.server.answer = lambda r: Reply(401, "expired") if r.method == "GET" else answer(r)

        result = execute(trigger)

        assert result.status == "held"


LIMIT = {"Retry-After": "0.001"}


class TestEnding:
    def test_timeout(self, at: Kit) -> None:
        """A pipeline that takes too long is cancelled, and fails the task."""
        endless(at)

        result = execute(at.trigger(watch=quick(timeout="1s")))

        error = cause(result)
        assert isinstance(error, PipelineFailed)
        assert "took longer than 1 s, and was cancelled" in str(error)
        assert is_cancelled(at)

    def test_timeout_of_the_task(self, at: Kit) -> None:
        """The timeout of the task cancels the pipeline as well."""
        endless(at)

        result = execute(at.trigger(), timeout="1s")

        assert isinstance(result.tasks["deploy"].error, pyflow.TaskTimeout)
        assert is_cancelled(at)

    def test_cancel(self, at: Kit) -> None:
        """When the run is cancelled, so is the pipeline."""
        endless(at)

        with pyflow.Engine() as engine:
            run = engine.start(one_task(at.trigger()))
            at.server.wait(4)
            run.cancel(by="ada")
            result = run.wait()

        assert result.status == "cancelled"
        assert result.tasks["deploy"].status == "cancelled"
        assert is_cancelled(at)

    def test_cannot_be_cancelled(self, at: Kit) -> None:
        """A pipeline that does not end when asked to is said to run on."""
        endless(at)
        answer = at.server.answer
        stops = ("cancel", "stop")
        at.server.answer = lambda r: (
            Reply(500) if r.path.endswith(stops) or "cancelItem" in r.path else answer(r)
        )

        result = execute(at.trigger(watch=quick(timeout="2s", cancel_within="50ms")))

        assert result.status == "held"
        assert "may still run" in str(cause(result))

    def test_hang(self, at: Kit) -> None:
        """A start that is never answered ends with the time, and is looked up before that is said."""
        at.server.always(Hang())

        result = execute(at.trigger(watch=quick(timeout="600ms", cancel_within="50ms")))

        assert result.status == "held"
        assert at.starts == 1


def endless(at: Kit) -> None:
    """Have pipelines that never end by themselves."""
    if hasattr(at.server, "runs") and isinstance(at.server.runs, int):
        at.server.runs = 10**9
    else:
        at.server.course = ("running",) * 10_000 if at.good == "success" else at.server.course


def is_cancelled(at: Kit) -> bool:
    """Return whether the one thing that was started has been cancelled."""
    text = json.dumps(at.started()[0])
    return at.cancelled in text or '"cancelled": true' in text
