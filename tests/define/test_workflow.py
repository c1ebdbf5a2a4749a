"""The builder."""

from __future__ import annotations

import enum
import inspect
import itertools
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NewType

import pytest

from pyflow.define.policies import Retry
from pyflow.define.task import MISSING, PLAIN, MapOver, Missing, Param, Ref, Task
from pyflow.define.workflow import Workflow
from pyflow.errors import DefinitionError
from pyflow.secrets import Secret


def fn() -> None: ...


def other() -> None: ...


def line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def problems(workflow: Workflow) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        workflow.check()
    return [str(problem) for problem in caught.value.problems]


class Deployer:
    def run(self) -> None: ...

    def undo(self) -> None: ...


class TestAddTask:
    def test_example(self) -> None:
        """The opening example of the manual compiles as it stands."""
        workflow = Workflow("deployment")
        workflow.add_task("check_infrastructure", fn)
        workflow.add_task("deploy_canary", fn, depends_on=["check_infrastructure"])
        workflow.add_task("monitor_canary", fn, depends_on=["deploy_canary"])
        workflow.add_recovery("deploy_canary", other)

        plan = workflow.check()

        assert plan.stages == (("check_infrastructure",), ("deploy_canary",), ("monitor_canary",))
        assert plan.nodes["deploy_canary"].task.undo is not None

    def test_keeps_options(self) -> None:
        """Every option is in the task as it was given."""
        workflow = Workflow("w")
        workflow.add_task("a", fn)
        workflow.add_task(
            "b",
            fn,
            depends_on="a",
            join="done",
            when=other,
            retry=Retry(2),
            timeout="2m",
            allow_failure=True,
            point_of_no_return=True,
            on_interrupt="rerun",
            effect=False,
            isolation="thread",
        )

        task = workflow.check().nodes["b"].task

        assert (task.depends_on, task.join, task.when, task.retry) == (
            ("a",),
            "done",
            other,
            Retry(2),
        )
        assert (task.timeout_s, task.allow_failure, task.point_of_no_return) == (120, True, True)
        assert (task.on_interrupt, task.effect, task.isolation) == ("rerun", False, "thread")

    def test_defaults(self) -> None:
        """A bare task is tried once, without limits, and asks after a crash."""
        workflow = Workflow("w")
        workflow.add_task("a", fn)

        (task,) = workflow.tasks

        assert task == Task("a", fn, defined_at=task.defined_at)
        assert repr(task) == "<Task a>"

    def test_timedelta(self) -> None:
        """A timeout may be a timedelta."""
        workflow = Workflow("w")
        workflow.add_task("a", fn, timeout=timedelta(hours=1))

        assert workflow.tasks[0].timeout_s == 3_600

    def test_depends_on_functions(self) -> None:
        """A dependency may be given as the function of a task, even as a bound method."""
        workflow, deployer = Workflow("w"), Deployer()
        workflow.add_task("a", fn)
        workflow.add_task("b", deployer.run)
        workflow.add_task("c", other, depends_on=[fn, deployer.run, "a"])
        workflow.add_task("d", lambda: None, depends_on=deployer.run)

        plan = workflow.check()

        assert plan.nodes["c"].depends_on == ("a", "b")
        assert plan.nodes["d"].depends_on == ("b",)

    def test_methods_of_two_objects(self) -> None:
        """The same method of two objects makes two tasks."""
        workflow, one, two = Workflow("w"), Deployer(), Deployer()
        workflow.add_task("a", one.run)
        workflow.add_task("b", two.run)
        workflow.add_recovery(two.run, two.undo)

        assert workflow.check().nodes["b"].undo is not None

    def test_ambiguous_function(self) -> None:
        """The function of several tasks does not say which is meant."""
        workflow = Workflow("w")
        workflow.add_task("a", fn)
        workflow.add_task("b", fn)
        workflow.add_task("c", other, depends_on=[fn])

        (said,) = problems(workflow)

        assert said == (
            "task 'c' refers to the function fn, which several tasks have: 'a', 'b'; "
            "give the name of the one that is meant"
        )

    def test_unknown_function(self) -> None:
        """A function that no task has is no dependency."""
        workflow = Workflow("w")
        workflow.add_task("a", fn, depends_on=[other])

        (said,) = problems(workflow)

        assert "refers to the function other, which no task here has" in said

    def test_set_of_names(self) -> None:
        """A set has no order of its own, so its names are sorted."""
        workflow = Workflow("w")
        for name in "cab":
            workflow.add_task(name, fn)
        workflow.add_task("d", fn, depends_on={"c", "a", "b"})

        assert workflow.check().nodes["d"].depends_on == ("a", "b", "c")

    def test_defined_at(self) -> None:
        """A task knows the line that added it, also through the decorator."""
        workflow = Workflow("w")
        a = line() + 1
        workflow.add_task("a", fn)

        @workflow.task
        def b() -> None: ...

        places = [task.defined_at for task in workflow.tasks]

        assert places[0] == f"test_workflow.py:{a}"
        assert places[1].startswith("test_workflow.py:")
        assert workflow.defined_at == f"test_workflow.py:{a - 2}"

    def test_same_task_in_two_workflows(self) -> None:
        """A function may serve several workflows; they share nothing."""
        one, two = Workflow("one"), Workflow("two")
        for workflow in (one, two):
            workflow.add_task("a", fn)
        one.add_recovery(fn, other)

        assert one.check().nodes["a"].undo is not None
        assert two.check().nodes["a"].undo is None


class TestTaskDecorator:
    def test_bare(self) -> None:
        """Without parentheses, the function's name is the task's."""
        workflow = Workflow("w")

        @workflow.task
        def deploy() -> int:
            return 5

        assert deploy() == 5
        assert list(workflow.check().nodes) == ["deploy"]

    def test_with_options(self) -> None:
        """With parentheses, it takes the options of add_task, and returns the function."""
        workflow = Workflow("w")

        @workflow.task()
        def build() -> int:
            return 1

        @workflow.task(name="ship", depends_on=[build], retry=Retry(5), timeout=5)
        async def deploy() -> int:
            return 5

        node = workflow.check().nodes["ship"]

        assert build() == 1
        assert node.task.fn is deploy
        assert (node.depends_on, node.task.retry, node.task.timeout_s) == (("build",), Retry(5), 5)
        assert node.call.asynchronous

    def test_name_by_place(self) -> None:
        """The name is a keyword; by place it would be taken for the function."""
        workflow = Workflow("w")

        @workflow.task("deploy")  # type: ignore[type-var]
        def ship() -> int:
            return 5

        (said,) = problems(workflow)

        assert ship() == 5
        assert "function='deploy' is not possible; write @workflow.task, or" in said

    def test_empty_name(self) -> None:
        """An empty name is no wish for the function's own."""
        workflow = Workflow("w")
        workflow.task(name="")(fn)

        (said,) = problems(workflow)

        assert "the task name '' is not allowed" in said

    def test_unknown_option(self) -> None:
        """A misspelt option is Python's own error."""
        with pytest.raises(TypeError, match="unexpected keyword argument 'retries'"):
            Workflow("w").task(retries=3)(fn)  # type: ignore[call-overload]


class TestRecovery:
    def test_decorator(self) -> None:
        """The decorator registers an undo by function or by name, and returns the function."""
        workflow = Workflow("w")
        workflow.add_task("a", fn)

        @workflow.recovery(fn, timeout="5s")
        def undo() -> int:
            return 1

        @workflow.recovery("a", then="retry", on=OSError, times=3)
        def repair() -> int:
            return 2

        node = workflow.check().nodes["a"]

        assert (undo(), repair()) == (1, 2)
        assert node.undo is not None
        assert node.undo.fn is undo
        assert node.task.undo is not None
        assert node.task.undo.timeout_s == 5
        assert [callee.fn for callee in node.repairs] == [repair]
        assert (node.task.repairs[0].on, node.task.repairs[0].times) == (OSError, 3)

    def test_receives_output(self) -> None:
        """An undo receives the output of its task, without waiting for it."""
        workflow = Workflow("w")
        workflow.add_task("a", lambda: 1)
        workflow.add_recovery("a", lambda ctx, a: None)

        node = workflow.check().nodes["a"]

        assert node.undo is not None
        assert [i.argument for i in node.undo.wiring] == ["ctx", "a"]
        assert node.depends_on == ()

    def test_before_its_task(self) -> None:
        """A recovery may be added before its task, by name."""
        workflow = Workflow("w")
        workflow.add_recovery("a", other)
        workflow.add_task("a", fn)

        assert workflow.check().nodes["a"].undo is not None

    def test_repairs_keep_order(self) -> None:
        """A task has any number of repairs, in the order of registration."""
        workflow = Workflow("w")
        workflow.add_task("a", fn)
        repairs = [lambda: 1, lambda: 2, lambda: 3]
        for repair in repairs:
            workflow.add_recovery("a", repair, then="continue")

        assert [callee.fn for callee in workflow.check().nodes["a"].repairs] == repairs


class TestFinalizer:
    def test_order(self) -> None:
        """Finalizers keep the order of declaration, and know where they are from."""
        workflow = Workflow("w", params={"version": str})
        workflow.add_task("a", fn)
        workflow.add_finalizer("z", lambda ctx, version, a: None, timeout=5)
        workflow.add_finalizer("y", other)

        pairs = workflow.check().finalizers

        assert [finalizer.name for finalizer, _ in pairs] == ["z", "y"]
        assert pairs[0][0].timeout_s == 5
        assert pairs[0][0].defined_at.startswith("test_workflow.py:")
        assert [i.kind for i in pairs[0][1].wiring] == ["ctx", "param", "output"]


class TestMap:
    def test_list(self) -> None:
        """Fixed items are kept as data of their own, in order."""
        workflow, items = Workflow("w"), [{"region": "eu"}, Path("/x")]
        workflow.add_map("m", lambda item: None, over=items, max_parallel=2, tolerate=1)
        items.clear()

        node = workflow.check().nodes["m"]

        assert node.task.map == MapOver(({"region": "eu"}, "/x"), 2, 1)
        assert node.over is None
        assert node.call.wiring[0].kind == "item"

    def test_by_name(self) -> None:
        """A name supplies the items: a parameter, or a task that is then waited for."""
        workflow = Workflow("w", params={"regions": ["eu"]})
        workflow.add_task("hosts", lambda: ["a"])
        workflow.add_map("m", fn, over="regions")
        workflow.add_map("n", fn, over=Ref("hosts"))

        plan = workflow.check()

        assert plan.nodes["m"].over == ("param", "regions")
        assert plan.nodes["n"].over == ("output", "hosts")
        assert plan.nodes["n"].depends_on == ("hosts",)

    def test_iterable(self) -> None:
        """Any finite iterable will do."""
        workflow = Workflow("w")
        workflow.add_map("m", fn, over=(str(n) for n in range(3)))
        workflow.add_map("n", fn, over=[])

        nodes = workflow.check().nodes

        assert nodes["m"].task.map == MapOver(("0", "1", "2"), None, 0)
        assert nodes["n"].task.map == MapOver((), None, 0)

    def test_endless(self) -> None:
        """An endless iterable is a mistake, not a hang."""
        workflow = Workflow("w")
        workflow.add_map("m", fn, over=itertools.count())

        (said,) = problems(workflow)

        assert "over=count(" in said
        assert "give a list of at most 100000 items" in said


class Color(enum.Enum):
    RED = "red"


@dataclass
class Image:
    tag: str


class Probe:
    def read(self) -> None: ...


class TestParams:
    @pytest.mark.parametrize(
        "declared",
        [
            str,
            Any,
            list[str],
            str | None,
            Literal["a", "b"],
            NewType("Version", str),
            Image,
            Secret,
        ],
    )
    def test_type(self, declared: Any) -> None:
        """A type declares a parameter that has to be given."""
        workflow = Workflow("w", params={"p": declared})

        assert workflow.params["p"] == Param("p", declared, MISSING)

    @pytest.mark.parametrize(
        ("default", "annotation", "stored"),
        [
            (2, int, 2),
            (True, bool, True),
            ("x", str, "x"),
            (None, Any, None),
            ([1], list, [1]),
            ({"k": 1}, dict, {"k": 1}),
            (Color.RED, Color, "red"),
            (Image("x"), Image, {"tag": "x"}),
            (Path("/x"), Path, "/x"),
        ],
    )
    def test_default(self, default: Any, annotation: Any, stored: Any) -> None:
        """Any other value is a default, and its type the type."""
        workflow = Workflow("w", params={"p": default})

        assert workflow.params["p"] == Param("p", annotation, stored)

    @pytest.mark.parametrize(
        "default", [Probe(), fn, Secret("hunter2hunter2"), Secret.from_env("TOKEN"), len]
    )
    def test_object(self, default: Any) -> None:
        """A default may be an object, such as a probe or a secret, which stays itself."""
        workflow = Workflow("w", params={"p": default})

        assert workflow.params["p"].default is default

    def test_default_is_a_copy(self) -> None:
        """What the program does with its list later changes nothing here."""
        regions = ["eu"]
        workflow = Workflow("w", params={"regions": regions})
        regions.append("us")

        assert workflow.params["regions"].default == ["eu"]


class TestWorkflow:
    def test_options(self) -> None:
        """Options are readable, and cannot be changed past the checks."""
        workflow = Workflow("w", on_failure="hold", locks="a", on_locked="fail", max_parallel=5)

        assert (workflow.name, workflow.on_failure) == ("w", "hold")
        assert (workflow.locks, workflow.on_locked, workflow.max_parallel) == (("a",), "fail", 5)
        for option in ("name", "on_failure", "locks", "on_locked", "max_parallel"):
            with pytest.raises(AttributeError):
                setattr(workflow, option, None)

    def test_repr(self) -> None:
        """The repr is short."""
        workflow = Workflow("w")
        workflow.add_task("a", fn)

        assert repr(workflow) == "<Workflow 'w' tasks=1>"

    def test_locks(self) -> None:
        """Locks are taken once each, in sorted order, whatever the definition says."""
        workflow = Workflow("w", locks=["b", "a", "b"])
        workflow.add_task("a", fn)

        assert workflow.check().locks == ("a", "b")

    def test_nothing_refused_while_written(self) -> None:
        """Mistakes wait for check, so that it can report them together."""
        workflow = Workflow("bad name", on_failure="x", locks=5, params=5)  # type: ignore[arg-type]
        workflow.add_task("a b", None, depends_on=5)  # type: ignore[arg-type]

        assert len(problems(workflow)) == 7


class TestRef:
    def test_names(self) -> None:
        """It names a parameter or a task."""
        assert Ref("a.b").name == "a.b"

    @pytest.mark.parametrize("name", ["", None, 5])
    def test_needs_a_name(self, name: Any) -> None:
        """A reference to nothing is refused at once."""
        with pytest.raises(DefinitionError, match="is no name; give the name of a parameter"):
            Ref(name)


class TestMissing:
    def test_repr(self) -> None:
        """It shows as its name, and stands for no value of plain data."""
        assert repr(MISSING) == "MISSING"
        assert isinstance(MISSING, Missing)
        assert not isinstance(MISSING, PLAIN)
