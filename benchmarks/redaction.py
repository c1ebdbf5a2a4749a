"""How fast secrets are masked where there are many: 42 values, which come to 1,600 renderings.

    python benchmarks/redaction.py

The text is a log as tools write it. Its redaction is held against one scan for
one of the renderings per megabyte, times their number (what an implementation
that looks for each of them does), and against one regular expression of all of
them. Ratios are of one run, so they hold on any machine; the bar in MB/s is
for the machine of `research/reliability.md`, on which such scans run at
`REFERENCE_GB_S`.
"""

from __future__ import annotations

import random
import re
import string
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable

from pyflow.redaction import encoded_forms
from pyflow.secrets import Redactor

SECRETS = 42
FORMS_MIN = 1_600
BAR_MB_S = 5.0
REFERENCE_MB_S = 5.3
"""What scans for each of 1,600 renderings came to on the machine of the bar."""
TURNS = 3
CHUNK = 8_192
HELD_KB_MAX = 512
ALPHABET = string.ascii_letters + string.digits + "'\"<>&/+%= :,"


def secrets(rng: random.Random) -> list[str]:
    """Return values of which no two renderings are alike."""
    return ["".join([*rng.choices(ALPHABET, k=30), "é", "'", '"', "&<%:="]) for _ in range(SECRETS)]


def log(rng: random.Random, lines: int) -> str:
    """Return a log of *lines* lines, with hashes and paths in it, and colours here and there."""
    return "".join(
        f"2026-11-27T12:00:00Z \x1b[32mINFO\x1b[0m deploy[eu-{number % 7}] step {number} took "
        f"{rng.randrange(999)} ms for /srv/shop/{rng.getrandbits(64):x}\n"
        if number % 50 == 0
        else f"2026-11-27T12:00:00Z INFO deploy[eu-{number % 7}] step {number} took "
        f"{rng.randrange(999)} ms for /srv/shop/{rng.getrandbits(64):x}\n"
        for number in range(lines)
    )


def speed(work: Callable[[], object], size: int) -> float:
    """Return how many MB a second of processor time *work* does, at its best of some turns."""
    best = float("inf")
    for _ in range(TURNS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return size / 1e6 / best


def streamed(redactor: Redactor, pieces: Iterable[str]) -> int:
    """Mask *pieces* one after the other, and return how many characters came out."""
    stream = redactor.stream()
    return sum(len(stream.feed(piece)) for piece in pieces) + len(stream.close())


def held_kb(redactor: Redactor, lines: int) -> float:
    """Return the most memory that a stream of *lines* lines takes besides its text, in KB."""
    line = log(random.Random(3), 1)
    stream = redactor.stream()
    stream.feed(line)
    tracemalloc.start()
    for _ in range(lines):
        stream.feed(line)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e3


def main() -> None:
    rng = random.Random(7)
    values = secrets(rng)
    forms = sorted({form for value in values for form in encoded_forms(value)})
    text = log(rng, 12_000)
    size = len(text.encode())
    redactor = Redactor()
    for value in values:
        redactor.register(value)

    scans = speed(lambda: [form for form in forms if form in text], size)
    short = text[: size // 50]
    expression = re.compile("|".join(map(re.escape, forms)))
    regex = speed(lambda: expression.sub("***", short), len(short.encode()))
    whole = speed(lambda: redactor.redact(text), size)
    chunks = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
    stream = speed(lambda: streamed(redactor, chunks), size)
    lines = speed(lambda: streamed(redactor, text.splitlines(keepends=True)), size)
    few, many = held_kb(redactor, 500), held_kb(redactor, 5_000)

    ratio = whole / scans
    print(f"{len(values)} secrets, {len(forms)} renderings, a log of {size / 1e6:.1f} MB")
    print(f"one regular expression {regex:.2f} MB/s; a scan for each {scans:.2f} MB/s")
    print(f"redacted {whole:.1f} MB/s: {ratio:.1f} times the scans, {whole / regex:.0f} times the")
    print(f"expression, so about {ratio * REFERENCE_MB_S:.0f} MB/s on the bar's machine")
    print(f"streamed {stream:.1f} MB/s in pieces of 8 KB, {lines:.1f} MB/s line by line")
    print(f"memory of a stream: {few:.0f} KB after 500 lines, {many:.0f} KB after 5,000")
    if len(forms) < FORMS_MIN:
        sys.exit(f"{len(forms)} renderings, and the bar is for {FORMS_MIN}")
    if max(whole, ratio * REFERENCE_MB_S) < BAR_MB_S:
        sys.exit(f"slower than the bar: {BAR_MB_S} MB/s")
    if many > few + HELD_KB_MAX:
        sys.exit("the memory of a stream grows")


if __name__ == "__main__":
    main()
