"""Functions that run in processes of their own, so a fresh interpreter must be able to import them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, NoReturn

from pyflow import AsyncContext, AsyncRecoveryContext, Context, Reading, RecoveryContext, Secret
from pyflow.errors import TaskTimeout, Unconfirmed
from pyflow.programs import call
from pyflow.record.events import MeasurementTaken
from support.secret_matrix import said

FOREVER = 3_600

NOT_GIVEN = object()

mood = "as imported"


class Size(Enum):
    SMALL = 1
    LARGE = 2


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True)
class Layer:
    digest: str


@dataclass
class Image:
    name: str
    size: Size = Size.SMALL
    layers: tuple[Layer, ...] = ()
    built: datetime = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
    took: timedelta = timedelta(days=1, microseconds=5)
    path: Path = Path("/srv/image")
    tags: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    label: str = field(init=False)

    def __post_init__(self) -> None:
        self.label = f"{self.name}:{self.size.name}"


@dataclass
class Wallet:
    token: Secret
    spare: PurePosixPath | None = None


class Broken(LookupError):
    """An error of the program's own."""


class Healthy:
    """A probe."""

    def __init__(self, health: Any = "healthy") -> None:
        self.health = health

    async def read(self) -> Reading:
        return Reading(self.health, {"pid": os.getpid()})

    def __repr__(self) -> str:
        return "Healthy()"


# What a task sees -------------------------------------------------------------------------


def see_mood() -> str:
    return mood


def see_world() -> dict[str, Any]:
    return {
        "environ": dict(os.environ),
        "pid": os.getpid(),
        "leads": os.getsid(0) == os.getpgid(0) == os.getpid(),
        "stdin": sys.stdin.read(),
        "argv": sys.argv,
        "isolated": sys.flags.isolated == 1,
        "main": threading.current_thread() is threading.main_thread(),
        "path": [*sys.path],
    }


async def see_pid() -> int:
    return os.getpid()


async def see_world_async() -> dict[str, Any]:
    return see_world()


def see_sockets() -> list[bool]:
    """Return, for every socket, whether a program that is started would get it."""
    return [os.get_inheritable(number) for number in sockets()]


def sockets() -> list[int]:
    return [n for n in range(3, 64) if is_socket(n)]


def is_socket(number: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False


# Values -----------------------------------------------------------------------------------


def make_image() -> Image:
    return Image("shop", Size.LARGE, (Layer("a"), Layer("b")), tags={"v": [1, 2]})


def give_image(image: Image) -> Image:
    assert image.label == "shop:LARGE"
    return image


def name_classes(made, whole) -> list[str]:
    return [type(made).__qualname__, type(made.size).__qualname__, type(whole).__qualname__]


def digest(token: Secret) -> str:
    assert isinstance(token, Secret)
    return hashlib.sha256(token.reveal().encode()).hexdigest()


def digest_wallet(wallet: Wallet) -> str:
    return digest(wallet.token)


def give_secret(token: Secret) -> Secret:
    return token


def use_probe(probe: Any) -> None:
    raise AssertionError("it must not be called")


def use_default(made: Any = NOT_GIVEN) -> bool:
    return made is NOT_GIVEN


def returns_object() -> Any:
    return object()


def returns_secret(token: Secret) -> str:
    return token.reveal()


def returns_coroutine() -> Any:
    return see_world_async()


def returns_text(chars: int) -> str:
    return "é" * chars


def nothing() -> None:
    return None


# Contexts ---------------------------------------------------------------------------------


def use_context(ctx: Context) -> dict[str, Any]:
    ctx.log("begun", size=2)
    ctx.record_change("lb/shop", before=1, after={"weight": 2})
    ctx.checkpoint("step", [1, 2])
    ctx.sleep("1ms")
    reading = ctx.read(Healthy())
    polled = ctx.poll(Healthy(), timeout="5s")
    assert polled.reading == reading
    return facts(ctx)


async def use_async_context(ctx: AsyncContext) -> dict[str, Any]:
    ctx.log("begun", size=2)
    ctx.record_change("lb/shop", before=1, after={"weight": 2})
    ctx.checkpoint("step", [1, 2])
    await ctx.sleep("1ms")
    reading = await ctx.read(Healthy())
    polled = await ctx.poll(Healthy(), timeout="5s")
    assert polled.reading == reading
    return facts(ctx)


def facts(ctx: Context | AsyncContext) -> dict[str, Any]:
    environment = ctx.environment
    return {
        "repr": repr(ctx),
        "run_id": ctx.run_id,
        "workflow": ctx.workflow,
        "task": ctx.task,
        "attempt": ctx.attempt,
        "item": ctx.item,
        "key": ctx.idempotency_key,
        "params": dict(ctx.params),
        "checkpoints": dict(ctx.checkpoints),
        "own": ctx.outcome(ctx.task),
        "environment": environment and [environment.name, environment.tier, environment.limits],
        "place": environment and dict(environment.params),
    }


def sleep_for_ever(ctx: Context) -> None:
    ctx.sleep(FOREVER)


async def sleep_for_ever_async(ctx: AsyncContext) -> None:
    await ctx.sleep(FOREVER)


def ask_for_probe(ctx: Context) -> Any:
    assert "version" in ctx.params
    return ctx.params["probe"]


def ask_outcome(ctx: Context) -> str:
    return ctx.outcome("nobody")


def say_too_much(ctx: Context) -> None:
    ctx.log("é" * 600_000)


def save_much(ctx: Context) -> None:
    for number in range(3):
        ctx.checkpoint(str(number), "x" * 400_000)
    _ = ctx.checkpoints


async def poll_in_vain(ctx: AsyncContext) -> None:
    await ctx.poll(Healthy("unhealthy"), timeout="20ms", backoff="1ms")


async def fail_in_a_wait(ctx: AsyncContext) -> None:
    async with asyncio.timeout(0.01):
        await ctx.sleep(FOREVER)


def resume(ctx: Context) -> dict[str, Any]:
    seen = dict(ctx.checkpoints)
    ctx.checkpoint("attempt", ctx.attempt)
    if ctx.attempt == 1:
        raise ConnectionError("gone")
    return {"seen": seen, "attempt": ctx.attempt}


def map_item(ctx: Context, item: int) -> list[Any]:
    return [item * 2, ctx.item, ctx.task]


# Failures ---------------------------------------------------------------------------------


def break_down() -> NoReturn:
    try:
        raise KeyError("inner")
    except KeyError as error:
        broken = Broken("it broke")
        broken.add_note("look at the fuse")
        raise broken from error


async def break_down_async() -> NoReturn:
    raise Broken("it broke")


async def leave() -> NoReturn:
    sys.exit("enough")


def raise_question() -> NoReturn:
    raise Unconfirmed("after 7 tries it is not so")


def raise_much() -> NoReturn:
    raise ValueError("x" * 2_000_000)


def raise_timeout() -> NoReturn:
    raise TaskTimeout("it", "TaskTimeout", "its own")


def show_secret(token: Secret) -> NoReturn:
    raise ValueError(f"cannot log in with {token.reveal()}")


def end_process(number: int) -> None:
    os._exit(number)


def signal_itself(number: int) -> None:
    os.kill(os.getpid(), number)


def babble() -> str:
    os.write(1, b'\0\0\0\x08{"ok":1}\n')
    print("noise on standard output", flush=True)  # noqa: T201
    print("noise on standard error", file=sys.stderr)  # noqa: T201
    return "said"


def write_garbage(text: str) -> None:
    data = text.encode("latin-1")
    for number in sockets():
        os.write(number, data)
    threading.Event().wait(FOREVER)


def hang_up() -> None:
    for number in sockets():
        socket.socket(fileno=os.dup(number)).shutdown(socket.SHUT_WR)
    threading.Event().wait(FOREVER)


# Hanging on -------------------------------------------------------------------------------


def hold_on(lifeline: str) -> None:
    """Hold *lifeline* open, here and in a program of its own, for ever."""
    _hold(lifeline, "holding")
    threading.Event().wait(FOREVER)


async def hold_on_async(lifeline: str) -> None:
    _hold(lifeline, "holding")
    await asyncio.sleep(FOREVER)


def hold_on_stubbornly(lifeline: str) -> None:
    """Ignore TERM, say that it came, and have a program that ignores it too."""
    end = _hold(lifeline, "", "trap '' TERM; ")
    signal.signal(signal.SIGTERM, lambda *_: os.write(end, b"TERM\n"))
    os.write(end, b"holding\n")
    while True:
        threading.Event().wait(FOREVER)


def tidy_up(lifeline: str) -> None:
    end = _hold(lifeline, "")
    try:
        os.write(end, b"holding\n")
        threading.Event().wait(FOREVER)
    finally:
        os.write(end, b"tidy\n")


async def tidy_up_async(lifeline: str) -> None:
    end = _hold(lifeline, "")
    try:
        os.write(end, b"holding\n")
        await asyncio.sleep(FOREVER)
    finally:
        os.write(end, b"tidy\n")


def leave_behind(lifeline: str) -> str:
    _hold(lifeline, "holding")
    return "done"


def leave_thread(lifeline: str) -> str:
    _hold(lifeline, "holding")
    threading.Thread(target=threading.Event().wait, args=(FOREVER,)).start()
    return "done"


def fork_and_die(lifeline: str) -> None:
    _hold(lifeline, "")
    if os.fork() == 0:
        os.write(1, b"")
        threading.Event().wait(FOREVER)
    end = os.open(lifeline, os.O_WRONLY)
    os.write(end, b"holding\n")
    os._exit(3)


def sleep_on(ctx: Context, lifeline: str) -> None:
    end = os.open(lifeline, os.O_WRONLY)
    ctx.log("asleep")
    os.write(end, b"asleep\n")
    ctx.sleep(FOREVER)


async def sleep_on_async(ctx: AsyncContext, lifeline: str) -> None:
    end = os.open(lifeline, os.O_WRONLY)
    os.write(end, b"asleep\n")
    await ctx.sleep(FOREVER)


def _hold(lifeline: str, word: str, before: str = "") -> int:
    end = os.open(lifeline, os.O_WRONLY)
    os.set_inheritable(end, True)
    program = ["/bin/sh", "-c", f"{before}echo ready; while :; do sleep 100; done"]
    grandchild = subprocess.Popen(program, close_fds=False, stdout=subprocess.PIPE)
    assert grandchild.stdout is not None
    grandchild.stdout.readline()
    if word:
        os.write(end, f"{word}\n".encode())
    return end


# Recoveries -------------------------------------------------------------------------------


def apply(ctx: Context) -> dict[str, int]:
    return {"pid": os.getpid()}


def fail_after(apply: dict[str, int]) -> NoReturn:
    raise Broken("so roll back")


def undo_apply(ctx: RecoveryContext, apply: dict[str, int] | None) -> object:
    assert ctx.cause is not None
    ctx.log("undone", pid=os.getpid(), applied=apply, cause=[ctx.cause.type, ctx.cause.message])
    return object()  # nobody wants it


async def repair_async(ctx: AsyncRecoveryContext) -> dict[str, Any]:
    assert ctx.cause is not None
    return {"cause": ctx.cause.type, "timeout": isinstance(ctx.cause, TaskTimeout)}


def save_and_look(ctx: Context, path: str) -> list[Any]:
    from pyflow import Engine

    ctx.checkpoint("at", 7)
    with Engine(journal=path) as engine:
        (run_id,) = engine.journal.runs()
        records = engine.journal.read(run_id)
    return [record.data["value"] for record in records if record.kind == "checkpoint_saved"]


def save_and_go_on(ctx: Context) -> None:
    ctx.checkpoint("at", 7)
    raise AssertionError("it went on")


def fences(ctx: Context) -> dict[str, int]:
    return dict(ctx.fencing_tokens)


async def fences_async(ctx: AsyncContext) -> list[int]:
    return [ctx.fencing_token, *ctx.fencing_tokens.values()]


async def measure(ctx: AsyncContext) -> list[int]:
    """Measure twice, and return the numbers of what interrupted attempts had measured."""
    before = [measured.number for measured in ctx.measurements]
    for number in (1, 2):
        ctx.record_measurement(MeasurementTaken("?", "p99", number, "pass", "go_on", {"v": 0.1}))
    return before


def tell_all(ctx: Context) -> list[str]:
    """Say every secret, and return which of them the arguments and the environment show."""
    own = Path("/proc/self/cmdline").read_bytes() + Path("/proc/self/environ").read_bytes()
    for secret in ctx.params.values():
        ctx.log(said(secret.reveal()))
    return [name for name, secret in ctx.params.items() if secret.reveal().encode() in own]


def fail_with_all(ctx: Context) -> NoReturn:
    """Raise an error that says every secret."""
    words = "\n".join(said(secret.reveal()) for secret in ctx.params.values())
    error = RuntimeError(words)
    error.add_note(words)
    raise error from ValueError(words)


def save_a_secret(ctx: Context, token: Secret) -> None:
    """Save progress under a key that nobody may read."""
    ctx.checkpoint(token.reveal(), 1)


async def see_trace(ctx: AsyncContext) -> list[str]:
    """Return what this process, its context, and a program that it calls say of the trace."""
    code = "import os; print(os.environ['TRACEPARENT'])"
    done = await call([sys.executable, "-c", code], env={"PATH": os.environ["PATH"]})
    environ = os.environ
    return [ctx.traceparent, environ["TRACEPARENT"], environ["TRACESTATE"], done.stdout.strip()]
