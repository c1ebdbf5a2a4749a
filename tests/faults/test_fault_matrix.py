"""Everything that asks a service, over every way in which a service can fail."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Generator
from typing import Any

import pytest

import pyflow
from pyflow.notifiers import Route
from pyflow.protocols import Notifier
from pyflow.testing.servers import HTTPServer, Reply
from support.fake_http import closed_port
from support.fault_matrix import (
    AMPLE_S,
    CALLERS,
    COMMAND_FAULTS,
    FAULTS,
    MAKERS,
    NOTIFIERS,
    SILENT,
    SUBJECTS,
    TIMEOUT_S,
    WORDS_CHARS_MAX,
    Place,
    allowed_s,
    faced,
    measured,
)
from support.pace import SLACK_S, timed

HTTP_ALONE = [name for name in SUBJECTS if name not in ("email", "probe TCP")]


@pytest.mark.parametrize("name", SUBJECTS)
class TestEverybody:
    def test_healthy(self, name: str) -> None:
        """With a service that does as documented all is well, so the matrix tells a difference."""
        subject = SUBJECTS[name]
        with subject.server().always(subject.healthy) as server:
            seen, _ = measured(subject, Place(server.port))

        assert seen.good, seen.words

    @pytest.mark.parametrize("fault", FAULTS)
    def test_fault(self, name: str, fault: str) -> None:
        """Whatever a service does, asking ends in time, raises nothing, and is no false success."""
        seen, took_s = faced(name, fault)

        assert took_s <= allowed_s(fault) + SLACK_S
        assert not seen.good or SUBJECTS[name].may_be_well(fault)
        assert len(seen.words) <= WORDS_CHARS_MAX
        assert seen.words.isprintable()

    def test_refused(self, name: str) -> None:
        """A port on which nobody listens is no success, and may be asked again."""
        seen, _ = measured(SUBJECTS[name], Place(closed_port()))

        assert not seen.good
        assert seen.again in (None, True)
        assert not seen.doubt

    def test_no_name(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A name that is not found is no success, and may be asked again."""

        def getaddrinfo(*_: Any, **__: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

        seen, _ = measured(SUBJECTS[name], Place(80, "nowhere.example"))

        assert not seen.good
        assert seen.again in (None, True)
        assert not seen.doubt

    def test_slow_name(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A name that is looked up for ever does not move the deadline."""
        over = threading.Event()

        def getaddrinfo(*_: Any, **__: Any) -> Any:
            over.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Try again")

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

        place = Place(80, "nowhere.example", timeout_s=TIMEOUT_S)
        seen, took_s = measured(SUBJECTS[name], place, then=over.set)

        assert not seen.good
        assert seen.again in (None, True)
        assert took_s <= TIMEOUT_S + SLACK_S

    def test_proxy(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Proxies that the environment names are not used."""
        for variable in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{closed_port()}")
        subject = SUBJECTS[name]

        with subject.server().always(subject.healthy) as server:
            seen, _ = measured(subject, Place(server.port))

        assert seen.good, seen.words


@pytest.mark.parametrize("name", HTTP_ALONE)
class TestTLS:
    def test_untrusted(self, name: str) -> None:
        """A certificate that nobody vouches for is never talked to."""
        with HTTPServer(tls=True).always(Reply(200)) as server:
            seen, _ = measured(SUBJECTS[name], Place(server.port, scheme="https"))

            assert not seen.good
            assert not seen.doubt
            assert server.received == []


@pytest.mark.parametrize("name", NOTIFIERS)
class TestNotifiers:
    @pytest.mark.parametrize("fault", SILENT)
    def test_in_doubt(self, name: str, fault: str) -> None:
        """What went out and was not answered may have arrived, and that is what is said."""
        seen, _ = faced(name, fault)

        assert seen.doubt
        assert "may have arrived" in seen.words


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("fault", COMMAND_FAULTS)
class TestPrograms:
    def test_fault(self, name: str, fault: str) -> None:
        """Whatever a program does, calling it ends in time, raises nothing, and is no false success."""
        seen, took_s = timed(lambda: CALLERS[name](COMMAND_FAULTS[fault]))

        assert took_s <= TIMEOUT_S + SLACK_S
        assert not seen.good
        assert seen.words.isprintable()


@pytest.fixture
def unfit() -> Generator[dict[str, HTTPServer]]:
    """A server for each notifier of the matrix."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(SUBJECTS[name].server()) for name in (*NOTIFIERS, "email")}


def deployment(*, fails: bool) -> pyflow.Workflow:
    """Return a workflow that succeeds, or that is rolled back."""
    workflow = pyflow.Workflow("shop")
    workflow.add_task("deploy", lambda: 1)
    workflow.add_task("check", (lambda: 1 / 0) if fails else (lambda: 2), depends_on=["deploy"])
    workflow.add_recovery("deploy", lambda: None)
    return workflow


class TestRuns:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_unchanged(self, unfit: dict[str, HTTPServer], fault: str) -> None:
        """Whatever happens to all notifiers at once, a run ends as it would without, and waits for none."""
        routes = [
            Route(made(name, server), name=name.replace(" ", "-"), timeout=AMPLE_S)
            for name, server in unfit.items()
        ]
        for server in unfit.values():
            server.always(FAULTS[fault])
        fails = len(fault) % 2 == 0
        alone = pyflow.Engine(seed=1).execute(deployment(fails=fails))

        with pyflow.Engine(notifiers=routes, drain=0, seed=1) as engine:
            result = engine.execute(deployment(fails=fails))

        assert (result.status, kinds(result)) == (alone.status, kinds(alone))
        assert str(result.error) == str(alone.error)
        trail = result.audit_trail
        assert (trail[-1].at - trail[0].at).total_seconds() < AMPLE_S


def made(name: str, server: HTTPServer) -> Notifier:
    """Return the notifier *name* of the matrix, in front of *server*."""
    return MAKERS[name](Place(server.port))


def kinds(result: pyflow.Result) -> list[str]:
    """Return what is on the record of a run, by kind."""
    return [record.kind for record in result.audit_trail]
