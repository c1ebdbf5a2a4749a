"""Releases on disk, and the one link that takes the traffic."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.errors import PlatformError, RouterError
from pyflow.platforms import Symlink
from pyflow.probes import File
from pyflow.strategies import blue_green
from pyflow.testing import check_platform, check_router

QUICK = pyflow.Backoff("10ms")


@pytest.fixture
def builds(tmp_path: Path) -> Path:
    """Builds of two versions, as a CI system leaves them."""
    for version in ("1.0", "2.0"):
        place = tmp_path / "builds" / version
        place.mkdir(parents=True)
        (place / "index.html").write_text(version)
    return tmp_path / "builds"


def make_symlink(root: Path, builds: Path, **options: Any) -> Symlink:
    return Symlink(root / "srv", lambda _, version: builds / version, **options)


async def live(symlink: Symlink) -> Symlink:
    """Return *symlink* with 1.0 laid down and live."""
    await symlink.scale("shop", "1.0", 1)
    await symlink.set_weights("shop", {"1.0": 100})
    return symlink


class TestContracts:
    def test_are_kept(self, tmp_path: Path, builds: Path) -> None:
        """It is a platform of one instance, and a router that gives one version everything."""
        make = lambda: make_symlink(tmp_path, builds)  # noqa: E731

        async def check() -> None:
            await live(make())
            await check_platform(make, service="shop", version="2.0", most=1)
            await make().scale("shop", "2.0", 1)
            await check_router(make, service="shop", versions=("1.0", "2.0"), splits=(0, 100))

        asyncio.run(check())


class TestReleases:
    def test_are_laid_down_and_removed(self, tmp_path: Path, builds: Path) -> None:
        """A release is copied from its build once, and goes when it is scaled to zero."""
        symlink = make_symlink(tmp_path, builds)

        async def work() -> list[Any]:
            seen: list[Any] = [(await symlink.observe("shop")).instances]
            for instances in (1, 1, 0, 0):
                await symlink.scale("shop", "1.0", instances)
                state = await symlink.observe("shop")
                seen.append([(i.id, i.ready) for i in state.instances])
            return seen

        assert asyncio.run(work()) == [(), [("1.0-1", True)], [("1.0-1", True)], [], []]

    def test_need_a_build(self, tmp_path: Path, builds: Path) -> None:
        """A version without a build, and more than one copy, are refused."""
        symlink = make_symlink(tmp_path, builds)

        with pytest.raises(PlatformError, match=r"no build of 3\.0"):
            asyncio.run(symlink.scale("shop", "3.0", 1))
        with pytest.raises(PlatformError, match="2 were asked for"):
            asyncio.run(symlink.scale("shop", "1.0", 2))
        assert asyncio.run(symlink.observe("shop")).instances == ()

    def test_that_are_live_stay(self, tmp_path: Path, builds: Path) -> None:
        """What the link leads to is never removed."""

        async def work() -> dict[str, float]:
            symlink = await live(make_symlink(tmp_path, builds))
            with pytest.raises(PlatformError, match=r"1\.0 is live"):
                await symlink.scale("shop", "1.0", 0)
            return await symlink.weights("shop")

        assert asyncio.run(work()) == {"1.0": 100.0}

    def test_are_ready_when_their_probe_says_so(self, tmp_path: Path, builds: Path) -> None:
        """A probe of the directory says whether a release is ready."""
        symlink = make_symlink(tmp_path, builds, ready=lambda place: File(place / "warm"))

        async def work() -> list[bool]:
            await symlink.scale("shop", "1.0", 1)
            cold = await symlink.observe("shop")
            (tmp_path / "srv/shop/releases/1.0/warm").touch()
            warm = await symlink.observe("shop")
            return [cold.instances[0].ready, warm.instances[0].ready]

        assert asyncio.run(work()) == [False, True]


class TestTheLink:
    def test_switches(self, tmp_path: Path, builds: Path) -> None:
        """The link leads to the version that gets everything, and readers are told."""
        told: list[str] = []
        symlink = make_symlink(tmp_path, builds, after_switch=lambda place: told.append(place.name))

        async def work() -> dict[str, float]:
            await live(symlink)
            await symlink.scale("shop", "2.0", 1)
            await symlink.set_weights("shop", {"1.0": 0, "2.0": 100})
            return await symlink.weights("shop")

        assert asyncio.run(work()) == {"2.0": 100.0}
        assert (tmp_path / "srv/shop/current/index.html").read_text() == "2.0"
        assert told == ["1.0", "2.0"]

    @pytest.mark.parametrize(
        ("weights", "reason"),
        [
            ({"1.0": 50, "2.0": 50}, "leads to one release"),
            ({"1.0": 99}, "leads to one release"),
            ({}, "leads to one release"),
            ({"2.0": 100}, "is not laid down"),
        ],
    )
    def test_refuses(
        self, tmp_path: Path, builds: Path, weights: dict[str, float], reason: str
    ) -> None:
        """Shares, and a release that is not there, are refused, and the link stays."""

        async def work() -> dict[str, float]:
            symlink = await live(make_symlink(tmp_path, builds))
            with pytest.raises(RouterError, match=reason):
                await symlink.set_weights("shop", weights)
            return await symlink.weights("shop")

        assert asyncio.run(work()) == {"1.0": 100.0}

    def test_has_to_lead_somewhere(self, tmp_path: Path, builds: Path) -> None:
        """Without a link, and with one to a release that is gone, nothing is live."""
        symlink = make_symlink(tmp_path, builds)
        for _ in ("none", "broken"):
            with pytest.raises(RouterError, match="leads nowhere"):
                asyncio.run(symlink.weights("shop"))
            (tmp_path / "srv/shop/releases").mkdir(parents=True, exist_ok=True)
            if not (tmp_path / "srv/shop/current").is_symlink():
                (tmp_path / "srv/shop/current").symlink_to("releases/9.9")


class TestRollout:
    @pytest.mark.parametrize("fails", [False, True])
    def test_switches_and_comes_back(self, tmp_path: Path, builds: Path, fails: bool) -> None:
        """A blue-green rollout by the link ends with the new release alone, or with the old one."""
        symlink = asyncio.run(live(make_symlink(tmp_path, builds)))
        ports: dict[str, Any] = {"platform": symlink, "router": symlink, "backoff": QUICK}
        ports["post_checks"] = [File(tmp_path / "nowhere")] if fails else []

        result = pyflow.Engine().execute(blue_green("shop", "2.0", **ports))

        assert result.status == ("rolled_back" if fails else "succeeded")
        assert asyncio.run(symlink.weights("shop")) == {"1.0" if fails else "2.0": 100.0}
        state = asyncio.run(symlink.observe("shop"))
        assert [i.version for i in state.instances] == ["1.0" if fails else "2.0"]
