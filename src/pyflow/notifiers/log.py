"""Tell the `logging` module."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pyflow.messages import FIRST, Attempt, Delivery, delivered
from pyflow.notifiers._checks import refuse, text_problems
from pyflow.notifiers._text import line_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.messages import Message, Severity

__all__ = ["Log"]

LEVELS: Mapping[Severity, int] = MappingProxyType(
    {
        "info": logging.INFO,
        "warning": logging.WARNING,
        "error": logging.ERROR,
        "critical": logging.CRITICAL,
    }
)


@dataclass(frozen=True, slots=True)
class Log:
    """Logs each message on one line, at the level of its severity.

    The log record carries `pyflow_id`, `pyflow_event` and `pyflow_run` for
    formatters that want them.
    """

    logger: str = "pyflow.notices"
    """The logger's name."""

    def __post_init__(self) -> None:
        refuse("Log", text_problems("logger", self.logger))

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:  # noqa: ARG002
        """Log *message*."""
        words = "; ".join(part for part in (message.title, message.text) if part)
        logging.getLogger(self.logger).log(
            LEVELS[message.severity],
            "%s",
            line_of(words, chars=2_000),
            extra={
                "pyflow_id": message.id,
                "pyflow_event": message.event,
                "pyflow_run": message.run.id,
            },
        )
        return delivered()
