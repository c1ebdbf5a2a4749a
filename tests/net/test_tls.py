"""The system's roots: read once, on a thread, and anew where the environment names others."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflow.net import tls
from pyflow.net.tls import read_system_tls, system_tls
from pyflow.testing.servers.certificate import CERTIFICATE


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The threads that have read the roots, one for each time."""
    found: list[int] = []
    real = ssl.create_default_context

    def noted() -> ssl.SSLContext:
        found.append(threading.get_ident())
        return real()

    monkeypatch.setattr(ssl, "create_default_context", noted)
    tls._read.cache_clear()
    yield found
    tls._read.cache_clear()


class TestSystemTLS:
    def test_is_read_once_and_not_on_the_loop(self, readers: list[int]) -> None:
        """All connections share it, and no loop stands still for it."""

        async def main() -> list[ssl.SSLContext]:
            return [await system_tls(), await system_tls()]

        first, second = asyncio.run(main())

        assert first is second
        assert len(readers) == 1
        assert readers[0] != threading.get_ident()

    @pytest.mark.usefixtures("readers")
    def test_follows_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who names other roots is heard, in a process that has spoken TLS before."""
        before = read_system_tls()
        file = tmp_path / "roots.pem"
        file.write_text(CERTIFICATE)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))

        now = read_system_tls()

        assert now is not before
        (root,) = now.get_ca_certs()
        assert "fake" in str(root)
