"""A real deployment on this machine, and one that rolls back: `make demo`.

Three versions of a small HTTP service are deployed by the workflow in
`demo_deployment.py`, as real processes, while a client never stops sending
requests: 1.0 is the beginning, 1.1 a good release, 1.2 a broken one.
Nothing outside a temporary directory is touched, nothing listens beyond
127.0.0.1, and nothing is left behind, whatever happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
import traceback
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import demo_service
import pyflow
from demo_deployment import Host, make_workflow

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PAUSE_S = 0.01  # between two requests of the client
WARM_UP_S = 0.5  # what a version needs after its start, until it is healthy


@dataclass(frozen=True, slots=True)
class Chapter:
    """One deployment of the story."""

    version: str
    title: str
    healthy: bool
    """Whether the build is a good one; the deployment is not told."""
    health_timeout: str
    """How long to wait for it; short for the one that is worth no longer wait of yours."""
    expected: str
    """How the run should end."""


CHAPTERS = (
    Chapter("1.0", "Deploy 1.0, the first release", True, "10s", "succeeded"),
    Chapter("1.1", "Deploy 1.1, while a client keeps sending requests", True, "10s", "succeeded"),
    Chapter("1.2", "Deploy 1.2, which starts and then answers 500", False, "2s", "rolled_back"),
)


# The client -------------------------------------------------------------------------------


class Client(threading.Thread):
    """Sends request after request to the front door, and counts what came back."""

    def __init__(self, url: str) -> None:
        super().__init__(name="client", daemon=True)
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._place = urlsplit(url).netloc
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(PAUSE_S):
            try:
                self.answers[self._ask()] += 1
            except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
                self.failures.append(repr(error))

    def stop(self) -> None:
        self._over.set()
        if self.is_alive():
            self.join()

    def _ask(self) -> str:
        """Return the version that answered."""
        connection = http.client.HTTPConnection(self._place, timeout=10)
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(f"status {response.status}: {body!r}")
        return json.loads(body)["version"]


# The screen -------------------------------------------------------------------------------

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
COLOURS = {"✓": 32, "✗": 31, "↩": 33}
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


async def follow(run: pyflow.Run, screen: Screen) -> None:
    """Tell what happens in *run*, from its records, as they are made."""
    notes: dict[str, list[str]] = {}
    start = None
    async for record in run.events():
        start = start or record.at
        data = record.data
        name = data.get("intent") or record.task or ""
        if (note := note_of(record.kind, data)) is not None:
            notes.setdefault(name, []).append(note)
        elif (mark := MARKS.get(record.kind)) is not None:
            noted = [] if record.kind == "logged" else notes.pop(name, [])
            what = noted[-1] if noted else words_of(record.kind, data)
            screen.step((record.at - start).total_seconds(), mark, name, what)


def note_of(kind: str, data: dict[str, Any]) -> str | None:
    """Return what a step tells before it ends, in words."""
    match kind:
        case "change_recorded":
            before, after = (data.get(key) or "none" for key in ("before", "after"))
            return f"{data['resource']}: {before} → {after}"
        case "reading_taken":
            times = len(data["evidence"].get("readings", [1]))
            row = f", {times} times in a row" if times > 1 else ""
            looks = f", at look {data['calls']}" if data.get("calls", 1) > 1 else ""
            return f"{data['health']}{row}{looks}"
        case "attempt_failed":
            return f"{data['error']['type'].rpartition('.')[2]}: {data['error']['message']}"
        case _:
            return None


def words_of(kind: str, data: dict[str, Any]) -> str:
    """Return the end of a step, where it has told nothing itself, in words."""
    match kind:
        case "logged":
            return data["message"]
        case "task_succeeded":
            output: dict[str, Any] = data.get("output") or {}
            return ", ".join(f"{key}={value}" for key, value in output.items())
        case "task_blocked":
            return "not started"
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
    room = width - names - len("    0.00 s   0.00 s  ")
    scale = room / max(bar.end_s for bar in shown)
    yield f"  {'':<{names}}   start     took"
    for bar in shown:
        took_s = bar.end_s - bar.start_s
        left = min(room - 1, int(bar.start_s * scale))
        long = max(1, min(room - left, round(took_s * scale)))
        yield (
            f"  {bar.name:<{names}}  {bar.start_s:4.2f} s   {took_s:4.2f} s  "
            f"{' ' * left}{bar.fill * long}"
        )


# The story --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What everything came to."""

    results: dict[str, pyflow.Result]
    answers: Counter[str]
    failures: list[str]
    live: str | None
    running: tuple[str, ...]

    @property
    def requests(self) -> int:
        return self.answers.total() + len(self.failures)


async def tell(host: Host, screen: Screen) -> Outcome:
    """Deploy the three versions, one after another."""
    results: dict[str, pyflow.Result] = {}
    with ended_by_signals(screen), pyflow.Engine() as engine:
        for chapter in CHAPTERS:
            demo_service.build(
                host.builds, chapter.version, healthy=chapter.healthy, warm_up_s=WARM_UP_S
            )
        url = await asyncio.to_thread(host.open_front_door)
        client = Client(url)
        screen.say(f"  directory   {host.root}")
        screen.say(f"  front door  {url}/")
        try:
            for chapter in CHAPTERS:
                screen.title(chapter.title)
                results[chapter.version] = await deploy(engine, host, chapter, screen)
                if chapter is CHAPTERS[0]:
                    client.start()
        finally:
            client.stop()
    return Outcome(results, client.answers, client.failures, host.live, host.running)


async def deploy(
    engine: pyflow.Engine, host: Host, chapter: Chapter, screen: Screen
) -> pyflow.Result:
    """Run the workflow once, and tell how it goes."""
    run = engine.start(
        make_workflow(),
        params={"version": chapter.version, "health_timeout": chapter.health_timeout},
        environment=pyflow.Environment("this-machine", params={"host": host}),
    )
    telling = asyncio.create_task(follow(run, screen))
    try:
        result = await run
        if result.status == "held":  # it waits for a person to decide, and nobody is asked here
            result = await give_up(run)
    except asyncio.CancelledError:
        await give_up(run)
        raise
    finally:
        await telling
    screen.say(
        f"  {chapter.version} {result.status} in {result.metrics.wall_s:.2f} s; {host.live} is live"
    )
    return result


async def give_up(run: pyflow.Run) -> pyflow.Result:
    """Have what was done undone; where that is refused, end the run as it is."""
    with contextlib.suppress(pyflow.EngineError):  # it may have ended by itself
        run.roll_back(by="demo", reason="the demo ends early")
    result = await run
    if result.status == "held":
        run.cancel(by="demo", reason="the demo ends early")
        result = await run
    return result


@contextlib.contextmanager
def ended_by_signals(screen: Screen) -> Generator[None]:
    """Let Ctrl-C and its kin cancel this task, once: cleaning up is not to be cut short."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def end(signum: signal.Signals) -> None:
        if not task.cancelling():
            screen.say(f"\n{signum.name}: taking back what was done")
            task.cancel()

    for signum in SIGNALS:
        loop.add_signal_handler(signum, end, signum)
    try:
        yield
    finally:
        for signum in SIGNALS:
            loop.remove_signal_handler(signum)
            signal.signal(signum, signal.SIG_IGN)


# The end ----------------------------------------------------------------------------------


def report(outcome: Outcome, screen: Screen) -> None:
    """Print the timelines, the audit trail of the rollback, and what clients saw."""
    for version in ("1.1", "1.2"):
        screen.title(f"Timeline of {version}")
        for line in timeline(outcome.results[version].audit_trail, screen.width):
            screen.say(line)
    screen.title("Audit trail of 1.2")
    screen.say(str(outcome.results["1.2"].audit_trail))
    screen.title("What the client saw meanwhile")
    screen.say(f"  {outcome.requests} requests, {len(outcome.failures)} failed")
    for version, count in sorted(outcome.answers.items()):
        screen.say(f"  {count} answered by {version}")


def shortfalls(outcome: Outcome) -> list[str]:
    """Return what did not end as it should, in sentences."""
    wrong = [
        f"{version} should have ended as {expected}, and ended as {seen}: {result.error}"
        for version, expected in ((chapter.version, chapter.expected) for chapter in CHAPTERS)
        for result in [outcome.results[version]]
        if (seen := result.status) != expected
    ]
    if outcome.live != "1.1":
        wrong.append(f"1.1 should be live, and {outcome.live} is")
    if outcome.running != ("front-door", "1.1"):
        wrong.append(f"the front door and 1.1 should run, and {outcome.running} do")
    if outcome.failures:
        wrong.append(f"{len(outcome.failures)} requests failed, such as {outcome.failures[0]}")
    if set(outcome.answers) != {"1.0", "1.1"}:
        wrong.append(f"1.0 and 1.1 should have answered, and {set(outcome.answers)} did")
    return wrong


def play(screen: Screen) -> list[str]:
    """Tell the story, clean up, report; return what went wrong."""
    screen.title("pyflow: blue-green deployments on this machine, with real processes")
    with tempfile.TemporaryDirectory(prefix="pyflow-demo-") as directory:
        host = Host(Path(directory))
        try:
            outcome = asyncio.run(tell(host, screen))
        finally:
            host.close()
    report(outcome, screen)
    left = [f"{name} still runs" for name in host.running]
    left += [f"{directory} is still there" for _ in [0] if Path(directory).exists()]
    return shortfalls(outcome) + left


def main() -> int:
    """Return 0 if everything ended as it should, else 1 with one clear line."""
    for signum in SIGNALS:
        signal.signal(signum, signal.default_int_handler)  # from here on each of them cleans up
    stdout: Any = sys.stdout
    if hasattr(stdout, "reconfigure"):
        stdout.reconfigure(errors="replace")  # a terminal that lacks a mark shows another one
    screen = Screen()
    try:
        wrong = play(screen)
    except (KeyboardInterrupt, asyncio.CancelledError):
        wrong = ["it was interrupted; everything is stopped and removed"]
    except Exception as error:  # noqa: BLE001 - the clean-up is done, and the reason is told
        at = traceback.extract_tb(error.__traceback__)[-1]
        wrong = [f"{error!r}, at {at.filename}:{at.lineno}"]
    if wrong:
        print(f"demo: {'; '.join(wrong)}", file=sys.stderr)
        return 1
    screen.say("\nAll as it should be: 1.1 is the version that clients got, 1.2 never was.")
    screen.say("Every process is stopped and the directory is removed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
