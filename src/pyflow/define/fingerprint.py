"""What tells one definition from another: a digest for each task, a fingerprint for the plan.

A function is its qualified name and a hash of its source, so two processes
that load the same program agree, and an edited function shows. Nothing that
differs from process to process goes in: no address, no order of a set.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
import re
import types
from typing import TYPE_CHECKING, Any, cast

from pyflow.define.task import MISSING, Ref
from pyflow.define.wiring import innermost
from pyflow.errors import CodecError
from pyflow.record.codec import canonical
from pyflow.record.values import encode
from pyflow.spans import Backoff, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyflow.define.policies import Retry
    from pyflow.define.task import Finalizer, Function, Param, Recovery, Task
    from pyflow.define.workflow import Workflow

__all__ = ["ADDRESS", "Identities", "approval_digest", "stable_repr"]

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""The part of a plain repr that differs from process to process."""


def stable_repr(value: object) -> str:
    """Return the repr of *value* without its place in memory."""
    try:
        return ADDRESS.sub("", repr(value))
    except Exception:  # noqa: BLE001 - a repr may raise anything, and its type tells enough
        return f"<{type(value).__qualname__}>"


class Identities:
    """Says what each definition of one workflow is, reading each source once."""

    def __init__(self) -> None:
        self._functions: dict[int, str] = {}
        self._files: set[str] = set()

    def fingerprint(self, workflow: Workflow, digests: Mapping[str, str]) -> str:
        """Return what tells *workflow*, whose tasks have these *digests*, from any other."""
        return _hash(
            {
                "name": workflow.name,
                "on_failure": workflow.on_failure,
                "locks": sorted(workflow.locks),
                "on_locked": workflow.on_locked,
                "max_parallel": workflow.max_parallel,
                "params": [_param(param) for param in workflow.params.values()],
                "tasks": list(digests.items()),
                "finalizers": [self._finalizer(f) for f in workflow.finalizers],
            }
        )

    def digest(self, task: Task, depends_on: Iterable[str]) -> str:
        """Return what tells this definition of *task* from any other."""
        on_interrupt = task.on_interrupt
        parts = [
            self.function(task.fn),
            list(depends_on),
            task.join,
            self.function(task.when),
            _retry(task.retry),
            task.timeout_s,
            [task.allow_failure, task.point_of_no_return, task.effect, task.isolation],
            on_interrupt if isinstance(on_interrupt, str) else self.function(on_interrupt),
            task.inputs,
            _map(task),
            _approval(task),
            self._recovery(task.undo) if task.undo else None,
            [self._recovery(repair) for repair in task.repairs],
            *([sorted(task.locks)] if task.locks else []),
            *_passing(task),
        ]
        return _hash(parts)[:16]

    def function(self, fn: Function | None) -> str | None:
        """Return the qualified name of *fn* and a hash of its source."""
        if fn is None:
            return None
        key = id(fn)
        if key not in self._functions:
            inner = innermost(fn)
            name = f"{inner.__module__}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"
            code = [self._code(layer) for layer in _codes(fn)]
            self._functions[key] = f"{name}:{_hash([code, _fixed(fn), *_data(fn)])[:16]}"
        return self._functions[key]

    def _code(self, code: types.CodeType) -> str:
        """Return the source of *code*, or what it was compiled to where there is none."""
        if code.co_filename not in self._files:
            self._files.add(code.co_filename)
            linecache.checkcache(code.co_filename)
        lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 : _last_line(code)]
        return "".join(lines) if lines else _compiled(code)

    def _recovery(self, recovery: Recovery) -> list[Any]:
        return [
            self.function(recovery.fn),
            recovery.then,
            _types(recovery.on),
            recovery.times,
            _retry(recovery.retry),
            recovery.timeout_s,
        ]

    def _finalizer(self, finalizer: Finalizer) -> list[Any]:
        return [finalizer.name, self.function(finalizer.fn), finalizer.timeout_s]


def approval_digest(fingerprint: str, params: Mapping[str, Any], name: str, question: str) -> str:
    """Return what an answer is bound to: the plan, its parameters, and the question itself."""
    return _hash([fingerprint, dict(params), name, question])


def _approval(task: Task) -> list[Any] | None:
    asked = task.approval
    if asked is None:
        return None
    approvers = list(asked.approvers) if asked.approvers is not None else None
    return [
        asked.question,
        approvers,
        asked.quorum,
        asked.expires_s,
        asked.on_expiry,
        asked.not_initiator,
    ]


def _passing(task: Task) -> list[Any]:
    """Return how people may pass *task* over, and whether it holds a hold up; nothing where neither."""
    passing = {"skippable": task.skippable, "on_promotion": task.skip_on_promotion}
    given = {**passing, "background": task.background}
    return [given] if any(given.values()) else []


def _hash(data: Any) -> str:
    return hashlib.sha256(canonical(data).encode()).hexdigest()


def _value(value: object) -> Any:
    """Return *value* as data that is equal for equal values, in every process."""
    try:
        return encode(value)
    except CodecError:
        return stable_repr(value)


def _param(param: Param) -> list[Any]:
    given = None if param.default is MISSING else [_value(param.default)]
    bound = None if param.bound is None else param.bound.name
    return [param.name, stable_repr(param.annotation), given, bound]


def _map(task: Task) -> list[Any] | None:
    if task.map is None:
        return None
    over = task.map.over
    items = {"ref": over.name} if isinstance(over, Ref) else list(over)
    return [items, task.map.max_parallel, task.map.tolerate]


def _retry(retry: Retry | None) -> list[Any] | None:
    if retry is None:
        return None
    backoff = retry.backoff
    assert isinstance(backoff, Backoff)
    waits = [seconds(backoff.first, zero=True), seconds(backoff.ceiling, zero=True)]
    return [
        retry.attempts,
        waits,
        float(backoff.factor),
        float(backoff.jitter),
        _types(retry.on),
        retry.after_crash,
    ]


def _types(types: type | tuple[type, ...]) -> list[str]:
    several = types if isinstance(types, tuple) else (types,)
    return [f"{cls.__module__}.{cls.__qualname__}" for cls in several]


def _codes(fn: Any) -> list[types.CodeType]:
    """Return the code of *fn*, that of the decorators around it ahead."""
    found: list[types.CodeType] = []
    while fn is not None:
        while isinstance(fn, functools.partial):
            fn = fn.func
        target = fn.__init__ if isinstance(fn, type) else fn
        code = getattr(target, "__code__", None) or getattr(type(fn).__call__, "__code__", None)
        if isinstance(code, types.CodeType):
            found.append(code)
        fn = getattr(fn, "__wrapped__", None)
    return found


def _data(fn: object) -> list[Any]:
    """Return what a callable object says that it is made of: the ``plan_data`` of its class."""
    return [_value(cast("Any", fn).plan_data)] if hasattr(type(fn), "plan_data") else []


def _last_line(code: types.CodeType) -> int:
    """Return the last line of *code*, and of what is defined in it."""
    own = [end for _, end, _, _ in code.co_positions() if end]
    inner = [_last_line(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    return max(own + inner, default=code.co_firstlineno)


def _compiled(code: types.CodeType) -> str:
    consts = [
        _compiled(const) if isinstance(const, types.CodeType) else _constant(const)
        for const in code.co_consts
    ]
    return f"{code.co_code.hex()} {code.co_names} {consts}"


def _constant(const: object) -> str:
    return str(sorted(map(repr, const))) if isinstance(const, frozenset) else repr(const)  # pyright: ignore[reportUnknownArgumentType]


def _fixed(fn: Any) -> list[Any]:
    """Return the arguments that a partial brings along."""
    if not isinstance(fn, functools.partial):
        return []
    named = {name: _value(value) for name, value in fn.keywords.items()}
    return [[_value(value) for value in fn.args], named]
