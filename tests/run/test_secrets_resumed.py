"""Secrets of a run whose process was killed: the next one asks their providers again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pyflow
from pyflow import Engine
from support import secretive

TESTS = str(Path(secretive.__file__).parent.parent)
RUN = "import sys; from support import secretive; secretive.main(sys.argv[1])"
KINDS = ("variable", "file", "command", "provider")


def written(root: Path, monkeypatch: pytest.MonkeyPatch, season: str) -> dict[str, str]:
    """Put values of a *season* where the providers read them, and return them."""
    values = {kind: f"{kind}-of-{season}-5f9d31c07a" for kind in KINDS}
    monkeypatch.setenv("PYFLOW_TEST_TOKEN", values["variable"])
    for kind, name in (("file", "file"), ("command", "vault"), ("provider", "provider")):
        (root / name).write_text(values[kind])
    return values


def noted(root: Path, name: str) -> dict[str, str]:
    lines = (root / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, str]]:
    """Return where a run was killed in its second task, and which values it had."""
    spring = written(tmp_path, monkeypatch, "spring")
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)],
        env={**os.environ, secretive.DIES: "1", "PYTHONPATH": TESTS},
        check=False,
    )
    assert ended.returncode == 9
    return tmp_path, spring


class TestResumed:
    def test_asks_again(
        self, killed: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every provider is asked again, so renewed values are used, and the journal has none."""
        root, spring = killed
        autumn = written(root, monkeypatch, "autumn")
        secrets = secretive.secrets(root)
        again = {name: secrets[name] for name in ("command", "provider")}

        with Engine(journal=str(root / "deploys.db")) as engine:
            (run_id,) = engine.journal.runs()
            result = engine.resume(run_id, secretive.deployment(root), params=again)

        assert result.status == "succeeded", result.error
        assert (noted(root, "before"), noted(root, "after")) == (spring, autumn)
        assert (root / "calls").read_text() == "called\n" * 2
        stored = b"".join(path.read_bytes() for path in root.glob("deploys.db*") if path.is_file())
        assert not [v for v in (*spring.values(), *autumn.values()) if v.encode() in stored]

    def test_asks_those_of_the_engine(
        self, killed: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the record cannot fetch is found by its reference among the engine's own secrets."""
        root, _ = killed
        autumn = written(root, monkeypatch, "autumn")
        own = secretive.secrets(root).values()

        with Engine(journal=str(root / "deploys.db"), secrets=own) as engine:
            (result,) = engine.resume_all([secretive.deployment(root)]).values()

        assert result.status == "succeeded", result.error
        assert noted(root, "after") == autumn

    def test_has_to_be_given(self, killed: tuple[Path, dict[str, str]]) -> None:
        """Nothing in a journal is ever executed: a command has to be given again."""
        root, _ = killed

        with (
            Engine(journal=str(root / "deploys.db")) as engine,
            pytest.raises(pyflow.EngineError, match="command was a secret that cannot be fetched"),
        ):
            engine.resume_all([secretive.deployment(root)])
