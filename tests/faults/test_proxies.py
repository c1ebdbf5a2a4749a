"""Everything that asks a service, through a proxy: it goes that way, and says what goes wrong there."""

from __future__ import annotations

import asyncio

import pytest

from pyflow.errors import DefinitionError, RouterError
from pyflow.metrics import HAProxyStats
from pyflow.probes import HTTP
from pyflow.routers import KubernetesAPI
from pyflow.testing.servers import HTTPServer, Reply
from support.fake_http import closed_port
from support.fault_matrix import MAKERS, SUBJECTS, Place, measured
from support.http_proxy import HTTPProxy, basic

HOST = "service.example"  # which nobody here can look up
USER, PASSWORD = "ada", "s3cret!x"
HTTP_ALONE = [n for n, s in SUBJECTS.items() if n not in ("email", "probe TCP") and not s.tunnels]


def through(proxy: HTTPProxy, userinfo: str = f"{USER}:{PASSWORD}") -> Place:
    """Return a service behind *proxy*."""
    return Place(8080, HOST, proxy=proxy.url(userinfo))


@pytest.mark.parametrize("name", HTTP_ALONE)
class TestEverybody:
    def test_through(self, name: str) -> None:
        """It goes through the proxy that it was given, which looks the name up and knows who asks."""
        subject = SUBJECTS[name]
        with (
            HTTPServer().always(subject.healthy) as server,
            HTTPProxy({HOST: server.port}, users={USER: PASSWORD}) as proxy,
        ):
            seen, _ = measured(subject, through(proxy))

            assert len(server.received) == len(proxy.received) >= 1
        assert seen.good, seen.words

    def test_who(self, name: str) -> None:
        """A proxy that knows better is asked once, and quoted without what it was sent."""
        with HTTPProxy(users={USER: "another"}) as proxy:
            seen, _ = measured(SUBJECTS[name], through(proxy))

            assert len(proxy.received) == 1
        assert not seen.good
        assert not seen.doubt
        assert seen.again in (None, False)
        assert "answered 407" in seen.words
        assert PASSWORD not in seen.words

    @pytest.mark.parametrize("status", [200, 403, 500])
    def test_echo(self, name: str, status: int) -> None:
        """What comes back of the credentials, in the place of an answer, is masked."""
        echo = Reply(status, f"{PASSWORD} {basic(USER, PASSWORD)}", {"Location": f"/{PASSWORD}"})
        with HTTPProxy().always(echo) as proxy:
            seen, _ = measured(SUBJECTS[name], through(proxy))

        assert PASSWORD not in seen.words
        assert basic(USER, PASSWORD)[6:] not in seen.words

    def test_not_there(self, name: str) -> None:
        """A proxy that is not there is no news of the service; it may be asked again."""
        place = Place(8080, HOST, proxy=f"http://127.0.0.1:{closed_port()}")

        seen, _ = measured(SUBJECTS[name], place)

        assert not seen.good
        assert not seen.doubt
        assert seen.again in (None, True)
        assert "the proxy http://127.0.0.1:" in seen.words


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "email"])
class TestNotifiers:
    def test_refused(self, name: str) -> None:
        """What is no proxy is refused when the notifier is made, without its password."""
        with pytest.raises(DefinitionError) as caught:
            MAKERS[name](Place(80, HOST, proxy="socks5://u:hush-hush@p.example:1080"))

        assert "proxy=: scheme 'socks5' is not spoken" in str(caught.value)
        assert "hush" not in str(caught.value)


class TestProbes:
    def test_unhealthy(self) -> None:
        """A service that is not there is unhealthy; one whose proxy is not there is unknown."""
        port = closed_port()
        direct = asyncio.run(HTTP(f"http://127.0.0.1:{port}/").read())
        behind = asyncio.run(HTTP("http://shop.example/", proxy=f"http://127.0.0.1:{port}").read())

        assert (direct.health, behind.health) == ("unhealthy", "unknown")
        assert behind.evidence["phase"] == "proxy"


class TestStats:
    def test_socket(self) -> None:
        """A socket is not reached through a proxy."""
        with pytest.raises(DefinitionError, match="proxy= goes with the URL of a stats page"):
            HAProxyStats("/run/haproxy.sock", backend="b", proxy="http://p.example:3128")


class TestKubernetes:
    def test_through(self) -> None:
        """The API server of a cluster may be behind one, which is quoted without what it was sent."""

        async def get(api: KubernetesAPI) -> object:
            return await api.get("shop", "/x")

        with (
            HTTPServer().always(Reply(200, {"kind": "X"})) as server,
            HTTPProxy({HOST: server.port}, users={USER: PASSWORD}) as proxy,
        ):
            api = KubernetesAPI(f"http://{HOST}", proxy=proxy.url(f"{USER}:{PASSWORD}"))
            assert asyncio.run(get(api)) == {"kind": "X"}
            proxy.always(Reply(403, {"message": f"no {PASSWORD}"}))
            with pytest.raises(RouterError) as caught:
                asyncio.run(get(api))

        assert "gave 403: 'no ***'" in str(caught.value)
