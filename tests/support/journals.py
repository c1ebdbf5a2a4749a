"""Journals on disk, to look at, to tamper with and to break."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyflow
from pyflow.record import events as ev
from pyflow.record.sqlite.journal import Batch, SQLiteJournal
from support.trails import AT

if TYPE_CHECKING:
    import pytest

SIDES = ("", "-wal", ".head")
"""The files that make a journal, after the name of the first. The ``-shm`` is made anew."""

RUNS = ("eu", "us", "ap")


def started(run_id: str) -> ev.Event:
    """Return a small opening event."""
    return ev.RunStarted(f"shop-{run_id}", "f1", {}, {"id": "ada"}, {}, {})


def logged(number: int) -> ev.Event:
    """Return a small event that is like no other."""
    return ev.Logged("a", f"line {number}")


def fill(path: Path, records: int = 60) -> None:
    """Write *records* records: runs in turn, one or several to a commit, one run finished."""
    with SQLiteJournal(path) as journal:
        journal.append_all([Batch(run_id, [started(run_id)], AT) for run_id in RUNS])
        number = len(RUNS)
        while number < records - 1:
            events = [logged(number + n) for n in range(min(1 + number % 3, records - 1 - number))]
            journal.append(RUNS[number % 3], events, at=AT)
            number += len(events)
        last = journal.last("ap")
        assert last is not None
        journal.append("ap", [ev.RunFinished("succeeded", last.seq + 1)], at=AT)


def records_of(path: Path) -> dict[str, list[Any]]:
    """Return what the journal at *path* holds, by run."""
    with SQLiteJournal(path) as journal:
        return {run_id: journal.read(run_id) for run_id in journal.runs()}


def tamper(path: Path, sql: str, params: Any = ()) -> None:
    """Change the tables of the journal at *path* behind everybody's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(sql, params)


def note_reads(journal: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that fills with whatever run is read; all runs together cannot be asked for."""
    reads: list[str] = []
    read = journal.read

    def noted(run_id: str, /, *, after: int = 0) -> Any:
        reads.append(run_id)
        return read(run_id, after=after)

    monkeypatch.setattr(journal, "read", noted)
    monkeypatch.setattr(journal, "runs", None)
    return reads


def image_of(path: Path, target: Path) -> Path:
    """Copy the journal at *path* as it is on the disk this moment, and return where to."""
    target.mkdir()
    for side in SIDES:
        file = path.with_name(path.name + side)
        if file.exists():
            shutil.copy(file, target)
    return target / path.name


def content_of(directory: Path) -> dict[str, bytes]:
    """Return the bytes of every file in *directory* that counts."""
    return {
        entry.name: entry.read_bytes()
        for entry in directory.iterdir()
        if entry.is_file() and not entry.name.endswith("-shm")
    }


def names_in(directory: Path) -> list[str]:
    """Return the names of all files in *directory*."""
    return sorted(entry.name for entry in directory.iterdir())


def python(code: str, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run *code* in a process of its own, which knows pyflow and what supports its tests."""
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        **options,
    )


def environment() -> dict[str, str]:
    """Return the environment of such a process."""
    roots = [Path(pyflow.__file__).parents[1], Path(__file__).parents[1]]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))}


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    """Return the JSON data that such a process has printed."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
