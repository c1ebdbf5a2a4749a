"""What the notifiers check when they are made."""

from __future__ import annotations

from pyflow.errors import refuse, shown
from pyflow.secrets import Secret

__all__ = ["as_secret", "flag_problems", "refuse", "secret_problems", "text_problems"]


def secret_problems(name: str, value: object) -> list[str]:
    """Return what is wrong with *value* as a credential, without showing it."""
    if isinstance(value, Secret):
        return []
    if isinstance(value, str):
        try:
            Secret(value)
        except ValueError as error:
            return [f"{name}=: {error}"]
        return []
    return [f"{name}= is a {type(value).__name__}; give a Secret, as from Secret.from_env(...)"]


def as_secret(value: Secret | str) -> Secret:
    """Return *value* as a secret; it was checked before."""
    return value if isinstance(value, Secret) else Secret(value)


def text_problems(name: str, value: object, *, chars: int = 200) -> list[str]:
    """Return what is wrong with *value* as one line of text."""
    if isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= chars:
        return []
    return [f"{name}={shown(value)} must be 1 to {chars} printable characters"]


def flag_problems(name: str, value: object) -> list[str]:
    """Return what is wrong with *value* as True or False."""
    return [] if isinstance(value, bool) else [f"{name}={shown(value)} must be True or False"]
