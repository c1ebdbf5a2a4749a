"""Start a job of Jenkins, and wait for its build.

A start makes an item in the queue, which becomes a build later and is
forgotten five minutes after that. So what was started has two names, one
after the other, and both can be looked up by the parameter that holds the
correlation id. Of an address that Jenkins names only the number is used:
many a Jenkins does not know where it is.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode

from pyflow.clock import SystemClock
from pyflow.errors import shown
from pyflow.net.connect import tls_problems
from pyflow.net.proxy import as_proxy, proxy_problems
from pyflow.triggers._api import Api, Said, Trouble, web_url
from pyflow.triggers._checks import (
    base_url_problems,
    path_problems,
    refuse,
    token_problems,
    values_problems,
    watch_problems,
    words_problems,
)
from pyflow.triggers._excerpt import log_end
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
from pyflow.triggers._trigger import Given, Trigger, given_problems
from pyflow.triggers.watch import Watch

if TYPE_CHECKING:
    import ssl

    from pyflow.net.proxy import Proxy
    from pyflow.protocols import Clock
    from pyflow.secrets import Secret

__all__ = ["Jenkins"]

SEGMENT = re.compile(r"[^\x00-\x1f\x7f/\\?*%!@#$^&|<>\[\]:;]{1,255}")
PARAMETERS_MAX = 200
USER = re.compile(r"[^\x00-\x1f\x7f:]{1,200}")
ITEM = re.compile(r"/queue/item/([0-9]{1,18})/?$")
BUILDS_MAX = 100
BUILDS = f"builds[number,url,timestamp,actions[parameters[name,value]]]{{0,{BUILDS_MAX}}}"
ITEMS = "items[id,url,actions[parameters[name,value]]]"
NO_USE = (401, 403)
"""Statuses after which another look would see no more."""
BUILD = "building,result,number,url"
CRUMB = "crumb"


class Jenkins(Trigger):
    """Starts a job of Jenkins, with parameters or without.

    Hand it to `Workflow.add_task`, with ``on_interrupt="rerun"``: after a
    crash it goes on with the build that it had started. The job has to declare
    the parameter *correlation*; Jenkins drops one that it does not know.

    Args:
        base_url: Where Jenkins is, such as ``"https://ci.example"``.
        job: The job's name with its folders, such as ``"shop/deploy"``.
        user: Whose token it is.
        token: The user's API token. A password works too, and takes a request
            more, for the crumb.
        parameters: The parameters, or a function that makes them of parameters
            and outputs of the workflow, as a task function is handed them.
        correlation: The parameter for the correlation id. With None, a start
            whose answer is lost is for a person to look up.
        accept: Results that count as a good end.
        keep_log: Whether the output holds the end of the log. A log that holds
            a secret of the run is then refused as an output.
        watch: How long to wait for what; `Watch.poll` must not exceed a minute
            for long, because Jenkins forgets what has left its queue.
        clock: What tells the present.
        ssl_context: How to speak TLS; by default with the system's roots.
        proxy: A `Proxy`, or its URL, to go through; by default none, whatever the
            environment says.

    Raises:
        DefinitionError: An argument cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        job: str,
        *,
        user: str,
        token: Secret,
        parameters: Given | None = None,
        correlation: str | None = "PYFLOW_ID",
        accept: tuple[str, ...] = ("SUCCESS",),
        keep_log: bool = False,
        watch: Watch | None = None,
        clock: Clock | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | Secret | str | None = None,
    ) -> None:
        given: Given = dict[str, str]() if parameters is None else parameters
        self._correlation = correlation
        problems = [
            *base_url_problems(base_url),
            *tls_problems(ssl_context),
            *proxy_problems(proxy),
            *watch_problems(watch),
            *path_problems("job", job, segment=SEGMENT, least=1, such_as="shop/deploy"),
            *token_problems("token", token),
            *given_problems("parameters", given, self._value_problems),
            *words_problems("accept", accept),
        ]
        if not isinstance(user, str) or not USER.fullmatch(user):  # pyright: ignore[reportUnnecessaryIsInstance]
            problems.append(f"user={shown(user)} must be a user's name, without colons")
        if correlation is not None and not str(correlation).isidentifier():
            problems.append(f"correlation={shown(correlation)} is not the name of a parameter")
        refuse("Jenkins", problems)
        watch, clock = watch or Watch(), clock or SystemClock()
        api = Api(
            base_url,
            token=token,
            scheme="basic",
            user=user,
            timeout_s=watch.span_s("request_timeout"),
            clock=clock,
            ssl_context=ssl_context,
            proxy=as_proxy(proxy),
        )
        service = _Jenkins(api, job, correlation=correlation, good=accept, keep_log=keep_log)
        super().__init__(service, ref="", values=given, watch=watch, clock=clock)

    def _checked(self, ref: object, values: object) -> list[str]:
        del ref  # a job knows its own
        return self._value_problems(values)

    def _value_problems(self, values: object) -> list[str]:
        return values_problems(
            "parameters", values, most=PARAMETERS_MAX, reserved=self._correlation
        )


class _Jenkins:
    system = "jenkins"

    def __init__(
        self,
        api: Api,
        job: str,
        *,
        correlation: str | None,
        good: tuple[str, ...],
        keep_log: bool,
    ) -> None:
        self.resource = f"jenkins:{job}"
        self.good = good
        self._api = api
        self._job = "".join(f"/job/{quote(name, safe='')}" for name in job.split("/"))
        self._correlation = correlation
        self._keep_log = keep_log

    async def start(self, order: Order, /) -> Start:
        form = order.marked(self._correlation)
        call = "buildWithParameters" if form else "build"
        try:
            said = await self._post(f"{self._job}/{call}", form, deadline=order.deadline)
        except Trouble as trouble:
            return not_started(trouble)
        item = ITEM.search(said.headers.get("location", ""))
        if said.status in (201, 302, 303) and item is not None:
            return Found({"id": "", "queue": item[1], "url": self._url(f"/queue/item/{item[1]}/")})
        if said.is_limit:
            return Later(said.words, said.wait_s)
        if said.status >= 500 or said.status < 300 or said.status == 408:
            return Doubt(said.words)
        return Refused(said.words + _hint(said))

    async def _post(self, path: str, form: dict[str, str], *, deadline: float = math.inf) -> Said:
        """Post, and once more with a crumb where Jenkins asks for one; it has done nothing then."""
        said = await self._api.ask("POST", path, form=form, deadline=deadline)
        if said.status == 403 and CRUMB in said.words.lower():
            crumb = await self._api.ask("GET", "/crumbIssuer/api/json", deadline=deadline)
            field, value = crumb.get("crumbRequestField"), crumb.get("crumb")
            if not isinstance(field, str) or not isinstance(value, str):
                return said
            headers = {field: value}
            cookie = crumb.headers.get("set-cookie", "").partition(";")[0]
            headers |= {"Cookie": cookie} if cookie else {}
            said = await self._api.ask("POST", path, form=form, headers=headers, deadline=deadline)
        return said

    async def find(self, order: Order, /) -> Find:
        try:
            # The queue comes last: what leaves it meanwhile is found by another look.
            built = await self._api.ask("GET", f"{self._job}/api/json?{_tree(BUILDS)}")
            builds = built.rows("builds") if built.status == 200 else None
            if builds is None:
                return unseen_by(built, *NO_USE)
            queued = await self._api.ask("GET", f"/queue/api/json?{_tree(ITEMS)}")
        except Trouble as trouble:
            return not_seen(trouble)
        items = queued.rows("items") if queued.status == 200 else None
        if items is None:
            return unseen_by(queued, *NO_USE)
        return self._match(order, builds, items)

    def _match(
        self, order: Order, builds: list[dict[str, Any]], items: list[dict[str, Any]]
    ) -> Find:
        if self._correlation is None:
            since_ms = (order.at - SKEW).timestamp() * 1000
            times = [(row.get("timestamp"), web_url(row.get("url"))) for row in builds]
            urls = [url for at, url in times if not isinstance(at, (int, float)) or at >= since_ms]
            return Several((*urls, self._url("/queue/"))) if urls or items else Absent()
        for row in builds:
            if order.key in _values(row, self._correlation) and isinstance(row.get("number"), int):
                return Found(self._handle(row, {}))
        for row in items:
            if order.key in _values(row, self._correlation) and isinstance(row.get("id"), int):
                number = str(row["id"])
                url = self._url(f"/queue/item/{number}/")
                return Found({"id": "", "queue": number, "url": url})
        return Absent()

    async def look(self, handle: Handle, /) -> Look:
        try:
            if not handle["id"]:
                return await self._in_queue(handle)
            return await self._built(handle)
        except Trouble as trouble:
            return not_seen(trouble)

    async def _in_queue(self, handle: Handle) -> Look:
        said = await self._api.ask("GET", f"/queue/item/{handle['queue']}/api/json")
        if said.status == 404:
            return Gone(f"{said.words}: Jenkins has forgotten the item of its queue")
        if said.status != 200 or not isinstance(said.data, dict):
            return unseen_by(said, *NO_USE)
        if said.get("cancelled") is True:
            return Seen("CANCELLED", ended=True, handle=handle)
        found: object = said.get("executable")
        row = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
        if not isinstance(row.get("number"), int):
            return Seen("queued", ended=False, handle=handle)
        return await self._built(self._handle(row, handle))

    async def _built(self, handle: Handle) -> Look:
        said = await self._api.ask("GET", f"{self._job}/{handle['id']}/api/json?{_tree(BUILD)}")
        if said.status == 404:
            return Gone(f"{said.words}: the build was deleted")
        if said.status != 200 or not isinstance(said.get("building"), bool):
            return unseen_by(said, *NO_USE)
        result = said.get("result")
        ended = said.get("building") is False and isinstance(result, str)
        return Seen(str(result)[:50] if ended else "building", ended=ended, handle=handle)

    async def stop(self, handle: Handle, /) -> str | None:
        path = f"{self._job}/{handle['id']}/stop"
        if not handle["id"]:
            path = f"/queue/cancelItem?id={handle['queue']}"
        try:
            said = await self._post(path, {})
        except Trouble as trouble:
            return trouble.reason
        # Jenkins answers with the page that it would show, which may be none.
        return None if said.status < 400 or said.status == 404 else said.words

    async def details(self, handle: Handle, *, failed: bool) -> Details:
        if not handle["id"] or not (failed or self._keep_log):
            return Details()
        try:
            answer = await self._api.fetch("GET", f"{self._job}/{handle['id']}/consoleText")
            log = log_end(self._api.masked(answer.text)) if answer.status == 200 else ""
        except Exception:  # noqa: BLE001 - a log that cannot be read changes nothing
            log = ""
        return Details((), log)

    def _handle(self, row: dict[str, Any], before: Handle) -> Handle:
        number = str(row["number"])
        url = web_url(row.get("url")) or self._url(f"{self._job}/{number}/")
        return {**before, "id": number, "url": url}

    def _url(self, path: str) -> str:
        return self._api.base_url + path


def _tree(fields: str) -> str:
    return urlencode({"tree": fields})


def _values(row: dict[str, Any], name: str) -> list[Any]:
    """Return the values that the parameter *name* has in a build, or in an item of the queue."""
    found = [one for action in _objects(row, "actions") for one in _objects(action, "parameters")]
    return [one.get("value") for one in found if one.get("name") == name]


def _objects(row: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows: object = row.get(key)
    if not isinstance(rows, list):
        return []
    return [one for one in cast("list[Any]", rows) if isinstance(one, dict)]


def _hint(said: Said) -> str:
    if "not parameterized" in said.words:
        return "; declare the parameters in the job, or give none and correlation=None"
    if said.status == 404:
        return "; it is not there, or the user may not see it"
    return "; the user may have to log in" if 300 <= said.status < 400 else ""
