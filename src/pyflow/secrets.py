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

import hashlib
import hmac
import inspect
import os
import threading
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, cast, final

from pyflow.errors import SecretError, shown
from pyflow.providers import command_text, file_text, variable_text
from pyflow.redaction import MASK, protectable
from pyflow.redactor import Redactor
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["MASK", "Redactor", "Secret"]

NAME_CHARS_MAX = 1_000


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
        value = protectable(subject, value)
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

        return cls._lazy(f"env:{variable}", lambda: variable_text(variable))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Secret:
        """Return a secret that is read from the UTF-8 file at *path* when it is needed.

        The line break that ends a file of one line is left out. A file of
        several lines, such as a private key, is kept to the letter.
        """
        place = _checked(os.fspath(path), what="Secret.from_file()")
        return cls._lazy(f"file:{place}", lambda: file_text(place))

    @classmethod
    def from_command(
        cls,
        argv: Sequence[str],
        *,
        name: str | None = None,
        env: Mapping[str, Secret | str] | None = None,
        timeout: Span = "15s",
    ) -> Secret:
        """Return a secret that a program writes to its standard output when it is needed.

        It is called without a shell, with nothing to read. The line break that
        ends an output of one line is left out. Errors show neither its output
        nor its arguments, and the record holds *name* alone: a run that is
        resumed has to be given the secret again, which calls the program anew.

        Args:
            argv: The program and its arguments, one by one. Everybody on the
                machine can read them, so no secret is among them.
            name: What errors and the record call it; the program's name unless given.
            env: Environment variables besides this process's own; a value may
                be a `Secret`.
            timeout: Span from start to end; then its process group is killed.

        Raises:
            SecretError: An argument cannot be used.
            DefinitionError: *timeout* is no span.
        """
        call = _checked_argv(argv)
        reference = (
            f"command:{_checked(name or PurePath(call[0]).name, what='from_command(name=)')}"
        )
        extra = _checked_env(env)
        timeout_s = seconds(timeout, what="Secret.from_command(timeout=)")
        subject = f"secret {reference}"
        return cls._lazy(
            reference,
            lambda: command_text(call, subject=subject, env=extra, timeout_s=timeout_s),
        )

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
        read = _once(lambda: protectable(f"secret {reference}", fetch()))
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


def _checked_argv(argv: object) -> tuple[str, ...]:
    parts = tuple(cast("Sequence[object]", argv)) if isinstance(argv, (list, tuple)) else ()
    if parts and all(isinstance(part, str) and "\0" not in part for part in parts) and parts[0]:
        return cast("tuple[str, ...]", parts)
    # It is not shown: what was put there by mistake may be the value.
    hint = "a Secret goes into env=, where nobody reads it; " if _has_secret(parts) else ""
    raise SecretError(
        f"Secret.from_command(): {hint}give the program and its arguments as a list of texts, "
        "such as ['vault', 'kv', 'get', '-field=token', 'secret/shop']; no shell is used"
    )


def _has_secret(parts: Sequence[object]) -> bool:
    return any(isinstance(part, Secret) for part in parts)


def _checked_env(env: object) -> dict[str, Secret | str]:
    pairs = cast("dict[object, object]", dict(env) if isinstance(env, Mapping) else {})  # pyright: ignore[reportUnknownArgumentType]
    usable = env is None or isinstance(env, Mapping)
    for variable, value in pairs.items():
        named = isinstance(variable, str) and variable and not set("=\0") & set(variable)
        plain = isinstance(value, Secret) or (isinstance(value, str) and "\0" not in value)
        usable = bool(usable and named and plain)
    if not usable:
        raise SecretError(
            "Secret.from_command(env=): give a dict of variables' names and texts or Secrets"
        )
    return cast("dict[str, Secret | str]", pairs)


def _once(fetch: Callable[[], str]) -> Callable[[], str]:
    lock = threading.RLock()
    kept: list[str] = []

    def read() -> str:
        with lock:
            if not kept:
                kept.append(fetch())
            return kept[0]

    return read
