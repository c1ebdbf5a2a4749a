"""Run versions by commands of your own: `kubectl`, `gcloud`, `az`, scripts."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pyflow.errors import CommandFailed, DefinitionError, PlatformError, shown
from pyflow.platforms._given import check_scale, filled
from pyflow.programs import call
from pyflow.protocols import Instance, ServiceState
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Commands"]

Parse: TypeAlias = "Callable[[str], Iterable[Instance]]"
"""Turns what a command wrote to its standard output into instances."""


class Commands:
    """A `Platform` made of two commands: one that shows instances, and one that scales.

    ``{service}``, ``{version}`` and ``{instances}`` stand for what is asked.
    *scale* is such a list, or a function of service, version and instances that
    returns the command, for tools that have one to add and another to remove.
    No shell is used. A command that does not end with 0 has failed, and what
    it said is in the error; `scale` has to be safe to run again.

    Args:
        observe: Shows the instances. Unless *parse* is given it writes JSON: a
            list of objects with ``id``, ``version`` and ``ready``.
        scale: Has that many instances of a version; of 0, removes it.
        parse: Turns what *observe* writes into instances.
        env: The whole environment of both, but for the span that calls
            (``TRACEPARENT``); ours unless given.
        timeout: How long one call may take.
    """

    def __init__(
        self,
        *,
        observe: Sequence[str],
        scale: Sequence[str] | Callable[[str, str, int], Sequence[str]],
        parse: Parse | None = None,
        env: Mapping[str, str] | None = None,
        timeout: Span = "1m",
    ) -> None:
        problems = [
            f"{name}={shown(argv)} must be a list, such as ['kubectl', 'scale', '...']"
            for name, argv in (("observe", observe), ("scale", scale))
            if isinstance(argv, str) or not argv
        ]
        if problems:
            raise DefinitionError("Commands", problems)
        self._observe = tuple(observe)
        self._scale = scale if callable(scale) else tuple(scale)
        self._parse = parse or _instances
        self._env = env
        self._timeout_s = seconds(timeout, what="Commands(timeout=)")

    def __repr__(self) -> str:
        return f"Commands({self._observe[0]!r})"

    async def observe(self, service: str, /) -> ServiceState:
        """Return what the command shows.

        Raises:
            PlatformError: It failed, or what it wrote cannot be read.
        """
        check_scale(service)
        text = await self._call(service, filled(self._observe, {"service": service}))
        try:
            instances = tuple(sorted(self._parse(text), key=lambda i: (i.version, i.id)))
        except Exception as error:
            raise PlatformError(
                service, f"{self._observe[0]} wrote {shown(text)}, which cannot be read: {error!r}"
            ) from error
        made_of = "\n".join(f"{i.id} {i.version}" for i in instances)
        generation = hashlib.sha256(made_of.encode()).hexdigest()[:16]
        return ServiceState(service, instances, generation)

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        """Run the command that scales.

        Raises:
            PlatformError: It failed; or an argument makes no sense, and
                nothing was run.
        """
        check_scale(service, version, instances)
        values = {"service": service, "version": version, "instances": instances}
        if callable(self._scale):
            argv = self._scale(service, version, instances)
        else:
            argv = filled(self._scale, values)
        await self._call(service, argv)

    async def _call(self, service: str, argv: Sequence[str]) -> str:
        try:
            done = await call(argv, timeout=self._timeout_s, env=self._env)
            return done.check().stdout
        except CommandFailed as error:
            raise PlatformError(service, str(error)) from error


def _instances(text: str) -> Iterable[Instance]:
    for row in cast("list[dict[str, Any]]", json.loads(text)):
        if not isinstance(row["ready"], bool):
            raise TypeError(f"ready is {shown(row['ready'])}, and has to be true or false")
        yield Instance(str(row["id"]), str(row["version"]), row["ready"])
