"""`Route`: who is told what, and how hard to try."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pyflow.errors import DefinitionError, nearest, shown
from pyflow.messages import SEVERITIES, Message, Severity
from pyflow.notices.template import Template
from pyflow.notices.wording import NOTICES
from pyflow.record.events import EVENTS
from pyflow.spans import Backoff, Span, seconds, span_problem

if TYPE_CHECKING:
    from pyflow.protocols import Notifier

__all__ = ["Route", "Templates", "checked_routes", "event_problems"]

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
ATTEMPTS_MAX = 1_000

Templates: TypeAlias = Template | Mapping[str, Template]
"""One template for everything, or one for each event; other events keep the built-in words."""


@dataclass(frozen=True, slots=True)
class Route:
    """Sends what happens in runs to one notifier, in the order in which it happened.

    Every filter that is given has to fit. Without ``events=`` everything in
    `NOTICES` is told.

    Raises:
        DefinitionError: Names everything that is wrong, all at once.
    """

    notifier: Notifier
    """Who is told."""

    _: KW_ONLY

    events: Sequence[str] | None = None
    """Which events, by their names in `NOTICES`; a kind of record, such as
    ``task_succeeded`` or ``logged``, may be among them."""

    environments: Sequence[str] | None = None
    """Names or tiers of environments, ``*`` and ``?`` allowed. A run without one fits none."""

    severity: Severity = "info"
    """The least that matters."""

    labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """What else has to fit, ``*`` and ``?`` allowed: a parameter by its name, or
    ``workflow``, ``initiator``, ``repository``, ``ref``, ``commit``, ``actor`` or ``system``."""

    template: Templates | None = field(default=None, hash=False)
    """The words; good ones are built in."""

    required: bool = False
    """Whether a run is held before its first effect where its start cannot be told here."""

    timeout: Span = "10s"
    """Span that one try may take."""

    deadline: Span = "10m"
    """Span after which a message is given up; 30 s is the most for a required one."""

    attempts: int = 12
    """How many tries a message gets within its deadline."""

    backoff: Backoff = field(default_factory=lambda: Backoff("1s", ceiling="1m"))
    """The waits between tries, where the service does not name one."""

    name: str = ""
    """What the record calls it; the notifier's class, in lower case, unless given."""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", type(self.notifier).__name__.lower())
        problems = [
            *_notifier_problems(self.notifier),
            *event_problems(self.events),
            *_words_problems("environments", self.environments),
            *_label_problems(self.labels),
            *_template_problems(self.template),
            *_option_problems(self),
        ]
        if problems:
            raise DefinitionError(f"Route({shown(self.name)})", problems)

    @property
    def timeout_s(self) -> float:
        """Seconds that one try may take."""
        return seconds(self.timeout)

    @property
    def deadline_s(self) -> float:
        """Seconds after which a message is given up."""
        return min(seconds(self.deadline), 30.0) if self.required else seconds(self.deadline)

    def wants(self, event: str) -> bool:
        """Return whether *event* is among those that are told here, whatever its run."""
        return event in (NOTICES if self.events is None else self.events)

    def fits(self, message: Message) -> bool:
        """Return whether *message* is to be sent here."""
        run = message.run
        return (
            self.wants(message.event)
            and SEVERITIES.index(message.severity) >= SEVERITIES.index(self.severity)
            and (
                self.environments is None
                or any(_fits_any(place, self.environments) for place in (run.environment, run.tier))
            )
            and all(
                _fits_any(_labels(message).get(name), (pattern,))
                for name, pattern in self.labels.items()
            )
        )

    def template_for(self, event: str) -> Template | None:
        """Return the words for *event*, or None for those that are built in."""
        if isinstance(self.template, Mapping):
            return self.template.get(event)
        return self.template


def checked_routes(given: object) -> tuple[Route, ...]:
    """Return *given* as routes; a bare notifier gets a route with every default.

    Raises:
        DefinitionError: Something is neither a route nor a notifier, or two
            routes have one name.
    """
    if isinstance(given, (str, bytes, Mapping)) or not hasattr(given, "__iter__"):
        raise DefinitionError("notifiers", [f"{shown(cast('object', given))} is no list of routes"])
    routes = [r if isinstance(r, Route) else Route(r) for r in cast("Sequence[Any]", given)]
    names = [route.name for route in routes]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise DefinitionError(
            "notifiers",
            [f"{len(double)} names stand twice: {', '.join(double)}; give each route its name="],
        )
    return tuple(routes)


def _labels(message: Message) -> dict[str, str]:
    run = message.run
    return {**run.ci, **run.params, "workflow": run.workflow, "initiator": run.initiator}


def _fits_any(text: str | None, patterns: Sequence[str]) -> bool:
    return text is not None and any(fnmatchcase(text, pattern) for pattern in patterns)


def _notifier_problems(notifier: object) -> list[str]:
    if callable(getattr(notifier, "notify", None)) and not isinstance(notifier, type):
        return []
    return [f"{shown(notifier)} is no notifier; it needs an async method notify(message, attempt)"]


def event_problems(events: object, *, name: str = "events") -> list[str]:
    """Return what is wrong with *events* as a list of names of events, or None for all."""
    problems = _words_problems(name, events)
    if problems or events is None:
        return problems
    known = {*NOTICES, *EVENTS}
    found: list[str] = []
    for event in cast("Sequence[str]", events):
        if event not in known:
            near = nearest(event, known)
            hint = f"did you mean {near!r}? " if near is not None else ""
            found.append(f"there is no event {shown(event)}; {hint}there are {', '.join(NOTICES)}")
    return found


def _words_problems(option: str, given: object) -> list[str]:
    if given is None:
        return []
    if isinstance(given, (list, tuple)):
        items = cast("Sequence[object]", given)
        if items and all(isinstance(item, str) and item for item in items):
            return []
    return [f"{option}={shown(cast('object', given))} must be a list of names, or be left out"]


def _label_problems(labels: object) -> list[str]:
    if isinstance(labels, Mapping):
        pairs = cast("Mapping[object, object]", labels).items()
        if all(isinstance(name, str) and isinstance(text, str) for name, text in pairs):
            return []
    return [f"labels={shown(cast('object', labels))} must be a dict of names and patterns"]


def _template_problems(template: object) -> list[str]:
    if template is None or isinstance(template, Template):
        return []
    if isinstance(template, Mapping):
        pairs = cast("Mapping[object, object]", template)
        if all(isinstance(value, Template) for value in pairs.values()):
            return event_problems(list(pairs)) if pairs else []
    return [
        f"template={shown(cast('object', template))} must be a Template, or a dict of events and templates"
    ]


def _option_problems(route: Route) -> list[str]:
    problems = [
        f"{option}: {problem}"
        for option in ("timeout", "deadline")
        if (problem := span_problem(getattr(route, option), zero=False)) is not None
    ]
    if route.severity not in SEVERITIES:
        problems.append(f"severity={shown(route.severity)} must be one of {', '.join(SEVERITIES)}")
    attempts: object = route.attempts
    if type(attempts) is not int or not 1 <= attempts <= ATTEMPTS_MAX:
        problems.append(
            f"attempts={shown(attempts)} must be a whole number from 1 to {ATTEMPTS_MAX}"
        )
    if not isinstance(route.backoff, Backoff):  # pyright: ignore[reportUnnecessaryIsInstance]
        problems.append(f"backoff={shown(route.backoff)} must be a Backoff")
    if not isinstance(route.required, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        problems.append(f"required={shown(route.required)} must be True or False")
    if route.required and route.severity == "info" and isinstance(route.events, (list, tuple)):
        told = "started" in cast("Sequence[object]", route.events)
    else:
        told = not route.required or route.severity == "info"
    if not told:
        problems.append('required=True is about the start: leave severity= out, and "started" in')
    if not isinstance(route.name, str) or not NAME.fullmatch(route.name):  # pyright: ignore[reportUnnecessaryIsInstance]
        problems.append(f"name={shown(route.name)} must be of letters, digits, _, - and .")
    return problems
