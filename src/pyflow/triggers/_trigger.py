"""What every trigger is: an async function that a workflow takes for a task."""

from __future__ import annotations

import inspect
import typing
from typing import TYPE_CHECKING, Any, TypeAlias

from pyflow.errors import DefinitionError, shown
from pyflow.triggers._attempt import Attempt
from pyflow.triggers._checks import ref_problems
from pyflow.triggers.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyflow.protocols import Clock
    from pyflow.triggers._attempt import Run
    from pyflow.triggers._service import Service
    from pyflow.triggers.watch import Watch

__all__ = ["Given", "Text", "Trigger", "given_problems"]

Given: TypeAlias = "Mapping[str, str] | Callable[..., Mapping[str, str]]"
"""Inputs, or a function that makes them of parameters and outputs, named like its parameters."""

Text: TypeAlias = "str | Callable[..., str]"
"""A text, or a function that makes it of parameters and outputs."""


class Trigger:
    """A task function; its parameters are ``ctx`` and those of the functions it was given."""

    def __init__(
        self, service: Service, *, ref: Text, values: Given, watch: Watch, clock: Clock
    ) -> None:
        self._service = service
        self._ref = ref
        self._values = values
        self._watch = watch
        self._clock = clock
        makers = [one for one in (values, ref) if callable(one)]
        if makers:
            self.__wrapped__ = makers[0]  # so that another function is another plan
        self.__signature__ = _signature(makers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._service.resource!r})"

    @property
    def plan_data(self) -> list[Any]:
        """What tells this trigger from another one, for the fingerprint of a plan."""
        given = [_plain(self._ref), _plain(self._values)]
        return [self._service.resource, list(self._service.good), *given]

    async def __call__(self, ctx: Run, **given: Any) -> Pipeline:
        """Start the pipeline, wait for its end, and return it.

        Raises:
            DefinitionError: What a function made cannot be sent; nothing was.
            PipelineFailed: The pipeline ended, and not well, or took too long.
            PipelineError: It could not be started.
            PipelineUnknown: Nobody can tell whether it runs; a person is asked.
        """
        ref, values = _made(self._ref, given), _made(self._values, given)
        problems = self._checked(ref, values)
        if problems:
            raise DefinitionError(repr(self), problems)
        return await Attempt(
            ctx,
            self._service,
            ref=ref,
            values=dict(values),
            watch=self._watch,
            clock=self._clock,
        ).run()

    def _checked(self, ref: object, values: object) -> list[str]:
        """Return what is wrong with what is about to be sent."""
        return [*ref_problems(ref), *self._value_problems(values)]

    def _value_problems(self, values: object) -> list[str]:
        raise NotImplementedError


def given_problems(name: str, given: object, check: Callable[[object], list[str]]) -> list[str]:
    """Return what is wrong with *given*, as far as that can be told before it is made."""
    if isinstance(given, type) or inspect.iscoroutinefunction(given):
        return [
            f"{name}={shown(given)} must be the thing itself, or a plain function that makes it"
        ]
    return [] if callable(given) else check(given)


def _plain(given: Any) -> Any:
    """Return a value as it is; of a function, which is in the plan by its source, its name."""
    if callable(given):
        return getattr(given, "__qualname__", type(given).__qualname__)
    return given if isinstance(given, str) else dict(given)


def _made(given: Any, arguments: Mapping[str, Any]) -> Any:
    """Return *given*, or what it makes of those of *arguments* that it asks for."""
    if not callable(given):
        return given
    names = inspect.signature(given).parameters
    return given(**{name: value for name, value in arguments.items() if name in names})


def _signature(makers: list[Callable[..., Any]]) -> inspect.Signature:
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = {"ctx": inspect.Parameter("ctx", kind)}
    for maker in makers:
        hints = _hints(maker)
        for name, parameter in inspect.signature(maker).parameters.items():
            hint = hints.get(name, parameter.annotation)
            parameters.setdefault(name, parameter.replace(kind=kind, annotation=hint))
    return inspect.Signature(list(parameters.values()), return_annotation=Pipeline)


def _hints(maker: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(maker, include_extras=True)
    except Exception:  # noqa: BLE001 - the plan says what is wrong with it
        return {}
