"""Why a lock cannot be had, as people read it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pyflow.protocols import Holder, Lease
from pyflow.record.refusals import alive_text, held_text, residue_text, unfinished_text
from support.trails import AT

LEASE = Lease("shop", "r1", 7)


class TestAge:
    @pytest.mark.parametrize(
        ("age_s", "text"),
        [
            (-5, "0 s ago"),
            (0.9, "0 s ago"),
            (59.9, "59 s ago"),
            (60, "1 min ago"),
            (3_599, "59 min ago"),
            (7_200, "2 h ago"),
            (86_400 * 400, "400 d ago"),
        ],
    )
    def test_units(self, age_s: float, text: str) -> None:
        """An age is told in one unit; a clock that was put back makes it none."""
        told = residue_text("shop", "r1", since=AT, now=AT + timedelta(seconds=age_s))

        assert f"there at 2026-01-02 03:04:05+00:00, {text}; " in told


class TestTexts:
    def test_without_a_clock(self) -> None:
        """Where nobody looked at a clock, no instant is told."""
        holder = Holder(LEASE, True, "ci-7", 12)

        assert [
            residue_text("shop", "r1", since=None, now=None).partition(";")[0],
            unfinished_text(holder, now=None).partition(";")[0],
            held_text(holder, now=None).partition(";")[0],
            alive_text(holder, now=None).partition(";")[0],
        ] == [
            "'shop' is not free: run r1 left residue there",
            "'shop' is not free: run r1 has had it and is unfinished, though its process is dead (pid 12 on ci-7)",
            "'shop' is held by run r1, which is alive (pid 12 on ci-7)",
            "run r1 is alive (pid 12 on ci-7) and has held 'shop'",
        ]

    def test_without_a_present(self) -> None:
        """An instant may be told without an age."""
        holder = Holder(LEASE, True, "ci-7", 12, AT)

        assert "'shop' since 2026-01-02 03:04:05+00:00; let" in alive_text(holder, now=None)
