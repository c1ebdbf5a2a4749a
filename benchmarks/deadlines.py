"""How late whoever asks a service gives up on one that goes on for ever.

Everything of pyflow that asks a service over the network is put before every
fault that lasts (silence, and answers that drip), with a deadline. What is
told is the wall clock beyond that deadline, which the tests do not hold to
figures, because a machine may be busy.

Run it with `make bench`; it takes the faults from the tests.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.fault_matrix import FAULTS, LASTING, SUBJECTS, TIMEOUT_S, Place, Subject

BAR_MS = 250


def late_ms(subject: Subject, fault: str) -> float:
    """Return how long after its deadline *subject* gave up on *fault*."""
    with subject.server().always(FAULTS[fault]) as server:
        place = Place(server.port, timeout_s=TIMEOUT_S)

        async def run() -> float:
            began = time.monotonic()
            await subject.ask(place)
            return time.monotonic() - began

        return (asyncio.run(run()) - TIMEOUT_S) * 1_000


def main() -> None:
    found = {
        (name, fault): late_ms(subject, fault)
        for name, subject in SUBJECTS.items()
        for fault in sorted(LASTING)
    }
    worst = max(found, key=found.__getitem__)
    print(f"{len(found)} lasting faults, a deadline of {TIMEOUT_S * 1_000:.0f} ms each")
    print(f"late by {statistics.median(found.values()):.1f} ms, median")
    print(f"late by {found[worst]:.1f} ms at worst, {' before '.join(worst)}   bar {BAR_MS} ms")


if __name__ == "__main__":
    main()
