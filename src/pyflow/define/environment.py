"""Where a workflow runs, and the parameters that it runs with."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pyflow.define.fingerprint import ADDRESS, stable_repr
from pyflow.define.policies import is_whole
from pyflow.define.problems import BadName, BadOption, BadParam, NamedLikeSecret, UnknownParam
from pyflow.define.task import MISSING, PLAIN
from pyflow.errors import CodecError, DefinitionError, Problem, shown
from pyflow.record.values import SECRET_KEY, decoder, encode
from pyflow.secrets import Redactor, Secret
from pyflow.spans import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyflow.define.plan import Callee, Plan
    from pyflow.define.task import Param
    from pyflow.record.values import Decoder

__all__ = ["Environment", "Parameters", "bind_params", "described"]

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
NAME_RULE = "use letters, digits, _, - and ., starting with a letter, a digit or _, at most 100"
LIMITS = ("max_parallel", "task_timeout")
PARALLEL_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Environment:
    """One place that workflows are run in, such as staging or production.

    The same workflow runs in each with the environment's own parameters and
    limits; the result and the record say which.

    Raises:
        DefinitionError: A name, a tier or a limit is not possible.
    """

    name: str
    """What it is called."""

    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Values for the parameters of workflows. They outrank the workflow's
    defaults, and are outranked by what `execute` is given. Probes and other
    objects may be among them."""

    tier: str | None = None
    """What kind of place it is, such as ``production``, for routing and reports."""

    limits: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """``max_parallel`` caps how many tasks run at once; ``task_timeout`` is the
    timeout of tasks that have none of their own."""

    def __post_init__(self) -> None:
        problems: list[Problem | str] = []
        if not _is_name(self.name):
            problems.append(BadName("environment", self.name, NAME_RULE))
        if self.tier is not None and not _is_name(self.tier):
            problems.append(BadName("tier", self.tier, NAME_RULE))
        for option in ("params", "limits"):
            given: object = getattr(self, option)
            if isinstance(given, Mapping):
                object.__setattr__(self, option, dict(cast("Mapping[str, Any]", given)))
            else:
                problems.append(BadOption("environment", option, given, "give a dict"))
        if isinstance(self.limits, dict):
            problems += _limit_problems(self.limits)
        if problems:
            raise DefinitionError(f"environment {shown(self.name)}", problems)

    @property
    def max_parallel(self) -> int | None:
        """How many tasks may run at once here, or None."""
        return self.limits.get("max_parallel")

    @property
    def task_timeout_s(self) -> float | None:
        """The timeout of tasks that have none of their own, in seconds, or None."""
        span = self.limits.get("task_timeout")
        return None if span is None else seconds(span)

    def to_data(self) -> dict[str, Any]:
        """Return what the record says of it: its name, tier and limits."""
        data: dict[str, Any] = {"name": self.name}
        if self.tier is not None:
            data["tier"] = self.tier
        limits = {key: encode(value) for key, value in self.limits.items() if value is not None}
        return data | {"limits": limits} if limits else data


def _is_name(value: object) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _limit_problems(limits: Mapping[str, Any]) -> Iterator[Problem | str]:
    for key, value in limits.items():
        if key not in LIMITS:
            there_are = f"there are {', '.join(LIMITS)}"
            yield BadOption("environment", f"limits[{shown(key)}]", value, there_are)
    limit, span = limits.get("max_parallel"), limits.get("task_timeout")
    if limit is not None and not is_whole(limit, 1, PARALLEL_MAX):
        expected = f"give a whole number from 1 to {PARALLEL_MAX}"
        yield BadOption("environment", "limits['max_parallel']", limit, expected)
    try:
        seconds("1s" if span is None else span, what="limits['task_timeout']")
    except DefinitionError as error:
        yield str(error)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one run, bound and checked."""

    data: Mapping[str, Any]
    """Those that are JSON data; each task gets a copy of its own."""

    objects: Mapping[str, Any]
    """Those that are not, such as probes and secrets; they are handed over as they are."""

    recorded: dict[str, Any]
    """What the record says of them. Secrets are references, objects their repr."""

    secrets: tuple[Secret, ...]
    """Every secret among them, for redaction."""


def bind_params(
    plan: Plan, environment: Environment | None, given: Mapping[str, Any]
) -> Parameters:
    """Return the parameters of a run: workflow default < environment < *given*.

    An environment may hold parameters for other workflows too; *given* may
    not.

    Raises:
        DefinitionError: One is unknown, missing, or of the wrong type; the
            error lists every problem.
        SecretError: A secret among them cannot be fetched.
    """
    subject = f"parameters of workflow {shown(plan.workflow_name)}"
    problems = list(_source_problems(environment, given))
    if problems:
        raise DefinitionError(subject, problems)
    if not plan.params and not given:
        return Parameters({}, {}, {}, ())

    data: dict[str, Any] = {}
    objects: dict[str, Any] = {}
    place: Mapping[str, Any] = environment.params if environment is not None else {}
    problems += _unknown(plan, given)
    for name, param in plan.params.items():
        if param.bound is None:
            value = given.get(name, place.get(name, param.default))
            problems += _bind(param, value, data, objects)
    problems += _disagreements(plan, data)
    problems += _no_lists(plan, data, objects)
    secrets = (*(v for v in objects.values() if isinstance(v, Secret)), *_nested(data))
    problems += _like_secrets(plan, secrets)
    if problems:
        raise DefinitionError(subject, problems)

    recorded = {
        name: data[name] if name in data else described(objects[name])
        for name in plan.params
        if name in data or name in objects
    }
    return Parameters(data, objects, recorded, secrets)


def _source_problems(environment: object, given: object) -> Iterator[Problem]:
    if environment is not None and not isinstance(environment, Environment):
        expected = "give pyflow.Environment(name, ...)"
        yield BadOption("run", "environment", environment, expected)
    if not isinstance(given, Mapping):
        yield BadOption("run", "params", given, "give a dict")


def _unknown(plan: Plan, given: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the names that nobody declares; one that an `include` bound is not free either."""
    free = {name: None for name, param in plan.params.items() if param.bound is None}
    known = tuple(name for name in free if "." not in name)
    for name in given:
        if name not in free:
            yield UnknownParam(name, "params=", known)


def _bind(
    param: Param, value: Any, data: dict[str, Any], objects: dict[str, Any]
) -> Iterator[Problem]:
    """Put *value* among the data or the objects, or yield why it can be neither."""
    if value is MISSING:
        wanted = getattr(param.annotation, "__name__", None) or stable_repr(param.annotation)
        reason = f"no value was given; give a {wanted} in params= or in the environment"
        yield BadParam(param.name, reason)
        return
    decode = _decoder(param.annotation)
    stays = (
        decode is None
        or isinstance(value, Secret)
        or (param.annotation is Any and dataclasses.is_dataclass(value))
    )
    encoded: Any = None
    try:
        encoded = encoded if stays else encode(value, param.name)
    except CodecError as error:
        if isinstance(value, PLAIN):
            yield BadParam(param.name, str(error))
            return
        stays = True
    if stays or decode is None:
        objects[param.name] = value
        yield from _misfit(param, value)
        return
    try:
        decode(encoded, param.name)
    except CodecError as error:
        yield BadParam(param.name, _reason(error, decode))
    else:
        data[param.name] = encoded


def _decoder(annotation: Any) -> Decoder | None:
    """Return what makes data into *annotation*, or None where only an object can be that."""
    try:
        return decoder(annotation)
    except CodecError:
        return None


def _misfit(param: Param, value: Any) -> Iterator[Problem]:
    """Yield a problem if *value* is no instance of the parameter's type, as far as can be told."""
    try:
        fits = not isinstance(param.annotation, type) or isinstance(value, param.annotation)
    except TypeError:  # a protocol that cannot be checked at run time
        fits = True
    if not fits and param.annotation is not Any:
        yield BadParam(param.name, f"expected {param.annotation.__name__}, found {shown(value)}")


def _disagreements(plan: Plan, data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the functions that ask for a parameter as another type than it has."""
    seen: set[tuple[str, int]] = set()
    for task, role, callee in _callees(plan):
        for wire in callee.wiring:
            key = wire.source, id(wire.decode)
            if wire.kind != "param" or wire.source not in data or key in seen:
                continue
            seen.add(key)
            assert wire.decode is not None
            try:
                wire.decode(data[wire.source], wire.source)
            except CodecError as error:
                asker = f"the {role} of {shown(task)} asks for another type"
                yield BadParam(wire.source, f"{asker}: {_reason(error, wire.decode)}")


def _no_lists(plan: Plan, data: Mapping[str, Any], objects: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the parameters that a map runs over and that are no list."""
    for name, node in plan.nodes.items():
        if node.over is None or node.over[0] != "param":
            continue
        source = node.over[1]
        items = data.get(source, objects.get(source, MISSING))
        if items is not MISSING and not (source in data and isinstance(items, list)):
            reason = f"{shown(name)} runs over it, so give a list, not {shown(items)}"
            yield BadParam(source, reason)


def _callees(plan: Plan) -> Iterator[tuple[str, str, Callee]]:
    for name, node in plan.nodes.items():
        yield name, "function", node.call
        if node.when is not None:
            yield name, "when=", node.when
        if node.undo is not None:
            yield name, "undo", node.undo
        for repair in node.repairs:
            yield name, "repair", repair
    for finalizer, callee in plan.finalizers:
        yield finalizer.name, "finalizer", callee


def _reason(error: CodecError, decode: Decoder) -> str:
    """Return why a value does not fit, without the value where a secret was expected."""
    try:
        wants_secret = isinstance(decode({SECRET_KEY: "env:ANY"}, "it"), Secret)
    except CodecError:
        wants_secret = False
    if wants_secret:
        return "expected a Secret; give pyflow.Secret.from_env(...) or another pyflow.Secret"
    return error.reason


def _nested(data: Any) -> Iterator[Secret]:
    """Yield the secrets that are somewhere inside of *data*."""
    if isinstance(data, dict):
        items = cast("dict[str, Any]", data)
        if SECRET_KEY in items:
            yield decoder(Secret)(items, SECRET_KEY)
        else:
            for item in items.values():
                yield from _nested(item)
    elif isinstance(data, list):
        for item in cast("list[Any]", data):
            yield from _nested(item)


def _like_secrets(plan: Plan, secrets: Iterable[Secret]) -> Iterator[Problem]:
    """Yield the names that hold the value of a secret: masked, nobody could tell them apart."""
    redactor = Redactor()
    for secret in secrets:
        redactor.register(secret)
    if not redactor:
        return
    finalizers = [finalizer.name for finalizer, _ in plan.finalizers]
    for name in (plan.workflow_name, *plan.nodes, *finalizers, *plan.params, *plan.locks):
        masked = redactor.redact(name)
        if masked != name:
            yield NamedLikeSecret(masked)


def described(value: Any) -> Any:
    """Return what the record says of *value*, which it cannot hold."""
    if isinstance(value, Secret):
        return {SECRET_KEY: value.reference or "given"}
    return {"$object": ADDRESS.sub("", shown(value))}
