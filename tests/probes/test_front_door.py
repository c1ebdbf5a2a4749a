"""What `pyflow.probes` offers."""

from __future__ import annotations

from pyflow import probes


class TestFrontDoor:
    def test_sorted(self) -> None:
        """The names are there, once each; ruff keeps them sorted."""
        assert len(set(probes.__all__)) == len(probes.__all__)
        assert all(hasattr(probes, name) for name in probes.__all__)
