"""A server on 127.0.0.1 with a thread for each connection; a context manager that leaves none open."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

from pyflow.testing.servers.certificate import client_tls

if TYPE_CHECKING:
    import ssl

__all__ = ["PATIENCE_S", "Listening"]

PATIENCE_S = 60.0
END_S = 10.0


class Listening:
    """Takes connections on a free port; what is done with one is the server's own."""

    def __init__(self) -> None:
        self.port = 0
        """Its port, once it has been entered."""
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._guard = threading.Condition()

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """What a client needs to trust this server."""
        return client_tls()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, name="pyflow-server", daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._guard:
            still_open = list(self._open)
        for sock in still_open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        with self._guard:
            self._guard.wait_for(lambda: not self._open, END_S)

    def _listen(self) -> None:
        assert self._listener is not None
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # the test is over
                return
            sock.settimeout(PATIENCE_S)
            with self._guard:
                self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _close(self, *socks: socket.socket) -> None:
        """Close *socks*, and take them out of those that are open."""
        for sock in socks:
            sock.close()
        with self._guard:
            self._open.difference_update(socks)
            self._guard.notify_all()

    def _serve(self, sock: socket.socket, /) -> None:
        """Serve one connection to its end, and take it out of those that are open."""
        raise NotImplementedError
