"""Ask a program, by its exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pyflow.errors import shown
from pyflow.net.headers import HeaderValue, Revealable
from pyflow.probes._checks import excerpt, path_problems, refuse, span_problems, unknown
from pyflow.protocols import Reading
from pyflow.redactor import hidden
from pyflow.spans import Span, seconds
from pyflow.tracing import traced

if TYPE_CHECKING:
    from asyncio.subprocess import Process

__all__ = ["Command"]

OUTPUT_BYTES_MAX = 4_096
READ_BYTES = 65_536
ARGV_CHARS_MAX = 131_072
GRACE_S = 0.5
DRAIN_S = 0.2


@dataclass(frozen=True, slots=True, repr=False)
class Command:
    """Healthy if a program ends with an expected exit code.

    The program is started without a shell, in a session of its own, with
    nothing to read. Its output is read to the end and its last 4 KiB are the
    evidence, with control characters escaped.

    | what happens | reading |
    |---|---|
    | an exit code of `healthy` | healthy |
    | an exit code of `unhealthy`; without it, every other one | unhealthy |
    | any other exit code | unknown |
    | it takes too long: its process group gets TERM, and KILL half a second later | unknown |
    | it dies by a signal, which is named | unknown |
    | it cannot be started | unknown |

    What the program leaves running in its process group is killed when it ends.
    """

    argv: Sequence[str]
    """The program and its arguments, one by one."""

    _: KW_ONLY

    timeout: Span = "10s"
    """Span from start to end."""

    healthy: tuple[int, ...] = (0,)
    """The exit codes that mean healthy."""

    unhealthy: tuple[int, ...] | None = None
    """The exit codes that mean unhealthy; None means all that are not `healthy`."""

    env: Mapping[str, HeaderValue] | None = field(default=None, hash=False)
    """The whole environment, but for the span that calls (``TRACEPARENT``); a value may be a
    `Secret`. None hands ours on."""

    cwd: str | os.PathLike[str] | None = None
    """Where it runs; None means where we do."""

    def __post_init__(self) -> None:
        problems = [
            *_argv_problems(self.argv),
            *span_problems("timeout", self.timeout),
            *_code_problems(self.healthy, self.unhealthy),
            *_env_problems(self.env),
        ]
        if self.cwd is not None:
            problems += path_problems("cwd", self.cwd)
        refuse("Command", problems)
        object.__setattr__(self, "argv", tuple(self.argv))
        if self.env is not None:
            object.__setattr__(self, "env", dict(self.env))

    async def read(self) -> Reading:
        """Run the program once, and say how it ended."""
        seen: dict[str, Any] = {"command": self.argv[0]}
        try:
            output = await _Output.open()
            try:
                code = await self._exit_code(output)
            finally:
                await output.close()
        except Exception as error:  # noqa: BLE001 - no binary, no permission, no secret, no memory
            return unknown(error, **seen)
        seen["output"] = output.text((self.env or {}).values())
        if code is None:
            return unknown(f"it did not end within {seconds(self.timeout):g} s", **seen)
        if code < 0:
            return unknown(f"it was killed by {_signal_name(-code)}", **seen)
        return self._judged(code, {**seen, "exit": code})

    async def _exit_code(self, output: _Output) -> int | None:
        process: Process | None = None
        try:
            async with asyncio.timeout(seconds(self.timeout)):
                process = await self._started(output)
                return await process.wait()
        except TimeoutError:
            return None
        finally:
            if process is not None:
                await _stop(process)

    async def _started(self, output: _Output) -> Process:
        env = None if self.env is None else await _revealed(self.env)
        try:
            return await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output.writing,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=traced(env),
                cwd=self.cwd,
            )
        finally:
            output.close_writing()

    def _judged(self, code: int, seen: dict[str, Any]) -> Reading:
        if code in self.healthy:
            return Reading("healthy", seen)
        if self.unhealthy is None or code in self.unhealthy:
            return Reading("unhealthy", seen)
        return unknown(f"exit code {code} is neither in healthy= nor in unhealthy=", **seen)

    def __repr__(self) -> str:
        parts = [shown(list(self.argv)), f"timeout={self.timeout!r}"]
        if self.healthy != (0,):
            parts.append(f"healthy={self.healthy}")
        if self.unhealthy is not None:
            parts.append(f"unhealthy={self.unhealthy}")
        if self.env is not None:
            parts.append(f"env={dict.fromkeys(self.env, '***')}")
        return f"Command({', '.join(parts)})"


class _Output:
    """A pipe that is always read, and of which only the end is kept.

    It is ours, not the subprocess transport's: a grandchild that keeps it
    open must not keep us from noticing that the program itself has ended.
    """

    def __init__(self, writing: int) -> None:
        self.writing = writing
        self.kept = b""
        self.cut = False
        self.transport: asyncio.ReadTransport
        self.drained: asyncio.Task[None]

    @classmethod
    async def open(cls) -> _Output:
        reading, writing = os.pipe()
        output = cls(writing)
        reader = asyncio.StreamReader(limit=READ_BYTES)
        try:
            output.transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", 0)
            )
        except BaseException:
            output.close_writing()
            raise
        output.drained = asyncio.create_task(output.drain(reader))
        return output

    async def drain(self, reader: asyncio.StreamReader) -> None:
        while part := await reader.read(READ_BYTES):
            kept = self.kept + part
            self.cut = self.cut or len(kept) > OUTPUT_BYTES_MAX
            self.kept = kept[-OUTPUT_BYTES_MAX:]

    def close_writing(self) -> None:
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1

    async def close(self) -> None:
        self.close_writing()
        # Whoever wrote is dead by now, unless it left the session: then what is there will do.
        await asyncio.wait([self.drained], timeout=DRAIN_S)
        self.drained.cancel()
        self.transport.close()

    def text(self, secrets: Iterable[object]) -> str:
        text = ("…" if self.cut else "") + self.kept.decode("utf-8", "backslashreplace")
        return excerpt(hidden(text, secrets), chars=4 * OUTPUT_BYTES_MAX + 1)


async def _stop(process: Process) -> None:
    """End the group of *process*: TERM, then KILL, if it still runs; KILL for what it left."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await process.wait()
    _signal_group(process.pid, signal.SIGKILL)
    await process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    # Gone is what we want; some systems answer EPERM for a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


async def _revealed(env: Mapping[str, HeaderValue]) -> dict[str, str]:
    plain: dict[str, str] = {}
    for name, value in env.items():
        # A provider may block while it fetches, so it does that on a thread.
        plain[name] = value if isinstance(value, str) else await asyncio.to_thread(value.reveal)
    return plain


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _argv_problems(argv: object) -> list[str]:
    if isinstance(argv, str) or not isinstance(argv, Sequence):
        return [
            f"argv={shown(cast('object', argv))} must be a list, such as ['curl', '-f', url]; no shell is used"
        ]
    parts = cast("Sequence[object]", argv)
    if not parts or not parts[0] or not all(_is_argument(part) for part in parts):
        return [f"argv={shown(parts)} must hold the program and its arguments, as text without NUL"]
    if sum(len(cast("str", part)) for part in parts) > ARGV_CHARS_MAX:
        return [f"argv={shown(parts)} is longer than {ARGV_CHARS_MAX} characters"]
    return []


def _is_argument(part: object) -> bool:
    return isinstance(part, str) and "\0" not in part


def _code_problems(healthy: object, unhealthy: object) -> list[str]:
    problems = [
        f"{name}={shown(codes)} must be a tuple of exit codes from 0 to 255, such as (0,)"
        for name, codes in (("healthy", healthy), ("unhealthy", unhealthy))
        if not _is_codes(codes) and not (name == "unhealthy" and codes is None)
    ]
    if not problems and unhealthy is not None:
        both = set(cast("tuple[int, ...]", healthy)) & set(cast("tuple[int, ...]", unhealthy))
        problems += [
            f"exit code {code} cannot be both healthy and unhealthy" for code in sorted(both)
        ]
    return problems


def _is_codes(codes: object) -> bool:
    values = cast("tuple[object, ...]", codes) if isinstance(codes, tuple) else ()
    return bool(values) and all(
        isinstance(code, int) and not isinstance(code, bool) and 0 <= code <= 255 for code in values
    )


def _env_problems(env: object) -> list[str]:
    if env is None:
        return []
    if not isinstance(env, Mapping):
        return [f"env= is a {type(env).__name__}; give a dict of names and values"]
    return [
        f"environment variable {shown(name)} must have a name without '=' and NUL, and a value "
        f"that is text without NUL or a Secret"
        for name, value in cast("Mapping[object, object]", env).items()
        if not _is_variable(name, value)
    ]


def _is_variable(name: object, value: object) -> bool:
    named = isinstance(name, str) and name and "=" not in name and "\0" not in name
    valued = isinstance(value, Revealable) or (isinstance(value, str) and "\0" not in value)
    return bool(named and valued)
