"""How to speak TLS with those whom the system trusts.

The system's roots take a while to read, longer than a loop may stand still,
so they are read by a thread, and once.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl

__all__ = ["read_system_tls", "system_tls"]


async def system_tls() -> ssl.SSLContext:
    """Return the context that every connection shares for which none is given."""
    return await asyncio.to_thread(read_system_tls)


def read_system_tls() -> ssl.SSLContext:
    """Return the same, for threads; it is made anew where the environment names other roots."""
    return _read(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache(maxsize=1)
def _read(_file: str | None, _directory: str | None) -> ssl.SSLContext:
    return ssl.create_default_context()
