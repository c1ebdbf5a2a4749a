"""The command probe against real programs."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.probes import Command
from pyflow.probes import command as module
from pyflow.protocols import Probe, Reading
from pyflow.secrets import Secret

LATER = 0.5


def read(argv: list[str], **options: Any) -> Reading:
    reading = asyncio.run(Command(argv, **options).read())
    json.dumps(reading.evidence, allow_nan=False)
    return reading


def python(code: str, **options: Any) -> Reading:
    return read([sys.executable, "-I", "-c", code], **options)


def shell(code: str, **options: Any) -> Reading:
    return read(["/bin/sh", "-c", code], **options)


def is_gone(pid: int) -> bool:
    """Return whether a process has ended; a kill that is under way is waited for."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 5)[0])
    finally:
        os.close(handle)


class TestCommand:
    def test_healthy(self) -> None:
        """Exit code 0 is healthy, with the output as evidence."""
        reading = shell("echo out; echo err >&2")

        assert reading.health == "healthy"
        assert reading.evidence == {"command": "/bin/sh", "exit": 0, "output": "out\nerr\n"}

    def test_unhealthy(self) -> None:
        """Every other exit code is unhealthy."""
        reading = shell("exit 3")

        assert (reading.health, reading.evidence["exit"]) == ("unhealthy", 3)

    @pytest.mark.parametrize(
        ("code", "health"), [(0, "unhealthy"), (1, "unhealthy"), (2, "healthy"), (3, "unknown")]
    )
    def test_codes(self, code: int, health: str) -> None:
        """With both lists given, a code in neither is unknown."""
        reading = shell(f"exit {code}", healthy=(2,), unhealthy=(0, 1))

        assert reading.health == health

    def test_no_shell(self) -> None:
        """Arguments reach the program as they are."""
        reading = read(["/bin/echo", "$HOME; `id` | *"])

        assert reading.evidence["output"] == "$HOME; `id` | *\n"

    def test_no_input(self) -> None:
        """There is nothing to read on standard input, whatever is on ours."""
        ours = os.dup(0)
        reading, writing = os.pipe()
        os.write(writing, b"hush\n")
        try:
            os.dup2(reading, 0)
            seen = shell("read line && echo $line || exit 4")
        finally:
            os.dup2(ours, 0)
            for number in (ours, reading, writing):
                os.close(number)

        assert seen.evidence["exit"] == 4

    @pytest.mark.parametrize("name", ["no-such-program", "/no/such/program", "/etc/hostname"])
    def test_not_startable(self, name: str) -> None:
        """A program that is missing or cannot be run is unknown, and named."""
        reading = read([name, "--version"])

        assert reading.health == "unknown"
        assert reading.evidence["command"] == name
        assert "Error" in reading.evidence["error"]

    @pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (11, "SIGSEGV")])
    def test_signal(self, number: int, name: str) -> None:
        """A program that dies by a signal is unknown, and the signal is named."""
        reading = shell(f"kill -{number} $$")

        assert reading.health == "unknown"
        assert name in reading.evidence["error"]

    def test_nameless_signal(self) -> None:
        """A signal without a name is shown as its number."""
        assert module._signal_name(250) == "signal 250"
        assert module._signal_name(signal.SIGTERM) == "SIGTERM"

    def test_timeout(self) -> None:
        """A program that takes too long is ended by TERM, and unknown."""
        reading = shell("trap 'echo bye; exit 0' TERM; echo hi; sleep 60 & wait", timeout=LATER)

        assert reading.health == "unknown"
        assert "0.5 s" in reading.evidence["error"]
        assert reading.evidence["output"] == "hi\nbye\n"

    def test_stubborn(self, tmp_path: Path) -> None:
        """A program and a child that ignore TERM are killed."""
        pids = tmp_path / "pids"
        code = f"trap '' TERM; sleep 60 & echo $$ $! > {pids}; wait; while :; do sleep 60; done"

        reading = shell(code, timeout=LATER)

        assert reading.health == "unknown"
        assert all(is_gone(int(pid)) for pid in pids.read_text("ascii").split())

    def test_left_over(self, tmp_path: Path) -> None:
        """What a program leaves running neither delays the reading nor survives it."""
        pid = tmp_path / "pid"

        reading = shell(f"sleep 60 & echo $! > {pid}; echo done", timeout=5)

        assert reading.health == "healthy"
        assert reading.evidence["output"] == "done\n"
        assert is_gone(int(pid.read_text("ascii")))

    def test_daemon(self, tmp_path: Path) -> None:
        """What leaves the session and keeps the output open does not delay the reading."""
        pid = tmp_path / "pid"
        code = (
            "import os, subprocess, sys; "
            "child = subprocess.Popen(['sleep', '60'], start_new_session=True); "
            f"open({str(pid)!r}, 'w').write(str(child.pid)); print('started')"
        )

        reading = python(code, timeout=30)

        os.kill(int(pid.read_text("ascii")), signal.SIGKILL)
        assert reading.health == "healthy"
        assert "started" in reading.evidence["output"]

    def test_bounded(self) -> None:
        """Output without end is read, and only its end is kept."""
        reading = python("import sys; sys.stdout.write('x' * 5_000_000 + 'end')")

        assert reading.health == "healthy"
        assert reading.evidence["output"].startswith("\u2026xxx")
        assert reading.evidence["output"].endswith("xend")
        assert len(reading.evidence["output"]) == 4_097

    def test_bytes(self) -> None:
        """Bytes that are no UTF-8, and control characters, are escaped."""
        reading = python(r"import os; os.write(1, b'caf\xe9 \x1b[31m\rok\x00\n')")

        assert reading.evidence["output"] == "caf\\xe9 \\x1b[31m\\x0dok\\x00\n"

    def test_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment is ours, or exactly the one given, with secrets revealed, and not shown."""
        monkeypatch.setenv("COLOUR", "green")
        env = {"TOKEN": Secret("s3cr3t-token", name="token"), "A": "b"}

        ours = shell('echo "$COLOUR"')
        given = shell('test "$TOKEN" = s3cr3t-token && echo "$COLOUR$TOKEN$A"', env=env)

        assert ours.evidence["output"] == "green\n"
        assert given.evidence["output"] == "***b\n"

    def test_missing_secret(self) -> None:
        """A secret that cannot be fetched makes the reading unknown."""
        reading = shell("true", env={"A": Secret.from_env("PYFLOW_TEST_NO_SUCH_VARIABLE")})

        assert reading.health == "unknown"

    def test_directory(self, tmp_path: Path) -> None:
        """It runs where it is told; a place that is missing is unknown."""
        assert shell("pwd", cwd=tmp_path).evidence["output"] == f"{tmp_path}\n"
        assert shell("pwd", cwd=tmp_path / "none").health == "unknown"

    def test_no_pipe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a file descriptor to spare, the reading is unknown."""

        async def connect_read_pipe(loop: Any, protocol: Any, pipe: Any) -> None:
            pipe.close()
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(asyncio.BaseEventLoop, "connect_read_pipe", connect_read_pipe)

        assert shell("true").health == "unknown"

    def test_cancelled(self, tmp_path: Path) -> None:
        """A cancellation passes through, and leaves no process behind."""
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)

        async def run() -> int:
            reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            task = asyncio.create_task(
                Command(["/bin/sh", "-c", f"echo $$ > {fifo}; exec sleep 60"]).read()
            )
            started = asyncio.Event()
            asyncio.get_running_loop().add_reader(reading, started.set)
            await started.wait()
            asyncio.get_running_loop().remove_reader(reading)
            pid = int(os.read(reading, 64))
            os.close(reading)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            return pid

        assert is_gone(asyncio.run(run()))

    def test_is_value(self) -> None:
        """It is a `Probe`, compares by value, and its repr masks the environment."""
        probe = Command(["a", "b"], env={"TOKEN": "hush"}, healthy=(0, 3), unhealthy=(1,))

        assert isinstance(probe, Probe)
        assert probe == Command(("a", "b"), env={"TOKEN": "hush"}, healthy=(0, 3), unhealthy=(1,))
        assert hash(probe)
        assert repr(probe) == (
            "Command(['a', 'b'], timeout='10s', healthy=(0, 3), unhealthy=(1,), env={'TOKEN': '***'})"
        )
        assert repr(Command(["a"])) == "Command(['a'], timeout='10s')"

    @pytest.mark.parametrize(
        ("argv", "options", "words"),
        [
            ("curl -f http://h/", {}, "no shell"),
            (None, {}, "no shell"),
            ({"curl"}, {}, "no shell"),
            ([], {}, "must hold the program"),
            ([""], {}, "must hold the program"),
            (["a\0b"], {}, "must hold the program"),
            (["a", 7], {}, "must hold the program"),
            (["a", "x" * 200_000], {}, "longer than"),
            (["a"], {"timeout": 0}, "timeout"),
            (["a"], {"healthy": ()}, "healthy"),
            (["a"], {"healthy": 0}, "healthy"),
            (["a"], {"healthy": (256,)}, "healthy"),
            (["a"], {"healthy": (True,)}, "healthy"),
            (["a"], {"unhealthy": ()}, "unhealthy"),
            (["a"], {"unhealthy": (1, 0)}, "exit code 0 cannot be both"),
            (["a"], {"env": ["A=b"]}, "dict"),
            (["a"], {"env": {"A=": "b"}}, "environment variable 'A='"),
            (["a"], {"env": {"": "b"}}, "environment variable ''"),
            (["a"], {"env": {"A": 7}}, "environment variable 'A'"),
            (["a"], {"env": {"A": "hush\0"}}, "environment variable 'A'"),
            (["a"], {"cwd": 7}, "cwd"),
            ("a", {"timeout": -1, "healthy": 0, "env": 7, "cwd": ""}, "5 problems"),
        ],
    )  # fmt: skip
    def test_refuses(self, argv: Any, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the probe is made, and values are not repeated."""
        with pytest.raises(DefinitionError, match=words) as caught:
            Command(argv, **options)

        assert "hush" not in str(caught.value)
