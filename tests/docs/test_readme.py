"""The path of the front page, taken by somebody who has nothing but Python."""

from __future__ import annotations

from pathlib import Path

from docs.fresh import fresh_environment
from docs.pages import ROOT, blocks, normal, played

README = ROOT / "README.md"


class TestReadme:
    def test_leads_to_a_proven_rollout(self, tmp_path: Path) -> None:
        """In an empty directory and with what the wheel holds, each step does what stands below it."""
        machine = fresh_environment(tmp_path)
        directory = tmp_path / "shop"
        directory.mkdir()

        steps = [
            (block.body, normal(printed), normal(block.output or ""))
            for block, printed in played(README, directory, called_in=machine)
        ]

        assert [printed for _, printed, _ in steps] == [output for _, _, output in steps]
        assert [body for body, _, _ in steps[1:]] == [
            "python deploy.py\n",
            "python -m pytest -q\n",
            "pyflow-deploy verify\n",
        ]
        assert (directory / "deploys.db").exists()

    def test_installs_what_the_path_needs(self) -> None:
        """What is not run here is the installation alone, which asks a registry for pytest."""
        left_out = [block.body for block in blocks(README) if not block.runs and block.info == "sh"]

        (install,) = left_out
        assert "pip install . pytest\n" in install

    def test_is_short(self) -> None:
        """It has 300 to 600 words, examples and outputs included."""
        assert 300 <= len(README.read_text().split()) <= 600
