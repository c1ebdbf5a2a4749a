"""Shift traffic by the runtime API of HAProxy, without a reload.

HAProxy answers a command that changed something with an empty line, and every
other text is why not (management guide, section 9.3). What it holds at run
time is gone after a reload, so weights are read from it and never remembered.
"""

from __future__ import annotations

import asyncio
import csv
import ipaddress
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyflow.errors import DefinitionError, RouterError, shown
from pyflow.routers._weights import Addresses, checked, difference, percentages, whole
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["HAProxy"]

WEIGHT_MAX = 256
REPLY_BYTES_MAX = 16_777_216
ROUNDING_PCT = 0.5
LOOK_S = 0.02
NAME = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
ADDED = ("", "New server registered.")
CONFIGURED_MAINT = 0x04
"""Says how the server began, not how it is (`srv_admin_state`, management guide)."""


@dataclass(frozen=True, slots=True)
class _Server:
    """One server of the backend, as HAProxy tells it."""

    name: str
    weight: int
    takes_traffic: bool
    address: tuple[str, int]

    @property
    def share(self) -> int:
        return self.weight if self.takes_traffic else 0


class HAProxy:
    """A `Router`: the weights of the servers of one HAProxy backend.

    Which servers a version has is said in one of three ways: a server is
    named like its version (the default); *servers* lists them; or *addresses*,
    such as `LocalProcesses.addresses`, says where the instances are, and they
    are added as servers of that name, which needs HAProxy 2.5 or newer.

    Weights that rise are set before those that fall, in one turn of HAProxy's,
    so there is no instant at which nothing takes traffic. A server that its
    health check has taken down keeps its weight. Whatever else the backend
    has gets none.

    Args:
        address: The path of its stats socket, or ``host:port``. It needs
            ``level admin``.
        backend: The backend. It has to balance by ``roundrobin``,
            ``leastconn`` or another method whose weights can change.
        servers: The names of the servers of each version.
        addresses: Returns where the instances of a version are, given service
            and version: host and port by id, ``<version>-<number>``.
        options: What is said of a server that is added.
        timeout: How long one answer may take.
    """

    def __init__(
        self,
        address: str | os.PathLike[str],
        backend: str,
        *,
        servers: Mapping[str, Sequence[str]] | None = None,
        addresses: Callable[[str, str], Addresses] | None = None,
        options: str = "check inter 1s",
        timeout: Span = "5s",
    ) -> None:
        problems: list[str] = []
        if servers is not None and addresses is not None:
            problems.append("servers= and addresses= say the same in two ways; give one of them")
        problems += [
            f"{shown(name)} is no name of a backend or a server"
            for name in (backend, *(name for names in (servers or {}).values() for name in names))
            if not NAME.fullmatch(name)
        ]
        if re.search(r"[\n;\\]", options):
            problems.append(f"options={shown(options)} must be one line without ';'")
        if problems:
            raise DefinitionError("HAProxy", problems)
        self._address = os.fspath(address)
        self._backend = backend
        self._servers = {version: tuple(names) for version, names in (servers or {}).items()}
        self._addresses = addresses
        self._options = options
        self._timeout_s = seconds(timeout, what="HAProxy(timeout=)")

    def __repr__(self) -> str:
        return f"HAProxy({self._address!r}, {self._backend!r})"

    async def weights(self, service: str, /) -> dict[str, float]:
        """Return the weights that are in force now, as HAProxy tells them.

        Raises:
            RouterError: HAProxy cannot be asked, or nothing takes traffic.
        """
        return self._weights(service, await self._look(service))

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        """Put *weights* in force, and read them back.

        Raises:
            RouterError: They are no weights or a version has no server, and
                nothing was changed; or HAProxy refused, or does something else.
        """
        wanted = checked(service, weights)
        present = await self._look(service)
        named = {version: await self._names(service, version, present) for version in wanted}
        counts = {version: len(names) for version, names in named.items()}
        numbers = whole(service, wanted, counts, most=WEIGHT_MAX)
        targets = {name: numbers[version] for version in named for name in named[version]}
        await self._apply(service, await self._look(service), targets)
        found = self._weights(service, after := await self._look(service))
        wrong = difference(found, wanted, slack=ROUNDING_PCT)
        if wrong is not None:
            raise RouterError(service, f"HAProxy took it, and {wrong}")
        await self._forget(service, after, targets)

    async def drain(self, service: str, instance: str, /) -> None:
        """Send *instance* nothing more, and return once it has answered what it was sent.

        The other servers of its version take its share over, so the weights
        are what they were. It may be called again; a platform does so before it
        stops an instance whose version has traffic.

        Raises:
            RouterError: HAProxy cannot be asked, *instance* is the last of its
                version that takes traffic, or it was not done within *timeout*.
        """
        present = await self._look(service)
        if any(server.name == instance and server.share for server in present):
            await self._apply(service, present, self._without(service, present, instance))
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        while await self._answers(service, instance):
            if asyncio.get_running_loop().time() > deadline:
                raise RouterError(service, f"{instance} has not answered what it was sent")
            await asyncio.sleep(LOOK_S)

    def _without(self, service: str, present: Sequence[_Server], instance: str) -> dict[str, int]:
        """Return the numbers of all other servers, so that versions get what they get now."""
        weights, kept = self._weights(service, present), dict[str, list[str]]()
        for server in present:
            if server.share and server.name != instance:
                kept.setdefault(self._version(server.name), []).append(server.name)
        alone = [version for version in weights if version not in kept]
        if alone:
            raise RouterError(
                service, f"{instance} is the last of {alone[0]} that takes traffic; shift it first"
            )
        counts = {version: len(names) for version, names in kept.items()}
        numbers = whole(service, weights, counts, most=WEIGHT_MAX)
        return {name: numbers[version] for version in kept for name in kept[version]}

    async def _answers(self, service: str, instance: str) -> int:
        """Return how many requests *instance* has still to answer."""
        reply = await self._ask(service, "show stat")
        rows = csv.DictReader(reply.lstrip("# ").splitlines())
        mine = (self._backend, instance)
        return sum(int(row["scur"]) for row in rows if (row["pxname"], row["svname"]) == mine)

    # Versions and servers -----------------------------------------------------------------

    def _weights(self, service: str, present: Iterable[_Server]) -> dict[str, float]:
        shares: dict[str, int] = {}
        for server in present:
            version = self._version(server.name)
            shares[version] = shares.get(version, 0) + server.share
        return percentages(service, shares)

    def _version(self, name: str) -> str:
        """Return whose server that is; one that is nobody's speaks for itself."""
        if self._addresses is not None:
            version, _, number = name.rpartition("-")
            return version if version and number.isdecimal() else name
        return next((v for v, names in self._servers.items() if name in names), name)

    async def _names(self, service: str, version: str, present: Sequence[_Server]) -> list[str]:
        """Return the servers that *version* is to have, all of them known to HAProxy by then."""
        known = [server.name for server in present]
        if self._addresses is None:
            names = list(self._servers.get(version, (version,)))
            missing = [name for name in names if name not in known]
            if missing or not names:
                raise RouterError(
                    service,
                    f"{version} has no server {', '.join(map(shown, missing))} in backend "
                    f"{self._backend}; there are: {', '.join(known) or 'none'}",
                )
            return names
        found = self._addresses(service, version)
        if not found:
            raise RouterError(service, f"{version} has no instance that could take traffic")
        there = {server.name: server.address for server in present}
        for name, (host, port) in found.items():
            if name not in known:
                await self._add(service, name, host, port)
            elif there[name] != (address := (host if _is_ip(host) else there[name][0], port)):
                await self._move(service, name, *address)  # it is another instance by now
        return list(found)

    async def _add(self, service: str, name: str, host: str, port: int) -> None:
        if not NAME.fullmatch(name):
            raise RouterError(service, f"{shown(name)} is no name of a server")
        server = f"{self._backend}/{name}"
        await self._order(service, f"add server {server} {host}:{port} weight 0 {self._options}")
        if "check" in self._options.split():
            await self._order(service, f"enable health {server}")
        await self._order(service, f"set server {server} state ready")

    async def _forget(
        self, service: str, present: Sequence[_Server], targets: Mapping[str, int]
    ) -> None:
        """Put servers into maintenance whose instance is gone.

        They are not deleted: under load, `del server` has brought HAProxy
        2.6.12 down (a segmentation fault in five of six runs).
        """
        if self._addresses is None:
            return
        for server in present:
            version = self._version(server.name)
            gone = version != server.name and server.name not in self._addresses(service, version)
            if gone and server.name not in targets and server.takes_traffic and not server.share:
                await self._order(service, f"set server {self._backend}/{server.name} state maint")

    # The conversation ---------------------------------------------------------------------

    async def _apply(
        self, service: str, present: Sequence[_Server], targets: Mapping[str, int]
    ) -> None:
        """Set what differs from *targets*, what rises before what falls; others get nothing."""
        rising: list[str] = []
        falling: list[str] = []
        for server in present:
            path, weight = f"{self._backend}/{server.name}", targets.get(server.name, 0)
            if weight and not server.takes_traffic:
                rising.append(f"set server {path} state ready")
            if weight != server.weight:
                orders = rising if weight > server.share else falling
                orders.append(f"set server {path} weight {weight}")
        if rising or falling:
            await self._order(service, ";".join([*rising, *falling]))

    async def _look(self, service: str) -> list[_Server]:
        reply = await self._ask(service, f"show servers state {self._backend}")
        lines = [line.split() for line in reply.splitlines() if line.strip()]
        if len(lines) < 2 or lines[1][0] != "#":
            raise RouterError(service, f"HAProxy answered {shown(reply.strip())}, no servers")
        rows = [dict(zip(lines[1][1:], line, strict=False)) for line in lines[2:]]
        return [
            _Server(
                row["srv_name"],
                int(row["srv_uweight"]),
                takes_traffic=not int(row["srv_admin_state"]) & ~CONFIGURED_MAINT,
                address=(row["srv_addr"], int(row["srv_port"])),
            )
            for row in rows
        ]

    async def _order(self, service: str, command: str) -> None:
        """Have HAProxy change something.

        Raises:
            RouterError: It said anything other than that it has.
        """
        reply = await self._ask(service, command)
        wrong = [line for line in reply.splitlines() if line.strip() not in ADDED]
        if wrong:
            raise RouterError(service, f"HAProxy refused {shown(command)}: {' '.join(wrong)}")

    async def _move(self, service: str, name: str, host: str, port: int) -> None:
        """Have a server be elsewhere, which HAProxy confirms in words."""
        command = f"set server {self._backend}/{name} addr {host} port {port}"
        reply = await self._ask(service, command)
        if "changed from" not in reply and "no need to change" not in reply:
            raise RouterError(service, f"HAProxy refused {shown(command)}: {shown(reply.strip())}")

    async def _ask(self, service: str, command: str) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await self._connect()
                try:
                    writer.write(f"{command}\n".encode())
                    reply = await reader.read(-1)
                finally:
                    writer.transport.abort()
        except TimeoutError as error:
            text = f"HAProxy did not answer within {self._timeout_s:g} s at {self._address}"
            raise RouterError(service, text) from error
        except OSError as error:
            reason = error.strerror or str(error)
            text = f"HAProxy cannot be asked at {self._address}: {reason}"
            raise RouterError(service, text) from error
        return reply.decode(errors="replace")

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if "/" in self._address:
            return await asyncio.open_unix_connection(self._address, limit=REPLY_BYTES_MAX)
        host, _, port = self._address.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port), limit=REPLY_BYTES_MAX)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False  # HAProxy has looked the name up, and says what it found
    return True
