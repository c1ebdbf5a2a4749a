"""What a workflow is made of: `Task`, `Recovery`, `Finalizer` and the smaller values in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pyflow.errors import DefinitionError, shown
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from pyflow.define.approvals import Approval
    from pyflow.define.policies import Isolation, Join, Retry

__all__ = [
    "MISSING",
    "PLAIN",
    "Finalizer",
    "Function",
    "Include",
    "MapOver",
    "Missing",
    "Param",
    "Recovery",
    "Ref",
    "Task",
]

Function: TypeAlias = Callable[..., Any]
"""A plain or async function; what it asks for by parameter name, it gets."""


class Missing:
    """The type of `MISSING`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()
"""Stands where there is no default, because None may be one."""

PLAIN = (bool, int, float, bytes, list, tuple, dict, set, frozenset)
"""Types of plain data: one of them that cannot be stored is a mistake, and no object to hand over."""


@dataclass(frozen=True, slots=True)
class Ref:
    """Names a parameter or the output of an earlier task, where a plain text would be a value."""

    name: str
    """Name of the parameter or task."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(
                "Ref", [f"{shown(self.name)} is no name; give the name of a parameter or a task"]
            )


@frozen
class MapOver:
    """What a map runs over, and how."""

    over: Ref | tuple[Any, ...]
    """The items, or what will name them once the run is there."""

    max_parallel: int | None
    """How many items may be under way at once."""

    tolerate: int
    """How many items may fail before the map has failed."""


@frozen
class Param:
    """A parameter that a workflow declares."""

    name: str
    """Its name; an included workflow's parameters carry the prefix."""

    annotation: Any
    """The type that its value must have; `Any` where the default does not tell."""

    default: Any
    """Its value where nobody gives one; `MISSING` where somebody has to."""

    bound: Ref | None = None
    """What supplies the value, where an `include` said so."""


@frozen
class Include:
    """A workflow that was included under a prefix."""

    depends_on: tuple[str, ...]
    """Names of the tasks that all of it waits for, as declared."""

    scope: str
    """The prefix inside which those names are looked up first."""

    defined_at: str
    """File and line that included it."""


@frozen
class Recovery:
    """A function that takes a task's effect back, or repairs its failure."""

    task: str
    """The task that it is for."""

    fn: Function
    """What to call."""

    then: Literal["undo", "retry", "continue"]
    """`undo` takes the effect back; the others repair, then try again or go on."""

    on: type[BaseException] | tuple[type[BaseException], ...]
    """The failures that a repair is for."""

    times: int
    """How often a repair may run for one task."""

    retry: Retry | None
    """How often an undo is tried."""

    timeout_s: float | None
    """How long one try may take, in seconds."""

    defined_at: str
    """File and line that added it."""


@frozen
class Finalizer:
    """A function that runs when the outcome is decided, whatever it is."""

    name: str
    """Its name."""

    fn: Function
    """What to call."""

    scope: str
    """The prefix inside which its parameters are looked up first."""

    timeout_s: float | None
    """How long it may take, in seconds."""

    defined_at: str
    """File and line that added it."""


@frozen
class Task:
    """One node of a workflow."""

    name: str
    """Its name, with the prefix of the include that brought it."""

    fn: Function
    """What to call."""

    depends_on: tuple[str, ...] = ()
    """Names of the tasks that it waits for, as declared."""

    join: Join = "success"
    """What has to have become of them."""

    when: Function | None = None
    """Asked once the join is satisfied; a false answer skips the task."""

    retry: Retry | None = None
    """How often it is tried."""

    timeout_s: float | None = None
    """How long one attempt may take, in seconds."""

    allow_failure: bool = False
    """Whether dependents take its failure for a skip."""

    point_of_no_return: bool = False
    """Whether nothing is rolled back once it has started."""

    on_interrupt: str | Function = "ask"
    """What to do after a crash in the middle of it."""

    effect: bool = True
    """Whether it changes anything; one that only reads may run again."""

    isolation: Isolation | None = None
    """Where it runs; None leaves that to the engine."""

    locks: tuple[str, ...] = ()
    """Resources that only one run at a time may touch, besides the workflow's."""

    inputs: tuple[tuple[str, str], ...] = ()
    """Parameters that take the output of a task with another name."""

    map: MapOver | None = None
    """What it runs over, where it is a map."""

    approval: Approval | None = None
    """The question that it asks people, where it is an approval; nothing is called then."""

    skippable: bool | str = False
    """Whether people may pass it over as if it had passed; the name of a step, where with others."""

    skip_on_promotion: bool = False
    """Whether it is passed over once a person promotes, unless an effect of it has begun."""

    background: bool = False
    """Whether the run may be held while it is under way, because it only watches."""

    undo: Recovery | None = None
    """How its effect is taken back."""

    repairs: tuple[Recovery, ...] = ()
    """What may mend its failure, in the order of registration."""

    scope: str = ""
    """The prefix inside which names are looked up first."""

    defined_at: str = ""
    """File and line that added it."""

    def __repr__(self) -> str:
        return f"<Task {self.name}>"
