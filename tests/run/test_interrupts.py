"""Ctrl-C: what is under way ends, finalizers run, and the program is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pyflow

PROGRAM = """
import pyflow
workflow = pyflow.Workflow("w")

@workflow.task
def wait(ctx: pyflow.Context) -> None:
    print("waiting", flush=True)
    ctx.sleep("1h")

@workflow.recovery(wait)
def undo() -> None:
    print("undone", flush=True)

workflow.add_finalizer("last", lambda: print("finalized", flush=True))
engine = pyflow.Engine()
try:
    engine.execute(workflow)
except KeyboardInterrupt:
    print(engine.trail(engine.journal.runs()[0]).outcome)
    raise SystemExit(130)
"""


NOTEBOOK = PROGRAM.replace(
    "    engine.execute(workflow)\n",
    "    try:\n        loop.run_until_complete(cell())\n    finally:\n        loop.close()\n",
).replace(
    "engine = pyflow.Engine()",
    "engine = pyflow.Engine()\nimport asyncio\nloop = asyncio.new_event_loop()\n"
    "async def cell(): engine.execute(workflow)",
)


class TestInterrupts:
    @pytest.mark.parametrize("program", [PROGRAM, NOTEBOOK], ids=["script", "notebook"])
    def test_end_the_run_in_order(self, program: str) -> None:
        """SIGINT cancels: waits are cut short, nothing is undone unasked, finalizers run once."""
        source = str(Path(pyflow.__file__).parents[1])
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": source},
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"

            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)

        assert out.splitlines() == ["finalized", "cancelled"]
        assert err == ""
        assert process.returncode == 130
