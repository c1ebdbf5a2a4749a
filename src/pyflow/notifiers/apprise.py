"""Tell any of the hundred services that Apprise knows; needs the extra ``apprise``."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyflow.errors import DefinitionError, SecretError
from pyflow.messages import FIRST, Attempt, Delivery, delivered, retrying, unknown
from pyflow.notifiers._aside import aside
from pyflow.notifiers._checks import as_secret, refuse, secret_problems
from pyflow.notifiers._text import cut, line_of, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.messages import Message
    from pyflow.secrets import Secret

__all__ = ["Apprise"]

KINDS = {"info": "info", "warning": "warning", "error": "failure", "critical": "failure"}
TEXT_CHARS_MAX = 4_000


@dataclass(frozen=True, slots=True, repr=False)
class Apprise:
    """Sends each message to every one of some Apprise URLs.

    Apprise says only whether all of them took it, so one that did not makes
    the whole `unknown`, and it is not tried again: the others would get it twice.

    Raises:
        DefinitionError: Apprise is not installed, or a URL is no text.
    """

    urls: Sequence[Secret | str]
    """Such as ``discord://id/token``; they are credentials."""

    def __post_init__(self) -> None:
        urls: Sequence[Any] = (self.urls,) if isinstance(self.urls, str) else self.urls
        problems = [p for url in urls for p in secret_problems("urls", url)]
        problems += [] if urls else ["urls= is empty"]
        refuse("Apprise", problems)
        object.__setattr__(self, "urls", tuple(as_secret(url) for url in urls))
        _library()

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        """Send *message* once, on a thread of its own."""
        try:
            return await aside(lambda: self._send(message), timeout_s=attempt.timeout_s)
        except TimeoutError:
            return unknown("timed out; some of them may have it", again=False)
        except SecretError as error:
            return retrying(str(error))
        except Exception as error:  # noqa: BLE001 - a hundred plug-ins may raise anything
            return unknown(line_of(f"Apprise raised {type(error).__name__}"), again=False)

    def _send(self, message: Message) -> Delivery:
        sender = _library().Apprise()
        for url in self.urls:
            if not sender.add(as_secret(url).reveal()):
                return Delivery("rejected", "Apprise knows no service for one of the urls=")
        kind = "success" if message.event == "succeeded" else KINDS[message.severity]
        links = "\n".join(f"{line_of(words)}: {url}" for words, url in message.links)
        body = "\n\n".join(part for part in (plain(message.text), links) if part)
        took = sender.notify(
            title=line_of(message.title),
            body=cut(body or line_of(message.title), TEXT_CHARS_MAX),
            notify_type=kind,
            body_format="text",
        )
        return delivered() if took else unknown("not all of them took it", again=False)

    def __repr__(self) -> str:
        return f"Apprise({len(self.urls)} urls)"


def _library() -> Any:
    try:
        return importlib.import_module("apprise")
    except ImportError as error:
        problem = "the library is missing; install pyflow-deploy[apprise]"
        raise DefinitionError("Apprise", [problem]) from error
