"""HAProxy's counters from a socket and a page that say what the real one says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import DefinitionError, MetricError
from pyflow.metrics import HAProxyStats
from pyflow.testing import check_metric_source
from support.fake_http import closed_port, reply, serving
from support.sources import HOUR, MINUTE, NOON, Standing, ask, seconds_before_noon, values

HEAD = (
    "# pxname,svname,scur,stot,econ,status,weight,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,"
    "hrsp_other,rtime,check_status,eresp,\n"
)


def stats(errors: int = 3) -> str:
    """Return what `show stat` says."""
    rows = [
        "http,FRONTEND,0,210,,OPEN,,0,190,0,5,15,0,,,,",
        f"shop,old-1,0,100,0,UP,90,0,90,0,5,{errors},0,12,L7OK,0,",
        "shop,new-1,1,60,4,UP,10,0,50,0,0,10,0,30,L7OK,2,",
        "shop,new-2,2,50,0,UP,10,0,45,0,0,5,0,40,L7OK,0,",
        "shop,BACKEND,0,210,0,UP,100,0,185,0,5,18,0,,,",
        "other,old-1,0,9,0,UP,1,0,9,0,0,0,0,,,",
    ]
    return HEAD + "\n".join(rows) + "\n\n"


def with_socket(
    path: Path, answers: list[Any], use: Callable[[], Awaitable[Any]]
) -> tuple[Any, list[bytes]]:
    """Serve *answers* in turn on a socket at *path*, the last again and again, while in *use*."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            await reader.read()
        else:
            writer.write(answer.encode())
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def run() -> Any:
        server = await asyncio.start_unix_server(serve, path)
        try:
            return await use()
        finally:
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.gather(*others)  # one that takes a connection makes one that serves
            server.close()  # a closed server leaks what it is still taking in
            await server.wait_closed()

    return asyncio.run(run()), asked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stats.sock"


def ask_once(path: Path, query: str, answer: Any = None, **options: Any) -> Any:
    source = HAProxyStats(str(path), backend="shop", clock=Standing(), **options)
    answers = [stats() if answer is None else answer]
    return with_socket(path, answers, lambda: source.query(query, window=HOUR))[0]


class TestQuery:
    @pytest.mark.parametrize(
        ("query", "value"),
        [
            ("requests old-1", 98),
            ("errors old-1", 3),
            ("errors new-1", 16),
            ("errors new-*", 21),
            ("requests new-*", 116),
            ("hrsp_4xx old-1", 5),
            ("scur new-*", 3),
            ("rtime new-2", 40),
        ],
    )
    def test_figures(self, path: Path, query: str, value: float) -> None:
        """A figure is that of a server of the backend, or the sum over a pattern."""
        assert values(ask_once(path, query)) == [value]

    def test_asks(self, path: Path) -> None:
        """It says `show stat`, and nothing else."""
        source = HAProxyStats(str(path), backend="shop", clock=Standing())

        _, asked = with_socket(path, [stats()], lambda: source.query("errors old-1", window=HOUR))

        assert asked == [b"show stat\n"]

    def test_remembers(self, path: Path) -> None:
        """A window holds the readings that were made in it, and a past one asks nobody."""
        clock = Standing()
        source = HAProxyStats(str(path), backend="shop", clock=clock)

        async def use() -> Any:
            await source.query("errors old-1", window=HOUR)
            clock.at += MINUTE
            both = await source.query("errors old-1", window=HOUR)
            last = await source.query("errors old-1", window=timedelta(seconds=30))
            past = await source.query("errors old-1", window=HOUR, at=NOON)
            return both, last, past

        (both, last, past), asked = with_socket(path, [stats(3), stats(8)], use)

        assert (values(both), seconds_before_noon(both)) == ([3, 8], [0, -60])
        assert (values(last), values(past), len(asked)) == ([8], [3], 3)

    def test_no_server(self, path: Path) -> None:
        """A server that is not there has no data, and a note names those that are."""
        samples = ask_once(path, "errors nwe-1")

        assert values(samples) == []
        assert samples.notes == ("no server is 'nwe-1'; there are: old-1, new-1, new-2",)

    @pytest.mark.parametrize(
        ("query", "answer", "words"),
        [
            ("errors old-1", "Unknown command: `show'\n", 'expected `show stat`, got "Unknown'),
            ("errors old-1", "\n", "got nothing"),
            ("errors old-1", HEAD + "web,a,1,,,,,,,,,,,,,\n", "no backend 'shop'; it has: web"),
            ("eror old-1", None, "no column 'eror'"),
            ("status old-1", None, "status is no number"),
            ("rtime new-*", None, "cannot be added up"),
            ("errors old-1", HEAD + "shop,old-1,,,,,,,,,,x,\n", "is no number"),
        ],
    )
    def test_errors(self, path: Path, query: str, answer: Any, words: str) -> None:
        """What is no answer is an error that says why."""
        with pytest.raises(MetricError) as caught:
            ask_once(path, query, answer)

        assert words in caught.value.reason.replace("'nothing'", "nothing")

    def test_slow(self, path: Path) -> None:
        """An answer that does not come in time is an error."""
        source = HAProxyStats(str(path), backend="shop", timeout=0.05)

        with pytest.raises(MetricError, match=r"within 0\.05 s"):
            with_socket(path, [None], lambda: source.query("errors old-1", window=HOUR))

    def test_gone(self, path: Path) -> None:
        """A socket where nobody listens is an error."""
        for address in (str(path), f"127.0.0.1:{closed_port()}"):
            with pytest.raises(MetricError, match="cannot answer"):
                ask(HAProxyStats(address, backend="shop"), "errors old-1")

    def test_large(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An answer without end is refused."""
        monkeypatch.setattr("pyflow.metrics.haproxy.BYTES_MAX", 100)

        with pytest.raises(MetricError, match="larger than 100"):
            ask_once(path, "errors old-1")

    def test_tcp(self) -> None:
        """The stats socket may be on TCP."""

        async def run() -> Any:
            async with serving([]) as fake:  # it waits for a head that never ends
                source = HAProxyStats(f"127.0.0.1:{fake.port}", backend="shop", timeout=0.1)
                return await source.query("errors old-1", window=HOUR)

        with pytest.raises(MetricError, match=r"within 0\.1 s"):
            asyncio.run(run())

    def test_page(self) -> None:
        """The stats page serves the same counters."""

        async def run() -> Any:
            async with serving(reply(stats()), reply("Log in", status="401 No")) as fake:
                source = HAProxyStats(fake.url("/stats"), backend="shop")
                found = await source.query("errors new-*", window=HOUR)
                with pytest.raises(MetricError, match="401 Log in"):
                    await source.query("errors new-*", window=HOUR)
                return found, fake.requests[0]

        found, request = asyncio.run(run())

        assert values(found) == [21]
        assert request.startswith(b"GET /stats;csv ")

    def test_page_is_gone(self) -> None:
        """A page that nobody serves is an error."""
        with pytest.raises(MetricError, match="while at: connect"):
            ask(HAProxyStats(f"http://127.0.0.1:{closed_port()}/", backend="b"), "errors a")

    @pytest.mark.parametrize("query", ["errors", "errors a b"])
    def test_no_query(self, path: Path, query: str) -> None:
        """A query is a figure and a server."""
        with pytest.raises(DefinitionError, match="a figure and a server"):
            ask(HAProxyStats(str(path), backend="shop"), query)

    def test_contract(self, path: Path) -> None:
        """It keeps the contract of a source."""
        clock = Standing()
        source = HAProxyStats(str(path), backend="shop", clock=clock)

        async def use() -> None:
            for _ in range(5):
                await source.query("errors old-1", window=HOUR)
                clock.at += MINUTE
            await check_metric_source(
                lambda: source, known="errors old-1", unknown="errors nwe", window="10m"
            )

        with_socket(path, [stats()], use)


class TestMake:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"address": ""}, "path of a socket"),
            ({"address": None}, "path of a socket"),
            ({"address": "ftp://h"}, "neither http nor https"),
            ({"address": "h_!:99"}, "host"),
            ({"backend": ""}, "backend"),
            ({"timeout": 0}, "timeout"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the source is made."""
        with pytest.raises(DefinitionError, match=words):
            HAProxyStats(**dict[str, Any](address="/run/h.sock", backend="b") | options)

    def test_repr(self) -> None:
        """The repr says where it is."""
        assert (
            repr(HAProxyStats("[::1]:99", backend="b")) == "HAProxyStats('[::1]:99', backend='b')"
        )
