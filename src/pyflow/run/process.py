"""Runs a function in a process of its own, and really stops it when its time is up.

A fresh interpreter starts in a session of its own, with an allow-listed
environment and nothing on standard input. What it is to do, what its context
asks, and what comes of it pass over a socket that nothing else inherits; its
standard output is for the function alone. Whatever ends the call, a timeout
and a cancellation included, ends the whole process group: TERM, a short
grace, KILL. Only what a function has put in another session outlives it.

The other end is `pyflow.run.child`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyflow.define.compiler import unimportable
from pyflow.define.problems import NotIsolatable
from pyflow.errors import (
    CodecError,
    DefinitionError,
    JournalError,
    ProcessFailed,
    RunStopping,
    TaskTimeout,
)
from pyflow.record.codec import decode_event, event_data
from pyflow.record.events import CheckpointSaved
from pyflow.run.failures import ChildFailed, Seen
from pyflow.run.parcels import LENGTH_BYTES, frame, pack, size_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.define.environment import Environment
    from pyflow.define.plan import Callee
    from pyflow.errors import TaskError
    from pyflow.run.context import Call, Desk

__all__ = ["run_in_process"]

GRACE_S = 2.0
REAP_S = 5.0
PAUSE_S = (0.001, 0.05)
NOTES = ("change_recorded", "logged", "measurement_taken", "reading_taken")

# An isolated interpreter (-I) knows neither PYTHONPATH nor the working directory, so
# the path of this one is the opening message.
BOOT = """
import json, socket, sys
line = socket.socket(fileno=int(sys.argv.pop()))
size = int.from_bytes(line.recv(4, socket.MSG_WAITALL), "big")
sys.path[:] = json.loads(line.recv(size, socket.MSG_WAITALL) or sys.exit(1))
from pyflow.run.child import main
main(line)
"""


async def run_in_process(
    callee: Callee,
    arguments: Mapping[str, Any],
    call: Call,
    desk: Desk,
    *,
    environ: Mapping[str, str],
    timeout_s: float | None,
) -> Any:
    """Call a function in a fresh interpreter, and return what it returned, as JSON data.

    Args:
        callee: What to call.
        arguments: What with. Contexts among them are made anew over there.
        call: Which call it is.
        desk: Serves the contexts.
        environ: The whole environment of the process.
        timeout_s: How long it may take, its start included; None for ever.

    Raises:
        ChildFailed: The function raised, or its output cannot be recorded.
        CodecError: An argument cannot enter another process.
        DefinitionError: The function cannot be found by its name.
        ProcessFailed: The process ended without an answer.
        TaskTimeout: Time was up; the process and all that it started are gone.
    """
    request = frame(_request(callee, arguments, call, desk), f"the input of {call.task}")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            answer = await _answer(
                theirs, environ, timeout_s, _Conversation(reader, writer, call, desk), request
            )
        except TimeoutError:
            raise TaskTimeout(
                call.task,
                "TaskTimeout",
                f"took longer than its timeout of {timeout_s:g} s; its process was stopped",
            ) from None
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    if "ok" in answer:
        return answer["ok"]
    seen = answer["error"]
    raise ChildFailed(Seen(seen["type"], seen["text"], seen["traceback"], tuple(seen["kinds"])))


async def _answer(
    theirs: socket.socket,
    environ: Mapping[str, str],
    timeout_s: float | None,
    conversation: _Conversation,
    request: bytes,
) -> dict[str, Any]:
    # Nothing is awaited between the start and the `try`, so no cancellation can come between.
    process = _spawn(theirs, environ)
    try:
        theirs.close()
        async with asyncio.timeout(timeout_s):
            answer = await conversation.hold(request)
        code = await _exit_code(process, GRACE_S)
    finally:
        await _stop(process)
    if answer is None:
        raise ProcessFailed(conversation.task, _ending(code), code=code)
    return answer


# The request ------------------------------------------------------------------------------


def _request(
    callee: Callee, arguments: Mapping[str, Any], call: Call, desk: Desk
) -> dict[str, Any]:
    reason = unimportable(callee.fn)
    if reason is not None:
        role = "function" if call.role == "task" else call.role
        raise DefinitionError(f"task {call.task!r}", [NotIsolatable(call.task, role, reason)])
    contexts = [wire.argument for wire in callee.wiring if wire.kind == "ctx"]
    return {
        "module": callee.fn.__module__,
        "qualname": callee.fn.__qualname__,
        "asynchronous": callee.asynchronous,
        "role": call.role,
        "arguments": {
            wire.argument: pack(arguments[wire.argument], wire.argument)
            for wire in callee.wiring
            # The function has its own defaults over there too, whatever they are.
            if wire.kind != "ctx" and arguments[wire.argument] is not wire.default
        },
        "contexts": contexts,
        "facts": _facts(call, desk) if contexts else None,
    }


def _facts(call: Call, desk: Desk) -> dict[str, Any]:
    """Return what a context knows without asking."""
    return {
        "run_id": desk.run_id,
        "workflow": desk.workflow,
        "environment": _environment(desk.environment),
        "params": _known(desk.params, "params"),
        "seed": desk.rng.getrandbits(32),
        "fencing_tokens": dict(desk.fencing_tokens()),
        "origin": desk.trace.origin,
        "task": call.task,
        "attempt": call.attempt,
        "item": call.item,
        "outcome": call.outcome,
        "cause": _cause(call.cause),
    }


def _environment(environment: Environment | None) -> dict[str, Any] | None:
    if environment is None:
        return None
    return {
        "name": environment.name,
        "tier": environment.tier,
        "limits": pack(environment.limits, "limits"),
        "params": _known(environment.params, "params"),
    }


def _known(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return *values* packed; one that stays behind is missed only by who asks for it."""
    packed: dict[str, Any] = {}
    withheld: dict[str, str] = {}
    for name, value in values.items():
        try:
            packed[name] = pack(value, f"{path}.{name}")
        except CodecError as error:
            withheld[name] = error.reason
    return {"values": packed, "withheld": withheld}


def _cause(cause: TaskError | None) -> dict[str, Any] | None:
    if cause is None:
        return None
    return {
        "timeout": isinstance(cause, TaskTimeout),
        "args": [cause.task, cause.type, cause.message, cause.traceback],
    }


# The conversation -------------------------------------------------------------------------


class _Conversation:
    """The engine's half: it hands over the request, serves the context, and takes the answer."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, call: Call, desk: Desk
    ) -> None:
        self.task = call.task
        self._reader = reader
        self._writer = writer
        self._call = call
        self._desk = desk
        self._waits: dict[int, asyncio.Task[None]] = {}

    async def hold(self, request: bytes) -> dict[str, Any] | None:
        """Return the answer, or None where the other end hangs up without one."""
        path = json.dumps([entry or str(Path.cwd()) for entry in sys.path]).encode()
        self._writer.write(len(path).to_bytes(LENGTH_BYTES, "big") + path + request)
        try:
            while True:
                message = await self._receive()
                if message is None or "ok" in message or "error" in message:
                    return message
                self._serve(message)
        except (ValueError, LookupError, TypeError, JournalError) as error:
            raise ProcessFailed(
                self.task,
                f"sent something that is no message ({error}), and was stopped; nothing but its "
                "context may write to the socket that it was started with",
            ) from error
        finally:
            for wait in self._waits.values():
                wait.cancel()
            await asyncio.gather(*self._waits.values(), return_exceptions=True)

    async def _receive(self) -> dict[str, Any] | None:
        try:
            size = size_of(await self._reader.readexactly(LENGTH_BYTES))
            return json.loads(await self._reader.readexactly(size))
        except (EOFError, OSError):
            return None

    def _send(self, message: dict[str, Any], what: str = "the engine's answer") -> None:
        self._writer.write(frame(message, what))

    def _serve(self, message: dict[str, Any]) -> None:
        if "note" in message:
            kind = NOTES[NOTES.index(message["note"])]
            self._desk.note(decode_event(kind, {**message["data"], "task": self.task}))
        elif "wait" in message:
            number = message["wait"]
            self._waits[number] = asyncio.create_task(self._watch(number))
        elif "waited" in message:
            self._waits.pop(message["waited"]).cancel()
        else:
            self._tell(message["ask"], message["what"], message["name"], message["data"])

    async def _watch(self, number: int) -> None:
        """Tell the other end if a wait of its is to be cut short."""
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            await self._desk.wait(self._call, never)
        except RunStopping as stopping:
            self._send({"stop": number, "reason": str(stopping)})

    def _tell(self, number: int, what: str, name: str, data: dict[str, Any] | None) -> None:
        reply: dict[str, Any] = {"reply": number}
        try:
            if what == "outcome":
                reply["value"] = self._desk.outcome(name)
            elif what == "save":
                self._desk.save(CheckpointSaved(self.task, name, (data or {}).get("value")))
                reply["value"] = None
            elif what == "measurements":
                reply["value"] = [event_data(e) for e in self._desk.measurements(self.task)]
            else:
                reply["value"] = dict(self._desk.checkpoints(self.task))
            self._send(reply, what)
        except KeyError:
            self._send({"reply": number, "unknown": name})
        except JournalError as error:
            self._send({"reply": number, "broken": str(error)})
        except CodecError as error:
            self._send({"reply": number, "problem": [error.path, error.reason]})


# The process ------------------------------------------------------------------------------


def _spawn(theirs: socket.socket, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    number = theirs.fileno()
    return subprocess.Popen(  # noqa: S603 - our own interpreter, and no shell
        [sys.executable, "-I", "-c", BOOT, str(number)],
        stdin=subprocess.DEVNULL,
        env=dict(environ),
        pass_fds=(number,),
        start_new_session=True,
    )


async def _exit_code(process: subprocess.Popen[bytes], patience_s: float) -> int | None:
    """Wait until *process* has ended, and return its exit code; None where it goes on.

    Its socket has told before that it is about to end, so looking again and
    again takes a moment, and neither a thread nor a signal handler.
    """
    now = asyncio.get_running_loop().time
    deadline = now() + patience_s
    pause_s, longest_s = PAUSE_S
    while process.poll() is None and now() < deadline:
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, longest_s)
    return process.returncode


async def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the group of *process*, and reap it."""
    try:
        if process.poll() is None:
            _signal_group(process, signal.SIGTERM)
            await _exit_code(process, GRACE_S)
    finally:
        # A second cancellation does without the grace, and never without the KILL.
        _signal_group(process, signal.SIGKILL)
        _reap(process)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # Gone is what we want; some systems answer EPERM for a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _reap(process: subprocess.Popen[bytes]) -> None:
    # This blocks, for the moment that a killed process takes; one that the kernel does
    # not let go of, such as in a dead network mount, is left to it.
    with suppress(subprocess.TimeoutExpired):
        process.wait(REAP_S)


def _ending(code: int | None) -> str:
    if code is None:
        return "hung up without an answer and went on, so it was stopped"
    if code < 0:
        return (
            f"was killed by {_signal_name(-code)} before it could answer; "
            "if nobody did that, the machine may have run out of memory"
        )
    return (
        f"ended with exit code {code} and without an answer; "
        "the function must return or raise, and not end its interpreter"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
