"""A version of a service that counts what it does and shows it at /metrics; run as a program.

    python metered.py VERSION PORT FAILS LATENCY_S

FAILS is the share of its requests that it answers with 500, spread evenly;
LATENCY_S how long it says that a request took, besides a little noise.
"""

from __future__ import annotations

import asyncio
import random
import sys


class Service:
    """Answers, and counts."""

    def __init__(self, version: str, fails: float, latency_s: float) -> None:
        self.version = version
        self.fails = fails
        self.latency_s = latency_s
        self.requests = 0
        self.errors = 0
        self.spent_s = 0.0
        self.rng = random.Random(version)

    def answer(self, path: str) -> tuple[int, str]:
        """Return status and body of the answer to a request."""
        if path == "/metrics":
            return 200, self.metrics()
        self.requests += 1
        self.spent_s += self.latency_s * self.rng.lognormvariate(0, 0.2)
        if int(self.requests * self.fails) > self.errors:
            self.errors += 1
            return 500, "it went wrong"
        return 200, "fine"

    def metrics(self) -> str:
        """Return the counters, as Prometheus reads them."""
        figures = {
            "http_requests_total": self.requests,
            "http_errors_total": self.errors,
            "http_seconds_total": self.spent_s,
        }
        return "".join(f'{k}{{version="{self.version}"}} {v}\n' for k, v in figures.items())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every request of a connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                status, body = self.answer(head.split()[1].decode())
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Type: text/plain; version=0.0.4\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
                )
                await writer.drain()
        except (EOFError, OSError):
            writer.close()


async def main(version: str, port: str, fails: str, latency_s: str) -> None:
    """Serve until somebody ends the process."""
    service = Service(version, float(fails), float(latency_s))
    server = await asyncio.start_server(service.serve, "127.0.0.1", int(port))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
