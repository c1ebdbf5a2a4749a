"""Every trigger, over every way in which a service can fail: the deadline holds, nothing is sent twice."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, TypeAlias

import pytest

import pyflow
from pyflow.errors import PipelineError, PipelineUnknown
from pyflow.messages import Attempt, Delivery
from pyflow.testing.servers import (
    GitHubServer,
    GitLabServer,
    Reply,
    Step,
)
from pyflow.triggers import GitHubDeployments, GitLabDeployments
from support.fault_matrix import AMPLE_S, JSON, TIMEOUT_S, allowed_s
from support.fault_matrix import FAULTS as SERVICE_FAULTS
from support.notices import RUN, message
from support.pace import LASTING_S, SLACK_S, timed, together
from support.pipelines import KITS, Kit, kit, one_task, quick

CANCEL_S = 0.05
Bad: TypeAlias = Callable[[Any], bool]
"""Whether a request is one that a fault is met with."""

FAULTS: dict[str, Step] = {
    **SERVICE_FAULTS,
    "NaN": Reply(200, '{"id": NaN, "status": "success", "workflow_run_id": NaN}', JSON),
    "wrong types": Reply(200, {"id": "x", "status": 7, "workflow_run_id": [], "building": "no"}),
}
"""Those of every service, with fields of pipelines in what is no number and of no type."""
CERTAIN = (
    *("redirect to itself", "redirect elsewhere", "permanent redirect"),
    *("400", "401", "404", *(name for name in FAULTS if name.startswith("429"))),
)
"""Faults that say that nothing was started."""
AGAIN = ("429 negative", "429 date")
"""Those that say besides that the limit is over, so the start is sent again and again, and
whether the last of them has its answer when the time is up is chance."""
ANSWERED = frozenset(CERTAIN) - frozenset(AGAIN)
"""Faults with which a start ends before its deadline."""
EXTRA = ("/jobs?", "/logs", "/trace", "/consoleText")
"""Where the details of a pipeline are."""


@dataclass(frozen=True)
class Outcome:
    """What came of a task over a faulty service."""

    result: pyflow.Result
    took_s: float
    starts: int
    """How often a start was sent."""

    @property
    def error(self) -> BaseException:
        """How the task failed."""
        error = self.result.tasks["deploy"].error
        assert error is not None
        return error


def hasty(at: Kit, timeout_s: float = LASTING_S, **options: Any) -> Any:
    """Return a trigger whose deadline is near and whose patience is long."""
    steady = pyflow.Backoff("100ms", ceiling="500ms")
    spans = quick(
        timeout=timeout_s, settle="1m", patience="1m", cancel_within=CANCEL_S, poll=steady
    )
    return at.trigger(watch=spans, **options)


def run(trigger: Any) -> Awaitable[pyflow.Result]:
    """Run a task of *trigger* in an engine of its own."""
    return pyflow.Engine().run(one_task(trigger))


def all_faults(name: str, bad: Bad, make: Callable[[Kit, str], Any]) -> dict[str, Outcome]:
    """Run what *make* makes with every fault in what is *bad*, all at a time."""
    with contextlib.ExitStack() as stack:
        kits = {fault: stack.enter_context(kit(name)) for fault in FAULTS}
        for fault, at in kits.items():
            spoil(at.server, bad, FAULTS[fault])
        asks = {fault: partial(run, make(at, fault)) for fault, at in kits.items()}
        came = together(asks)
        return {fault: Outcome(*came[fault], starts=at.starts) for fault, at in kits.items()}


def spoil(server: Any, bad: Bad, step: Step) -> None:
    """Have *server* do *step* with those requests that are *bad*."""
    answer = server.answer
    server.answer = lambda r: step if bad(r) else answer(r)


@cache
def starts(name: str) -> dict[str, Outcome]:
    """Have everything fail from the start on."""
    return all_faults(
        name,
        lambda _: True,
        lambda at, fault: hasty(at, AMPLE_S if fault in ANSWERED else LASTING_S),
    )


@cache
def looks(name: str) -> dict[str, Outcome]:
    """Have every look fail."""
    return all_faults(name, partial(is_a, "GET"), lambda at, _: hasty(at))


@cache
def details(name: str) -> dict[str, Outcome]:
    """Have all requests for jobs and logs fail."""
    return all_faults(
        name,
        lambda r: any(one in r.path for one in EXTRA),
        lambda at, fault: hasty(at, allowed_s(fault), keep_log=True),
    )


@pytest.mark.parametrize("name", KITS)
class TestFaults:
    @pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in AGAIN])
    def test_start(self, name: str, fault: str) -> None:
        """However a start fails, the task ends in time, says what is known, and sends it once."""
        found = starts(name)[fault]

        assert found.took_s <= LASTING_S + SLACK_S
        assert isinstance(found.error.__cause__, PipelineError)
        assert isinstance(found.error.__cause__, PipelineUnknown) == (fault not in CERTAIN)
        assert found.result.status == ("failed" if fault in CERTAIN else "held")
        assert found.starts == 1
        assert len(str(found.error)) <= 1_500
        assert all(line.isprintable() for line in str(found.error).splitlines())

    @pytest.mark.parametrize("fault", FAULTS)
    def test_look(self, name: str, fault: str) -> None:
        """However the looks fail, the task ends in time, and holds the run: the pipeline may run."""
        found = looks(name)[fault]

        assert found.took_s <= LASTING_S + SLACK_S
        assert isinstance(found.error.__cause__, PipelineUnknown)
        assert found.result.status == "held"
        assert found.starts == 1

    @pytest.mark.parametrize("fault", FAULTS)
    def test_details(self, name: str, fault: str) -> None:
        """However jobs and logs fail, a pipeline that ended well has ended well, and in time."""
        found = details(name)[fault]

        assert found.result.status == "succeeded"
        assert found.took_s <= LASTING_S + SLACK_S
        assert found.starts == 1

    def test_refused(self, name: str) -> None:
        """A port on which nobody listens has started nothing, and the task fails in time."""
        with kit(name) as at:
            trigger = hasty(at, TIMEOUT_S)

        result, took_s = timed(lambda: run(trigger))

        assert result.status == "failed"
        assert took_s <= TIMEOUT_S + SLACK_S

    def test_untrusted(self, name: str) -> None:
        """A certificate that nobody vouches for is never talked to."""
        with kit(name, tls=True) as at:
            result, _ = timed(lambda: run(hasty(at, TIMEOUT_S)))

            assert at.server.received == []
        assert result.status == "failed"


HUB = pyflow.Secret("ghp-for-tests-only", name="t")
LAB = pyflow.Secret("glpat-for-tests-only", name="t")
DEPLOYMENTS: dict[str, tuple[type[GitHubServer | GitLabServer], Any]] = {
    "github": (
        GitHubServer,
        lambda s: GitHubDeployments("acme/shop", token=HUB, base_url=s.base_url),
    ),
    "gitlab": (
        GitLabServer,
        lambda s: GitLabDeployments("acme/shop", token=LAB, base_url=s.base_url),
    ),
}
METHODS = ("GET", "POST")
CI = {"commit": "0123456789abcdef", "ref": "main"}
STARTED = message("started", run=replace(RUN, ci=CI))


@cache
def told() -> dict[tuple[str, str, str], tuple[Delivery, float]]:
    """Tell all of a start while every request of a method fails in every way, all at a time."""
    with contextlib.ExitStack() as stack:
        asks: dict[tuple[str, str, str], Callable[[], Awaitable[Delivery]]] = {}
        for name, method, fault in itertools.product(DEPLOYMENTS, METHODS, FAULTS):
            serve, make = DEPLOYMENTS[name]
            server = stack.enter_context(serve(refs=(CI["commit"], "main")))
            spoil(server, partial(is_a, method), FAULTS[fault])
            attempt = Attempt(timeout_s=allowed_s(fault))
            asks[name, method, fault] = partial(make(server).notify, STARTED, attempt)
        return together(asks)


def is_a(method: str, request: Any) -> bool:
    """Return whether *request* has *method*."""
    return request.method == method


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", DEPLOYMENTS)
class TestDeployments:
    @pytest.mark.parametrize("method", METHODS)
    def test_told(self, name: str, fault: str, method: str) -> None:
        """Whichever request fails, the try ends in time, raises nothing, and is no false success."""
        found, took_s = told()[name, method, fault]

        assert took_s <= allowed_s(fault) + SLACK_S
        assert found.status != "delivered"
        assert len(found.detail) <= 600
        assert found.detail.isprintable()
