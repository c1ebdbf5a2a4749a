"""The engine's side of a context: waits that end, and waits that are cut short."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pyflow.errors import RunStopping
from pyflow.run.context import Call
from pyflow.run.desk import RunDesk
from pyflow.testing import run_virtual


def desk() -> RunDesk:
    unused = cast("Any", None)
    state = SimpleNamespace(plan=SimpleNamespace(workflow_name="w"))
    return RunDesk(
        cast("Any", state),
        run_id="r",
        environment=None,
        parameters=unused,
        loop=asyncio.get_running_loop(),
        seed=0.0,
        executor=unused,
        post=unused,
        post_from_afar=unused,
        settle=unused,
        redactor=unused,
    )


def is_cut(wait: Any) -> bool:
    try:
        wait.result()
    except RunStopping:
        return True
    return False


class TestSleep:
    def test_ends(self) -> None:
        """A wait ends exactly when it should, and leaves no timer."""

        async def main() -> float:
            await desk().sleep(Call("t", 1), 90.0)
            return asyncio.get_running_loop().time()

        assert run_virtual(main()) == 90.0

    @pytest.mark.parametrize("at_s", [0.0, 5.0, 9.0])
    def test_cut_short(self, at_s: float) -> None:
        """A wait is cut at once where the run stops, and later ones do not begin."""

        async def main() -> tuple[bool, bool, float]:
            here, call = desk(), Call("t", 1)
            wait = asyncio.create_task(here.sleep(call, 10.0))
            await asyncio.sleep(at_s)
            here.cut_waits()
            await asyncio.wait([wait])
            again = asyncio.create_task(here.sleep(call, 10.0))
            await asyncio.wait([again])
            return is_cut(wait), is_cut(again), asyncio.get_running_loop().time()

        assert run_virtual(main()) == (True, True, at_s)

    def test_cut_as_it_ends(self) -> None:
        """Where time is up in the turn in which the run stops, the run's stopping counts."""

        async def main() -> bool:
            here, loop = desk(), asyncio.get_running_loop()
            loop.call_later(10.0, here.cut_waits)
            wait = asyncio.create_task(here.sleep(Call("t", 1), 10.0))
            await asyncio.wait([wait])
            return is_cut(wait)

        assert run_virtual(main())

    def test_shielded(self) -> None:
        """A wait of an undo goes on although the run stops; the end of its own call ends it."""

        async def main() -> tuple[bool, bool, float]:
            here, loop = desk(), asyncio.get_running_loop()
            calls = [Call("t", 1, role="undo", shielded=True) for _ in range(2)]
            waits = [asyncio.create_task(here.sleep(call, 10.0)) for call in calls]
            loop.call_later(5.0, here.cut_waits)
            loop.call_later(6.0, here.cut_waits, calls[1])
            await asyncio.wait(waits)
            return is_cut(waits[0]), is_cut(waits[1]), loop.time()

        assert run_virtual(main()) == (False, True, 10.0)

    def test_cancelled(self) -> None:
        """A wait that is cancelled ends as cancelled, with its timer."""

        async def main() -> bool:
            wait = asyncio.create_task(desk().sleep(Call("t", 1), 10.0))
            await asyncio.sleep(1)
            wait.cancel()
            await asyncio.wait([wait])
            return wait.cancelled()

        assert run_virtual(main())

    @pytest.mark.parametrize("delay_s", [0.0, -1.0])
    def test_nothing_to_wait_for(self, delay_s: float) -> None:
        """A wait for no time lets others go first, and no more."""

        async def main() -> list[str]:
            here, order = desk(), list[str]()
            asyncio.get_running_loop().call_soon(order.append, "other")
            await here.sleep(Call("t", 1), delay_s)
            return [*order, "slept"]

        assert run_virtual(main()) == ["other", "slept"]
