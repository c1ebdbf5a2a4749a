"""The runtime API of HAProxy, as a router speaks it; the real one is in tests/integration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import DefinitionError, RouterError
from pyflow.routers import HAProxy
from pyflow.testing import check_router
from support.fake_haproxy import FakeHAProxy, Server


def with_fake(
    place: Path, fake: FakeHAProxy, work: Callable[[Path], Coroutine[Any, Any, Any]]
) -> Any:
    """Await *work* while *fake* answers."""

    async def run() -> Any:
        socket = place / "s"
        async with fake.serving(socket):
            return await work(socket)

    return asyncio.run(run())


def two(old: int = 100, new: int = 0) -> FakeHAProxy:
    return FakeHAProxy({"1.0": Server(old), "2.0": Server(new)})


class TestContract:
    def test_is_kept(self, tmp_path: Path) -> None:
        """The router keeps its contract."""

        async def check(socket: Path) -> None:
            make = lambda: HAProxy(socket, "shop")  # noqa: E731
            await check_router(make, service="shop", versions=("1.0", "2.0"))

        with_fake(tmp_path, two(), check)


class TestWeights:
    def test_count_what_takes_traffic(self, tmp_path: Path) -> None:
        """A server that is in maintenance or drained has no share; one that was so by configuration has."""
        fake = FakeHAProxy(
            {
                "a": Server(30),
                "b": Server(50, admin=1),
                "c": Server(50, admin=8),
                "d": Server(10, admin=4),
            }
        )
        router = lambda s: HAProxy(s, "shop", servers={"1.0": ["a", "b"], "2.0": ["c"]})  # noqa: E731

        found = with_fake(tmp_path, fake, lambda s: router(s).weights("shop"))

        assert found == {"1.0": 75.0, "d": 25.0}

    def test_are_refused_where_nothing_has_any(self, tmp_path: Path) -> None:
        """Weights of nothing but 0 are no weights."""
        with pytest.raises(RouterError, match="nothing gets any traffic"):
            with_fake(tmp_path, two(0, 0), lambda s: HAProxy(s, "shop").weights("shop"))

    def test_need_a_backend(self, tmp_path: Path) -> None:
        """A backend that HAProxy does not have is an error in its own words."""
        with pytest.raises(RouterError, match="Can't find backend"):
            with_fake(tmp_path, two(), lambda s: HAProxy(s, "shap").weights("shop"))


class TestSetWeights:
    def test_raises_before_it_lowers(self, tmp_path: Path) -> None:
        """In one turn, weights that rise come before those that fall."""
        fake = two()
        with_fake(tmp_path, fake, lambda s: HAProxy(s, "shop").set_weights("shop", {"2.0": 100}))

        changes = [c for c in fake.commands if c.startswith("set")]
        assert changes == ["set server shop/2.0 weight 1", "set server shop/1.0 weight 0"]

    def test_changes_nothing_twice(self, tmp_path: Path) -> None:
        """What is so already is not set."""
        fake = two(3, 1)
        wanted = {"1.0": 75, "2.0": 25}
        with_fake(tmp_path, fake, lambda s: HAProxy(s, "shop").set_weights("shop", wanted))

        assert [c for c in fake.commands if c.startswith("set")] == []

    def test_brings_servers_back(self, tmp_path: Path) -> None:
        """A server that was drained takes traffic again once it is to."""
        fake = FakeHAProxy({"1.0": Server(100), "2.0": Server(1, admin=8)})
        wanted = {"1.0": 50, "2.0": 50}
        with_fake(tmp_path, fake, lambda s: HAProxy(s, "shop").set_weights("shop", wanted))

        assert fake.servers["2.0"] == Server(1)

    def test_takes_from_strangers(self, tmp_path: Path) -> None:
        """A server that belongs to no version gets nothing."""
        fake = two()
        fake.servers["x"] = Server(7)
        with_fake(tmp_path, fake, lambda s: HAProxy(s, "shop").set_weights("shop", {"1.0": 100}))

        assert fake.servers["x"].weight == 0

    def test_follows_instances(self, tmp_path: Path) -> None:
        """Instances are added as servers; those that are gone get nothing, and come back where they are."""
        fake = FakeHAProxy({"1.0-1": Server(1), "1.0-2": Server(1)})
        where = {"1.0": {"1.0-1": ("h", 81)}, "2.0": {"2.0-1": ("h", 91), "2.0-2": ("h", 92)}}

        async def shift(socket: Path) -> dict[str, float]:
            router = HAProxy(socket, "shop", addresses=lambda _, version: where[version])
            await router.set_weights("shop", {"1.0": 50, "2.0": 50})
            return await router.weights("shop")

        assert with_fake(tmp_path, fake, shift) == {"1.0": 50.0, "2.0": 50.0}
        assert fake.servers == {
            "1.0-1": Server(2, port=81),
            "1.0-2": Server(0, admin=1),
            "2.0-1": Server(1, port=91),
            "2.0-2": Server(1, port=92),
        }

    def test_finds_instances_that_moved(self, tmp_path: Path) -> None:
        """An instance that came back elsewhere under its name gets the traffic there, and so once only."""
        fake = FakeHAProxy({"1.0-1": Server(1, port=81), "2.0-1": Server(0, admin=1, port=91)})
        where = {"1.0": {"1.0-1": ("127.0.0.1", 81)}, "2.0": {"2.0-1": ("127.0.0.2", 99)}}

        async def shift(socket: Path) -> None:
            router = HAProxy(socket, "shop", addresses=lambda _, version: where[version])
            await router.set_weights("shop", {"1.0": 50, "2.0": 50})

        with_fake(tmp_path, fake, shift)

        assert fake.servers["2.0-1"] == Server(1, port=99)
        assert [c for c in fake.commands if "addr" in c] == [
            "set server shop/2.0-1 addr 127.0.0.2 port 99"
        ]

    def test_says_where_a_server_stays(self, tmp_path: Path) -> None:
        """A server that cannot be moved gets no traffic."""
        fake = FakeHAProxy({"1.0-1": Server(1), "2.0-1": Server(0, port=91)})
        fake.answer = lambda c: "Permission denied\n\n" if "addr" in c else None
        router = lambda s: HAProxy(s, "shop", addresses=lambda *_: {"2.0-1": ("127.0.0.1", 9)})  # noqa: E731

        with pytest.raises(RouterError, match=r"refused .*Permission denied"):
            with_fake(tmp_path, fake, lambda s: router(s).set_weights("shop", {"2.0": 100}))
        assert fake.servers["2.0-1"].weight == 0

    @pytest.mark.parametrize("found", [{}, {"a;b": ("h", 1)}], ids=["none", "misnamed"])
    def test_needs_instances(self, tmp_path: Path, found: dict[str, tuple[str, int]]) -> None:
        """A version without instances gets no traffic, and a name that could be a command is none."""
        fake = FakeHAProxy({"1.0-1": Server(1)})
        router = lambda s: HAProxy(s, "shop", addresses=lambda *_: found)  # noqa: E731

        with pytest.raises(RouterError, match=r"has no instance|no name of a server"):
            with_fake(tmp_path, fake, lambda s: router(s).set_weights("shop", {"2.0": 100}))
        assert fake.servers == {"1.0-1": Server(1)}

    def test_needs_a_server(self, tmp_path: Path) -> None:
        """A version without a server is refused before anything changes, with those that there are."""
        fake = two()

        with pytest.raises(RouterError, match=r"3\.0 has no server '3\.0'.* there are: 1\.0, 2\.0"):
            with_fake(
                tmp_path, fake, lambda s: HAProxy(s, "shop").set_weights("shop", {"3.0": 100})
            )
        assert fake.servers == two().servers

    def test_says_what_was_refused(self, tmp_path: Path) -> None:
        """What HAProxy answers other than nothing is an error."""
        fake = two()
        fake.answer = lambda c: "Permission denied\n\n" if c.startswith("set") else None

        with pytest.raises(RouterError, match=r"refused .* Permission denied"):
            with_fake(
                tmp_path, fake, lambda s: HAProxy(s, "shop").set_weights("shop", {"2.0": 100})
            )

    def test_reads_back(self, tmp_path: Path) -> None:
        """An HAProxy that says yes and does nothing is found out."""
        fake = two()
        fake.answer = lambda c: "\n" if c.startswith("set") else None

        with pytest.raises(RouterError, match="took it, and the weights are"):
            with_fake(
                tmp_path, fake, lambda s: HAProxy(s, "shop").set_weights("shop", {"2.0": 100})
            )

    def test_refuses_what_cannot_be_split(self, tmp_path: Path) -> None:
        """A share that whole weights cannot give is refused rather than rounded to nothing."""
        fake = two()
        wanted = {"1.0": 99.9, "2.0": 0.1}

        with pytest.raises(RouterError, match=r"2\.0 cannot get 0\.1 %"):
            with_fake(tmp_path, fake, lambda s: HAProxy(s, "shop").set_weights("shop", wanted))


class TestTheSocket:
    def test_that_is_not_there(self, tmp_path: Path) -> None:
        """Nobody at the other end is an error that says where."""
        for address in (str(tmp_path / "none"), "127.0.0.1:1"):
            with pytest.raises(RouterError, match=r"cannot be asked at"):
                asyncio.run(HAProxy(address, "shop").weights("shop"))

    def test_that_is_silent(self, tmp_path: Path) -> None:
        """An answer that does not come is not waited for for ever."""
        router = lambda s: HAProxy(s, "shop", timeout="50ms")  # noqa: E731

        with pytest.raises(RouterError, match=r"did not answer within 0\.05 s"):
            with_fake(tmp_path, FakeHAProxy(hangs=True), lambda s: router(s).weights("shop"))


class TestHAProxy:
    def test_refuses(self) -> None:
        """What could be taken for another command is refused, and two ways to say one thing."""
        with pytest.raises(DefinitionError, match="3 problems"):
            HAProxy("/s", "a b", servers={}, addresses=lambda *_: {}, options="check; del")


class TestDrain:
    def fleet(self, **options: Any) -> FakeHAProxy:
        names = ("1.0-1", "1.0-2", "2.0-1")
        return FakeHAProxy(dict(zip(names, map(Server, (25, 25, 50)), strict=True)), **options)

    def drained(self, place: Path, fake: FakeHAProxy, name: str, timeout: str = "5s") -> Any:
        router = lambda s: HAProxy(s, "shop", addresses=lambda *_: {}, timeout=timeout)  # noqa: E731

        async def drain(socket: Path) -> Any:
            await router(socket).drain("shop", name)
            return await router(socket).weights("shop")

        return with_fake(place, fake, drain)

    def test_leaves_the_weights_as_they_are(self, tmp_path: Path) -> None:
        """The other servers of the version take its share over, in one turn."""
        fake = self.fleet()

        weights = self.drained(tmp_path, fake, "1.0-2")

        assert weights == {"1.0": 50.0, "2.0": 50.0}
        assert fake.servers["1.0-2"].weight == 0
        assert fake.servers["1.0-1"].weight == fake.servers["2.0-1"].weight

    def test_waits_for_answers(self, tmp_path: Path) -> None:
        """It returns once the instance has answered what it was sent."""
        fake = self.fleet(busy=[2, 1])

        self.drained(tmp_path, fake, "1.0-2")

        assert fake.commands.count("show stat") == 3

    def test_says_what_has_not_answered(self, tmp_path: Path) -> None:
        """An instance that does not get done is an error, and not waited for any longer."""
        with pytest.raises(RouterError, match=r"1\.0-2 has not answered what it was sent"):
            self.drained(tmp_path, self.fleet(busy=[1] * 999), "1.0-2", timeout="500ms")

    def test_changes_nothing_again(self, tmp_path: Path) -> None:
        """An instance that gets nothing, or that HAProxy does not know, is drained already."""
        for name in ("1.0-2", "9.9-1"):
            fake = self.fleet()
            if name in fake.servers:
                fake.servers[name].weight = 0

            self.drained(tmp_path, fake, name)

            assert [command for command in fake.commands if command.startswith("set")] == []

    def test_never_takes_the_last(self, tmp_path: Path) -> None:
        """The last one of a version that has traffic is not drained: that would be a shift."""
        fake = self.fleet()

        with pytest.raises(RouterError, match=r"2\.0-1 is the last of 2\.0 that takes traffic"):
            self.drained(tmp_path, fake, "2.0-1")

        assert fake.servers["2.0-1"].weight == 50
