"""Mask every value that an engine has met, in whatever goes out.

`Redactor` has a text or data whole; `RedactedStream` has it in pieces, as the
output of a program comes. Which renderings of a value are looked for is in
`pyflow.redaction`, and how, in `pyflow.finding`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, cast

from pyflow.errors import SecretError, shown
from pyflow.finding import Forms
from pyflow.redaction import MASK, Revealable, encoded_forms, protectable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pyflow.protocols import JSON

__all__ = ["RedactedStream", "Redactor", "hidden"]

NUMBER_CHARS = "0123456789.+-eE"
HELD_CHARS_MAX = 65_536


class Redactor:
    """Masks every value that was registered with it, in all of its encoded forms.

    One belongs to one engine, or to one of its runs, and then begins with what
    that of the engine masks: *known*. What is registered with either of them
    afterwards, the other does not mask. It is false as long as it knows no value, so a
    hot path asks ``if redactor:`` before it does any work. Values may be
    registered from any thread, while others redact.

    Redact whole texts: before they are cut short, and before they are wrapped
    in a repr.
    """

    __slots__ = ("_forms", "_in_numbers", "_lock", "_values")

    def __init__(self, known: Redactor | None = None) -> None:
        self._lock = threading.Lock()
        self._values: frozenset[str] = frozenset()
        self._forms = Forms()  # replaced as a whole, so whoever redacts meanwhile sees all or none
        self._in_numbers = False
        if known is not None:
            with known._lock:  # noqa: SLF001 - one of its own kind, here and below
                self._values, self._forms = known._values, known._forms  # noqa: SLF001
                self._in_numbers = known._in_numbers  # noqa: SLF001

    def register(self, *secrets: Revealable | str) -> None:
        """Mask *secrets* from now on, all together. To register one twice changes nothing.

        Each `Secret` is asked for its value, which is fetched if that has not
        happened yet.

        Raises:
            SecretError: A value is too short or too common to be masked, or
                it cannot be fetched. Then none of them is registered.
        """
        given = [one.reveal() if isinstance(one, Revealable) else one for one in secrets]
        values = {protectable("Redactor.register()", value) for value in given}
        with self._lock:
            fresh = values - self._values
            if not fresh:
                return
            forms = frozenset[str]().union(*map(encoded_forms, fresh))
            self._in_numbers |= any(not form.strip(NUMBER_CHARS) for form in forms)
            self._forms = self._forms.plus(forms)
            self._values |= fresh

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Redactor({len(self)} values)"

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise SecretError(
            f"{self!r} cannot be copied or pickled, because the values would be in the bytes; "
            "share it, or register the secrets with a new one"
        )

    def redact(self, text: str) -> str:
        """Return *text* with every registered value masked as ``***``.

        A value is found even where a wrapped line or a colour code breaks it
        apart. Redacting again changes nothing.
        """
        if not self._forms:
            return text
        # A mask may complete another secret that holds asterisks. Every round
        # makes the text shorter, so the rounds end.
        while spans := self._forms.spans(text):
            text = _masked(text, spans)
        return text

    def stream(self) -> RedactedStream:
        """Return what masks a text that comes in pieces."""
        return RedactedStream(lambda: self._forms)

    def redact_data(self, value: JSON) -> JSON:
        """Return JSON data with every registered value masked in its leaves and its keys.

        A number that spells out a value becomes the mask. Keys that are equal
        once masked are numbered, so no entry is lost. Anything that is not
        JSON data is returned as it is: encode it before.
        """
        return self._redact_data(value) if self._forms else value

    def _redact_data(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            masked: dict[Any, Any] = {}
            for key, item in cast("Mapping[Any, Any]", value).items():
                clean = name = self._redact_data(key)
                count = 1
                while name in masked:
                    count += 1
                    name = f"{clean} ({count})"
                masked[name] = self._redact_data(item)
            return masked
        if isinstance(value, (list, tuple)):
            items = [self._redact_data(item) for item in cast("Sequence[Any]", value)]
            return items if isinstance(value, list) else tuple(items)
        if isinstance(value, str):
            return self.redact(value)
        return MASK if self._holds(value) else value

    def find(self, value: object, *, root: str = "output") -> str | None:
        """Return the path of the part of *value* that holds a registered value, else None.

        Args:
            value: JSON data.
            root: What the path calls *value* itself.

        Returns:
            A path such as ``output.hosts[2]``, the opening one in order. It is
            masked, so it can be shown even where a key holds the value.
        """
        return next(self._paths(value, root), None) if self._forms else None

    def _paths(self, value: object, path: str) -> Iterator[str]:
        if isinstance(value, Mapping):
            for key, item in cast("Mapping[Any, Any]", value).items():
                below = path + self._step(key)
                if self._holds(key):
                    yield below
                yield from self._paths(item, below)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(cast("Sequence[Any]", value)):
                yield from self._paths(item, f"{path}[{index}]")
        elif self._holds(value):
            yield path

    def _step(self, key: object) -> str:
        clean = self._redact_data(key)
        return (
            f".{clean}" if isinstance(clean, str) and clean.isidentifier() else f"[{shown(clean)}]"
        )

    def _holds(self, leaf: object) -> bool:
        if isinstance(leaf, str):
            return bool(self._forms.spans(leaf))
        if not self._in_numbers or not isinstance(leaf, (int, float)):
            return False
        try:
            return bool(self._forms.spans(repr(leaf)))
        except ValueError:  # more digits than Python writes out, so it reaches no sink
            return False


class RedactedStream:
    """Masks a text that comes in pieces, as `Redactor.redact` masks it whole.

    Wherever the text is cut into pieces, what comes out is the same. Only what
    may be the beginning of a value is held back, and never more than 64 KiB
    beside the longest form of a value, however much comes. A mask that
    completes another value, which holds asterisks itself, stays as it is.
    """

    __slots__ = ("_covered", "_forms", "_held", "_masking")

    def __init__(self, forms: Callable[[], Forms]) -> None:
        self._forms = forms
        self._held = ""
        self._covered = 0  # how much of what is held a mask that is out already stands for
        self._masking = False  # whether such a mask is the last that went out

    def __repr__(self) -> str:
        return f"<RedactedStream holding {len(self._held)} characters>"

    def feed(self, text: str) -> str:
        """Take *text*, and return what can be said of all that came so far."""
        forms = self._forms()
        self._held += text
        settled = forms.settled(self._held)
        return self._out(forms, max(settled, len(self._held) - forms.longest - HELD_CHARS_MAX))

    def close(self) -> str:
        """Return the rest: nothing more comes."""
        return self._out(self._forms(), len(self._held))

    def _out(self, forms: Forms, end: int) -> str:
        if not end:
            return ""
        pieces: list[str] = []
        place = self._covered
        for start, stop in sorted(forms.spans(self._held)):
            if start >= end:
                break
            if start > place or not self._masking:
                pieces += (self._held[place:start], MASK)
                self._masking = True
            place = max(place, stop)
        if place < end:
            pieces.append(self._held[place:end])
            place, self._masking = end, False
        self._held = self._held[end:]
        self._covered = place - end
        return "".join(pieces)


def hidden(text: str, values: Iterable[object]) -> str:
    """Return *text* without those of *values* that are secrets: what was sent may be echoed.

    One that cannot be fetched was not sent, and is passed over.
    """
    redactor = Redactor()
    for value in values:
        if isinstance(value, Revealable):
            try:
                redactor.register(value)
            except SecretError:
                continue
    return redactor.redact(text)


def _masked(text: str, spans: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start > end or not pieces:
            pieces.append(text[end:start])
        end = max(end, stop)
    return MASK.join([*pieces, text[end:]])
