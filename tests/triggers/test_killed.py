"""A process that is killed at any request, and the one that takes its run up: one pipeline in all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pyflow
from support.pipelines import KITS, brief, kit, one_task

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
sys.path[:0] = [{src!r}, {tests!r}]
import pyflow
from support.pipelines import KITS, one_task
class Place:
    base_url = {base_url!r}
trigger = KITS[{name!r}][1](Place()).trigger()
pyflow.Engine(journal={journal!r}).execute(one_task(trigger))
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("name", KITS)
def test_killed(name: str, number: int, when: str, tmp_path: Path) -> None:
    """Killed while a request was on its way, before or after the service had acted, it starts none twice."""
    journal = str(tmp_path / "deploys.db")
    with kit(name) as at:
        answer = at.server.answer
        child: list[subprocess.Popen[bytes]] = []

        def deadly(request: Any) -> Any:
            is_last = len(at.server.received) == number
            step = None if is_last and when == "before" else answer(request)
            if is_last:
                os.kill(child[0].pid, signal.SIGKILL)
                child[0].wait()
            return step or answer(request)

        at.server.answer = deadly
        code = CHILD.format(
            src=str(ROOT / "src"),
            tests=str(ROOT / "tests"),
            base_url=at.server.base_url,
            name=name,
            journal=journal,
        )
        child.append(subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL))
        assert child[0].wait(60) == -signal.SIGKILL
        at.server.answer = answer

        with pyflow.Engine(journal=journal) as engine:
            [run_id] = engine.journal.runs()
            result = engine.resume(run_id, one_task(at.trigger(watch=brief())))

        assert result.status == "succeeded"
        assert (at.starts, len(at.started())) == (1, 1)
