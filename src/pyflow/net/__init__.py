"""The one HTTP client, and the way to what it asks."""

from __future__ import annotations

from pyflow.net.proxy import Proxy

__all__ = ["Proxy"]
