"""Run versions as containers, by the Docker Engine API over its socket; podman's is the same.

A container belongs to a service by its labels, so what runs is found again by
any later deployment, and nobody else's container is ever touched.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from pyflow.errors import DefinitionError, HTTPError, PlatformError, shown
from pyflow.net.unix import request_over
from pyflow.platforms._given import check_scale
from pyflow.protocols import Instance, ServiceState
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Docker"]

SERVICE, VERSION = "pyflow.service", "pyflow.version"
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@{}+-]{0,254}")
REPLY_BYTES_MAX = 16_777_216


@dataclass(frozen=True, slots=True)
class _Container:
    """One container, as the engine tells it."""

    id: str
    name: str
    version: str
    runs: bool
    healthy: bool

    @property
    def number(self) -> int:
        """Its number among those of its version."""
        text = self.name.rpartition("-")[2]
        return int(text) if text.isdecimal() else 0


class Docker:
    """A `Platform` of containers on one host.

    An instance is a container named ``<service>-<version>-<number>``. It is
    ready once it runs and its health check, if its image has one, says so. To
    stop one, it gets TERM, and KILL after *stop_timeout*; then it is removed,
    logs and all. The image has to be there already.

    Args:
        image: The image of a version, where ``{version}`` stands for it.
        socket: Where the engine listens; for podman, such as
            ``/run/podman/podman.sock``.
        config: What is said besides of a container when it is created, in the
            words of the API, such as ``{"Env": ["A=1"], "HostConfig": {...}}``.
        stop_timeout: How long a container may take to end.
        timeout: How long one call may take besides.
    """

    def __init__(
        self,
        image: str,
        *,
        socket: str | os.PathLike[str] = "/var/run/docker.sock",
        config: Mapping[str, Any] | None = None,
        stop_timeout: Span = "10s",
        timeout: Span = "30s",
    ) -> None:
        if not IMAGE.fullmatch(image) or image.count("{version}") != 1:
            problem = f"image={shown(image)} must be like 'registry/shop:{{version}}'"
            raise DefinitionError("Docker", [problem])
        self._image = image
        self._socket = os.fspath(socket)
        self._config = dict(config or {})
        self._stop_s = seconds(stop_timeout, what="Docker(stop_timeout=)", zero=True)
        self._timeout_s = seconds(timeout, what="Docker(timeout=)")

    def __repr__(self) -> str:
        return f"Docker({self._image!r})"

    async def observe(self, service: str, /) -> ServiceState:
        """Return the containers that run.

        Raises:
            PlatformError: The engine gives no usable answer.
        """
        check_scale(service)
        running = [one for one in await self._containers(service) if one.runs]
        instances = tuple(Instance(one.name, one.version, one.healthy) for one in running)
        made_of = "\n".join(one.id for one in running)
        generation = hashlib.sha256(made_of.encode()).hexdigest()[:16]
        return ServiceState(service, instances, generation)

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        """Start or stop containers until *instances* run; the newest are stopped, the dead removed.

        Raises:
            PlatformError: The image is not there, or the engine refuses.
        """
        check_scale(service, version, instances)
        mine = [one for one in await self._containers(service) if one.version == version]
        running = [one for one in mine if one.runs]
        dead = [one for one in mine if not one.runs]
        await asyncio.gather(
            *(self._remove(service, one) for one in dead),
            *(self._stop(service, one) for one in running[instances:]),
        )
        number = max((one.number for one in mine), default=0)
        for _ in range(instances - len(running)):
            number += 1
            await self._start(service, version, number)

    async def _containers(self, service: str) -> list[_Container]:
        """Return the containers of *service*, dead or alive, by version and number."""
        filters = quote(json.dumps({"label": [f"{SERVICE}={service}"]}))
        rows = await self._ask(service, "GET", f"/containers/json?all=1&filters={filters}")
        found = [_container(row) for row in cast("Sequence[dict[str, Any]]", rows)]
        return sorted(found, key=lambda one: (one.version, one.number))

    async def _start(self, service: str, version: str, number: int) -> None:
        labels = {**self._config.get("Labels", {}), SERVICE: service, VERSION: version}
        config = {
            **self._config,
            "Image": self._image.replace("{version}", version),
            "Labels": labels,
        }
        name = quote(f"{service}-{version}-{number}")
        made = await self._ask(service, "POST", f"/containers/create?name={name}", config)
        await self._ask(service, "POST", f"/containers/{made['Id']}/start")

    async def _stop(self, service: str, one: _Container) -> None:
        path = f"/containers/{one.id}/stop?t={round(self._stop_s)}"
        await self._ask(service, "POST", path, extra_s=self._stop_s)
        await self._remove(service, one)

    async def _remove(self, service: str, one: _Container) -> None:
        await self._ask(service, "DELETE", f"/containers/{one.id}?v=1&force=1", gone=True)

    async def _ask(
        self,
        service: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        extra_s: float = 0.0,
        gone: bool = False,
    ) -> Any:
        """Return what the engine answers; None where it has nothing to say.

        With *gone*, a container that is not there any more is what was wanted.
        """
        try:
            answer = await request_over(
                self._socket,
                method,
                path,
                body=None if body is None else json.dumps(body).encode(),
                timeout=self._timeout_s + extra_s,
                max_bytes=REPLY_BYTES_MAX,
            )
            found = answer.json() if answer.body.strip() else None
        except HTTPError as error:
            raise PlatformError(service, f"the container engine: {error}") from error
        if answer.status >= 400 and not (gone and answer.status == 404):
            said = cast("Any", found).get("message") if isinstance(found, dict) else answer.text
            what = path.partition("?")[0]
            text = f"the container engine answered {answer.status} to {method} {what}: {said}"
            raise PlatformError(service, text)
        return found


def _container(row: Mapping[str, Any]) -> _Container:
    status = str(row.get("Status", ""))
    runs = row.get("State") == "running"
    return _Container(
        id=str(row["Id"]),
        name=str(row["Names"][0]).lstrip("/"),
        version=str(row["Labels"].get(VERSION, "")),
        runs=runs,
        healthy=runs and "(unhealthy)" not in status and "starting" not in status,
    )
