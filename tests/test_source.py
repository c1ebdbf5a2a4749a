"""Where a definition comes from is in each run: its file, its commit, and whether that is all of it."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import stat
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.source import Source, source_of
from pyflow.strategies import canary
from pyflow.testing import World
from support.repositories import commit, git, make_repository

DEPLOY = """
import pyflow

release = pyflow.Workflow("release")
release.add_task("deploy", lambda: None)
"""


def found(file: Path | str, **options: Any) -> Source:
    """Return where *file* comes from."""
    return asyncio.run(source_of(str(file), **options))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a definition and what it imports."""
    return make_repository(tmp_path / "repo", deploy=DEPLOY, sibling="a = 1\n")


class TestSourceOf:
    def test_a_commit(self, repository: Path) -> None:
        """What is committed has its commit, its place in the repository, and a digest."""
        digest = hashlib.sha256(DEPLOY.encode()).hexdigest()
        head = git(repository, "rev-parse", "HEAD")

        assert found(repository / "deploy.py") == Source(head, False, "deploy.py", digest)

    def test_a_directory_inside(self, repository: Path) -> None:
        """The file is named from the top of the repository."""
        (repository / "ops").mkdir()
        git(repository, "mv", "deploy.py", "ops/deploy.py")
        git(repository, "commit", "-q", "-m", "move")

        assert found(repository / "ops" / "deploy.py").file == "ops/deploy.py"

    @pytest.mark.parametrize("name", ["deploy", "sibling"])
    def test_what_has_changed(self, repository: Path, name: str) -> None:
        """A change of anything that is under version control shows."""
        (repository / f"{name}.py").write_text("changed\n")

        assert found(repository / "deploy.py").dirty is True

    def test_what_is_not_added(self, repository: Path) -> None:
        """A definition that is in no commit shows; what only lies beside it does not."""
        (repository / "new.py").write_text(DEPLOY)

        assert found(repository / "new.py").dirty is True
        assert found(repository / "deploy.py").dirty is False

    def test_leaves_the_index_alone(self, repository: Path) -> None:
        """Looking writes nothing, not even what would make the next look faster."""
        (repository / "sibling.py").touch()
        before = (repository / ".git" / "index").read_bytes()

        found(repository / "deploy.py")

        assert (repository / ".git" / "index").read_bytes() == before

    def test_no_repository(self, tmp_path: Path) -> None:
        """Outside of a repository the file is known, and why no commit is."""
        (tmp_path / "deploy.py").write_text(DEPLOY)

        source = found(tmp_path / "deploy.py")

        assert (source.commit, source.dirty, source.file) == (None, None, "deploy.py")
        assert source.digest is not None
        assert "not a git repository" in str(source.unknown)

    def test_no_commit(self, tmp_path: Path) -> None:
        """A repository without a commit has none."""
        make_repository(tmp_path)
        (tmp_path / "deploy.py").write_text(DEPLOY)

        assert found(tmp_path / "deploy.py").unknown == "the repository has no commit"

    @pytest.mark.parametrize("file", ["", "<stdin>", "<ipython-input-1>", "nul\0"])
    def test_no_file(self, file: str) -> None:
        """Code that was typed has no file."""
        assert found(file) == Source(unknown="the definition is in no file")

    def test_no_git(self, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without git nothing fails."""
        monkeypatch.setenv("PATH", "/nowhere")

        assert "could not be started" in str(found(repository / "deploy.py").unknown)

    def test_a_git_that_hangs(
        self, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Git has its time, and no more."""
        program = tmp_path / "git"
        program.write_text("#!/bin/sh\nexec sleep 600\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

        assert "did not end within" in str(found(repository / "deploy.py", timeout="50ms").unknown)


def loaded(repository: Path) -> pyflow.Workflow:
    """Return the workflow that ``deploy.py`` in *repository* defines."""
    spec = importlib.util.spec_from_file_location("deploy_of_test", repository / "deploy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.release


def sources(path: Path, run_id: str) -> list[dict[str, Any]]:
    """Return what a run has on record of where its definition comes from."""
    with pyflow.history(path) as history:
        trail = history.trail(run_id)
    return [r.data["origin"].get("source", {}) for r in trail if "origin" in r.data]


class TestRuns:
    def test_record_it(self, repository: Path, tmp_path: Path) -> None:
        """A durable run has it from its start; it is found by that commit, and printed."""
        head = git(repository, "rev-parse", "HEAD")
        with pyflow.Engine(journal=tmp_path / "j.db", environ={}) as engine:
            result = engine.execute(loaded(repository))

        (source,) = sources(tmp_path / "j.db", result.run_id)
        assert (source["commit"], source["dirty"], source["file"]) == (head, False, "deploy.py")
        assert f"source       deploy.py at {head[:12]}" in str(result.audit_trail)
        with pyflow.history(tmp_path / "j.db") as history:
            assert [run.commit for run in history.runs(commit=head)] == [head]
            fields = {one.field: one.found for one in history.compliance(result.run_id).evidence}
        assert fields["developed: the source"] == f"deploy.py at commit {head}"

    def test_say_what_differs(self, repository: Path, tmp_path: Path) -> None:
        """Two runs from two states of a repository differ in that, and dirt is no evidence."""
        runs: list[str] = []
        for change in (False, True):
            with pyflow.Engine(journal=tmp_path / "j.db", environ={}) as engine:
                if change:
                    (repository / "sibling.py").write_text("b = 1\n")
                runs.append(engine.execute(loaded(repository)).run_id)

        with pyflow.history(tmp_path / "j.db") as history:
            (difference,) = history.diff(*runs).differences
            fields = {one.field: one.found for one in history.compliance(runs[1]).evidence}
            assert "with changes that are in no commit" in str(history.trail(runs[1]))
        assert difference.what == "source"
        assert str(difference.other).endswith("with changes")
        assert fields["developed: the source"] is None

    def test_ask_once(self, repository: Path, tmp_path: Path) -> None:
        """What Python has loaded stays what it is, so an engine asks once for each file."""
        release = loaded(repository)
        with pyflow.Engine(journal=tmp_path / "j.db", environ={}) as engine:
            first = engine.execute(release).run_id
            commit(repository, sibling="c = 1\n")
            second = engine.execute(release).run_id

        assert sources(tmp_path / "j.db", first) == sources(tmp_path / "j.db", second)

    def test_given(self, tmp_path: Path) -> None:
        """A source that is given is recorded as it is, in memory too."""
        workflow = pyflow.Workflow("release")
        workflow.add_task("deploy", lambda: None)

        result = pyflow.Engine(source=Source(commit="c1", ref="v1")).execute(workflow)

        assert result.audit_trail[0].data["origin"]["source"] == {"commit": "c1", "ref": "v1"}
        assert "at c1 (v1)" in str(result.audit_trail)

    @pytest.mark.parametrize("options", [{}, {"source": False}])
    def test_switched_off(self, tmp_path: Path, options: dict[str, Any]) -> None:
        """In memory, and where it is switched off, nobody asks."""
        workflow = pyflow.Workflow("release")
        workflow.add_task("deploy", lambda: None)
        options = {"journal": tmp_path / "j.db"} | options if options else {}

        with pyflow.Engine(**options) as engine:
            result = engine.execute(workflow)

        assert "source" not in result.audit_trail[0].data["origin"]

    def test_asked_for_in_memory(self) -> None:
        """True asks, wherever the journal is; a resume says where it comes from as well."""
        workflow = pyflow.Workflow("release")
        workflow.add_task("deploy", lambda: None)

        result = pyflow.Engine(source=True).execute(workflow)

        assert result.audit_trail[0].data["origin"]["source"]["file"].endswith("test_source.py")

    def test_of_a_strategy(self) -> None:
        """A rollout comes from the file that asks for it, not from ours."""
        world = World()
        rollout = canary(
            service="shop",
            version="2",
            platform=world.platform,
            router=world.router,
            steps=[50, 100],
            bake="1m",
        )

        assert rollout.defined_in == __file__
