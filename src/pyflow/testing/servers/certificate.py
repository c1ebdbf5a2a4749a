"""A certificate for 127.0.0.1 and localhost that nobody trusts but these tests, valid until 2126.

Its key is no secret: whoever trusts it does so with `client_tls`, in a test.
"""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

__all__ = ["CERTIFICATE", "client_tls", "server_tls"]


def server_tls() -> ssl.SSLContext:
    """Return what a server on 127.0.0.1 needs to speak TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder, "test.pem")
        pem.write_text(CERTIFICATE + KEY, "ascii")
        context.load_cert_chain(pem)
    return context


def client_tls() -> ssl.SSLContext:
    """Return what a client needs to trust `server_tls`, and nobody else."""
    return ssl.create_default_context(cadata=CERTIFICATE)


CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBkDCCATegAwIBAgIUJnS/tC/dsh8Y5mxJ269foVOG7lQwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEZmFrZTAgFw0yNjExMjEwMDI4MjdaGA8yMTI2MTAyODAwMjgy
N1owDzENMAsGA1UEAwwEZmFrZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABPn7
33BbhxgHbzCZNYmWSiQb+4f//J7+4INpC5OQiBs8PhXa7DBPkl6qZ4j2XkzVAS/0
0ATcemdKkcfHQYndvx+jbzBtMB0GA1UdDgQWBBSkPea5KR26mkuQ6eEXejJexEcl
FTAfBgNVHSMEGDAWgBSkPea5KR26mkuQ6eEXejJexEclFTAaBgNVHREEEzARhwR/
AAABgglsb2NhbGhvc3QwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNHADBE
AiAEyWWAenYxAMTzMFSGNnQM5i4a8IQhICsIIuJZGzPMFgIgCw1iM9LO9jBb8DMm
5jAUTJFPxloo2K9tLurkQ6UgS8M=
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgEhR8vIvnvtLETDDS
533hQJJCkHZLs8OtTCR4uSSjW1GhRANCAAT5+99wW4cYB28wmTWJlkokG/uH//ye
/uCDaQuTkIgbPD4V2uwwT5JeqmeI9l5M1QEv9NAE3HpnSpHHx0GJ3b8f
-----END PRIVATE KEY-----
"""
