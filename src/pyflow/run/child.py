"""The process of an isolated task: calls one function, and sends back what came of it.

Its contexts are those of every task. Behind them is a desk that speaks with
the engine over the socket that this process was started with. When that
socket ends, the engine is gone: this process and all that it started end with
it, because another engine may start the task again.

The other end is `pyflow.run.process`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pyflow.define.environment import Environment
from pyflow.errors import CodecError, JournalError, RunStopping, TaskError, TaskTimeout
from pyflow.frozen import fields_of
from pyflow.record.codec import event_data
from pyflow.record.events import MeasurementTaken
from pyflow.record.values import encode
from pyflow.run.calls import make_context, not_awaitable
from pyflow.run.context import AsyncContext, Call, Context
from pyflow.run.executors import wait_from_thread
from pyflow.run.failures import Seen, see
from pyflow.run.parcels import frame, locate, receive, unpack
from pyflow.tracing import trace_of

if TYPE_CHECKING:
    import socket

    from pyflow.record.events import CheckpointSaved, Event

__all__ = ["Link", "main", "perform"]

T = TypeVar("T")


def main(line: socket.socket) -> None:
    """Do what the engine asks for over *line*, and answer."""
    os.set_inheritable(line.fileno(), False)
    os.register_at_fork(after_in_child=line.close)
    request = receive(line)
    if request is None:
        return
    link = Link(line)
    threading.Thread(target=_listen, args=(link,), name="pyflow-link", daemon=True).start()
    # To be stopped is an exception, as it is for an inline task, so that `finally` runs.
    signal.signal(signal.SIGTERM, _leave)
    answer = perform(request, link)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    link.send(answer)


def _listen(link: Link) -> None:
    link.listen()
    os.killpg(0, signal.SIGKILL)


def _leave(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - what a handler is called with
    raise SystemExit("the task was stopped")


# The call ---------------------------------------------------------------------------------


def perform(request: Mapping[str, Any], link: Link) -> bytes:
    """Call the function of *request*, and return the answer, ready to be sent."""
    try:
        fn = _function(request["module"], request["qualname"])
        arguments = {name: unpack(value) for name, value in request["arguments"].items()}
        if request["asynchronous"]:
            with asyncio.Runner() as runner:
                arguments |= _contexts(request, link, runner.get_loop())
                return runner.run(_perform(fn, arguments, request["role"]))
        with _loop_aside() as loop:
            arguments |= _contexts(request, link, loop)
            return _returned(not_awaitable(fn(**arguments)), request["role"])
    except BaseException as error:  # noqa: BLE001 - whatever it raises is its failure
        return _raised(error)


async def _perform(fn: Any, arguments: dict[str, Any], role: str) -> bytes:
    try:
        return _returned(await fn(**arguments), role)
    except BaseException as error:  # noqa: BLE001 - caught here, it has no frames of asyncio's
        return _raised(error)


def _function(module: str, qualname: str) -> Any:
    try:
        return locate(module, qualname)
    except ImportError as error:
        error.add_note(
            f"{module}.{qualname} was to run in a process of its own, which imports it by that "
            "name; define it in a module that can be imported from sys.path"
        )
        raise


def _returned(value: object, role: str) -> bytes:
    # What an undo returns is of no use to anybody, so it may be anything.
    return frame({"ok": None if role == "undo" else encode(value)}, "output")


def _raised(error: BaseException) -> bytes:
    seen = see(error)
    try:
        return frame({"error": _fields(seen)}, "error")
    except CodecError:
        # It is not cut here: the engine redacts whole texts, and half a secret is none it knows.
        text = f"<its text of {len(seen.text):,} characters is too large to be handed over>"
        return frame({"error": _fields(Seen(seen.type, text, "", seen.kinds))}, "error")


def _fields(seen: Seen) -> dict[str, Any]:
    return {name: getattr(seen, name) for name in fields_of(Seen)}


@contextmanager
def _loop_aside() -> Generator[asyncio.AbstractEventLoop]:
    """Run a loop on another thread, for the waits of a plain function, which has this one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="pyflow-waits", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


# The context ------------------------------------------------------------------------------


def _contexts(
    request: Mapping[str, Any], link: Link, loop: asyncio.AbstractEventLoop
) -> dict[str, AsyncContext | Context]:
    if not request["contexts"]:
        return {}
    facts = request["facts"]
    call = Call(
        facts["task"],
        facts["attempt"],
        role=request["role"],
        item=facts["item"],
        cause=_cause(facts["cause"]),
        outcome=facts["outcome"],
    )
    context = make_context(ChildDesk(facts, link, loop), call, asynchronous=request["asynchronous"])
    return dict.fromkeys(request["contexts"], context)


def _cause(data: dict[str, Any] | None) -> TaskError | None:
    if data is None:
        return None
    return (TaskTimeout if data["timeout"] else TaskError)(*data["args"])


def _environment(data: dict[str, Any] | None) -> Environment | None:
    if data is None:
        return None
    limits, params = unpack(data["limits"]), Known(data["params"])
    return Environment(data["name"], params=params, tier=data["tier"], limits=limits)


class Known(Mapping[str, Any]):
    """Parameters, of which some could not come along; asking for one of those says why."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._values = {name: unpack(value) for name, value in data["values"].items()}
        self._withheld: dict[str, str] = data["withheld"]

    def __getitem__(self, name: str) -> Any:
        if name in self._withheld:
            raise CodecError(f"params[{name!r}]", self._withheld[name])
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


class ChildDesk:
    """Serves a context from afar; a `pyflow.run.context.Desk`."""

    def __init__(
        self, facts: Mapping[str, Any], link: Link, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.run_id: str = facts["run_id"]
        self.workflow: str = facts["workflow"]
        self.environment = _environment(facts["environment"])
        self.loop = loop
        self.rng = random.Random(facts["seed"])  # noqa: S311 - jitter, nothing secret
        self.trace = trace_of(self.run_id, facts["origin"])
        self._params = Known(facts["params"])
        self._fencing_tokens: dict[str, int] = facts["fencing_tokens"]
        self._link = link
        self._scopes: dict[int, asyncio.Timeout] = {}

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters as tasks see them, without those that only the engine's process has."""
        return self._params

    def note(self, event: Event) -> None:
        """Have the engine record *event*."""
        self._link.send(frame({"note": event.kind, "data": event_data(event)}, event.kind))

    def save(self, event: CheckpointSaved) -> None:
        """Have the engine record *event*, and wait until that is durable."""
        self._link.ask("save", event.key, event_data(event))

    def outcome(self, name: str) -> str:
        """Ask the engine for the status of the task *name*."""
        return self._link.ask("outcome", name)

    def cause(self, call: Call) -> TaskError | None:
        """Return the failure that led to *call*."""
        return call.cause

    def checkpoints(self, task: str) -> Mapping[str, Any]:
        """Ask the engine what attempts of *task* have saved."""
        return self._link.ask("checkpoints", task)

    def fencing_tokens(self) -> Mapping[str, int]:
        """Return the epochs of the locks that the run had when this process was asked, by resource."""
        return dict(self._fencing_tokens)

    def measurements(self, task: str) -> Sequence[MeasurementTaken]:
        """Ask the engine what attempts of *task* that did not fail have measured."""
        return [MeasurementTaken(**data) for data in self._link.ask("measurements", task)]

    async def sleep(self, call: Call, delay_s: float) -> None:
        """Wait for *delay_s* seconds, unless the engine says that the run stops.

        Raises:
            RunStopping: It was cut short.
        """
        await self.wait(call, asyncio.sleep(delay_s))

    async def wait(self, call: Call, waiting: Awaitable[T]) -> T:  # noqa: ARG002 - there is but one call
        """Wait, unless the engine says that the run stops.

        Raises:
            RunStopping: It was cut short.
        """
        reasons: list[str] = []

        def cut(number: int, reason: str) -> None:
            if number in self._scopes:  # else it has just ended by itself
                reasons.append(reason)
                self._scopes[number].reschedule(self.loop.time())

        scope = asyncio.timeout(None)
        try:
            async with scope:
                with self._link.waiting(partial(self.loop.call_soon_threadsafe, cut)) as number:
                    self._scopes[number] = scope
                    try:
                        return await waiting
                    finally:
                        del self._scopes[number]
        except TimeoutError:
            if scope.expired():
                raise RunStopping(reasons[0]) from None
            raise

    def block(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Block this thread until the loop aside has carried the coroutine out."""
        return wait_from_thread(self.loop, make)


# The line ---------------------------------------------------------------------------------


class Link:
    """This end of the socket. Any thread may send; one listens."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._replies: dict[int, Future[dict[str, Any]]] = {}
        self._waits: dict[int, Callable[[int, str], object]] = {}

    def send(self, data: bytes) -> None:
        """Send a message."""
        with self._sending:
            self._line.sendall(data)

    def ask(self, what: str, name: str, data: Mapping[str, Any] | None = None) -> Any:
        """Block until the engine has answered.

        Raises:
            KeyError: The engine knows no such task.
            JournalError: The engine could not record it.
            CodecError: The answer is too large.
        """
        number, answered = next(self._numbers), Future[dict[str, Any]]()
        self._replies[number] = answered
        self.send(frame({"ask": number, "what": what, "name": name, "data": data}, what))
        reply = answered.result()
        if "broken" in reply:
            raise JournalError(reply["broken"])
        if "unknown" in reply:
            raise KeyError(name)
        if "problem" in reply:
            raise CodecError(*reply["problem"])
        return reply["value"]

    @contextmanager
    def waiting(self, cut: Callable[[int, str], object]) -> Generator[int]:
        """Have *cut* called if the run stops meanwhile, with the number of the wait and the reason."""
        number = next(self._numbers)
        self._waits[number] = cut
        self.send(frame({"wait": number}, "wait"))
        try:
            yield number
        finally:
            del self._waits[number]
            self.send(frame({"waited": number}, "waited"))

    def listen(self) -> None:
        """Take what the engine sends, until it is gone."""
        while (message := receive(self._line)) is not None:
            if "reply" in message:
                self._replies.pop(message["reply"]).set_result(message)
            elif (cut := self._waits.get(message["stop"])) is not None:
                with suppress(RuntimeError):  # its loop has just closed
                    cut(message["stop"], message["reason"])
