"""A deployment whose secrets come from outside, and whose process dies in the middle of it."""

from __future__ import annotations

import os
from pathlib import Path

import pyflow
from pyflow import Engine, Secret, Workflow

DIES = "PYFLOW_TEST_DIES"


def secrets(root: Path) -> dict[str, Secret]:
    """Return a secret of each kind of provider, all of which read what is in *root* now."""
    vault = ["/bin/sh", "-c", f"echo called >> {root}/calls; cat {root}/vault"]
    return {
        "variable": Secret.from_env("PYFLOW_TEST_TOKEN"),
        "file": Secret.from_file(root / "file"),
        "command": Secret.from_command(vault, name="vault:shop"),
        "provider": Secret.from_provider((root / "provider").read_text, name="ours"),
    }


def deployment(root: Path) -> Workflow:
    """Return a workflow that notes what its secrets are, before and after the process has died."""
    workflow = Workflow("secretive", params=dict.fromkeys(secrets(root), Secret))

    def note(name: str, params: dict[str, Secret]) -> None:
        lines = [f"{key}={secret.reveal()}" for key, secret in params.items()]
        (root / name).write_text("\n".join(lines))

    @workflow.task
    def before(ctx: pyflow.Context) -> None:
        note("before", dict(ctx.params))
        ctx.log("\n".join(secret.reveal() for secret in ctx.params.values()))

    @workflow.task(depends_on=["before"], on_interrupt="rerun")
    def after(ctx: pyflow.Context) -> None:
        if os.environ.get(DIES):
            os._exit(9)
        note("after", dict(ctx.params))
        ctx.log("\n".join(secret.reveal() for secret in ctx.params.values()))

    return workflow


def main(root: str) -> None:
    """Run it until it dies."""
    place = Path(root)
    with Engine(journal=str(place / "deploys.db")) as engine:
        engine.execute(deployment(place), params=secrets(place))
