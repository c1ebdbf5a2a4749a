"""Keys for anchors: an HMAC key that need not stay on the host that deploys.

A key moves on: each use makes the next one by a hash and forgets the last,
so whoever takes the key from a host cannot make an anchor as of yesterday.
The very first is kept elsewhere, and from it all others follow. (After
forward-secure MACs: Bellare and Yee, "Forward-security in private-key
cryptography", 2003; the same idea seals systemd's journal.)
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from pyflow.errors import SecretError, shown
from pyflow.frozen import frozen

__all__ = ["Key", "make_key", "read_key", "write_key"]

TAG = "pyflow-key-v1"
FORM = re.compile(r"pyflow-key-v1 ([0-9a-f]{16}) (\d{1,9}) ([0-9a-f]{64})")
TURNS_MAX = 10_000_000


@frozen
class Key:
    """A key at one of its turns."""

    id: str
    """What tells it from other keys; it is not secret, and the same at every turn."""

    turn: int
    """How often it has moved on; 0 for the one that is kept elsewhere."""

    secret: bytes
    """Its 32 bytes at this turn."""

    def __repr__(self) -> str:
        return f"<Key {self.id} turn={self.turn}>"

    def mac(self, text: str) -> str:
        """Return what only this key makes of *text*, in hexadecimal."""
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()

    def next(self) -> Key:
        """Return the key of the next turn, from which this one cannot be found."""
        return Key(self.id, self.turn + 1, hashlib.sha256(b"evolve\0" + self.secret).digest())

    def at(self, turn: int) -> Key | None:
        """Return the key at *turn*, or None where that lies before this one."""
        if not self.turn <= turn <= self.turn + TURNS_MAX:
            return None
        key = self
        while key.turn < turn:
            key = key.next()
        return key

    def to_text(self) -> str:
        """Return the key as one line of text; keep it as you would a password."""
        return f"{TAG} {self.id} {self.turn} {self.secret.hex()}"

    @classmethod
    def from_text(cls, text: str) -> Key:
        """Return the key that `to_text` wrote.

        Raises:
            SecretError: It is none. The text is not repeated.
        """
        found = FORM.fullmatch(text.strip())
        if found is None:
            raise SecretError(
                f"this is no key of the form '{TAG} ID TURN 64-HEX-DIGITS'; "
                "make one with pyflow-deploy anchor --new-key FILE"
            )
        return cls(found[1], int(found[2]), bytes.fromhex(found[3]))


def make_key() -> Key:
    """Return a new key."""
    secret = secrets.token_bytes(32)
    return Key(hashlib.sha256(b"pyflow-key-id\0" + secret).hexdigest()[:16], 0, secret)


def read_key(path: str | os.PathLike[str]) -> Key:
    """Return the key in the file *path*.

    Raises:
        SecretError: There is none, or others than its owner may read it.
    """
    place = Path(path)
    try:
        mode, text = place.stat().st_mode, place.read_text()
    except (OSError, UnicodeError) as error:
        raise SecretError(f"the key {shown(str(path))} cannot be read: {error}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise SecretError(
            f"the key {shown(str(path))} may be read by others (mode {stat.S_IMODE(mode):o}); "
            "chmod 600 it, and make a new one if somebody may have"
        )
    return Key.from_text(text)


def write_key(path: str | os.PathLike[str], key: Key) -> None:
    """Put *key* in the file *path*, in place of the one before it, for its owner alone.

    Raises:
        SecretError: It cannot be written. What was there is still there.
    """
    place = Path(path)
    draft = place.with_name(f".{place.name}.{os.urandom(4).hex()}")
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(key.to_text() + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise SecretError(f"the key {shown(str(path))} cannot be written: {error}") from error
