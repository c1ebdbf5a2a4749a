"""The demo: run as a newcomer runs it, interrupted, and its deployment step by step."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow import probes
from pyflow.probes import HTTP

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE_S = 180


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    return import_module("demo_deployment")


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    return import_module("demo")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    return import_module("demo_service")


@pytest.fixture
def build(service: Any) -> Callable[..., Path]:
    return service.build


@pytest.fixture
def host(deployment: Any, tmp_path: Path) -> Iterator[Any]:
    host = deployment.Host(tmp_path / "host")
    yield host
    host.close()


def start_demo(temporary: Path, how: str = "symlink", **environ: str) -> subprocess.Popen[str]:
    """Start the demo with *temporary* as the place for temporary directories."""
    kept = {key: value for key, value in os.environ.items() if key not in ("CI", "NO_COLOR")}
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / "demo.py"), how],
        env={**kept, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(temporary), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def pids(output: str) -> list[int]:
    """Return the ids of the processes that the demo says it has started."""
    return sorted({int(pid) for pid in re.findall(r"none → pid (\d+)", output)})


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def run_to_end(workflow: pyflow.Workflow, version: str, host: Any) -> pyflow.Result:
    with pyflow.Engine() as engine:
        return engine.execute(workflow, params={"version": version, "host": host})


def refuse() -> None:
    raise ValueError("not today")


def part(deployment: Any) -> pyflow.Workflow:
    """Return a workflow for some of the steps alone."""
    workflow = pyflow.Workflow("part", params={"version": str, "host": deployment.Host})
    workflow.add_task("nothing", lambda: None)
    return workflow


def then(workflow: pyflow.Workflow, fn: Callable[..., None], *, after: str) -> pyflow.Workflow:
    """Add *fn* as the last task."""
    workflow.add_task(fn.__name__, fn, depends_on=[after])
    return workflow


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    return import_module("demo_canary")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES)
    return import_module("demo_screen")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, str, Path]:
    temporary = tmp_path_factory.mktemp("demo")
    process = start_demo(temporary, COLUMNS="80", PYTHONIOENCODING="utf-8")
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err, temporary


class TestDemo:
    def test_ends_well(self, ended: tuple[int, str, str, Path]) -> None:
        """The demo ends with 0 and has nothing to complain of."""
        code, out, err, _ = ended

        assert (code, err) == (0, ""), out

    def test_tells_each_outcome(self, ended: tuple[int, str, str, Path]) -> None:
        """Each deployment has a line for its result, which says what is live then."""
        out = ended[1]

        assert re.search(r"1\.0 succeeded in .* s; 1\.0 is live", out)
        assert re.search(r"1\.1 succeeded in .* s; 1\.1 is live", out)
        assert re.search(r"1\.2 rolled_back in .* s; 1\.1 is live", out)
        assert "1.2 answers 500 after 2s: the" in out

    def test_shows_what_clients_see(self, ended: tuple[int, str, str, Path]) -> None:
        """What clients saw up to the end of a check stands below it."""
        assert re.search(r"✓  verify_front_door .*\n.*»  clients +\d+ requests: ", ended[1])

    def test_says_what_else_there_is(self, ended: tuple[int, str, str, Path]) -> None:
        """Without HAProxy the newcomer learns what it would show."""
        assert "With HAProxy 2.5 or newer, this is a canary" in " ".join(ended[1].split())

    def test_keeps_answering(self, ended: tuple[int, str, str, Path]) -> None:
        """No request of the client failed, and both good versions answered some."""
        out = ended[1]

        found = re.search(
            r"(\d+) requests, 0 failed\n +(\d+) answered by 1\.0\n +(\d+) answered by 1\.1\n", out
        )
        assert found
        total, by_old, by_new = map(int, found.groups())
        assert total == by_old + by_new > by_old > 0

    def test_undoes_the_broken_release(self, ended: tuple[int, str, str, Path]) -> None:
        """The rollback stops the instance and removes the release, and the audit trail says so."""
        out = ended[1]

        assert re.search(r"↩  start_instance +process 1\.2: pid \d+ → none", out)
        assert re.search(r"↩  lay_down_release +releases/1\.2: laid down → none", out)
        assert re.search(r"outcome decided +rolled_back: wait_until_healthy failed", out)
        assert re.search(r"run finished +rolled_back, \d+ records", out)

    def test_fits_the_terminal(self, ended: tuple[int, str, str, Path]) -> None:
        """Everything before the audit trail fits 80 columns and carries no colour codes."""
        told = ended[1].partition("Audit trail")[0]

        assert max(map(len, told.splitlines())) <= 80
        assert "\x1b" not in ended[1]

    def test_leaves_nothing(self, ended: tuple[int, str, str, Path]) -> None:
        """No process and no directory is left."""
        _, out, _, temporary = ended

        assert len(pids(out)) == 3
        assert [pid for pid in pids(out) if is_running(pid)] == []
        assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
class TestInterrupt:
    def test_cleans_up(self, signum: signal.Signals, tmp_path: Path) -> None:
        """A signal in the middle of a deployment has it rolled back and leaves nothing."""
        process = start_demo(tmp_path)
        assert process.stdout is not None
        seen: list[str] = []
        for line in process.stdout:
            seen.append(line)
            if "·  wait_until_healthy" in line and "1.1" in "".join(seen):
                process.send_signal(signum)
                break
        rest, err = process.communicate(timeout=PATIENCE_S)
        out = "".join(seen) + rest

        assert process.returncode == 1
        assert err == "demo: it was interrupted; everything is stopped and removed\n"
        assert re.search(r"↩  start_instance +process 1\.1: pid \d+ → none", rest)
        assert len(pids(out)) == 2
        assert [pid for pid in pids(out) if is_running(pid)] == []
        assert list(tmp_path.iterdir()) == []


class TestHost:
    def test_services_follow_their_starter(self, tmp_path: Path) -> None:
        """Services end when whoever started them is killed, and could clean up nothing."""
        starter = (
            "import sys; from pathlib import Path; from demo_deployment import Host\n"
            "print(Host(Path(sys.argv[1])).open_front_door(), flush=True); sys.stdin.read()\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", starter, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{EXAMPLES}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        assert process.stdout is not None
        door = HTTP(process.stdout.readline().strip(), status=503)  # no version is live
        assert asyncio.run(door.read()).is_healthy

        process.kill()
        process.communicate(timeout=PATIENCE_S)

        asyncio.run(pyflow.poll(door, until="unhealthy", backoff="20ms", timeout="30s"))

    def test_tells_why_a_start_failed(
        self, host: Any, build: Callable[..., Path], deployment: Any
    ) -> None:
        """A version that ends at its start fails with its own last words."""
        program = build(host.builds, "1.0") / "service.py"
        program.write_text("raise SystemExit('the licence has expired')")

        result = run_to_end(deployment.make_workflow(), "1.0", host)

        assert result.status == "rolled_back"
        assert "the licence has expired" in str(result.error)
        assert list(host.releases.iterdir()) == []

    def test_starts_nothing_once_closed(
        self, host: Any, build: Callable[..., Path], deployment: Any
    ) -> None:
        """A closed host starts nothing, so cleaning up cannot be overtaken."""
        build(host.builds, "1.0")
        host.close()

        result = run_to_end(deployment.make_workflow(), "1.0", host)

        assert "the host is closed" in str(result.error)
        assert host.running == ()


class TestFrontDoor:
    def test_asks_what_is_live_by_then(
        self, service: Any, host: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A request whose version is retired under its hands is answered by the next one."""
        (host.root / "run" / "1.0.port").write_text("10")
        (host.root / "run" / "1.1.port").write_text("11")
        host.point_at("1.0")

        def fetch(port: int, path: str) -> Any:
            if port == 10:
                host.point_at("1.1")
                raise ConnectionResetError
            return service.Answer(200, b"from 1.1")

        monkeypatch.setattr(service, "fetch", fetch)
        monkeypatch.setattr(service, "ROUTING_PAUSE_S", 0)

        answer = service.front_door(host.root)("/")

        assert answer == service.Answer(200, b"from 1.1")


class TestCheckHost:
    def test_wants_a_build(self, host: Any, deployment: Any) -> None:
        """A version that was never built is refused before anything is touched."""
        result = run_to_end(deployment.make_workflow(), "4.0", host)

        assert "there is no build of 4.0" in str(result.error)
        assert result.audit_trail.changes == ()


class TestLayDownRelease:
    @pytest.fixture
    def lay_down(self, deployment: Any) -> Callable[[], pyflow.Workflow]:
        def make() -> pyflow.Workflow:
            workflow = part(deployment)
            workflow.add_task("lay_down_release", deployment.lay_down_release)
            workflow.add_recovery("lay_down_release", deployment.remove_release)
            return workflow

        return make

    def test_is_removed(
        self, lay_down: Callable[[], pyflow.Workflow], host: Any, build: Callable[..., Path]
    ) -> None:
        """A rollback removes the release that its own run laid down."""
        build(host.builds, "1.0")

        result = run_to_end(then(lay_down(), refuse, after="lay_down_release"), "1.0", host)

        assert result.status == "rolled_back"
        assert list(host.releases.iterdir()) == []

    def test_spares_what_was_there(
        self, lay_down: Callable[[], pyflow.Workflow], host: Any, build: Callable[..., Path]
    ) -> None:
        """A release that an earlier run laid down is neither overwritten nor removed."""
        build(host.builds, "1.0")
        first = run_to_end(lay_down(), "1.0", host)

        second = run_to_end(lay_down(), "1.0", host)

        assert (first.status, second.status) == ("succeeded", "rolled_back")
        assert (host.releases / "1.0" / "RUN").read_text() == first.run_id


class TestStartInstance:
    def test_spares_what_is_live(
        self, host: Any, build: Callable[..., Path], deployment: Any
    ) -> None:
        """The undo refuses to stop a version that requests still go to."""
        workflow = part(deployment)
        workflow.add_task("start_instance", refuse)
        workflow.add_recovery("start_instance", deployment.stop_instance)
        host.point_at("1.0")

        result = run_to_end(workflow, "1.0", host)

        assert result.status == "rollback_failed"
        assert result.residue == ("start_instance",)


class TestSwitchTraffic:
    @pytest.fixture
    def switch(self, deployment: Any) -> pyflow.Workflow:
        workflow = part(deployment)
        workflow.add_task("switch_traffic", deployment.switch_traffic)
        workflow.add_recovery("switch_traffic", deployment.switch_back)
        return workflow

    @pytest.mark.parametrize("before", ["1.0", None])
    def test_switches_back(self, before: str | None, switch: pyflow.Workflow, host: Any) -> None:
        """A rollback makes live what was live before, or nothing."""
        host.point_at(before)

        result = run_to_end(then(switch, refuse, after="switch_traffic"), "1.1", host)

        changes = [(c.data.get("before"), c.data.get("after")) for c in result.audit_trail.changes]
        assert changes == [(before, "1.1"), ("1.1", before)]
        assert host.live == before

    def test_spares_a_foreign_change(self, switch: pyflow.Workflow, host: Any) -> None:
        """What somebody else made live meanwhile is not overwritten by the undo."""

        def meddle(host: Any) -> None:
            host.point_at("9.9")
            refuse()

        result = run_to_end(then(switch, meddle, after="switch_traffic"), "1.1", host)

        assert result.status == "rolled_back"
        assert host.live == "9.9"

    def test_survives_half_a_step(
        self, switch: pyflow.Workflow, host: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A step that fails after its effect is undone too, although it gave no output."""
        host.point_at("1.0")
        really = host.point_at

        def switch_then_fail(version: str) -> None:
            monkeypatch.undo()
            really(version)
            refuse()

        monkeypatch.setattr(host, "point_at", switch_then_fail)

        result = run_to_end(switch, "1.1", host)

        assert result.status == "rolled_back"
        assert host.live == "1.0"


class TestMakeWorkflow:
    def test_retires_last(self, deployment: Any) -> None:
        """The old version is retired last, and only that has no way back."""
        plan = deployment.make_workflow().check()

        final = [name for name, node in plan.nodes.items() if node.task.point_of_no_return]
        assert final == ["retire_previous"] == list(plan.stages[-1])


class TestFollow:
    def test_weights(self, screen: Any) -> None:
        """A change of weights reads as shares."""
        data = {"resource": "weights", "before": {"1.0": 100.0}, "after": {"1.0": 80, "1.1": 20.0}}

        told = screen.note_of("change_recorded", data)

        assert told == "weights: 100 % 1.0 → 80 % 1.0, 20 % 1.1"

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (["a"], ("a", "not started")),
            (["a", "b", "c"], ("a", "not started, and so are the 2 after it")),
        ],
    )
    def test_not_started(self, names: list[str], words: tuple[str, str], screen: Any) -> None:
        """However many steps are not started, one line says so."""
        assert screen.not_started(names) == words

    def test_tells_changes_first(self, screen: Any) -> None:
        """A step that succeeded tells what it changed, and one that failed tells why."""
        noted = [("change_recorded", "0 → 1"), ("reading_taken", "healthy")]

        assert screen.best("task_succeeded", noted) == "0 → 1"
        assert screen.best("task_failed", noted) == "healthy"
        assert screen.best("task_succeeded", []) is None


class TestTimeline:
    def test_fits(self, screen: Any, deployment: Any, host: Any) -> None:
        """Each line of the timeline fits the width, and each bar can be seen."""
        workflow = part(deployment)
        workflow.add_task("switch_traffic", deployment.switch_traffic)
        workflow.add_recovery("switch_traffic", deployment.switch_back)
        result = run_to_end(then(workflow, refuse, after="switch_traffic"), "1.1", host)

        head, *lines = screen.timeline(result.audit_trail, 72)

        assert head.split() == ["start", "took"]
        assert [line.split()[0] for line in lines] == [
            "nothing",
            "switch_traffic",
            "refuse",
            "undo",
        ]
        assert all(len(line) <= 72 and line[-1] in "█▒" for line in lines)


class TestMakePlace:
    def test_without_haproxy(
        self, demo: Any, canary: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Where there is no HAProxy the link is switched, and a canary is refused."""
        monkeypatch.setattr(canary, "find_haproxy", lambda: None)

        place = demo.make_place(tmp_path, None)

        assert type(place) is demo.BySymlink
        with pytest.raises(ValueError, match="the canary needs HAProxy"):
            demo.make_place(tmp_path, "canary")

    def test_of_another_name(self, demo: Any, tmp_path: Path) -> None:
        """A demo that is not there is refused, and those that are there are named."""
        with pytest.raises(ValueError, match="say canary or symlink"):
            demo.make_place(tmp_path, "nginx")

    @pytest.mark.parametrize(
        ("said", "found"),
        [
            ("HAProxy version 2.6.12-1", True),
            ("HAProxy version 3.0.1", True),
            ("HA-Proxy version 2.4.9", False),
            ("HA-Proxy version 1.8.27", False),
            ("what?", False),
        ],
    )
    def test_needs_a_new_haproxy(
        self, said: str, found: bool, canary: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """An HAProxy that servers cannot be added to is as good as none."""
        program = tmp_path / "haproxy"
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

        assert canary.find_haproxy() == (str(program) if found else None)


class TestShortfalls:
    def outcome(self, demo: Any, host: Any, deployment: Any, **changed: Any) -> Any:
        result = run_to_end(part(deployment), "1.0", host)
        quiet = demo.Tally(Counter({"1.1": 10}), [])
        told = {
            "results": dict.fromkeys(("1.0", "1.1", "1.2"), result),
            "tallies": dict.fromkeys(("1.0", "1.1", "1.2"), quiet),
            "total": demo.Tally(Counter({"1.0": 1, "1.1": 1}), []),
            "live": "1.1",
            "running": ("front-door", "1.1"),
        }
        return demo.Outcome(**{**told, **changed})

    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"live": "1.2"}, "1.1 should be live, and 1.2 is"),
            ({"running": ("1.1",)}, "('front-door', '1.1') should run, and ('1.1',) do"),
        ],
    )
    def test_names_each(
        self, changed: dict[str, Any], sentence: str, demo: Any, host: Any, deployment: Any
    ) -> None:
        """Whatever did not end as it should is named, the run that should have been rolled back too."""
        wrong = demo.shortfalls(demo.BySymlink, self.outcome(demo, host, deployment, **changed))

        assert wrong == [
            "1.2 should have ended as rolled_back, and ended as succeeded: None",
            sentence,
        ]

    def test_counts_requests(self, demo: Any, host: Any, deployment: Any) -> None:
        """Of a good release no request may fail, and of a canary no more than its share."""
        lost = {v: demo.Tally(Counter({"1.1": 180}), ["500"] * 20) for v in ("1.1", "1.2")}
        total = demo.Tally(Counter({"1.0": 1}), [])
        outcome = self.outcome(demo, host, deployment, tallies=lost, total=total)

        good, _, bad, _, answered = demo.shortfalls(demo.BehindHAProxy, outcome)

        assert good.startswith("at most 0 of 200 requests should have failed while 1.1 went out")
        assert bad.startswith("at most 15 of 200 requests should have failed while 1.2 went out")
        assert answered == "1.0 and 1.1 should have answered, and {'1.0'} did"


@pytest.fixture(scope="module")
def rolled_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, str, Path]:
    temporary = tmp_path_factory.mktemp("canary")
    process = start_demo(temporary, "canary", COLUMNS="80", PYTHONIOENCODING="utf-8")
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err, temporary


def commands(mark: Path) -> list[str]:
    """Return the command lines of living processes that name *mark*."""
    found: list[str] = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            found += [command] if str(mark) in command else []
    return found


@pytest.mark.integration
class TestCanary:
    """The demo with a real HAProxy."""

    def test_ends_well(self, rolled_out: tuple[int, str, str, Path]) -> None:
        """The good release takes over by shares, the broken one is rolled back, and that is all."""
        code, out, err, _ = rolled_out

        assert (code, err) == (0, ""), out
        assert re.search(r"1\.1 succeeded in .* s; 1\.1 is live", out)
        assert re.search(r"1\.2 rolled_back in .* s; 1\.1 is live", out)
        told = " ".join(out.split())
        assert "shift_50 shop weights: 80 % 1.0, 20 % 1.1 → 50 % 1.0, 50 % 1.1" in told
        assert "↩ shift_20 shop weights: 80 % 1.1, 20 % 1.2 → 100 % 1.1" in told

    def test_answers_every_request(self, rolled_out: tuple[int, str, str, Path]) -> None:
        """While the good release went out no request failed; of the broken one a few did."""
        out = rolled_out[1]
        good, bad = re.findall(r"while 1\.\d went out .* (\d+) failed\n", out)

        assert int(good) == 0 < int(bad)

    def test_fits_the_terminal(self, rolled_out: tuple[int, str, str, Path]) -> None:
        """Everything before the audit trail fits 80 columns."""
        told = rolled_out[1].partition("Audit trail")[0]

        assert max(map(len, told.splitlines())) <= 80

    def test_leaves_nothing(self, rolled_out: tuple[int, str, str, Path]) -> None:
        """No process and no directory is left."""
        temporary = rolled_out[3]

        assert commands(temporary) == []
        assert list(temporary.iterdir()) == []

    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
    def test_is_interrupted(self, signum: signal.Signals, tmp_path: Path) -> None:
        """However it is ended in the middle of a rollout, no process outlives it."""
        process = start_demo(tmp_path, "canary")
        assert process.stdout is not None
        for line in process.stdout:
            if "shift_20" in line:
                process.send_signal(signum)
                break
        assert commands(tmp_path) != []
        process.communicate(timeout=PATIENCE_S)

        async def nothing_runs() -> bool:
            return commands(tmp_path) == []

        gone = probes.Callable(nothing_runs, name="nothing runs")
        asyncio.run(pyflow.poll(gone, backoff="20ms", timeout="30s"))
        assert signum == signal.SIGKILL or list(tmp_path.iterdir()) == []
