"""What is skimmed from a stored record is what decoding it gives, and nothing of a changed one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflow.record import events as ev
from pyflow.record.codec import encode_line, seal
from pyflow.record.skim import kind_of, skim
from support.trails import AT, EVENTS, trail_of

NAMES = st.text(min_size=1, max_size=40) | st.sampled_from(
    ['"hash":"', '","kind":"', "\\", '"', 'x"hash":"y', "\\u0061", "r1.notices"]
)


class TestSkim:
    def test_agrees_with_the_codec(self) -> None:
        """Every kind of record gives its place, its hashes and its instant."""
        for record in trail_of(EVENTS):
            line = encode_line(record)
            skimmed = skim(line.encode())
            assert skimmed is not None
            assert (skimmed.run_id, skimmed.seq, skimmed.kind) == (
                record.run_id,
                record.seq,
                record.kind,
            )
            assert (skimmed.prev, skimmed.hash) == (record.prev, record.hash)
            assert skimmed.at == json.loads(line)["at"]
            assert kind_of(line) == record.kind

    @given(NAMES, NAMES)
    def test_takes_any_name_and_any_words(self, name: str, words: str) -> None:
        """Whatever a run is called, and whatever is said in it, the place is found."""
        (record,) = seal(
            name,
            [ev.Logged("a", words, {"hash": words, "kind": words})],
            at=AT,
            seq=8,
            prev="0" * 64,
        )
        line = encode_line(record)

        skimmed = skim(line.encode())

        assert skimmed is not None
        assert (skimmed.run_id, skimmed.seq, skimmed.hash) == (name, 9, record.hash)
        assert kind_of(line) == "logged"

    @pytest.mark.parametrize("line", [b"", b"{}", b'"hash":"', b"\xff" * 300, b"null"])
    def test_refuses_what_is_none(self, line: bytes) -> None:
        """What is no record is none."""
        assert skim(line) is None

    def test_refuses_another_form(self) -> None:
        """The same data in another form is not what was written."""
        line = encode_line(trail_of()[6])

        for changed in (line + " ", " " + line, line.replace("pulled", "\\u0070ulled")):
            assert skim(changed.encode()) is None
