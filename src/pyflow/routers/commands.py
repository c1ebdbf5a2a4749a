"""Shift traffic by commands of your own: `gcloud`, `az`, `kubectl`, scripts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from pyflow.errors import CommandFailed, DefinitionError, RouterError, shown
from pyflow.programs import call
from pyflow.routers._weights import checked
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Commands"]

Parse: TypeAlias = "Callable[[str], Mapping[str, float]]"
"""Turns what a command wrote to its standard output into percentages by version."""


class Commands:
    """A `Router` made of two commands: one that shows weights, and one that sets them.

    In *weights*, ``{service}`` stands for the service. *set_weights* is such a
    list, where ``{weights}`` stands for the weights as JSON, or a function of
    service and weights that returns the command, for tools that want them in
    words of their own. No shell is used. A command that does not end with 0
    has failed, and what it said is in the error.

    Args:
        weights: Shows the weights. Unless *parse* is given it writes JSON: an
            object of percentages by version.
        set_weights: Puts all weights in force; it has to be safe to run again.
        parse: Turns what *weights* writes into percentages.
        env: The whole environment of both, but for the span that calls
            (``TRACEPARENT``); ours unless given.
        timeout: How long one call may take.
    """

    def __init__(
        self,
        *,
        weights: Sequence[str],
        set_weights: Sequence[str] | Callable[[str, Mapping[str, float]], Sequence[str]],
        parse: Parse | None = None,
        env: Mapping[str, str] | None = None,
        timeout: Span = "1m",
    ) -> None:
        problems = [
            f"{name}={shown(argv)} must be a list, such as ['gcloud', 'run', '...']"
            for name, argv in (("weights", weights), ("set_weights", set_weights))
            if isinstance(argv, str) or not argv
        ]
        if problems:
            raise DefinitionError("Commands", problems)
        self._weights = tuple(weights)
        self._set = set_weights if callable(set_weights) else tuple(set_weights)
        self._parse = parse or json.loads
        self._env = env
        self._timeout_s = seconds(timeout, what="Commands(timeout=)")

    def __repr__(self) -> str:
        return f"Commands({self._weights[0]!r})"

    async def weights(self, service: str, /) -> dict[str, float]:
        """Return what the command shows.

        Raises:
            RouterError: It failed, or what it wrote are no weights.
        """
        text = await self._call(service, [_fill(p, "service", service) for p in self._weights])
        try:
            found = self._parse(text)
        except Exception as error:
            raise RouterError(
                service, f"{self._weights[0]} wrote {shown(text)}, which cannot be read: {error!r}"
            ) from error
        return checked(service, found)

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        """Run the command that sets weights.

        Raises:
            RouterError: They are no weights, and nothing was run; or it failed.
        """
        wanted = checked(service, weights)
        if callable(self._set):
            argv = list(self._set(service, wanted))
        else:
            told = json.dumps(wanted, sort_keys=True)
            argv = [_fill(_fill(p, "service", service), "weights", told) for p in self._set]
        await self._call(service, argv)

    async def _call(self, service: str, argv: Sequence[str]) -> str:
        try:
            return (await call(argv, timeout=self._timeout_s, env=self._env)).check().stdout
        except CommandFailed as error:
            raise RouterError(service, str(error)) from error


def _fill(part: str, name: str, value: str) -> str:
    return part.replace(f"{{{name}}}", value)
