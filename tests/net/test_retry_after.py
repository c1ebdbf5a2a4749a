"""How long a server asks its client to wait, in every form."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflow.net.headers import Headers
from pyflow.net.retry_after import WAIT_S_MAX, retry_after_s

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)
EPOCH = str(int(NOW.timestamp()) + 30)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "wait_s"),
        [
            ({"Retry-After": "30"}, 30.0),
            ({"retry-after": " 1.25 "}, 1.25),
            ({"Retry-After": "0"}, 0.0),
            ({"Retry-After": "-5"}, 0.0),
            ({"Retry-After": "99999999"}, WAIT_S_MAX),
            ({"Retry-After": "Fri, 27 Nov 2026 12:00:45 GMT"}, 45.0),
            ({"Retry-After": "Friday, 27-Nov-26 12:00:45 GMT"}, 45.0),
            ({"Retry-After": "Fri Nov 27 12:00:45 2026"}, 45.0),
            ({"Retry-After": "Fri, 27 Nov 2026 13:00:45 +0100"}, 45.0),
            ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
            ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, WAIT_S_MAX),
            ({"Retry-After": EPOCH}, 30.0),
            ({"retry-after-ms": "1500"}, 1.5),
            ({"x-ms-retry-after-ms": "250"}, 0.25),
            ({"X-RateLimit-Reset-After": "0.75"}, 0.75),
            ({"X-RateLimit-Retry-After": "4"}, 4.0),
            ({"X-RateLimit-Reset": EPOCH, "X-RateLimit-Remaining": "0"}, 30.0),
            ({"X-RateLimit-Reset": "12"}, 12.0),
            ({"X-Rate-Limit-Reset": "12"}, 12.0),
            ({"RateLimit-Reset": "7", "RateLimit-Remaining": "0"}, 7.0),
            ({"Retry-After": "2", "X-RateLimit-Reset": "50"}, 2.0),
            ({"Retry-After": "soon", "X-RateLimit-Reset": "50"}, 50.0),
        ],
    )
    def test_forms(self, headers: dict[str, str], wait_s: float) -> None:
        """Each form is understood, whatever the case of the name, within nothing and a day."""
        assert retry_after_s(headers, now=NOW) == pytest.approx(wait_s)

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Retry-After": ""},
            {"Retry-After": "soon"},
            {"Retry-After": "NaN"},
            {"Retry-After": "inf"},
            {"Retry-After": "1e3"},
            {"Retry-After": "0x10"},
            {"Retry-After": "3, 4"},
            {"Retry-After": "Fri, 99 Nov 2026 12:00:45 GMT"},
            {"Retry-After": "1" * 50},
            {"X-RateLimit-Reset": EPOCH, "X-RateLimit-Remaining": "41"},
        ],
    )
    def test_nothing(self, headers: dict[str, str]) -> None:
        """What is no span and no date says nothing, and so does a limit that is not reached."""
        assert retry_after_s(headers, now=NOW) is None

    def test_server_clock(self) -> None:
        """A date is held against the server's own clock, where the answer shows it."""
        headers = {
            "Date": "Fri, 27 Nov 2026 09:00:00 GMT",
            "Retry-After": "Fri, 27 Nov 2026 09:00:20 GMT",
        }

        assert retry_after_s(headers, now=NOW) == 20.0
        assert retry_after_s(headers) == 20.0
        assert retry_after_s({"Retry-After": headers["Retry-After"]}) is None

    @pytest.mark.parametrize(
        ("body", "wait_s"),
        [
            ({"retry_after": 0.35}, 0.35),
            ({"retry_after": 2}, 2.0),
            ({"retry_after": True}, None),
            ({"retry_after": float("nan")}, None),
            ({"retry_after": "3"}, None),
            (["retry_after"], None),
            (None, None),
        ],
    )
    def test_body(self, body: object, wait_s: float | None) -> None:
        """A body may say it, as a number."""
        assert retry_after_s(Headers([]), body=body) == wait_s

    @given(st.text(max_size=60), st.text(max_size=60))
    def test_anything(self, said: str, reset: str) -> None:
        """Whatever a server says, the wait is None or from nothing to a day."""
        wait_s = retry_after_s({"Retry-After": said, "X-RateLimit-Reset": reset}, now=NOW)

        assert wait_s is None or 0 <= wait_s <= WAIT_S_MAX
