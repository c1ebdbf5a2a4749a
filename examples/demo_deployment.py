"""A blue-green deployment on one host, as you would write it with pyflow.

The new version starts beside the old one and has to be healthy before any
request reaches it. Then one atomic switch moves all traffic, the front door
proves it, and only after that is the old version retired. Up to that point
every step has an undo, and an undo looks before it acts: after a crash it
may run a second time, or for a step that never took effect.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pyflow
from pyflow.probes import HTTP, consistently

SERVICE = Path(__file__).with_name("demo_service.py")
FREE_MB_MIN = 10
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
LOOKS = pyflow.Backoff("50ms", ceiling="200ms")


class UnhealthyError(Exception):
    """A version did not become healthy in time."""


# What the steps hand to one another -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What was found before anything was touched."""

    live: str | None
    """The version that answers now."""

    free_mb: int
    """Free space on the disk."""


@dataclass(frozen=True, slots=True)
class Release:
    """A version on disk."""

    version: str
    files: int


@dataclass(frozen=True, slots=True)
class Instance:
    """A process that serves a version."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class Switch:
    """Which version answered before, and which does now."""

    before: str | None
    after: str


# The host ---------------------------------------------------------------------------------


class Host:
    """One machine: builds and releases on disk, processes, and a front door.

    builds/1.1       what the CI system delivered
    releases/1.1     what was laid down from it
    run/1.1.port     where that version listens, in its own words
    current          a link to the release that the front door sends requests to

    Processes are children of this one here; on a server, systemd or a
    container runtime would hold them.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.builds = root / "builds"
        self.releases = root / "releases"
        self._run = root / "run"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._guard = threading.Lock()
        self._closed = False
        for place in (self.builds, self.releases, self._run):
            place.mkdir(parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"Host({str(self.root)!r})"

    @property
    def front_door_url(self) -> str:
        """Where clients send their requests."""
        return f"http://127.0.0.1:{self._port('front-door')}"

    def open_front_door(self) -> str:
        """Start the front door, and return its URL."""
        self._start("front-door", [str(SERVICE), "front-door", str(self.root)])
        return self.front_door_url

    @property
    def live(self) -> str | None:
        """The version that `current` points to."""
        try:
            return (self.root / "current").readlink().name
        except FileNotFoundError:
            return None

    def point_at(self, version: str | None) -> None:
        """Make *version* the live one. There is no instant without one, or with two."""
        link = self.root / "current"
        if version is None:
            link.unlink(missing_ok=True)
            return
        fresh = self.root / "current.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("releases") / version)
        fresh.replace(link)  # one rename(2): readers see the old link or the new one

    def start(self, version: str) -> Instance:
        """Start *version* from its release, and wait until it says where it listens."""
        release = self.releases / version
        process = self._start(version, [str(release / "service.py"), "serve", str(release)])
        return Instance(process.pid, self._port(version))

    def stop(self, version: str) -> int | None:
        """Stop *version*, and return the id that its process had; None if it does not run."""
        process = self._processes.get(version)
        if process is None or process.poll() is not None:
            return None
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return process.pid

    @property
    def running(self) -> tuple[str, ...]:
        """What runs now, the front door included."""
        return tuple(name for name, one in tuple(self._processes.items()) if one.poll() is None)

    def close(self) -> None:
        """Stop everything that was started here, and start nothing further."""
        with self._guard:
            self._closed = True
        for name, process in tuple(self._processes.items()):
            self.stop(name)
            if process.stdin is not None:
                process.stdin.close()

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        log = self._run / f"{name}.log"
        port_file = self._run / f"{name}.port"
        with self._guard, log.open("wb") as out:
            if self._closed or name in self.running:
                raise RuntimeError(f"cannot start {name}: it runs already, or the host is closed")
            port_file.unlink(missing_ok=True)
            process = self._processes[name] = subprocess.Popen(
                [sys.executable, *command, str(port_file)],
                stdin=subprocess.PIPE,  # it ends when this end of the pipe closes
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for the deployment, not for the service
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not port_file.exists():
            if process.poll() is not None:
                said = log.read_text(errors="replace").strip()[-400:]
                raise RuntimeError(f"{name} ended with {process.returncode} at its start: {said}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} does not listen after {START_TIMEOUT_S:g} s")
            time.sleep(0.01)
        return process

    def _port(self, name: str) -> int:
        return int((self._run / f"{name}.port").read_text())


# The steps, and how each is taken back ----------------------------------------------------


def check_host(host: Host, version: str) -> HostFacts:
    """Refuse while refusing costs nothing."""
    if not (host.builds / version).is_dir():
        raise FileNotFoundError(f"there is no build of {version} in {host.builds}")
    if version in host.running:
        raise RuntimeError(f"{version} runs already; deploy another version")
    free_mb = shutil.disk_usage(host.root).free // 1_000_000
    if free_mb < FREE_MB_MIN:
        raise OSError(f"{free_mb} MB are free on the disk; a release needs {FREE_MB_MIN} MB")
    return HostFacts(host.live, free_mb)


def lay_down_release(ctx: pyflow.Context, host: Host, version: str) -> Release:
    """Copy the build, then rename: a release is there as a whole or not at all."""
    release = host.releases / version
    if release.exists():
        raise FileExistsError(f"{version} is laid down already; releases are never overwritten")
    partial = host.releases / f"{version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(host.builds / version, partial)
    (partial / "RUN").write_text(ctx.run_id)
    partial.rename(release)
    ctx.record_change(f"releases/{version}", before=None, after="laid down")
    return Release(version, files=sum(1 for _ in release.iterdir()))


def remove_release(ctx: pyflow.RecoveryContext, host: Host, version: str) -> None:
    """Remove what this run laid down, and nothing else."""
    release = host.releases / version
    shutil.rmtree(host.releases / f"{version}.partial", ignore_errors=True)
    if not release.exists() or (release / "RUN").read_text() != ctx.run_id:
        return
    shutil.rmtree(release)
    ctx.record_change(f"releases/{version}", before="laid down", after=None)


def start_instance(ctx: pyflow.Context, host: Host, lay_down_release: Release) -> Instance:
    """Start the new version beside the old one; no request reaches it yet."""
    version = lay_down_release.version
    instance = host.start(version)
    ctx.record_change(
        f"process {version}", before=None, after=f"pid {instance.pid}, port {instance.port}"
    )
    return instance


def stop_instance(ctx: pyflow.RecoveryContext, host: Host, version: str) -> None:
    """Stop the new version, unless requests still go to it."""
    if host.live == version:
        raise RuntimeError(f"{version} is live; switch traffic back before it is stopped")
    pid = host.stop(version)
    if pid is not None:
        ctx.record_change(f"process {version}", before=f"pid {pid}", after=None)


async def wait_until_healthy(
    ctx: pyflow.AsyncContext, version: str, start_instance: Instance, health_timeout: str
) -> None:
    """Ask the new version itself until it is healthy; fail if it does not become so."""
    health = HTTP(f"{start_instance.url}/health", timeout="1s")
    ctx.log(f"asking {health.url} for at most {health_timeout}")
    try:
        await ctx.poll(health, backoff=LOOKS, timeout=health_timeout)
    except TimeoutError as late:
        seen = await ctx.read(health)  # the last look of a poll may have been cut by its deadline
        said = f"{seen.evidence.get('status')} after {health_timeout}: {seen.evidence.get('body')}"
        raise UnhealthyError(f"{version} answers {said}") from late


def switch_traffic(ctx: pyflow.Context, host: Host, version: str) -> Switch:
    """Point `current` at the new version, for all requests at once."""
    switch = Switch(before=host.live, after=version)
    ctx.checkpoint("before", switch.before)
    host.point_at(version)
    ctx.record_change("current", before=switch.before, after=version)
    return switch


def switch_back(ctx: pyflow.RecoveryContext, host: Host, version: str) -> None:
    """Point `current` at what it pointed to, if it still points at what we put there."""
    if host.live != version:
        return
    before = ctx.checkpoints["before"]  # saved before the switch, so it is there in any case
    host.point_at(before)
    ctx.record_change("current", before=version, after=before)


async def verify_front_door(ctx: pyflow.AsyncContext, host: Host, switch_traffic: Switch) -> None:
    """See through the clients' own door that the new version answers, several times in a row."""
    page = HTTP(f"{host.front_door_url}/", contains=f'"version": "{switch_traffic.after}"')
    await ctx.poll(consistently(page, times=5, interval="100ms"), backoff=LOOKS, timeout="10s")


def had_previous(switch_traffic: Switch) -> bool:
    """The opening deployment has nothing to retire."""
    return switch_traffic.before is not None


def retire_previous(ctx: pyflow.Context, host: Host, switch_traffic: Switch) -> None:
    """Stop the old version. Its release stays on disk, for a way back by hand."""
    assert switch_traffic.before is not None
    pid = host.stop(switch_traffic.before)
    if pid is not None:
        ctx.record_change(f"process {switch_traffic.before}", before=f"pid {pid}", after=None)


def make_workflow() -> pyflow.Workflow:
    """Return the deployment: a plain value, to run, draw or test."""
    workflow = pyflow.Workflow(
        "blue_green",
        params={"version": str, "host": Host, "health_timeout": "10s"},
        locks=["service:shop"],
    )
    workflow.add_task("check_host", check_host, effect=False)
    workflow.add_task("lay_down_release", lay_down_release, depends_on=["check_host"])
    workflow.add_task("start_instance", start_instance)
    workflow.add_task("wait_until_healthy", wait_until_healthy, effect=False)
    workflow.add_task("switch_traffic", switch_traffic, depends_on=["wait_until_healthy"])
    workflow.add_task("verify_front_door", verify_front_door, effect=False)
    workflow.add_task(
        "retire_previous",
        retire_previous,
        depends_on=["verify_front_door"],
        when=had_previous,
        point_of_no_return=True,
    )

    workflow.add_recovery("lay_down_release", remove_release)
    workflow.add_recovery("start_instance", stop_instance)
    workflow.add_recovery("switch_traffic", switch_back)
    return workflow
