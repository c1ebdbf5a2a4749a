"""Start a workflow of GitHub Actions, and wait for it.

The dispatch is asked to say which run it made (``return_run_details``, API
version 2022-11-28). A server that does not know that answers 204 without a
body, and an answer may get lost: then the run is looked up among those that
were dispatched since, by the correlation id in its title.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from pyflow.clock import SystemClock
from pyflow.errors import PyflowError, shown
from pyflow.net.connect import tls_problems
from pyflow.net.http import request
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
    Unseen,
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

__all__ = ["GITHUB_HEADERS", "REPOSITORY_NAME", "GitHubActions", "repository_problems"]

GITHUB_HEADERS = (
    ("Accept", "application/vnd.github+json"),
    ("X-GitHub-Api-Version", "2022-11-28"),
)
REPOSITORY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
WORKFLOW = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_. -]{0,200}\.ya?ml|[0-9]{1,20}")
INPUT = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
INPUTS_MAX = 25
PAGES_MAX = 5
PAGE = 100
NO_USE = (401, 403, 410, 422)
"""Statuses after which another look would see no more."""
LOG_BYTES_MAX = 4 * 1_048_576


class GitHubActions(Trigger):
    """Starts a workflow of GitHub Actions that has a ``workflow_dispatch`` trigger.

    Hand it to `Workflow.add_task`, with ``on_interrupt="rerun"``: after a
    crash it goes on with the run that it had started. The workflow has to
    declare the input *correlation* and show it in its ``run-name``.

    Args:
        repository: Such as ``"acme/shop"``.
        workflow: The file's name, such as ``"deploy.yml"``, or its id.
        token: A token that may write Actions of that repository.
        ref: The branch or tag whose workflow runs, or a function that makes it
            of parameters and outputs, as a task function is handed them.
        inputs: The inputs, or such a function.
        correlation: The input for the correlation id. With None, a start whose
            answer is lost is for a person to look up.
        accept: Conclusions that count as a good end.
        keep_log: Whether the output holds the end of the log. A log that holds
            a secret of the run is then refused as an output.
        watch: How long to wait for what.
        base_url: Where the API is, as for GitHub Enterprise Server.
        clock: What tells the present.
        ssl_context: How to speak TLS; by default with the system's roots.
        proxy: A `Proxy`, or its URL, to go through; by default none, whatever the
            environment says.

    Raises:
        DefinitionError: An argument cannot be used.
    """

    def __init__(
        self,
        repository: str,
        workflow: str,
        *,
        token: Secret,
        ref: Text = "main",
        inputs: Given | None = None,
        correlation: str | None = "pyflow_id",
        accept: tuple[str, ...] = ("success",),
        keep_log: bool = False,
        watch: Watch | None = None,
        base_url: str = "https://api.github.com",
        clock: Clock | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | Secret | str | None = None,
    ) -> None:
        given: Given = dict[str, str]() if inputs is None else inputs
        self._correlation = correlation
        problems = [
            *repository_problems(repository),
            *base_url_problems(base_url),
            *tls_problems(ssl_context),
            *proxy_problems(proxy),
            *watch_problems(watch),
            *token_problems("token", token),
            *given_problems("ref", ref, ref_problems),
            *given_problems("inputs", given, self._value_problems),
            *words_problems("accept", accept),
        ]
        if not isinstance(workflow, str) or not WORKFLOW.fullmatch(workflow):  # pyright: ignore[reportUnnecessaryIsInstance]
            problems.append(f"workflow={shown(workflow)} is no file's name such as 'deploy.yml'")
        if correlation is not None and not INPUT.fullmatch(str(correlation)):
            problems.append(f"correlation={shown(correlation)} is not the name of an input")
        refuse("GitHubActions", problems)
        watch, clock = watch or Watch(), clock or SystemClock()
        api = Api(
            base_url,
            token=token,
            scheme="bearer",
            headers=dict(GITHUB_HEADERS),
            timeout_s=watch.span_s("request_timeout"),
            clock=clock,
            ssl_context=ssl_context,
            proxy=as_proxy(proxy),
        )
        service = _GitHub(
            api, repository, workflow, correlation=correlation, good=accept, keep_log=keep_log
        )
        super().__init__(service, ref=ref, values=given, watch=watch, clock=clock)

    def _value_problems(self, values: object) -> list[str]:
        return values_problems("inputs", values, most=INPUTS_MAX, reserved=self._correlation)


class _GitHub:
    system = "github"

    def __init__(
        self,
        api: Api,
        repository: str,
        workflow: str,
        *,
        correlation: str | None,
        good: tuple[str, ...],
        keep_log: bool,
    ) -> None:
        self.resource = f"github:{repository}/{workflow}"
        self.good = good
        self._api = api
        self._repo = f"/repos/{repository}"
        self._workflow = f"{self._repo}/actions/workflows/{quote(workflow)}"
        self._correlation = correlation
        self._keep_log = keep_log
        self._seen: dict[str, tuple[str, Seen]] = {}

    async def start(self, order: Order, /) -> Start:
        body: dict[str, Any] = {"ref": order.ref, "inputs": order.marked(self._correlation)}
        try:
            said = await self._dispatch(order, {**body, "return_run_details": True})
            if said.status == 422 and "return_run_details" in said.words:
                said = await self._dispatch(order, body)  # an older server; it has started nothing
        except Trouble as trouble:
            return not_started(trouble)
        return self._judged(said)

    async def _dispatch(self, order: Order, body: dict[str, Any]) -> Said:
        path = f"{self._workflow}/dispatches"
        return await self._api.ask("POST", path, body=body, deadline=order.deadline)

    def _judged(self, said: Said) -> Start:
        number = said.get("workflow_run_id")
        if said.status == 200 and isinstance(number, int):
            return Found({"id": str(number), "url": web_url(said.get("html_url"))})
        if said.status == 204:
            return Doubt("GitHub took it and did not say which run it is", taken=True)
        if said.is_limit:
            return Later(said.words, said.wait_s)
        if said.status >= 500 or said.status in (200, 408):
            return Doubt(said.words)
        return Refused(said.words + self._hint(said))

    def _hint(self, said: Said) -> str:
        if self._correlation is not None and self._correlation in said.words:
            return (
                f"; declare the input {self._correlation!r} in the workflow and show it in its "
                "run-name, or give correlation=None"
            )
        if 300 <= said.status < 400:
            return "; the repository may have been renamed: give its new name"
        return ""

    async def find(self, order: Order, /) -> Find:
        since = (order.at - SKEW).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = (
            f"{self._workflow}/runs?event=workflow_dispatch&per_page={PAGE}"
            f"&created={quote('>=' + since)}"
        )
        candidates: list[dict[str, Any]] = []
        for page in range(1, PAGES_MAX + 1):
            try:
                said = await self._api.ask("GET", f"{path}&page={page}")
            except Trouble as trouble:
                return not_seen(trouble)
            rows = said.rows("workflow_runs") if said.status == 200 else None
            if rows is None:
                return unseen_by(said, *NO_USE)
            candidates += [row for row in rows if isinstance(row.get("id"), int)]
            if len(rows) < PAGE:
                break
        else:
            return Unseen(f"there are more than {PAGES_MAX * PAGE} runs since {since}", final=True)
        return self._match(order, candidates)

    def _match(self, order: Order, rows: list[dict[str, Any]]) -> Find:
        if self._correlation is None:
            urls = tuple(web_url(row.get("html_url")) for row in rows)
            return Several(urls) if rows else Absent()
        for row in rows:
            if mentions(f"{row.get('display_title')} {row.get('name')}", order.key):
                return Found({"id": str(row["id"]), "url": web_url(row.get("html_url"))})
        return Absent()

    async def look(self, handle: Handle, /) -> Look:
        number = handle["id"]
        tag, before = self._seen.get(number, ("", None))
        try:
            said = await self._api.ask(
                "GET",
                f"{self._repo}/actions/runs/{number}",
                headers={"If-None-Match": tag} if tag else {},
            )
        except Trouble as trouble:
            return not_seen(trouble)
        if said.status == 304 and before is not None:
            return before
        if said.status == 404:
            return Gone(f"{said.words}: the run was deleted, or the token may not see it")
        status = said.get("status")
        if said.status != 200 or not isinstance(status, str):
            return unseen_by(said, *NO_USE)
        seen = _run_seen(said, status, handle)
        tag = said.headers.get("etag", "")
        if tag.isprintable() and tag:
            self._seen = {number: (tag, seen)}
        return seen

    async def stop(self, handle: Handle, /) -> str | None:
        try:
            said = await self._api.ask("POST", f"{self._repo}/actions/runs/{handle['id']}/cancel")
        except Trouble as trouble:
            return trouble.reason
        return None if said.status in (202, 409) else said.words  # 409: it has ended

    async def details(self, handle: Handle, *, failed: bool) -> Details:
        try:
            said = await self._api.ask(
                "GET", f"{self._repo}/actions/runs/{handle['id']}/jobs?per_page={PAGE}"
            )
        except Trouble:
            return Details()
        rows = said.rows("jobs") or []
        jobs = [_job(row) for row in rows]
        if not rows or not (failed or self._keep_log):
            return Details(jobs)
        bad = [row for row, job in zip(rows, jobs, strict=True) if job.status not in self.good]
        row = bad[0] if bad else rows[-1]
        return Details(jobs, await self._log(row.get("id")))

    async def _log(self, job: object) -> str:
        """Return the end of a job's log; GitHub answers with an address that needs no token."""
        if not isinstance(job, int):
            return ""
        try:
            answer = await self._api.fetch("GET", f"{self._repo}/actions/jobs/{job}/logs")
            place = answer.headers.get("location")
            if answer.status == 302 and place is not None:
                here = self._api.base_url
                place = urljoin(here, place)
                answer = await request(
                    "GET",
                    place,
                    timeout=self._api.timeout_s,
                    max_bytes=LOG_BYTES_MAX,
                    # What a server names may be any address; its own host is no news.
                    allow_private=urlsplit(place).hostname == urlsplit(here).hostname,
                    ssl_context=self._api.ssl_context,
                    proxy=self._api.proxy,
                )
            return log_end(self._api.masked(answer.text)) if answer.status == 200 else ""
        except (Trouble, PyflowError, ValueError):
            return ""


def repository_problems(repository: object) -> list[str]:
    """Return what is wrong with *repository* as ``owner/name``."""
    found = path_problems(
        "repository", repository, segment=REPOSITORY_NAME, least=2, such_as="acme/shop"
    )
    if not found and str(repository).count("/") != 1:
        return [f"repository={shown(repository)} must be such as 'acme/shop'"]
    return found


def _run_seen(said: Said, status: str, handle: Handle) -> Seen:
    conclusion = said.get("conclusion")
    ended = status == "completed"
    word = conclusion if ended and isinstance(conclusion, str) else status
    url = web_url(said.get("html_url")) or handle["url"]
    return Seen(
        status=word[:50],
        ended=ended,
        handle={"id": handle["id"], "url": url},
        ref=str(said.get("head_branch") or ""),
        commit=str(said.get("head_sha") or "")[:64],
    )


def _job(row: dict[str, Any]) -> Job:
    status = row.get("conclusion") or row.get("status") or ""
    return Job(str(row.get("name", ""))[:200], str(status)[:50], web_url(row.get("html_url")))
