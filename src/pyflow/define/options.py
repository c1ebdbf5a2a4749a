"""What the options of a workflow may be.

Each option is looked at where it is written: what is wrong with it joins the
problems, and what can be used of it is returned, so that nothing has to be
refused before the whole is looked at.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from inspect import iscoroutine
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pyflow.define.approvals import ON_EXPIRY, Approval
from pyflow.define.policies import (
    ISOLATIONS,
    JOINS,
    ON_FAILURE,
    ON_LOCKED,
    Retry,
    is_exception_types,
    is_whole,
)
from pyflow.define.problems import BadName, BadOption, BadParam, UnknownFunction
from pyflow.define.task import MISSING, PLAIN, Function, Param, Ref
from pyflow.errors import CodecError, DefinitionError, shown
from pyflow.record.values import decoder, encode
from pyflow.secrets import Secret
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from pyflow.errors import Problem

__all__ = ["Options", "TaskRef", "as_text", "close_coroutine"]

TaskRef: TypeAlias = "str | Function"

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
RESERVED = ("ctx", "item")
DEVICE = re.compile(r"con|prn|aux|nul|com[1-9]|lpt[1-9]", re.IGNORECASE)
LIMIT_MAX = 100_000
TIMES_MAX = 1_000
LOCK_CHARS_MAX = 200
SPAN_RULE = (
    'give seconds (90), text with units ("90s", "5m", "1h30m") or a timedelta, '
    "more than nothing and at most a hundred years"
)


class Options:
    """The options that one workflow is written with, as far as they can be used."""

    def __init__(self) -> None:
        self.problems: list[Problem | str] = []
        """What is wrong so far, in the order in which it was written."""
        self._functions: dict[object, list[str]] = {}

    def wrong(self, subject: str, option: str, value: object, expected: str) -> None:
        """Add that *subject* cannot have *value* as its *option*."""
        self.problems.append(BadOption(subject, option, value, expected))

    # What is only looked at ---------------------------------------------------------------

    def check_name(self, what: str, name: object) -> None:
        """Look at the *name* of *what*: it stands in records, in texts and in names of files."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            self.problems.append(BadName(what, name))
        elif name in RESERVED and what in ("task", "parameter"):
            rule = "a function's parameter of that name gets something else; choose another"
            self.problems.append(BadName(what, name, rule))
        elif DEVICE.fullmatch(name):
            rule = "Windows keeps it for a device, and names end up in file names; choose another"
            self.problems.append(BadName(what, name, rule))

    def check_task(self, subject: str, options: Mapping[str, Any]) -> None:
        """Look at the options of a task that are used as they are given."""
        rules = (*TASK_RULES, *PASSING_RULES) if "skippable" in options else TASK_RULES
        for option, is_good, expected in rules:  # maps say nothing of how people pass a task over
            if not is_good(options.get(option, False)):
                self.wrong(subject, option, options[option], expected)

    def check_workflow(
        self, name: object, on_failure: object, on_locked: object, max_parallel: object
    ) -> None:
        """Look at what a workflow says of itself."""
        self.check_name("workflow", name)
        if on_failure not in ON_FAILURE:
            expected = f"choose from {', '.join(ON_FAILURE)}"
            self.wrong("workflow", "on_failure", on_failure, expected)
        if on_locked not in ON_LOCKED:
            expected = f"choose from {', '.join(ON_LOCKED)}"
            self.wrong("workflow", "on_locked", on_locked, expected)
        self.check_limit("workflow", "max_parallel", max_parallel)

    def check_recovery(self, subject: str, then: object, on: object, times: object) -> None:
        """Look at what a recovery is for."""
        if then not in (None, "retry", "continue"):
            self.wrong(subject, "then", then, 'leave it out, or "retry" or "continue"')
        if not is_exception_types(on):
            self.wrong(subject, "on", on, "give an exception class or a tuple of them")
        if not is_whole(times, 1, TIMES_MAX):
            self.wrong(subject, "times", times, f"give a whole number from 1 to {TIMES_MAX}")

    def check_tolerance(self, subject: str, tolerate: object) -> None:
        """Look at how many items of a map may fail."""
        if not is_whole(tolerate, 0, LIMIT_MAX):
            expected = f"give a whole number from 0 to {LIMIT_MAX}"
            self.wrong(subject, "tolerate", tolerate, expected)

    def check_limit(self, subject: str, option: str, value: object) -> None:
        """Look at how many may be under way at once, if that is limited."""
        if value is not None and not is_whole(value, 1, LIMIT_MAX):
            expected = f"give a whole number from 1 to {LIMIT_MAX}, or None"
            self.wrong(subject, option, value, expected)

    # What is returned as far as it can be used --------------------------------------------

    def locks(self, subject: str, locks: object) -> tuple[str, ...]:
        """Return the names of resources, each once; one name may stand alone."""
        if locks == ():  # as most have none
            return ()
        expected = f"name resources in printable text, 1 to {LOCK_CHARS_MAX} long"
        several = (locks,) if isinstance(locks, str) else locks
        if not isinstance(several, Iterable):
            self.wrong(subject, "locks", locks, expected)
            return ()
        names: list[str] = []
        for lock in cast("Iterable[object]", several):
            if _is_lock(lock):
                names.append(cast("str", lock))
            else:
                self.wrong(subject, "locks", lock, expected)
        return tuple(dict.fromkeys(names))

    def mapping(self, subject: str, option: str, value: object) -> dict[Any, Any]:
        """Return a copy of a dict; an empty one where nothing is given."""
        if value is not None and not isinstance(value, Mapping):
            self.wrong(subject, option, value, "give a dict")
            return {}
        return dict(cast("Mapping[Any, Any]", value or {}))

    def inputs(self, subject: str, value: object) -> tuple[tuple[str, str], ...]:
        """Return which parameter of a function gets what, by name."""
        pairs = self.mapping(subject, "inputs", value)
        if all(isinstance(text, str) for pair in pairs.items() for text in pair):
            return tuple(pairs.items())
        expected = "give a dict from parameters to names of tasks or of parameters"
        self.wrong(subject, "inputs", value, expected)
        return ()

    def items(self, subject: str, over: str | Ref | Iterable[Any]) -> Ref | tuple[Any, ...]:
        """Return what a map runs over; fixed items as JSON data, a copy of their own."""
        if isinstance(over, Ref):
            return over
        if isinstance(over, str) and over:
            return Ref(over)
        expected = (
            f"give a list of at most {LIMIT_MAX} items, or the name of a parameter or task that "
            "supplies one"
        )
        if isinstance(over, Iterable) and not isinstance(over, (str, bytes, set, frozenset)):  # pyright: ignore[reportUnnecessaryIsInstance]
            items = list(islice(over, LIMIT_MAX + 1))
            try:
                if len(items) <= LIMIT_MAX:
                    return tuple(encode(items, "over"))
            except CodecError as error:
                expected = f"each item goes into the record: {error}"
        close_coroutine(over)
        self.wrong(subject, "over", over, expected)
        return ()

    def param(self, name: object, declared: Any) -> Param:
        """Return the parameter that is declared by a type, or by a default."""
        self.check_name("parameter", name)
        text = as_text(name)
        if _is_type(declared):
            return Param(text, declared, MISSING)
        default = self.default(text, declared)
        return Param(text, _type_of(declared), default)

    def default(self, name: str, value: Any) -> Any:
        """Return a copy of *value* as JSON data, or *value* itself where it is an object."""
        if isinstance(value, Secret):
            return value
        try:
            return encode(value, name)
        except CodecError as error:
            if isinstance(value, PLAIN):
                self.problems.append(BadParam(name, f"the default cannot be stored: {error}"))
            return cast("object", value)

    def refs(self, subject: str, refs: TaskRef | Iterable[TaskRef]) -> tuple[str, ...]:
        """Return the names of the tasks that are meant, each once."""
        if type(refs) in (list, tuple) and all(type(ref) is str for ref in cast("Any", refs)):
            return tuple(dict.fromkeys(cast("Iterable[str]", refs)))  # as most are given
        if isinstance(refs, str) or callable(refs) or iscoroutine(refs):
            refs = (refs,)
        if not isinstance(refs, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            expected = "name tasks, or give their functions"
            self.wrong(subject, "depends_on", refs, expected)
            return ()
        named = [self.name_of(subject, ref) for ref in refs]
        names = [name for name in named if name is not None]
        if isinstance(refs, (set, frozenset)):  # whose order is another one in each process
            names.sort()
        return tuple(dict.fromkeys(names))

    def name_of(self, subject: str, ref: TaskRef) -> str | None:
        """Return the name of the task that is meant, if that is clear."""
        if isinstance(ref, str):
            return ref
        names = self._functions.get(_key(ref), [])
        if len(names) == 1:
            return names[0]
        close_coroutine(ref)
        label = getattr(ref, "__qualname__", None) or shown(ref)
        self.problems.append(UnknownFunction(subject, label, tuple(names)))
        return None

    def retry(self, subject: str, retry: object) -> Retry | None:
        """Return how often something is tried, if that is said."""
        if retry is None or isinstance(retry, Retry):
            return retry
        self.wrong(subject, "retry", retry, "give pyflow.Retry(...)")
        return None

    def span(self, subject: str, value: Span | None, option: str = "timeout") -> float | None:
        """Return how many seconds a span is, if one is given."""
        if value is None:
            return None
        try:
            return seconds(value)
        except DefinitionError:
            self.wrong(subject, option, value, SPAN_RULE)
            return None

    def approval(self, subject: str, given: Mapping[str, Any]) -> Approval:
        """Return the question of an approval."""
        question, approvers, quorum = given["question"], given["approvers"], given["quorum"]
        people = _people(approvers)
        checks = [
            ("question", isinstance(question, str) and question.strip(), "ask in words"),
            ("approvers", approvers is None or people, "give a list of different names, or None"),
            ("quorum", is_whole(quorum, 1, LIMIT_MAX), "give a whole number from 1"),
            ("on_expiry", given["on_expiry"] in ON_EXPIRY, f"choose from {', '.join(ON_EXPIRY)}"),
            ("not_initiator", isinstance(given["not_initiator"], bool), "give True or False"),
        ]
        if people and is_whole(quorum, 1, LIMIT_MAX) and quorum > len(people):
            checks.append(("quorum", False, f"there are {len(people)} approvers; ask for no more"))
        for option, good, expected in checks:
            if not good:
                self.wrong(subject, option, given[option], expected)
        return Approval(
            question=as_text(question),
            approvers=people,
            quorum=quorum,
            expires_s=self.span(subject, given["expires"], "expires"),
            on_expiry=given["on_expiry"],
            not_initiator=given["not_initiator"],
        )

    # Tasks that are meant by their functions ----------------------------------------------

    def note_function(self, fn: Function, name: str) -> None:
        """Note that *fn* is what the task *name* calls."""
        self._functions.setdefault(_key(fn), []).append(name)

    def note_included(self, other: Options, dot: str) -> None:
        """Note the functions of an included workflow, whose names begin with *dot* here."""
        for key, names in other._functions.items():
            self._functions.setdefault(key, []).extend(dot + name for name in names)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_interrupt_policy(value: object) -> bool:
    return not isinstance(value, str) or value in ("ask", "rerun")


def _is_skippable(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and bool(NAME.fullmatch(value)))


TASK_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("join", JOINS.__contains__, f"choose from {', '.join(JOINS)}"),
    (
        "isolation",
        (None, *ISOLATIONS).__contains__,
        f"choose from {', '.join(ISOLATIONS)}, or leave it out",
    ),
    ("on_interrupt", _is_interrupt_policy, 'choose "ask", "rerun" or a function that finds out'),
    ("allow_failure", _is_bool, "give True or False"),
    ("point_of_no_return", _is_bool, "give True or False"),
    ("effect", _is_bool, "give True or False"),
)
"""What an option of a task may be, and what to write otherwise."""
PASSING_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "skippable",
        _is_skippable,
        "give True, False, or the name of a step, in letters, digits, _ and -",
    ),
    ("skip_on_promotion", _is_bool, "give True or False"),
    ("background", _is_bool, "give True or False"),
)


def _is_lock(value: object) -> bool:
    return (
        isinstance(value, str)
        and value.isprintable()
        and value.strip() == value
        and 0 < len(value) <= LOCK_CHARS_MAX
    )


def _is_type(declared: object) -> bool:
    return isinstance(declared, (type, typing.NewType)) or typing.get_origin(declared) is not None


def _type_of(default: object) -> Any:
    """Return the type of a parameter with *default*: the nearest that stored data can become."""
    if default is None:
        return Any
    return next(cls for cls in type(default).__mro__ if _is_decodable(cls))


def _is_decodable(cls: type) -> bool:
    try:
        decoder(cls)
    except CodecError:
        return False
    return True  # `object` always is


def _people(names: object) -> tuple[str, ...] | None:
    """Return *names* if they are different names of people, else None."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        return None
    people = tuple(cast("Iterable[Any]", names))
    good = all(isinstance(name, str) and name.strip() for name in people)
    return people if people and good and len(set(people)) == len(people) else None


def close_coroutine(value: object) -> None:
    """Close *value* if it is a coroutine, so that Python does not warn of it besides."""
    if iscoroutine(value):
        value.close()


def as_text(name: object) -> str:
    """Return *name*, or how it shows where it is no text, so that later checks can go on."""
    return name if isinstance(name, str) else shown(name)


def _key(fn: object) -> object:
    """Return what tells one function from another; a bound method is made anew at each look."""
    if isinstance(fn, types.MethodType):
        return id(fn.__self__), id(fn.__func__)
    return id(fn)
