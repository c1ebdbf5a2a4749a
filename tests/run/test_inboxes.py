"""What other processes ask of runs: heard while an engine has them, and said where it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.testing import run_virtual
from support.journals import tamper
from support.runs import virtual_engine
from support.trails import AT

SECRET = "hunter2hunter2"


def asking(*then: str) -> pyflow.Workflow:
    """Return a workflow that asks a person, and then does nothing as *then*."""
    made = pyflow.Workflow("asking")
    made.add_approval("go", "Ship it?")
    for name in then:
        made.add_task(name, lambda: None, depends_on="go")
    return made


def ask(path: Path, run_id: str, command: str = "cancel", data: Any = None) -> None:
    """Ask something of a run, as another process does."""
    with SQLiteJournal(path) as journal:
        journal.put(run_id, command, at=AT, by="bob", reason="r", data=data)


def damage(path: Path, run_id: str) -> None:
    """Cut off the last character of whatever is asked of a run."""
    tamper(
        path,
        "UPDATE inbox SET data = substr(data, 1, length(data) - 1) WHERE run_id = ?",
        (run_id,),
    )


def with_engine(path: Path, use: Callable[[pyflow.Engine], Awaitable[Any]], **options: Any) -> Any:
    """Return what *use* makes of an engine in virtual time."""

    async def main() -> Any:
        with virtual_engine(journal=path, **options) as engine:
            return await use(engine)

    return run_virtual(main())


class TestHearing:
    def test_what_is_asked(self, tmp_path: Path) -> None:
        """A run hears within a second what another process asks of it."""
        path = tmp_path / "j.db"

        async def use(engine: pyflow.Engine) -> str:
            run = engine.start(asking())
            await run
            ask(path, run.id)
            await asyncio.sleep(1)
            return (await run).status

        assert with_engine(path, use) == "cancelled"

    def test_others_are_damaged(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A damaged message for one run keeps nobody else's; the log says so, once."""
        path = tmp_path / "j.db"

        async def use(engine: pyflow.Engine) -> list[str]:
            runs = [engine.start(asking()), engine.start(asking())]
            for run in runs:
                await run
                ask(path, run.id)
            damage(path, runs[0].id)
            await asyncio.sleep(60)
            statuses = [(await run).status for run in runs]
            runs[0].cancel(by="bob")
            await runs[0]
            return statuses

        assert with_engine(path, use) == ["held", "cancelled"]
        (logged,) = caplog.messages
        assert "cannot hear what is asked of it: message 1 of the inbox" in logged

    @pytest.mark.parametrize("length", [0, 200])
    def test_damaged_secrets(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, length: int
    ) -> None:
        """The log does not show what people have asked: there may be a secret in it."""
        path = tmp_path / "j.db"

        async def use(engine: pyflow.Engine) -> None:
            run = engine.start(asking())
            await run
            ask(path, run.id, "resolve", {"output": "x" * length + SECRET})
            damage(path, run.id)
            await asyncio.sleep(1)
            run.cancel(by="bob")
            await run

        with_engine(path, use, secrets=[pyflow.Secret(SECRET)])
        assert len(caplog.messages) == 1
        assert SECRET[:4] not in caplog.text

    def test_after_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An error in one look does not end the looking."""
        path = tmp_path / "j.db"
        errors = [RuntimeError("on purpose")]

        async def use(engine: pyflow.Engine) -> str:
            reported: list[Any] = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, about: reported.append(about["exception"]))
            run = engine.start(asking())
            await run
            monkeypatch.setattr(engine._inboxes, "_hear", hear(engine._inboxes))
            ask(path, run.id)
            await asyncio.sleep(2)
            assert [str(error) for error in reported] == ["on purpose"]
            return (await run).status

        def hear(inboxes: Any) -> Callable[[Any], None]:
            sound = inboxes._hear

            def once_broken(driver: Any) -> None:
                if errors:
                    raise errors.pop()
                sound(driver)

            return once_broken

        assert with_engine(path, use) == "cancelled"

    def test_while_runs_come_and_go(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Runs that other threads start or end during a look do not disturb it."""
        path = tmp_path / "j.db"

        async def use(engine: pyflow.Engine) -> str:
            run, inboxes = engine.start(asking()), engine._inboxes
            assert inboxes is not None
            await run
            sound = inboxes._hear

            def hear(driver: Any) -> None:
                engine._active["another"] = driver
                sound(driver)
                del engine._active["another"]

            monkeypatch.setattr(inboxes, "_hear", hear)
            ask(path, run.id)
            await asyncio.sleep(1)
            return (await run).status

        assert with_engine(path, use) == "cancelled"


class TestClosing:
    def test_looks_no_more(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """An engine that is closed looks no more for runs that rest on a loop which goes on."""

        async def main() -> str:
            with virtual_engine(journal=tmp_path / "j.db") as engine:
                run = engine.start(asking())
                result = await run
            await asyncio.sleep(60)
            return result.status

        assert run_virtual(main()) == "held"
        assert caplog.messages == []


class TestTakingUp:
    def test_is_refused(self, tmp_path: Path) -> None:
        """A run of which something was asked that cannot be read is not taken up, nor touched."""
        path = tmp_path / "j.db"

        async def hold(engine: pyflow.Engine) -> str:
            run = engine.start(asking("ship"))
            await run
            run.let_go()
            return run.id

        run_id: str = with_engine(path, hold)
        ask(path, run_id)
        before = trail_of(path, run_id)
        damage(path, run_id)

        def reopen(engine: pyflow.Engine) -> Coroutine[Any, Any, Any]:
            async def opened() -> None:
                with pytest.raises(pyflow.JournalError, match="message 1 of the inbox"):
                    engine.reopen(run_id, asking("ship"))
                assert engine.holder(f"run:{run_id}") is None

            return opened()

        with_engine(path, reopen)
        assert trail_of(path, run_id) == before


def trail_of(path: Path, run_id: str) -> list[str]:
    """Return the kinds of what is recorded of a run."""
    with SQLiteJournal(path) as journal:
        return [record.kind for record in journal.read(run_id)]
