"""Keys move on, and never back; their files are their owner's alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyflow.errors import SecretError
from pyflow.record.evidence.keys import Key, make_key, read_key, write_key


class TestKey:
    def test_moves_on(self) -> None:
        """Each turn has another secret and the same id, and the first leads to all."""
        first = make_key()
        third = first.next().next()

        assert (third.id, third.turn) == (first.id, 2)
        assert third.secret != first.secret
        assert first.at(2) == third
        assert third.at(1) is None
        assert first.at(10**9) is None

    def test_is_text(self) -> None:
        """A key is a line of text, and its repr does not show it."""
        key = make_key().next()

        assert Key.from_text(key.to_text() + "\n") == key
        assert key.secret.hex() not in repr(key)

    @pytest.mark.parametrize(
        "text", ["", "hunter2", "pyflow-key-v1 1 2 3", "pyflow-key-v1 " + "a" * 99]
    )
    def test_refuses_other_text(self, text: str) -> None:
        """What is no key is refused, and is not repeated."""
        with pytest.raises(SecretError, match="no key of the form") as caught:
            Key.from_text(text)
        assert not text or text not in str(caught.value)

    def test_signs_what_it_is_given(self) -> None:
        """Another text, or another turn, has another MAC."""
        key = make_key()

        assert key.mac("a") == key.mac("a")
        assert len({key.mac("a"), key.mac("b"), key.next().mac("a"), make_key().mac("a")}) == 4


class TestFiles:
    def test_are_replaced_whole(self, tmp_path: Path) -> None:
        """A key is put in the place of the one before it, for its owner alone."""
        key = make_key()
        for turn in (key, key.next()):
            write_key(tmp_path / "key", turn)

        assert read_key(tmp_path / "key") == key.next()
        assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
        assert [path.name for path in tmp_path.iterdir()] == ["key"]

    def test_are_not_for_others(self, tmp_path: Path) -> None:
        """A key that others may read is refused."""
        write_key(tmp_path / "key", make_key())
        (tmp_path / "key").chmod(0o640)

        with pytest.raises(SecretError, match="may be read by others"):
            read_key(tmp_path / "key")

    def test_have_to_be_there(self, tmp_path: Path) -> None:
        """A file that is not there, or cannot be made, is an error."""
        with pytest.raises(SecretError, match="cannot be read"):
            read_key(tmp_path / "key")
        with pytest.raises(SecretError, match="cannot be written"):
            write_key(tmp_path / "no" / "key", make_key())
