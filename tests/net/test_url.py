"""URLs and hosts: what is taken apart, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.net.url import Target, host_problem, parse_url


class TestParseUrl:
    @pytest.mark.parametrize(
        ("url", "target", "text"),
        [
            (
                "http://Shop.Example",
                Target("http", "shop.example", 80, "/"),
                "http://shop.example/",
            ),
            (
                "https://a_b:8443/x?y#z",
                Target("https", "a_b", 8443, "/x?y"),
                "https://a_b:8443/x?***",
            ),
            ("HTTP://10.0.0.1:80/", Target("http", "10.0.0.1", 80, "/"), "http://10.0.0.1/"),
            ("http://[::1]:81", Target("http", "::1", 81, "/"), "http://[::1]:81/"),
            ("http://h:", Target("http", "h", 80, "/"), "http://h/"),
            ("http://h.?q", Target("http", "h.", 80, "/?q"), "http://h./?***"),
        ],
    )
    def test_parts(self, url: str, target: Target, text: str) -> None:
        """A URL is taken apart, and shown without its query."""
        assert parse_url(url) == target
        assert str(target) == text

    @pytest.mark.parametrize(
        "url",
        [
            "", "/health", "shop.example", "http://", "http:///x", "http://:80/", "file:///etc/passwd",
            "gopher://h/", "ftp://h/", "javascript:alert(1)", "unix:/run/x", "http://user:pw@h/",
            "http://a@b/", "http://@h/", "http://h:0/", "http://h:65536/", "http://h:-1/", "http://h:x/",
            "http://h/a b", "http://h/\r\nX: y", "http://h/\t", "http://h\x00/", "http://h\\@evil/",
            "http://b\u00fccher.example/", "http://h/\u00e9", "http://0x7f.1/", "http://2130706433/",
            "http://127.1/", "http://0177.0.0.1/", "http://1.2.3.4.5/", "http://0x7f000001/",
            "http://[::ffff:a9fe:a9fe]/", "http://[::ffff:127.0.0.1]/", "http://[::1/", "http://[::1%25eth0]/", "http://[vF.a]/", "http://-a.example/",
            "http://a..b/", "http://.a/", "http://" + "a" * 64 + "/", "http://" + "a." * 130 + "b/",
            "http://a%00b/", "http://h/" + "x" * 9_000, None, b"http://h/", 7,
        ],
    )  # fmt: skip
    def test_refused(self, url: Any) -> None:
        """Whatever is not plainly an http URL is refused before any connection."""
        with pytest.raises(DefinitionError, match=r"^url: .*expected such as"):
            parse_url(url)

    def test_hides_password(self) -> None:
        """The error does not repeat a password."""
        with pytest.raises(DefinitionError) as caught:
            parse_url("http://admin:hush@h/hush?hush")

        assert "hush" not in str(caught.value)

    def test_hides_path(self) -> None:
        """Of a URL that is a credential, only scheme, host and port are shown."""
        target = parse_url("https://h:8443/hush?hush", is_secret=True)

        assert str(target) == "https://h:8443/***"
        assert target.path == "/hush?hush"


class TestHostProblem:
    def test_is_told(self) -> None:
        """A host that is a name or an address has no problem; others are described."""
        assert host_problem("Shop.Example") is None
        assert host_problem("10.0.0.1") is None
        assert "in full" in str(host_problem("0X7F.1"))
        assert "not a name" in str(host_problem("a/b"))
        assert "not text" in str(host_problem(7))  # type: ignore[arg-type]
