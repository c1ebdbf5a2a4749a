"""What SSH refuses and how it speaks; a real sshd is in tests/integration."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import DefinitionError, PlatformError
from pyflow.platforms import SSH
from pyflow.probes import Callable
from pyflow.testing import check_platform

FAKE = """#!/bin/sh
# Stands for ssh: runs the remote command here, in a shell as a host would.
[ -e "$0.down" ] && { echo "no route to host" >&2; exit 255; }
for last; do :; done
exec sh -c "$last"
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ssh that reaches nobody but this host."""
    place = tmp_path / "bin" / "ssh"
    place.parent.mkdir()
    place.write_text(FAKE)
    place.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place.parent}:/usr/bin:/bin")
    return place


def platform(root: Path, **options: Any) -> SSH:
    place = f"{root}/it's {{host}}"
    given: dict[str, Any] = {
        "start": ["sh", "-c", 'mkdir -p "$0" && touch "$0/$1"', place, "{version}"],
        "stop": ["rm", "-f", f"{place}/{{version}}"],
        "status": ["sh", "-c", 'mkdir -p "$0" && ls "$0"', place],
    }
    return SSH(["a", "b", "c"], **{**given, **options})


class TestSSH:
    def test_keeps_the_contract(self, tmp_path: Path, fake: Path) -> None:
        """The platform keeps its contract, whatever is in the arguments."""
        make = lambda: platform(tmp_path)  # noqa: E731

        asyncio.run(check_platform(make, service="shop", version="2.0", settle="30s"))

    def test_asks_a_probe(self, tmp_path: Path, fake: Path) -> None:
        """An instance that runs is ready when its probe says so."""

        async def work() -> list[bool]:
            made = platform(
                tmp_path, ready=lambda host, _: Callable(lambda: host == "a", name=host)
            )
            await made.scale("shop", "2.0", 2)
            return [instance.ready for instance in (await made.observe("shop")).instances]

        assert asyncio.run(work()) == [True, False]

    def test_tells_transport_from_command(self, tmp_path: Path, fake: Path) -> None:
        """A host that is not reached is another error than a command that fails."""
        with pytest.raises(PlatformError, match="status on a: ssh ended with code 3"):
            asyncio.run(platform(tmp_path, status=["sh", "-c", "exit 3"]).observe("shop"))
        Path(f"{fake}.down").touch()
        with pytest.raises(PlatformError, match="a cannot be reached by ssh: no route to host"):
            asyncio.run(platform(tmp_path).observe("shop"))

    def test_needs_hosts(self, tmp_path: Path, fake: Path) -> None:
        """More instances than hosts are refused."""
        with pytest.raises(PlatformError, match="there are 3"):
            asyncio.run(platform(tmp_path).scale("shop", "2.0", 4))

    def test_refuses(self) -> None:
        """A host that could be an option, a host twice, and command lines in one text are refused."""
        with pytest.raises(DefinitionError, match="3 problems"):
            SSH(["-oProxyCommand=x", "a", "a"], start=["s"], stop=["s"], status="uptime")
