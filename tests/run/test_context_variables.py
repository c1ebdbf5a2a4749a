"""What context variables a call sees: those of the run's start, and never those of another call."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyflow
from pyflow.testing import run_virtual, simulate
from support.crashes import Disk
from support.runs import virtual_engine

COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


class Seen:
    """Functions of every kind that each note the colour they find, and paint their own."""

    def __init__(self) -> None:
        self.colours: dict[str, str] = {}

    def paint(self, name: str, answer: Any = None) -> Any:
        """Note what is seen as *name*, and leave a colour behind."""
        self.colours[name] = COLOUR.get()
        COLOUR.set(f"of {name}")
        return answer

    def plain(self, name: str, answer: Any = None) -> Callable[[], Any]:
        """Return a plain function that paints."""
        return lambda: self.paint(name, answer)

    def over_async(self, name: str, answer: Any = None) -> Callable[[], Any]:
        """Return an async function that waits, and paints before and after."""

        async def function() -> Any:
            self.paint(name)
            await asyncio.sleep(1)
            COLOUR.set(f"of {name}, later")
            return answer

        return function

    def workflow(self) -> pyflow.Workflow:
        """Return a workflow with a call of every kind, one after another, that fails at its end."""
        made = pyflow.Workflow("colours")

        def fails() -> None:
            self.paint("fails")
            raise RuntimeError("on purpose")

        made.add_task("first", self.over_async("first", ["x"]))
        made.add_recovery("first", self.over_async("undo of first"))
        made.add_task("plain", self.plain("plain"), depends_on="first")
        made.add_recovery("plain", self.plain("undo of plain"))
        inline = self.plain("inline")
        made.add_task("inline", inline, depends_on="plain", isolation="inline")
        when = self.plain("when", answer=True)
        made.add_task("asked", self.over_async("asked"), depends_on="inline", when=when)
        each = self.over_async("each")
        made.add_map("each", each, over=["x", "y"], depends_on="asked", max_parallel=1)
        made.add_task("mended", self.over_async("mended"), depends_on="each")
        made.add_task("fails", fails, depends_on="mended")
        made.add_recovery("fails", self.plain("repair"), then="retry")
        made.add_finalizer("finalizer", self.over_async("finalizer"))
        return made


def run_of(seen: Seen, **options: Any) -> pyflow.Result:
    """Run it in virtual time, started where the colour is red."""

    async def main() -> pyflow.Result:
        COLOUR.set("red")
        with virtual_engine(**options) as engine:
            return await engine.run(seen.workflow())

    return run_virtual(main())


class TestContextVariables:
    def test_of_the_start(self) -> None:
        """Every call sees what the variables were where the run was started, whatever came before."""
        seen = Seen()

        assert run_of(seen).status == "rolled_back"
        assert set(seen.colours.values()) == {"red"}
        assert len(seen.colours) == 12

    def test_durable(self, tmp_path: Path) -> None:
        """It does with a journal, where a commit lies between one call and the next."""
        seen = Seen()

        assert run_of(seen, journal=tmp_path / "j.db").status == "rolled_back"
        assert set(seen.colours.values()) == {"red"}

    def test_eager(self) -> None:
        """It does where tasks begin as they are made, which Python 3.12 can."""
        seen = Seen()

        async def main() -> pyflow.Result:
            factory: Any = getattr(asyncio, "eager_task_factory", None)
            asyncio.get_running_loop().set_task_factory(factory)
            COLOUR.set("red")
            return await virtual_engine().run(seen.workflow())

        assert run_virtual(main()).status == "rolled_back"
        assert set(seen.colours.values()) == {"red"}

    def test_simulated(self) -> None:
        """A simulation shows the same."""
        seen = Seen()
        token = COLOUR.set("blue")
        try:
            assert simulate(seen.workflow()).status == "rolled_back"
        finally:
            COLOUR.reset(token)
        assert set(seen.colours.values()) == {"blue"}

    def test_of_a_retry(self) -> None:
        """A second attempt does not see what the first has set."""
        seen: list[str] = []

        async def flaky() -> None:
            seen.append(COLOUR.get())
            COLOUR.set("of the first")
            if len(seen) == 1:
                raise RuntimeError("on purpose")

        made = pyflow.Workflow("flaky")
        made.add_task("flaky", flaky, retry=pyflow.Retry(2))

        assert simulate(made).status == "succeeded"
        assert seen == ["none", "none"]

    def test_of_a_resume(self) -> None:
        """What goes on after a crash sees what the variables are where the run is taken up."""
        seen: list[str] = []

        def note() -> object:
            seen.append(COLOUR.get())
            COLOUR.set("of the question")
            return pyflow.NOT_APPLIED

        async def ship() -> None:
            note()
            await asyncio.sleep(10)

        made = pyflow.Workflow("made")
        made.add_task("ship", ship, on_interrupt=note)
        disk = contextvars.copy_context().run(Disk().crash, made, 5)
        token = COLOUR.set("red")
        try:
            assert disk.resume(made).status == "succeeded"
        finally:
            COLOUR.reset(token)
        assert seen == ["none", "red", "red"]

    def test_of_answers(self) -> None:
        """Somebody who answers does not hand what follows their own variables."""
        seen: list[str] = []
        made = pyflow.Workflow("asks")
        made.add_approval("go", "Ship it?")
        made.add_task("ship", lambda: seen.append(COLOUR.get()), depends_on="go")

        async def main() -> None:
            COLOUR.set("red")
            with virtual_engine() as engine:
                run = engine.start(made)
                await run
                COLOUR.set("of the approver")
                run.approve("go", by="bob")
                await run

        run_virtual(main())
        assert seen == ["red"]

    def test_aside(self) -> None:
        """They see them too where a loop runs already, such as a notebook's."""
        colours: list[set[str]] = []

        async def main() -> None:
            COLOUR.set("red")
            for run in (simulate, pyflow.Engine(environ={}).execute):
                seen: list[str] = []
                made = pyflow.Workflow("asks")
                made.add_task("see", lambda seen=seen: seen.append(COLOUR.get()))
                run(made)
                colours.append(set(seen))

        asyncio.run(main())
        assert colours == [{"red"}, {"red"}]

    def test_do_not_outlive_the_run(self) -> None:
        """What variables hold lives as long as the run, and not as long as what came of it."""
        kept: contextvars.ContextVar[object] = contextvars.ContextVar("kept")

        class Request:
            """Something that belongs to whoever starts the run."""

        async def main() -> tuple[pyflow.Result, weakref.ref[Request]]:
            request = Request()
            kept.set(request)
            made = pyflow.Workflow("made")
            made.add_task("task", lambda: None)
            with virtual_engine() as engine:
                return await engine.run(made), weakref.ref(request)

        result, request = run_virtual(main())

        gc.collect()
        assert result.status == "succeeded"
        assert request() is None

    def test_where_the_run_was_started(self) -> None:
        """A call leaves those of the program that starts the run as they are."""

        async def main() -> str:
            COLOUR.set("red")
            await virtual_engine().run(Seen().workflow())
            return COLOUR.get()

        assert run_virtual(main()) == "red"
