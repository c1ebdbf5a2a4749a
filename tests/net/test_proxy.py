"""Requests through proxies: ones that do as they should, and ones that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from pyflow.errors import DefinitionError, HTTPError, SecretError
from pyflow.net import Proxy
from pyflow.net.environment import proxy_for
from pyflow.net.http import request
from pyflow.net.response import Response
from pyflow.net.url import parse_url
from pyflow.redactor import hidden
from pyflow.secrets import Secret
from pyflow.testing.servers import HTTPServer, Raw, Reply
from support.fake_http import closed_port
from support.http_proxy import HTTPProxy, basic

USER, PASSWORD = "ada", "s3cret!x"
USERS = {USER: PASSWORD}


@pytest.fixture
def shop() -> Generator[HTTPServer]:
    """A target that speaks plainly."""
    with HTTPServer().always(Reply(200, "plain")) as server:
        yield server


@pytest.fixture
def safe() -> Generator[HTTPServer]:
    """A target that speaks TLS, and that nobody trusts but its own context."""
    with HTTPServer(tls=True).always(Reply(200, "safe")) as server:
        yield server


def ask(url: str, method: str = "GET", **options: Any) -> Response:
    return asyncio.run(request(method, url, **options))


def failure(url: str, **options: Any) -> HTTPError:
    with pytest.raises(HTTPError) as caught:
        ask(url, **options)
    return caught.value


def refused(proxy: Any, **options: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        Proxy(proxy, **options)
    return str(caught.value)


class TestPlainTargets:
    def test_forwarded(self, shop: HTTPServer) -> None:
        """The proxy is asked for the whole URL, and looks the host up, which nobody here knows."""
        with HTTPProxy({"shop.example": shop.port}) as proxy:
            response = ask("http://shop.example:8080/a?b=c", "POST", body=b"x", proxy=proxy.url())

        assert (response.body, response.url) == (b"plain", "http://shop.example:8080/a?b=c")
        assert proxy.received[0].path == "http://shop.example:8080/a?b=c"
        assert proxy.received[0].headers["host"] == "shop.example:8080"
        assert (shop.received[0].path, shop.received[0].body) == ("/a?b=c", b"x")

    def test_credentials(self, shop: HTTPServer) -> None:
        """The proxy learns who asks, and the target does not."""
        with HTTPProxy({"shop.example": shop.port}, users=USERS) as proxy:
            response = ask("http://shop.example/", proxy=proxy.url(f"{USER}:{PASSWORD}"))

        assert response.status == 200
        assert "proxy-authorization" not in shop.received[0].headers

    def test_redirects(self, shop: HTTPServer) -> None:
        """A redirect that is followed goes through the proxy too."""
        shop.will(Reply(302, "", {"Location": "/there"}))
        with HTTPProxy({"shop.example": shop.port}) as proxy:
            ask("http://shop.example/", proxy=proxy.url(), follow_redirects=1)

        assert [one.path for one in proxy.received] == [
            "http://shop.example/",
            "http://shop.example/there",
        ]

    def test_answers_for_it(self) -> None:
        """What the proxy says in the place of a target is an answer like any other."""
        with HTTPProxy() as proxy:
            assert ask("http://nowhere.example/", proxy=proxy.url()).status == 502

    def test_refused(self, shop: HTTPServer) -> None:
        """A proxy that wants to know who asks has passed nothing on; it is not asked again."""
        with HTTPProxy({"shop.example": shop.port}, users=USERS) as proxy:
            error = failure("http://shop.example/", proxy=proxy.url())

        assert (error.phase, error.sent, error.final) == ("proxy", False, True)
        assert "answered 407: it asks for a user name and a password" in error.reason
        assert shop.received == []


class TestTunnels:
    def test_tunnelled(self, safe: HTTPServer) -> None:
        """The proxy learns host and port alone; TLS is spoken with the target."""
        with HTTPProxy({"localhost": safe.port}) as proxy:
            response = ask(
                "https://localhost/a?b=c", proxy=proxy.url(), ssl_context=safe.ssl_context
            )

        assert response.body == b"safe"
        assert [(one.method, one.path) for one in proxy.received] == [("CONNECT", "localhost:443")]
        assert proxy.received[0].headers["host"] == "localhost:443"
        assert safe.received[0].path == "/a?b=c"

    def test_credentials(self, safe: HTTPServer) -> None:
        """They open the tunnel, and do not go through it."""
        with HTTPProxy({"localhost": safe.port}, users=USERS) as proxy:
            url = proxy.url(f"{USER}:{PASSWORD}")
            response = ask("https://localhost/", proxy=url, ssl_context=safe.ssl_context)

        assert response.status == 200
        assert "proxy-authorization" not in safe.received[0].headers

    def test_address(self, safe: HTTPServer) -> None:
        """The target may be an address, of version 6 too."""
        with HTTPProxy({"::1": safe.port}) as proxy:
            failure("https://[::1]:8443/", proxy=proxy.url())

        assert proxy.received[0].path == "[::1]:8443"
        assert proxy.received[0].headers["host"] == "[::1]:8443"

    @pytest.mark.parametrize(
        ("host", "trusted"), [("localhost", False), ("shop.example", True)], ids=["roots", "name"]
    )
    def test_certificate(self, safe: HTTPServer, host: str, trusted: bool) -> None:
        """Whom the tunnel leads to is checked as ever: the roots, and the target's own name."""
        context = safe.ssl_context if trusted else None
        with HTTPProxy({host: safe.port}) as proxy:
            error = failure(f"https://{host}/", proxy=proxy.url(), ssl_context=context)

        assert (error.phase, error.sent) == ("tls", False)
        assert safe.received == []

    def test_injected(self, safe: HTTPServer) -> None:
        """What a proxy sends after its answer never passes for the target's."""
        forged = b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        with HTTPProxy().always(Raw(forged)) as proxy:
            error = failure("https://localhost/", proxy=proxy.url())

        assert error.phase == "tls"

    @pytest.mark.parametrize(
        ("status", "final", "words"),
        [
            (401, True, "answered 401: it asks for a user name and a password"),
            (302, True, "answered 302 and makes no way there"),
            (403, True, "its rules may forbid that"),
            (
                407,
                True,
                "answered 407: it asks for a user name and a password; give them in proxy=",
            ),
            (429, False, "answered 429 and makes no way there"),
            (502, False, "it may not reach it"),
        ],
    )
    def test_refused(self, status: int, final: bool, words: str) -> None:
        """A proxy that makes no tunnel says why; only what may pass is worth another try."""
        with HTTPProxy().always(Reply(status, "<html>", {"Location": "/"})) as proxy:
            error = failure("https://shop.example/", proxy=proxy.url())

        assert (error.phase, error.sent, error.final) == ("proxy", False, final)
        assert words in error.reason
        assert f"the proxy http://127.0.0.1:{proxy.port}" in error.reason

    @pytest.mark.parametrize(
        ("said", "words"),
        [
            (b"", "closed the connection too early"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "does not answer as an HTTP proxy does"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000, "does not answer as an HTTP proxy does"),
            (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 600, "does not answer as an HTTP proxy does"),
        ],
        ids=["nothing", "another protocol", "long line", "many lines"],
    )
    def test_no_proxy(self, said: bytes, words: str) -> None:
        """What is no HTTP proxy is told so."""
        with HTTPProxy().always(Raw(said)) as proxy:
            assert words in failure("https://shop.example/", proxy=proxy.url()).reason

    def test_not_there(self) -> None:
        """A proxy that is not there is named, and not taken for the target."""
        port = closed_port()

        error = failure("https://shop.example/", proxy=f"http://127.0.0.1:{port}")

        assert f"the proxy http://127.0.0.1:{port} is not reached" in error.reason
        assert (error.phase, error.final) == ("proxy", False)


class TestPrivate:
    @pytest.mark.parametrize(
        "url",
        ["https://10.0.0.7/", "http://127.0.0.1/", "https://[::1]/", "http://localhost/",
         "https://db.localhost./", "http://169.254.169.254/latest/meta-data"],
    )  # fmt: skip
    def test_refused(self, url: str) -> None:
        """A target that is plainly not public is refused before the proxy is asked."""
        with HTTPProxy() as proxy:
            error = failure(url, proxy=proxy.url(), allow_private=False)

        assert error.final
        assert "not public" in error.reason
        assert proxy.received == []

    def test_of_the_proxy(self, shop: HTTPServer) -> None:
        """The proxy itself was named, so its own address may be private."""
        with HTTPProxy({"shop.example": shop.port}) as proxy:
            assert ask("http://shop.example/", proxy=proxy.url(), allow_private=False).status == 200


class TestHostile:
    @pytest.mark.parametrize(
        "url", ["file:///etc/passwd", "http://0x7f.1/", "http://u:p@h.example"]
    )
    def test_url(self, url: str) -> None:
        """A URL that can be read in two ways is refused before the proxy is asked."""
        with HTTPProxy() as proxy:
            with pytest.raises(DefinitionError):
                ask(url, proxy=proxy.url())
            assert proxy.received == []

    @pytest.mark.parametrize("scheme", ["http", "https"])
    @pytest.mark.parametrize("before", ["", "x" * 30], ids=["whole", "cut"])
    def test_echo(self, scheme: str, before: str) -> None:
        """A proxy that says the credentials back is not quoted with them, cut or whole."""
        shown = basic(USER, PASSWORD)
        with HTTPProxy().always(Raw(f"{before}{shown} {PASSWORD}\r\n".encode())) as proxy:
            url = proxy.url(f"{USER}:{PASSWORD}")
            error = failure(f"{scheme}://shop.example/", proxy=url)

        told = f"{error} {error.__cause__}"
        assert shown[10:18] not in told
        assert PASSWORD not in told

    def test_header(self) -> None:
        """The credentials of a proxy cannot be sent as a header, which a target might get."""
        with pytest.raises(DefinitionError, match="set by the client"):
            ask("http://shop.example/", headers={"Proxy-Authorization": "Basic x"})


class TestProxy:
    def test_password(self, shop: HTTPServer) -> None:
        """The password may be a secret of its own, fetched as it is needed."""
        with HTTPProxy({"shop.example": shop.port}, users=USERS) as proxy:
            given = Proxy(
                proxy.url(USER), password=Secret.from_provider(lambda: PASSWORD, name="p")
            )
            assert ask("http://shop.example/", proxy=given).status == 200

    def test_secret(self, shop: HTTPServer) -> None:
        """The whole URL may be a secret."""
        with HTTPProxy({"shop.example": shop.port}, users=USERS) as proxy:
            given = Secret(proxy.url(f"{USER}:{PASSWORD}"))
            assert ask("http://shop.example/", proxy=given).status == 200

    def test_encoded(self, shop: HTTPServer) -> None:
        """User name and password are percent-decoded."""
        with HTTPProxy({"shop.example": shop.port}, users={"CORP\\ada": "p@ss/w:rd é"}) as proxy:
            url = proxy.url("CORP%5Cada:p%40ss%2Fw%3Ard%20%C3%A9")
            assert ask("http://shop.example/", proxy=url).status == 200

    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            (Proxy("http://p.example:3128"), "Proxy('http://p.example:3128')"),
            (Proxy("environment"), "Proxy('environment')"),
            (Proxy("http://u:hush-hush@p.example:3128"), "Proxy(***)"),
            (Proxy("http://tok-hush@p.example:3128"), "Proxy(***)"),
            (Proxy(Secret("http://hush.example:3128")), "Proxy(***)"),
            (
                Proxy("http://u@p.example:1", password=Secret("hush-hush")),
                "Proxy('http://u@p.example:1', password=***)",
            ),
        ],
    )
    def test_repr(self, given: Proxy, shown: str) -> None:
        """A repr shows where it is, and no credential."""
        assert repr(given) == shown

    def test_masked(self) -> None:
        """Whatever masks secrets masks the credentials of a proxy, as they are sent too."""
        given = Proxy(f"http://{USER}:{PASSWORD}@p.example:3128")

        told = hidden(f"{PASSWORD} {basic(USER, PASSWORD)} p.example", (given,))

        assert told == "*** Basic *** p.example"

    @pytest.mark.parametrize(
        "given",
        [Proxy("http://p.example:3128"), Proxy(Secret("ftp://not-a-proxy")), Proxy("environment")],
    )
    def test_nothing_to_mask(self, given: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where there are none, nothing is masked."""
        monkeypatch.delenv("http_proxy", raising=False)
        assert (
            hidden("http://p.example:3128 is there", (given,)) == "http://p.example:3128 is there"
        )

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("https://p.example:3128", "scheme 'https' is not spoken with proxies"),
            ("socks5://p.example:1080", "scheme 'socks5' is not spoken with proxies"),
            ("http://p.example", "it names no port"),
            ("http://p.example:0", "its port is not from 1 to 65535"),
            ("http://p.example:99999", "its port is not from 1 to 65535"),
            ("http://0x7f.1:3128", "not an IP address written in full"),
            ("http://-p-:3128", "is not a name"),
            ("http://u%3Av:hush-hush@p.example:1", "holds a colon"),
            ("http://u:hush%0Ahush@p.example:1", "a control character"),
            ("p.example:3128", "cannot be read"),
            ("http://p.example:3128/path", "cannot be read"),
            ("http://u:hush/hush@p.example:3128", "cannot be read"),
            ("http://u:hush@hush@p.example:3128", "cannot be read"),
            ("http://u:hush hush@p.example:3128", "cannot be read"),
            ("u:hush@p.example:3128", "cannot be read"),
            ("http://p.example:3128\r\nX: hush", "cannot be read"),
            ("http://" + "p" * 3_000 + ":3128", "cannot be read"),
            ("", "cannot be read"),
            (7, "a int is no proxy"),
        ],
    )
    def test_refused(self, url: Any, words: str) -> None:
        """What is no proxy, or could be read in two ways, is refused without its password."""
        told = refused(url)

        assert words in told
        assert "hush" not in told

    @pytest.mark.parametrize(
        ("url", "password", "words"),
        [
            ("http://u@p.example:1", "hush-hush", "password= is a str; give a Secret"),
            ("http://p.example:1", Secret("hush-hush"), "a user name"),
            ("http://u:other-hush@p.example:1", Secret("hush-hush"), "and no password"),
            ("environment", Secret("hush-hush"), "a user name"),
            (Secret("http://u@p.example:1"), Secret("hush-hush"), "a user name"),
        ],
    )
    def test_password_refused(self, url: Any, password: Any, words: str) -> None:
        """A password is a secret, and goes with a user name."""
        told = refused(url, password=password)

        assert words in told
        assert "hush" not in told

    def test_late(self) -> None:
        """A secret that turns out to be no proxy, or no password, is refused before any connection."""
        for given in (
            Proxy(Secret("socks5://u:hush-hush@p.example:1")),
            Proxy("http://u@127.0.0.1:1", password=Secret("hush\nhush")),
        ):
            with pytest.raises(DefinitionError) as caught:
                ask("http://shop.example/", proxy=given)
            assert "hush" not in str(caught.value)

    def test_not_fetched(self) -> None:
        """A secret that cannot be fetched says so."""
        given = Proxy("http://u@127.0.0.1:1", password=Secret.from_env("NOT_SET_ANYWHERE"))

        with pytest.raises(SecretError, match="NOT_SET_ANYWHERE"):
            ask("http://shop.example/", proxy=given)


class TestEnvironment:
    def test_asked(self, shop: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the environment says is used where that is asked for, at the time of the request."""
        with HTTPProxy({"shop.example": shop.port}, users=USERS) as proxy:
            given = Proxy("environment")
            monkeypatch.setenv("http_proxy", proxy.url(f"{USER}:{PASSWORD}"))
            assert ask("http://shop.example/", proxy=given).status == 200
            assert len(proxy.received) == 1
            assert hidden(PASSWORD, (given,)) == "***"

            monkeypatch.setenv("no_proxy", "127.0.0.1")
            assert ask(shop.base_url, proxy="environment").status == 200
            assert len(proxy.received) == 1

    def test_unusable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A proxy that cannot be used is an error that names the variable, never a way around it."""
        monkeypatch.setenv("ALL_PROXY", "socks5://u:hush-hush@p.example:1080")

        with pytest.raises(DefinitionError) as caught:
            ask(f"http://127.0.0.1:{closed_port()}/", proxy="environment")

        assert "ALL_PROXY: scheme 'socks5' is not spoken" in str(caught.value)
        assert "hush" not in str(caught.value)

    @pytest.mark.parametrize(
        ("url", "environ", "found"),
        [
            ("https://a.example/", {}, None),
            ("https://a.example/", {"https_proxy": "http://p:1"}, ("https_proxy", "http://p:1")),
            ("https://a.example/", {"HTTPS_PROXY": " p:1 "}, ("HTTPS_PROXY", "http://p:1")),
            ("https://a.example/", {"HTTPS_PROXY": "q:1", "https_proxy": "p:1"},
             ("https_proxy", "http://p:1")),
            ("https://a.example/", {"HTTP_PROXY": "p:1"}, None),
            ("https://a.example/", {"https_proxy": "", "ALL_PROXY": "p:1"},
             ("ALL_PROXY", "http://p:1")),
            ("http://a.example/", {"HTTP_PROXY": "p:1"}, ("HTTP_PROXY", "http://p:1")),
            ("http://a.example/", {"HTTP_PROXY": "p:1", "REQUEST_METHOD": "GET"}, None),
        ],
    )  # fmt: skip
    def test_variables(self, url: str, environ: dict[str, str], found: Any) -> None:
        """The scheme's own variable comes first, small letters before capitals; an empty one is none."""
        assert proxy_for(parse_url(url), environ) == found

    @pytest.mark.parametrize(
        ("url", "exempt", "direct"),
        [
            ("https://a.example/", "*", True),
            ("https://a.example/", "b.example, a.example", True),
            ("https://a.example/", "b.example a.example", True),
            ("https://a.b.example/", "b.example", True),
            ("https://a.b.example/", ".B.example", True),
            ("https://b.example./", "*.b.example", True),
            ("https://ab.example/", "b.example", False),
            ("https://a.example/", "", False),
            ("https://a.example/", ". ::: /", False),
            ("https://a.example:8443/", "a.example:8443", True),
            ("https://a.example/", "a.example:8443", False),
            ("https://10.1.2.3/", "10.0.0.0/8", True),
            ("https://11.1.2.3/", "10.0.0.0/8", False),
            ("https://a.example/", "10.0.0.0/8", False),
            ("https://10.1.2.3/", "2.3", False),
            ("https://10.1.2.3/", "10.1.2.3", True),
            ("https://[::1]/", "[::1]:443", True),
            ("https://[::1]/", "::1", True),
            ("https://[fd00::7]/", "fd00::/8", True),
        ],
    )
    def test_exempt(self, url: str, exempt: str, direct: bool) -> None:
        """Hosts, all below them, addresses and networks may be left out, by port as well."""
        environ = {"ALL_PROXY": "p:1", "NO_PROXY": exempt}

        assert (proxy_for(parse_url(url), environ) is None) == direct


def test_basic() -> None:
    """The helper of these tests says what RFC 7617, section 2, has for an example."""
    assert basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
