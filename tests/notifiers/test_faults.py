"""What the fault matrix does not ask: notifiers over TLS that is right. The rest is in `tests/faults`."""

from __future__ import annotations

from pyflow.notifiers import Webhook
from pyflow.testing.servers import HTTPServer
from support.notices import sent


class TestTLS:
    def test_trusted(self) -> None:
        """With the right roots a server is talked to."""
        with HTTPServer(tls=True) as server:
            hook = Webhook(
                f"{server.base_url}/x", allow_private=True, ssl_context=server.ssl_context
            )

            assert sent(hook).status == "delivered"
