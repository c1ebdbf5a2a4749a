from __future__ import annotations

import base64
import copy
import dataclasses
import html
import inspect
import json
import pickle
import shlex
import sys
import threading
import traceback
import types
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from pyflow.errors import DefinitionError, SecretError
from pyflow.redaction import encoded_forms, weakness
from pyflow.secrets import MASK, Redactor, Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VALUE = "s3cr3t'\"<&>/+ é"
TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae17"
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nab\n\n======\n-----END KEY-----\n"

UNPROTECTABLE = [
    "",
    "   ",
    "\n",
    "x",
    "12345",
    " 12345 ",
    "true",
    "False",
    "Password",
    "******",
    "000000000",
    "x" * 65_537,
    "line\n" * 1_001,
    "binary\udcff",
    None,
    True,
    123456,
    b"s3cr3t-bytes",
]


def redactor_of(*values: Secret | str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.register(value)
    return redactor


def raising(error: BaseException) -> Callable[[], str]:
    def fetch() -> str:
        raise error

    return fetch


class TestSecret:
    def test_reveals(self) -> None:
        """The value is there for whoever asks for it by name."""
        secret = Secret(VALUE)

        assert secret.reveal() == VALUE

    @pytest.mark.parametrize(
        ("secret", "shown"),
        [
            (Secret(VALUE), "Secret(***)"),
            (Secret(VALUE, name="db"), "Secret('name:db', ***)"),
            (Secret.from_env("TOKEN"), "Secret('env:TOKEN', ***)"),
        ],
    )
    def test_masks_itself(self, secret: Secret, shown: str) -> None:
        """Every way of printing a secret gives the mask."""
        texts = [str(secret), f"{secret}", f"{secret:>40}", f"{secret:.2f}", f"{secret!s}"]

        assert texts == [MASK] * len(texts)
        assert repr(secret) == f"{secret!r}" == shown
        assert str([secret]) == f"[{shown}]"

    def test_is_no_json(self) -> None:
        """JSON refuses a secret, and does not show it in refusing."""
        with pytest.raises(TypeError) as caught:
            json.dumps({"token": Secret(VALUE)})

        assert VALUE not in str(caught.value)

    def test_no_attribute_holds_it(self) -> None:
        """Walking the attributes, as debuggers do, finds no value."""
        secret = Secret(VALUE)

        walked = repr(inspect.getmembers(secret))

        assert "_read" in dir(secret)
        assert VALUE not in walked
        assert repr(VALUE)[1:-1] not in walked

    def test_has_no_dict(self) -> None:
        """`vars` has nothing to show, and nothing can be added."""
        secret: Any = Secret(VALUE)

        with pytest.raises(TypeError):
            vars(secret)
        with pytest.raises(AttributeError):
            secret.note = "x"

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_refuses_pickle(self, protocol: int) -> None:
        """No pickle protocol takes a secret."""
        with pytest.raises(SecretError, match=r"Secret\('name:db', \*\*\*\) cannot be pickled"):
            pickle.dumps(Secret(VALUE, name="db"), protocol)

    def test_copies_are_itself(self) -> None:
        """A copy is the same object, also inside a dataclass turned into a dict."""
        secret = Secret(VALUE)
        box = dataclasses.make_dataclass("Box", ["secret"])(secret)

        copies = [copy.copy(secret), copy.deepcopy(secret), dataclasses.asdict(box)["secret"]]

        assert all(each is secret for each in copies)

    def test_equality(self) -> None:
        """Secrets are equal by value, wherever it came from, and never equal to a string."""
        secret, same = Secret(VALUE), Secret.from_provider(lambda: VALUE, name="vault")
        other: object = VALUE

        assert secret == secret  # noqa: PLR0124
        assert secret == same
        assert hash(secret) == hash(same)
        assert secret != Secret(TOKEN)
        assert secret != other
        assert len({secret, same, Secret(TOKEN)}) == 2

    def test_has_no_subclasses(self) -> None:
        """A subclass could show the value, so there is none."""
        with pytest.raises(TypeError, match="wrap a Secret instead"):
            types.new_class("Loud", (Secret,))

    @pytest.mark.parametrize("value", UNPROTECTABLE, ids=lambda value: ascii(value)[:20])
    def test_refuses_what_cannot_be_hidden(self, value: Any) -> None:
        """A value that is short, common, huge or no text is refused, and not shown."""
        with pytest.raises(SecretError, match=r"^secret name:db: .*; .*") as caught:
            Secret(value, name="db")

        assert (
            not isinstance(value, str) or not value.strip() or f"{value!r}" not in str(caught.value)
        )

    def test_shortest(self) -> None:
        """Six characters can be hidden."""
        assert Secret("a1b2c3").reveal() == "a1b2c3"

    @pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 1_001, 7])
    def test_refuses_bad_names(self, name: Any) -> None:
        """A name is printable text."""
        with pytest.raises(SecretError, match=r"Secret\(name=\): .* is not usable"):
            Secret(VALUE, name=name)

    def test_refuses_telling_names(self) -> None:
        """A name that holds the value would print it."""
        with pytest.raises(SecretError, match="the name holds the value") as caught:
            Secret(TOKEN, name=f"token {TOKEN}")

        assert TOKEN not in str(caught.value)

    @pytest.mark.parametrize(
        ("secret", "reference"),
        [
            (Secret(VALUE), None),
            (Secret(VALUE, name="db"), "name:db"),
            (Secret.from_env("TOKEN"), "env:TOKEN"),
            (Secret.from_file("/run/secrets/x"), "file:/run/secrets/x"),
            (Secret.from_provider(lambda: VALUE, name="vault/db"), "provider:vault/db"),
        ],
    )
    def test_reference(self, secret: Secret, reference: str | None) -> None:
        """The reference says where the value comes from, before it is fetched."""
        assert secret.reference == reference


class TestFromEnv:
    def test_reads_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The variable is read at the opening call and then kept."""
        secret = Secret.from_env("PYFLOW_TOKEN")
        monkeypatch.setenv("PYFLOW_TOKEN", TOKEN)
        before = secret.reveal()

        monkeypatch.setenv("PYFLOW_TOKEN", "something else")

        assert before == secret.reveal() == TOKEN

    def test_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A variable that is not set is named, and read again the next time."""
        monkeypatch.delenv("PYFLOW_TOKEN", raising=False)
        secret = Secret.from_env("PYFLOW_TOKEN")
        with pytest.raises(SecretError, match=r"env:PYFLOW_TOKEN: .*not set; set PYFLOW_TOKEN"):
            secret.reveal()

        monkeypatch.setenv("PYFLOW_TOKEN", TOKEN)

        assert secret.reveal() == TOKEN

    def test_blank(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A variable that is set to nothing is a failing provider."""
        monkeypatch.setenv("PYFLOW_TOKEN", "")

        with pytest.raises(SecretError, match="secret env:PYFLOW_TOKEN: the value is empty"):
            Secret.from_env("PYFLOW_TOKEN").reveal()

    @pytest.mark.parametrize("variable", ["", "A=b", "A\x00", None])
    def test_refuses_bad_names(self, variable: Any) -> None:
        """What cannot be the name of a variable is refused at once."""
        with pytest.raises(SecretError, match=r"^Secret\.from_env\(\): .*; give"):
            Secret.from_env(variable)


class TestFromFile:
    def test_leaves_out_the_last_line_break(self, tmp_path: Path) -> None:
        """The line break that an editor adds to one line is no part of the secret."""
        path = tmp_path / "token"
        path.write_bytes(f"{TOKEN}\r\n".encode())

        secret = Secret.from_file(path)

        assert secret.reveal() == TOKEN
        assert secret.reference == f"file:{path}"

    def test_keeps_several_lines(self, tmp_path: Path) -> None:
        """A private key is kept to the letter: its last line break belongs to it."""
        path = tmp_path / "key"
        path.write_text(KEY)

        assert Secret.from_file(str(path)).reveal() == KEY

    def test_missing(self, tmp_path: Path) -> None:
        """A file that is not there is named, with the system's reason and cause."""
        with pytest.raises(SecretError, match="gone: No such file or directory; check") as caught:
            Secret.from_file(tmp_path / "gone").reveal()

        assert isinstance(caught.value.__cause__, FileNotFoundError)

    def test_empty(self, tmp_path: Path) -> None:
        """An empty file is a failing provider."""
        path = tmp_path / "empty"
        path.touch()

        with pytest.raises(SecretError, match="empty: the value is empty"):
            Secret.from_file(path).reveal()

    def test_too_large(self) -> None:
        """A file without an end is read up to the limit and refused."""
        with pytest.raises(SecretError, match="more than 65,536 characters"):
            Secret.from_file("/dev/zero").reveal()

    def test_not_text(self, tmp_path: Path) -> None:
        """A binary file is refused, and its content is not in the chain of errors."""
        path = tmp_path / "binary"
        path.write_bytes(b"\xff" + VALUE.encode())

        with pytest.raises(SecretError, match="not UTF-8; store a binary key as base64") as caught:
            Secret.from_file(path).reveal()

        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    def test_refuses_bad_paths(self) -> None:
        """A blank path is refused at once."""
        with pytest.raises(SecretError, match=r"Secret\.from_file\(\): '' is not usable"):
            Secret.from_file("")


def printing(code: str, **options: Any) -> Secret:
    """Return a secret that a Python program prints."""
    return Secret.from_command([sys.executable, "-I", "-c", code], name="vault", **options)


class TestFromCommand:
    def test_fetches_once(self, tmp_path: Path) -> None:
        """The program is called when the value is needed, and once."""
        calls = tmp_path / "calls"
        secret = printing(f"open({str(calls)!r}, 'a').write('x'); print({TOKEN!r})")
        before = calls.exists()

        values = {secret.reveal(), secret.reveal()}

        assert (before, calls.read_text(), values) == (False, "x", {TOKEN})

    @pytest.mark.parametrize("end", ["", "\\n", "\\r\\n"])
    def test_leaves_out_the_last_line_break(self, end: str) -> None:
        """The line break that ends a single line is no part of the secret."""
        assert printing(f"import os; os.write(1, b'{TOKEN}{end}')").reveal() == TOKEN

    def test_keeps_several_lines(self) -> None:
        """A private key is kept to the letter."""
        assert printing(f"print({KEY!r}, end='')").reveal() == KEY

    def test_no_shell(self) -> None:
        """Arguments reach the program as they are."""
        assert Secret.from_command(["/bin/echo", "$HOME; `id` | *"]).reveal() == "$HOME; `id` | *"

    def test_reference(self) -> None:
        """The record holds a name, and never the arguments."""
        assert Secret.from_command(["/usr/bin/vault", "read", "x"]).reference == "command:vault"
        assert printing("").reference == "command:vault"
        assert repr(printing("")) == "Secret('command:vault', ***)"

    def test_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It has our environment, and what is given besides, secrets revealed."""
        monkeypatch.setenv("PYFLOW_A", "from-us")
        code = "import os; print(os.environ['PYFLOW_A'] + os.environ['PYFLOW_B'])"

        assert printing(code, env={"PYFLOW_B": Secret(TOKEN)}).reveal() == f"from-us{TOKEN}"

    def test_no_input(self) -> None:
        """There is nothing to read, so nothing waits for a prompt."""
        assert printing("import sys; print(repr(sys.stdin.read()) + 'nothing')").reveal() == (
            "''nothing"
        )

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("print({0!r}); raise SystemExit(3)", "python.* ended with code 3"),
            ("import sys; sys.stderr.write({0!r}); sys.exit({0!r})", "ended with code 1"),
            ("import os; print({0!r}, flush=True); os.kill(os.getpid(), 9)", "ended with code -9"),
            ("pass", "the value is empty"),
            ("import os; os.write(1, b'\\xff' + {0!r}.encode())", "not UTF-8"),
            ("while True: print({0!r} * 1_000)", "more than 65,536 characters"),
        ],
    )
    def test_failure(self, code: str, words: str) -> None:
        """A program that fails is named, and nothing that it said is shown, nor its arguments."""
        with pytest.raises(SecretError, match=f"secret command:vault: .*{words}") as caught:
            printing(code.format(TOKEN)).reveal()

        assert TOKEN not in "".join(traceback.format_exception(caught.value, chain=True))
        assert "-I" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_timeout(self) -> None:
        """One that takes too long is ended, with all that it has started."""
        code = f"print({TOKEN!r}, flush=True); import signal; signal.pause()"

        with pytest.raises(SecretError, match=r"did not end within 0\.2 s") as caught:
            printing(code, timeout=0.2).reveal()

        assert TOKEN not in str(caught.value)

    def test_closed_output(self) -> None:
        """One that closes its output and goes on is ended as well."""
        code = "import os, signal; os.close(1); signal.pause()"

        with pytest.raises(SecretError, match=r"did not end within 0\.3 s"):
            printing(code, timeout=0.3).reveal()

    def test_leaves_something_behind(self) -> None:
        """What it leaves running neither delays the value nor survives it."""
        shell = f"sleep 60 & echo {TOKEN}"

        assert Secret.from_command(["/bin/sh", "-c", shell], timeout="50s").reveal() == TOKEN

    def test_missing(self) -> None:
        """A program that is not there is named; the next call tries again."""
        secret = Secret.from_command(["/no/such/vault", TOKEN])

        for _ in range(2):
            with pytest.raises(SecretError, match="vault could not be started: No such") as caught:
                secret.reveal()
            assert TOKEN not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize(
        "options",
        [
            {"argv": TOKEN},
            {"argv": []},
            {"argv": [""]},
            {"argv": ["vault", Secret(TOKEN)]},
            {"argv": ["vault", 7]},
            {"argv": ["vault", f"{TOKEN}\0"]},
            {"argv": None},
            {"argv": ["vault"], "env": TOKEN},
            {"argv": ["vault"], "env": {"A=": TOKEN}},
            {"argv": ["vault"], "env": {"A": 7}},
            {"argv": ["vault"], "name": "a\nb"},
        ],
    )
    def test_refuses(self, options: dict[str, Any]) -> None:
        """What cannot be called is refused at once, and not shown."""
        with pytest.raises(SecretError) as caught:
            Secret.from_command(**options)

        assert TOKEN not in str(caught.value)

    def test_says_where_secrets_go(self) -> None:
        """A secret among the arguments could be read by everybody on the machine."""
        argv: Any = ["vault", Secret(TOKEN)]

        with pytest.raises(SecretError, match="a Secret goes into env="):
            Secret.from_command(argv)

    @pytest.mark.parametrize("timeout", [0, -1, "soon"])
    def test_refuses_bad_timeouts(self, timeout: Any) -> None:
        """A timeout is a span."""
        with pytest.raises(DefinitionError):
            Secret.from_command(["vault"], timeout=timeout)


class TestFromProvider:
    def test_fetches_once(self) -> None:
        """The provider is asked when the value is needed, and once."""
        calls: list[int] = []

        def fetch() -> str:
            calls.append(1)
            return VALUE

        secret = Secret.from_provider(fetch, name="vault")
        before = len(calls)
        values = {secret.reveal(), secret.reveal()}

        assert (before, len(calls), values) == (0, 1, {VALUE})

    def test_fetches_once_from_many_threads(self) -> None:
        """Threads that ask at the same time share one fetch."""
        started, calls = threading.Event(), list[int]()

        def fetch() -> str:
            calls.append(1)
            assert started.wait(10)
            return VALUE

        secret = Secret.from_provider(fetch, name="vault")
        threads = [threading.Thread(target=secret.reveal) for _ in range(4)]
        for thread in threads:
            thread.start()
        started.set()
        for thread in threads:
            thread.join()

        assert len(calls) == 1

    def test_failure(self) -> None:
        """A provider that raises is named, its error is the cause and not the message."""
        error = RuntimeError(f"401 for {TOKEN}")

        with pytest.raises(SecretError, match=r"provider:vault: .*raised RuntimeError") as caught:
            Secret.from_provider(raising(error), name="vault").reveal()

        assert caught.value.__cause__ is error
        assert TOKEN not in str(caught.value)

    def test_interrupt_passes(self) -> None:
        """Ctrl-C during a fetch is Ctrl-C."""
        with pytest.raises(KeyboardInterrupt):
            Secret.from_provider(raising(KeyboardInterrupt()), name="vault").reveal()

    @pytest.mark.parametrize("value", UNPROTECTABLE, ids=lambda value: ascii(value)[:20])
    def test_checks_what_it_gets(self, value: Any) -> None:
        """A fetched value is held to the rules of a given one."""
        with pytest.raises(SecretError, match=r"^secret provider:vault: "):
            Secret.from_provider(lambda: value, name="vault").reveal()

    def test_tries_again(self) -> None:
        """A failure is not kept."""
        answers = iter(["", VALUE])
        secret = Secret.from_provider(lambda: next(answers), name="vault")
        with pytest.raises(SecretError):
            secret.reveal()

        assert secret.reveal() == VALUE

    def test_asking_itself(self) -> None:
        """A provider that asks for its own secret fails instead of hanging."""

        def fetch() -> str:
            return secret.reveal()

        secret = Secret.from_provider(fetch, name="vault")

        with pytest.raises(SecretError, match="provider:vault"):
            secret.reveal()

    def test_refuses_no_function(self) -> None:
        """The value itself, or an async function, is no provider."""

        async def fetch() -> str:
            return VALUE

        for given in (7, fetch):
            with pytest.raises(SecretError, match="not a plain function"):
                Secret.from_provider(given, name="vault")  # pyright: ignore[reportArgumentType]

    def test_refuses_bad_names(self) -> None:
        """A provider has a name."""
        with pytest.raises(SecretError, match=r"from_provider\(name=\)"):
            Secret.from_provider(lambda: VALUE, name="")


class TestWeakness:
    @pytest.mark.parametrize(
        "value", ["a1b2c3", TOKEN, VALUE, KEY, "pass word", "x" * 65_535 + "y"]
    )
    def test_none_for_a_secret(self, value: str) -> None:
        """A value that can be hidden has none."""
        assert weakness(value) is None

    @pytest.mark.parametrize("value", UNPROTECTABLE, ids=lambda value: ascii(value)[:20])
    def test_says_what_to_do(self, value: object) -> None:
        """What cannot be hidden comes with a reason and advice."""
        reason = weakness(value)

        assert reason is not None
        assert "; " in reason


class TestEncodedForms:
    @pytest.mark.parametrize(
        "form",
        [
            VALUE,
            json.dumps(VALUE)[1:-1],
            json.dumps(VALUE, ensure_ascii=False)[1:-1],
            json.dumps(json.dumps(VALUE))[3:-3],
            json.dumps(VALUE)[1:-1]
            .replace("<", "\\u003c")
            .replace(">", "\\u003e")
            .replace("&", "\\u0026"),
            repr(VALUE)[1:-1],
            ascii(VALUE)[1:-1],
            repr(VALUE.encode())[2:-1],
            html.escape(VALUE),
            html.escape(VALUE, quote=False),
            "s3cr3t&#39;&#34;&lt;&amp;&gt;/+ é",
            shlex.quote(VALUE)[1:-1],
            "s3cr3t'\\''\"<&>/+ é",
            quote(VALUE),
            quote(VALUE, safe=""),
            "s3cr3t%27%22%3C%26%3E/%2B+%C3%A9",
            "s3cr3t%27%22%3c%26%3e%2f%2b+%c3%a9",
            VALUE.encode().hex(),
            VALUE.encode().hex().upper(),
        ],
    )
    def test_lists(self, form: str) -> None:
        """Every usual way to write a value is among its forms."""
        assert form in encoded_forms(VALUE)

    def test_repr_beside_other_quotes(self) -> None:
        """A quote elsewhere in the string changes how repr writes the secret's own."""
        value = "it's-a-sécret"

        forms = encoded_forms(value)

        for text in (value, f'"{value}', f'"{value}".'):
            for written in (repr(text), ascii(text), repr(text.encode())):
                assert max(len(form) for form in forms if form in written) >= len(value), written

    @pytest.mark.parametrize(
        "encode", [base64.b64encode, base64.urlsafe_b64encode, base64.b32encode]
    )
    @pytest.mark.parametrize("length", [6, 7, 8, 9, 10, 40])
    def test_base64_at_every_place(self, encode: Callable[[bytes], bytes], length: int) -> None:
        """Wherever the value begins, what it alone decides is found, and nothing beyond."""
        bits = 5 if encode is base64.b32encode else 6
        data = bytes(range(190, 190 + length)).decode("latin-1").encode()

        for before in range(11):
            for after in range(6):
                text = encode(b"p" * before + data + b"s" * after).decode()
                end = 8 * (before + len(data)) // bits
                middle = text[-(-8 * before // bits) : end]
                assert middle in encoded_forms(data.decode()), (before, after)

    def test_lines(self) -> None:
        """Lines count one by one; short or common ones, and blanks, would mask everything."""
        forms = encoded_forms(KEY)

        assert {"-----BEGIN KEY-----", "MIIEvQIBADANBgkqhkiG9w0B"} <= forms
        assert {KEY, KEY.strip("\n"), KEY.strip("\n").replace("\n", "\r\n")} <= forms
        assert not {"ab", "", "======"} & forms

    @pytest.mark.parametrize(
        ("value", "inner"),
        [
            ("postgres://shop:p%40ssw0rd%21@db/shop", {"p%40ssw0rd%21", "p@ssw0rd!"}),
            ("https://ghp_token@github.com/acme", {"ghp_token"}),
            ("Bearer abcdef123", {"abcdef123"}),
            ("Authorization: Basic YWxpY2U6cHc=", {"YWxpY2U6cHc="}),
        ],
    )
    def test_credentials_inside(self, value: str, inner: set[str]) -> None:
        """The credentials within a URL or a header are hidden on their own as well."""
        assert inner <= encoded_forms(value)

    @pytest.mark.parametrize(
        "form",
        ["/services/T0/B0/XyZ0123456789abcd", "XyZ0123456789abcd", "sig=0123456789abcdef"],
    )
    def test_path_of_a_webhook(self, form: str) -> None:
        """The path of a URL without credentials is one, and so is what it ends with."""
        url = "https://hooks.example/services/T0/B0/XyZ0123456789abcd?sig=0123456789abcdef"

        assert form in encoded_forms(url) or form.removeprefix("sig=") in encoded_forms(url)
        assert "/services/T0/B0/XyZ0123456789abcd?sig=0123456789abcdef" in encoded_forms(url)

    @pytest.mark.parametrize(
        "value", ["https://shop.example/production", "redis://cache.example/a-very-long-path-of-it"]
    )
    def test_no_path(self, value: str) -> None:
        """A path that is short, or no web page's, is a word like any other."""
        assert not [form for form in encoded_forms(value) if form.startswith("/")]

    @pytest.mark.parametrize("value", ["https://a:pw@host/", "https://[broken/path", "token only"])
    def test_nothing_weak_inside(self, value: str) -> None:
        """A credential too short to be hidden does not become a form."""
        forms = encoded_forms(value)

        assert value in forms
        assert min(map(len, forms)) >= 6


class TestRedactor:
    def test_false_until_it_knows_a_value(self) -> None:
        """The hot path asks whether there is anything to do."""
        redactor = Redactor()
        before = bool(redactor), len(redactor)

        redactor.register(VALUE)

        assert before == (False, 0)
        assert (bool(redactor), len(redactor)) == (True, 1)

    def test_registering_twice(self) -> None:
        """A value counts once, given as text or as a secret."""
        redactor = redactor_of(VALUE, Secret(VALUE), Secret.from_provider(lambda: VALUE, name="v"))

        assert len(redactor) == 1
        assert repr(redactor) == "Redactor(1 values)"

    @pytest.mark.parametrize("value", UNPROTECTABLE, ids=lambda value: ascii(value)[:20])
    def test_refuses_what_cannot_be_hidden(self, value: Any) -> None:
        """A value that would mask ordinary text is refused, and nothing is registered."""
        redactor = Redactor()

        with pytest.raises(SecretError, match=r"^Redactor\.register\(\): "):
            redactor.register(value)

        assert not redactor

    def test_unfetchable(self) -> None:
        """A secret that cannot be fetched cannot be masked either."""
        with pytest.raises(SecretError, match="provider:vault"):
            redactor_of(Secret.from_provider(raising(OSError()), name="vault"))

    def test_keeps_to_itself(self) -> None:
        """Two redactors in one process know nothing of each other."""
        one, other = redactor_of(VALUE), Redactor()

        assert one.redact(VALUE) == MASK
        assert other.redact(VALUE) == VALUE

    def test_begins_with_another(self) -> None:
        """One that begins with what another masks masks that, and neither what comes to the other."""
        engine = redactor_of(VALUE, "123456789")
        run = Redactor(engine)
        run.register(TOKEN)
        engine.register("later-than-that")

        assert run.redact(f"{VALUE} {TOKEN} later-than-that") == "*** *** later-than-that"
        assert run.redact_data([123456789]) == [MASK]
        assert engine.redact(f"{VALUE} {TOKEN} later-than-that") == f"*** {TOKEN} ***"
        assert (len(run), len(engine)) == (3, 3)

    def test_several_at_once(self) -> None:
        """Registered together, values are masked as if they came one by one; or none of them is."""
        together, failing = Redactor(), Redactor()
        together.register(VALUE, TOKEN, Secret(VALUE))
        with pytest.raises(SecretError):
            failing.register(VALUE, "short")
        together.register()

        assert together.redact(f"{VALUE} {TOKEN}") == "*** ***"
        assert (len(together), len(failing)) == (2, 0)

    @pytest.mark.parametrize("leave", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_does_not_leave(self, leave: Callable[[object], object]) -> None:
        """The values do not leave the process by a pickle."""
        with pytest.raises(SecretError, match="cannot be copied or pickled"):
            leave(redactor_of(VALUE))


class TestRedact:
    def test_masks(self) -> None:
        """Every occurrence is masked, and nothing else."""
        redactor = redactor_of(TOKEN, VALUE)

        text = redactor.redact(f"a {TOKEN} b {VALUE} c {TOKEN}")

        assert text == "a *** b *** c ***"

    def test_leaves_other_text(self) -> None:
        """Text without a value comes back as the same object."""
        text = "nothing to\nsee \x1b[31mhere"

        assert redactor_of(TOKEN).redact(text) is text
        assert Redactor().redact(text) is text

    def test_merges_overlaps(self) -> None:
        """Values that overlap, touch or contain one another leave no remains."""
        redactor = redactor_of("abcdef", "defghi", "abcdefghijkl")

        text = redactor.redact("<abcdefghi> <abcdefabcdef> <abcdefghijkl> <abcdefdefghi>")

        assert text == "<***> <***> <***> <***>"

    def test_overlaps_itself(self) -> None:
        """A value that overlaps with itself is masked to its end."""
        assert redactor_of("abaaba").redact("abaabaaba!") == "***!"

    def test_mask_completes_another(self) -> None:
        """A mask does not put together another secret that holds asterisks."""
        assert redactor_of("abc***def").redact("abcabc***defdef") == MASK

    @pytest.mark.parametrize(
        "text",
        [
            "ghp_16C7e42F29\n2c6912E7710c838347Ae17",
            "ghp_16C7e42F29\r\n2c6912E7710c\r\n838347Ae17",
            "\x1b[1mghp_\x1b[0;31m16C7e42F292c6912E7710c838347Ae17",
            "ghp_16C7e42F292c6912E7710c\x1b]8;;https://x\x1b\\838347Ae17",
            "ghp_16C7e42F292c6912E7710c\x1b]0;title\x07838347Ae17",
        ],
    )
    def test_sees_through_wraps_and_colours(self, text: str) -> None:
        """What a terminal puts between the characters does not hide them."""
        redacted = redactor_of(TOKEN).redact(f"one\ntwo {text} three\nfour")

        assert redacted.replace("\x1b[1m", "") == "one\ntwo *** three\nfour"

    def test_wrapped_base64(self) -> None:
        """MIME breaks base64 after 76 characters, in the middle of a secret too."""
        data = b"p" * 40 + TOKEN.encode() + b"s" * 40

        redacted = redactor_of(TOKEN).redact(base64.encodebytes(data).decode())

        assert TOKEN.encode() not in base64.b64decode(
            redacted.replace(MASK, "AAAA"), validate=False
        )
        assert redacted.count(MASK) == 1

    def test_lines_of_a_key(self) -> None:
        """One line of a key, indented in another document, is masked."""
        redacted = redactor_of(KEY).redact("key: |\n    MIIEvQIBADANBgkqhkiG9w0B\n    ab\n")

        assert redacted == "key: |\n    ***\n    ab\n"

    @pytest.mark.parametrize(
        "change",
        [
            str.upper,
            lambda value: value[::-1],
            " ".join,
            lambda value: value[:8],
            lambda value: base64.b85encode(value.encode()).decode(),
            lambda value: value.encode("utf-16-le").decode("latin-1"),
        ],
        ids=["upper", "reversed", "spaced", "prefix", "base85", "utf-16"],
    )
    def test_known_limits(self, change: Callable[[str], str]) -> None:
        """The published limits are what they are said to be."""
        text = change(TOKEN)

        assert redactor_of(TOKEN).redact(text) == text

    @pytest.mark.parametrize("before", range(4))
    def test_many_secrets(self, before: int) -> None:
        """Hundreds of values are all masked, wherever they stand, down to the shortest."""
        values = [f"{number:03}tok" for number in range(300)]
        redactor = redactor_of(*values)

        texts = [redactor.redact("~" * before + value) for value in values]

        assert texts == ["~" * before + MASK] * 300
        assert redactor.redact("nothing to see") == "nothing to see"


class TestRedactData:
    def test_same_object_when_empty(self) -> None:
        """Without a value to mask there is no work, not even a copy."""
        data: Any = {"a": [1, {"b": TOKEN}]}

        assert Redactor().redact_data(data) is data

    def test_masks_leaves_and_keys(self) -> None:
        """Leaves and keys are masked at every depth; the rest keeps its type."""
        data: Any = {"a": [1, None, True, {"b": f"x {TOKEN}"}], TOKEN: 2.5}

        masked = redactor_of(TOKEN).redact_data(data)

        assert masked == {"a": [1, None, True, {"b": "x ***"}], MASK: 2.5}
        assert TOKEN in data

    def test_keeps_every_entry(self) -> None:
        """Keys that look alike once masked are told apart."""
        other = TOKEN[::-1]

        masked = redactor_of(TOKEN, other).redact_data({TOKEN: 1, other: 2, "***": 3})

        assert masked == {"***": 1, "*** (2)": 2, "*** (3)": 3}

    def test_numbers(self) -> None:
        """A number that spells a value out is masked; others and booleans stay."""
        data: Any = [73510294, -735102941, 1.73510294, 7, True, 10**5_000]

        masked = redactor_of("73510294").redact_data(data)

        assert masked == [MASK, MASK, MASK, 7, True, 10**5_000]

    def test_other_types(self) -> None:
        """Tuples and other mappings are looked into, a secret stays itself."""
        secret = Secret(TOKEN)
        data: Any = types.MappingProxyType({"a": (TOKEN, secret)})

        masked = redactor_of(secret).redact_data(data)

        assert masked == {"a": (MASK, secret)}


class TestFind:
    @pytest.mark.parametrize(
        ("value", "path"),
        [
            (TOKEN, "output"),
            ({"hosts": ["a", "b", f"x{TOKEN}"]}, "output.hosts[2]"),
            ({"a b": {"c": (0, base64.b64encode(TOKEN.encode()).decode())}}, "output['a b'].c[1]"),
            ({"class": {"1": TOKEN}}, "output.class['1']"),
            ({"a": 1, "b": TOKEN, "c": TOKEN}, "output.b"),
            ({f"key {TOKEN}": 1}, "output['key ***']"),
            ({TOKEN: {"x": 1}}, "output['***']"),
        ],
    )
    def test_leads_to_the_leaf(self, value: object, path: str) -> None:
        """The path leads to the opening place that holds the value, and never shows it."""
        assert redactor_of(TOKEN).find(value) == path

    @pytest.mark.parametrize(
        "value", [None, True, 1, "x", [], {}, {"a": ["b", 2.5]}, Secret(TOKEN)]
    )
    def test_none_when_clean(self, value: object) -> None:
        """Data without a value, or with the secret itself, has no such path."""
        assert redactor_of(TOKEN).find(value) is None

    def test_none_when_empty(self) -> None:
        """Without a registered value there is nothing to find."""
        assert Redactor().find(TOKEN) is None

    def test_root(self) -> None:
        """The path begins with the name that the caller gives."""
        assert redactor_of(TOKEN).find([TOKEN], root="params") == "params[0]"

    def test_numbers(self) -> None:
        """A value spelled out as a number is found; a number too long to write is not one."""
        redactor = redactor_of("73510294")

        assert redactor.find({"pin": 73510294}) == "output.pin"
        assert redactor.find([10**5_000, True]) is None
