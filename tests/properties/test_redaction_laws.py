"""Laws of redaction, over random secrets in random surroundings."""

from __future__ import annotations

import ast
import base64
import html
import json
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from pyflow.redaction import weakness
from pyflow.secrets import MASK, Redactor

if TYPE_CHECKING:
    from collections.abc import Callable

# A busy machine is no reason to fail.
SOME = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(SOME, max_examples=500)

HOSTILE = "'\"\\<>&/%+= \t\r\n*$`{}[]^.\x00\x1b\x7féß漢😀"
CHARS = st.one_of(
    st.sampled_from("abcXYZ019_-"), st.sampled_from(HOSTILE), st.characters(codec="utf-8")
)
TEXTS = st.text(CHARS, max_size=20)
SECRETS = st.text(CHARS, min_size=6, max_size=40).filter(lambda value: weakness(value) is None)
OTHERS = st.text("αγδΩж字", max_size=20)
WORDS = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=6, max_size=40).filter(
    lambda value: weakness(value) is None
)

TEXT_ENCODINGS: dict[str, Callable[[str], str]] = {
    "raw": lambda text: text,
    "json": lambda text: json.dumps(text)[1:-1],
    "json utf-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "json twice": lambda text: json.dumps(json.dumps(text))[3:-3],
    "json twice utf-8": lambda text: json.dumps(json.dumps(text, ensure_ascii=False))[3:-3],
    "html": html.escape,
    "html bare": lambda text: html.escape(text, quote=False),
    "shell": lambda text: text.replace("'", "'\"'\"'"),
    "bash -x": lambda text: text.replace("'", "'\\''"),
    "url": quote,
    "url safe": lambda text: quote(text, safe=""),
    "url plus": quote_plus,
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
}
"""Encodings that go character by character, so that a part keeps its form."""

BYTE_ENCODINGS: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "base64": (base64.b64encode, 6),
    "base64 url": (base64.urlsafe_b64encode, 6),
    "base32": (base64.b32encode, 5),
}


def read_back(literal: str, *, empty: Any) -> Any:
    """Read a masked repr, which a mask in the middle of an escape makes unreadable."""
    try:
        return ast.literal_eval(literal)
    except (SyntaxError, ValueError):
        return empty


def redactor_of(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.register(value)
    return redactor


class TestNothingSurvives:
    @given(SECRETS, TEXTS, TEXTS, st.sampled_from(sorted(TEXT_ENCODINGS)))
    @MANY
    @example("abc***def", "abc", "def", "raw")
    @example("it's\"a secret", "'", '"', "json twice")
    def test_text_encodings(self, secret: str, before: str, after: str, encoding: str) -> None:
        """No encoding by characters carries a secret through."""
        encode = TEXT_ENCODINGS[encoding]

        text = encode(before + secret + after)

        redacted = redactor_of(secret).redact(text)

        assert encode(secret) in text
        assert encode(secret) not in redacted

    @given(SECRETS, TEXTS, TEXTS)
    @SOME
    @example("it's-a-secret", '"', "")
    @example("it's-a-secret", "", "")
    @example('say "it"', "'", "")
    def test_reprs(self, secret: str, before: str, after: str) -> None:
        """No repr carries a secret through, whichever quotes it picks."""
        redactor = redactor_of(secret)
        text = before + secret + after

        for written, whole in (
            (repr(text), secret),
            (ascii(text), secret),
            (repr(text.encode()), secret.encode()),
        ):
            redacted = redactor.redact(written)
            assert MASK in redacted
            assert whole not in read_back(redacted, empty=whole[:0])

    @given(SECRETS, TEXTS, TEXTS, st.sampled_from(sorted(BYTE_ENCODINGS)))
    @MANY
    def test_byte_encodings(self, secret: str, before: str, after: str, encoding: str) -> None:
        """No place within base64 or base32 carries a secret through."""
        encode, bits = BYTE_ENCODINGS[encoding]
        start = len(before.encode())
        text = encode((before + secret + after).encode()).decode()
        own = text[-(-8 * start // bits) : 8 * (start + len(secret.encode())) // bits]

        redacted = redactor_of(secret).redact(text)

        assert own in text
        assert own not in redacted

    @given(SECRETS, st.sampled_from([shlex.quote, shlex.join]), st.booleans())
    @SOME
    def test_shell_words(self, secret: str, write: Any, header: bool) -> None:
        """A command line shows no secret, alone or within a word."""
        word = f"Authorization: {secret}" if header else secret
        text = write([word]) if write is shlex.join else write(word)

        redacted = redactor_of(secret).redact(text)

        assert MASK in redacted
        assert secret not in redacted

    @given(SECRETS, SECRETS, st.integers(0, 40))
    @SOME
    def test_overlapping_secrets(self, one: str, other: str, cut: int) -> None:
        """Secrets that run into each other leave neither whole."""
        text = one[:cut] + other + one + other[cut:]

        redacted = redactor_of(one, other).redact(text)

        assert one not in redacted
        assert other not in redacted

    @given(st.lists(WORDS, min_size=2, max_size=6), st.sampled_from(["\n", "\r\n"]), TEXTS)
    @SOME
    def test_lines(self, lines: list[str], line_break: str, around: str) -> None:
        """Each line of a secret is masked alone, and all of them with either line break."""
        redactor = redactor_of("\n".join(lines))

        redacted = redactor.redact(f"{around}{line_break.join(lines)}{around}")

        assert not [line for line in lines if line in redacted]
        assert [redactor.redact(line) for line in lines] == [MASK] * len(lines)

    @given(WORDS, st.data())
    @SOME
    def test_wraps_and_colours(self, secret: str, data: st.DataObject) -> None:
        """Line wraps and colour codes between its characters do not hide a secret."""
        noise = st.sampled_from(["", "", "", "\n", "\r\n", "\x1b[0m", "\x1b[1;31m", "\x1b]0;x\x07"])
        text = "".join(char + data.draw(noise) for char in secret[:-1]) + secret[-1]

        assert redactor_of(secret).redact(f"<{text}>") == f"<{MASK}>"

    @given(
        SECRETS, st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))
    )
    @SOME
    def test_data(self, secret: str, data: Any) -> None:
        """Masked data holds no secret, `find` agrees, and the clean data has no path."""
        redactor = redactor_of(secret)
        tree: Any = {"a": [data, {secret: secret}], "b": f"x{secret}y"}

        masked = redactor.redact_data(tree)

        assert redactor.find(tree) is not None
        assert redactor.find(masked) is None


class TestStreams:
    @given(st.lists(SECRETS, min_size=1, max_size=3), st.data())
    @SOME
    def test_pieces(self, secrets: list[str], data: st.DataObject) -> None:
        """A text comes out alike whole and in pieces, where no mask completes another value."""
        assume(not any("*" in secret for secret in secrets))
        encode = data.draw(st.sampled_from(sorted(TEXT_ENCODINGS)))
        noise = st.sampled_from(["", "", "\n", "\r\n", "\x1b[0m", "\x1b]0;x\x07", "\x1b", "x"])
        parts = [*secrets, *secrets, secrets[0][:5], secrets[-1][3:]]
        text = "".join(
            "".join(char + data.draw(noise) for char in TEXT_ENCODINGS[encode](part))
            if data.draw(st.booleans())
            else part
            for part in data.draw(st.permutations(parts))
        )
        redactor = redactor_of(*secrets)
        stream = redactor.stream()

        out, at = list[str](), 0
        while at < len(text):
            size = data.draw(st.integers(1, 30))
            out.append(stream.feed(text[at : at + size]))
            at += size

        assert "".join([*out, stream.close()]) == redactor.redact(text)


class TestIdempotence:
    @given(st.lists(SECRETS, min_size=1, max_size=3), st.lists(TEXTS, max_size=4), st.data())
    @SOME
    @example(["abc***def"], ["abc"], None)
    def test_text(self, secrets: list[str], texts: list[str], data: st.DataObject | None) -> None:
        """What is masked stays as it is when it is masked again."""
        parts = [*secrets, *texts, *secrets]
        text = "".join(data.draw(st.permutations(parts)) if data else parts)
        redactor = redactor_of(*secrets)

        once = redactor.redact(text)

        assert redactor.redact(once) == once


class TestOtherText:
    @given(
        st.lists(WORDS, min_size=1, max_size=3),
        st.text(st.sampled_from("αβγδΩж漢 \n\r\x1b[;]"), max_size=200),
    )
    @SOME
    def test_unchanged(self, secrets: list[str], text: str) -> None:
        """Text that shares no letter with the secrets comes back as the same object."""
        assume(not any(set(secret) <= set(" \n\r\x1b[;]") for secret in secrets))

        redacted = redactor_of(*secrets).redact(text)

        assert redacted is text

    @given(SECRETS, OTHERS, OTHERS)
    @SOME
    def test_only_the_secret_goes(self, secret: str, before: str, after: str) -> None:
        """What stands before and after a secret is left as it was, where it shares no letter."""
        assume(not set(before + after) & set(secret))

        redacted = redactor_of(secret).redact(before + secret + after)

        assert redacted == before + MASK + after
