"""Containers for real: the platform in front of podman's socket, which speaks Docker's Engine API."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyflow
from pyflow import probes
from pyflow.errors import PlatformError
from pyflow.platforms import Docker
from pyflow.testing import check_platform
from support.servers import LOOKS, found, stop

pytestmark = pytest.mark.integration

CONFIG = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
PROGRAM = "trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done"
HOST = {"HostConfig": {"NetworkMode": "host"}}
"""The network of the host, for a bridge of its own takes rights that a test may not have."""


class Podman:
    """A podman of a test: its own storage, and its socket."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = root / "api.sock"
        (root / "containers.conf").write_text(CONFIG)
        self._env = {**os.environ, "CONTAINERS_CONF": str(root / "containers.conf")}
        places = ["--root", str(root / "storage"), "--runroot", str(root / "run")]
        kinds = ["--storage-driver", "vfs", "--runtime", found("runc", "runc")]
        self._command = [found("podman", "podman"), *places, *kinds]

    def __call__(self, *words: str, stdin: bytes | None = None) -> str:
        """Run podman, and return what it wrote."""
        done = subprocess.run(
            [*self._command, *words],
            env=self._env,
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def serve(self) -> subprocess.Popen[bytes]:
        """Start the service of the API, and wait until it listens."""
        listen = ["system", "service", "--time=0", f"unix://{self.socket}"]
        process = subprocess.Popen([*self._command, *listen], env=self._env)

        async def listens() -> bool:
            return self.socket.exists()

        asyncio.run(pyflow.poll(probes.Callable(listens), backoff=LOOKS, timeout="30s"))
        return process


def image() -> bytes:
    """Return a file system with one program in it, as a tar archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(found("busybox", "busybox-static"), "bin/busybox")
        for name in ("sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return packed.getvalue()


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """A podman with images of two versions."""
    root = Path(tempfile.mkdtemp(prefix="pod-"))  # short: it holds sockets
    made = Podman(root)
    try:
        for version in ("1.0", "2.0"):
            command = f'CMD ["/bin/sh", "-c", "{PROGRAM}"]'
            made("import", "--change", command, "-", f"shop:{version}", stdin=image())
        process = made.serve()
        try:
            yield made
        finally:
            made("rm", "--all", "--force", "--time", "0")
            stop(process)
    finally:
        shutil.rmtree(root)


@pytest.fixture
def docker(podman: Podman) -> Iterator[Callable[[], Docker]]:
    """Makes platforms, all of whose containers are removed in the end."""

    def make() -> Docker:
        image = "localhost/shop:{version}"
        return Docker(image, socket=podman.socket, config=HOST, stop_timeout="5s")

    yield make
    with contextlib.suppress(PlatformError):
        for version in ("1.0", "2.0"):
            asyncio.run(make().scale("shop", version, 0))


class TestContract:
    def test_is_kept(self, docker: Callable[[], Docker]) -> None:
        """The platform keeps its contract, beside a version that is left alone."""
        platform = docker()

        async def check() -> None:
            await platform.scale("shop", "1.0", 1)
            await check_platform(lambda: platform, service="shop", version="2.0", settle="20s")

        asyncio.run(check())


class TestScale:
    def test_makes_containers(self, podman: Podman, docker: Callable[[], Docker]) -> None:
        """Containers are there for everybody to see, under their names, and are gone after that."""
        asyncio.run(docker().scale("shop", "2.0", 2))
        names = podman("ps", "--format", "{{.Names}}").split()
        asyncio.run(docker().scale("shop", "2.0", 0))

        assert sorted(names) == ["shop-2.0-1", "shop-2.0-2"]
        assert podman("ps", "--all", "--format", "{{.Names}}").split() == []

    def test_replaces_the_dead(self, podman: Podman, docker: Callable[[], Docker]) -> None:
        """A container that somebody has killed is no instance, and the next scale starts another."""

        async def ids() -> list[str]:
            return [instance.id for instance in (await docker().observe("shop")).instances]

        asyncio.run(docker().scale("shop", "2.0", 1))
        podman("kill", "shop-2.0-1")
        dead = asyncio.run(ids())
        asyncio.run(docker().scale("shop", "2.0", 1))

        assert (dead, asyncio.run(ids())) == ([], ["shop-2.0-2"])

    def test_needs_the_image(self, docker: Callable[[], Docker]) -> None:
        """An image that is not there is an error, in podman's words."""
        with pytest.raises(PlatformError, match=r"no such image|No such image|image not known"):
            asyncio.run(docker().scale("shop", "3.0", 1))
