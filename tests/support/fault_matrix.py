"""The fault matrix: every way in which a service can fail, over everything of ours that asks one.

`FAULTS` is one axis and `SUBJECTS` the other; `tests/faults` walks them. What
joins is a `Subject`: how it asks a server once, what a healthy server says to
it, and how much of an answer it looks at. Where a service comes to an end, a
subject has `AMPLE_S` to ask it, so that what it makes of that is no question
of speed; where it goes on for ever, `LASTING_S`, and all of these are asked at
a time (`lasting`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import itertools
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pyflow.errors import CommandFailed, PyflowError, SecretError
from pyflow.messages import Attempt, Delivery
from pyflow.metrics import Datadog, HAProxyStats, Prometheus, Web
from pyflow.net.http import request
from pyflow.notifiers import Email, PagerDuty, Slack, Teams, Webhook
from pyflow.probes import HTTP, TCP, Command
from pyflow.programs import call
from pyflow.protocols import MetricSource, Notifier, Probe
from pyflow.secrets import Secret
from pyflow.testing.servers import Drip, Endless, Hang, HTTPServer, Raw, Reply, Reset, Step
from pyflow.testing.servers.certificate import client_tls
from pyflow.testing.servers.http import play, read_request
from support.http_proxy import ESTABLISHED
from support.notices import message
from support.pace import LASTING_S, timed, together
from support.sources import HOUR, NOON, Standing

TIMEOUT_S = 0.4
"""A deadline within which nothing has to happen."""
AMPLE_S = 30.0
WORDS_CHARS_MAX = 1_000

BOMB = gzip.compress(b"\0" * 50_000_000)
HTML = {"Content-Type": "text/html"}
JSON = {"Content-Type": "application/json"}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

FAULTS: dict[str, Step] = {
    "nothing": Raw(b""),
    "reset": Reset(),
    "hangs": Hang(),
    "garbage": Raw(b"\x00\xff\xfe" * 500),
    "another protocol": Raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "endless status": Drip(b"HTTP/1.1 200 OK "),
    "slow headers": Drip(b"X-A: b\r\n", head=b"HTTP/1.1 200 OK\r\n"),
    "slow body": Drip(b"ok", head=b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
    "slow chunks": Drip(b"1\r\nx\r\n", head=CHUNKED),
    "10 GB": Endless(),
    "10 GB unannounced": Endless(head=b"HTTP/1.1 200 OK\r\n\r\n"),
    "10 GB in chunks": Endless(head=CHUNKED + b"280000000\r\n"),
    "10 GB of one line": Endless(head=b""),
    "64 KB of headers": Raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"y" * 70_000 + b"\r\n\r\n"),
    "many headers": Raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n"),
    "shorter than it says": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nok"),
    "two lengths": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    "negative length": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok"),
    "length and chunks": Raw(CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    "broken chunks": Raw(CHUNKED + b"zz\r\nok\r\n"),
    "endless interim": Raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "switches": Raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    "redirect to itself": Reply(302, "", {"Location": "/"}),
    "redirect elsewhere": Reply(307, "", {"Location": "http://evil.example/"}),
    "permanent redirect": Reply(308, "", {"Location": "file:///etc/passwd"}),
    "login page": Reply(200, "<html>Please sign in</html>", HTML),
    "bad JSON": Reply(200, '{"ok": tr', JSON),
    "NaN": Reply(200, '{"ok": NaN, "status": "success", "value": NaN}', JSON),
    "deep JSON": Reply(200, "[" * 60_000, JSON),
    "bad charset": Reply(200, b"\xff\xfe\x00", {"Content-Type": "text/plain; charset=utf-7"}),
    "no charset": Reply(200, b"\xff", {"Content-Type": "text/plain; charset=klingon"}),
    "gzip bomb": Reply(200, BOMB, {"Content-Encoding": "gzip"}),
    "empty": Reply(200, ""),
    "no content": Raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "400": Reply(400, "x" * 60_000),
    "401": Reply(401, "\x1b[31m\r\n::error::"),
    "404": Reply(404, ""),
    "429": Reply(429, "", {"Retry-After": "60"}),
    "429 huge": Reply(429, "", {"Retry-After": "9" * 15}),
    "429 negative": Reply(429, "", {"Retry-After": "-1"}),
    "429 date": Reply(429, "", {"Retry-After": "Fri, 27 Nov 2026 12:00:45 GMT"}),
    "429 nonsense": Reply(429, '{"retry_after": "soon"}', {"Retry-After": "soon"}),
    "500": Reply(500, "boom"),
    "502": Reply(502, "<html>"),
    "503": Reply(503, "", {"Retry-After": "0"}),
    "504": Reply(504, ""),
}
"""What a service does with every request. None of it is what it is documented to do."""

LASTING = frozenset(name for name, step in FAULTS.items() if isinstance(step, (Drip, Hang)))
"""Faults that go on for as long as anybody waits."""

SILENT = ("nothing", "reset", "hangs", "slow headers", "slow body", "shorter than it says")
"""Faults after which nobody knows whether the service has what it was sent."""

WHOLE_2XX = frozenset(
    {"no content", *(n for n, s in FAULTS.items() if isinstance(s, Reply) and s.status == 200)}
)
"""Faults that are well-formed answers of success, with something else in them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a subject made of a server."""

    good: bool
    """Whether it says that all is well: delivered, healthy, figures, a value."""

    words: str
    """What it says otherwise."""

    again: bool | None = None
    """Whether it says that another try may help, where it says that."""

    doubt: bool = False
    """Whether it says that what it sent may have arrived."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service is."""

    port: int
    host: str = "127.0.0.1"
    scheme: str = "http"
    timeout_s: float = AMPLE_S
    """How long to ask it."""
    proxy: str | None = None
    """The proxy on the way to it."""

    @property
    def base_url(self) -> str:
        """Its URL, without a path."""
        return f"{self.scheme}://{self.host}:{self.port}"


Ask: TypeAlias = Callable[[Place], Awaitable[Seen]]
Judges: TypeAlias = Literal["connection", "status", "body"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Something of ours that asks a service."""

    ask: Ask
    """Asks the service at a place once, within the time that the place gives."""

    healthy: Step
    """What a healthy server says to it."""

    judges: Judges = "body"
    """What it looks at: whether there is a connection, the status too, or the body too."""

    speaks_first: bool = True
    """Whether it sends something before the server does."""

    tunnels: bool = False
    """Whether the server is a proxy, and the service at the end of a tunnel."""

    def may_be_well(self, fault: str) -> bool:
        """Return whether it may rightly say that all is well in spite of *fault*."""
        return self.judges == "connection" or (self.judges == "status" and fault in WHOLE_2XX)

    def server(self) -> HTTPServer:
        """Return a server that plays what it is scripted to, as soon as the protocol lets it."""
        if self.tunnels:
            return Tunnel(self.healthy)
        return HTTPServer() if self.speaks_first else Blunt()


class Blunt(HTTPServer):
    """Plays its step at once, without reading anything: for clients that wait for a greeting."""

    def _serve(self, sock: socket.socket, /) -> None:
        try:
            step = self._steps.popleft() if self._steps else self._always
            assert step is not None
            play(step, sock)
            while isinstance(step, (Raw, Reply)) and sock.recv(65_536):
                pass  # closed with something unread, it would be a reset
        except OSError:
            pass  # the client has gone
        finally:
            self._close(sock)


class Tunnel(HTTPServer):
    """A proxy that makes a tunnel, to itself, where all is *healthy*; any other step is played instead."""

    def __init__(self, healthy: Step) -> None:
        super().__init__(tls=True)
        self.healthy = healthy

    def _serve(self, plain: socket.socket, /) -> None:
        step = self._always
        assert step is not None
        try:
            if read_request(plain) is not None and step != self.healthy:
                play(step, plain)
            elif step == self.healthy:
                plain.sendall(ESTABLISHED)
                super()._serve(plain)
        except OSError:
            pass  # the client has gone
        finally:
            self._close(plain)


def allowed_s(fault: str) -> float:
    """Return how long to ask a service that has *fault*."""
    return LASTING_S if fault in LASTING else AMPLE_S


def measured(
    subject: Subject, place: Place, *, then: Callable[[], object] = lambda: None
) -> tuple[Seen, float]:
    """Have *subject* ask once; return what it made of that, and how long it took, in seconds.

    *then* is called while the loop still runs.
    """
    return timed(lambda: subject.ask(place), then=then)


def faced(name: str, fault: str) -> tuple[Seen, float]:
    """Have the subject *name* ask a service that has *fault*; return as `measured` does."""
    if fault in LASTING:
        return lasting()[name, fault]
    subject = SUBJECTS[name]
    with subject.server().always(FAULTS[fault]) as server:
        return measured(subject, Place(server.port))


@functools.cache
def lasting() -> dict[tuple[str, str], tuple[Seen, float]]:
    """Have every subject ask a service with every fault that lasts, all at a time, once a session."""
    with contextlib.ExitStack() as stack:
        asks: dict[tuple[str, str], Callable[[], Awaitable[Seen]]] = {}
        for (name, subject), fault in itertools.product(SUBJECTS.items(), sorted(LASTING)):
            server = stack.enter_context(subject.server().always(FAULTS[fault]))
            place = Place(server.port, timeout_s=LASTING_S)
            asks[name, fault] = functools.partial(subject.ask, place)
        return together(asks)


def notifier(make: Callable[[Place], Notifier]) -> Ask:
    """Return how a notifier asks."""

    async def ask(place: Place) -> Seen:
        found: Delivery = await make(place).notify(message(), Attempt(timeout_s=place.timeout_s))
        unsure = found.status == "unknown"  # and final where no better answer will come: "queued"
        good = found.status == "delivered" or (unsure and not found.again)
        return Seen(good, found.detail, found.again, unsure and found.again)

    return ask


def probe(make: Callable[[Place], Probe]) -> Ask:
    """Return how a probe asks."""

    async def ask(place: Place) -> Seen:
        reading: Any = await make(place).read()
        return Seen(reading.health == "healthy", str(reading.evidence.get("error", "")))

    return ask


def metrics(make: Callable[[Place], MetricSource], query: str = "up") -> Ask:
    """Return how a source of metrics asks."""

    async def ask(place: Place) -> Seen:
        try:
            samples: Any = await make(place).query(query, window=HOUR, at=NOON)
        except PyflowError as error:
            return Seen(good=False, words=str(error))
        return Seen(bool(samples), "")

    return ask


async def plain_request(place: Place) -> Seen:
    """Ask with the client alone, following redirects."""
    try:
        response = await request(
            "GET", place.base_url, timeout=place.timeout_s, follow_redirects=5, proxy=place.proxy
        )
    except PyflowError as error:
        return Seen(good=False, words=str(error))
    return Seen(200 <= response.status < 300, response.reason)


def _prometheus(place: Place) -> Prometheus:
    return Prometheus(place.base_url, timeout=place.timeout_s, clock=Standing(), proxy=place.proxy)


NOON_S = int(NOON.timestamp())
SERIES = {"resultType": "matrix", "result": [{"metric": {}, "values": [[NOON_S, "1"]]}]}
ALERT: dict[str, Any] = {"type": "alerting", "name": "A", "state": "inactive", "alerts": []}
DOGS = {"scope": "*", "interval": 60, "pointlist": [[(NOON_S - 120) * 1000, 1.0]]}

AT_ITS_END = "https://localhost"
TRUST = client_tls()


def gate(at: Place) -> str:
    """Return the URL of the proxy that is at a place."""
    return f"http://{at.host}:{at.port}"


NOTIFIERS: dict[str, tuple[Callable[[Place], Notifier], Step, Judges]] = {
    "slack": (
        lambda at: Slack(f"{at.base_url}/x", allow_private=True, proxy=at.proxy),
        Reply(200, "ok"),
        "body",
    ),
    "slack api": (
        lambda at: Slack(
            token="xoxb-123456",
            channel="C1",
            base_url=at.base_url,
            allow_private=True,
            proxy=at.proxy,
        ),
        Reply(200, {"ok": True, "ts": "1.2", "channel": "C1"}),
        "body",
    ),
    "teams": (
        lambda at: Teams(f"{at.base_url}/x", allow_private=True, proxy=at.proxy),
        Reply(202),
        "status",
    ),
    "pagerduty": (
        lambda at: PagerDuty("ab" * 16, base_url=at.base_url, allow_private=True, proxy=at.proxy),
        Reply(202, {"status": "success", "message": "Event processed", "dedup_key": "k"}),
        "body",
    ),
    "webhook": (
        lambda at: Webhook(f"{at.base_url}/x", allow_private=True, proxy=at.proxy),
        Reply(204),
        "status",
    ),
}
"""The notifiers that speak HTTP: how to make one, what a healthy service says, what it looks at."""


def _mail(at: Place) -> Notifier:
    return Email(at.host, port=at.port, sender="a@h.example", to=["b@h.example"], security="none")


MAKERS: dict[str, Callable[[Place], Notifier]] = {
    **{name: make for name, (make, _, _) in NOTIFIERS.items()},
    "email": _mail,
}
"""How to make each notifier that asks a service."""

SUBJECTS: dict[str, Subject] = {
    **{name: Subject(notifier(make), well, of) for name, (make, well, of) in NOTIFIERS.items()},
    "email": Subject(
        notifier(_mail),
        Raw(b"220 h\r\n250 h\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 taken\r\n221 bye\r\n"),
        speaks_first=False,
    ),
    "probe HTTP": Subject(
        probe(lambda at: HTTP(at.base_url, timeout=at.timeout_s, proxy=at.proxy)),
        Reply(200, "fine"),
        "status",
    ),
    "probe HTTP contains": Subject(
        probe(lambda at: HTTP(at.base_url, contains="fine", timeout=at.timeout_s, proxy=at.proxy)),
        Reply(200, "fine"),
    ),
    "probe TCP": Subject(
        probe(lambda at: TCP(at.host, at.port, timeout=at.timeout_s)), Reply(200), "connection"
    ),
    "probe alert": Subject(
        probe(lambda at: _prometheus(at).alert("A")),
        Reply(200, {"status": "success", "data": {"groups": [{"rules": [ALERT]}]}}),
    ),
    "prometheus": Subject(metrics(_prometheus), Reply(200, {"status": "success", "data": SERIES})),
    "datadog": Subject(
        metrics(
            lambda at: Datadog(
                "k" * 9, "a" * 9, url=at.base_url, timeout=at.timeout_s, proxy=at.proxy
            ),
            "avg:x{*}",
        ),
        Reply(200, {"status": "ok", "series": [DOGS]}),
    ),
    "web": Subject(
        metrics(
            lambda at: Web(
                at.base_url, value="value", timeout=at.timeout_s, clock=Standing(), proxy=at.proxy
            )
        ),
        Reply(200, {"value": 1}),
    ),
    "haproxy page": Subject(
        metrics(
            lambda at: HAProxyStats(
                f"{at.base_url}/stats;csv",
                backend="b",
                timeout=at.timeout_s,
                clock=Standing(),
                proxy=at.proxy,
            ),
            "scur a",
        ),
        Reply(200, "# pxname,svname,scur\nb,a,1\n"),
    ),
    "request": Subject(plain_request, Reply(200, "fine"), "status"),
    "webhook by tunnel": Subject(
        notifier(
            lambda at: Webhook(
                f"{AT_ITS_END}/x", allow_private=True, ssl_context=TRUST, proxy=gate(at)
            )
        ),
        Reply(204),
        "status",
        tunnels=True,
    ),
    "probe by tunnel": Subject(
        probe(lambda at: HTTP(AT_ITS_END, timeout=at.timeout_s, ssl_context=TRUST, proxy=gate(at))),
        Reply(200, "fine"),
        "status",
        tunnels=True,
    ),
}
"""Everything that asks a service over the network."""

COMMAND_FAULTS: dict[str, tuple[str, ...]] = {
    "missing": ("/no/such/program",),
    "not executable": ("/etc/hostname",),
    "a directory": ("/",),
    "hangs": ("/bin/sleep", "60"),
    "ignores TERM": ("/bin/sh", "-c", "trap '' TERM; sleep 60 & wait; sleep 60"),
    "hangs with its output closed": ("/bin/sh", "-c", "exec >&- 2>&-; sleep 60"),
    "drips": ("/bin/sh", "-c", "while :; do printf x; sleep 0.02; done"),
    "10 GB": ("/bin/sh", "-c", "exec head -c 10737418240 /dev/zero"),
    "10 GB of errors": ("/bin/sh", "-c", "exec head -c 10737418240 /dev/zero >&2"),
    "garbage": ("/bin/sh", "-c", "printf '\\377\\376\\000'; exit 1"),
    "steers the terminal": ("/bin/sh", "-c", "printf '\\033[2J\\r\\n::error::x\\n'; exit 1"),
    "killed": ("/bin/sh", "-c", "kill -9 $$"),
    "segmentation fault": ("/bin/sh", "-c", "kill -11 $$"),
    "fails": ("/bin/false",),
    "fails with 255": ("/bin/sh", "-c", "exit 255"),
    "leaves a child with the output": ("/bin/sh", "-c", "sleep 60 & exit 1"),
}
"""What a program does when it is called."""

CALLERS: dict[str, Callable[[tuple[str, ...]], Awaitable[Seen]]] = {}
"""Everything that calls a program, and how."""


def caller(name: str) -> Callable[[Any], Any]:
    """Have a function take part as what calls programs."""

    def take(ask: Any) -> Any:
        CALLERS[name] = ask
        return ask

    return take


@caller("probe Command")
async def _command(argv: tuple[str, ...]) -> Seen:
    reading = await Command(argv, timeout=TIMEOUT_S).read()
    return Seen(reading.health == "healthy", str(reading.evidence.get("error", "")))


@caller("call")
async def _call(argv: tuple[str, ...]) -> Seen:
    try:
        (await call(argv, timeout=TIMEOUT_S)).check()
    except CommandFailed as error:
        return Seen(good=False, words=f"{error.program}: {error.reason}")
    return Seen(good=True, words="")


@caller("Secret.from_command")
async def _secret(argv: tuple[str, ...]) -> Seen:
    try:
        await asyncio.to_thread(Secret.from_command(argv, timeout=TIMEOUT_S).reveal)
    except SecretError as error:
        return Seen(good=False, words=str(error))
    return Seen(good=True, words="")
