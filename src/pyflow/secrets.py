"""Keep secrets out of everything that is printed, recorded or sent.

A `Secret` never shows its value; only `reveal()` gives it. A `Redactor`
knows the values that one engine has met and masks each of them, in all its
encoded forms, in whatever goes out. There is no global registry: two engines
in one process never see each other's secrets.

`pyflow.redaction` lists the forms, and the known limits: a value that was
upper-cased, reversed, spaced out, cut to a prefix, or encoded as base85,
UTF-16 or a compressed stream is not recognised.
"""

from __future__ import annotations

import bisect
import hashlib
import hmac
import inspect
import itertools
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, cast, final

from pyflow.errors import SecretError, shown
from pyflow.redaction import CHARS_MAX, encoded_forms, weakness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyflow.protocols import JSON

__all__ = ["MASK", "Redactor", "Secret"]

MASK = "***"
"""What stands in the place of a secret."""

NAME_CHARS_MAX = 1_000
FORMS_MANY = 200
TEXT_CHARS_FEW = 4_000
NUMBER_CHARS = "0123456789.+-eE"

NOISE = re.compile(
    r"""
      \x1b \[ [0-?]* [\x20-/]* [@-~]                # a colour or a cursor movement
    | \x1b \] [^\x07\x1b]* (?: \x07 | \x1b \\ )     # a window title or a link
    | [\r\n]+                                     # a wrapped line
    """,
    re.VERBOSE,
)
"""What may break a secret apart without making it harder to read."""


@final
class Secret:
    """A value that never shows itself.

    Its repr, text and formatting are masked, it is no JSON, it refuses to be
    pickled, and a copy is the same object. Only `reveal` gives the value.

    ``==`` compares with another `Secret`, in constant time; like `hash`, it
    fetches the value if that has not happened yet. A plain string is never
    equal to a secret.
    """

    __slots__ = ("_read", "_reference")

    # The value lives in a closure, so that no attribute holds it: debuggers and
    # traceback printers walk attributes.
    _read: Callable[[], str]
    _reference: str | None

    def __init__(self, value: str, *, name: str | None = None) -> None:
        """Protect *value*.

        Args:
            value: At least 6 characters that ordinary text does not contain.
            name: What the record calls it; without a name it cannot be
                stored, because nothing says where to fetch it again.

        Raises:
            SecretError: *value* is too short or too common to be hidden, or
                *name* gives it away.
        """
        reference = None if name is None else f"name:{_checked(name, what='Secret(name=)')}"
        subject = "Secret" if reference is None else f"secret {reference}"
        value = _protectable(subject, value)
        if name is not None and value.strip() in name:
            raise SecretError("Secret(name=): the name holds the value; give it a name of its own")
        self._become(reference, lambda: value)

    @classmethod
    def from_env(cls, variable: str) -> Secret:
        """Return a secret that is read from environment variable *variable* when it is needed."""
        _checked(variable, what="Secret.from_env()")
        if "=" in variable:
            raise SecretError(
                "Secret.from_env(): the argument holds '='; give the variable's name, not its value"
            )

        def fetch() -> str:
            value = os.environ.get(variable)
            if value is None:
                raise SecretError(
                    f"secret env:{variable}: the environment variable is not set; "
                    f"set {variable} where this process starts"
                )
            return value

        return cls._lazy(f"env:{variable}", fetch)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Secret:
        """Return a secret that is read from the UTF-8 file at *path* when it is needed.

        The line break that ends a file of one line is left out. A file of
        several lines, such as a private key, is kept to the letter.
        """
        place = _checked(os.fspath(path), what="Secret.from_file()")
        return cls._lazy(f"file:{place}", lambda: _file_text(place))

    @classmethod
    def from_provider(cls, fetch: Callable[[], str], *, name: str) -> Secret:
        """Return a secret that *fetch* gives when it is needed.

        Args:
            fetch: Called at the opening `reveal`, and again after a failure;
                what it returned is kept. It may block.
            name: What errors and the record call the provider.
        """
        _checked(name, what="Secret.from_provider(name=)")
        if not callable(fetch) or inspect.iscoroutinefunction(fetch):
            raise SecretError(
                f"secret provider:{name}: {shown(fetch)} is not a plain function; "
                "give one that takes no argument and returns the value"
            )

        def call() -> str:
            try:
                return fetch()
            except Exception as error:
                raise SecretError(
                    f"secret provider:{name}: the provider raised {type(error).__name__}; "
                    "see the cause, and check that the provider can be reached from here"
                ) from error

        return cls._lazy(f"provider:{name}", call)

    @classmethod
    def _lazy(cls, reference: str, fetch: Callable[[], str]) -> Secret:
        read = _once(lambda: _protectable(f"secret {reference}", fetch()))
        return cls.__new__(cls)._become(reference, read)  # noqa: SLF001 - its own class

    def _become(self, reference: str | None, read: Callable[[], str]) -> Secret:
        self._reference = reference
        self._read = read
        return self

    def reveal(self) -> str:
        """Return the value itself. Whoever calls this is answerable for where it goes.

        The opening call fetches it and the rest return what was fetched.

        Raises:
            SecretError: The provider failed, or gave a value that cannot be
                protected. The next call tries again.
        """
        return self._read()

    @property
    def reference(self) -> str | None:
        """Where the value comes from, such as ``env:TOKEN``; this is what the record stores.

        None for a value that was given without a name.
        """
        return self._reference

    def __repr__(self) -> str:
        return (
            f"Secret({MASK})" if self._reference is None else f"Secret({self._reference!r}, {MASK})"
        )

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str, /) -> str:
        return MASK

    def __eq__(self, other: object, /) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        if other is self:
            return True
        return hmac.compare_digest(self.reveal().encode(), other.reveal().encode())

    def __hash__(self) -> int:
        return hash(hashlib.sha256(self.reveal().encode()).digest())

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any], /) -> Secret:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise SecretError(
            f"{self!r} cannot be pickled, because the value would be in the bytes; "
            "pass its reference, and fetch it where it is needed"
        )

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Secret has no subclasses: one could show the value; wrap a Secret instead")


def _checked(name: object, *, what: str) -> str:
    if not isinstance(name, str) or not (
        name.strip() and name.isprintable() and len(name) <= NAME_CHARS_MAX
    ):
        raise SecretError(
            f"{what}: {shown(name)} is not usable; give 1 to {NAME_CHARS_MAX:,} printable characters"
        )
    return name


def _protectable(subject: str, value: object) -> str:
    reason = weakness(value)
    if reason is not None:
        raise SecretError(f"{subject}: {reason}")
    return cast("str", value)


def _file_text(place: str) -> str:
    try:
        with Path(place).open("rb") as file:
            data = file.read(4 * CHARS_MAX + 1)  # UTF-8 takes at most four bytes a character
    except OSError as error:
        raise SecretError(
            f"secret file:{place}: {error.strerror or type(error).__name__}; "
            "check that the file is there and that this process may read it"
        ) from error
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # Not chained: the error holds the content of the file.
        raise SecretError(
            f"secret file:{place}: the content is not UTF-8; store a binary key as base64"
        ) from None
    lines = text.splitlines()
    return lines[0] if len(lines) == 1 else text


def _once(fetch: Callable[[], str]) -> Callable[[], str]:
    lock = threading.RLock()
    kept: list[str] = []

    def read() -> str:
        with lock:
            if not kept:
                kept.append(fetch())
            return kept[0]

    return read


class Redactor:
    """Masks every value that was registered with it, in all of its encoded forms.

    One belongs to one engine. It is false as long as it knows no value, so a
    hot path asks ``if redactor:`` before it does any work. Values may be
    registered from any thread, while others redact.

    Redact whole texts: before they are cut short, and before they are wrapped
    in a repr.
    """

    __slots__ = ("_forms", "_in_numbers", "_lock", "_traces", "_values")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: frozenset[str] = frozenset()
        self._forms: tuple[str, ...] = ()  # replaced as a whole; by length, short ones ahead
        self._traces: frozenset[str] = frozenset()
        self._in_numbers = False

    def register(self, secret: Secret | str) -> None:
        """Mask *secret* from now on. A `Secret` is fetched; to register twice changes nothing.

        Raises:
            SecretError: The value is too short or too common to be masked, or
                it cannot be fetched.
        """
        given = secret.reveal() if isinstance(secret, Secret) else secret
        value = _protectable("Redactor.register()", given)
        with self._lock:
            if value in self._values:
                return
            forms = encoded_forms(value).union(self._forms)
            # Whoever redacts meanwhile must not see the forms before what is derived from them.
            self._in_numbers = any(not form.strip(NUMBER_CHARS) for form in forms)
            # Each form has 6 characters or more. So in a text that holds one, the four
            # characters at some third place (0, 3, 6 ...) are among these traces.
            self._traces = frozenset(form[at : at + 4] for form in forms for at in range(3))
            self._forms = tuple(sorted(forms, key=lambda form: (len(form), form)))
            self._values |= {value}

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
        # A mask may complete another secret that holds asterisks. Every round
        # makes the text shorter, so the rounds end.
        while spans := self._spans(text):
            text = _masked(text, spans)
        return text

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
            return bool(self._spans(leaf))
        if not self._in_numbers or not isinstance(leaf, (int, float)):
            return False
        try:
            return bool(self._spans(repr(leaf)))
        except ValueError:  # more digits than Python writes out, so it reaches no sink
            return False

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Return where *text* holds a form, as it stands or with the noise taken out."""
        spans = self._matches(text)
        if "\n" in text or "\x1b" in text or "\r" in text:
            spans += self._matches_in_noise(text)
        return spans

    def _matches(self, text: str) -> list[tuple[int, int]]:
        forms = self._forms
        if (
            len(forms) > FORMS_MANY
            and len(text) < TEXT_CHARS_FEW  # a long text holds some trace by chance
            and self._traces.isdisjoint([text[at : at + 4] for at in range(0, len(text), 3)])
        ):
            return []
        room = bisect.bisect_right(forms, len(text), key=len)
        spans: list[tuple[int, int]] = []
        for form in [form for form in itertools.islice(forms, room) if form in text]:
            start = text.find(form)
            while start >= 0:
                spans.append((start, start + len(form)))
                start = text.find(form, start + 1)
        return spans

    def _matches_in_noise(self, text: str) -> list[tuple[int, int]]:
        pieces: list[str] = []
        starts: list[int] = []  # of each piece, in the joined text
        origins: list[int] = []  # of each piece, in the text as given
        length = end = 0
        for begin, after in [*(found.span() for found in NOISE.finditer(text)), (len(text), 0)]:
            pieces.append(text[end:begin])
            starts.append(length)
            origins.append(end)
            length += begin - end
            end = after

        def origin(place: int) -> int:
            piece = bisect.bisect_right(starts, place) - 1
            return origins[piece] + place - starts[piece]

        spans = self._matches("".join(pieces))
        return [(origin(start), origin(stop - 1) + 1) for start, stop in spans]


def _masked(text: str, spans: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start > end or not pieces:
            pieces.append(text[end:start])
        end = max(end, stop)
    return MASK.join([*pieces, text[end:]])
