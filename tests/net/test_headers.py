"""The headers of an answer."""

from __future__ import annotations

import pytest

from pyflow.net.headers import Headers


class TestHeaders:
    def test_lookup(self) -> None:
        """Case does not matter, and repeated headers are joined."""
        headers = Headers([("Vary", "a"), ("X-Y", "1"), ("VARY", "b")])

        assert headers["vArY"] == "a, b"
        assert list(headers) == ["vary", "x-y"]
        assert len(headers) == 2
        assert "x-y" in headers
        assert repr(headers) == "Headers(vary, x-y)"

    def test_missing(self) -> None:
        """A header that is not there is a KeyError."""
        with pytest.raises(KeyError):
            _ = Headers([])["date"]
