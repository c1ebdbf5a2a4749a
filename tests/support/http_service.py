"""A version of an HTTP service, for platforms and routers to run and to reach.

    python http_service.py PORT VERSION [--warm-up SECONDS] [--stubborn]

Every answer names the version; one with "bad" in its name fails every fifth
request. `/health` answers 503 until it is warm. On
TERM it stops to listen, finishes what it is answering, and ends.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = socket.SOMAXCONN


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("version")
    parser.add_argument("--warm-up", type=float, default=0.0)
    parser.add_argument("--stubborn", action="store_true")
    given = parser.parse_args()
    warm_at_s = time.monotonic() + given.warm_up
    numbers = itertools.count(1)
    fail = 0.2 if "bad" in given.version else 0.0

    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            status = 200
            if self.path == "/health":
                status = 200 if time.monotonic() >= warm_at_s else 503
            elif fail and next(numbers) * fail % 1 < fail - 1e-9:
                status = 500
            body = f"{given.version} {os.getpid()}".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with Server(("127.0.0.1", given.port), Handler) as server:

        def end(*_: object) -> None:
            threading.Thread(target=server.shutdown, daemon=True).start()

        signal.signal(signal.SIGTERM, signal.SIG_IGN if given.stubborn else end)
        sys.stdout.write(f"{given.version} listens\n")
        sys.stdout.flush()
        server.serve_forever(poll_interval=0.02)


if __name__ == "__main__":
    main()
