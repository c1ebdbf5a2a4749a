"""A server that plays a mail server: STARTTLS, AUTH, refusals, and trouble by script."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

from pyflow.testing.servers._listening import Listening
from pyflow.testing.servers.certificate import server_tls

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Mapping
    from email.message import EmailMessage

__all__ = ["Mail", "SMTPServer"]


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that was taken."""

    sender: str
    """Whom the envelope says that it is from."""

    to: tuple[str, ...]
    """Whom it is for, without those who were refused."""

    content: EmailMessage = field(compare=False)
    """What was sent."""

    user: str | None = None
    """Who was logged in."""

    encrypted: bool = False
    """Whether it came over TLS."""


class SMTPServer(Listening):
    """Takes mail on 127.0.0.1; a context manager.

    Args:
        users: Who may log in, and with which password. Where there are any,
            mail is taken from them alone, and only over TLS.
        starttls: Whether it offers STARTTLS, with a certificate that
            `ssl_context` trusts.
        refuse: What is said to ``RCPT`` for an address, such as
            ``{"bad@example.com": "550 5.1.1 no such user"}``.
        say: What is said in place of the usual, by command in capitals, such
            as ``{"DATA": "451 try later"}``. ``"hang"`` says nothing, and
            ``"close"`` ends the connection. ``CONNECT`` is the greeting and
            ``END`` the answer to the mail itself.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, str] | None = None,
        starttls: bool = True,
        refuse: Mapping[str, str] | None = None,
        say: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.mails: list[Mail] = []
        """Every mail that was taken, in order."""
        self.users = dict(users or {})
        self.refuse = dict(refuse or {})
        self.say = dict(say or {})
        self.commands: list[str] = []
        """The verbs of every command, in order."""
        self._tls = server_tls() if starttls else None

    @property
    def host(self) -> str:
        """Where it is."""
        return "127.0.0.1"

    def _serve(self, sock: socket.socket, /) -> None:
        talk = _Conversation(self, sock, self._tls)
        try:
            talk.hold()
        except (OSError, EOFError):
            pass  # the client has gone
        finally:
            talk.close()
            self._close(sock)


class _Conversation:
    """One connection."""

    def __init__(self, server: SMTPServer, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        self.server = server
        self.sock = sock
        self.tls = tls
        self.encrypted = False
        self.user: str | None = None
        self.sender = ""
        self.to: list[str] = []
        self.file = sock.makefile("rb")

    def close(self) -> None:
        self.file.close()
        self.sock.close()

    def hold(self) -> None:
        """Talk until one of both has had enough."""
        self.tell("CONNECT", "220 test ESMTP")
        while True:
            line = self.line()
            verb, _, rest = line.partition(" ")
            verb = verb.upper()
            self.server.commands.append(verb)
            if verb == "QUIT":
                self.tell(verb, "221 bye")
                return
            self.answer(verb, rest)

    def answer(self, verb: str, rest: str) -> None:
        """Answer one command."""
        if verb in {"EHLO", "HELO"}:
            self.tell(verb, "\r\n".join(self.greeting()))
        elif verb == "STARTTLS" and self.tls is not None and not self.encrypted:
            self.tell(verb, "220 go ahead")
            self.file.close()
            self.sock = self.tls.wrap_socket(self.sock, server_side=True)
            self.file = self.sock.makefile("rb")
            self.encrypted = True
        elif verb == "AUTH":
            self.log_in(rest)
        elif verb == "MAIL":
            self.begin(rest)
        elif verb == "RCPT":
            who = rest.partition("<")[2].partition(">")[0]
            refusal = self.server.refuse.get(who)
            if refusal is None:
                self.to.append(who)
            self.tell(verb, refusal or "250 ok")
        elif verb == "DATA":
            self.take()
        else:
            self.tell(verb, "250 ok" if verb in {"RSET", "NOOP"} else "502 not known")

    def greeting(self) -> list[str]:
        lines = ["test", "SIZE 10000000", "8BITMIME"]
        if self.tls is not None and not self.encrypted:
            lines.append("STARTTLS")
        if self.server.users and self.encrypted:
            lines.append("AUTH PLAIN LOGIN")
        return [f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"]

    def log_in(self, rest: str) -> None:
        method, _, initial = rest.partition(" ")
        if method.upper() == "PLAIN":
            parts = _decoded(initial or self.ask("")).split("\0")
            user, password = parts[-2:] if len(parts) == 3 else ("", "")
        else:
            user = _decoded(initial or self.ask("Username:"))
            password = _decoded(self.ask("Password:"))
        if self.encrypted and self.server.users.get(user) == password:
            self.user = user
            self.tell("AUTH", "235 welcome")
        else:
            self.tell("AUTH", "535 5.7.8 wrong user or password")

    def ask(self, what: str) -> str:
        self.send(f"334 {base64.b64encode(what.encode()).decode()}")
        return self.line()

    def begin(self, rest: str) -> None:
        if self.tls is not None and not self.encrypted:
            self.tell("MAIL", "530 5.7.0 Must issue a STARTTLS command first")
        elif self.server.users and self.user is None:
            self.tell("MAIL", "530 5.7.0 Authentication required")
        else:
            self.sender = rest.partition("<")[2].partition(">")[0]
            self.to = []
            self.tell("MAIL", "250 ok")

    def take(self) -> None:
        if not self.to:
            self.send("503 no recipients")
            return
        if self.tell("DATA", "354 go ahead") != "354":
            return
        lines: list[bytes] = []
        while (line := self.file.readline()) not in {b".\r\n", b""}:
            lines.append(line.removeprefix(b"."))
        content = message_from_bytes(b"".join(lines), policy=policy.default)
        mail = Mail(self.sender, tuple(self.to), content, self.user, self.encrypted)
        said = self.server.say.get("END", "250 queued")
        if said.startswith("250") or said in {"hang", "close"}:
            self.server.mails.append(mail)
        self.tell("END", "250 queued")

    def line(self) -> str:
        line = self.file.readline(65_536)
        if not line:
            raise EOFError
        return line.decode("utf-8", "replace").rstrip("\r\n")

    def tell(self, verb: str, usual: str) -> str:
        """Say what is usual, or what the script has in its place; return the code."""
        said = self.server.say.get(verb, usual)
        if said == "hang":
            self.file.read(1)
            raise EOFError
        if said == "close":
            raise EOFError
        self.send(said)
        return said[:3]

    def send(self, text: str) -> None:
        self.sock.sendall(f"{text}\r\n".encode())


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
