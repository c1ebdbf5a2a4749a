"""From a function's signature to where each of its arguments comes from.

A parameter called ``ctx`` gets the context and ``item`` the item of a map;
any other is looked up among the tasks and the parameters of the workflow,
inside an include's prefix first and then outwards.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pyflow.define.problems import BadFunction, MissingInput, UndecodableInput
from pyflow.define.task import MISSING, Function, Param
from pyflow.errors import CodecError, Problem, shown
from pyflow.frozen import frozen
from pyflow.record.values import Decoder, decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "Callee",
    "Input",
    "Names",
    "Signature",
    "Wirer",
    "Wiring",
    "callee_of",
    "innermost",
    "is_async",
    "outer",
    "read_signature",
    "unusable",
]

Kind: TypeAlias = Literal["ctx", "item", "param", "output"]


@frozen
class Input:
    """Where one argument of a function comes from."""

    argument: str
    """Name of the function's parameter."""

    kind: Kind
    """What kind of source it is. `call` is for what stands around a function: the call itself."""

    source: str
    """Name of the task or parameter."""

    decode: Decoder | None
    """Makes the stored data into what the annotation asks for; None for the context."""

    default: Any
    """The parameter's own default, or `MISSING`."""


Wiring: TypeAlias = tuple[Input, ...]


@frozen
class Callee:
    """A function that the engine calls, and where its arguments come from."""

    fn: Function
    """What to call."""

    wiring: Wiring
    """Where each argument comes from."""

    asynchronous: bool
    """Whether calling it gives something to await."""

    waits: bool = False
    """Whether it may ask its context to wait, which blocks where it runs."""


def callee_of(fn: Function, wiring: Wiring) -> Callee:
    """Return *fn* ready to be called."""
    asynchronous = is_async(fn)
    waits = not asynchronous and any(wire.kind == "ctx" for wire in wiring)
    return Callee(fn, wiring, asynchronous, waits)


@frozen
class Unresolved:
    """An annotation that has no meaning where the function runs."""

    reason: str


@frozen
class Parameter:
    """One parameter of a function, with its annotation resolved."""

    name: str
    annotation: Any
    default: Any
    by_name: bool


@frozen
class Signature:
    """What a function asks for and what it says it returns."""

    parameters: tuple[Parameter, ...]
    returns: Any


@frozen
class Names:
    """Everything that a parameter may be called after, and what is known of it."""

    tasks: Mapping[str, Any]
    """Each task's name, with the type that its function says it returns."""

    params: Mapping[str, Param]
    """The parameters, by their full names."""

    def find(self, name: str, scope: str) -> tuple[Kind, str] | None:
        """Return what *name* means inside *scope*, or None."""
        while True:
            full = scope + name
            if full in self.tasks:
                return "output", full
            if full in self.params:
                bound = self.params[full].bound
                if bound is None:
                    return "param", full
                around = outer(full[: full.rfind(".") + 1])
                return self.find(bound.name, around)
            if not scope:
                return None
            scope = outer(scope)


def outer(scope: str) -> str:
    """Return the prefix around *scope*: ``"a.b."`` is inside ``"a."``."""
    return scope[: scope[:-1].rfind(".") + 1]


def innermost(fn: Any) -> Any:
    """Return the function that *fn* comes down to: its code, its names, its source.

    Partials, decorators that say what they wrap, bound methods and callable
    objects are taken off, one after another.
    """
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif isinstance(fn, types.MethodType):
            fn = fn.__func__
        elif hasattr(fn, "__wrapped__"):
            fn = inspect.unwrap(fn)
        elif isinstance(fn, (type, types.FunctionType, types.BuiltinFunctionType)):
            return fn
        elif isinstance(_call_of(fn), types.FunctionType):
            return _call_of(fn)
        else:
            return fn


def _call_of(fn: object) -> Any:
    """Return what the class of *fn* does when *fn* is called."""
    return getattr(type(fn), "__call__", None)  # noqa: B004 - the function itself is wanted


def is_async(fn: Function) -> bool:
    """Return whether calling *fn* gives something to await."""
    return any(inspect.iscoroutinefunction(layer) for layer in _layers(fn))


def _layers(fn: Any) -> tuple[Any, ...]:
    """Return what may say what a call of *fn* does: itself, and how its class is called."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn, _call_of(fn)


def unusable(fn: object) -> str | None:
    """Return why *fn* cannot be a task's function, or None."""
    if inspect.iscoroutine(fn):
        name = fn.__qualname__
        fn.close()
        return f"is the coroutine that {name}() returned; pass the function itself, without ()"
    if not callable(fn):
        return f"is {shown(fn)}, which cannot be called; pass a function"
    for layer in _layers(fn):
        if inspect.isgeneratorfunction(layer) or inspect.isasyncgenfunction(layer):
            return (
                "is a generator function, which would do nothing when called; "
                "return instead of yield"
            )
    return None


def read_signature(fn: Function) -> Signature:
    """Return what *fn* asks for; what a partial has fixed is not asked for.

    Raises:
        ValueError: It has no signature that Python can read.
    """
    signature = inspect.signature(fn)
    resolve = _Resolver(fn)
    fixed = _fixed(fn)
    parameters = tuple(
        Parameter(
            p.name,
            resolve(p.annotation),
            MISSING if p.default is p.empty else p.default,
            p.kind is not p.POSITIONAL_ONLY,
        )
        for p in signature.parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in fixed
    )
    if isinstance(fn, type):
        return Signature(parameters, fn)
    returns = resolve(signature.return_annotation)
    return Signature(parameters, Any if isinstance(returns, Unresolved) else returns)


def _fixed(fn: Any) -> set[str]:
    names: set[str] = set()
    while isinstance(fn, functools.partial):
        names |= set(fn.keywords)
        fn = fn.func
    return names


class _Resolver:
    """Turns the annotations of one function into types."""

    def __init__(self, fn: Function) -> None:
        self._fn = fn
        self._names: dict[str, Any] | None = None

    def __call__(self, annotation: Any) -> Any:
        """Return the type that *annotation* names, `Any` where there is none."""
        if annotation is inspect.Parameter.empty:
            return Any
        if isinstance(annotation, type) and not typing.get_args(annotation):
            return annotation
        if self._names is None:
            self._names = _namespace(self._fn)
        holder = types.SimpleNamespace(__annotations__={"it": annotation})
        try:
            return typing.get_type_hints(holder, self._names, include_extras=True)["it"]
        except Exception as error:  # noqa: BLE001 - an annotation is any expression; it may raise anything
            return Unresolved(
                f"{shown(annotation)} has no meaning when it runs ({type(error).__name__}: "
                f"{error}); import what it names, and not only for type checkers"
            )


def _namespace(fn: Function) -> dict[str, Any]:
    """Return the names that an annotation of *fn* may use: of its module and around it."""
    target = innermost(fn)
    module = sys.modules.get(getattr(target, "__module__", None) or "")
    names = {**vars(module)} if module is not None else {}
    names |= getattr(target, "__globals__", {})
    closure = getattr(target, "__closure__", None) or ()
    free = target.__code__.co_freevars if closure else ()
    for name, cell in zip(free, closure, strict=True):
        with suppress(ValueError):  # a name that has no value yet
            names[name] = cell.cell_contents
    return names


class Wirer:
    """Wires the functions of one workflow, from signatures that have been read."""

    def __init__(
        self,
        signatures: Mapping[int, Signature],
        names: Names,
        known: Callable[[], tuple[str, ...]],
    ) -> None:
        self._signatures = signatures
        self._names = names
        self._known = known
        self._decoders: dict[Any, Decoder | str] = {}

    def wire(
        self,
        fn: Function,
        *,
        task: str,
        role: str,
        scope: str,
        inputs: Mapping[str, str | None],
        item: bool,
        ctx: bool = True,
        own: Any = MISSING,
    ) -> tuple[Wiring, list[Problem]]:
        """Return where the arguments of *fn* come from, and what is wrong with them.

        An entry of *inputs* that is None has been reported already. *own* is
        the type of what *task* itself gave, where that is another one to *fn*
        than to everybody else, as to the undo of a map's item.
        """
        signature = self._signatures[id(fn)]
        if not signature.parameters:
            return (), []
        wires: list[Input] = []
        problems: list[Problem] = []
        for parameter in signature.parameters:
            name = inputs.get(parameter.name, parameter.name)
            if name is None:
                continue
            found = self._source(name, scope, item=item, ctx=ctx)
            if found is None and parameter.default is not MISSING:
                continue
            made = self._input(parameter, found, task=task, role=role, own=own)
            if isinstance(made, Input):
                wires.append(made)
            else:
                problems.append(made)
        return tuple(wires), problems

    def _source(self, name: str, scope: str, *, item: bool, ctx: bool) -> tuple[Kind, str] | None:
        if name == "ctx" and ctx:
            return "ctx", "ctx"
        if name == "item" and item:
            return "item", "item"
        return self._names.find(name, scope)

    def _input(
        self,
        parameter: Parameter,
        found: tuple[Kind, str] | None,
        *,
        task: str,
        role: str,
        own: Any,
    ) -> Input | Problem:
        name = parameter.name
        if not parameter.by_name:
            reason = f"takes {shown(name)} by position only; drop the /, or wrap it in a def"
            return BadFunction(task, role, reason)
        if found is None and name == "ctx":
            return BadFunction(
                task, role, "asks for ctx, which it does not get; decide on outputs and parameters"
            )
        if found is None:
            return MissingInput(task, role, name, self._known())
        kind, source = found
        if kind == "ctx":
            return Input(name, kind, source, None, parameter.default)
        given = own if source == task else MISSING
        decode = self._decode(parameter.annotation, kind, source, given)
        if isinstance(decode, str):
            return UndecodableInput(task, role, name, decode)
        return Input(name, kind, source, decode, parameter.default)

    def _decode(self, annotation: Any, kind: Kind, source: str, given: Any) -> Decoder | str:
        """Return what serves *annotation*, or why nothing does.

        What is not annotated follows its source, or what the source has *given*
        if that is known better. A parameter may be any object, such as a probe,
        so no annotation of one is refused.
        """
        follows = annotation is Any
        if follows and kind == "output":
            annotation = self._names.tasks[source] if given is MISSING else given
        elif follows and kind == "param":
            annotation = self._names.params[source].annotation
        made = self._decoder(annotation)
        if isinstance(made, str) and (follows or kind == "param"):
            return self._decoder(Any)
        return made

    def _decoder(self, annotation: Any) -> Decoder | str:
        if isinstance(annotation, Unresolved):
            return annotation.reason
        with suppress(KeyError, TypeError):  # an annotation need not be hashable
            return self._decoders[annotation]
        made: Decoder | str
        try:
            made = decoder(annotation)
        except CodecError as error:
            made = error.reason
        with suppress(TypeError):
            self._decoders[annotation] = made
        return made
