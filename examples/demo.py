"""A release under load on this machine, and a broken one that rolls back: `make demo`.

    python examples/demo.py [canary | symlink]

Three versions of a small HTTP service are real processes here, and a client
never stops sending requests: 1.0 is there, 1.1 is a good release, 1.2 a
broken one. Where HAProxy is installed the releases go out as canaries, a
share of the traffic at a time (`demo_canary.py`); otherwise a link is
switched, for all of it at once (`demo_deployment.py`). Nothing outside a
temporary directory is touched, nothing listens beyond 127.0.0.1, and nothing
is left behind, whatever happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
import traceback
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import demo_canary
import demo_service
import pyflow
from demo_client import Client, Tally
from demo_deployment import Host, make_workflow
from demo_screen import Screen, follow, timeline

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RPS = 100
WARM_UP_S = 0.5  # what a version needs after its start, until it is healthy
FAILING = 4  # the broken release of the canary fails one request in so many
SLACK = 5  # requests that were under way, and rounding


@dataclass(frozen=True, slots=True)
class Chapter:
    """One release of the story."""

    version: str
    title: str
    expected: str
    """How the run should end."""
    build: dict[str, Any] = field(default_factory=dict[str, Any])
    """What is said of its build; the deployment is not told."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the deployment is told."""
    failing: float = 0.0
    """The share of all requests that may fail meanwhile."""


# The two places of the story --------------------------------------------------------------


class Place(Protocol):
    """Where the story takes place, and how a release goes out there."""

    @property
    def title(self) -> str: ...
    @property
    def moral(self) -> str: ...
    @property
    def chapters(self) -> Sequence[Chapter]: ...
    @property
    def builds(self) -> Path: ...
    @property
    def url(self) -> str: ...
    @property
    def at_rest(self) -> tuple[str, ...]:
        """What should run in the end."""
        ...

    async def open(self, screen: Screen) -> None: ...
    def start(self, engine: pyflow.Engine, chapter: Chapter) -> pyflow.Run: ...
    async def live(self) -> str: ...
    async def running(self) -> tuple[str, ...]: ...
    def close(self) -> None: ...


class BehindHAProxy:
    """Canaries: more and more of the traffic, judged by the proxy's own counters."""

    title = "pyflow: canaries behind HAProxy on this machine, with real processes"
    moral = "1.1 went out with every request answered, and 1.2 met only its share of them."
    chapters = (
        Chapter("1.1", "Roll out 1.1, a good release", "succeeded"),
        Chapter(
            "1.2",
            f"Roll out 1.2, which fails one request in {FAILING}",
            "rolled_back",
            build={"failing": FAILING},
            failing=demo_canary.SHARE_PCT / 100 / FAILING,
        ),
    )
    at_rest = ("1.1",) * demo_canary.INSTANCES

    def __init__(self, root: Path, haproxy: str) -> None:
        self._shop = demo_canary.Shop(root, haproxy)
        self.builds, self.url = self._shop.builds, self._shop.url

    async def open(self, screen: Screen) -> None:
        demo_service.build(self.builds, "1.0")
        await self._shop.open("1.0")
        screen.tell("HAProxy has two instances of 1.0 behind it, which answer all requests.")

    def start(self, engine: pyflow.Engine, chapter: Chapter) -> pyflow.Run:
        return engine.start(demo_canary.make_workflow(self._shop, chapter.version))

    async def live(self) -> str:
        return " and ".join(sorted(await self._shop.weights()))

    async def running(self) -> tuple[str, ...]:
        return await self._shop.running()

    def close(self) -> None:
        asyncio.run(self._shop.close())


class BySymlink:
    """Blue-green by hand: a link is switched once the new version is healthy."""

    title = "pyflow: blue-green deployments on this machine, with real processes"
    moral = "1.1 went out with every request answered, and 1.2 never met one."
    chapters = (
        Chapter("1.0", "Deploy 1.0, the first release", "succeeded"),
        Chapter("1.1", "Deploy 1.1, while a client keeps sending requests", "succeeded"),
        Chapter(
            "1.2",
            "Deploy 1.2, which starts and then answers 500",
            "rolled_back",
            build={"healthy": False},
            params={"health_timeout": "2s"},
        ),
    )
    at_rest = ("front-door", "1.1")

    def __init__(self, root: Path) -> None:
        self._host = Host(root)
        self.builds = self._host.builds
        self.url = ""

    async def open(self, screen: Screen) -> None:
        self.url = await asyncio.to_thread(self._host.open_front_door)
        screen.tell(
            "A link says which version is live. With HAProxy 2.5 or newer, this is a canary."
        )

    def start(self, engine: pyflow.Engine, chapter: Chapter) -> pyflow.Run:
        return engine.start(
            make_workflow(),
            params={"version": chapter.version, **chapter.params},
            environment=pyflow.Environment("this-machine", params={"host": self._host}),
        )

    async def live(self) -> str:
        return str(self._host.live)

    async def running(self) -> tuple[str, ...]:
        return self._host.running

    def close(self) -> None:
        self._host.close()


def make_place(root: Path, how: str | None) -> Place:
    """Return the place of the story: the canary, if HAProxy is there and nobody says otherwise.

    Raises:
        ValueError: There is no such story, or nothing to tell it with.
    """
    if how not in (None, "canary", "symlink"):
        raise ValueError(f"{how!r} is no demo; say canary or symlink, or nothing")
    haproxy = demo_canary.find_haproxy() if how != "symlink" else None
    if haproxy is not None:
        return BehindHAProxy(root, haproxy)
    if how == "canary":
        raise ValueError("the canary needs HAProxy 2.5 or newer, and there is none on PATH")
    return BySymlink(root)


# The story --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What everything came to."""

    results: dict[str, pyflow.Result]
    tallies: dict[str, Tally]
    """What the client saw while each version was rolled out."""
    total: Tally
    live: str
    running: tuple[str, ...]


async def tell(place: Place, screen: Screen) -> Outcome:
    """Roll the versions out, one after another."""
    results: dict[str, pyflow.Result] = {}
    tallies: dict[str, Tally] = {}
    with ended_by_signals(screen), pyflow.Engine() as engine:
        for chapter in place.chapters:
            warm_up = {"warm_up_s": WARM_UP_S}
            demo_service.build(place.builds, chapter.version, **warm_up, **chapter.build)
        await place.open(screen)
        screen.say(f"  front door  {place.url}/")
        client = Client(place.url, RPS)
        try:
            for chapter in place.chapters:
                if chapter.version != "1.0":
                    client.start()
                before = client.tally()
                screen.title(chapter.title)
                results[chapter.version] = await deploy(engine, place, chapter, screen, client)
                tallies[chapter.version] = client.tally() - before
        finally:
            client.stop()
        return Outcome(results, tallies, client.tally(), await place.live(), await place.running())


async def deploy(
    engine: pyflow.Engine, place: Place, chapter: Chapter, screen: Screen, client: Client
) -> pyflow.Result:
    """Run the rollout once, and tell how it goes."""
    before = client.tally()

    def clients(task: str) -> str | None:
        nonlocal before
        seen = client.tally()
        recent = seen - before
        if not task.startswith(("check_", "verify_")) or recent.requests < RPS / 10:
            return None
        before = seen
        return str(recent)

    run = place.start(engine, chapter)
    telling = asyncio.create_task(follow(run, screen, clients))
    try:
        result = await run
        if result.status == "held":  # it waits for a person to decide, and nobody is asked here
            result = await give_up(run)
    except asyncio.CancelledError:
        await give_up(run)
        raise
    finally:
        await telling
    live = await place.live()
    took = f"{chapter.version} {result.status} in {result.metrics.wall_s:.2f} s"
    screen.say(f"  {took}; {live} is live")
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
    for version in ("1.1", "1.2"):
        screen.say(f"  while {version} went out  {outcome.tallies[version]}")
    total = outcome.total
    screen.say(f"  {total.requests} requests, {len(total.failures)} failed")
    for version, count in sorted(total.answers.items()):
        screen.say(f"  {count} answered by {version}")


def shortfalls(place: Place, outcome: Outcome) -> list[str]:
    """Return what did not end as it should, in sentences."""
    wrong: list[str] = []
    for chapter in place.chapters:
        version, result = chapter.version, outcome.results[chapter.version]
        if result.status != chapter.expected:
            wrong.append(
                f"{version} should have ended as {chapter.expected}, and ended as "
                f"{result.status}: {result.error}"
            )
        seen = outcome.tallies[version]
        may_fail = int(chapter.failing * seen.requests) + SLACK if chapter.failing else 0
        if len(seen.failures) > may_fail:
            wrong.append(
                f"at most {may_fail} of {seen.requests} requests should have failed while "
                f"{version} went out, and {len(seen.failures)} did, such as {seen.failures[0]}"
            )
    if outcome.live != "1.1":
        wrong.append(f"1.1 should be live, and {outcome.live} is")
    if outcome.running != place.at_rest:
        wrong.append(f"{place.at_rest} should run, and {outcome.running} do")
    if not {"1.0", "1.1"} <= set(outcome.total.answers):
        wrong.append(f"1.0 and 1.1 should have answered, and {set(outcome.total.answers)} did")
    return wrong


def play(screen: Screen, how: str | None) -> list[str]:
    """Tell the story, clean up, report; return what went wrong."""
    with tempfile.TemporaryDirectory(prefix="pyflow-demo-") as directory:
        place = make_place(Path(directory), how)
        screen.title(place.title)
        screen.say(f"  directory   {directory}")
        try:
            outcome = asyncio.run(tell(place, screen))
        finally:
            place.close()
    report(outcome, screen)
    wrong = shortfalls(place, outcome)
    if Path(directory).exists():
        wrong.append(f"{directory} is still there")
    if not wrong:
        screen.say(f"\nAll as it should be: {place.moral}")
        screen.say("Every process is stopped and the directory is removed.")
    return wrong


def main() -> int:
    """Return 0 if everything ended as it should, else 1 with one clear line."""
    for signum in SIGNALS:
        signal.signal(signum, signal.default_int_handler)  # from here on each of them cleans up
    stdout: Any = sys.stdout
    if hasattr(stdout, "reconfigure"):
        stdout.reconfigure(errors="replace")  # a terminal that lacks a mark shows another one
    how = sys.argv[1] if len(sys.argv) > 1 else None
    try:
        wrong = play(Screen(), how)
    except (KeyboardInterrupt, asyncio.CancelledError):
        wrong = ["it was interrupted; everything is stopped and removed"]
    except Exception as error:  # noqa: BLE001 - the clean-up is done, and the reason is told
        at = traceback.extract_tb(error.__traceback__)[-1]
        wrong = [f"{error!r}, at {at.filename}:{at.lineno}"]
    if wrong:
        print(f"demo: {'; '.join(wrong)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
