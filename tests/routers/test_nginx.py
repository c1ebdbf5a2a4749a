"""The file of an upstream, and how it comes into force; the real nginx is in tests/integration."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import DefinitionError, RouterError
from pyflow.routers import Nginx
from pyflow.testing import check_router

WHERE = {
    "1.0": {"1.0-1": ("127.0.0.1", 81), "1.0-2": ("127.0.0.1", 82)},
    "2.0": {"2.0-1": ("127.0.0.1", 91)},
}
FAKE = """
import pathlib, shutil, sys
file, *options = sys.argv[1:]
if options == ["-t", "-q"]:
    sys.exit("invalid host" if "refuse-me" in pathlib.Path(file).read_text() else 0)
assert options == ["-s", "reload"]
shutil.copy(file, file + ".running")
"""


class FakeNginx:
    """Runs with the file as it was when it was last told to reload."""

    def __init__(self, place: Path) -> None:
        self.file = place / "shop.conf"
        self.running = place / "shop.conf.running"
        self.script = place / "nginx.py"
        self.script.write_text(FAKE)
        self.answer: str | None = None

    def router(self, **options: Any) -> Nginx:
        command = [sys.executable, "-S", str(self.script), str(self.file)]
        given: dict[str, Any] = {
            "addresses": lambda _, version: WHERE.get(version, {}),
            "command": command,
        }
        return Nginx(self.file, "shop", **{**given, **options})

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        conversations: set[Any] = set()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            conversations.add(asyncio.current_task())
            await reader.readuntil(b"\r\n\r\n")
            text = self.running.read_text() if self.running.exists() else ""
            told = re.search("return 200 '(.*)'", text)
            body = self.answer or (told[1] if told else "{}")
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        try:
            async with await asyncio.start_unix_server(converse, f"{self.file}.sock"):
                yield
        finally:
            if conversations:
                await asyncio.wait(conversations, timeout=5)


@pytest.fixture
def nginx(tmp_path: Path) -> FakeNginx:
    """A fake nginx that sends everything to the old version."""
    fake = FakeNginx(tmp_path)
    fake.router().begin("shop", {"1.0": 100})
    fake.running.write_text(fake.file.read_text())
    return fake


def served(nginx: FakeNginx, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        async with nginx.serving():
            return await work()

    return asyncio.run(run())


class TestContract:
    def test_is_kept(self, nginx: FakeNginx) -> None:
        """The router keeps its contract."""
        served(nginx, lambda: check_router(nginx.router, service="shop", versions=("1.0", "2.0")))


class TestTheFile:
    def test_splits_by_version(self, nginx: FakeNginx) -> None:
        """Each server gets its part of the weight of its version, and none is of weight 0."""
        served(nginx, lambda: nginx.router().set_weights("shop", {"1.0": 80, "2.0": 20}))

        assert re.findall(r"server (\S+) weight=(\d+);", nginx.file.read_text()) == [
            ("127.0.0.1:81", "2"),
            ("127.0.0.1:82", "2"),
            ("127.0.0.1:91", "1"),
        ]

    def test_is_begun_once(self, nginx: FakeNginx) -> None:
        """A file that is there is left alone."""
        before = nginx.file.read_text()
        nginx.router().begin("shop", {"2.0": 100})

        assert nginx.file.read_text() == before

    def test_stays_where_it_is_refused(self, nginx: FakeNginx) -> None:
        """A configuration that does not pass the check is taken back, and was never in force."""
        before = nginx.file.read_text()
        bad = nginx.router(addresses=lambda *_: {"2.0-1": ("refuse-me", 1)})

        for there in (True, False):
            if not there:
                nginx.file.unlink()
            with pytest.raises(RouterError, match="invalid host"):
                served(nginx, lambda: bad.set_weights("shop", {"2.0": 100}))
            assert (nginx.file.read_text() if there else before) == before
        assert not nginx.file.exists()

    @pytest.mark.parametrize(
        ("weights", "instances", "reason"),
        [
            ({"3.0": 100}, {}, r"3\.0 has no instance"),
            ({"a b": 100}, {"x": ("h", 1)}, "no name of a version"),
            ({"2.0": 100}, {"x": ("h; include /etc/passwd", 1)}, "no address"),
        ],
    )
    def test_refuses(self, nginx: FakeNginx, weights: Any, instances: Any, reason: str) -> None:
        """Nothing gets into the file that could be a directive of its own."""
        router = nginx.router(addresses=lambda *_: instances)

        with pytest.raises(RouterError, match=reason):
            served(nginx, lambda: router.set_weights("shop", weights))


class TestWeights:
    def test_need_an_answer(self, nginx: FakeNginx) -> None:
        """An nginx that does not answer, or answers something else, tells no weights."""
        with pytest.raises(RouterError, match="does not say its weights"):
            asyncio.run(nginx.router().weights("shop"))
        nginx.answer = "[]"
        with pytest.raises(RouterError, match=r"answered '\[\]', no weights"):
            served(nginx, lambda: nginx.router().weights("shop"))

    def test_are_those_in_force(self, nginx: FakeNginx) -> None:
        """A reload that changes nothing is found out, whatever the file says."""
        deaf = nginx.router(command=["true"], timeout="500ms")

        with pytest.raises(RouterError, match="still runs with other weights"):
            served(nginx, lambda: deaf.set_weights("shop", {"2.0": 100}))
        assert served(nginx, lambda: deaf.weights("shop")) == {"1.0": 100.0}


class TestNginx:
    def test_refuses(self) -> None:
        """The name of an upstream is one word."""
        with pytest.raises(DefinitionError, match="no name of an upstream"):
            Nginx("/f", "a b", addresses=lambda *_: {})
