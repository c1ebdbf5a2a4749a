"""The command line, called in process, with the files that it is called on."""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pyflow.cli.main import main

DEPLOY = """
import pyflow

production = pyflow.Environment("production", tier="production", params={"instances": 4})
staging = pyflow.Environment("staging")

release = pyflow.Workflow(
    "release",
    params={"version": str, "fail": False, "instances": 1, "service": "shop"},
    locks=["service:shop"],
)


@release.task(effect=False)
def before() -> str:
    print("looking")
    return "1.0"


@release.task(depends_on=[before])
def deploy(ctx: pyflow.Context, version: str, fail: bool) -> str:
    ctx.record_change("lb/shop", before="1.0", after=version)
    if fail:
        raise ConnectionError("reset by peer")
    return version


@release.recovery(deploy)
def put_back(ctx: pyflow.RecoveryContext, fail: bool, version: str) -> None:
    if version == "stuck":
        raise OSError("cannot be put back")


@release.task(depends_on=[deploy])
def announce(version: str) -> None: ...


def make_release() -> pyflow.Workflow:
    return release


asking = pyflow.Workflow("asking", params={"version": str})
asking.add_approval("go", "Ship it?")


@asking.task(depends_on=["go"])
def ship(version: str) -> str:
    return version


keeping = pyflow.Workflow("keeping", params={"token": pyflow.Secret})


@keeping.task
def use(token: pyflow.Secret) -> None: ...


number = 3
"""


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class CommandLine:
    """Calls commands in a directory that has ``deploy.py``, with a journal beside it."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.environ = {"PYFLOW_JOURNAL": str(directory / "deploys.db")}
        self._capture = capture
        (directory / "deploy.py").write_text(DEPLOY)

    def __call__(self, *words: str) -> Said:
        self._capture.readouterr()
        code = main(list(words), self.environ)
        said = self._capture.readouterr()
        return Said(code, said.out, said.err)

    def run(self, *words: str, version: str = "2.0") -> dict[str, Any]:
        """Run the release, and return what is told of the run."""
        said = self("run", "deploy.py:release", "-p", f"version={version}", "--json", *words)
        return said.data["run"]


@contextmanager
def fresh_modules() -> Generator[None]:
    """Forget the modules of users, and the path, that commands have imported from."""
    known, path = set(sys.modules), sys.path[:]
    installed = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if (
                file
                and not name.startswith(("pyflow", "_pyflow"))
                and not file.startswith(installed)
            ):
                del sys.modules[name]
