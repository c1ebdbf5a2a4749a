"""A small HTTP proxy on 127.0.0.1: forwards, makes tunnels, asks who is there, and may be scripted.

It knows hosts by a table of its own, as the proxy of a company knows names
that its clients cannot look up. A tunnel leads to a port of this machine.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from pyflow.testing.servers.http import HTTPServer, Raw, Received, Reply, Step, play, read_request

__all__ = ["HTTPProxy", "basic"]

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def basic(user: str, password: str) -> str:
    """Return the credentials as they are sent."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


class HTTPProxy(HTTPServer):
    """A proxy; `received` is what it was asked, and `will` and `always` script what it does instead.

    Args:
        hosts: The port of this machine that each host leads to.
        users: Who may use it, with their passwords; everybody by default.
    """

    def __init__(
        self, hosts: Mapping[str, int] | None = None, *, users: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self.hosts = dict(hosts or {})
        self.known = None if users is None else {basic(*pair) for pair in users.items()}

    def url(self, userinfo: str = "") -> str:
        """Return its URL."""
        return f"http://{userinfo}{'@' if userinfo else ''}127.0.0.1:{self.port}"

    def answer(self, request: Received) -> Step:
        """Return what it says where it does not pass something on."""
        if self.known is not None and request.headers.get("proxy-authorization") not in self.known:
            said = f"who is {request.headers.get('proxy-authorization')}?"
            return Reply(407, said, {"Proxy-Authenticate": "Basic"})
        return Raw(ESTABLISHED) if self._port(request) else Reply(502, "no such host")

    def _serve(self, sock: socket.socket, /) -> None:
        try:
            request = read_request(sock)
            if request is None:
                return
            with self._guard:
                self.received.append(request)
                step = self._steps.popleft() if self._steps else self._always
            step = step or self.answer(request)
            if step == Raw(ESTABLISHED):
                self._pass_on(request, sock)
            else:
                play(step, sock)
        except OSError:
            pass  # the client, or the host, has gone
        finally:
            self._close(sock)

    def _port(self, request: Received) -> int | None:
        host = urlsplit(f"//{request.path}" if request.method == "CONNECT" else request.path)
        return self.hosts.get(host.hostname or "")

    def _pass_on(self, request: Received, client: socket.socket) -> None:
        port = self._port(request)
        assert port is not None
        host = socket.create_connection(("127.0.0.1", port))
        try:
            with self._guard:
                self._open.add(host)
            if request.method == "CONNECT":
                client.sendall(ESTABLISHED)
            else:
                host.sendall(_forwarded(request))
            back = threading.Thread(target=_pump, args=(host, client), daemon=True)
            back.start()
            _pump(client, host)
            back.join()
        finally:
            self._close(host)


def _forwarded(request: Received) -> bytes:
    """Return the request as its target gets it: without what is for the proxy alone."""
    parts = urlsplit(request.path)
    path = f"{parts.path}{'?' if parts.query else ''}{parts.query}"
    kept = [(n, v) for n, v in request.headers.items() if n != "proxy-authorization"]
    lines = "".join(f"{name}: {value}\r\n" for name, value in kept)
    return f"{request.method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + request.body


def _pump(here: socket.socket, there: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := here.recv(65_536):
            there.sendall(data)
    with contextlib.suppress(OSError):
        there.shutdown(socket.SHUT_WR)
