"""The service that the demo deploys, and the front door that its clients talk to.

    python demo_service.py serve RELEASE PORT_FILE       one version of the service
    python demo_service.py front-door ROOT PORT_FILE     sends requests on to `ROOT/current`
    python demo_service.py listen PORT LEASH             the version beside the program, on a port
    python demo_service.py guard LEASH PROGRAM …         any program

The first two listen on a free port of 127.0.0.1, write its number to
PORT_FILE, and end when their standard input closes; the others end when
nobody holds the other end of the FIFO LEASH. So whoever started them leaves
nothing running, even if it is killed. All end on SIGTERM, once what they are
answering is answered.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
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


def build(
    into: Path, version: str, *, healthy: bool = True, warm_up_s: float = 0.0, failing: int = 0
) -> Path:
    """Put a build of *version* into the directory *into*, as a CI system would.

    A build is this program, the version and a configuration. It listens at
    once, answers 503 to `/health` until it is warm, and from then on 200, or
    500 if it is not *healthy*. Of all other requests it fails one in *failing*.
    """
    place = into / version
    place.mkdir(parents=True)
    shutil.copyfile(__file__, place / "service.py")
    (place / "VERSION").write_text(f"{version}\n")
    config = {"healthy": healthy, "warm_up_s": warm_up_s, "failing": failing}
    (place / "config.json").write_text(json.dumps(config))
    return place


# The service ------------------------------------------------------------------------------


def service(release: Path) -> Callable[[str], Answer]:
    """Return what the version in the directory *release* answers to a path."""
    version = (release / "VERSION").read_text().strip()
    config = json.loads((release / "config.json").read_text())
    warm_at_s = time.monotonic() + config["warm_up_s"]
    numbers = itertools.count(1)

    def health() -> Answer:
        if time.monotonic() < warm_at_s:
            return Answer(503, b"warming up")
        if not config["healthy"]:
            return Answer(500, b"the database does not answer")
        return Answer(200, b"ok")

    def answer(path: str) -> Answer:
        if path == "/health":
            return health()
        if config["failing"] and next(numbers) % config["failing"] == 0:
            return Answer(500, f"{version} has lost the cart".encode())
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


def serve(
    answer: Callable[[str], Answer], *, port: int = 0, port_file: Path | None = None, leash: int = 0
) -> None:
    """Answer requests until SIGTERM, or until the file *leash* ends."""

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

    with Server(("127.0.0.1", port), Handler) as server:
        end_with(leash, server.shutdown)
        if port_file is not None:
            report_port(server.server_port, port_file)
        server.serve_forever(poll_interval=0.05)


def end_with(leash: int, end: Callable[[], object]) -> None:
    """Have *end* called on SIGTERM, and once the file *leash* ends."""

    def in_background(*_: object) -> None:
        threading.Thread(target=end, daemon=True).start()

    def watch() -> None:
        while os.read(leash, 1):
            pass
        in_background()

    signal.signal(signal.SIGTERM, in_background)
    threading.Thread(target=watch, daemon=True).start()


def report_port(port: int, port_file: Path) -> None:
    """Write *port* so that a reader finds all of it or nothing."""
    partial = port_file.with_suffix(".partial")
    partial.write_text(f"{port}\n")
    partial.replace(port_file)


def guard(leash: int, command: list[str]) -> int:
    """Run a program until it ends, or SIGTERM, or the file *leash* ends; return how it ended."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    end_with(leash, process.terminate)
    return process.wait()


def main() -> int:
    """Play the role that the command line names."""
    role, *rest = sys.argv[1:]
    match role:
        case "serve":
            serve(service(Path(rest[0])), port_file=Path(rest[1]))
        case "front-door":
            serve(front_door(Path(rest[0])), port_file=Path(rest[1]))
        case "listen":
            release, leash = Path(__file__).parent, os.open(rest[1], os.O_RDONLY)
            serve(service(release), port=int(rest[0]), leash=leash)
        case "guard":
            return guard(os.open(rest[0], os.O_RDONLY), rest[1:])
        case _:
            raise ValueError(f"there is no role {role!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
