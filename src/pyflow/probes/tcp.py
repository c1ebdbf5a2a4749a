"""Ask whether a port takes connections."""

from __future__ import annotations

import asyncio
from dataclasses import KW_ONLY, dataclass

from pyflow.errors import shown
from pyflow.net.connect import connect
from pyflow.net.url import host_problem
from pyflow.probes._checks import count_problems, refuse, span_problems
from pyflow.protocols import Reading
from pyflow.spans import Span, seconds

__all__ = ["TCP"]


@dataclass(frozen=True, slots=True)
class TCP:
    """Healthy if *port* of *host* takes a connection, which is closed at once.

    A refused connection is `unhealthy`: the host says that nothing listens
    (RFC 9293, section 3.5.1). A timeout, a name that is not found and a
    network that cannot be reached are `unknown`, because the host said
    nothing. A name with several addresses is refused only if all of them do.
    """

    host: str
    """A name, or an address without brackets."""

    port: int
    """From 1 to 65535."""

    _: KW_ONLY

    timeout: Span = "5s"
    """Span for name lookup and connection together."""

    def __post_init__(self) -> None:
        problem = host_problem(self.host)
        problems = [
            *([problem] if problem else []),
            *count_problems("port", self.port, least=1, most=65_535),
            *span_problems("timeout", self.timeout),
        ]
        refuse("TCP", problems)

    async def read(self) -> Reading:
        """Connect once, and say what was seen."""
        seen = {"host": self.host, "port": self.port}
        timeout_s = seconds(self.timeout)
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                (await connect(self.host, self.port, deadline=deadline)).close()
        except ConnectionRefusedError:
            return Reading("unhealthy", {**seen, "error": "connection refused"})
        except TimeoutError:
            return Reading("unknown", {**seen, "error": f"no answer within {timeout_s:g} s"})
        except OSError as error:
            return Reading("unknown", {**seen, "error": error.strerror or shown(error)})
        return Reading("healthy", seen)
