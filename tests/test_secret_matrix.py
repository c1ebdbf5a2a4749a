"""Forty secrets in all their renderings, taken to every sink in all kinds of pieces: nothing leaks."""

from __future__ import annotations

import random

import pytest

from pyflow.secrets import Redactor
from support.secret_matrix import CHUNKS, SECRETS, leaked, masked, said, windows

TEXT = "\n".join(said(value) for value in SECRETS.values())
MASKED = "\n".join(masked(value) for value in SECRETS.values())
ALLOWED = frozenset(windows(MASKED))


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    """One that knows all forty."""
    made = Redactor()
    for value in SECRETS.values():
        made.register(value)
    return made


def pieces(text: str, size: int) -> list[str]:
    """Return *text* in pieces of *size*, or of sizes drawn at random where that is 0."""
    if size:
        return [text[at : at + size] for at in range(0, len(text), size)]
    rng, found, at = random.Random(3), list[str](), 0
    while at < len(text):
        step = rng.choice((1, 3, 17, 500, 5_000))
        found.append(text[at : at + step])
        at += step
    return found


class TestText:
    def test_forty(self) -> None:
        """There are as many as there are said to be."""
        assert len(SECRETS) == 40

    def test_whole(self, redactor: Redactor) -> None:
        """A text that holds all of them in all renderings comes out with none."""
        assert leaked(redactor.redact(TEXT), allowed=ALLOWED) == []

    @pytest.mark.parametrize("kind", SECRETS)
    def test_each(self, kind: str) -> None:
        """One alone comes out as if masks had been written to begin with."""
        redactor = Redactor()
        redactor.register(SECRETS[kind])

        assert redactor.redact(said(SECRETS[kind])).split() == masked(SECRETS[kind]).split()


class TestStream:
    @pytest.mark.parametrize("size", CHUNKS)
    def test_pieces(self, redactor: Redactor, size: int) -> None:
        """However a text is cut into pieces, it comes out as if it had come whole."""
        texts = [said(value) for value in SECRETS.values() if size >= 4_096 or len(value) < 2_000]
        if size == 0:
            texts = [TEXT]
        text = "\n".join(texts)
        stream = redactor.stream()

        out = "".join([*map(stream.feed, pieces(text, size)), stream.close()])

        assert out == redactor.redact(text)
        assert leaked(out, allowed=ALLOWED) == []
