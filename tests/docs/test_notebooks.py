"""Notebooks run from their top to their end, and give what is kept in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.notebooks import NOTEBOOKS, given, read, run
from docs.pages import normal


class TestNotebooks:
    @pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
    def test_run(self, path: Path, tmp_path: Path) -> None:
        """In a kernel of its own, each cell gives what is kept below it; tests/docs/pages.py keeps it anew."""
        kept = [normal(text) for text in given(read(path))]

        assert [normal(text) for text in given(run(path, tmp_path))] == kept
        assert all(kept)

    def test_there_is_one(self) -> None:
        """The tutorial has a notebook for experiments with rollouts."""
        assert [path.name for path in NOTEBOOKS] == ["rollout-experiments.ipynb"]
