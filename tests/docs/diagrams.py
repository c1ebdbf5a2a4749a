"""The smaller diagrams of the documentation, drawn as SVG with the boxes of `docs.states`.

    PYTHONPATH=tests python tests/docs/diagrams.py

writes them anew.
"""

from __future__ import annotations

from pathlib import Path

from docs.states import BACK, BAD, GOOD, WAIT, Box, Look, across, arrow, page, words

__all__ = ["DIAGRAMS", "TASKS", "decided", "tasks"]

DOCS = Path(__file__).parents[2] / "docs"
SOFT = Look("#f4f7fb", "#9db6d3")

# A run is decided -------------------------------------------------------------------------

WORKFLOW = Box(20, 50, 110, ("workflow", "yours"))
PLAN = Box(200, 50, 110, ("plan", "checked"))
MACHINE = Box(380, 50, 130, ("machine", "decides, pure"), GOOD)
JOURNAL = Box(600, 50, 130, ("journal", "chained, durable"), WAIT)
TRAIL = Box(800, 50, 120, ("audit trail", "for people"), SOFT)
ENGINE = Box(380, 170, 130, ("engine", "carries out"))
FUNCTIONS = Box(600, 170, 130, ("your functions", "do it"), SOFT)
DECIDED = (WORKFLOW, PLAN, MACHINE, JOURNAL, TRAIL, ENGINE, FUNCTIONS)


def decided() -> str:
    """Return how data flow from a workflow to its audit trail."""
    left, right = MACHINE.x + 35, MACHINE.x + 95
    parts = [
        *(across(a, b) for a, b in ((WORKFLOW, PLAN), (PLAN, MACHINE), (MACHINE, JOURNAL))),
        across(JOURNAL, TRAIL),
        across(ENGINE, FUNCTIONS),
        arrow((left, ENGINE.y), (left, MACHINE.bottom)),
        arrow((right, MACHINE.bottom), (right, ENGINE.y)),
        words((WORKFLOW.right + PLAN.x) / 2, 66, "check"),
        words((MACHINE.right + JOURNAL.x) / 2, 66, "1. events"),
        words(right + 46, 137, "2. commands"),
        words(left - 46, 137, "happenings"),
    ]
    return page("How a run is decided", 940, 236, DECIDED, parts)


# The states of a task ---------------------------------------------------------------------

PENDING = Box(30, 140, 100, ("pending",))
RUNNING = Box(210, 140, 100, ("running",))
WAITING = Box(210, 50, 100, ("waiting",), WAIT)
SKIPPED = Box(30, 225, 100, ("skipped",), SOFT)
BLOCKED = Box(30, 290, 100, ("blocked",), SOFT)
CANCELLED = Box(30, 355, 100, ("cancelled",), SOFT)
FAILED = Box(420, 50, 110, ("failed",), BAD)
SUCCEEDED = Box(420, 140, 110, ("succeeded",), GOOD)
INTERRUPTED = Box(420, 230, 110, ("interrupted", "in doubt"), WAIT)
UNDOING = Box(640, 140, 100, ("undoing",), BACK)
UNDONE = Box(830, 95, 110, ("undone",), GOOD)
UNDO_FAILED = Box(830, 185, 110, ("undo_failed",), BAD)
TASKS = (
    *(PENDING, RUNNING, WAITING, SKIPPED, BLOCKED, CANCELLED),
    *(FAILED, SUCCEEDED, INTERRUPTED, UNDOING, UNDONE, UNDO_FAILED),
)


def tasks() -> str:
    """Return the common ways between the states of a task."""
    middle = UNDOING.y + UNDOING.height / 2
    up, down = RUNNING.x + 30, RUNNING.x + 70
    parts = [
        across(PENDING, RUNNING),
        across(WAITING, FAILED),
        across(RUNNING, SUCCEEDED),
        across(SUCCEEDED, UNDOING),
        arrow((up, RUNNING.y), (up, WAITING.bottom)),
        arrow((down, WAITING.bottom), (down, RUNNING.y)),
        words(up - 48, 122, "attempt failed"),
        words(down + 40, 122, "tried again"),
        arrow((PENDING.middle, PENDING.bottom), (PENDING.middle, SKIPPED.y)),
        *(
            arrow((12, middle), (12, box.y + 23), (box.x, box.y + 23))
            for box in (BLOCKED, CANCELLED)
        ),
        arrow((PENDING.x, middle), (12, middle), head=False),
        arrow((RUNNING.middle, RUNNING.bottom), (RUNNING.middle, 253), (INTERRUPTED.x, 253)),
        arrow((FAILED.right, 73), (690, 73), (690, UNDOING.y)),
        arrow((INTERRUPTED.right, 253), (690, 253), (690, UNDOING.bottom)),
        *(
            arrow((UNDOING.right, middle), (785, middle), (785, to.y + 23), (to.x, to.y + 23))
            for to in (UNDONE, UNDO_FAILED)
        ),
        words(RUNNING.middle + 72, 246, "its process died"),
    ]
    return page("The states of a task", 960, 416, TASKS, parts)


DIAGRAMS = {
    DOCS / "explanation/how-a-run-is-decided.svg": decided,
    DOCS / "reference/task-states.svg": tasks,
}


if __name__ == "__main__":
    for file, draw in DIAGRAMS.items():
        file.write_text(draw())
