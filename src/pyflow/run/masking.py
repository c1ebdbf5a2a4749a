"""Masks secrets in events, before anything is hashed, stored or shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.frozen import fields_of
from pyflow.record.events import FREE_TEXT, ErrorInfo, Event

if TYPE_CHECKING:
    from pyflow.secrets import Redactor

__all__ = ["redacted"]


def redacted(event: Event, redactor: Redactor) -> Event:
    """Return *event* with every secret masked in whatever came from outside."""

    def clean(name: str) -> Any:
        value = getattr(event, name)
        if name not in FREE_TEXT or value is None:
            return value
        if isinstance(value, ErrorInfo):
            text = redactor.redact
            return ErrorInfo(text(value.type), text(value.message), text(value.traceback))
        return redactor.redact_data(value)

    return type(event)(*map(clean, fields_of(type(event))))
