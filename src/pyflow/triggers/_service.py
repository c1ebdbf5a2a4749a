"""What a trigger asks of a CI service, and every answer that it tells apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pyflow.triggers._api import Said, Trouble
    from pyflow.triggers.pipeline import Job

__all__ = [
    "SKEW",
    "Absent",
    "Details",
    "Doubt",
    "Find",
    "Found",
    "Gone",
    "Handle",
    "Later",
    "Look",
    "Order",
    "Refused",
    "Seen",
    "Service",
    "Several",
    "Start",
    "Unseen",
    "not_seen",
    "not_started",
    "unseen_by",
]

SKEW = timedelta(minutes=5)
"""How far apart our clock and the server's may be."""

Handle: TypeAlias = "dict[str, str]"
"""What a service needs to find a pipeline again; ``id`` and ``url`` are for people too."""


@dataclass(frozen=True, slots=True)
class Order:
    """A pipeline that is to be started."""

    ref: str
    """The branch or tag."""

    values: Mapping[str, str] = field(hash=False)
    """Inputs, variables or parameters."""

    key: str
    """The correlation id."""

    at: datetime
    """When it was sent, or is about to be, in UTC."""

    deadline: float
    """When an answer comes too late, by the loop's clock. A start that is cut off there from
    outside cannot say whether the request had gone out; one that ends by itself can."""

    def marked(self, correlation: str | None) -> dict[str, str]:
        """Return the values, with the correlation id under the name *correlation* where there is one."""
        return dict(self.values) | ({} if correlation is None else {correlation: self.key})


# What comes of a start.


@dataclass(frozen=True, slots=True)
class Found:
    """There it is."""

    handle: Handle


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was started, and trying again would not help."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing was started, and another try may help."""

    reason: str
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """It may have been started; with *taken*, it was, and nobody said under which name."""

    reason: str
    taken: bool = False


Start: TypeAlias = Found | Refused | Later | Doubt


def not_started(trouble: Trouble) -> Start:
    """Return what comes of a start that has no answer."""
    if trouble.sent:
        return Doubt(trouble.reason)
    return Refused(trouble.reason) if trouble.final else Later(trouble.reason)


# What comes of looking for one.


@dataclass(frozen=True, slots=True)
class Absent:
    """The service was asked for all that could be it, and there is none."""


@dataclass(frozen=True, slots=True)
class Several:
    """These could be it, and nothing tells which, if any."""

    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unseen:
    """No usable answer."""

    reason: str
    wait_s: float | None = None
    final: bool = False
    """Whether asking again would not help, as where the token may not look."""


Find: TypeAlias = Found | Absent | Several | Unseen


# What comes of a look at one.


@dataclass(frozen=True, slots=True)
class Seen:
    """How it stands."""

    status: str
    """In the service's own word."""

    ended: bool
    """Whether nothing more will happen."""

    handle: Handle
    """What to look it up by from now on."""

    ref: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """What the handle led to is not there any more."""

    reason: str


Look: TypeAlias = Seen | Gone | Unseen


def not_seen(trouble: Trouble) -> Unseen:
    """Return what comes of a look that has no answer."""
    return Unseen(trouble.reason, final=trouble.final)


def unseen_by(said: Said, *final: int) -> Unseen:
    """Return what an answer that tells nothing means for another look: none helps after *final*."""
    return Unseen(said.words, said.wait_s, final=said.status in final and not said.is_limit)


@dataclass(frozen=True, slots=True)
class Details:
    """What else is known of a pipeline that has ended."""

    jobs: Sequence[Job] = ()
    log: str = ""


class Service(Protocol):
    """**Protocol:** one CI service, and one pipeline of it that can be started.

    Nothing is raised for trouble with the service. Each call is one question,
    or a few; who calls waits between them.
    """

    system: str
    """What it is called."""

    resource: str
    """What the pipeline is called in the record of changes."""

    good: tuple[str, ...]
    """The words for a good end."""

    async def start(self, order: Order, /) -> Start:
        """Ask for a pipeline, once."""
        ...

    async def find(self, order: Order, /) -> Find:
        """Look for the pipeline that *order* may have started."""
        ...

    async def look(self, handle: Handle, /) -> Look:
        """Say how a pipeline stands."""
        ...

    async def stop(self, handle: Handle, /) -> str | None:
        """Ask for the end of a pipeline; return why that was refused, or None."""
        ...

    async def details(self, handle: Handle, *, failed: bool) -> Details:
        """Return jobs and the end of a log, that of what failed where something did."""
        ...
