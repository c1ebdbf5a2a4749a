"""How runs get on, told while they do: in lines, in one line that moves, and with rich."""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

import pyflow
from pyflow.record import events as ev
from pyflow.record.audit import AuditTrail
from pyflow.record.outline import Outline, TaskOutline, outline_of
from pyflow.reports import progress
from pyflow.reports.live import LiveLine, Painter, done_of
from support.told import troubled

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Terminal(io.StringIO):
    """What is written, to somebody who sees it."""

    def isatty(self) -> bool:
        return True


class Still:
    """A clock that stands still, ninety seconds after the run began."""

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=90)


def release(*, fails: bool = False) -> pyflow.Workflow:
    def deploy() -> None:
        if fails:
            raise ConnectionError("reset by <peer>")

    workflow = pyflow.Workflow("release")
    workflow.add_task("build", lambda: None)
    workflow.add_task("deploy", deploy, depends_on=["build"])
    workflow.add_recovery("deploy", lambda: None)
    return workflow


def told(stream: io.StringIO, environ: Mapping[str, str], *, fails: bool = False) -> str:
    """Return what is written to *stream* about a run."""
    with pyflow.Engine(watch=progress(stream, environ=environ)) as engine:
        engine.execute(release(fails=fails))
    return stream.getvalue()


class TestPlain:
    def test_lines(self) -> None:
        """Where there is no terminal, each step is a line with its time."""
        head, *lines = told(io.StringIO(), {}, fails=True).splitlines()

        assert re.fullmatch(r"release: run \d{8}-\d{6}-[0-9a-f]{8}", head)
        assert all(re.match(r"\d\d:\d\d:\d\d  \w", line) for line in lines)
        assert [re.split(r"  +", line)[1:3] for line in lines[:5]] == [
            ["task started", "build"],
            ["task succeeded", "build"],
            ["task started", "deploy"],
            ["attempt failed", "deploy"],
            ["task failed", "deploy"],
        ]
        assert "reset by <peer>" in lines[3]

    @pytest.mark.parametrize(
        ("environ", "colours"),
        [({"TERM": "dumb"}, False), ({"CI": "true"}, True), ({"CI": "1", "NO_COLOR": "1"}, False)],
    )
    def test_a_terminal_that_is_not_to_move(self, environ: dict[str, str], colours: bool) -> None:
        """A dumb terminal and a CI system get lines; colours are left out where that is asked."""
        text = told(Terminal(), environ, fails=True)

        assert "\r" not in text
        assert ("\033[31m" in text) is colours

    def test_ascii(self) -> None:
        """A stream that cannot hold a character gets its number."""
        raw = io.BytesIO()
        painter = Painter(io.TextIOWrapper(raw, encoding="ascii"), colours=False)

        painter.write("é")

        assert raw.getvalue() == b"\\xe9"
        assert painter.bars == ("#", "-")
        assert painter.columns == 80

    def test_a_reader_that_has_gone(self) -> None:
        """A stream that is closed costs the run nothing."""
        stream = io.StringIO()
        shown = progress(stream, environ={})
        stream.close()

        with pyflow.Engine(watch=shown) as engine:
            assert engine.execute(release()).status == "succeeded"

    def test_no_stderr(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A program without stderr shows nothing, and goes on."""
        monkeypatch.setattr(sys, "stderr", None)

        with pyflow.Engine(watch=progress()) as engine:
            assert engine.execute(release()).status == "succeeded"

    def test_what_was_before(self) -> None:
        """A run that is taken up says how far it is, and tells only what happens from there."""
        stream, journal = io.StringIO(), pyflow.Engine().journal
        workflow = release()
        first = pyflow.Engine(journal=journal)
        run_id = first.execute(workflow).run_id
        events = [record.event for record in first.trail(run_id)[:3]]
        journal.append("r1", events, at=BEGAN)

        with pyflow.Engine(journal=journal, watch=progress(stream, environ={})) as engine:
            engine.resume("r1", workflow)

        head, *lines = stream.getvalue().splitlines()
        assert head == "release: run r1, taken up where 1 of 2 tasks are done"
        assert [line for line in lines if "  build" in line] == []


def seen(stream: Terminal) -> list[str]:
    """Return what is to be seen on a terminal in the end, line by line."""
    screen = [""]
    for frame in stream.getvalue().split("\r\033[K"):
        first, *others = frame.split("\n")
        screen[-1] = first
        screen += others
    return screen


@pytest.fixture
def without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``rich`` not be there."""
    monkeypatch.setattr(sys.modules[progress.__module__], "find_spec", lambda _: None)


@pytest.mark.usefixtures("without_rich")
class TestLiveLine:
    def test_moves(self) -> None:
        """One line is written anew at each step; what people have to know of stays above."""
        text = told(Terminal(), {}, fails=True)
        frames = text.split("\r\033[K")

        assert frames[1].startswith("release: run ")
        assert any(re.search(r"release .*1/2 .* deploy$", frame) for frame in frames)
        assert any(re.match(r"\033\[31m\d\d:\d\d:\d\d  attempt failed", f) for f in frames)
        assert not any("task started" in frame for frame in frames)
        assert frames[-1] == ""

    def test_without_colour(self) -> None:
        """With NO_COLOR it moves, and has no colour."""
        text = told(Terminal(), {"NO_COLOR": "1"})

        assert "\r\033[K" in text
        assert re.search(r"\033\[\d+m", text) is None

    def test_fits(self) -> None:
        """The line is no longer than the terminal, however many tasks are under way."""
        stream = Terminal()
        display = LiveLine(Painter(stream, colours=False), clock=Still())
        outline = outline_of("r1", troubled().audit_trail)
        outline.started = BEGAN
        for name in ("a" * 60, "b" * 60):
            outline.tasks[name] = TaskOutline("running")
        outline.status = "running"

        display.show({"r0": outline, "r1": outline})
        line = stream.getvalue().split("\r\033[K")[-1]
        display.show({})

        assert len(line) <= 80
        assert "9/11  1m30s  and 1 more" in line

    def test_ticks(self) -> None:
        """While nothing happens, the time goes on."""
        stream = Ticking()
        display = LiveLine(Painter(stream, colours=False), clock=Still(), tick_s=0.001)
        outline = Outline("r1", status="running")

        display.show({"r1": outline})
        ticked = stream.enough.wait(20)
        display.show({})

        assert ticked

    def test_what_is_printed_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What tasks print is above the line that moves, whole, and nothing of it is lost."""
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        display = LiveLine(Painter(stream, colours=False), clock=Still())

        display.show({"r1": Outline("r1", status="running")})
        for text in ("pulling ", "the image\n", "half a line"):
            sys.stdout.write(text)
        display.show({})
        sys.stdout.write("afterwards\n")

        assert seen(stream) == ["pulling the image", "half a line", "afterwards", ""]
        assert sys.stdout is stream

    def test_what_is_printed_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stream that is no terminal is left alone, and so is one that a task has put there."""
        plain, other = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "stdout", plain)
        monkeypatch.setattr(sys, "stderr", Terminal())
        display = LiveLine(Painter(Terminal(), colours=False), clock=Still())

        display.show({"r1": Outline("r1", status="running")})
        assert sys.stdout is plain
        monkeypatch.setattr(sys, "stderr", other)
        display.show({})

        assert sys.stderr is other

    def test_shows_nothing_where_nothing_is(self) -> None:
        """Without a run there is no line."""
        stream = Terminal()

        LiveLine(Painter(stream, colours=False), clock=Still()).show({})

        assert stream.getvalue() == ""


class Ticking(Terminal):
    """A terminal that notices that it is written to again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.enough = threading.Event()

    def write(self, text: str, /) -> int:
        if self.getvalue().count("\r") > 5:
            self.enough.set()
        return super().write(text)


class TestRich:
    def test_moves(self) -> None:
        """With rich, a bar and the tasks that are under way are shown; failures stay above."""
        text = re.sub(r"\033\[[\d;?]*[A-Za-z]", "", told(Terminal(), {"TERM": "xterm"}, fails=True))

        assert re.search(r"release: run \S+\s", text)
        assert re.search(r"\d\d:\d\d:\d\d  attempt failed  +deploy  .*reset by <peer>", text)
        assert re.search(r"release +━+ +\d/2", text)

    def test_leaves_the_terminal_as_it_was(self) -> None:
        """At the end the cursor is back, also where a run is left in the middle."""
        stream = Terminal()
        shown = progress(stream, environ={"TERM": "xterm"})
        workflow = pyflow.Workflow("w")
        workflow.add_approval("go", "Go?")

        with pyflow.Engine(watch=shown) as engine:
            run = engine.start(workflow)
            run.wait()
            run.cancel()
            run.wait()
        shown.close()

        text = stream.getvalue()
        assert text.rindex("\033[?25h") > text.rindex("\033[?25l")
        assert repr(shown) == "<Progress LiveTable runs=0>"

    def test_many_tasks(self) -> None:
        """Of very many tasks under way some are named, and the rest counted."""
        from rich.console import Console

        from pyflow.reports.live_table import LiveTable

        tasks = {f"t{number}": TaskOutline("running", 2) for number in range(12)}
        outline = Outline("r1", status="running", tasks=tasks)
        display = LiveTable(io.StringIO(), colours=False, clock=Still())
        display._runs = {"r1": outline}
        shown = io.StringIO()
        console = Console(file=shown, width=100)

        console.print(display._table())

        text = shown.getvalue()
        assert "t7" in text
        assert "t8" not in text
        assert "running, attempt 2" in text
        assert "and 4 more" in text


class TestDone:
    def test_counts(self) -> None:
        """A task that was taken back, failed or blocked is done with."""
        trail: AuditTrail = troubled().audit_trail

        assert done_of(outline_of("r1", trail)) == (9, 9)
        assert done_of(Outline("r1")) == (0, 0)
        assert done_of(outline_of("r1", trail[:2])) == (0, 7)


def test_every_kind_is_one() -> None:
    """The kinds that are told of exist."""
    from pyflow.reports.progress import NOTABLE, TOLD

    assert NOTABLE < TOLD <= set(ev.EVENTS)
