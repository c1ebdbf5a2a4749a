"""Looking for many strings at once: where they stand, what a cut leaves of them, what is settled."""

from __future__ import annotations

import random
import string

import pytest

from pyflow.finding import CUT, Forms
from pyflow.redactor import RedactedStream, Redactor, hidden
from pyflow.secrets import MASK, Secret

TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae17"
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END KEY-----"


def redactor_of(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.register(value)
    return redactor


def found(text: str, *forms: str) -> list[str]:
    """Return what is found of *forms* in *text*."""
    return [text[start:stop] for start, stop in sorted({*Forms().plus(forms).spans(text)})]


class TestForms:
    @pytest.mark.parametrize("size", [6, 7, 8, 9, 40])
    @pytest.mark.parametrize("before", range(9))
    def test_any_place(self, size: int, before: int) -> None:
        """A string is found wherever it begins, whatever its length, at both ends of a text too."""
        form = TOKEN[:size]

        assert found("x" * before + form, form) == [form]
        assert found("é" * before + form + "漢", form) == [form]

    def test_many(self) -> None:
        """Each of a thousand strings is found, once for each place."""
        rng = random.Random(5)
        forms = ["".join(rng.choices(string.hexdigits, k=rng.randint(6, 30))) for _ in range(1_000)]
        text = " ".join(forms)

        spans = Forms().plus(forms[:500]).plus(forms[500:]).spans(text)

        assert {text[start:stop] for start, stop in spans} == set(forms)

    def test_alike(self) -> None:
        """Strings with one beginning, as the armour of keys, are told apart."""
        forms = [f"-----BEGIN KEY-----{number:04}" for number in range(200)]

        assert found(f"{'-' * 50_000}{forms[7][5:]} {forms[9]}", *forms)[-1] == forms[9]

    def test_too_short_without_noise(self) -> None:
        """A string that is next to nothing without its line breaks is found as it stands alone."""
        assert found("<a\nb\nc\nd\ne> abcde", "a\nb\nc\nd\ne") == ["a\nb\nc\nd\ne"]

    def test_escapes_of_its_own(self) -> None:
        """A string that holds an escape is found with it and without it."""
        form = "red\x1b[31mder-than-red"

        assert found(f"<{form}> <redder-than-red>", form) == [form, "redder-than-red"]

    def test_within_a_title(self) -> None:
        """What an escape hides from the screen is in the log all the same."""
        assert found(f"\x1b]0;{TOKEN}\x07", TOKEN) == [TOKEN]

    def test_surrogates(self) -> None:
        """Text that is not valid Unicode is looked through as well."""
        assert found(f"\udc80{TOKEN}\udc80", TOKEN) == [TOKEN]

    def test_none(self) -> None:
        """Nothing is found of nothing."""
        assert not Forms()
        assert Forms().spans("anything…\n\x1b[0m") == []
        assert Forms().settled("anything") == len("anything")


class TestCuts:
    @pytest.mark.parametrize("left", range(6, len(TOKEN)))
    def test_halves(self, left: int) -> None:
        """What is left of a value at either side of a cut is masked, down to six characters."""
        redactor = redactor_of(TOKEN)

        assert redactor.redact(f"at {TOKEN[:left]}{CUT}") == f"at {MASK}{CUT}"
        assert redactor.redact(f"{CUT}{TOKEN[-left:]} on") == f"{CUT}{MASK} on"

    @pytest.mark.parametrize(
        "text",
        [
            f"{TOKEN[:5]}{CUT}{TOKEN[-5:]}",
            f"{CUT}{TOKEN[4:12]}!",
            f"!{TOKEN[4:12]}{CUT}",
            f"{CUT} and {CUT}",
            CUT,
        ],
    )
    def test_leaves_the_rest(self, text: str) -> None:
        """Fewer than six characters, or what touches no cut, stays."""
        assert redactor_of(TOKEN).redact(text) == text

    def test_repeats(self) -> None:
        """A part that stands at several places of a value is tried at each."""
        value = "abcdefabcdefXabcdef-end"

        assert redactor_of(value).redact(f"abcdefabcdefXabcdef{CUT}") == f"{MASK}{CUT}"
        assert redactor_of(value).redact(f"{CUT}abcdef-end") == f"{CUT}{MASK}"


class TestStream:
    def test_lets_go(self) -> None:
        """What cannot be the beginning of a value comes out at once."""
        stream = redactor_of(TOKEN).stream()

        assert stream.feed("nothing to see\n") == "nothing to see\n"
        assert stream.feed(f"a{TOKEN[:9]}") == "a"
        assert repr(stream) == "<RedactedStream holding 9 characters>"
        assert stream.feed("and no more") == f"{TOKEN[:9]}and no more"
        assert stream.close() == ""

    @pytest.mark.parametrize(
        "text",
        [
            f"{TOKEN}{TOKEN}",
            f"{TOKEN[:12]}\x1b[31m{TOKEN[12:]}",
            f"{TOKEN[:12]}\r\n{TOKEN[12:]}",
            f"\x1b]0;{TOKEN}\x07",
            f"a{CUT}{TOKEN[20:]}b",
            f"a{TOKEN[:20]}{CUT}b",
            f"{CUT}x",
            f"{KEY}\n{KEY}",
            "\x1b",
            "\x1b[31",
            f"{TOKEN[:20]}",
        ],
    )
    def test_one_by_one(self, text: str) -> None:
        """Character by character, a stream says what a whole text says."""
        redactor = redactor_of(TOKEN, KEY, "colour\x1b[31mred-s3cr3t")
        stream = redactor.stream()

        out = "".join([*map(stream.feed, f"<{text}>"), stream.close()])

        assert out == redactor.redact(f"<{text}>")

    def test_overlaps(self) -> None:
        """Values that run into one another across pieces get one mask, as in a whole text."""
        redactor = redactor_of("abcdef", "defghi", "ghijkl")
        stream = redactor.stream()

        out = "".join([*map(stream.feed, ("abc", "defg", "hij", "kl", "x")), stream.close()])

        assert out == redactor.redact("abcdefghijklx") == f"{MASK}x"

    def test_one_inside_another(self) -> None:
        """A value waits for a longer one that it may turn out to be a part of."""
        stream = redactor_of("abcdefghijkl", "cdefgh").stream()

        out = [stream.feed("xabcdefgh"), stream.feed("ijkl"), stream.feed("abcdefgh!")]

        assert out == ["x", MASK, f"ab{MASK}!"]

    def test_bounded(self) -> None:
        """However much might be a value to come, what is held does not grow."""
        stream = redactor_of(TOKEN).stream()
        stream.feed(TOKEN[:20])

        held: list[int] = []
        out: list[str] = []
        for _ in range(30):
            out.append(stream.feed("\n" * 10_000))
            held.append(int(repr(stream).split()[2]))

        assert (out[0], held[0]) == ("", 10_020)
        assert max(held) <= 65_536 + 10_000
        assert "".join([*out, stream.close()]) == TOKEN[:20] + "\n" * 300_000

    def test_learns(self) -> None:
        """A value that is registered while the stream runs is masked from then on."""
        redactor = Redactor()
        stream = redactor.stream()
        before = stream.feed(TOKEN)

        redactor.register(TOKEN)

        assert (before, stream.feed(TOKEN)) == (TOKEN, MASK)
        assert stream.close() == ""

    def test_very_long(self) -> None:
        """Values with more renderings than are kept in pieces stream all the same."""
        rng = random.Random(9)
        value = "".join(rng.choices(string.ascii_letters, k=65_536))
        stream: RedactedStream = redactor_of(value).stream()

        out = [stream.feed(value[at : at + 9_999]) for at in range(0, len(value), 9_999)]

        assert "".join([*out, stream.feed("!"), stream.close()]) == f"{MASK}!"


class TestHidden:
    def test_masks_secrets(self) -> None:
        """Secrets are masked; plain values, and what cannot be fetched, are passed over."""
        values = [Secret(TOKEN), "plain-text", None, Secret.from_env("PYFLOW_NO_SUCH_VARIABLE")]

        assert hidden(f"{TOKEN} and plain-text", values) == f"{MASK} and plain-text"
