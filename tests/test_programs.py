"""Programs are called without a shell, to their end, and never outlive who called them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.errors import CommandFailed, DefinitionError
from pyflow.probes import Callable
from pyflow.programs import Finished, call


def python(code: str, **options: Any) -> Finished:
    """Run *code* in a Python of its own."""
    return asyncio.run(call([sys.executable, "-c", code], **options))


class TestCall:
    def test_returns_all(self) -> None:
        """Both outputs and the exit code are what the program gave."""
        done = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")

        assert (done.code, done.stdout, done.stderr) == (3, "out\n", "err\n")

    def test_hands_over(self) -> None:
        """A program reads what it is given, and one that reads nothing is no failure."""
        assert python("print(input())", stdin=b"hello\n").stdout == "hello\n"
        assert python("pass", stdin=b"x" * 1_000_000).code == 0

    def test_uses_env_and_cwd(self, tmp_path: Path) -> None:
        """The environment is the one that was given, and so is the directory."""
        done = python(
            "import os; print(os.environ['A'], os.getcwd())", env={"A": "1"}, cwd=tmp_path
        )

        assert done.stdout == f"1 {tmp_path}\n"

    def test_ends_what_takes_too_long(self, tmp_path: Path) -> None:
        """A program that takes too long is ended, and so is what it started."""
        pids = tmp_path / "pids"
        code = (
            "import os, subprocess, sys\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
            f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
            "child.wait()"
        )

        with pytest.raises(CommandFailed, match=r"did not end within 1 s"):
            python(code, timeout="1s")

        parent, child = map(int, pids.read_text().split())
        gone = Callable(lambda: not is_running(parent) and not is_running(child), name="gone")
        asyncio.run(pyflow.poll(gone, backoff="10ms", timeout="5s"))

    def test_says_why_not(self) -> None:
        """A program that cannot be started is an error that names it."""
        with pytest.raises(CommandFailed, match="nowhere could not be started: No such file"):
            asyncio.run(call(["/nowhere"]))
        with pytest.raises(DefinitionError, match="timeout="):
            asyncio.run(call(["/nowhere"], timeout=-1))

    def test_bounds_output(self) -> None:
        """A program that says more than 4 MiB is ended."""
        with pytest.raises(CommandFailed, match="said more than 4194304 bytes"):
            python("while True: print('x' * 65536)")


class TestCheck:
    def test_refuses(self) -> None:
        """An exit code other than 0 is an error with the end of what was said."""
        done = Finished("tool", 2, "out", "x" * 1000 + "the reason\n")

        with pytest.raises(CommandFailed, match="the reason") as caught:
            done.check()

        assert (caught.value.program, caught.value.code) == ("tool", 2)
        assert len(caught.value.output) == 400

    def test_passes(self) -> None:
        """An exit code of 0 is fine."""
        done = Finished("tool", 0, "", "")

        assert done.check() is done


def is_running(pid: int) -> bool:
    """Return whether *pid* is a process that is more than an entry to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
