"""Start a program that outlives whoever started it; run by path, as a program of its own.

    python _launch.py STATE_FILE LOG_FILE PROGRAM [ARGUMENT ...]

The new process is put in a session of its own. Before it becomes PROGRAM it
writes who it is to STATE_FILE, by itself: whoever asked for it may be dead by
then, and the record is complete all the same. This program ends once PROGRAM
runs, or with 1 and the reason where it cannot be run.
"""

from __future__ import annotations

import os
import sys


def identity(pid: int) -> str:
    """Return what tells process *pid* from a later one of the same number."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            since_boot = file.read().rpartition(")")[2].split()[19]
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:  # noqa: PTH123
            return f"{file.read().strip()} {since_boot}"
    except FileNotFoundError:
        import subprocess  # noqa: PLC0415 - only where there is no /proc

        asked = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


def become(state_file: str, log_file: str, argv: list[str], report: int) -> None:
    """Turn this process into the program, once its record is there."""
    os.setsid()
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    fresh = f"{state_file}.{os.getpid()}"
    with open(fresh, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(f"{os.getpid()} {identity(os.getpid())}\n")
    os.rename(fresh, state_file)  # noqa: PTH104
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - no shell is what is wanted
    except OSError as error:
        os.write(report, str(error.strerror or error).encode())


def main() -> int:
    """Start the program, and return 0 once it runs."""
    state_file, log_file, *argv = sys.argv[1:]
    reading, writing = (
        os.pipe()
    )  # closed by the program's start; what is read until then is why not
    if os.fork() == 0:
        os.close(reading)
        try:
            become(state_file, log_file, argv, writing)
        except OSError as error:
            os.write(writing, str(error).encode())
        os._exit(1)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        reason = pipe.read()
    sys.stderr.write(reason)
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
