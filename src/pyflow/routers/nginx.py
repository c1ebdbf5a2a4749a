"""Shift traffic by the configuration of nginx: a file, a check, a reload, and a look.

``nginx -s reload`` ends with 0 even where the master then refuses the
configuration and goes on with the old one. So the file that is written also
makes nginx answer, on a socket of its own, which weights it runs with; that
answer is what is read back, never the file.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pyflow.errors import CommandFailed, DefinitionError, HTTPError, RouterError, shown
from pyflow.net.unix import request_over
from pyflow.programs import call
from pyflow.routers._weights import Addresses, checked, whole
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Nginx"]

WEIGHT_MAX = 1_000
LOOK_S = 0.02
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
ADDRESS = re.compile(r"[A-Za-z0-9_.:\[\]/-]{1,200}")
AGREED = 5
"""How many answers in a row have to agree: workers that are about to end may still give one."""

FILE = """\
# Written by pyflow, and replaced as a whole with every change of weights.
upstream {name} {{
    zone {name} 64k;
{servers}
}}
server {{
    listen unix:{socket};
    access_log off;
    default_type application/json;
    location = /weights {{ return 200 '{told}'; }}
}}
"""


class Nginx:
    """A `Router`: the servers of one nginx upstream, in a file that is this router's own.

    Include that file in the ``http`` block and send requests to
    ``http://<upstream>``. Each change replaces the file in one step, has
    ``nginx -t`` check the whole configuration (if it fails, the old file is
    back), reloads, and waits until the workers say that they run with it.
    Requests that are under way are finished by the old workers.

    Args:
        file: The file that is included.
        upstream: The name of the upstream in it.
        addresses: Returns where the instances of a version are, given service
            and version: host and port by id, such as `LocalProcesses.addresses`.
        command: nginx as it was started, with its ``-p`` and ``-c``.
        timeout: How long the check, the reload and the change may take together.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        upstream: str,
        *,
        addresses: Callable[[str, str], Addresses],
        command: Sequence[str] = ("nginx",),
        timeout: Span = "30s",
    ) -> None:
        if not NAME.fullmatch(upstream):
            raise DefinitionError("Nginx", [f"{shown(upstream)} is no name of an upstream"])
        self._file = Path(file).absolute()
        self._socket = self._file.with_name(f"{self._file.name}.sock")
        self._upstream = upstream
        self._addresses = addresses
        self._command = tuple(command)
        self._timeout_s = seconds(timeout, what="Nginx(timeout=)")

    def __repr__(self) -> str:
        return f"Nginx({str(self._file)!r}, {self._upstream!r})"

    def begin(self, service: str, weights: Mapping[str, float], /) -> None:
        """Write the file where there is none, for nginx to be started with."""
        if not self._file.exists():
            self._write(self._configuration(service, checked(service, weights)))

    async def weights(self, service: str, /) -> dict[str, float]:
        """Return the weights that the workers run with, as they say.

        Raises:
            RouterError: They cannot be asked.
        """
        told = await self._told(service)
        return {version: float(weight) for version, weight in told["weights"].items()}

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        """Put *weights* in force, and wait until all workers say so.

        Raises:
            RouterError: They are no weights, a version has no instance, or
                nginx refuses the configuration, and nothing was changed; or it
                does not run with it in time.
        """
        text = self._configuration(service, checked(service, weights))
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        before = self._file.read_text() if self._file.exists() else None
        if before != text:
            self._write(text)
            await self._test(service, before)
        if before != text or (await self._told(service))["digest"] != _digest_in(text):
            await self._run(service, "-s", "reload")
        await self._until(service, _digest_in(text), deadline)

    # The file -----------------------------------------------------------------------------

    def _configuration(self, service: str, weights: Mapping[str, float]) -> str:
        found = {version: self._addresses(service, version) for version in weights}
        for version, instances in found.items():
            if not NAME.fullmatch(version):
                raise RouterError(service, f"{shown(version)} is no name of a version")
            if not instances:
                raise RouterError(service, f"{version} has no instance that could take traffic")
        counts = {version: len(instances) for version, instances in found.items()}
        numbers = whole(service, weights, counts, most=WEIGHT_MAX)
        servers = list(self._servers(service, found, numbers))
        told = _told_text(weights, servers)
        return FILE.format(
            name=self._upstream, servers="\n".join(servers), socket=self._socket, told=told
        )

    def _servers(
        self, service: str, found: Mapping[str, Addresses], numbers: Mapping[str, int]
    ) -> Iterable[str]:
        for version, instances in found.items():
            for host, port in instances.values():
                if not ADDRESS.fullmatch(host):
                    raise RouterError(service, f"{shown(host)} is no address of a server")
                yield f"    server {host}:{port} weight={numbers[version]};"

    def _write(self, text: str) -> None:
        fresh = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        fresh.write_text(text)
        fresh.replace(self._file)

    async def _test(self, service: str, before: str | None) -> None:
        """Have nginx check its configuration; put the old file back if it finds fault with it."""
        try:
            await self._run(service, "-t", "-q")
        except BaseException:
            if before is None:
                self._file.unlink()
            else:
                self._write(before)
            raise

    # nginx --------------------------------------------------------------------------------

    async def _run(self, service: str, *options: str) -> None:
        try:
            (await call([*self._command, *options], timeout=self._timeout_s)).check()
        except CommandFailed as error:
            raise RouterError(service, str(error)) from error

    async def _told(self, service: str) -> dict[str, Any]:
        try:
            answer = await request_over(self._socket, "GET", "/weights")
            told: object = answer.json()
        except HTTPError as error:
            raise RouterError(service, f"nginx does not say its weights: {error}") from error
        if not isinstance(told, dict) or "weights" not in told:
            raise RouterError(service, f"nginx answered {shown(answer.text)}, no weights")
        return cast("dict[str, Any]", told)

    async def _until(self, service: str, digest: str, deadline: float) -> None:
        agreed = 0
        while agreed < AGREED:
            told = (await self._told(service))["digest"]
            agreed = agreed + 1 if told == digest else 0
            if asyncio.get_running_loop().time() > deadline:
                raise RouterError(
                    service,
                    f"nginx took it, and after {self._timeout_s:g} s still runs with other "
                    f"weights; its error log says why",
                )
            await asyncio.sleep(0 if agreed else LOOK_S)


def _told_text(weights: Mapping[str, float], servers: Sequence[str]) -> str:
    """Return what nginx is to answer: the weights, and what tells one configuration from another."""
    digest = hashlib.sha256("\n".join(servers).encode()).hexdigest()[:16]
    return json.dumps({"digest": digest, "weights": dict(weights)})


def _digest_in(text: str) -> str:
    found = re.search(r'"digest": "([0-9a-f]{16})"', text)
    assert found is not None
    return found[1]
