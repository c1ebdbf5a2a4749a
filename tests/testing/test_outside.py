"""The outside world, refused by name."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from pyflow.testing.errors import SimulationError
from pyflow.testing.loop import run_virtual
from pyflow.testing.outside import REFUSED
from support.virtual import this_loop


class TestOutsideWorld:
    @pytest.mark.parametrize("call", sorted(REFUSED))
    def test_refused(self, call: str) -> None:
        """Every call that reaches outside names itself and what to use instead."""

        async def main() -> None:
            await getattr(this_loop(), call)()

        with pytest.raises(SimulationError, match=rf"loop\.{call}\(\)[\s\S]*; (use|call) "):
            run_virtual(main())

    def test_every_call_is_known(self) -> None:
        """Each public method of asyncio's loop is either refused or known to be harmless."""
        harmless = {
            "call_at call_exception_handler call_later call_soon call_soon_threadsafe close",
            "create_future create_task default_exception_handler get_debug get_exception_handler",
            "get_task_factory is_closed is_running remove_reader remove_signal_handler",
            "remove_writer run_forever run_in_executor run_until_complete set_debug",
            "set_default_executor set_exception_handler set_task_factory shutdown_asyncgens",
            "shutdown_default_executor slow_callback_duration stop time",
        }
        known = {name for line in harmless for name in line.split()}
        public = {name for name in dir(asyncio.SelectorEventLoop) if not name.startswith("_")}

        assert public - known - {"slow_callback_duration"} == set(REFUSED)

    def test_nothing_to_remove(self) -> None:
        """What could not be added is not there to be removed, which is no error."""

        async def main() -> list[bool]:
            loop = this_loop()
            return [
                loop.remove_reader(0),
                loop.remove_writer(0),
                loop.remove_signal_handler(signal.SIGTERM),
            ]

        assert run_virtual(main()) == [False, False, False]

    def test_subprocess(self) -> None:
        """A real process is refused."""

        async def main() -> None:
            await asyncio.create_subprocess_exec(sys.executable, "-c", "")

        with pytest.raises(SimulationError, match=r"subprocess_exec\(\).*subprocess\.run"):
            run_virtual(main())

    def test_shell(self) -> None:
        """A shell is refused."""

        async def main() -> None:
            await asyncio.create_subprocess_shell("true")

        with pytest.raises(SimulationError, match="subprocess_shell"):
            run_virtual(main())

    def test_connection(self) -> None:
        """A real connection is refused, with a word on where real calls may be made."""

        async def main() -> None:
            await asyncio.open_connection("127.0.0.1", 9)

        with pytest.raises(SimulationError, match=r"create_connection\(\).*run_in_executor"):
            run_virtual(main())

    def test_server(self) -> None:
        """A real server is refused."""

        async def main() -> None:
            await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)

        with pytest.raises(SimulationError, match="create_server"):
            run_virtual(main())

    def test_signal_handler(self) -> None:
        """A signal handler is refused, and none is installed."""
        before = signal.getsignal(signal.SIGTERM)

        async def main() -> None:
            this_loop().add_signal_handler(signal.SIGTERM, print)

        with pytest.raises(SimulationError, match="add_signal_handler"):
            run_virtual(main())
        assert signal.getsignal(signal.SIGTERM) == before
