"""Forty secrets in all their renderings, said in every way that a task has: no sink shows any."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow import Engine, Reading, Secret, Workflow
from pyflow.exports import cdevents, csv, junit_suites, otlp
from pyflow.notices.template import Template
from pyflow.notifiers import Console, Email, File, Log, PagerDuty, Route, Slack, Teams, Webhook
from pyflow.testing.servers import (
    HTTPServer,
    PagerDutyServer,
    SlackServer,
    SMTPServer,
    TeamsServer,
    WebhookServer,
)
from support import isolated_tasks as tasks
from support.secret_matrix import SECRETS, leaked, masked, said, windows

NAMES = {f"s{number}": kind for number, kind in enumerate(SECRETS)}
FEW = {name: kind for name, kind in NAMES.items() if kind != "64 KiB"}
"""Those that together fit into what an isolated task may send back."""
HASH = re.compile(r"[0-9a-f]{32,64}")
"""Hashes hold every six digits sooner or later."""
IDS = re.compile(r'"(?:spanId|parentSpanId|\w+imeUnixNano)":"[0-9a-f]+"')
"""And so do ids of spans, and instants in nanoseconds."""
SOFT_BREAK = re.compile(r"=\r?\n")
"""Where mail goes on in the next line."""
CHANGING = re.compile(
    r"\d{8}-\d{6}-[0-9a-f]{8}"  # ids of runs
    r"|\d\d:\d\d:\d\d(?:\.\d+)?"  # times of day
    r"|0x[0-9a-f]{6,}"  # where objects are
    r"|\d+\.\d{3,}"  # how long things took
)
"""What differs from run to run: of all runs, one has by chance what a rendering has."""
EVENTS = ["logged", "task_failed", "task_skipped", "change_recorded", "failed", "succeeded"]


class Telling:
    """A probe whose evidence is the words that it was made with."""

    def __init__(self, words: str) -> None:
        self.words = words

    async def read(self) -> Reading:
        return Reading("unhealthy", {"body": self.words, self.words: [self.words]})


def telling(say: Callable[[str], str]) -> Workflow:
    """Return a workflow whose tasks say each secret as *say* renders it, in every way there is."""
    workflow = Workflow("telling", params=dict.fromkeys(NAMES, Secret), on_failure="continue")

    def words(ctx: Any) -> list[str]:
        return [say(ctx.params[name].reveal()) for name in NAMES]

    @workflow.task
    async def tell(ctx: pyflow.AsyncContext) -> None:
        for text in words(ctx):
            ctx.log(text, data={text: text})
            ctx.record_change(text, before={"was": text}, after=[text])
            await ctx.read(Telling(text))

    @workflow.task
    async def raise_it(ctx: pyflow.AsyncContext) -> None:
        text = "\n".join(words(ctx))
        error = RuntimeError(text)
        error.add_note(text)
        raise error from ValueError(text)

    @workflow.task
    def raise_group(ctx: pyflow.Context) -> None:
        raise ExceptionGroup("several", [KeyError(text) for text in words(ctx)])

    @workflow.task
    def wrapped(ctx: pyflow.Context) -> None:
        raise ValueError(words(ctx), {"all": words(ctx)})

    @workflow.recovery(raise_group, then="retry")
    def repair(ctx: pyflow.RecoveryContext) -> None:
        raise OSError("\n".join(words(ctx)))

    return workflow


class Sinks:
    """An engine that tells every notifier there is, and everything that comes out of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stream, self.log = io.StringIO(), io.StringIO()
        self.http: dict[str, HTTPServer] = {
            "slack": SlackServer(),
            "teams": TeamsServer(),
            "pagerduty": PagerDutyServer(routing_key="ab" * 16),
            "webhook": WebhookServer(),
            "cdevents": WebhookServer(),
        }
        self.mail = SMTPServer(starttls=False)

    def routes(self) -> list[Route]:
        slack, teams = self.http["slack"], self.http["teams"]
        private: Any = {"allow_private": True}
        notifiers: dict[str, Any] = {
            "console": Console(self.stream),
            "log": Log(),
            "file": File(self.root / "told.jsonl"),
            "slack": Slack(slack.url, **private),  # type: ignore[attr-defined]
            "teams": Teams(teams.url, **private),  # type: ignore[attr-defined]
            "pagerduty": PagerDuty("ab" * 16, base_url=self.http["pagerduty"].base_url, **private),
            "webhook": Webhook(self.http["webhook"].url, **private),  # type: ignore[attr-defined]
            "cdevents": Webhook(self.http["cdevents"].url, format="cdevents", **private),  # type: ignore[attr-defined]
            "email": Email(
                "127.0.0.1",
                port=self.mail.port,
                sender="a@h.example",
                to=["b@h.example"],
                security="none",
            ),
        }
        words = Template(title="$where: $headline", text="$detail\n$failure\n$reason\n$params")
        return [
            Route(notifier, events=EVENTS, name=name, template=words)
            for name, notifier in notifiers.items()
        ]

    def run(self, say: Callable[[str], str]) -> dict[str, str]:
        """Run all of it, and return what each sink holds."""
        path = self.root / "deploys.db"
        secrets = {name: Secret(SECRETS[kind], name=name) for name, kind in NAMES.items()}
        with Engine(journal=str(path), notifiers=self.routes(), drain="60s") as engine:
            result = engine.execute(telling(say), params=secrets)
            assert engine.wait_delivered("60s")
            notices = engine.notices(result.run_id)
        found = {
            "journal": path.read_bytes().decode("utf-8", "replace"),
            "trail": result.audit_trail.to_jsonl(),
            "trail as text": str(result.audit_trail),
            "notices": notices.to_jsonl(),
            "result": f"{result!r}\n{result}",
            "errors": "\n".join(f"{t.error}\n{t.error!r}" for t in result.tasks.values()),
            "console": self.stream.getvalue(),
            "log": self.log.getvalue(),
            "file": (self.root / "told.jsonl").read_text(),
            "mail": SOFT_BREAK.sub("", "\n".join(str(mail.content) for mail in self.mail.mails)),
        }
        for form in (csv, cdevents, junit_suites, otlp):
            found[f"export as {form.__name__}"] = IDS.sub("", "".join(form(result.audit_trail)))
        for name, server in self.http.items():
            found[name] = "\n".join(r.body.decode() for r in server.received)
        lost = [r.data for r in notices.query(kind="notified") if r.data["result"] == "rejected"]
        assert lost == []
        return {sink: CHANGING.sub("~", HASH.sub("", text)) for sink, text in found.items()}


def everything(root: Path, say: Callable[[str], str]) -> dict[str, str]:
    """Return what every sink holds once each secret was said as *say* renders it."""
    root.mkdir()
    sinks = Sinks(root)
    logger, handler = logging.getLogger("pyflow"), logging.StreamHandler(sinks.log)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    for server in (*sinks.http.values(), sinks.mail):
        server.__enter__()
    try:
        return sinks.run(say)
    finally:
        for server in (*sinks.http.values(), sinks.mail):
            server.__exit__(None, None, None)
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


class TestEverySink:
    def test_nothing(self, tmp_path: Path) -> None:
        """No sink shows more of any secret than if masks had been written to begin with."""
        allowed = everything(tmp_path / "masked", masked)

        found = everything(tmp_path / "said", said)

        assert all(found.values())
        for sink, text in found.items():
            assert leaked(text, allowed=frozenset(windows(allowed[sink]))) == [], sink


class TestChildProcess:
    def test_nothing(self, tmp_path: Path) -> None:
        """An isolated task shows none in its arguments and environment, in what it says and raises."""
        workflow = Workflow("aside", params=dict.fromkeys(FEW, Secret), on_failure="continue")
        workflow.add_task("tell", tasks.tell_all)
        workflow.add_task("fail", tasks.fail_with_all)
        secrets = {name: Secret(SECRETS[kind], name=name) for name, kind in FEW.items()}

        with Engine(isolation="process", journal=str(tmp_path / "d.db")) as engine:
            result = engine.execute(workflow, params=secrets)

        own = frozenset(windows("\n".join((masked(""), '"type":"RuntimeError"'))))
        assert result.tasks["tell"].output == []
        assert result.tasks["fail"].error is not None
        assert "***" in str(result.tasks["fail"].error)
        text = CHANGING.sub("~", HASH.sub("", result.audit_trail.to_jsonl()))
        assert leaked(text, allowed=own) == []


class TestWhatCannotBeMasked:
    @pytest.mark.parametrize("isolation", [None, "process"])
    def test_checkpoint(self, isolation: Any) -> None:
        """A checkpoint with a secret in plain text fails the task: a resume could not give it back."""
        workflow = Workflow("w", params={"token": Secret})
        workflow.add_task("save", tasks.save_a_secret)

        with Engine(isolation=isolation) as engine:
            result = engine.execute(workflow, params={"token": Secret(SECRETS["github"])})

        assert "checkpoint['***']: holds a secret" in str(result.error)
        assert SECRETS["github"] not in result.audit_trail.to_jsonl()

    def test_item_names(self) -> None:
        """Items that hold a secret are numbered, so that they are told apart."""
        workflow = Workflow("w", params={"hosts": ["eu-1", f"eu-{SECRETS['github']}"]})
        workflow.add_map("ship", lambda item: None, over="hosts")

        with Engine(secrets=[Secret(SECRETS["github"])]) as engine:
            result = engine.execute(workflow)

        names = result.audit_trail.query(kind="map_expanded")[0].data["names"]
        assert names == ["ship[0]", "ship[1]"]
        assert SECRETS["github"] not in result.audit_trail.to_jsonl()
