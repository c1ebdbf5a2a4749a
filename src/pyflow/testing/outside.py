"""Refuse the outside world by name: sockets, processes and signals.

What they answer, and when, would differ from run to run. Each call that
reaches out says so when it is made, and names what serves instead; otherwise
the run would hang, waiting in a time that nothing moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeVar

from pyflow.testing.errors import SimulationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["REFUSED", "refuse_outside"]

L = TypeVar("L")

NETWORK = (
    "use a fake from pyflow.testing in its place, or make the call on a thread with "
    "loop.run_in_executor(None, ...), which stops virtual time until it returns"
)
PROCESS = (
    "use a fake from pyflow.testing in its place, or run the process on a thread with "
    "loop.run_in_executor(None, subprocess.run, ...), which stops virtual time until it returns"
)
SIGNAL = "call the handler yourself with loop.call_later(), at the instant the signal should come"
REFUSED = {
    **dict.fromkeys(
        (
            "add_reader",
            "add_writer",
            "connect_accepted_socket",
            "connect_read_pipe",
            "connect_write_pipe",
            "create_connection",
            "create_datagram_endpoint",
            "create_server",
            "create_unix_connection",
            "create_unix_server",
            "getaddrinfo",
            "getnameinfo",
            "sendfile",
            "sock_accept",
            "sock_connect",
            "sock_recv",
            "sock_recv_into",
            "sock_recvfrom",
            "sock_recvfrom_into",
            "sock_sendall",
            "sock_sendfile",
            "sock_sendto",
            "start_tls",
        ),
        NETWORK,
    ),
    "subprocess_exec": PROCESS,
    "subprocess_shell": PROCESS,
    "add_signal_handler": SIGNAL,
}
"""Public names that reach the outside world, and what serves instead."""
NOTHING_TO_REMOVE = ("remove_reader", "remove_writer", "remove_signal_handler")
"""Public names that take back what is refused; there never is anything to take back."""


def refuse_outside(loop: type[L]) -> type[L]:
    """Make every call of the class *loop* that reaches the outside world refuse."""
    for call, instead in REFUSED.items():
        setattr(loop, call, _refusal(call, instead))
    for call in NOTHING_TO_REMOVE:
        setattr(loop, call, _remove_nothing)
    return loop


def _remove_nothing(self: object, what: object) -> bool:
    del self, what
    return False


def _refusal(call: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(self: object, *args: object, **kw: object) -> NoReturn:
        del self, args, kw
        raise SimulationError(
            f"loop.{call}() reaches the outside world, which virtual time cannot wait for; {instead}"
        )

    refuse.__name__ = call
    refuse.__doc__ = "Refused in virtual time."
    return refuse
