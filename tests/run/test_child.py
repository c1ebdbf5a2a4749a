"""What happens inside the process of an isolated task, here in this one; and what passes between."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, cast

import pytest

from pyflow.errors import CodecError, RunStopping
from pyflow.run.child import ChildDesk, Known, Link, perform
from pyflow.run.context import Call
from pyflow.run.parcels import frame, pack, receive, unpack
from pyflow.secrets import Secret
from support import isolated_tasks as tasks

FACTS: dict[str, Any] = {
    "run_id": "r",
    "workflow": "w",
    "environment": None,
    "params": {"values": {"version": "2"}, "withheld": {"probe": "is a probe"}},
    "seed": 1,
    "fencing_tokens": {},
    "origin": {},
    "task": "it",
    "attempt": 2,
    "item": 7,
    "outcome": None,
    "cause": None,
}


class FakeEngine:
    """The other end of a link: answers from a table, and keeps what it is told."""

    def __init__(self, line: socket.socket) -> None:
        self.told: list[dict[str, Any]] = []
        self.replies: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda message: None
        self._line = line

    def serve(self) -> None:
        while (message := receive(self._line)) is not None:
            self.told.append(message)
            reply = self.replies(message)
            if reply is not None:
                self._line.sendall(frame(reply, "reply"))


@pytest.fixture
def ends() -> Generator[tuple[Link, FakeEngine]]:
    """A link that is listened to, and the engine at its other end."""
    here, there = socket.socketpair()
    with here, there:
        link, engine = Link(here), FakeEngine(there)
        threads = [threading.Thread(target=link.listen), threading.Thread(target=engine.serve)]
        for thread in threads:
            thread.start()
        yield link, engine
        here.shutdown(socket.SHUT_WR)
        there.shutdown(socket.SHUT_WR)
        for thread in threads:
            thread.join()


def request(fn: Any, *, role: str = "task", **options: Any) -> dict[str, Any]:
    facts = {**FACTS, **options.pop("facts", {})}
    return {
        "module": fn.__module__,
        "qualname": fn.__qualname__,
        "asynchronous": False,
        "role": role,
        "arguments": {},
        "contexts": [],
        "facts": facts,
        **options,
    }


def answer(data: bytes) -> dict[str, Any]:
    return json.loads(data[4:])


def replying(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """Answer what a context asks, as an engine with nothing special to say would."""
    if "ask" not in message:
        return None
    value = "running" if message["what"] == "outcome" else {"step": [1, 2]}
    return {"reply": message["ask"], "value": value}


class TestPack:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            3,
            2**70,
            1.5,
            "é\udc80\0",
            [1, [2, "x"]],
            (1, (2, [3])),
            {"a": {"enum": 1}, "class": None},
            {tasks.Size.SMALL: 1},
            tasks.Size.LARGE,
            tasks.Point(1, 2),
            tasks.make_image(),
            [tasks.Layer("a")],
            tasks.Wallet(Secret("correct horse battery"), PurePosixPath("a/b")),
            datetime(2024, 5, 1, 12, 30, 1, 5, tzinfo=UTC),
            datetime(2024, 5, 1, 12, 30),  # noqa: DTZ001 - a naive one stays naive
            date(2024, 5, 1),
            timedelta(days=-1, microseconds=1),
            Path("/srv"),
            PurePosixPath("a"),
        ],
    )
    def test_round_trip(self, value: Any) -> None:
        """What can be packed comes out equal, of the same class, and shares nothing."""
        wire = frame({"it": pack(value, "it")}, "it")

        result = unpack(json.loads(wire[4:])["it"])

        assert result == value
        assert type(result).__mro__[-2] is type(value).__mro__[-2]
        assert not isinstance(value, (list, dict, tasks.Image)) or result is not value

    def test_secret(self) -> None:
        """A secret keeps its value and its reference, and is still a secret."""
        secret = unpack(pack(Secret("correct horse battery", name="bank"), "it"))

        assert (type(secret), secret.reveal(), secret.reference) == (
            Secret,
            "correct horse battery",
            "name:bank",
        )

    def test_partial_dataclass(self) -> None:
        """A computed field that is not there is not missed."""
        image = tasks.make_image()
        del image.label

        assert unpack(pack(image, "it")) == tasks.make_image()

    @pytest.mark.parametrize(
        ("value", "path"),
        [
            (object(), "it: "),
            ({"a": [1, object()]}, "it.a[1]: "),
            (tasks.Wallet(Secret("correct horse battery"), object()), "it.spare: "),  # type: ignore[arg-type]
            (tasks.Wallet, "it: "),
            ({1}, "it: "),
        ],
    )
    def test_refused(self, value: Any, path: str) -> None:
        """What only this process has is refused, with the path to it and what to do."""
        with pytest.raises(CodecError, match="cannot enter the process") as raised:
            pack(value, "it")

        assert str(raised.value).startswith(path)

    def test_ring(self) -> None:
        """A ring is refused."""
        ring: list[Any] = []
        ring.append(ring)

        with pytest.raises(CodecError, match="a ring"):
            pack(ring, "it")


class TestReceive:
    def test_end(self) -> None:
        """An end gives None, in the middle of a message too."""
        for data in (b"", b"\0\0\0\x05"):
            here, there = socket.socketpair()
            with here, there:
                there.sendall(data)
                there.shutdown(socket.SHUT_WR)

                assert receive(here) is None

    def test_closed(self) -> None:
        """So does a socket that is closed here."""
        here, there = socket.socketpair()
        with here, there:
            here.close()

            assert receive(here) is None


class TestPerform:
    def test_returns(self, ends: tuple[Link, FakeEngine]) -> None:
        """The answer is the output as JSON data."""
        plain = perform(request(tasks.make_image), ends[0])
        called = perform(request(tasks.see_pid, asynchronous=True), ends[0])

        assert answer(plain)["ok"]["layers"] == [{"digest": "a"}, {"digest": "b"}]
        assert isinstance(answer(called)["ok"], int)

    def test_raises(self, ends: tuple[Link, FakeEngine]) -> None:
        """The answer to an exception is its type, text, place and kinds."""
        plain = answer(perform(request(tasks.break_down), ends[0]))["error"]
        called = perform(request(tasks.break_down_async, asynchronous=True), ends[0])

        assert plain["type"] == "support.isolated_tasks.Broken"
        assert plain["text"] == "it broke\nlook at the fuse"
        assert "in break_down\n" in plain["traceback"]
        assert "/pyflow/run/" not in plain["traceback"]
        assert plain["kinds"][:2] == ["support.isolated_tasks.Broken", "builtins.LookupError"]
        assert "asyncio" not in answer(called)["error"]["traceback"]

    def test_raises_much(self, ends: tuple[Link, FakeEngine]) -> None:
        """Too large a text is left out as a whole."""
        error = answer(perform(request(tasks.raise_much), ends[0]))["error"]

        assert "2,000,000 characters" in error["text"]
        assert error["kinds"][0] == "builtins.ValueError"

    def test_undo(self, ends: tuple[Link, FakeEngine]) -> None:
        """What an undo returns is of no interest; what a task returns is."""
        undo = perform(request(tasks.returns_object, role="undo"), ends[0])
        task = perform(request(tasks.returns_object), ends[0])

        assert answer(undo) == {"ok": None}
        assert answer(task)["error"]["type"] == "pyflow.errors.CodecError"

    def test_no_such_module(self, ends: tuple[Link, FakeEngine]) -> None:
        """A module that cannot be imported is an error that says what to do."""
        error = answer(perform(request(tasks.nothing, module="no_such"), ends[0]))["error"]

        assert error["type"] == "ModuleNotFoundError"
        assert "define it in a module that can be imported" in error["text"]


class TestContext:
    @pytest.mark.parametrize(
        ("fn", "asynchronous"), [(tasks.use_context, False), (tasks.use_async_context, True)]
    )
    def test_asks(self, fn: Any, ends: tuple[Link, FakeEngine], *, asynchronous: bool) -> None:
        """What a function says and asks goes to the engine, in order."""
        link, engine = ends
        engine.replies = replying
        place = {"values": {"region": "eu"}, "withheld": {}}
        environment = {"name": "p", "tier": "live", "limits": {"dict": []}, "params": place}

        wanted = request(
            fn, contexts=["ctx"], asynchronous=asynchronous, facts={"environment": environment}
        )
        seen = answer(perform(wanted, link))["ok"]

        assert seen["environment"] == ["p", "live", {}]
        assert seen["place"] == {"region": "eu"}
        assert (seen["params"], seen["item"], seen["attempt"]) == ({"version": "2"}, 7, 2)
        assert (seen["checkpoints"], seen["own"]) == ({"step": [1, 2]}, "running")
        said = [next(iter(message)) for message in engine.told]
        assert said == [
            *["note"] * 2,
            "ask",
            "wait",
            "waited",
            "note",
            "wait",
            "waited",
            "note",
            *["ask"] * 2,
        ]
        assert engine.told[0] == {
            "note": "logged",
            "data": {"task": "it", "message": "begun", "data": {"size": 2}},
        }

    @pytest.mark.parametrize(
        ("fn", "asynchronous"), [(tasks.sleep_for_ever, False), (tasks.sleep_for_ever_async, True)]
    )
    def test_cut(self, fn: Any, ends: tuple[Link, FakeEngine], *, asynchronous: bool) -> None:
        """A wait that the engine cuts short raises RunStopping, with its reason."""
        link, engine = ends
        engine.replies = lambda message: (
            {"stop": message["wait"], "reason": "the run stops"} if "wait" in message else None
        )

        error = answer(perform(request(fn, contexts=["ctx"], asynchronous=asynchronous), link))[
            "error"
        ]

        assert error["type"] == f"{RunStopping.__module__}.RunStopping"
        assert error["text"] == "the run stops"

    def test_cut_too_late(self, ends: tuple[Link, FakeEngine]) -> None:
        """Cutting a wait that is over, or one that nobody knows, changes nothing."""
        link, engine = ends

        def late(message: Mapping[str, Any]) -> dict[str, Any] | None:
            if "waited" in message:
                return {"stop": message["waited"], "reason": "too late"}
            return replying(message)

        engine.replies = late
        wanted = request(tasks.use_context, contexts=["ctx"])

        assert "ok" in answer(perform(wanted, link))

    def test_cut_just_too_late(self, caplog: pytest.LogCaptureFixture) -> None:
        """So does cutting one that ends by itself at that very moment."""

        class LateLink:
            @contextmanager
            def waiting(self, cut: Callable[[int, str], object]) -> Generator[int]:
                yield 1
                cut(1, "too late")

        async def main() -> str:
            desk = ChildDesk(FACTS, cast("Link", LateLink()), asyncio.get_running_loop())
            done = await desk.wait(Call("it", 1), asyncio.sleep(0, "done"))
            await asyncio.sleep(0)
            return done

        assert asyncio.run(main()) == "done"
        assert not caplog.records

    @pytest.mark.parametrize(
        ("reply", "type_name", "text"),
        [
            ({"unknown": "nobody"}, "KeyError", "'nobody'"),
            (
                {"problem": ["outcome", "too large"]},
                "pyflow.errors.CodecError",
                "outcome: too large",
            ),
        ],
    )
    def test_no_answer(
        self, ends: tuple[Link, FakeEngine], reply: dict[str, Any], type_name: str, text: str
    ) -> None:
        """What the engine cannot answer is an exception."""
        link, engine = ends
        engine.replies = lambda message: {"reply": message["ask"], **reply}

        error = answer(perform(request(tasks.ask_outcome, contexts=["ctx"]), link))["error"]

        assert (error["type"], error["text"]) == (type_name, text)

    @pytest.mark.parametrize("timeout", [True, False])
    def test_cause(self, ends: tuple[Link, FakeEngine], *, timeout: bool) -> None:
        """A recovery is told the cause, as the error that it was."""
        cause = {"timeout": timeout, "args": ["it", "ValueError", "boom", ""]}
        wanted = request(
            tasks.repair_async,
            role="repair",
            contexts=["ctx"],
            asynchronous=True,
            facts={"cause": cause},
        )

        assert answer(perform(wanted, ends[0]))["ok"] == {"cause": "ValueError", "timeout": timeout}

    def test_poll_in_vain(self, ends: tuple[Link, FakeEngine]) -> None:
        """So is the timeout of a poll."""
        wanted = request(tasks.poll_in_vain, contexts=["ctx"], asynchronous=True)

        assert answer(perform(wanted, ends[0]))["error"]["type"] == "pyflow.errors.PollTimeout"

    def test_own_timeout(self, ends: tuple[Link, FakeEngine]) -> None:
        """A timeout of the function's own, around a wait, is its own."""
        wanted = request(tasks.fail_in_a_wait, contexts=["ctx"], asynchronous=True)

        assert answer(perform(wanted, ends[0]))["error"]["type"] == "TimeoutError"


class TestKnown:
    def test_reads_as_a_mapping(self) -> None:
        """What came along is there; what did not is no part of it."""
        known = Known(FACTS["params"])

        assert dict(known) == {"version": "2"}
        assert (len(known), repr(known), known.get("other")) == (1, "{'version': '2'}", None)

    def test_withheld(self) -> None:
        """Asking for what stayed behind says why, however one asks."""
        known = Known(FACTS["params"])

        with pytest.raises(CodecError, match="is a probe"):
            known["probe"]
        with pytest.raises(CodecError, match="is a probe"):
            known.get("probe")
