"""Start a pipeline of GitLab CI, and wait for it.

A start whose answer is lost is looked up among the pipelines of that ref that
changed since: by the correlation id in a pipeline's name, which costs nothing,
else in its variables, which a maintainer's token may read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from pyflow.clock import SystemClock
from pyflow.errors import shown
from pyflow.net.connect import tls_problems
from pyflow.net.proxy import as_proxy, proxy_problems
from pyflow.triggers._api import Api, Said, Trouble, web_url
from pyflow.triggers._checks import (
    base_url_problems,
    path_problems,
    ref_problems,
    refuse,
    token_problems,
    values_problems,
    watch_problems,
    words_problems,
)
from pyflow.triggers._excerpt import log_end
from pyflow.triggers._progress import mentions
from pyflow.triggers._service import (
    SKEW,
    Absent,
    Details,
    Doubt,
    Find,
    Found,
    Gone,
    Handle,
    Later,
    Look,
    Order,
    Refused,
    Seen,
    Several,
    Start,
    not_seen,
    not_started,
    unseen_by,
)
from pyflow.triggers._trigger import Given, Text, Trigger, given_problems
from pyflow.triggers.pipeline import Job
from pyflow.triggers.watch import Watch

if TYPE_CHECKING:
    import ssl

    from pyflow.net.proxy import Proxy
    from pyflow.protocols import Clock
    from pyflow.secrets import Secret

__all__ = ["GitLabCI", "project_problems", "project_segment"]

SEGMENT = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+-]*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
VARIABLES_MAX = 500
PAGE = 100
CANDIDATES_MAX = 20
NO_USE = (401, 403, 404)
"""Statuses after which another look would see no more."""
ENDED = frozenset({"success", "failed", "canceled", "skipped"})


class GitLabCI(Trigger):
    """Starts a pipeline of a GitLab project.

    Hand it to `Workflow.add_task`, with ``on_interrupt="rerun"``: after a
    crash it goes on with the pipeline that it had started. Show the
    correlation id in the pipeline's name, ``workflow: name: 'deploy
    $PYFLOW_ID'``, unless the token may read variables of pipelines.

    Args:
        project: Its path, such as ``"acme/shop"``, or its number.
        token: A personal, project or group access token with the scope
            ``api``; ``read_api`` does where *trigger_token* starts.
        ref: The branch or tag, or a function that makes it of parameters and
            outputs, as a task function is handed them.
        variables: The variables, or such a function.
        trigger_token: A pipeline trigger token that starts in its place.
        correlation: The variable for the correlation id. With None, a start
            whose answer is lost is for a person to look up.
        accept: Statuses that count as a good end.
        keep_log: Whether the output holds the end of the log. A log that holds
            a secret of the run is then refused as an output.
        watch: How long to wait for what. A pipeline that waits for a person
            (``manual``) is waited for as well.
        base_url: Where GitLab is, without ``/api/v4``.
        clock: What tells the present.
        ssl_context: How to speak TLS; by default with the system's roots.
        proxy: A `Proxy`, or its URL, to go through; by default none, whatever the
            environment says.

    Raises:
        DefinitionError: An argument cannot be used.
    """

    def __init__(
        self,
        project: str | int,
        *,
        token: Secret,
        ref: Text = "main",
        variables: Given | None = None,
        trigger_token: Secret | None = None,
        correlation: str | None = "PYFLOW_ID",
        accept: tuple[str, ...] = ("success",),
        keep_log: bool = False,
        watch: Watch | None = None,
        base_url: str = "https://gitlab.com",
        clock: Clock | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | Secret | str | None = None,
    ) -> None:
        given: Given = dict[str, str]() if variables is None else variables
        self._correlation = correlation
        problems = [
            *project_problems(project),
            *base_url_problems(base_url, added="/api/v4"),
            *tls_problems(ssl_context),
            *proxy_problems(proxy),
            *watch_problems(watch),
            *token_problems("token", token),
            *([] if trigger_token is None else token_problems("trigger_token", trigger_token)),
            *given_problems("ref", ref, ref_problems),
            *given_problems("variables", given, self._value_problems),
            *words_problems("accept", accept),
        ]
        if correlation is not None and not VARIABLE.fullmatch(str(correlation)):
            problems.append(f"correlation={shown(correlation)} is not the name of a variable")
        refuse("GitLabCI", problems)
        watch, clock = watch or Watch(), clock or SystemClock()
        api = Api(
            base_url.rstrip("/") + "/api/v4",
            token=token,
            scheme="private-token",
            timeout_s=watch.span_s("request_timeout"),
            clock=clock,
            ssl_context=ssl_context,
            proxy=as_proxy(proxy),
        )
        service = _GitLab(
            api,
            project,
            trigger_token,
            correlation=correlation,
            good=accept,
            keep_log=keep_log,
        )
        super().__init__(service, ref=ref, values=given, watch=watch, clock=clock)

    def _value_problems(self, values: object) -> list[str]:
        problems = values_problems(
            "variables", values, most=VARIABLES_MAX, reserved=self._correlation
        )
        if not problems:
            names = [
                name for name in cast("dict[str, str]", values) if not VARIABLE.fullmatch(name)
            ]
            problems = [f"variables: {shown(name)} is not the name of a variable" for name in names]
        return problems


class _GitLab:
    system = "gitlab"

    def __init__(
        self,
        api: Api,
        project: str | int,
        trigger_token: Secret | None,
        *,
        correlation: str | None,
        good: tuple[str, ...],
        keep_log: bool,
    ) -> None:
        self.resource = f"gitlab:{project}"
        self.good = good
        self._api = api
        self._project = f"/projects/{project_segment(project)}"
        self._trigger_token = trigger_token
        self._correlation = correlation
        self._keep_log = keep_log

    async def start(self, order: Order, /) -> Start:
        variables = order.marked(self._correlation)
        try:
            if self._trigger_token is not None:
                said = await self._by_trigger(self._trigger_token, order, variables)
            else:
                rows = [{"key": name, "value": text} for name, text in variables.items()]
                body = {"ref": order.ref, "variables": rows}
                path = f"{self._project}/pipeline"
                said = await self._api.ask("POST", path, body=body, deadline=order.deadline)
        except Trouble as trouble:
            return not_started(trouble)
        return _judged(said)

    async def _by_trigger(self, token: Secret, order: Order, variables: dict[str, str]) -> Said:
        plain = await self._api.revealed(token)
        form = {"token": plain, "ref": order.ref}
        form |= {f"variables[{name}]": text for name, text in variables.items()}
        path = f"{self._project}/trigger/pipeline"
        return await self._api.ask("POST", path, form=form, signed=False, deadline=order.deadline)

    async def find(self, order: Order, /) -> Find:
        since = (order.at - SKEW).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = (
            f"{self._project}/pipelines?ref={quote(order.ref, safe='')}&updated_after={since}"
            f"&order_by=id&sort=desc&per_page={PAGE}"
        )
        try:
            said = await self._api.ask("GET", path)
            rows = said.rows() if said.status == 200 else None
            if rows is None:
                return unseen_by(said, *NO_USE)
            rows = [row for row in rows if isinstance(row.get("id"), int)]
            return await self._match(order, rows)
        except Trouble as trouble:
            return not_seen(trouble)

    async def _match(self, order: Order, rows: list[dict[str, Any]]) -> Find:
        for row in rows:
            if mentions(row.get("name"), order.key):
                return Found(_handle(row))
        urls = tuple(web_url(row.get("web_url")) for row in rows)
        if self._correlation is None:
            return Several(urls) if rows else Absent()
        for row in rows[:CANDIDATES_MAX]:
            said = await self._api.ask("GET", f"{self._project}/pipelines/{row['id']}/variables")
            variables = said.rows() if said.status == 200 else None
            if variables is None:
                return (
                    Several(urls)
                    if said.status == 403 and not said.is_limit
                    else unseen_by(said, *NO_USE)
                )
            if any(
                one.get("key") == self._correlation and one.get("value") == order.key
                for one in variables
            ):
                return Found(_handle(row))
        if len(rows) > CANDIDATES_MAX:
            return Several(urls[CANDIDATES_MAX:])
        return Absent()

    async def look(self, handle: Handle, /) -> Look:
        try:
            said = await self._api.ask("GET", f"{self._project}/pipelines/{handle['id']}")
        except Trouble as trouble:
            return not_seen(trouble)
        if said.status == 404:
            return Gone(f"{said.words}: the pipeline was deleted, or the token may not see it")
        status = said.get("status")
        if said.status != 200 or not isinstance(status, str):
            return unseen_by(said, *NO_USE)
        return Seen(
            status=status[:50],
            ended=status in ENDED,
            handle={**handle, "url": web_url(said.get("web_url")) or handle["url"]},
            ref=str(said.get("ref") or ""),
            commit=str(said.get("sha") or "")[:64],
        )

    async def stop(self, handle: Handle, /) -> str | None:
        try:
            said = await self._api.ask("POST", f"{self._project}/pipelines/{handle['id']}/cancel")
        except Trouble as trouble:
            return trouble.reason
        return None if said.status in (200, 201) else said.words

    async def details(self, handle: Handle, *, failed: bool) -> Details:
        try:
            said = await self._api.ask(
                "GET", f"{self._project}/pipelines/{handle['id']}/jobs?per_page={PAGE}"
            )
        except Trouble:
            return Details()
        rows = said.rows() or []
        jobs = [_job(row) for row in rows]
        if not rows or not (failed or self._keep_log):
            return Details(jobs)
        bad = [row for row, job in zip(rows, jobs, strict=True) if job.status == "failed"]
        return Details(jobs, await self._log((bad or rows)[0].get("id")))

    async def _log(self, job: object) -> str:
        if not isinstance(job, int):
            return ""
        try:
            answer = await self._api.fetch("GET", f"{self._project}/jobs/{job}/trace")
            return log_end(self._api.masked(answer.text)) if answer.status == 200 else ""
        except Exception:  # noqa: BLE001 - a log that cannot be read changes nothing
            return ""


def project_problems(project: object) -> list[str]:
    """Return what is wrong with *project* as a path such as ``group/name``, or a number."""
    if isinstance(project, int) and not isinstance(project, bool) and project > 0:
        return []
    return path_problems("project", project, segment=SEGMENT, least=2, such_as="acme/shop")


def project_segment(project: str | int) -> str:
    """Return what stands for *project* in a path."""
    return quote(str(project), safe="")


def _judged(said: Said) -> Start:
    number = said.get("id")
    if said.status == 201 and isinstance(number, int):
        return Found({"id": str(number), "url": web_url(said.get("web_url"))})
    if said.is_limit:
        return Later(said.words, said.wait_s)
    if said.status >= 500 or said.status < 300 or said.status == 408:
        return Doubt(said.words)
    return Refused(said.words)


def _handle(row: dict[str, Any]) -> Handle:
    return {"id": str(row["id"]), "url": web_url(row.get("web_url"))}


def _job(row: dict[str, Any]) -> Job:
    name, status = str(row.get("name", "")), str(row.get("status", ""))
    return Job(name[:200], status[:50], web_url(row.get("web_url")))
