"""A client that never stops sending requests, and counts what comes back."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

WORKERS = 4
TIMEOUT_S = 10.0


@dataclass(slots=True)
class Tally:
    """What came back within a while."""

    answers: Counter[str] = field(default_factory=Counter[str])
    """How many requests each version answered well."""
    failures: list[str] = field(default_factory=list[str])
    """Why each of the others failed."""

    @property
    def requests(self) -> int:
        return self.answers.total() + len(self.failures)

    def __sub__(self, before: Tally) -> Tally:
        """Return what came back since there was *before*."""
        return Tally(self.answers - before.answers, self.failures[len(before.failures) :])

    def __str__(self) -> str:
        shares = [
            f"{n * 100 / self.requests:.0f} % by {v}" for v, n in sorted(self.answers.items())
        ]
        return f"{self.requests} requests: {', '.join([*shares, f'{len(self.failures)} failed'])}"


class Client:
    """Sends requests to the front door at a constant rate, whatever becomes of them."""

    def __init__(self, url: str, rps: float) -> None:
        self._place = urlsplit(url).netloc
        self._pause_s = WORKERS / rps
        self._over = threading.Event()
        self._guard = threading.Lock()
        self._tally = Tally()
        self._workers = [
            threading.Thread(target=self._work, args=(n / rps,), daemon=True)
            for n in range(WORKERS)
        ]

    @property
    def started(self) -> bool:
        """Whether it has begun."""
        return self._workers[0].ident is not None

    def start(self) -> None:
        """Begin, unless it has begun already."""
        if not self.started:
            for worker in self._workers:
                worker.start()

    def stop(self) -> None:
        """Stop, and wait for the last answers."""
        self._over.set()
        if self.started:
            for worker in self._workers:
                worker.join()

    def tally(self) -> Tally:
        """Return what has come back so far."""
        with self._guard:
            return Tally(self._tally.answers.copy(), self._tally.failures.copy())

    def _work(self, due_s: float) -> None:
        due_s += time.monotonic()
        while not self._over.wait(max(0.0, due_s - time.monotonic())):
            version, failure = self._ask()
            with self._guard:
                if failure:
                    self._tally.failures.append(failure)
                else:
                    self._tally.answers[version] += 1
            due_s = max(due_s + self._pause_s, time.monotonic() - self._pause_s)

    def _ask(self) -> tuple[str, str]:
        """Return the version that answered, and why it is no good answer, if it is none."""
        connection = http.client.HTTPConnection(self._place, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                return "", f"status {response.status}: {body.decode(errors='replace')}"
            return json.loads(body)["version"], ""
        except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
            return "", repr(error)
        finally:
            connection.close()
