"""Call a program and wait for its end: what adapters that speak to a command line share.

Without a shell, in a session of its own, under one deadline; when that has
passed, or whoever waits is cancelled, the whole process group is ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from pyflow.errors import CommandFailed
from pyflow.finding import CUT
from pyflow.spans import Span, seconds
from pyflow.tracing import traced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Finished", "call"]

OUTPUT_BYTES_MAX = 4_194_304
SAID_CHARS_MAX = 400
GRACE_S = 0.5
READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended."""

    program: str
    """Its name, without the path."""

    code: int
    """Its exit code, negative where a signal ended it."""

    stdout: str
    """What it wrote to its standard output."""

    stderr: str
    """What it wrote to its standard error."""

    def check(self) -> Finished:
        """Return this, if the program ended with 0.

        Raises:
            CommandFailed: It did not.
        """
        if self.code == 0:
            return self
        said = self.stderr.strip() or self.stdout.strip()
        if len(said) > SAID_CHARS_MAX:
            said = CUT + said[1 - SAID_CHARS_MAX :]  # the sign has half a secret masked
        raise CommandFailed(
            self.program, f"ended with code {self.code}", code=self.code, output=said
        )


async def call(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: bytes | None = None,
    timeout: Span = "30s",
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> Finished:
    """Run a program to its end and return how it ended, whatever its exit code.

    Args:
        argv: The program and its arguments, one by one.
        stdin: What it reads; nothing unless given.
        timeout: Span from start to end. Then its process group gets TERM, and
            KILL half a second later.
        env: Its whole environment, but for the span that calls
            (``TRACEPARENT``), where it does not say so itself; ours unless given.
        cwd: Where it runs; where we do unless given.

    Raises:
        CommandFailed: It could not be started, took too long, or said more
            than 4 MiB.
    """
    program = PurePath(argv[0]).name
    timeout_s = seconds(timeout, what="timeout=")
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=traced(env),
            cwd=cwd,
        )
    except OSError as error:
        raise CommandFailed(program, f"could not be started: {error.strerror or error}") from error
    try:
        async with asyncio.timeout(timeout_s):
            said, complained, _ = await asyncio.gather(
                _all_of(process.stdout, program),
                _all_of(process.stderr, program),
                _hand_over(process.stdin, stdin),
            )
            code = await process.wait()
    except TimeoutError as error:
        raise CommandFailed(program, f"did not end within {timeout_s:g} s") from error
    finally:
        await _end(process)
    return Finished(
        program, code, said.decode(errors="replace"), complained.decode(errors="replace")
    )


async def _all_of(stream: asyncio.StreamReader | None, program: str) -> bytes:
    assert stream is not None
    found = bytearray()
    while part := await stream.read(READ_BYTES):
        found += part
        if len(found) > OUTPUT_BYTES_MAX:
            raise CommandFailed(program, f"said more than {OUTPUT_BYTES_MAX} bytes")
    return bytes(found)


async def _hand_over(stream: asyncio.StreamWriter | None, data: bytes | None) -> None:
    if stream is None or data is None:
        return
    with suppress(ConnectionError):  # it need not read what it is given
        stream.write(data)
        await stream.drain()
    stream.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the group of *process*, if anything of it still runs."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        # What is full of output is read on: asyncio sees a program's end once its pipes are empty.
        emptying = [asyncio.create_task(_empty(s)) for s in (process.stdout, process.stderr)]
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await process.wait()
        for task in emptying:
            task.cancel()
        await asyncio.gather(*emptying, return_exceptions=True)
    _signal_group(process.pid, signal.SIGKILL)
    await process.wait()
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()  # a grandchild may hold the pipes open


async def _empty(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(READ_BYTES):
        pass


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
