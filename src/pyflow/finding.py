"""Find which of many strings stand in a text, and where, at a speed that does not depend on how many.

A text is looked at in blocks of four bytes. Each string has four of its own
blocks on file, at consecutive offsets, so wherever it stands, one of those is
a block of the text; what follows is one comparison. Looking the blocks up
costs the same for one string as for a thousand, and the loop over them is the
interpreter's own. For each string the rarest blocks are taken, so that rows of
dashes or the armour of a key send nobody to compare.

Matching ignores what a terminal puts between characters, and sees a string of
which only one end is left beside the sign of a cut, ``…``.
"""

from __future__ import annotations

import bisect
import re
import sys
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["CUT", "Forms"]

Span = tuple[int, int]

CUT = "…"
"""What stands where pyflow has cut a text short."""

CUT_CHARS_MIN = 6
"""How much of a string has to be left beside a cut: less is nothing that could be used."""

BLOCK = 4
PLACES_MAX = 16
INSIDE_CHARS_MAX = 262_144
CHARS_MIN = 6
ESCAPE_CHARS_MAX = 4_096

NOISE = re.compile(
    r"""
      \x1b \[ [0-?]* [\x20-/]* [@-~]                # a colour or a cursor movement
    | \x1b \] [^\x07\x1b]* (?: \x07 | \x1b \\ )     # a window title or a link
    | [\r\n]+                                     # a wrapped line
    """,
    re.VERBOSE,
)
"""What may break a string apart without making it harder to read."""

UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[\x20-/]*|\][^\x07\x1b]*\x1b?)?\Z")
"""The beginning of such, at the end of what has come so far."""


class Forms:
    """Some strings, ready to be looked for. Unchangeable; `plus` makes another with more."""

    def __init__(self) -> None:
        self.texts: frozenset[str] = frozenset()
        """The strings, as they were given and without noise."""
        self.longest = 0
        """The length of the longest."""
        self._as_is = False  # whether some string cannot be told once the noise is taken out
        self._traces: dict[int, tuple[tuple[bytes, int], ...]] = {}
        self._short: tuple[bytes, ...] = ()

    # What streams and cut texts alone need is made when it is first used.

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.texts)

    @cached_property
    def _all(self) -> str:
        return "\0".join(self._sorted)

    @cached_property
    def _openings(self) -> frozenset[str]:
        return frozenset(text[:BLOCK] for text in self.texts)

    @cached_property
    def _inside(self) -> frozenset[str] | None:
        if len(self._all) > INSIDE_CHARS_MAX:
            return None
        return frozenset(self._all[at : at + BLOCK] for at in range(len(self._all)))

    def plus(self, texts: Iterable[str]) -> Forms:
        """Return these and *texts*, each of 6 characters or more."""
        made = Forms()
        given = frozenset(texts) - self.texts
        plain = {text: NOISE.sub("", text) for text in given}
        made._as_is = self._as_is or any(
            "\x1b" in text or len(bare) < CHARS_MIN or text.strip("\r\n") != text
            for text, bare in plain.items()
        )
        fresh = given.union(bare for bare in plain.values() if len(bare) >= CHARS_MIN) - self.texts
        made.texts = self.texts | fresh
        made.longest = max(self.longest, *map(len, fresh), 0)
        made._traces, short = dict(self._traces), list(self._short)
        for data in sorted(text.encode() for text in fresh):
            if len(data) < 2 * BLOCK - 1:
                short.append(data)
            else:
                _file(data, made._traces)
        made._short = tuple(short)
        return made

    def __bool__(self) -> bool:
        return bool(self.texts)

    def spans(self, text: str) -> list[Span]:
        """Return where *text* holds a string, as it stands or with the noise taken out."""
        plain, escapes = _bare(text), "\x1b" in text
        found: list[Span] = []
        if len(plain) == len(text) or escapes or self._as_is:
            found += self._matches(text)
        if len(plain) != len(text):
            inside = self._matches(plain)
            found += _restored(text, inside) if inside else []
        if CUT in text:
            found += self._beside_cuts(text)
        return found

    def settled(self, text: str) -> int:
        """Return up to where *text* tells all, whatever comes after it.

        What stands beyond may be the beginning of a string, or of an escape.
        """
        end = len(text)
        if "\x1b" in text:
            unfinished = UNFINISHED.search(text, max(0, end - ESCAPE_CHARS_MAX))
            end = unfinished.start() if unfinished is not None else end
        cut = text.rfind(CUT, max(0, end - self.longest), end)
        if cut >= 0 and text[cut + 1 : end] in self._all:
            end = cut
        whole = text[:end]
        plain = _bare(whole)
        begins = self._tail(plain)
        if len(plain) == len(whole):
            end = begins
        elif begins < len(plain):
            end = _restored(whole, [(begins, begins + 1)])[0][0]
        if self._as_is or "\x1b" in whole:
            end = min(end, self._tail(whole))
        return end

    def _matches(self, text: str) -> list[Span]:
        data = text.encode("utf-8", "surrogatepass")
        found: list[Span] = []
        traces = self._traces
        if len(data) >= BLOCK:
            blocks = memoryview(data)[: len(data) // BLOCK * BLOCK].cast("I")
            places = range(0, len(data), BLOCK)
            for place in compress(places, map(traces.__contains__, blocks)):
                for form, offset in traces[blocks[place // BLOCK]]:
                    start = place - offset
                    if start >= 0 and data.startswith(form, start):
                        found.append((start, start + len(form)))
        for form in self._short:
            start = data.find(form)
            while start >= 0:
                found.append((start, start + len(form)))
                start = data.find(form, start + 1)
        return found if len(data) == len(text) or not found else _in_chars(data, found)

    def _beside_cuts(self, text: str) -> Iterator[Span]:
        """Yield where only the end of a string follows a cut, or the beginning precedes one."""
        cut = text.find(CUT)
        while cut >= 0:
            after, before = text[cut + 1 : cut + 1 + CUT_CHARS_MIN], text[:cut][-CUT_CHARS_MIN:]
            if len(after) == CUT_CHARS_MIN and after in self._all:
                for form, at in self._places(after):
                    if text.startswith(form[at:], cut + 1):
                        yield cut + 1, cut + 1 + len(form) - at
            if len(before) == CUT_CHARS_MIN and before in self._all:
                for form, at in self._places(before):
                    start = cut - at - CUT_CHARS_MIN
                    if start >= 0 and text.startswith(form[: at + CUT_CHARS_MIN], start):
                        yield start, cut
            cut = text.find(CUT, cut + 1)

    def _places(self, part: str) -> Iterator[tuple[str, int]]:
        for form in self._sorted:
            at = form.find(part)
            while at >= 0:
                yield form, at
                at = form.find(part, at + 1)

    def _tail(self, text: str) -> int:
        """Return where the part at the end of *text* begins that may become a string."""
        size = len(text)
        begin, openings = max(0, size - self.longest + 1), self._openings
        if self._inside is not None and text[-BLOCK:] not in self._inside and size >= BLOCK:
            begin = max(begin, size - BLOCK + 1)  # where a string goes on, it holds what ends here
        for at in range(begin, size):
            part = text[at : at + BLOCK]
            if (len(part) < BLOCK or part in openings) and self._opens(text[at:]):
                return at
        return size

    def _opens(self, part: str) -> bool:
        """Whether some string begins with *part*, and goes on."""
        near = bisect.bisect_right(self._sorted, part)
        return near < len(self._sorted) and self._sorted[near].startswith(part)


def _file(data: bytes, traces: dict[int, tuple[tuple[bytes, int], ...]]) -> None:
    """Put four consecutive blocks of *data* on file: those that the fewest others share."""
    opening = data[: PLACES_MAX + 2 * BLOCK]
    blocks = [
        int.from_bytes(opening[at : at + BLOCK], sys.byteorder)
        for at in range(len(opening) - BLOCK + 1)
    ]
    shared = [
        len(traces.get(block, ())) - len({*opening[at : at + BLOCK]})
        for at, block in enumerate(blocks)
    ]
    first = min(range(len(blocks) - BLOCK + 1), key=lambda at: sum(shared[at : at + BLOCK]))
    for offset in range(first, first + BLOCK):
        block = blocks[offset]
        traces[block] = (*traces.get(block, ()), (data, offset))


def _bare(text: str) -> str:
    """Return *text* without its noise."""
    return NOISE.sub("", text) if "\x1b" in text else text.replace("\n", "").replace("\r", "")


def _restored(text: str, spans: list[Span]) -> list[Span]:
    """Return *spans* of the *text* without its noise as spans of the text itself."""
    starts: list[int] = []  # of each piece between noise, in the joined text
    origins: list[int] = []  # of each piece, in the text as given
    length = end = 0
    for begin, after in [*(found.span() for found in NOISE.finditer(text)), (len(text), 0)]:
        if begin > end:
            starts.append(length)
            origins.append(end)
        length += begin - end
        end = after

    def origin(place: int) -> int:
        piece = bisect.bisect_right(starts, place) - 1
        return origins[piece] + place - starts[piece]

    return [(origin(start), origin(stop - 1) + 1) for start, stop in spans]


def _in_chars(data: bytes, spans: list[Span]) -> list[Span]:
    """Return *spans*, which count the bytes of *data*, as spans that count its characters."""
    chars: dict[int, int] = {}
    done = count = 0
    for place in sorted({place for span in spans for place in span}):
        count += len(data[done:place].decode("utf-8", "surrogatepass"))
        chars[place] = count
        done = place
    return [(chars[start], chars[stop]) for start, stop in spans]
