"""The service that the demo deploys, and the front door that its clients talk to.

    python demo_service.py serve RELEASE PORT_FILE       one version of the service
    python demo_service.py front-door ROOT PORT_FILE     sends requests on to `ROOT/current`

Both listen on a free port of 127.0.0.1 and write its number to PORT_FILE.
Both end on SIGTERM, once what they are answering is answered, and when their
standard input closes: whoever started them holds the other end, so even a
starter that is killed leaves nothing running.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROUTING_TRIES = 5
ROUTING_PAUSE_S = 0.05
UPSTREAM_TIMEOUT_S = 2.0
IDLE_TIMEOUT_S = 2.0  # a connection that asks nothing does not keep the server from ending


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with."""

    status: int
    body: bytes


def build(into: Path, version: str, *, healthy: bool = True, warm_up_s: float = 0.0) -> Path:
    """Put a build of *version* into the directory *into*, as a CI system would.

    A build is this program, the version and a configuration. It listens at
    once, answers 503 to `/health` until it is warm, and from then on 200, or
    500 if it is not *healthy*.
    """
    place = into / version
    place.mkdir(parents=True)
    shutil.copyfile(__file__, place / "service.py")
    (place / "VERSION").write_text(f"{version}\n")
    (place / "config.json").write_text(json.dumps({"healthy": healthy, "warm_up_s": warm_up_s}))
    return place


# The service ------------------------------------------------------------------------------


def service(release: Path) -> Callable[[str], Answer]:
    """Return what the version in the directory *release* answers to a path."""
    version = (release / "VERSION").read_text().strip()
    config = json.loads((release / "config.json").read_text())
    warm_at_s = time.monotonic() + config["warm_up_s"]

    def health() -> Answer:
        if time.monotonic() < warm_at_s:
            return Answer(503, b"warming up")
        if not config["healthy"]:
            return Answer(500, b"the database does not answer")
        return Answer(200, b"ok")

    def answer(path: str) -> Answer:
        if path == "/health":
            return health()
        return Answer(200, json.dumps({"service": "shop", "version": version}).encode())

    return answer


# The front door ---------------------------------------------------------------------------


def front_door(root: Path) -> Callable[[str], Answer]:
    """Return what the release that `current` points to answers to a path.

    `current` is read for every request, so a switch needs no reload. A
    version that hangs up unasked is about to be retired: the request is sent
    again, to what is current by then, as any proxy does with a GET.
    """

    def answer(path: str) -> Answer:
        for _ in range(ROUTING_TRIES):
            try:
                version = (root / "current").readlink().name
                port = int((root / "run" / f"{version}.port").read_text())
                return fetch(port, path)
            except (OSError, http.client.HTTPException):
                time.sleep(ROUTING_PAUSE_S)
        return Answer(503, b"no version answers")

    return answer


def fetch(port: int, path: str) -> Answer:
    """Ask the version that listens on *port*."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=UPSTREAM_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.read())
    finally:
        connection.close()


# Serving ----------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Answers each request on a thread of its own, and ends after the last of them."""

    daemon_threads = False  # closing waits for answers that are under way
    request_queue_size = socket.SOMAXCONN


def serve(answer: Callable[[str], Answer], port_file: Path) -> None:
    """Answer requests until SIGTERM, or until standard input closes."""

    class Handler(BaseHTTPRequestHandler):
        timeout = IDLE_TIMEOUT_S

        def do_GET(self) -> None:
            said = answer(self.path)
            self.send_response(said.status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with Server(("127.0.0.1", 0), Handler) as server:

        def end(*_: object) -> None:
            threading.Thread(target=server.shutdown, daemon=True).start()

        def end_with_starter() -> None:
            while os.read(0, 1):
                pass
            end()

        signal.signal(signal.SIGTERM, end)
        threading.Thread(target=end_with_starter, daemon=True).start()
        report_port(server.server_port, port_file)
        server.serve_forever(poll_interval=0.05)


def report_port(port: int, port_file: Path) -> None:
    """Write *port* so that a reader finds all of it or nothing."""
    partial = port_file.with_suffix(".partial")
    partial.write_text(f"{port}\n")
    partial.replace(port_file)


if __name__ == "__main__":
    role, place, reported = sys.argv[1:]
    serve({"serve": service, "front-door": front_door}[role](Path(place)), Path(reported))
