"""Real processes of this host: started, found again, drained, and never mistaken for others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow import probes
from pyflow.errors import DefinitionError, PlatformError, RouterError
from pyflow.platforms import LocalProcesses
from pyflow.probes import HTTP
from pyflow.testing import check_platform

SERVICE = str(Path(__file__).parents[1] / "support" / "http_service.py")


def healthy(host: str, port: int) -> HTTP:
    return HTTP(f"http://{host}:{port}/health", timeout="1s")


def command(*options: str) -> list[str]:
    return [sys.executable, "-S", SERVICE, "{port}", "{version}", *options]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., LocalProcesses]]:
    """Makes platforms that share one state directory; what they have started is ended."""

    def platform(*options: str, **more: Any) -> LocalProcesses:
        return LocalProcesses(tmp_path, command(*options), ready=healthy, **more)

    yield platform
    for version in ("1.0", "2.0"):
        asyncio.run(platform(stop_timeout="1s").scale("shop", version, 0))


def in_time(work: Coroutine[Any, Any, Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(30):
            return await work

    return asyncio.run(bounded())


async def ready(platform: LocalProcesses, version: str, count: int) -> None:
    """Wait until *count* instances of *version* are ready."""

    async def are_ready() -> bool:
        state = await platform.observe("shop")
        return [i.ready for i in state.instances if i.version == version] == [True] * count

    await pyflow.poll(probes.Callable(are_ready, name="ready"), backoff="50ms", timeout="20s")


async def started(platform: LocalProcesses, count: int = 1, version: str = "1.0") -> list[int]:
    """Have *count* ready instances; return their processes."""
    await platform.scale("shop", version, count)
    await ready(platform, version, count)
    return pids(platform)


def pids(platform: LocalProcesses) -> list[int]:
    return [process.pid for process in platform._processes("shop") if process.is_alive]


class TestContract:
    def test_is_kept(self, make: Callable[..., LocalProcesses]) -> None:
        """The platform keeps its contract, beside a version that is left alone."""

        async def check() -> None:
            await started(make())
            await check_platform(make, service="shop", version="2.0", settle="20s")

        asyncio.run(check())


class TestScale:
    def test_outlives_us(self, make: Callable[..., LocalProcesses], tmp_path: Path) -> None:
        """Instances outlive the process that started them, kill -9 included, and are found again."""
        code = (
            "import asyncio, os, signal\n"
            "from pyflow.platforms import LocalProcesses\n"
            f"platform = LocalProcesses({str(tmp_path)!r}, {command()!r})\n"
            "asyncio.run(platform.scale('shop', '1.0', 2))\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], check=False, timeout=30)

        assert done.returncode == -signal.SIGKILL
        in_time(ready(make(), "1.0", 2))

    def test_never_ends_another(self, make: Callable[..., LocalProcesses], tmp_path: Path) -> None:
        """A process that has got the number of a dead instance is neither observed nor ended."""
        platform = make()
        in_time(started(platform))
        [place] = (tmp_path / "shop" / "instances").iterdir()
        known = (place / "process").read_text()
        other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            (place / "process").write_text(f"{other.pid} {known.partition(' ')[2]}")

            assert in_time(platform.observe("shop")).instances == ()
            in_time(platform.scale("shop", "1.0", 0))
            assert other.poll() is None
        finally:
            other.communicate(b"\n")
            (place).mkdir(exist_ok=True)
            (place / "told.json").write_text(json.dumps({"version": "1.0", "number": 1, "port": 1}))
            (place / "process").write_text(known)

    def test_replaces_the_dead(self, make: Callable[..., LocalProcesses]) -> None:
        """An instance that died is no longer observed, and another takes its place."""
        platform = make()
        first, second = in_time(started(platform, 2))
        before = in_time(platform.observe("shop"))
        os.kill(first, signal.SIGKILL)
        gone = probes.Callable(lambda: first not in pids(platform), name="gone")
        in_time(pyflow.poll(gone, backoff="10ms", timeout="5s"))

        after = in_time(platform.observe("shop"))
        assert len(after.instances) == 1
        assert after.generation != before.generation
        third = [pid for pid in in_time(started(platform, 2)) if pid not in (first, second)]
        assert len(third) == 1

    def test_waits_for_answers(self, make: Callable[..., LocalProcesses]) -> None:
        """What is stopped has ended by then, and one that does not end by itself is killed."""
        stubborn = make("--stubborn", stop_timeout="200ms")
        [pid] = in_time(started(stubborn))

        in_time(stubborn.scale("shop", "1.0", 0))

        assert pids(stubborn) == []
        assert (
            not Path(f"/proc/{pid}/cmdline").exists()
            or not Path(f"/proc/{pid}/cmdline").read_bytes()
        )

    def test_is_not_ready_at_once(self, make: Callable[..., LocalProcesses]) -> None:
        """An instance that still warms up is observed, and is not ready."""
        platform = make("--warm-up", "60")
        in_time(platform.scale("shop", "1.0", 1))

        [instance] = in_time(platform.observe("shop")).instances
        assert (instance.id, instance.version, instance.ready) == ("1.0-1", "1.0", False)

    def test_says_what_cannot_run(self, tmp_path: Path) -> None:
        """A program that is not there is an error at once, and leaves nothing behind."""
        platform = LocalProcesses(tmp_path, ["/nowhere", "{port}"])

        with pytest.raises(PlatformError, match=r"/nowhere cannot be run for 1\.0: No such file"):
            in_time(platform.scale("shop", "1.0", 1))
        assert in_time(platform.observe("shop")).instances == ()

    @pytest.mark.parametrize("arguments", [("a/b", "1", 1), ("shop", "../1", 1), ("shop", "1", -1)])
    def test_refuses(self, tmp_path: Path, arguments: tuple[str, str, int]) -> None:
        """Names that lead elsewhere and numbers below zero are refused."""
        with pytest.raises(PlatformError, match="is no n"):
            in_time(LocalProcesses(tmp_path, ["true"]).scale(*arguments))

    def test_buries_what_never_began(
        self, make: Callable[..., LocalProcesses], tmp_path: Path
    ) -> None:
        """What a deployment left that was killed before its launcher ran is put away."""
        place = tmp_path / "shop" / "instances" / "1.0-7"
        place.mkdir(parents=True)
        (place / "told.json").write_text(json.dumps({"version": "1.0", "number": 7, "port": 1}))

        in_time(make().scale("shop", "1.0", 0))

        assert not place.exists()


class TestAddresses:
    def test_are_of_the_living(self, make: Callable[..., LocalProcesses]) -> None:
        """A router is told where each living instance listens."""
        platform = make()
        in_time(started(platform, 2))

        found = platform.addresses("shop", "1.0")
        assert list(found) == ["1.0-1", "1.0-2"]
        assert len({port for _, port in found.values()}) == 2
        assert platform.addresses("shop", "2.0") == {}


class TestLog:
    def test_outlives_the_instance(self, make: Callable[..., LocalProcesses]) -> None:
        """What an instance wrote can be read when it is gone."""
        platform = make()
        in_time(started(platform))
        in_time(platform.scale("shop", "1.0", 0))

        assert platform.log("shop", "1.0-1") == "1.0 listens\n"
        with pytest.raises(PlatformError, match=r"no instance '1\.0-9'"):
            platform.log("shop", "1.0-9")


class TestLocalProcesses:
    def test_needs_a_list(self, tmp_path: Path) -> None:
        """A command line in one text is refused: no shell is used."""
        with pytest.raises(DefinitionError, match="must be a list"):
            LocalProcesses(tmp_path, "python shop.py")


class TestDrain:
    def test_comes_before_the_stop(self, make: Callable[..., LocalProcesses]) -> None:
        """What is to be stopped is drained first, the newest alone, while it still lives."""
        alive: list[tuple[str, str, int]] = []

        async def drain(service: str, instance: str) -> None:
            alive.append((service, instance, len(pids(platform))))

        platform = make(drain=drain)

        async def shrink() -> None:
            await started(platform, 2)
            await platform.scale("shop", "1.0", 1)

        in_time(shrink())

        assert alive == [("shop", "1.0-2", 2)]
        assert len(pids(platform)) == 1

    def test_that_fails_stops_nothing(self, make: Callable[..., LocalProcesses]) -> None:
        """An instance that cannot be drained is left running, and whoever asked is told why."""

        async def drain(service: str, instance: str) -> None:
            raise RouterError(service, f"{instance} is the last")

        platform = make(drain=drain)

        async def shrink() -> None:
            await started(platform, 1)
            with pytest.raises(RouterError, match=r"1\.0-1 is the last"):
                await platform.scale("shop", "1.0", 0)

        in_time(shrink())

        assert len(pids(platform)) == 1
