"""Maps and includes, through the engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

import pyflow
from pyflow.testing.loop import run_virtual
from support.runs import Journal, run, statuses, virtual_engine


def deploy_to(did: Journal, bad: tuple[str, ...] = (), times: int = 1_000) -> Any:
    """Return a function that deploys to an item, and fails for some."""
    left = dict.fromkeys(bad, times)

    async def deploy(item: str) -> str:
        did.done.append(f"deploy {item}")
        if left.get(item):
            left[item] -= 1
            raise ConnectionError(item)
        return item.upper()

    return deploy


class TestMap:
    def test_runs_once_for_each_item(self) -> None:
        """Items have recorded names, and results come in item order."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_map("deploy", deploy_to(did), over=["eu-1", "us-1"])

        result = run(workflow)

        assert result.tasks["deploy"].output == ["EU-1", "US-1"]
        assert list(statuses(result)) == ["deploy", "deploy[eu-1]", "deploy[us-1]"]
        assert len(result.audit_trail.query(task="deploy", kind="task_started")) == 2

    @pytest.mark.parametrize("over", ["regions", pyflow.Ref("regions")], ids=["name", "ref"])
    @pytest.mark.parametrize("source", ["parameter", "output"])
    def test_over_what_the_run_knows(self, over: Any, source: str) -> None:
        """The items may be a parameter or the output of an earlier task."""
        did = Journal()
        workflow = pyflow.Workflow(
            "w", params={"regions": list[str]} if source == "parameter" else {}
        )
        if source == "output":
            workflow.add_task("regions", did.does("regions", ["a", "b"]))
        workflow.add_map("deploy", deploy_to(did), over=over)

        result = run(workflow, params={"regions": ["a", "b"]} if source == "parameter" else {})

        assert result.tasks["deploy"].output == ["A", "B"]

    def test_of_nothing_settles_at_once(self) -> None:
        """An empty list is a success with an empty list."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_map("deploy", deploy_to(did), over=[])
        workflow.add_task("after", did.does("after"), depends_on=["deploy"])

        result = run(workflow)

        assert result.tasks["deploy"].output == []
        assert did.done == ["after"]

    def test_of_something_else_fails(self) -> None:
        """Only a list can be mapped over."""
        workflow = pyflow.Workflow("w", on_failure="stop")
        workflow.add_task("regions", Journal().does("regions", "eu"))
        workflow.add_map("deploy", deploy_to(Journal()), over="regions")

        result = run(workflow)

        assert result.error is not None
        assert result.error.task == "deploy"
        assert "a map runs over a list, and 'regions' gave 'eu'" in result.error.message

    def test_max_parallel(self) -> None:
        """No more items are under way at once than allowed, and they start in item order."""
        now, most = 0, 0
        order: list[int] = []
        workflow = pyflow.Workflow("w")

        async def work(ctx: pyflow.AsyncContext, item: int) -> None:
            nonlocal now, most
            order.append(item)
            now += 1
            most = max(most, now)
            await ctx.sleep(1)
            now -= 1

        workflow.add_map("m", work, over=range(7), max_parallel=3)

        run(workflow)

        assert most == 3
        assert order == list(range(7))

    def test_each_item_is_retried_on_its_own(self) -> None:
        """Only the item that failed is tried again."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_map(
            "m", deploy_to(did, bad=("b",), times=1), over=["a", "b"], retry=pyflow.Retry(2)
        )

        result = run(workflow)

        assert sorted(did.done) == ["deploy a", "deploy b", "deploy b"]
        assert result.tasks["m[b]"].attempts == 2

    def test_tolerated_failures(self) -> None:
        """So many items may fail; their place in the output is None, and a rollback undoes them too."""
        did = Journal()
        workflow = pyflow.Workflow("w")
        workflow.add_map("m", deploy_to(did, bad=("b",)), over=["a", "b", "c"], tolerate=1)
        workflow.add_task("bad", did.fails("bad"), depends_on=["m"])

        @workflow.recovery("m")
        async def undo(item: str, m: str | None) -> None:
            did.done.append(f"undo {item} {m}")

        result = run(workflow)

        assert result.tasks["m"].output == ["A", None, "C"]
        assert result.status == "rolled_back"
        assert sorted(did.done[4:]) == ["undo a A", "undo b None", "undo c C"]

    def test_undos_get_the_output_of_their_item(self) -> None:
        """An undo or a repair that asks for its own task's output, without a type, gets its item's."""
        seen: list[Any] = []
        workflow = pyflow.Workflow("w")

        @dataclass
        class Server:
            name: str

        async def make(ctx: pyflow.AsyncContext, item: str) -> Server:
            if item == "b" and ctx.attempt == 1:
                raise OSError("full")
            return Server(item)

        async def mend(m: Any) -> None:
            seen.append(m)

        async def undo(m, item) -> None:
            seen.append((item, m))

        workflow.add_map("m", make, over=["a", "b"])
        workflow.add_recovery("m", mend, then="retry")
        workflow.add_recovery("m", undo)
        workflow.add_task("bad", Journal().fails("bad"), depends_on=["m"])

        result = run(workflow)

        assert result.status == "rolled_back"
        assert seen[0] is None
        assert sorted(seen[1:], key=str) == [("a", Server("a")), ("b", Server("b"))]

    def test_more_failures_than_tolerated(self) -> None:
        """The map fails after its last item, starts no further one, and names a cause."""
        did = Journal()
        workflow = pyflow.Workflow("w", on_failure="stop")
        workflow.add_map("m", deploy_to(did, bad=("a",)), over=["a", "b", "c"], max_parallel=1)

        result = run(workflow)

        assert did.done == ["deploy a"]
        assert statuses(result) == {
            "m": "failed",
            "m[a]": "failed",
            "m[b]": "cancelled",
            "m[c]": "cancelled",
        }
        assert result.error is not None
        assert (result.error.task, result.error.type) == ("m", "ConnectionError")

    def test_names_fall_back_to_the_index(self) -> None:
        """Items that are no plain text, or not different, are named by number."""
        workflow = pyflow.Workflow("w")
        for name, items in {
            "objects": [{"a": 1}],
            "twins": ["x", "x"],
            "odd": ["a/b"],
            "truth": [True],
        }.items():
            workflow.add_map(name, Journal().does(name), over=items)

        result = run(workflow)

        names = [name for name in result.tasks if "[" in name]
        assert sorted(names) == ["objects[0]", "odd[0]", "truth[0]", "twins[0]", "twins[1]"]

    def test_cancelled_in_the_middle(self) -> None:
        """A cancel ends the map with what is under way; further items never start."""
        did = Journal()
        workflow = pyflow.Workflow("w")

        async def work(item: str) -> None:
            await asyncio.sleep(10)
            did.done.append(item)

        workflow.add_map("m", work, over=["a", "b"], max_parallel=1)

        async def main() -> pyflow.Result:
            handle = virtual_engine().start(workflow)
            await asyncio.sleep(1)
            handle.cancel()
            return await handle

        result = run_virtual(main())

        assert did.done == ["a"]
        assert statuses(result) == {"m": "cancelled", "m[a]": "succeeded", "m[b]": "cancelled"}

    def test_held_map_cannot_be_retried_whole(self) -> None:
        """Deciding to retry a whole map is refused, with what to do instead."""
        workflow = pyflow.Workflow("w", on_failure="hold")
        workflow.add_map("m", deploy_to(Journal(), bad=("a",)), over=["a"])

        async def main() -> pyflow.Result:
            handle = virtual_engine().start(workflow)
            assert (await handle).status == "held"
            handle.retry("m")
            assert (await handle).status == "held"
            handle.skip("m")
            return await handle

        result = run_virtual(main())

        assert result.status == "succeeded"
        assert (
            "skip it or roll back"
            in result.audit_trail.query(kind="command_received")[0].data["note"]
        )


class TestInclude:
    def test_runs_inside(self) -> None:
        """An included workflow runs as part of the one around it, parameters and undos included."""
        did = Journal()
        inner = pyflow.Workflow("deploy", params={"version": str, "replicas": 1})

        @inner.task
        async def push(version: str, replicas: int) -> str:
            did.done.append(f"push {version} x{replicas}")
            return version

        @inner.task
        async def check(push: str) -> None:
            did.done.append(f"check {push}")

        @inner.recovery(push)
        async def unpush(push: str) -> None:
            did.done.append(f"unpush {push}")

        outer = pyflow.Workflow("release", params={"version": str, "other": "9"})
        outer.add_task("first", did.does("first"))
        outer.include(inner, prefix="shop", depends_on=["first"])
        outer.include(
            inner,
            prefix="blog",
            depends_on=["shop"],
            params={"version": pyflow.Ref("other"), "replicas": 3},
        )
        outer.add_task("last", did.fails("last"), depends_on=["blog"])

        result = run(outer, params={"version": "1"})

        assert did.done == [
            "first",
            "push 1 x1",
            "check 1",
            "push 9 x3",
            "check 9",
            "last",
            "unpush 9",
            "unpush 1",
        ]
        assert result.tasks["shop.push"].status == "undone"
