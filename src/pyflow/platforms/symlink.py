"""Release directories and one link that says which is live: the layout of Capistrano.

    root/releases/2.0/     what was laid down from the build
    root/current           a link to the release that is live

One rename(2) switches the link, so a reader sees the old release or the new
one, never none and never half of one. A host has one copy of a release, so
the number of instances is 0 or 1; the link takes all of the traffic.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pyflow.errors import PlatformError, RouterError, shown
from pyflow.platforms._given import check_scale
from pyflow.polling import look
from pyflow.protocols import Instance, ServiceState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyflow.protocols import Probe

__all__ = ["Symlink"]

WHOLE = 100.0


class Symlink:
    """A `Platform` and a `Router` at once: releases on disk, and the link to one of them.

    `scale` to 1 lays a release down, as a whole or not at all, and to 0
    removes it; the one that is live is never removed. `set_weights` points the
    link at the version that gets 100 %; a link cannot give two versions a
    share. Rollbacks are as quick as the switch.

    Args:
        root: The directory with ``releases`` and ``current``; made if it is not there.
        build: Returns the directory that the release of a version is copied
            from, given service and version.
        ready: Returns the probe of a release, given its directory; a release
            that is laid down is ready unless given.
        after_switch: Called with the directory that is live after the link was
            switched, such as to reload what reads it. It may run again.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        build: Callable[[str, str], str | os.PathLike[str]],
        *,
        ready: Callable[[Path], Probe] | None = None,
        after_switch: Callable[[Path], object] | None = None,
    ) -> None:
        self._root = Path(root).absolute()
        self._build = build
        self._ready = ready
        self._after_switch = after_switch

    def __repr__(self) -> str:
        return f"Symlink({str(self._root)!r})"

    # Platform -----------------------------------------------------------------------------

    async def observe(self, service: str, /) -> ServiceState:
        """Return the releases that are laid down.

        Raises:
            PlatformError: *service* cannot be the name of one.
        """
        check_scale(service)
        found = (
            sorted(self._releases(service).glob("*")) if self._releases(service).is_dir() else []
        )
        places = [place for place in found if not place.name.startswith(".")]
        ready = await asyncio.gather(*(self._is_ready(place) for place in places))
        instances = tuple(
            Instance(f"{place.name}-1", place.name, is_ready)
            for place, is_ready in zip(places, ready, strict=True)
        )
        made_of = "\n".join(f"{place.name} {place.stat().st_ino}" for place in places)
        generation = hashlib.sha256(made_of.encode()).hexdigest()[:16]
        return ServiceState(service, instances, generation)

    async def scale(self, service: str, version: str, instances: int, /) -> None:
        """Lay the release down, or remove it.

        Raises:
            PlatformError: There is no build of it, it is live and was to be
                removed, or more than one was asked for; nothing was done.
        """
        check_scale(service, version, instances)
        if instances > 1:
            text = f"a directory holds one copy of {version}, and {instances} were asked for"
            raise PlatformError(service, text)
        release = self._releases(service) / version
        if instances and not release.exists():
            await asyncio.to_thread(self._lay_down, service, version, release)
        elif not instances and release.exists():
            if self._live(service) == version:
                raise PlatformError(service, f"{version} is live; switch before it is removed")
            await asyncio.to_thread(_remove, release)

    async def _is_ready(self, place: Path) -> bool:
        return self._ready is None or (await look(self._ready(place))).is_healthy

    def _releases(self, service: str) -> Path:
        return self._root / service / "releases"

    def _lay_down(self, service: str, version: str, release: Path) -> None:
        build = Path(self._build(service, version))
        if not build.is_dir():
            raise PlatformError(service, f"there is no build of {version} at {build}")
        fresh = release.with_name(f".{version}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(build, fresh, symlinks=True)
        fresh.rename(release)

    # Router -------------------------------------------------------------------------------

    async def weights(self, service: str, /) -> dict[str, float]:
        """Return all of the weight for the release that the link leads to.

        Raises:
            RouterError: It leads nowhere.
        """
        check_scale(service)
        live = self._live(service)
        if live is None:
            raise RouterError(service, f"{self._link(service)} leads nowhere, so nothing is live")
        return {live: WHOLE}

    async def set_weights(self, service: str, weights: Mapping[str, float], /) -> None:
        """Point the link at the version whose weight is 100.

        Raises:
            RouterError: No version has all of the weight, or its release is
                not laid down; nothing was changed.
        """
        check_scale(service)
        live = [version for version, weight in weights.items() if weight]
        if len(live) != 1 or weights[live[0]] != WHOLE:
            text = f"{shown(dict(weights))}: a link leads to one release; give one version 100"
            raise RouterError(service, text)
        release = self._releases(service) / live[0]
        if not release.is_dir():
            raise RouterError(service, f"the release {live[0]} is not laid down at {release}")
        if self._live(service) != live[0]:
            fresh = self._link(service).with_name(f".current.{os.getpid()}")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(Path("releases") / live[0])
            fresh.replace(self._link(service))
        if self._after_switch is not None:
            await asyncio.to_thread(self._after_switch, release)

    def _link(self, service: str) -> Path:
        return self._root / service / "current"

    def _live(self, service: str) -> str | None:
        try:
            target = self._link(service).readlink()
        except FileNotFoundError:
            return None
        return target.name if (self._releases(service) / target.name).is_dir() else None


def _remove(release: Path) -> None:
    """Remove a release, all of it at once for whoever looks."""
    grave = release.with_name(f".{release.name}.{os.getpid()}")
    shutil.rmtree(grave, ignore_errors=True)
    release.rename(grave)
    shutil.rmtree(grave)
