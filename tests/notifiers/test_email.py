"""Mail, through a mail server of others and through one that misbehaves on purpose."""

from __future__ import annotations

import contextlib
import smtplib
from collections.abc import Generator
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from pyflow.errors import DefinitionError
from pyflow.notifiers import Email
from pyflow.notifiers.email import mail_of
from pyflow.secrets import Secret
from pyflow.testing.contracts.notifier import messages_of
from pyflow.testing.servers import SMTPServer
from pyflow.testing.servers.certificate import client_tls, server_tls
from support.fake_http import closed_port
from support.notices import RUN, message, send, sent

PASSWORD = "hunter2-hunter2"


def email(server: SMTPServer, **options: Any) -> Email:
    given: dict[str, Any] = {
        "sender": "deploys@example.com",
        "to": ["ann@example.com"],
        "port": server.port,
        "ssl_context": server.ssl_context,
        **options,
    }
    return Email(server.host, **given)


class Box:
    """What aiosmtpd hands its mail to."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, to: str, _: Any) -> str:
        if to.startswith("bad@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        self.mails.append(envelope)
        return "250 OK"


def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and data.password.decode() == PASSWORD
    # With handled=True, aiosmtpd leaves it to us to say 535, and says nothing itself.
    return AuthResult(success=right, handled=False)


@contextlib.contextmanager
def postbox(**options: Any) -> Generator[tuple[Box, int]]:
    """Run aiosmtpd with STARTTLS and AUTH, both required."""
    box = Box()
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=(port := closed_port()),
        tls_context=server_tls(),
        require_starttls=True,
        authenticator=login,
        auth_required=True,
        auth_require_tls=True,
        **options,
    )
    controller.start()
    try:
        yield box, port
    finally:
        controller.stop()


def real(port: int, *, password: str = PASSWORD, to: list[str] | None = None) -> Email:
    return Email(
        "127.0.0.1",
        sender="deploys@example.com",
        to=to or ["ann@example.com"],
        port=port,
        user="deploys",
        password=Secret(password),
        ssl_context=client_tls(),
    )


class TestRealServer:
    def test_delivers(self) -> None:
        """Mail goes through a real server with STARTTLS and AUTH, one thread for the run."""
        with postbox() as (box, port):
            found = send(real(port), message(), message("failed", number=2))

        assert [one.status for one in found] == ["delivered"] * 2
        first, second = (str(mail.content, "utf-8", "replace") for mail in box.mails)  # type: ignore[arg-type]
        assert f"Message-ID: <pyflow.{RUN.id}-1@example.com>" in first
        assert f"References: <pyflow.{RUN.id}-1@example.com>" in second

    def test_partial(self) -> None:
        """Where some recipients are refused, the others have it, and the detail names those."""
        with postbox() as (box, port):
            found = sent(real(port, to=["ann@example.com", "bad@example.com"]))

        assert found.status == "delivered"
        assert "bad@example.com: 550" in found.detail
        assert box.mails[0].rcpt_tos == ["ann@example.com"]

    def test_wrong_password(self) -> None:
        """A wrong password is final, and is not shown."""
        with postbox() as (box, port):
            found = sent(real(port, password="wrong-wrong-wrong"))

        assert (found.status, box.mails) == ("rejected", [])
        assert "535" in found.detail
        assert "wrong-wrong" not in found.detail

    def test_contract(self) -> None:
        """Every kind of message is taken by a real server, odd characters included."""
        with postbox() as (box, port):
            found = send(real(port), *messages_of("r"))

        assert {one.status for one in found} == {"delivered"}
        assert len(box.mails) == len(found)


class TestScriptedServer:
    def test_login(self) -> None:
        """With a user, mail is sent after STARTTLS and AUTH."""
        with SMTPServer(users={"u": PASSWORD}) as server:
            found = sent(email(server, user="u", password=PASSWORD))

        mail = server.mails[0]
        assert found.status == "delivered"
        assert (mail.user, mail.encrypted, mail.to) == ("u", True, ("ann@example.com",))
        assert server.commands[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]

    def test_plain(self) -> None:
        """Without encryption only where that was asked for."""
        with SMTPServer(starttls=False) as server:
            refused = sent(email(server))
            taken = sent(email(server, security="none"))

        assert (refused.status, taken.status) == ("rejected", "delivered")
        assert "STARTTLS" in refused.detail

    def test_untrusted(self) -> None:
        """A certificate that nobody vouches for is refused before anything is sent."""
        with SMTPServer() as server:
            found = sent(email(server, ssl_context=None))

        assert found.status == "rejected"
        assert "AUTH" not in server.commands
        assert "MAIL" not in server.commands

    def test_all_refused(self) -> None:
        """Where all recipients are refused it is final, unless the server says that it will pass."""
        with SMTPServer(refuse={"ann@example.com": "550 5.1.1 unknown"}) as server:
            never = sent(email(server))
        with SMTPServer(refuse={"ann@example.com": "450 4.2.0 greylisted"}) as server:
            later = sent(email(server))

        assert (never.status, later.status) == ("rejected", "retrying")
        assert "greylisted" in later.detail

    @pytest.mark.parametrize(
        ("say", "status"),
        [
            ({"CONNECT": "421 too busy"}, "retrying"),
            ({"CONNECT": "554 go away"}, "rejected"),
            ({"CONNECT": "close"}, "retrying"),
            ({"EHLO": "close"}, "retrying"),
            ({"STARTTLS": "454 not now"}, "retrying"),
            ({"AUTH": "454 4.7.0 not now"}, "retrying"),
            ({"MAIL": "451 later"}, "retrying"),
            ({"MAIL": "550 not you"}, "rejected"),
            ({"DATA": "452 full"}, "retrying"),
            ({"END": "554 5.7.1 spam"}, "rejected"),
            ({"END": "close"}, "unknown"),
            ({"CONNECT": "220 " + "x" * 9_000}, "rejected"),
            ({"QUIT": "close"}, "delivered"),
            ({"QUIT": "500 what"}, "delivered"),
        ],
        ids=str,
    )
    def test_trouble(self, say: dict[str, str], status: str) -> None:
        """Each phase has its own trouble; only a mail that went out unanswered is in doubt."""
        with SMTPServer(users={"u": PASSWORD}, say=say) as server:
            found = sent(email(server, user="u", password=PASSWORD))

        assert found.status == status

    @pytest.mark.parametrize(
        ("verb", "status"),
        [("CONNECT", "retrying"), ("EHLO", "retrying"), ("AUTH", "retrying"), ("END", "unknown")],
    )
    def test_silence(self, verb: str, status: str) -> None:
        """A server that says nothing is given up at the deadline, and its thread ends."""
        with SMTPServer(users={"u": PASSWORD}, say={verb: "hang"}) as server:
            found = sent(email(server, user="u", password=PASSWORD), timeout_s=1.0)

        assert found.status == status

    def test_nobody_there(self) -> None:
        """Nobody listening is worth another try."""
        with SMTPServer() as server:
            gone = email(server)

        assert sent(gone).status == "retrying"

    def test_no_password(self) -> None:
        """A password that cannot be fetched now may be there later."""
        with SMTPServer(users={"u": PASSWORD}) as server:
            found = sent(email(server, user="u", password=Secret.from_env("NOT_SET_ANYWHERE")))

        assert found.status == "retrying"


class TestMail:
    def test_headers(self) -> None:
        """A mail says that a program sent it, and when; one that matters says so."""
        mail = mail_of(message("undo_failed"), sender="d@e.org", to=["a@e.org"], thread={})

        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["Date"] == "Fri, 27 Nov 2026 12:00:00 +0000"
        assert mail["Importance"] == "high"
        assert mail["In-Reply-To"] is None
        assert "Pipeline: https://ci.example/runs/7" in mail.get_content()

    @pytest.mark.parametrize(
        "title", ["a\r\nBcc: evil@example.com", "a\nb", "\u2028Bcc: x", "a\x00b", "ü" * 900]
    )
    def test_injection(self, title: str) -> None:
        """No title makes a header of its own, and none is too long."""
        mail = mail_of(message(title=title), sender="d@e.org", to=["a@e.org"], thread={})

        assert mail["Bcc"] is None
        assert len(str(mail["Subject"])) <= 200
        assert b"\nBcc:" not in mail.as_bytes()


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"host": "0x7f.1"}, "in full"),
            ({"host": "a b"}, "not a name"),
            ({"port": 0}, "port="),
            ({"to": []}, "to="),
            ({"to": ["ann"]}, "not an address"),
            ({"to": ["ann@example.com\r\nRCPT TO:<x@y.z>"]}, "not an address"),
            ({"to": ["Ann <ann@example.com>"]}, "not an address"),
            ({"sender": "d@e.org\nX: y"}, "sender="),
            ({"security": "ssl"}, "security="),
            ({"user": "u"}, "go together"),
            ({"user": "u", "password": "x"}, "password="),
            ({"user": "u", "password": PASSWORD, "security": "none"}, "show the password"),
        ],
    )
    def test_refused(self, options: dict[str, Any], words: str) -> None:
        """What cannot be sent, or would show a password, is refused when the notifier is made."""
        host = options.pop("host", "mail.example.com")
        given: dict[str, Any] = {"sender": "d@e.org", "to": ["a@e.org"], **options}
        with pytest.raises(DefinitionError, match=words):
            Email(host, **given)

    def test_repr(self) -> None:
        """The repr shows where mail goes, and no password."""
        made = Email("mail.e.org", sender="d@e.org", to="a@e.org", user="u", password=PASSWORD)

        assert repr(made) == "Email('mail.e.org', to=['a@e.org'], security='starttls')"


def test_smtplib_still_has_the_name() -> None:
    """The attribute through which the certificate is checked is still smtplib's own."""
    assert smtplib.SMTP()._host == ""  # type: ignore[attr-defined]
