"""Calls of boto3: made once, on a thread, under one deadline."""

from __future__ import annotations

import asyncio
import sys
import types
from threading import Event
from typing import Any

import pytest

from pyflow.errors import RouterError
from pyflow.net.boto import Boto


def trouble(reason: str) -> RouterError:
    return RouterError("shop", reason)


class TestClient:
    def test_is_made_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A client is made when it is first used, for the region that was said, and kept."""
        made: list[Any] = []
        module = types.ModuleType("boto3")
        module.client = lambda *args, **options: made.append((args, options)) or object()  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "boto3", module)
        boto = Boto("ecs", "eu-west-1", None, 1)

        assert boto.client is boto.client
        assert made == [(("ecs",), {"region_name": "eu-west-1"})]


class TestCall:
    def test_ends_in_time(self) -> None:
        """A call that takes too long is an error, and its thread goes on alone."""
        over = Event()
        boto = Boto("ecs", None, object(), 0.05)

        try:
            with pytest.raises(RouterError, match=r"shop: AWS gave no answer within 0\.05 s"):
                asyncio.run(call_and_free(boto, over))
        finally:
            over.set()

    def test_passes_on_its_own(self) -> None:
        """What is in the adapter's words already comes out as it is."""

        def work() -> None:
            raise RouterError("shop", "no")

        with pytest.raises(RouterError, match=r"^shop: no$"):
            asyncio.run(Boto("ecs", None, object(), 5).call(work, trouble))

    def test_keeps_causes(self) -> None:
        """Whatever boto3 raised is the cause."""

        def work() -> None:
            raise LookupError("ExpiredToken")

        with pytest.raises(RouterError, match="LookupError: ExpiredToken") as raised:
            asyncio.run(Boto("ecs", None, object(), 5).call(work, trouble))
        assert isinstance(raised.value.__cause__, LookupError)


async def call_and_free(boto: Boto, over: Event) -> None:
    """Call what waits until it is *over*, and let it go once it was given up."""
    try:
        await boto.call(over.wait, trouble)
    finally:
        over.set()
