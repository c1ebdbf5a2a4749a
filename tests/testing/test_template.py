"""`Template`: workflows that differ in closures alone share one plan; all others get their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from pyflow import Ref, Retry, Secret, Workflow
from pyflow.errors import DefinitionError
from pyflow.testing import SimulatedEngine, SimulationError, World, explore
from pyflow.testing.exploration.template import Template


def template(*workflows: Workflow) -> Template:
    """Return the template of a factory that makes *workflows*, one after another."""
    left = list(workflows)
    return Template(lambda: left.pop(0))


def is_new(one: Workflow, other: Workflow) -> bool:
    """Return whether *other* needs a plan of its own after *one*."""
    made = template(one, other)
    assert made.renew()
    plan = made.plan
    new = made.renew()
    assert (made.plan is not plan) is new
    return new


def called(made: Template) -> list[str]:
    """Run the present plan, and return what it did."""
    done: list[str] = []
    DONE.append(done)
    with SimulatedEngine() as engine:
        result = engine.execute(made.plan)
    assert result.status in ("succeeded", "rolled_back")
    DONE.pop()
    return done


DONE: list[list[str]] = []


def full(mark: str, *, fails: bool = False) -> Workflow:
    """Return a workflow with a function in every place, each of which notes itself with *mark*."""

    def notes(name: str) -> Callable[..., Any]:
        def act() -> bool:
            DONE[-1].append(f"{name} {mark}")
            return True

        return act

    def boom() -> None:
        DONE[-1].append(f"boom {mark}")
        if fails:
            raise ValueError(mark)

    async def later() -> None:
        DONE[-1].append(f"later {mark}")

    workflow = Workflow("w")
    workflow.add_task("deploy", notes("deploy"), when=notes("when"))
    workflow.add_recovery("deploy", notes("undo"))
    workflow.add_task("later", later, depends_on="deploy")
    workflow.add_task("check", boom, depends_on="later")
    workflow.add_recovery("check", notes("repair"), then="retry")
    workflow.add_map("map", notes("map"), over=["a"], depends_on="check")
    workflow.add_recovery("map", notes("undo of map"))
    workflow.add_finalizer("report", notes("report"))
    return workflow


class TestReuse:
    @pytest.mark.parametrize("fails", [False, True])
    def test_functions_are_exchanged(self, fails: bool) -> None:
        """The plan stays, and calls the functions of the newest workflow, in every role."""
        made = template(*(full(mark, fails=fails) for mark in "abc"))

        news = [made.renew()]
        runs = [called(made)]
        for _ in "bc":
            news.append(made.renew())
            runs.append(called(made))

        assert news == [True, False, False]
        expected = (
            ["when", "deploy", "later", "boom", "repair", "boom", "report", "undo"]
            if fails
            else ["when", "deploy", "later", "boom", "map", "report"]
        )
        order = [[line.split()[0] for line in run] for run in runs]
        assert [sorted(run) for run in order] == [sorted(expected)] * 3
        assert [{line.split()[1] for line in run} for run in runs] == [{"a"}, {"b"}, {"c"}]

    def test_order_of_recoveries(self) -> None:
        """Recoveries go to their own tasks, in whatever order they were added."""

        def make(mark: str) -> Workflow:
            def notes(name: str) -> Callable[[], None]:
                return lambda: DONE[-1].append(f"{name} {mark}")

            def boom() -> None:
                raise ValueError

            workflow = Workflow("w")
            for name in ("one", "two"):
                workflow.add_task(name, notes(name))
            workflow.add_task("boom", boom, depends_on=["one", "two"])
            workflow.add_recovery("boom", notes("mend"), then="retry", on=ValueError)
            workflow.add_recovery("two", notes("undo of two"))
            workflow.add_recovery("boom", notes("undo of boom"))
            workflow.add_recovery("one", notes("undo of one"))
            return workflow

        made = template(make("a"), make("b"))

        news = made.renew(), made.renew()

        assert news == (True, False)
        assert sorted(called(made)) == sorted(
            f"{name} b"
            for name in ("one", "two", "mend", "undo of two", "undo of one", "undo of boom")
        )

    def test_same_workflow(self) -> None:
        """One workflow for every run keeps its plan."""
        workflow = full("a")

        assert not is_new(workflow, workflow)

    def test_where_it_is_defined(self) -> None:
        """The line that a workflow was written in makes no difference."""
        act = full("a").tasks[0].fn
        one, other = Workflow("w"), Workflow("w")
        one.add_task("deploy", act)
        other.add_task("deploy", act)

        assert not is_new(one, other)

    def test_names(self) -> None:
        """Records and errors name the functions, and not what stands for them."""

        class Check:
            def __call__(self) -> None:
                """Do nothing."""

        def deploy() -> None:
            """Do nothing."""

        workflow = Workflow("w")
        workflow.add_task("deploy", deploy)
        workflow.add_task("check", Check())
        made = template(workflow)
        made.renew()

        names = [node.call.fn.__qualname__ for node in made.plan.nodes.values()]
        assert names == [deploy.__qualname__, Check.__qualname__]

    def test_repair_is_recorded_by_its_name(self) -> None:
        """A repair is recorded by the name of its function also in an exploration."""
        world = World()

        def deploy() -> None:
            raise ValueError

        def mend() -> None:
            """Do nothing."""

        workflow = Workflow("w")
        workflow.add_task("deploy", deploy)
        workflow.add_recovery("deploy", mend, then="retry")
        names: list[list[str]] = []

        def note(run: Any) -> None:
            names.append([one.name for one in run.events if one.kind == "repair_started"])

        explore(workflow, world=world, faults=0, invariants=[note])

        assert names[-1] == [mend.__qualname__]


def act() -> None:
    """Do nothing."""


def other_act() -> None:
    """Do nothing else."""


def gate() -> bool:
    """Answer a condition."""
    return True


def plain(**options: Any) -> Workflow:
    """Return a workflow of two tasks, with *options* for the second."""
    workflow = Workflow("w", params={"size": 3})
    workflow.add_task("build", act)
    workflow.add_task("deploy", **cast("Any", {"fn": act, **options}))
    return workflow


def with_undo(task: str = "deploy", **options: Any) -> Workflow:
    workflow = plain()
    workflow.add_recovery(task, **cast("Any", {"fn": act, **options}))
    return workflow


def with_finalizer(name: str = "report", **options: Any) -> Workflow:
    workflow = plain()
    workflow.add_finalizer(name, **cast("Any", {"fn": act, **options}))
    return workflow


def with_map(**options: Any) -> Workflow:
    workflow = Workflow("w")
    workflow.add_map("deploy", act, **cast("Any", {"over": ["a"], **options}))
    return workflow


def including(**options: Any) -> Workflow:
    inner = Workflow("inner", params={"size": int})
    inner.add_task("a", act)
    workflow = Workflow("w", params={"big": 8, "small": 2})
    workflow.add_task("build", act)
    workflow.include(inner, **cast("Any", {"prefix": "inner", "params": {"size": 3}, **options}))
    return workflow


def named(name: str) -> Workflow:
    workflow = Workflow("w")
    workflow.add_task(name, act)
    return workflow


class TestDifferences:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (Workflow("w"), Workflow("v")),
            (named("deploy"), named("build")),
            (Workflow("w", on_failure="stop"), Workflow("w", on_failure="hold")),
            (Workflow("w", locks=["a"]), Workflow("w", locks=["b"])),
            (Workflow("w", max_parallel=1), Workflow("w", max_parallel=2)),
            (Workflow("w", params={"a": 1}), Workflow("w", params={"b": 1})),
            (Workflow("w", params={"a": 1}), Workflow("w", params={"a": 2})),
            (Workflow("w", params={"a": int}), Workflow("w", params={"a": str})),
            (plain(), named("build")),
            (plain(), plain(fn=other_act)),
            (plain(), plain(depends_on="build")),
            (plain(), plain(retry=Retry(2))),
            (plain(retry=Retry(2)), plain(retry=Retry(3))),
            (plain(), plain(timeout="1m")),
            (plain(), plain(when=gate)),
            (plain(when=gate), plain(when=lambda: True)),
            (plain(depends_on="build"), plain(depends_on="build", join="done")),
            (plain(), plain(allow_failure=True)),
            (plain(), plain(point_of_no_return=True)),
            (plain(), plain(effect=False)),
            (plain(), plain(isolation="inline")),
            (plain(), plain(on_interrupt="rerun")),
            (plain(), plain(on_interrupt=act)),
            (plain(on_interrupt=act), plain(on_interrupt=other_act)),
            (
                plain(fn=lambda n: None, inputs={"n": "size"}),
                plain(fn=lambda n: None, inputs={"n": "build"}),
            ),
            (plain(), with_undo()),
            (with_undo(), with_undo("build")),
            (with_undo(), with_undo(fn=other_act)),
            (with_undo(), with_undo(timeout="1m")),
            (with_undo(), with_undo(retry=Retry(2))),
            (with_undo(), with_undo(then="retry")),
            (with_undo(then="retry"), with_undo(then="continue")),
            (with_undo(then="retry"), with_undo(then="retry", times=2)),
            (with_undo(then="retry"), with_undo(then="retry", on=ValueError)),
            (plain(), with_finalizer()),
            (with_finalizer(), with_finalizer("other")),
            (with_finalizer(), with_finalizer(fn=other_act)),
            (with_finalizer(), with_finalizer(timeout="1m")),
            (with_map(), with_map(over=["a", "b"])),
            (with_map(), with_map(max_parallel=1)),
            (with_map(), with_map(tolerate=1)),
            (including(), including(prefix="other")),
            (including(), including(depends_on="build")),
            (including(), including(params={"size": 4})),
            (including(params={"size": Ref("big")}), including(params={"size": Ref("small")})),
        ],
    )
    def test_make_a_new_plan(self, one: Workflow, other: Workflow) -> None:
        """Whatever a plan depends on, and is not in a closure, makes another plan."""
        if not one.tasks:
            one.add_task("deploy", act)
        if not other.tasks:
            other.add_task("deploy", act)

        assert is_new(one, other)
        assert is_new(other, one)

    def test_makes_a_new_plan_whole(self) -> None:
        """After another plan, the functions of that one are exchanged."""
        made = template(full("a"), full("b", fails=True), plain(), full("c"), full("d"))

        assert [made.renew() for _ in range(5)] == [True, False, True, True, False]
        assert {line.split()[1] for line in called(made)} == {"d"}

    def test_a_problem(self) -> None:
        """A workflow that has become wrong is checked, though it looks like the one before."""
        wrong = plain()
        wrong.add_recovery("deploy", act, then="never")  # type: ignore[call-overload]
        right = plain()
        right.recoveries += wrong.recoveries
        made = template(right, wrong)
        made.renew()

        with pytest.raises(DefinitionError, match="then"):
            made.renew()

    def test_no_workflow(self) -> None:
        """What the factory returns has to be a workflow, every time."""
        made = template(plain(), None)  # type: ignore[arg-type]
        made.renew()

        with pytest.raises(SimulationError, match="the factory returned None; expected a Workflow"):
            made.renew()


class Shop:
    """A class whose methods are tasks."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def deploy(self, size: int = 1) -> None:
        DONE[-1].append(f"{self.mark} {size}")

    def retire(self) -> None:
        """Do nothing."""


class Slotted:
    """Something that can be called, of which nobody can say what it holds."""

    __slots__ = ()

    def __call__(self) -> None:
        DONE[-1].append("slotted")


class Callable1:
    """Something without code of its own that can be called."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __call__(self) -> None:
        DONE[-1].append(self.mark)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Callable1)

    def __hash__(self) -> int:
        return 1


class TestFunctions:
    def outcome(self, *functions: Callable[..., Any]) -> tuple[bool, list[str]]:
        """Return whether the last of *functions* needed a plan of its own, and what it did."""
        made = template(*(plain(fn=fn) for fn in functions))
        news = [made.renew() for _ in functions]
        return news[-1], called(made)

    def test_bound_methods(self) -> None:
        """A method of another object is the same function around another variable."""
        assert self.outcome(Shop("a").deploy, Shop("b").deploy) == (False, ["b 3"])
        assert self.outcome(Shop("a").retire, Shop("b").deploy) == (True, ["b 3"])

    def test_partials(self) -> None:
        """Partials are alike if what they fix is equal, and what they call is alike."""
        a, b = Shop("a"), Shop("b")

        assert self.outcome(partial(a.deploy, size=1), partial(b.deploy, size=1)) == (
            False,
            ["b 1"],
        )
        assert self.outcome(partial(a.deploy, size=1), partial(b.deploy, size=2)) == (True, ["b 2"])
        assert self.outcome(partial(a.deploy, 1), partial(b.deploy, size=1)) == (True, ["b 1"])
        assert self.outcome(partial(a.deploy, 1), b.deploy) == (True, ["b 3"])
        assert self.outcome(a.deploy, partial(b.deploy, 1)) == (True, ["b 1"])

    def test_defaults(self) -> None:
        """Functions whose defaults differ are not alike."""

        def make(size: int, *, level: int = 0) -> Callable[..., None]:
            def deploy(width: int = size, *, level: int = level) -> None:
                DONE[-1].append(f"{width} {level}")

            return deploy

        assert self.outcome(make(1), make(1)) == (False, ["1 0"])
        assert self.outcome(make(1), make(2)) == (True, ["2 0"])
        assert self.outcome(make(1), make(1, level=2)) == (True, ["1 2"])

    def test_without_code(self) -> None:
        """Callable objects are alike if they are of one class and hold equal values."""
        one = Callable1("one")

        assert self.outcome(one, one) == (False, ["one"])
        assert self.outcome(one, Callable1("one")) == (False, ["one"])
        assert self.outcome(one, Callable1("two")) == (True, ["two"])
        assert self.outcome(one, type("Other", (Callable1,), {})("one")) == (True, ["one"])
        assert self.outcome(Slotted(), Slotted()) == (True, ["slotted"])
        assert self.outcome(Slotted, type("Slotted", (), {})) == (True, [])
        assert self.outcome(one, Shop("a").deploy) == (True, ["a 3"])

    def test_lambdas(self) -> None:
        """Lambdas of one line are alike, of two lines they are not."""

        def make(mark: str) -> Callable[[], None]:
            return lambda: DONE[-1].append(mark)

        assert self.outcome(make("a"), make("b")) == (False, ["b"])
        assert self.outcome(make("a"), lambda: DONE[-1].append("c")) == (True, ["c"])

    def test_secrets_in_defaults(self) -> None:
        """A parameter whose default is made anew each time makes another plan, and no leak."""
        ones = [Workflow("w", params={"token": Secret("hunter2hunter2", name="t")}) for _ in "ab"]
        for one in ones:
            one.add_task("deploy", act)

        made = template(*ones)
        made.renew()
        made.renew()

        assert "hunter2" not in repr(made.plan)
