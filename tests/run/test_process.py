"""Isolated tasks, in real processes."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import inspect
import os
import random
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow import DefinitionError, Engine, Environment, Result, Retry, Secret, Workflow
from pyflow.define.plan import Callee
from pyflow.define.task import MISSING
from pyflow.define.wiring import Input
from pyflow.errors import CodecError, ProcessFailed, RunStopping, TaskError, TaskTimeout
from pyflow.record.events import CheckpointSaved, Event, Logged, MeasurementTaken
from pyflow.run import process
from pyflow.run.context import Call
from pyflow.run.failures import ChildFailed
from pyflow.run.process import run_in_process
from pyflow.tracing import Trace
from support import isolated_tasks as tasks

PATIENCE_S = 20.0
ENVIRON = {"PATH": os.environ["PATH"]}


class Lifeline:
    """A named pipe: while anybody holds it open, reading gives words or waits; then it ends."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        self._end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._ours = os.open(path, os.O_WRONLY)  # so that it does not end between two holders

    def close(self) -> None:
        os.close(self._end)
        os.close(self._ours)

    def word(self) -> str:
        """Return the next word that somebody says."""
        word = b""
        while not word.endswith(b"\n"):
            word += self._read(1)
        return word.decode().strip()

    def rest(self) -> list[str]:
        """Return every word that is still said, once nobody holds on any more."""
        os.dup2(self._end, self._ours, inheritable=False)
        words = b""
        while part := self._read(1_000):
            words += part
        return words.decode().split()

    def _read(self, size: int) -> bytes:
        ready, _, _ = select.select([self._end], [], [], PATIENCE_S)
        assert ready, "somebody holds on still, and says nothing"
        return os.read(self._end, size)


@pytest.fixture
def lifeline(tmp_path: Path) -> Generator[Lifeline]:
    line = Lifeline(tmp_path / "lifeline")
    yield line
    line.close()


@pytest.fixture(autouse=True)
def nothing_left() -> Generator[None]:
    """Check that a test leaves no file descriptor, no child and no thread."""
    gc.collect()
    before = descriptors()
    yield
    gc.collect()
    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    deadline = time.monotonic() + PATIENCE_S
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(deadline - time.monotonic())
            assert not thread.is_alive()


def descriptors() -> list[str]:
    found: list[str] = []
    for entry in sorted(Path("/proc/self/fd").iterdir(), key=lambda path: int(path.name)):
        try:
            found.append(f"{entry.name} {entry.readlink()}")
        except FileNotFoundError:  # the one that lists the others
            continue
    return found


def framed(text: str) -> str:
    return len(text).to_bytes(4, "big").decode("latin-1") + text


def run_one(
    fn: Callable[..., Any],
    *,
    params: Mapping[str, Any] | None = None,
    environment: Environment | None = None,
    engine: Engine | None = None,
    **options: Any,
) -> Result:
    """Run a workflow of one task, called ``it``, in a process of its own."""
    given = dict(params or {})
    workflow = Workflow("w", params={name: type(value) for name, value in given.items()})
    workflow.add_task("it", fn, **options)
    return (engine or Engine(isolation="process")).execute(
        workflow, params=given, environment=environment
    )


def output(fn: Callable[..., Any], **options: Any) -> Any:
    result = run_one(fn, **options)
    result.raise_for_status()
    return result.tasks["it"].output


def failure(fn: Callable[..., Any], **options: Any) -> pyflow.TaskError:
    result = run_one(fn, **options)
    error = result.tasks["it"].error
    assert error is not None, result
    return error


def events(result: Result, kind: str) -> list[Any]:
    return [record.event for record in result.audit_trail if record.kind == kind]


class FakeDesk:
    """A desk without an engine behind it."""

    def __init__(self) -> None:
        self.run_id = "r"
        self.workflow = "w"
        self.environment: Environment | None = None
        self.loop = asyncio.get_running_loop()
        self.rng = random.Random(1)
        self.trace = Trace(self.run_id)
        self.params: Mapping[str, Any] = {}
        self.noted: list[Event] = []

    def note(self, event: Event) -> None:
        self.noted.append(event)

    def save(self, event: CheckpointSaved) -> None:
        self.noted.append(event)

    def outcome(self, name: str) -> str:
        raise KeyError(name)

    def cause(self, call: Call) -> TaskError | None:
        return call.cause

    def fencing_tokens(self) -> Mapping[str, int]:
        return {}

    def checkpoints(self, task: str) -> Mapping[str, Any]:
        return {}

    def measurements(self, task: str) -> Sequence[MeasurementTaken]:
        return ()

    def block(self, make: Any) -> Any:
        raise NotImplementedError

    async def sleep(self, call: Call, delay_s: float) -> None:
        await self.wait(call, asyncio.create_task(asyncio.sleep(delay_s)))

    async def wait(self, call: Call, waiting: Any) -> Any:
        waiting.cancel()
        raise RunStopping("told to")


class SlowDesk(FakeDesk):
    """One whose waits are never cut."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    async def wait(self, call: Call, waiting: Any) -> Any:
        self.began.set()
        try:
            return await waiting
        finally:
            self.ended.set()


async def call_directly(
    fn: Callable[..., Any],
    timeout_s: float | None = None,
    *,
    role: str = "task",
    desk: FakeDesk | None = None,
    **arguments: Any,
) -> Any:
    wiring = tuple(Input(name, "param", name, None, MISSING) for name in arguments)
    if "ctx" in fn.__code__.co_varnames:
        wiring = (*wiring, Input("ctx", "ctx", "ctx", None, MISSING))
        arguments["ctx"] = None
    return await run_in_process(
        Callee(fn, wiring, inspect.iscoroutinefunction(fn)),
        arguments,
        Call("it", 1, role=role),
        desk or FakeDesk(),
        environ=ENVIRON,
        timeout_s=timeout_s,
    )


def expire(coroutine: Coroutine[Any, Any, Any], lifeline: Lifeline, *, attempts: int = 1) -> Any:
    """Run *coroutine*; let the time of each attempt be up as soon as its process holds on."""

    async def main() -> Any:
        task, loop = asyncio.create_task(coroutine), asyncio.get_running_loop()
        for number in range(attempts):
            assert await asyncio.to_thread(lifeline.word) == "holding"
            scopes[number].reschedule(loop.time())
        return await task

    scopes: list[asyncio.Timeout] = []
    timeout = asyncio.timeout

    def kept(delay: float | None) -> asyncio.Timeout:
        scope = timeout(delay)
        if delay == tasks.FOREVER:
            scopes.append(scope)
        return scope

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "timeout", kept)
        return asyncio.run(main())


def directly(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


class TestIsolation:
    def test_globals(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the defining program did to a module is not seen."""
        monkeypatch.setattr(tasks, "mood", "changed by the test")

        assert output(tasks.see_mood) == "as imported"

    def test_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the environment variables, only the usual ones and those of pass_env= are seen."""
        monkeypatch.setenv("HUSH", "not for tasks")
        monkeypatch.setenv("WANTED", "for tasks")

        seen = output(
            tasks.see_world, engine=Engine(isolation="process", pass_env=["WANTED", "ABSENT"])
        )["environ"]

        usual = {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME", "TMPDIR"}
        assert seen["WANTED"] == "for tasks"
        assert seen["PATH"] == os.environ["PATH"]
        assert set(seen) <= usual | {"WANTED", "TRACEPARENT"}

    def test_environment_of_the_task(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A task sees the environment as it is when the task starts, not as the engine found it."""
        engine = Engine(isolation="process", pass_env=["WANTED"])
        monkeypatch.setenv("WANTED", "since then")

        assert output(tasks.see_world, engine=engine)["environ"]["WANTED"] == "since then"

    @pytest.mark.parametrize("fn", [tasks.see_world, tasks.see_world_async])
    def test_world(self, fn: Callable[..., Any]) -> None:
        """A task has a session of its own, its main thread, no input, and our import path."""
        seen = output(fn)

        assert seen["pid"] != os.getpid()
        assert (seen["leads"], seen["main"], seen["isolated"]) == (True, True, True)
        assert (seen["stdin"], seen["argv"]) == ("", ["-c"])
        assert seen["path"] == [entry or str(Path.cwd()) for entry in sys.path]

    def test_no_input(self) -> None:
        """There is nothing to read on standard input, whatever is on ours."""
        ours = os.dup(0)
        reading, writing = os.pipe()
        os.write(writing, b"hush\n")
        try:
            os.dup2(reading, 0)
            seen = output(tasks.see_world)
        finally:
            os.dup2(ours, 0)
            for number in (ours, reading, writing):
                os.close(number)

        assert seen["stdin"] == ""

    def test_socket(self) -> None:
        """Programs that a task starts do not get the socket to the engine."""
        assert set(output(tasks.see_sockets)) == {False}

    def test_per_task(self) -> None:
        """isolation= of a task outranks that of the engine."""
        engine = Engine()

        isolated = output(tasks.see_pid, engine=engine, isolation="process")
        plain = output(tasks.see_pid, engine=engine)

        assert isolated != os.getpid()
        assert plain == os.getpid()

    def test_standard_output(self, capfd: pytest.CaptureFixture[str]) -> None:
        """What a task prints goes where we print, and is never taken for its answer."""
        assert output(tasks.babble) == "said"

        seen = capfd.readouterr()
        assert "noise on standard output" in seen.out
        assert "noise on standard error" in seen.err

    def test_empty_path_entry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The working directory on the import path is handed over by its name."""
        monkeypatch.syspath_prepend("")

        assert output(tasks.see_world)["path"][0] == str(Path.cwd())


class TestDefinition:
    @pytest.mark.parametrize("whole_engine", [True, False])
    @pytest.mark.parametrize("kind", ["lambda", "local", "main"])
    def test_cannot_be_imported(self, kind: str, *, whole_engine: bool) -> None:
        """A function that a fresh process could not import is refused before anything runs."""

        def local() -> None: ...

        def main() -> None: ...

        main.__module__, main.__qualname__ = "__main__", "main"
        fn: Any = {"lambda": lambda: None, "local": local, "main": main}[kind]
        engine = Engine(isolation="process" if whole_engine else None)

        with pytest.raises(DefinitionError, match='isolation="process"'):
            run_one(fn, engine=engine, isolation=None if whole_engine else "process")

        assert not engine.journal.runs()

    def test_goes_by_another_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A function is not called by a name that stands for another one."""
        monkeypatch.setattr(tasks.nothing, "__qualname__", "see_mood")

        with pytest.raises(DefinitionError, match="is something else"):
            directly(call_directly(tasks.nothing))

    def test_undo(self) -> None:
        """The error of a recovery says that it is one."""
        with pytest.raises(DefinitionError, match="the undo of 'it'"):
            directly(call_directly(lambda: None, role="undo"))

    def test_not_on_the_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A module that only this process can import is named, with what to do."""
        (tmp_path / "fleeting_module.py").write_text("def fn(): ...\n", "utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        import fleeting_module  # type: ignore[import-not-found]

        monkeypatch.setattr(sys, "path", sys.path[1:])

        error = failure(fleeting_module.fn)

        assert error.type == "ModuleNotFoundError"
        assert "fleeting_module.fn was to run in a process of its own" in error.message


class TestValues:
    def test_dataclass(self) -> None:
        """Dataclasses, enums, dates and paths go in and come out as what they are."""
        workflow = Workflow("w")
        workflow.add_task("image", tasks.make_image)
        workflow.add_task("it", tasks.give_image)

        result = Engine(isolation="process").execute(workflow).raise_for_status()

        assert result.tasks["it"].output == tasks.make_image()

    def test_no_annotation(self) -> None:
        """A function that says nothing about its inputs gets the same classes as an inline one."""
        workflow = Workflow("w", params={"whole": {"a": 1}})
        workflow.add_task("made", tasks.make_image)
        workflow.add_task("it", tasks.name_classes)

        results = [
            Engine(isolation=isolation).execute(workflow).raise_for_status().tasks["it"].output
            for isolation in (None, "process")
        ]

        assert results == [["Image", "Size", "dict"]] * 2

    def test_default(self) -> None:
        """An input that nothing supplies is left to the function's own default."""
        workflow = Workflow("w")
        workflow.add_task("made", tasks.make_image, when=lambda: False)
        workflow.add_task("it", tasks.use_default, join="done")

        result = Engine(isolation="process").execute(workflow)

        assert result.tasks["it"].output is True

    @pytest.mark.parametrize("fn", [tasks.digest, tasks.digest_wallet])
    def test_secret(self, fn: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """A secret arrives as a secret, though its source stays behind."""
        monkeypatch.setenv("TOKEN", "correct horse battery")
        token = Secret.from_env("TOKEN")
        name, value = ("token", token) if fn is tasks.digest else ("wallet", tasks.Wallet(token))

        seen = output(fn, params={name: value})

        assert seen == hashlib.sha256(b"correct horse battery").hexdigest()

    def test_secret_without_reference(self) -> None:
        """A secret that was given as it is arrives too."""
        seen = output(tasks.digest, params={"token": Secret("correct horse battery")})

        assert seen == hashlib.sha256(b"correct horse battery").hexdigest()

    def test_secret_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A task may return a secret that it was given; the record holds the reference."""
        monkeypatch.setenv("TOKEN", "correct horse battery")

        result = run_one(tasks.give_secret, params={"token": Secret.from_env("TOKEN")})

        assert result.tasks["it"].output == Secret("correct horse battery")
        assert "correct horse" not in result.audit_trail.to_jsonl()

    def test_secret_shown(self) -> None:
        """A secret's value in an output fails the task, and is masked in an error."""
        params = {"token": Secret("correct horse battery")}

        returned = failure(tasks.returns_secret, params=params)
        raised = failure(tasks.show_secret, params=params)

        assert "secret in plain text" in returned.message
        assert raised.message == "cannot log in with ***"

    def test_opaque(self) -> None:
        """An object that only this process has fails the task, and the error names it."""
        error = failure(tasks.use_probe, params={"probe": tasks.Healthy()})

        assert error.type == "pyflow.errors.CodecError"
        assert error.message.startswith("probe: Healthy() is a Healthy, which cannot enter")
        assert 'isolation="thread"' in error.message

    def test_class_cannot_be_imported(self) -> None:
        """So does a value whose class is not to be found over there."""
        local = type("Local", (tasks.Wallet,), {"__qualname__": "a.<locals>.Local"})
        params = {"probe": local(Secret("correct horse battery"))}

        error = failure(tasks.use_probe, params=params)

        assert "could not find its class" in error.message

    def test_too_large_input(self) -> None:
        """More than a message can hold is refused, and nothing is started."""
        with pytest.raises(CodecError, match=r"the input of it: .* bytes as JSON"):
            directly(call_directly(tasks.use_default, made="é" * 600_000))

    @pytest.mark.parametrize(
        ("chars", "says"), [(1_100_000, "larger than"), (600_000, "1,200,009 bytes as JSON")]
    )
    def test_too_large_output(self, chars: int, says: str) -> None:
        """More than a record, or a message, can hold fails the task for good."""
        result = run_one(
            tasks.returns_text, params={"chars": chars}, retry=Retry(attempts=3, backoff=0)
        )

        error = result.tasks["it"].error
        assert error is not None
        assert error.type == "pyflow.errors.CodecError"
        assert says in error.message
        assert result.tasks["it"].attempts == 1

    def test_large_output(self) -> None:
        """Just less than that comes through."""
        assert output(tasks.returns_text, params={"chars": 500_000}) == "é" * 500_000

    def test_unstorable_output(self) -> None:
        """An output that cannot be recorded fails as it does inline."""
        isolated = failure(tasks.returns_object)
        inline = failure(tasks.returns_object, engine=Engine())

        assert isolated.type == inline.type
        assert isolated.message.partition(" at ")[0] == inline.message.partition(" at ")[0]

    def test_coroutine(self) -> None:
        """A plain function that returns a coroutine fails as it does inline."""
        isolated = failure(tasks.returns_coroutine)
        inline = failure(tasks.returns_coroutine, engine=Engine())

        assert (isolated.type, isolated.message) == (inline.type, inline.message)

    def test_none(self) -> None:
        """A function that returns nothing succeeds."""
        assert output(tasks.nothing) is None


class TestContext:
    @pytest.mark.parametrize("fn", [tasks.use_context, tasks.use_async_context])
    def test_as_inline(self, fn: Callable[..., Any]) -> None:
        """A context gives and records the same as that of an inline task."""
        place = Environment(
            "production", params={"region": "eu"}, tier="live", limits={"task_timeout": "1m"}
        )
        isolated, inline = (
            run_one(fn, params={"version": "2"}, environment=place, engine=engine)
            for engine in (Engine(isolation="process"), Engine())
        )

        outputs = [dict(result.tasks["it"].output) for result in (isolated, inline)]
        for one, result in zip(outputs, (isolated, inline), strict=True):
            assert one.pop("run_id") == result.run_id
            assert len(one.pop("key")) == 32
        assert outputs[0] == outputs[1]
        assert outputs[0]["checkpoints"] == {"step": [1, 2]}
        assert outputs[0]["place"] == {"region": "eu"}
        for kind in ("logged", "change_recorded", "checkpoint_saved"):
            assert events(isolated, kind) == events(inline, kind) != []
        readings = events(isolated, "reading_taken")
        assert [(r.probe, r.health, r.calls) for r in readings] == [
            ("Healthy()", "healthy", None),
            ("Healthy()", "healthy", 1),
        ]
        assert readings[0].evidence != {"pid": os.getpid()}

    def test_resume(self) -> None:
        """Every attempt has its number, and finds what earlier ones saved."""
        result = run_one(tasks.resume, retry=Retry(attempts=2, backoff=0, on=ConnectionError))

        assert result.raise_for_status().tasks["it"].output == {
            "seen": {"attempt": 1},
            "attempt": 2,
        }

    def test_map(self) -> None:
        """Each item of a map has a process and its item."""
        workflow = Workflow("w")
        workflow.add_map("it", tasks.map_item, over=[1, 2])

        result = Engine(isolation="process").execute(workflow).raise_for_status()

        assert result.tasks["it"].output == [[2, 1, "it[1]"], [4, 2, "it[2]"]]

    def test_opaque_parameter(self) -> None:
        """A parameter that stays behind is missed only by the task that asks for it."""
        error = failure(tasks.ask_for_probe, params={"probe": tasks.Healthy(), "version": "2"})

        assert error.message.startswith("params['probe']: Healthy() is a Healthy, which cannot")

    def test_unknown_outcome(self) -> None:
        """There is no outcome of a task that is not there."""
        error = failure(tasks.ask_outcome)

        assert (error.type, error.message) == ("KeyError", "'nobody'")

    @pytest.mark.parametrize("fn", [tasks.say_too_much, tasks.save_much])
    def test_too_much(self, fn: Callable[..., Any]) -> None:
        """What is too large for a message is refused, in both directions."""
        error = failure(fn)

        assert error.type == "pyflow.errors.CodecError"
        assert "pass between an isolated task and its engine" in error.message

    def test_poll_in_vain(self) -> None:
        """A poll that ends without its reading raises as it does inline."""
        error = failure(tasks.poll_in_vain)

        assert error.type == "pyflow.errors.PollTimeout"

    def test_timeout_in_a_wait(self) -> None:
        """A timeout of the task's own, around a wait, is its own."""
        assert failure(tasks.fail_in_a_wait).type == "TimeoutError"

    def test_stop(self) -> None:
        """A wait that the engine refuses raises RunStopping in the task."""
        with pytest.raises(ChildFailed) as raised:
            directly(call_directly(tasks.sleep_for_ever))

        assert raised.value.seen.type == "pyflow.errors.RunStopping"
        assert raised.value.seen.text == "told to"

    @pytest.mark.parametrize("fn", [tasks.sleep_on, tasks.sleep_on_async])
    def test_cancel(self, fn: Callable[..., Any], lifeline: Lifeline) -> None:
        """Cancelling the run cuts a sleep short, and the task ends as cancelled."""
        workflow = Workflow("w", params={"lifeline": str})
        workflow.add_task("it", fn)
        with Engine(isolation="process") as engine:
            run = engine.start(workflow, params={"lifeline": lifeline.path})
            assert lifeline.word() == "asleep"

            run.cancel()
            result = run.wait(PATIENCE_S)

        assert result.status == "cancelled"
        assert result.tasks["it"].status == "cancelled"
        assert lifeline.rest() == []


class TestFailure:
    @pytest.mark.parametrize("fn", [tasks.break_down, tasks.break_down_async, tasks.leave])
    def test_as_inline(self, fn: Callable[..., Any]) -> None:
        """An exception is recorded exactly as that of an inline task."""
        isolated = failure(fn)
        inline = failure(fn, engine=Engine())

        assert isolated.message
        assert isolated.traceback
        assert [isolated.type, isolated.message, isolated.traceback] == [
            inline.type,
            inline.message,
            inline.traceback,
        ]

    @pytest.mark.parametrize(
        ("on", "attempts"), [(tasks.Broken, 2), (LookupError, 2), (ValueError, 1)]
    )
    def test_retry(self, on: type[Exception], attempts: int) -> None:
        """An exception is retried by its own class, and by any of its bases."""
        result = run_one(tasks.break_down, retry=Retry(attempts=2, backoff=0, on=on))

        assert result.tasks["it"].attempts == attempts

    def test_cause(self) -> None:
        """The cause of the error says the type and the text."""
        cause = failure(tasks.break_down_async).__cause__

        assert str(cause) == "support.isolated_tasks.Broken: it broke"

    def test_too_large(self) -> None:
        """A text that is too large to be handed over is left out as a whole."""
        error = failure(tasks.raise_much)

        assert (error.type, error.message) == (
            "ValueError",
            "<its text of 2,000,000 characters is too large to be handed over>",
        )

    def test_own_timeout(self) -> None:
        """A TaskTimeout that the function raises is one."""
        assert isinstance(failure(tasks.raise_timeout), TaskTimeout)

    @pytest.mark.parametrize(
        ("fn", "number", "code", "says"),
        [
            (tasks.end_process, 3, 3, "ended with exit code 3 and without an answer"),
            (tasks.end_process, 0, 0, "ended with exit code 0 and without an answer"),
            (tasks.signal_itself, int(signal.SIGKILL), -9, "was killed by SIGKILL"),
            (tasks.signal_itself, int(signal.SIGSEGV), -11, "was killed by SIGSEGV"),
            (tasks.signal_itself, signal.SIGRTMIN + 3, -signal.SIGRTMIN - 3, "killed by signal"),
        ],
    )
    def test_death(self, fn: Callable[..., Any], number: int, code: int, says: str) -> None:
        """A process that ends without an answer is a failure that says how it ended."""
        with pytest.raises(ProcessFailed, match=says) as raised:
            directly(call_directly(fn, number=number))

        assert (raised.value.code, raised.value.task) == (code, "it")

    def test_death_is_retried(self) -> None:
        """A process that was killed is worth another attempt."""
        result = run_one(
            tasks.end_process, params={"number": 3}, retry=Retry(attempts=2, backoff=0)
        )

        assert result.tasks["it"].attempts == 2

    @pytest.mark.parametrize(
        "text",
        [
            "\xff\xff\xff\xff",
            framed("{]"),
            framed("[]"),
            framed("0"),
            framed('{"waited":7}'),
            framed('{"note":"task_failed","data":{"reason":"because"}}'),
            framed('{"note":"logged","data":{"text":"no such field"}}'),
        ],
    )
    def test_garbage(self, text: str) -> None:
        """A task that writes on the socket itself is stopped."""
        with pytest.raises(ProcessFailed, match="sent something that is no message"):
            directly(call_directly(tasks.write_garbage, text=text))

    def test_speaks_for_itself(self) -> None:
        """Whatever a process says is recorded as said by its own task."""
        note = framed('{"note":"logged","data":{"task":"other","message":"done"}}')

        async def main() -> FakeDesk:
            desk = FakeDesk()
            with pytest.raises(ProcessFailed):
                await call_directly(tasks.write_garbage, desk=desk, text=note + framed("0"))
            return desk

        assert asyncio.run(main()).noted == [Logged("it", "done")]

    def test_hang_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that hangs up and goes on is stopped."""
        monkeypatch.setattr(process, "GRACE_S", 0.05)

        with pytest.raises(ProcessFailed, match="hung up without an answer and went on"):
            directly(call_directly(tasks.hang_up))

    def test_no_interpreter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An interpreter that cannot be started leaves nothing behind."""
        monkeypatch.setattr(sys, "executable", "/nowhere/python")

        with pytest.raises(FileNotFoundError, match="/nowhere/python"):
            directly(call_directly(tasks.nothing))


class TestStopping:
    @pytest.mark.parametrize("fn", [tasks.hold_on, tasks.hold_on_async])
    def test_timeout(self, fn: Callable[..., Any], lifeline: Lifeline) -> None:
        """A timeout ends the process and the programs that it started."""
        workflow = Workflow("w", params={"lifeline": str})
        workflow.add_task("it", fn, timeout=tasks.FOREVER)
        engine = Engine(isolation="process")

        result = expire(engine.run(workflow, params={"lifeline": lifeline.path}), lifeline)

        error = result.tasks["it"].error
        assert isinstance(error, TaskTimeout)
        assert "took longer than its timeout of 3600 s; its process was stopped" in str(error)
        assert not result.tasks["it"].still_running
        assert lifeline.rest() == []

    def test_ignores_term(self, lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who ignores TERM gets KILL after the grace."""
        monkeypatch.setattr(process, "GRACE_S", 0.2)
        call = call_directly(tasks.hold_on_stubbornly, tasks.FOREVER, lifeline=lifeline.path)

        with pytest.raises(TaskTimeout):
            expire(call, lifeline)

        assert lifeline.rest() == ["TERM"]

    @pytest.mark.parametrize("fn", [tasks.tidy_up, tasks.tidy_up_async])
    def test_tidies_up(self, fn: Callable[..., Any], lifeline: Lifeline) -> None:
        """A function that is stopped runs its `finally`."""
        with pytest.raises(TaskTimeout):
            expire(call_directly(fn, tasks.FOREVER, lifeline=lifeline.path), lifeline)

        assert lifeline.rest() == ["tidy"]

    def test_retry_after_timeout(self, lifeline: Lifeline) -> None:
        """An attempt that timed out is really over, so another one may be made."""
        workflow = Workflow("w", params={"lifeline": str})
        retry = Retry(attempts=2, backoff=0)
        workflow.add_task("it", tasks.hold_on, timeout=tasks.FOREVER, retry=retry)
        run = Engine(isolation="process").run(workflow, params={"lifeline": lifeline.path})

        result = expire(run, lifeline, attempts=2)

        assert result.tasks["it"].attempts == 2
        assert lifeline.rest() == []

    def test_left_behind(self, lifeline: Lifeline) -> None:
        """A program that a finished task has left behind ends with it."""
        assert output(tasks.leave_behind, params={"lifeline": lifeline.path}) == "done"

        assert lifeline.rest() == ["holding"]

    def test_thread_left_behind(
        self,
        lifeline: Lifeline,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """A thread that goes on does not keep a finished task from ending, without a word."""
        monkeypatch.setattr(process, "GRACE_S", 0.05)

        assert output(tasks.leave_thread, params={"lifeline": lifeline.path}) == "done"

        assert lifeline.rest() == ["holding"]
        assert capfd.readouterr().err == ""

    def test_fork(self, lifeline: Lifeline) -> None:
        """A forked copy does not hide the death of the process, and ends with it."""
        with pytest.raises(ProcessFailed, match="exit code 3"):
            directly(call_directly(tasks.fork_and_die, lifeline=lifeline.path))

        assert lifeline.rest() == ["holding"]

    def test_cancelled(self, lifeline: Lifeline) -> None:
        """Cancelling the call ends the process before it lets go."""

        async def main() -> None:
            task = asyncio.create_task(call_directly(tasks.hold_on, lifeline=lifeline.path))
            assert await asyncio.to_thread(lifeline.word) == "holding"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())

        assert lifeline.rest() == []

    def test_cancelled_again(self, lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch) -> None:
        """A second cancellation does without the grace."""
        monkeypatch.setattr(process, "GRACE_S", tasks.FOREVER)

        async def main() -> None:
            task = asyncio.create_task(
                call_directly(tasks.hold_on_stubbornly, lifeline=lifeline.path)
            )
            assert await asyncio.to_thread(lifeline.word) == "holding"
            task.cancel()
            assert await asyncio.to_thread(lifeline.word) == "TERM"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())

        assert lifeline.rest() == []

    def test_cancelled_in_a_wait(self, lifeline: Lifeline) -> None:
        """Cancelling the call ends the wait that the engine keeps for it."""

        async def main() -> None:
            desk = SlowDesk()
            call = call_directly(tasks.sleep_on, desk=desk, lifeline=lifeline.path)
            task = asyncio.create_task(call)
            await desk.began.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert desk.ended.is_set()

        asyncio.run(main())

        assert lifeline.rest() == ["asleep"]

    @pytest.mark.parametrize("turns", range(8))
    def test_cancelled_at_the_start(self, turns: int) -> None:
        """A cancellation that lands while the process starts leaves nothing."""

        async def main() -> None:
            task = asyncio.create_task(call_directly(tasks.hold_on, lifeline="/nowhere"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())

    def test_no_time_at_all(self) -> None:
        """A timeout that is over before the process has started is a timeout."""
        with pytest.raises(TaskTimeout):
            directly(call_directly(tasks.nothing, 0.001))

    def test_engine_dies(self, lifeline: Lifeline) -> None:
        """A process whose engine is killed ends, with all that it started."""
        program = f"""
            import sys
            sys.path[:] = {sys.path!r}
            import pyflow
            from support import isolated_tasks as tasks
            workflow = pyflow.Workflow("w", params={{"lifeline": str}})
            workflow.add_task("it", tasks.hold_on)
            pyflow.Engine(isolation="process").execute(
                workflow, params={{"lifeline": {lifeline.path!r}}}
            )
        """
        with subprocess.Popen([sys.executable, "-I", "-c", textwrap.dedent(program)]) as engine:
            assert lifeline.word() == "holding"
            engine.kill()

        assert lifeline.rest() == []


class TestRecovery:
    def test_undo(self) -> None:
        """The undo of an isolated task runs in a process of its own, and may return anything."""
        workflow = Workflow("w")
        workflow.add_task("apply", tasks.apply)
        workflow.add_task("fail_after", tasks.fail_after)
        workflow.add_recovery("apply", tasks.undo_apply)

        result = Engine(isolation="process").execute(workflow)

        assert result.status == "rolled_back"
        (said,) = events(result, "logged")
        assert said.task == "apply"
        assert said.data["pid"] not in (os.getpid(), result.tasks["apply"].output["pid"])
        assert said.data["applied"] == result.tasks["apply"].output
        assert said.data["cause"] == ["support.isolated_tasks.Broken", "so roll back"]

    def test_repair(self, lifeline: Lifeline) -> None:
        """A repair of an isolated task runs in one too, and is told the cause."""
        workflow = Workflow("w", params={"lifeline": str})
        workflow.add_task("it", tasks.hold_on, timeout=tasks.FOREVER)
        workflow.add_recovery("it", tasks.repair_async, then="continue")
        run = Engine(isolation="process").run(workflow, params={"lifeline": lifeline.path})

        result = expire(run, lifeline)

        assert result.raise_for_status().tasks["it"].output == {
            "cause": "TaskTimeout",
            "timeout": True,
        }
