"""What the demo shows: steps as they happen, and how long each of them took."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pyflow

MARKS = {
    "logged": "·",
    "task_succeeded": "✓",
    "task_failed": "✗",
    "task_skipped": "-",
    "task_blocked": "-",
    "task_cancelled": "-",
    "intent_raised": "↩",
    "undo_succeeded": "↩",
    "undo_failed": "✗",
    "undo_blocked": "✗",
}
COLOURS = {"✓": 32, "✗": 31, "↩": 33, "»": 36}
NAME_CHARS = 18
BOLD = 1


class Screen:
    """Prints plain lines, with a little colour where a person is looking."""

    def __init__(self) -> None:
        self.width = max(72, min(100, shutil.get_terminal_size((100, 24)).columns))
        self._coloured = sys.stdout.isatty() and not (
            os.environ.get("NO_COLOR") or os.environ.get("CI") or os.environ.get("TERM") == "dumb"
        )

    def say(self, text: str = "") -> None:
        print(text, flush=True)

    def tell(self, text: str) -> None:
        """Print a paragraph."""
        for line in textwrap.wrap(text, self.width - 2):
            self.say(f"  {line}")

    def title(self, text: str) -> None:
        self.say(f"\n{self.paint(text, BOLD)}")

    def step(self, at_s: float, mark: str, name: str, what: str) -> None:
        """Print a line of progress; what is long goes on below itself."""
        head = f"  {at_s:5.2f} s  "
        indent = " " * (len(head) + len(mark) + 2 + NAME_CHARS + 2)
        first, *rest = textwrap.wrap(what, self.width - len(indent)) or [""]
        mark = self.paint(mark, COLOURS.get(mark, 0))
        self.say(f"{head}{mark}  {name:<{NAME_CHARS}}  {first}".rstrip())
        for line in rest:
            self.say(indent + line)

    def paint(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._coloured and code else text


# What happens -----------------------------------------------------------------------------


async def follow(run: pyflow.Run, screen: Screen, clients: Callable[[str], str | None]) -> None:
    """Tell what happens in *run*, from its records, as they are made.

    *clients* says what the clients saw until a task was over, for those that
    let some time pass.
    """
    notes: dict[str, list[tuple[str, str]]] = {}
    waiting: list[str] = []
    start = None
    async for record in run.events():
        start = start or record.at
        at_s, data = (record.at - start).total_seconds(), record.data
        name = data.get("intent") or record.task or ""
        if (note := note_of(record.kind, data)) is not None:
            notes.setdefault(name, []).append((record.kind, note))
        elif record.kind == "task_blocked":
            waiting.append(name)
        elif (mark := MARKS.get(record.kind)) is not None:
            if waiting:
                screen.step(at_s, "-", *not_started(waiting))
                waiting.clear()
            noted = [] if record.kind == "logged" else notes.pop(name, [])
            screen.step(at_s, mark, name, best(record.kind, noted) or words_of(record.kind, data))
            if record.kind in ("task_succeeded", "task_failed") and (seen := clients(name)):
                screen.step(at_s, "»", "clients", seen)


def not_started(names: list[str]) -> tuple[str, str]:
    """Return what to say of tasks that are not started."""
    more = f"not started, and so are the {len(names) - 1} after it" if names[1:] else "not started"
    return names[0], more


def best(kind: str, noted: list[tuple[str, str]]) -> str | None:
    """Return the most telling of the notes on a step that has ended."""
    changes = [note for of, note in noted if of == "change_recorded"]
    if changes and not kind.endswith("_failed"):
        return changes[-1]
    return noted[-1][1] if noted else None


def note_of(kind: str, data: dict[str, Any]) -> str | None:
    """Return what a step tells before it ends, in words."""
    match kind:
        case "change_recorded":
            before, after = (in_words(data.get(key)) for key in ("before", "after"))
            return f"{data['resource']}: {before} → {after}"
        case "reading_taken":
            times = len(data["evidence"].get("readings", [1]))
            row = f", {times} times in a row" if times > 1 else ""
            looks = f", at look {data['calls']}" if data.get("calls", 1) > 1 else ""
            return f"{data['health']}{row}{looks}"
        case "measurement_taken":
            judgement: dict[str, Any] = data.get("judgement") or {}
            return f"{data['verdict']}: {judgement.get('reason', '')}"
        case "attempt_failed":
            return f"{data['error']['type'].rpartition('.')[2]}: {data['error']['message']}"
        case _:
            return None


def in_words(value: Any) -> str:
    """Return one side of a change; weights are shares by version."""
    if isinstance(value, dict):
        weights = cast("dict[str, float]", value)
        return ", ".join(f"{weight:g} % {version}" for version, weight in sorted(weights.items()))
    return "none" if value in (None, "") else str(value)


def words_of(kind: str, data: dict[str, Any]) -> str:
    """Return the end of a step, where it has told nothing itself, in words."""
    match kind:
        case "logged":
            return data["message"]
        case "task_succeeded":
            output: dict[str, Any] = data.get("output") or {}
            return ", ".join(f"{key}={value}" for key, value in output.items())
        case "intent_raised":
            return data["reason"]
        case "undo_succeeded":
            return "nothing to undo"
        case _:
            return f"{kind.removeprefix('task_')}: {data['reason']}"


# The timeline -----------------------------------------------------------------------------

FILLS = {"task_started": "█", "undo_started": "▒"}
ENDS = ("task_succeeded", "task_failed", "undo_succeeded", "undo_failed")


@dataclass(slots=True)
class Bar:
    """One task, or one undo, on the timeline."""

    name: str
    fill: str
    start_s: float
    end_s: float


def bars(trail: pyflow.AuditTrail) -> list[Bar]:
    """Return when each task and each undo began and ended, in order."""
    found: dict[str, Bar] = {}
    for record in trail:
        at_s = (record.at - trail[0].at).total_seconds()
        name = f"undo {record.task}" if record.kind.startswith("undo_") else str(record.task)
        if record.kind in FILLS:
            found.setdefault(name, Bar(name, FILLS[record.kind], at_s, at_s))
        elif record.kind in ENDS and name in found:
            found[name].end_s = at_s
    return list(found.values())


def timeline(trail: pyflow.AuditTrail, width: int) -> Iterator[str]:
    """Yield the timeline of a run, a line for each task, at most *width* wide."""
    shown = bars(trail)
    names = max(len(bar.name) for bar in shown)
    room = width - names - len("    00.00 s   00.00 s  ")
    scale = room / max(bar.end_s for bar in shown)
    yield f"  {'':<{names}}    start      took"
    for bar in shown:
        took_s = bar.end_s - bar.start_s
        left = min(room - 1, int(bar.start_s * scale))
        long = max(1, min(room - left, round(took_s * scale)))
        yield (
            f"  {bar.name:<{names}}  {bar.start_s:5.2f} s   {took_s:5.2f} s  "
            f"{' ' * left}{bar.fill * long}"
        )
