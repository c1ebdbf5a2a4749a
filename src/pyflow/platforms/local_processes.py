"""Run the instances of a service as processes of this host.

There is no daemon. What runs is what the state directory says and the kernel
confirms: each process has written down its number and the instant of its
start by itself, so it is found again by any later deployment, and a process
that has got the number of one that is gone is never taken for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pyflow.errors import CommandFailed, DefinitionError, PlatformError, shown
from pyflow.platforms._given import check_scale, filled
from pyflow.platforms._launch import identity
from pyflow.polling import look
from pyflow.probes import TCP
from pyflow.programs import call
from pyflow.protocols import Instance, Probe, ServiceState
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

__all__ = ["LocalProcesses"]

HOST = "127.0.0.1"
LAUNCHER = Path(__file__).with_name("_launch.py")
LOOK_S = 0.02
KILL_S = 5.0
LOG_BYTES = 65_536

Drain: TypeAlias = "Callable[[str, str], Awaitable[object]]"


@dataclass(frozen=True, slots=True)
class _Process:
    """One instance, as its directory tells it."""

    place: Path
    version: str
    number: int
    port: int
    pid: int
    identity: str

    @property
    def id(self) -> str:
        return self.place.name

    @property
    def is_alive(self) -> bool:
        return self.pid > 0 and not _is_zombie(self.pid) and identity(self.pid) == self.identity


class LocalProcesses:
    """A `Platform`: every instance is a process of this host, with a port of its own.

    Instances outlive the deployment that started them. One that has died is
    no longer observed, and the next `scale` starts another. Output goes to
    ``<root>/<service>/logs/<instance>.log``.

    To stop one, its process group gets TERM: it has *stop_timeout* to finish
    what it is doing, and KILL after that. `scale` returns once they are gone;
    what it starts is observed at once, and ready when its probe says so.

    Args:
        root: The state directory; made if it is not there. One for each host.
        command: The program and its arguments, where ``{service}``,
            ``{version}``, ``{port}``, ``{id}`` and ``{root}`` stand for the
            instance's own. No shell is used.
        ready: Returns the probe of an instance, given host and port; by
            default something has to accept connections there.
        stop_timeout: How long an instance may take to end.
        drain: Called with service and instance before that one is stopped, such as
            `HAProxy.drain`, so that it is sent nothing while it ends. What it
            raises leaves the instance running.
        env: Added to our environment.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        command: Sequence[str],
        *,
        ready: Callable[[str, int], Probe] = TCP,
        stop_timeout: Span = "10s",
        drain: Drain | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        if isinstance(command, str) or not command:
            problem = (
                f"command={shown(command)} must be a list, such as ['shop', '--port', '{{port}}']"
            )
            raise DefinitionError("LocalProcesses", [problem])
        self._root = Path(root).absolute()
        self._command = tuple(command)
        self._ready = ready
        self._stop_s = seconds(stop_timeout, what="LocalProcesses(stop_timeout=)", zero=True)
        self._drain = drain
        self._env = {**os.environ, **(env or {})}

    def __repr__(self) -> str:
        return f"LocalProcesses({str(self._root)!r})"

    async def observe(self, service: str, /) -> ServiceState:
        """Return the instances that live now, and whether each is ready.

        Raises:
            PlatformError: *service* cannot be the name of one.
        """
        check_scale(service)
        alive = [process for process in self._processes(service) if process.is_alive]
        readings = await asyncio.gather(*(look(self._ready(HOST, p.port)) for p in alive))
        instances = tuple(
            Instance(process.id, process.version, reading.is_healthy)
            for process, reading in zip(alive, readings, strict=True)
        )
        made_of = "\n".join(f"{process.id} {process.identity}" for process in alive)
        generation = hashlib.sha256(made_of.encode()).hexdigest()[:16]
        return ServiceState(service, instances, generation)

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        """Start or stop processes until *instances* of *version* live; the newest are stopped.

        Raises:
            PlatformError: The program cannot be run, or a process cannot be
                ended; or an argument makes no sense, and nothing was done.
        """
        check_scale(service, version, instances)
        mine = [
            process
            for process in self._processes(service)
            if process.version == version and (process.is_alive or self._revived(process))
        ]
        if self._drain is not None:
            for process in mine[instances:]:
                await self._drain(service, process.id)
        await asyncio.gather(*(self._stop(service, process) for process in mine[instances:]))
        for _ in range(instances - len(mine)):
            await self._start(service, version)

    def addresses(self, service: str, version: str, /) -> dict[str, tuple[str, int]]:
        """Return host and port of every living instance of *version*, by its id; for routers."""
        check_scale(service, version)
        return {
            process.id: (HOST, process.port)
            for process in self._processes(service)
            if process.version == version and process.is_alive
        }

    def log(self, service: str, instance: str, /) -> str:
        """Return the end of what an instance has written, at most 64 KiB; also of one that is gone."""
        check_scale(service, instance)
        try:
            with self._log(service, instance).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            raise PlatformError(service, f"there is no instance {shown(instance)}") from None

    # The state directory ------------------------------------------------------------------

    def _log(self, service: str, instance: str) -> Path:
        return self._root / service / "logs" / f"{instance}.log"

    def _processes(self, service: str) -> list[_Process]:
        """Return what the state directory tells of *service*, in order of start."""
        places = self._root / service / "instances"
        found = [_read(place) for place in places.iterdir()] if places.is_dir() else []
        return sorted((p for p in found if p is not None), key=lambda p: (p.version, p.number))

    def _revived(self, process: _Process) -> bool:
        """Put away what is left of a dead instance; return whether it turned out to live.

        A launcher whose deployment was killed may be about to write. It does so
        in the directory, so once that has another name nobody can come to life.
        """
        grave = process.place.with_name(f".{process.id}.{os.getpid()}")
        process.place.rename(grave)
        late = _read(grave)
        if late is not None and late.is_alive:
            grave.rename(process.place)
            return True
        shutil.rmtree(grave)
        return False

    def _places(self, service: str, version: str) -> Iterator[tuple[int, Path]]:
        """Yield numbers that no instance of *version* has had, each with its directory."""
        numbers = [0]
        for log in (self._root / service / "logs").glob(f"{version}-*.log"):
            text = log.stem.removeprefix(f"{version}-")
            numbers += [int(text)] if text.isdecimal() else []
        number = max(numbers)
        while True:
            number += 1
            yield number, self._root / service / "instances" / f"{version}-{number}"

    # Processes ----------------------------------------------------------------------------

    async def _start(self, service: str, version: str) -> None:
        (self._root / service / "logs").mkdir(parents=True, exist_ok=True)
        number, place = next(self._places(service, version))
        port = _free_port()
        place.mkdir(parents=True)
        told = {"version": version, "number": number, "port": port}
        (place / "told.partial").write_text(json.dumps(told))
        (place / "told.partial").rename(place / "told.json")
        log = self._log(service, place.name)
        log.touch(mode=0o600)
        values = {"service": service, "version": version, "port": port, "id": place.name}
        argv = filled(self._command, {**values, "root": self._root})
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(place / "process"), str(log)]
        try:
            (await call([*launcher, *argv], env=self._env)).check()
        except CommandFailed as error:
            shutil.rmtree(place, ignore_errors=True)
            raise PlatformError(
                service, f"{argv[0]} cannot be run for {version}: {error.output or error.reason}"
            ) from error

    async def _stop(self, service: str, process: _Process) -> None:
        for number, within_s in ((signal.SIGTERM, self._stop_s), (signal.SIGKILL, KILL_S)):
            if process.is_alive:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            if await _gone(process, within_s):
                shutil.rmtree(process.place, ignore_errors=True)
                return
        raise PlatformError(service, f"{process.id} (process {process.pid}) cannot be ended")


async def _gone(process: _Process, within_s: float) -> bool:
    """Wait until *process* is gone, for at most *within_s*; return whether it is."""
    now = asyncio.get_running_loop().time
    deadline = now() + within_s
    while process.is_alive:
        if now() >= deadline:
            return False
        await asyncio.sleep(LOOK_S)
    return True


def _read(place: Path) -> _Process | None:
    """Return the instance that *place* tells of; without a process if none has been written."""
    try:
        told = json.loads((place / "told.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    pid, identity = "0", ""
    with suppress(FileNotFoundError):
        pid, _, identity = (place / "process").read_text().strip().partition(" ")
    return _Process(place, told["version"], told["number"], told["port"], int(pid), identity)


def _is_zombie(pid: int) -> bool:
    """Return whether *pid* is dead and has not been reaped; False where /proc does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
