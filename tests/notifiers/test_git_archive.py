"""The record of each finished run is on a branch of a real repository, once, readable and provable."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import pyflow
import pyflow.notifiers
from pyflow.errors import DefinitionError
from pyflow.messages import Attempt, Delivery
from pyflow.notifiers import GitArchive, Message, RunInfo
from pyflow.record import events as ev
from pyflow.record.codec import GENESIS, Record, seal
from pyflow.record.marks import marks_in
from support.notices import AT
from support.repositories import git, make_repository, sign_with

ATTEMPT = Attempt(timeout_s=60.0)


def trail(run_id: str = "r1", *, end: str = "failed", who: str = "ada") -> list[Record]:
    """Return the record of a run that has ended."""
    events: list[ev.Event] = [
        ev.RunStarted(
            "shop",
            "f1",
            {},
            {"id": who},
            {"host": "ci-7", "source": {"commit": "c" * 40}},
            {"deploy": "d"},
            environment={"name": "production"},
        ),
        ev.Logged("deploy", "# <b>loud</b> `words`"),
        ev.RunFinished(end, 3),
    ]
    return seal(run_id, events, at=AT, seq=0, prev=GENESIS)


def message(event: str = "failed") -> Message:
    """Return what is told of it."""
    run = RunInfo(id="r1", workflow="shop", status=event)
    return Message(id="r1-3", event=event, severity="info", title="t", at=AT, run=run)


def keep(archive: GitArchive, records: list[Record]) -> Delivery:
    """Have *archive* keep *records*."""
    return asyncio.run(archive.keep(records, message(), ATTEMPT))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a commit of its own."""
    return make_repository(tmp_path / "repo", deploy="a = 1\n")


class TestKeeping:
    def test_is_a_readable_commit(self, repository: Path) -> None:
        """A run has a directory with its record and a summary, and the commit says what came of it."""
        records = trail()

        delivery = keep(GitArchive(repository), records)

        assert delivery.status == "delivered"
        names = git(repository, "ls-tree", "-r", "--name-only", "pyflow-runs").split()
        place = f"runs/{AT:%Y-%m}/r1"
        assert names == [f"{place}/summary.md", f"{place}/trail.jsonl"]
        text = git(repository, "cat-file", "blob", f"pyflow-runs:{place}/trail.jsonl") + "\n"
        kept = pyflow.AuditTrail.from_jsonl(text)
        kept.verify()
        assert list(kept) == records
        summary = git(repository, "cat-file", "blob", f"pyflow-runs:{place}/summary.md")
        assert summary.startswith("# Failed\n\n    run r1 of shop\n")
        assert all(line.startswith("    ") for line in summary.splitlines()[2:] if line)
        author, subject, body = git(
            repository, "log", "-1", "--format=%an%x00%s%x00%b", "pyflow-runs"
        ).split("\0")
        assert (author, subject) == ("ada", "shop to production: failed (r1)")
        assert f"Pyflow-Commit: {'c' * 40}" in body
        assert list(marks_in(body)) == [("r1", 3, records[-1].hash)]

    def test_touches_nothing_else(self, repository: Path) -> None:
        """Work tree, index and the other branches are as they were."""
        index = (repository / ".git" / "index").read_bytes()
        head = git(repository, "rev-parse", "main")

        keep(GitArchive(repository), trail())

        assert (repository / ".git" / "index").read_bytes() == index
        assert git(repository, "rev-parse", "main") == head
        assert git(repository, "status", "--porcelain") == ""

    def test_twice_is_once(self, repository: Path) -> None:
        """What comes again is not committed again."""
        archive = GitArchive(repository)
        deliveries = [keep(archive, trail()) for _ in range(2)]

        assert [delivery.status for delivery in deliveries] == ["delivered"] * 2
        assert git(repository, "rev-list", "--count", "pyflow-runs") == "1"

    def test_of_a_run_that_goes_on(self, repository: Path) -> None:
        """A run that is rolled back later has one place, and what was added is the difference."""
        records = trail()
        keep(GitArchive(repository), records)
        added = [ev.RunResumed({"id": "bob"}, {}), ev.RunFinished("rolled_back", 5)]
        later = AT + timedelta(days=40)
        more = seal("r1", added, at=later, seq=3, prev=records[-1].hash)

        keep(GitArchive(repository), [*records, *more])

        names = git(repository, "ls-tree", "-r", "--name-only", "pyflow-runs").split()
        assert len(names) == 2
        stat = git(repository, "diff", "--numstat", "pyflow-runs^", "pyflow-runs")
        assert "2\t0\t" in stat.splitlines()[-1]

    def test_many_at_once(self, repository: Path) -> None:
        """Of those that commit at the same time none is lost."""
        archives = [GitArchive(repository) for _ in range(4)]

        async def all_at_once() -> list[Delivery]:
            return await asyncio.gather(
                *(a.keep(trail(f"r{n}"), message(), ATTEMPT) for n, a in enumerate(archives))
            )

        assert {d.status for d in asyncio.run(all_at_once())} == {"delivered"}
        assert git(repository, "rev-list", "--count", "pyflow-runs") == "4"
        assert len(git(repository, "ls-tree", f"pyflow-runs:runs/{AT:%Y-%m}").splitlines()) == 4

    def test_in_a_bare_repository(self, tmp_path: Path) -> None:
        """A bare repository, a branch and a directory of one's own will do."""
        subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "bare")], check=True)
        archive = GitArchive(tmp_path / "bare", branch="audit/runs", directory="ops/runs")

        assert keep(archive, trail("..hidden run/1")).status == "delivered"
        names = git(tmp_path / "bare", "ls-tree", "-r", "--name-only", "audit/runs")
        assert f"ops/runs/{AT:%Y-%m}/hidden-run-1/trail.jsonl" in names

    def test_is_signed_where_git_can(self, repository: Path, tmp_path: Path) -> None:
        """With sign, git signs by the key that it is set up with."""
        sign_with(repository, tmp_path / "key")

        assert keep(GitArchive(repository, sign=True), trail()).status == "delivered"
        git(repository, "verify-commit", "pyflow-runs")  # fails where it is not signed


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A bare repository that others push to."""
    place = tmp_path / "remote.git"
    place.mkdir()
    git(place, "init", "-q", "--bare", "-b", "main")
    return place


def clone(remote: Path, name: str) -> Path:
    """Return a repository of *name* whose origin is *remote*."""
    place = make_repository(remote.parent / name, deploy="a = 1\n")
    git(place, "remote", "add", "origin", str(remote))
    return place


def kept(repository: Path) -> set[str]:
    """Return the runs that the branch in *repository* has."""
    names = git(repository, "ls-tree", "-r", "--name-only", "pyflow-runs").split()
    return {Path(name).parent.name for name in names}


class TestPushing:
    def test_is_at_the_remote(self, remote: Path) -> None:
        """The commit is pushed, and no branch here is made for it."""
        here = clone(remote, "a")

        delivery = keep(GitArchive(here, push_to="origin"), trail())

        assert delivery.status == "delivered"
        assert kept(remote) == {"r1"}
        assert git(here, "branch", "--format=%(refname:short)") == "main"

    def test_goes_on_from_what_others_pushed(self, remote: Path) -> None:
        """Nothing that others have pushed is lost, and what is there already is not pushed again."""
        first = GitArchive(clone(remote, "a"), push_to="origin")
        second = GitArchive(clone(remote, "b"), push_to="origin")

        for archive, run_id in ((first, "r1"), (second, "r2"), (first, "r3"), (second, "r1")):
            assert keep(archive, trail(run_id)).status == "delivered"

        assert kept(remote) == {"r1", "r2", "r3"}
        assert git(remote, "rev-list", "--count", "pyflow-runs") == "3"

    def test_from_many_places_at_once(self, remote: Path) -> None:
        """Of those that push at a time one comes first, and the others begin anew."""
        archives = [GitArchive(clone(remote, name), push_to="origin") for name in "abcd"]

        async def run() -> list[Delivery]:
            keeps = [
                archive.keep(trail(f"r{n}"), message(), ATTEMPT)
                for n, archive in enumerate(archives)
            ]
            return await asyncio.gather(*keeps)

        assert {one.status for one in asyncio.run(run())} == {"delivered"}
        assert kept(remote) == {"r0", "r1", "r2", "r3"}

    def test_a_remote_that_is_away(self, remote: Path) -> None:
        """What cannot be pushed is tried again, and is then there once."""
        here = clone(remote, "a")
        archive = GitArchive(here, push_to="origin")
        git(here, "remote", "set-url", "origin", str(remote.parent / "away.git"))

        delivery = keep(archive, trail())

        assert (delivery.status, delivery.again) == ("retrying", True)
        assert "away.git" in delivery.detail
        git(here, "remote", "set-url", "origin", str(remote))
        assert keep(archive, trail()).status == "delivered"

    def test_a_remote_that_refuses(self, remote: Path) -> None:
        """What the remote's own hook says is told."""
        hook = remote / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho not from here >&2\nexit 1\n")
        hook.chmod(0o755)

        delivery = keep(GitArchive(clone(remote, "a"), push_to="origin"), trail())

        assert delivery.status == "retrying"
        assert "not from here" in delivery.detail


class TestTrouble:
    def test_is_tried_again(self, tmp_path: Path) -> None:
        """What may be there later is tried again."""
        delivery = keep(GitArchive(tmp_path), trail())

        assert (delivery.status, delivery.again) == ("retrying", True)
        assert "not a git repository" in delivery.detail

    def test_a_branch_that_is_checked_out(self, repository: Path) -> None:
        """A branch that somebody works on is left alone."""
        delivery = keep(GitArchive(repository, branch="main"), trail())

        assert delivery.status == "rejected"
        assert "is checked out" in delivery.detail

    def test_a_branch_that_cannot_be_moved(self, repository: Path) -> None:
        """What git says is told."""
        keep(GitArchive(repository, branch="a"), trail())

        delivery = keep(GitArchive(repository, branch="a/b"), trail())

        assert delivery.status == "retrying"
        assert "update-ref" in delivery.detail or "a/b" in delivery.detail

    @pytest.mark.parametrize(
        "options",
        [
            {"repository": ""},
            {"branch": ".."},
            {"branch": "a..b"},
            {"branch": "a.lock"},
            {"directory": "/etc"},
            {"directory": "a/../b"},
            {"directory": ".git"},
            {"sign": "yes"},
            {"push_to": "--exec=x"},
            {"push_to": "https://ada:secret@h.example/x"},
        ],
    )
    def test_refuses(self, options: dict[str, Any]) -> None:
        """What git would not take is refused at once."""
        given: dict[str, Any] = {"repository": ".", **options}
        with pytest.raises(DefinitionError, match=f"{next(iter(options))}="):
            GitArchive(**given)

    def test_without_records(self) -> None:
        """Without an engine's route there is nothing to keep."""
        archive = GitArchive(".")

        assert asyncio.run(archive.notify(message("started"))).status == "delivered"
        assert asyncio.run(archive.notify(message())).status == "rejected"


class TestEngine:
    def test_hands_over_what_ended(self, repository: Path, tmp_path: Path) -> None:
        """An engine keeps each run in the background, as its journal has it."""
        workflow = pyflow.Workflow("release")
        workflow.add_task("deploy", lambda: None)
        route = pyflow.notifiers.Route(GitArchive(repository), timeout="60s", name="git")
        with pyflow.Engine(journal=tmp_path / "j.db", notifiers=[route], drain="60s") as engine:
            result = engine.execute(workflow)
            assert engine.wait_delivered("60s")
            told = engine.notices(result.run_id)

        [path] = [
            name
            for name in git(repository, "ls-tree", "-r", "--name-only", "pyflow-runs").split()
            if name.endswith("trail.jsonl")
        ]
        text = git(repository, "cat-file", "blob", f"pyflow-runs:{path}") + "\n"
        assert pyflow.AuditTrail.from_jsonl(text) == result.audit_trail
        last = [record.event for record in told if record.kind == "notified"][-1]
        assert isinstance(last, ev.Notified)
        assert (last.event, last.result) == ("succeeded", "delivered")
