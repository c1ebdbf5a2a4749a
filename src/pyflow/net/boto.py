"""Calls of boto3 (the extra `aws`): on a thread, and under one deadline."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Boto"]

T = TypeVar("T")
REASON_CHARS = 400


class Boto:
    """One client of boto3, which is made when it is first used unless given.

    Args:
        service: What boto3 calls the service, such as ``ecs``.
        region: The region; what boto3 finds in its environment unless given.
        client: A client to use instead.
        timeout_s: Seconds for one piece of work, all of its calls included.
    """

    def __init__(self, service: str, region: str | None, client: Any, timeout_s: float) -> None:
        self._service = service
        self._region = region
        self._client = client
        self._timeout_s = timeout_s

    @property
    def client(self) -> Any:
        """The client.

        Raises:
            ImportError: boto3 is not installed; the text says what to install.
        """
        if self._client is None:
            try:
                boto3: Any = importlib.import_module("boto3")
            except ImportError as error:
                raise ImportError("boto3 is missing; install pyflow-deploy[aws]") from error
            self._client = boto3.client(self._service, region_name=self._region)
        return self._client

    async def call(self, work: Callable[[], T], trouble: Callable[[str], Exception]) -> T:
        """Return what *work* returns on a thread.

        Whatever it raises comes out as *trouble*, given the reason in words;
        what is of that kind already comes out as it is. Where it takes longer
        than the timeout, the thread goes on until boto3 gives up.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.to_thread(work)
        except TimeoutError as error:
            raise trouble(f"AWS gave no answer within {self._timeout_s:g} s") from error
        except Exception as error:  # boto3 makes the classes of its errors as it runs
            if type(error) is type(trouble("")):
                raise
            raise trouble(f"{type(error).__name__}: {error}"[:REASON_CHARS]) from error
