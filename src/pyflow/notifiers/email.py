"""Tell people by mail, in one thread for each run."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
from dataclasses import KW_ONLY, dataclass, field, replace
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.errors import SecretError, shown
from pyflow.messages import FIRST, Attempt, Delivery, delivered, rejected, retrying, unknown
from pyflow.net.tls import read_system_tls
from pyflow.net.url import host_problem
from pyflow.notifiers._aside import aside
from pyflow.notifiers._checks import as_secret, refuse, secret_problems, text_problems
from pyflow.notifiers._text import cut, line_of, plain
from pyflow.redactor import hidden

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyflow.messages import Message
    from pyflow.secrets import Secret

__all__ = ["Email", "mail_of"]

Security: TypeAlias = Literal["starttls", "tls", "none"]

ADDRESS = re.compile(r"[^@\s<>\",;:\\]{1,64}@[A-Za-z0-9_.-]{1,253}")
SUBJECT_CHARS_MAX = 200
TEXT_CHARS_MAX = 20_000
VALUE_CHARS_MAX = 1_000
RECIPIENTS_MAX = 100
REFUSALS_SHOWN = 5


@dataclass(frozen=True, slots=True, repr=False)
class Email:
    """Sends a mail for each message, through an SMTP server.

    The mails of a run belong to one thread. Where the server refuses some of
    the recipients, the message counts as `delivered`, and the detail names
    those; where it refuses all, as `rejected`, or as `retrying` if it says
    that the refusal will pass.

    Raises:
        DefinitionError: An argument cannot be used.
    """

    host: str
    """The SMTP server."""

    _: KW_ONLY

    sender: str
    """Whom the mails are from, such as ``deploys@example.com``."""

    to: Sequence[str]
    """Who gets them; 100 addresses at most."""

    port: int | None = None
    """587, or 465 with ``security="tls"``, or 25 with ``"none"``, unless given."""

    security: Security = "starttls"
    """``starttls`` and ``tls`` refuse a server that does not encrypt."""

    user: str | None = None
    """Whom to log in as; nobody unless given."""

    password: Secret | str | None = None
    """That user's password. It goes over encrypted connections only."""

    ssl_context: ssl.SSLContext | None = field(default=None, hash=False)
    """How to speak TLS; by default with the system's roots."""

    def __post_init__(self) -> None:
        if isinstance(self.to, str):
            object.__setattr__(self, "to", (self.to,))
        refuse("Email", _problems(self))
        object.__setattr__(self, "to", tuple(self.to))
        if self.password is not None:
            object.__setattr__(self, "password", as_secret(self.password))

    async def notify(self, message: Message, attempt: Attempt = FIRST, /) -> Delivery:
        """Send *message* once."""
        mail = mail_of(message, sender=self.sender, to=self.to, thread=attempt.receipt)
        session = _Session(self, attempt.timeout_s)
        try:
            refused = await aside(
                lambda: session.send(mail), timeout_s=attempt.timeout_s, give_up=session.give_up
            )
        except (smtplib.SMTPException, OSError, SecretError, MessageError, ValueError) as error:
            found = _failure(error, session.phase)
            return replace(found, detail=hidden(found.detail, [self.password]))
        receipt = None if attempt.receipt.get("root") else {"root": str(mail["Message-ID"])}
        return delivered(_refusals(refused), receipt=receipt)

    def __repr__(self) -> str:
        return f"Email({self.host!r}, to={list(self.to)}, security={self.security!r})"


def mail_of(
    message: Message, *, sender: str, to: Sequence[str], thread: Mapping[str, object]
) -> EmailMessage:
    """Return *message* as a mail, in the thread whose ``root`` is in *thread*, if there is one."""
    domain = sender.rpartition("@")[2]
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, ", ".join(to)
    mail["Subject"] = line_of(message.title, chars=SUBJECT_CHARS_MAX)
    mail["Date"] = format_datetime(message.at)
    mail["Message-ID"] = f"<pyflow.{message.id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    root = thread.get("root")
    if isinstance(root, str) and root != mail["Message-ID"]:
        mail["In-Reply-To"] = mail["References"] = root
    if message.severity == "critical":
        mail["Importance"] = "high"
    mail.set_content(_body(message), charset="utf-8")
    return mail


def _body(message: Message) -> str:
    facts = [f"{line_of(name)}: {line_of(value)}" for name, value in message.fields]
    links = [f"{line_of(words)}: {url}" for words, url in message.links]
    text = cut(plain(message.text).strip(), TEXT_CHARS_MAX)
    parts = [line_of(message.title), text, "\n".join(facts), "\n".join(links)]
    return "\n\n".join(part for part in parts if part) + f"\n\n-- \nmessage {message.id}\n"


class _Session:
    """One conversation with the server, and how far it came."""

    def __init__(self, email: Email, timeout_s: float) -> None:
        self.phase: Literal["connect", "login", "send"] = "connect"
        self._email = email
        self._timeout_s = timeout_s
        self._smtp: smtplib.SMTP | None = None

    def send(self, mail: EmailMessage) -> dict[str, tuple[int, bytes]]:
        """Send *mail*, and return who was refused."""
        smtp = self._smtp = _client(self._email, self._timeout_s)
        try:
            return self._converse(smtp, mail)
        finally:
            smtp.close()

    def _converse(self, smtp: smtplib.SMTP, mail: EmailMessage) -> dict[str, tuple[int, bytes]]:
        email = self._email
        code, said = smtp.connect(email.host, _port(email))
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        if email.security == "starttls":
            smtp.starttls(context=_tls(email))
        self.phase = "login"
        if email.user is not None:
            smtp.login(email.user, as_secret(email.password or "").reveal())
        self.phase = "send"
        refused = smtp.send_message(mail, email.sender, list(email.to))
        with contextlib.suppress(smtplib.SMTPException, OSError):
            smtp.quit()  # it is sent: a goodbye that fails changes nothing
        return refused

    def give_up(self) -> None:
        """Wake whoever still waits for the server; after the end this changes nothing."""
        sock: socket.socket | None = getattr(self._smtp, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _client(email: Email, timeout_s: float) -> smtplib.SMTP:
    if email.security == "tls":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(timeout=timeout_s, context=_tls(email))
    else:
        smtp = smtplib.SMTP(timeout=timeout_s)
    # What the certificate is checked against; `connect` alone does not set it.
    smtp._host = email.host  # type: ignore[attr-defined] # noqa: SLF001
    return smtp


def _failure(error: Exception, phase: str) -> Delivery:
    words = line_of(f"{type(error).__name__} while at {phase}: {_said(error)}")
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        return retrying(words) if any(400 <= code < 500 for code in codes) else rejected(words)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return rejected(words)
    if isinstance(error, smtplib.SMTPResponseException):
        return rejected(words) if 500 <= error.smtp_code < 600 else retrying(words)
    if isinstance(error, (ssl.SSLCertVerificationError, MessageError)):
        return rejected(words)
    if isinstance(error, ValueError) and not isinstance(error, (SecretError, OSError)):
        return rejected(words)
    return unknown(f"{words}; it may have been sent") if phase == "send" else retrying(words)


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return _refusals(error.recipients)
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        return f"{error.smtp_code} {text}"
    return str(error)


def _refusals(refused: Mapping[str, tuple[int, bytes]]) -> str:
    if not refused:
        return ""
    each = [
        f"{who}: {code} {said.decode('utf-8', 'replace')}" for who, (code, said) in refused.items()
    ]
    more = f" and {len(each) - REFUSALS_SHOWN} more" if len(each) > REFUSALS_SHOWN else ""
    return line_of(f"refused: {'; '.join(each[:REFUSALS_SHOWN])}{more}")


def _tls(email: Email) -> ssl.SSLContext:
    return email.ssl_context or read_system_tls()


def _port(email: Email) -> int:
    return email.port or {"starttls": 587, "tls": 465, "none": 25}[email.security]


def _problems(email: Email) -> list[str]:
    problem = host_problem(email.host)
    problems = [problem] if problem is not None else []
    to: Sequence[object] = email.to
    if not isinstance(to, (list, tuple)) or not 1 <= len(to) <= RECIPIENTS_MAX:
        problems.append(f"to= must be a list of 1 to {RECIPIENTS_MAX} addresses")
    else:
        problems += [p for one in to for p in _address_problems("to", one)]
    problems += _address_problems("sender", email.sender)
    port: object = email.port
    if port is not None and (type(port) is not int or not 1 <= port <= 65_535):
        problems.append(f"port={shown(port)} must be a whole number from 1 to 65535")
    if email.security not in ("starttls", "tls", "none"):
        problems.append(f'security={shown(email.security)} must be "starttls", "tls" or "none"')
    if (email.user is None) != (email.password is None):
        problems.append("user= and password= go together")
    elif email.user is not None:
        problems += [
            *text_problems("user", email.user),
            *secret_problems("password", email.password),
        ]
        if email.security == "none":
            problems.append('security="none" would show the password to everybody on the way')
    return problems


def _address_problems(name: str, address: object) -> list[str]:
    words = f"{name}={shown(address)} is not an address such as ann@example.com"
    if not isinstance(address, str) or not address.isprintable() or not ADDRESS.fullmatch(address):
        return [words]
    try:
        Address(addr_spec=address)
    except (ValueError, IndexError, MessageError):
        return [words]
    return [] if address.isascii() else [f"{words}; write it in ASCII"]
