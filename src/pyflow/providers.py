"""Where secrets come from that are fetched when they are needed: a variable, a file, a program.

No error of these shows anything of what was fetched.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pyflow.errors import SecretError
from pyflow.redaction import CHARS_MAX, Revealable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["command_text", "file_text", "variable_text"]

BYTES_MAX = 4 * CHARS_MAX  # UTF-8 takes at most four bytes a character
READ_BYTES = 65_536
LOOK_S = 0.05


def variable_text(variable: str) -> str:
    """Return what environment variable *variable* holds."""
    value = os.environ.get(variable)
    if value is None:
        raise SecretError(
            f"secret env:{variable}: the environment variable is not set; "
            f"set {variable} where this process starts"
        )
    return value


def file_text(place: str) -> str:
    """Return the content of the file at *place*, without the line break that ends a single line."""
    try:
        with Path(place).open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise SecretError(
            f"secret file:{place}: {error.strerror or type(error).__name__}; "
            "check that the file is there and that this process may read it"
        ) from error
    return _text(data, f"secret file:{place}")


def command_text(
    argv: Sequence[str],
    *,
    subject: str,
    env: Mapping[str, Revealable | str] | None,
    timeout_s: float,
) -> str:
    """Return what a program writes to its standard output.

    It is started without a shell, in a session of its own, with nothing to
    read. Its standard error is not kept: some tools show there what they were
    asked for. When *timeout_s* has passed its whole process group is killed.
    """
    program = PurePath(argv[0]).name
    try:
        process = subprocess.Popen(  # noqa: S603 - it is what the user asks for, without a shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **{name: _plain(value) for name, value in (env or {}).items()}},
        )
    except OSError as error:
        raise SecretError(
            f"{subject}: {program} could not be started: {error.strerror}; "
            "check that it is installed and on PATH"
        ) from None  # the error holds all arguments
    data, over = bytearray(), threading.Event()
    reader = threading.Thread(target=_read, args=(process, data, over), daemon=True)
    reader.start()
    try:
        reader.join(timeout_s)
        late = reader.is_alive()
    finally:
        over.set()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        reader.join()
    if late:
        raise SecretError(f"{subject}: {program} did not end within {timeout_s:g} s; see why")
    if len(data) <= BYTES_MAX and code != 0:
        raise SecretError(
            f"{subject}: {program} ended with code {code}; what it said is not shown, "
            "because it may hold the value: call it by hand"
        )
    return _text(bytes(data), subject)


def _read(process: subprocess.Popen[bytes], data: bytearray, over: threading.Event) -> None:
    """Put what *process* says into *data*, or a little more than is allowed, until it has ended."""
    assert process.stdout is not None
    with process.stdout as pipe:
        ended = False
        while len(data) <= BYTES_MAX and not over.is_set():
            if select.select([pipe], [], [], 0 if ended else LOOK_S)[0]:
                part = os.read(pipe.fileno(), READ_BYTES)
                data += part
                if not part:
                    break
            elif ended:  # something that it has left behind keeps the pipe open
                return
            ended = process.poll() is not None
    while len(data) <= BYTES_MAX and not over.is_set():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_S)
            return


def _plain(value: Revealable | str) -> str:
    return value if isinstance(value, str) else value.reveal()


def _text(data: bytes, subject: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # Not chained: the error holds the content.
        raise SecretError(
            f"{subject}: the content is not UTF-8; store a binary key as base64"
        ) from None
    lines = text.splitlines()
    return lines[0] if len(lines) == 1 else text
