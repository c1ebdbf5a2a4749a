"""Run versions on hosts that are reached by the system's own ssh.

Keys, known hosts, jump hosts and the agent are ssh's business, and its
configuration is yours; nobody is asked for a password. ssh ends with 255 where
it could not get through, and otherwise with what the command ended with.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shlex
from typing import TYPE_CHECKING

from pyflow.errors import CommandFailed, DefinitionError, PlatformError, shown
from pyflow.platforms._given import check_scale, filled
from pyflow.polling import look
from pyflow.programs import call
from pyflow.protocols import Instance, ServiceState
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyflow.protocols import Probe

__all__ = ["SSH"]

HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@\[\]-]{0,253}")
TRANSPORT = 255
AT_ONCE = 16


class SSH:
    """A `Platform`: at most one instance of each version on every host.

    `scale` to *n* has the version run on *n* of the hosts: those that it runs
    on already, then the others in order. Commands are lists, each argument
    is quoted for the remote shell, and ``{service}``, ``{version}`` and
    ``{host}`` stand for what is asked. Each has to be safe to run again.

    A host that cannot be reached makes `observe` fail rather than seem empty.

    Args:
        hosts: Names as ssh knows them, ``user@`` included where it is needed.
        start: Has a version run on the host.
        stop: Has it run no more.
        status: Writes the versions that run there, one a line.
        ready: Returns the probe of an instance, given host and version; one
            that runs is ready unless given.
        options: Options of ssh, such as ``["-F", "deploy/ssh_config"]``.
        timeout: How long one command may take.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        start: Sequence[str],
        stop: Sequence[str],
        status: Sequence[str],
        ready: Callable[[str, str], Probe] | None = None,
        options: Sequence[str] = (),
        timeout: Span = "1m",
    ) -> None:
        problems = [
            f"{name}={shown(argv)} must be a list, such as ['systemctl', 'start', '...']"
            for name, argv in (("start", start), ("stop", stop), ("status", status))
            if isinstance(argv, str) or not argv
        ]
        names = [] if isinstance(hosts, str) else list(hosts)
        problems += [f"{shown(h)} is no name of a host" for h in names if not HOST.fullmatch(h)]
        if not names or len(set(names)) != len(names):
            problems.append(f"hosts={shown(hosts)} must be a list of different hosts")
        if problems:
            raise DefinitionError("SSH", problems)
        self._hosts = tuple(names)
        self._commands = {"start": tuple(start), "stop": tuple(stop), "status": tuple(status)}
        self._ready = ready
        self._options = tuple(options)
        self._timeout_s = seconds(timeout, what="SSH(timeout=)")

    def __repr__(self) -> str:
        return f"SSH({shown(list(self._hosts))})"

    async def observe(self, service: str, /) -> ServiceState:
        """Return what runs on every host.

        Raises:
            PlatformError: A host cannot be reached, or its command failed.
        """
        check_scale(service)
        running = await self._running(service)
        pairs = sorted((version, host) for host in running for version in running[host])
        ready = await asyncio.gather(*(self._is_ready(host, version) for version, host in pairs))
        instances = tuple(
            Instance(f"{version}@{host}", version, is_ready)
            for (version, host), is_ready in zip(pairs, ready, strict=True)
        )
        made_of = "\n".join(instance.id for instance in instances)
        generation = hashlib.sha256(made_of.encode()).hexdigest()[:16]
        return ServiceState(service, instances, generation)

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        """Start or stop the version until it runs on *instances* hosts; the last ones are stopped.

        Raises:
            PlatformError: There are fewer hosts, and nothing was done; or a
                host cannot be reached, or its command failed.
        """
        check_scale(service, version, instances)
        if instances > len(self._hosts):
            text = f"{instances} instances of {version} need as many hosts; there are {len(self._hosts)}"
            raise PlatformError(service, text)
        running = await self._running(service)
        has = [host for host in self._hosts if version in running[host]]
        free = [host for host in self._hosts if version not in running[host]]
        starting = free[: max(0, instances - len(has))]
        values = {"service": service, "version": version}
        await self._each("stop", has[instances:], values)
        await self._each("start", starting, values)

    async def _running(self, service: str) -> dict[str, list[str]]:
        said = await self._each("status", self._hosts, {"service": service})
        return {
            host: sorted({line.strip() for line in said[host].splitlines()} - {""}) for host in said
        }

    async def _is_ready(self, host: str, version: str) -> bool:
        if self._ready is None:
            return True
        return (await look(self._ready(host, version))).is_healthy

    async def _each(
        self, verb: str, hosts: Sequence[str], values: dict[str, str]
    ) -> dict[str, str]:
        """Run a command on several hosts, some of them at once; return what each said.

        All of them are run, and then the trouble of the first is raised.
        """
        slots = asyncio.Semaphore(AT_ONCE)

        async def on(host: str) -> str:
            async with slots:
                return await self._run(verb, host, {**values, "host": host})

        said = await asyncio.gather(*(on(host) for host in hosts), return_exceptions=True)
        for one in said:
            if isinstance(one, BaseException):
                raise one
        return {host: str(text) for host, text in zip(hosts, said, strict=True)}

    async def _run(self, verb: str, host: str, values: dict[str, str]) -> str:
        remote = shlex.join(filled(self._commands[verb], values))
        argv = ["ssh", "-o", "BatchMode=yes", "-T", *self._options, "--", host, remote]
        try:
            done = await call(argv, timeout=self._timeout_s)
            if done.code == TRANSPORT:
                text = f"{host} cannot be reached by ssh: {done.stderr.strip()[-400:]}"
                raise PlatformError(values["service"], text)
            return done.check().stdout
        except CommandFailed as error:
            raise PlatformError(values["service"], f"{verb} on {host}: {error}") from error
