"""What can be wrong with a definition: one value for each kind of mistake.

Each says what was seen, what was expected and what to do, and carries the
same facts as attributes, so that a tool can act on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.errors import nearest, shown
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from pyflow.errors import Problem

__all__ = [
    "BadFunction",
    "BadName",
    "BadOption",
    "BadParam",
    "ClashingNames",
    "Cycle",
    "DuplicateName",
    "DuplicateUndo",
    "EmptyInclude",
    "EmptyWorkflow",
    "ImpossibleJoin",
    "InIncluded",
    "LockOrder",
    "MissingInput",
    "NamedLikeSecret",
    "NotIsolatable",
    "PolicyConflict",
    "UndecodableInput",
    "UnknownDependency",
    "UnknownFunction",
    "UnknownInput",
    "UnknownParam",
    "UnknownRecovered",
    "UnusedInput",
]

NAME_RULE = "use letters, digits, _ and -, starting with a letter or _, at most 100 of them"
RING_NAMES_MAX = 12


def _hint(name: object, known: tuple[str, ...]) -> str:
    close = nearest(name, known) if isinstance(name, str) else None
    return f"did you mean {shown(close)}? " if close else ""


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(shown(name) for name in names)


@frozen
class EmptyWorkflow:
    """A workflow without tasks would succeed without doing anything."""

    def __str__(self) -> str:
        return "it has no tasks, so there is nothing to run; add one with add_task(name, function)"


@frozen
class BadName:
    """A name that is not allowed."""

    what: str
    name: object
    rule: str = NAME_RULE

    def __str__(self) -> str:
        return f"the {self.what} name {shown(self.name)} is not allowed; {self.rule}"


@frozen
class DuplicateName:
    """Two things have one name."""

    name: str
    first: str
    second: str

    def __str__(self) -> str:
        return (
            f"{shown(self.name)} is there twice, added at {self.first} and at {self.second}; "
            "give one of them another name"
        )


@frozen
class ClashingNames:
    """Two names differ only in case."""

    name: str
    other: str

    def __str__(self) -> str:
        return (
            f"{shown(self.name)} and {shown(self.other)} differ only in upper and lower case, which people "
            "and file systems mix up; rename one of them"
        )


@frozen
class UnknownDependency:
    """A task depends on one the workflow lacks."""

    task: str
    missing: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"task {shown(self.task)} depends on {shown(self.missing)}, which this workflow lacks; "
            f"{_hint(self.missing, self.known)}add that task, or take it out of depends_on="
        )


@frozen
class UnknownFunction:
    """A function stands for a task, and is the function of none, or of several."""

    subject: str
    function: str
    tasks: tuple[str, ...]

    def __str__(self) -> str:
        if not self.tasks:
            return (
                f"{self.subject} refers to the function {self.function}, which no task here has; "
                "add its task before, or give the task's name"
            )
        return (
            f"{self.subject} refers to the function {self.function}, which several tasks have: "
            f"{_listed(self.tasks)}; give the name of the one that is meant"
        )


@frozen
class UnknownRecovered:
    """A recovery for a task that the workflow lacks."""

    task: str
    defined_at: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"the recovery added at {self.defined_at} is for {shown(self.task)}, which is no task; "
            f"{_hint(self.task, self.known)}add the task, or take the recovery out"
        )


@frozen
class Cycle:
    """Tasks wait for one another in a ring."""

    path: tuple[str, ...]

    def __str__(self) -> str:
        if len(self.path) == 2:
            return (
                f"task {shown(self.path[0])} waits for itself: {' -> '.join(self.path)}; take it "
                "out of its own depends_on= and parameters"
            )
        names = self.path
        if len(names) > RING_NAMES_MAX:
            left_out = f"({len(names) - RING_NAMES_MAX} more)"
            names = (*names[: RING_NAMES_MAX // 2], left_out, *names[-RING_NAMES_MAX // 2 :])
        ring = " -> ".join(names)
        return f"these tasks wait for one another: {ring}; take one of the dependencies out"


@frozen
class ImpossibleJoin:
    """A join that can never be satisfied."""

    task: str
    join: str
    reason: str

    def __str__(self) -> str:
        return (
            f"task {shown(self.task)} has join={self.join!r}, but {self.reason}, so it can never run; "
            "name what it waits for in depends_on=, or leave join= out"
        )


@frozen
class MissingInput:
    """A function asks for something that nothing supplies."""

    task: str
    function: str
    parameter: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"the {self.function} of {shown(self.task)} asks for {shown(self.parameter)}, which is "
            "no task, no parameter of the workflow and not ctx; "
            f"{_hint(self.parameter, self.known)}declare it in params=, name a task so, or give it "
            "a default"
        )


@frozen
class UnknownInput:
    """An entry of ``inputs=`` that leads nowhere."""

    task: str
    argument: str
    source: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"task {shown(self.task)} has inputs= with {shown(self.argument)} from "
            f"{shown(self.source)}, which is no task and no parameter of the workflow; "
            f"{_hint(self.source, self.known)}name one that is"
        )


@frozen
class UnusedInput:
    """An entry of ``inputs=`` that nothing asks for."""

    task: str
    argument: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        asked = _listed(self.known) or "nothing"
        return (
            f"task {shown(self.task)} has inputs= with {shown(self.argument)}, which its functions "
            f"do not ask for; {_hint(self.argument, self.known)}they ask for: {asked}"
        )


@frozen
class UndecodableInput:
    """An annotation that no stored value can satisfy."""

    task: str
    function: str
    parameter: str
    reason: str

    def __str__(self) -> str:
        return (
            f"the {self.function} of {shown(self.task)} asks for {shown(self.parameter)} with an "
            f"annotation that cannot be served: {self.reason}"
        )


@frozen
class BadFunction:
    """Something that cannot be called as a task."""

    task: str
    role: str
    reason: str

    def __str__(self) -> str:
        return f"the {self.role} of {shown(self.task)} {self.reason}"


@frozen
class BadOption:
    """An option with a value that it cannot have."""

    subject: str
    option: str
    value: object
    expected: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.option}={shown(self.value)} is not possible; {self.expected}"


@frozen
class DuplicateUndo:
    """A task with two undos."""

    task: str
    first: str
    second: str

    def __str__(self) -> str:
        return (
            f"task {shown(self.task)} has two undos, added at {self.first} and at {self.second}; "
            'keep one, or make the other a repair with then="retry" or then="continue"'
        )


@frozen
class NotIsolatable:
    """A function that a fresh process could not find."""

    task: str
    role: str
    reason: str

    def __str__(self) -> str:
        return (
            f'the {self.role} of {shown(self.task)} runs with isolation="process", but {self.reason}; '
            "define it at the top of a module that can be imported"
        )


@frozen
class LockOrder:
    """A task's lock sorts before one that its run may hold by then."""

    task: str
    lock: str
    held: str
    by: str | None

    def __str__(self) -> str:
        who = (
            f"for task {self.by!r}, whose undo needs it," if self.by is not None else "throughout,"
        )
        return (
            f"task {self.task!r} takes the lock {self.lock!r} while its run may hold {self.held!r} "
            f"{who} and two runs that take locks in different orders could wait for each other "
            f"for ever; name both in the workflow's locks=, or rename one so that {self.lock!r} "
            "sorts last"
        )


@frozen
class PolicyConflict:
    """An included workflow that asks for another policy than the one around it."""

    prefix: str
    option: str
    inner: object
    outer: object

    def __str__(self) -> str:
        return (
            f"the workflow included as {shown(self.prefix)} has {self.option}={shown(self.inner)}, "
            f"the one around it {shown(self.outer)}, and a run has only one; make them equal"
        )


@frozen
class EmptyInclude:
    """An included workflow without tasks: whoever depends on it would wait for nothing."""

    prefix: str

    def __str__(self) -> str:
        return (
            f"the workflow included as {shown(self.prefix)} has no tasks, so whatever depends on it "
            "would not wait; add its tasks before it is included, or leave it out"
        )


@frozen
class InIncluded:
    """A problem that an included workflow brought along."""

    prefix: str
    problem: Problem | str

    def __str__(self) -> str:
        return f"in the workflow included as {shown(self.prefix)}: {self.problem}"


@frozen
class UnknownParam:
    """A parameter is given that the workflow does not declare."""

    name: object
    source: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        declared = _listed(self.known) or "none"
        return (
            f"{self.source} gives the parameter {shown(self.name)}, which the workflow does not "
            f"declare; {_hint(self.name, self.known)}declared are: {declared}"
        )


@frozen
class BadParam:
    """A parameter has no value, or one of the wrong type."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"parameter {shown(self.name)}: {self.reason}"


@frozen
class NamedLikeSecret:
    """A name that holds the value of a secret."""

    masked: str

    def __str__(self) -> str:
        return (
            f"the name {shown(self.masked)} holds the value of a secret, which is masked wherever "
            "it appears; choose another name, or another secret"
        )
