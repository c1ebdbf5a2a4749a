"""Containers by the Engine API, against a fake of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import DefinitionError, PlatformError
from pyflow.platforms import Docker
from pyflow.testing import check_platform
from support.fake_docker import FakeDocker


def with_fake(
    place: Path,
    fake: FakeDocker,
    work: Callable[[Docker], Coroutine[Any, Any, Any]],
    **options: Any,
) -> Any:
    """Await *work* with a platform while *fake* answers."""

    async def run() -> Any:
        async with fake.serving(place / "s"):
            return await work(Docker("shop:{version}", socket=place / "s", **options))

    return asyncio.run(run())


class TestContract:
    def test_is_kept(self, tmp_path: Path) -> None:
        """The platform keeps its contract, beside a version that is left alone."""

        async def check(docker: Docker) -> None:
            await docker.scale("shop", "1.0", 1)
            await check_platform(lambda: docker, service="shop", version="2.0")

        with_fake(tmp_path, FakeDocker(), check)


class TestScale:
    def test_makes_containers(self, tmp_path: Path) -> None:
        """A container has the image of its version, what is configured, and labels that find it again."""
        fake = FakeDocker()
        config = {"Env": ["A=1"], "Labels": {"team": "web"}}
        with_fake(tmp_path, fake, lambda docker: docker.scale("shop", "2.0", 1), config=config)

        [made] = fake.containers.values()
        assert (made["Image"], made["Env"], made["Names"]) == ("shop:2.0", ["A=1"], ["/shop-2.0-1"])
        assert made["Labels"] == {"team": "web", "pyflow.service": "shop", "pyflow.version": "2.0"}

    def test_leaves_strangers(self, tmp_path: Path) -> None:
        """Containers of others are neither seen nor touched."""
        fake = FakeDocker()
        other = {"Labels": {"pyflow.service": "blog"}, "Names": ["/x"], "State": "running"}
        fake.containers["x"] = {**other, "Id": "x", "Status": "Up"}
        with_fake(tmp_path, fake, lambda docker: docker.scale("shop", "2.0", 0))

        assert list(fake.containers) == ["x"]

    def test_replaces_the_dead(self, tmp_path: Path) -> None:
        """A container that has ended is removed, and another one is started under another name."""
        fake = FakeDocker()

        async def work(docker: Docker) -> list[str]:
            await docker.scale("shop", "2.0", 2)
            fake.containers["c1"] |= {"State": "exited", "Status": "Exited (137)"}
            assert len((await docker.observe("shop")).instances) == 1
            await docker.scale("shop", "2.0", 2)
            return [instance.id for instance in (await docker.observe("shop")).instances]

        assert with_fake(tmp_path, fake, work) == ["shop-2.0-2", "shop-2.0-3"]

    def test_needs_the_image(self, tmp_path: Path) -> None:
        """An image that is not there is an error in the engine's words."""
        with pytest.raises(PlatformError, match=r"404 .*: No such image: shop:3\.0"):
            with_fake(tmp_path, FakeDocker(), lambda docker: docker.scale("shop", "3.0", 1))


class TestObserve:
    @pytest.mark.parametrize(
        ("status", "ready"),
        [
            ("Up 2 seconds", True),
            ("Up 2 seconds (healthy)", True),
            ("Up 2 seconds (health: starting)", False),
            ("Up 2 seconds (unhealthy)", False),
        ],
    )
    def test_reads_health(self, tmp_path: Path, status: str, ready: bool) -> None:
        """A container is ready once its health check, if there is one, says so."""
        fake = FakeDocker()
        fake.status = status

        async def work(docker: Docker) -> list[bool]:
            await docker.scale("shop", "2.0", 1)
            return [instance.ready for instance in (await docker.observe("shop")).instances]

        assert with_fake(tmp_path, fake, work) == [ready]

    def test_needs_an_engine(self, tmp_path: Path) -> None:
        """An engine that is not there is an error that says where."""
        with pytest.raises(PlatformError, match="/s: No such file"):
            asyncio.run(Docker("shop:{version}", socket=tmp_path / "s").observe("shop"))

    def test_passes_on_what_it_does_not_know(self, tmp_path: Path) -> None:
        """An answer that is no JSON object is in the error as it is."""
        fake = FakeDocker()
        fake.answer = lambda *_: (500, "a page")  # type: ignore[method-assign]

        with pytest.raises(PlatformError, match='answered 500 to GET /containers/json: "a page"'):
            with_fake(tmp_path, fake, lambda docker: docker.observe("shop"))


class TestDocker:
    @pytest.mark.parametrize(
        "image", ["shop", "shop:{version}-{version}", "-v:{version}", "a b:{version}"]
    )
    def test_refuses(self, image: str) -> None:
        """An image has one place for the version."""
        with pytest.raises(DefinitionError, match="image="):
            Docker(image)
