"""Workflows inside of workflows."""

from __future__ import annotations

from typing import Any

import pytest

from pyflow.define.problems import InIncluded
from pyflow.define.task import Ref
from pyflow.define.workflow import Workflow
from pyflow.errors import DefinitionError


def fn() -> None: ...


def workflow_of(*tasks: str, **options: Any) -> Workflow:
    """Return a workflow of independent tasks; ``"b<a"`` waits for a."""
    workflow = Workflow(options.pop("name", "w"), **options)
    add(workflow, *tasks)
    return workflow


def add(workflow: Workflow, *tasks: str) -> None:
    for task in tasks:
        name, _, deps = task.partition("<")
        workflow.add_task(name, (lambda: None), depends_on=[d for d in deps.split("+") if d])


def edges(workflow: Workflow) -> dict[str, tuple[str, ...]]:
    return {name: node.depends_on for name, node in workflow.check().nodes.items()}


def sources(workflow: Workflow, name: str) -> list[tuple[str, str]]:
    return [(i.kind, i.source) for i in workflow.check().nodes[name].call.wiring]


def problems(workflow: Workflow) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        workflow.check()
    return [str(problem) for problem in caught.value.problems]


class TestInclude:
    def test_names(self) -> None:
        """Everything in it is there under the prefix."""
        inner = workflow_of("a", "b<a")
        inner.add_recovery("a", fn)
        inner.add_finalizer("f", fn)
        outer = workflow_of("a")
        outer.include(inner, prefix="i")

        plan = outer.check()

        assert edges(outer) == {"a": (), "i.a": (), "i.b": ("i.a",)}
        assert plan.nodes["i.a"].undo is not None
        assert [finalizer.name for finalizer, _ in plan.finalizers] == ["i.f"]

    def test_leaves_it(self) -> None:
        """The included workflow is left as it was, and later changes to it are not seen."""
        inner, outer = workflow_of("a"), workflow_of("x")
        before = inner.check()
        outer.include(inner, prefix="i")
        add(inner, "later")

        assert list(outer.check().nodes) == ["x", "i.a"]
        assert list(before.nodes) == ["a"]

    def test_twice(self) -> None:
        """One workflow may be included under two prefixes."""
        inner, outer = workflow_of("a", "b<a"), Workflow("w")
        outer.include(inner, prefix="eu")
        outer.include(inner, prefix="us", depends_on="eu")

        assert edges(outer) == {
            "eu.a": (),
            "eu.b": ("eu.a",),
            "us.a": ("eu.b",),
            "us.b": ("us.a",),
        }

    def test_locks(self) -> None:
        """Its locks are taken, too."""
        outer = workflow_of("x", locks=["b", "c"])
        outer.include(workflow_of("a", locks=["a", "b"]), prefix="i")

        assert outer.check().locks == ("a", "b", "c")

    def test_limit(self) -> None:
        """A workflow without a limit fits into one with."""
        outer = workflow_of("x", max_parallel=5)
        outer.include(workflow_of("a"), prefix="i")
        outer.include(workflow_of("a", max_parallel=5), prefix="j")

        assert outer.check().max_parallel == 5

    def test_functions(self) -> None:
        """A function stands for the included task that has it."""
        inner, outer = Workflow("i"), Workflow("w")
        inner.add_task("a", fn)
        outer.include(inner, prefix="i")
        outer.add_recovery(fn, lambda: None)
        outer.add_task("x", lambda: None, depends_on=fn)

        assert outer.check().nodes["i.a"].undo is not None
        assert edges(outer)["x"] == ("i.a",)

    def test_only_includes(self) -> None:
        """A workflow may be made of included ones alone."""
        outer = Workflow("w")
        outer.include(workflow_of("a"), prefix="i")

        assert list(outer.check().nodes) == ["i.a"]


class TestResolution:
    def test_inside_first(self) -> None:
        """A name means what is inside the prefix, if it is there."""
        inner = workflow_of("image")
        inner.add_task("deploy", lambda image: None)
        outer = workflow_of("image")
        outer.include(inner, prefix="i")

        assert sources(outer, "i.deploy") == [("output", "i.image")]

    def test_outwards(self) -> None:
        """Else it means what is outside, which is then waited for."""
        inner = Workflow("i")
        inner.add_task("deploy", lambda image, version: None)
        inner.add_finalizer("f", lambda image: None)
        outer = workflow_of("image", params={"version": str})
        outer.include(inner, prefix="i")

        assert sources(outer, "i.deploy") == [("output", "image"), ("param", "version")]
        assert edges(outer)["i.deploy"] == ("image",)

    def test_dependencies_outwards(self) -> None:
        """A dependency that is not inside is looked for outwards, level by level."""
        innermost = workflow_of("a<setup+start+base")
        middle = workflow_of("setup")
        middle.include(innermost, prefix="i")
        outer = workflow_of("setup", "start", "x")
        outer.include(middle, prefix="m")
        base = workflow_of("first", "second<first")
        outer.include(base, prefix="base")

        assert edges(outer)["m.i.a"] == ("m.setup", "start", "base.second")

    def test_include_waits_outwards(self) -> None:
        """What an include inside waits for is looked for outwards, too."""
        middle = workflow_of("x")
        middle.include(workflow_of("a"), prefix="i", depends_on=["x", "setup"])
        outer = workflow_of("setup")
        outer.include(middle, prefix="m")

        assert edges(outer)["m.i.a"] == ("m.x", "setup")

    def test_unknown_dependency(self) -> None:
        """What is nowhere is named where it was missed."""
        outer = workflow_of("x")
        outer.include(workflow_of("setup", "a<setpu"), prefix="i")

        (said,) = problems(outer)

        assert "task 'i.a' depends on 'i.setpu'" in said
        assert "did you mean 'i.setup'?" in said

    def test_nested(self) -> None:
        """Prefixes nest, and names are looked up through each of them."""
        innermost = Workflow("ii")
        innermost.add_task("use", lambda a, b, c: None)
        inner = workflow_of("b", "c")
        inner.include(innermost, prefix="deep")
        outer = workflow_of("a", "c")
        outer.include(inner, prefix="i")

        assert sources(outer, "i.deep.use") == [
            ("output", "a"),
            ("output", "i.b"),
            ("output", "i.c"),
        ]

    def test_output_of_included(self) -> None:
        """From outside, inputs= reaches inside by the full name."""
        outer = Workflow("w")
        outer.include(workflow_of("image"), prefix="i")
        outer.add_task("use", lambda x: None, inputs={"x": "i.image"})

        assert edges(outer)["use"] == ("i.image",)


def asking(*parameters: str, **params: Any) -> Workflow:
    """Return a workflow with one task, ``use``, that asks for *parameters*."""
    workflow = Workflow("i", params=params)
    use: Any = eval(f"lambda {', '.join(parameters)}: None")
    workflow.add_task("use", use)
    return workflow


class TestParams:
    def test_given(self) -> None:
        """params= gives values, which are defaults out here."""
        outer = Workflow("w")
        outer.include(asking("v", v=str), prefix="i", params={"v": "1"})

        plan = outer.check()

        assert sources(outer, "i.use") == [("param", "i.v")]
        assert (plan.params["i.v"].default, plan.params["i.v"].annotation) == ("1", str)

    def test_same_name(self) -> None:
        """One that has to be given comes from the parameter of the same name out here."""
        outer = Workflow("w", params={"v": int})
        outer.include(asking("v", v=str), prefix="i")

        assert sources(outer, "i.use") == [("param", "v")]

    def test_same_name_task(self) -> None:
        """Or from the task of that name."""
        outer = workflow_of("v")
        outer.include(asking("v", v=str), prefix="i")

        assert sources(outer, "i.use") == [("output", "v")]

    def test_own_default(self) -> None:
        """One with a default of its own keeps it, whatever is out here."""
        outer = Workflow("w", params={"v": "outer"})
        outer.include(asking("v", v="inner"), prefix="i")

        plan = outer.check()

        assert sources(outer, "i.use") == [("param", "i.v")]
        assert plan.params["i.v"].default == "inner"

    def test_ref_param(self) -> None:
        """A reference takes the value of a parameter with another name."""
        outer = Workflow("w", params={"release": str})
        outer.include(asking("v", v="1"), prefix="i", params={"v": Ref("release")})

        assert sources(outer, "i.use") == [("param", "release")]

    def test_ref_task(self) -> None:
        """Or the output of a task, which is then waited for."""
        outer = workflow_of("build")
        outer.include(asking("v", v=str), prefix="i", params={"v": Ref("build")})

        assert edges(outer)["i.use"] == ("build",)

    def test_ref_nested(self) -> None:
        """A reference means what its name means where it was written."""
        middle = Workflow("m", params={"image": str, "v": "wrong"})
        middle.include(asking("v", v=str), prefix="i", params={"v": Ref("image")})
        outer = Workflow("w", params={"release": str, "image": "wrong"})
        outer.include(middle, prefix="m", params={"image": Ref("release")})

        assert sources(outer, "m.i.use") == [("param", "release")]

    def test_ref_from_outside(self) -> None:
        """Who asks from outside for a parameter with a reference gets what it leads to."""
        outer = Workflow("w", params={"release": str})
        outer.include(asking("v", v=str), prefix="i", params={"v": Ref("release")})
        outer.add_task("look", lambda x: None, inputs={"x": "i.v"})

        assert sources(outer, "look") == [("param", "release")]

    def test_ref_unknown(self) -> None:
        """A reference to nothing is a problem of the task that asks."""
        outer = workflow_of("x")
        outer.include(asking("v", v=str), prefix="i", params={"v": Ref("nothing")})

        (said,) = problems(outer)

        assert "the function of 'i.use' asks for 'v', which is no task" in said

    def test_missing(self) -> None:
        """One that nothing supplies is a problem."""
        outer = workflow_of("x")
        outer.include(asking("v", v=str), prefix="i")

        (said,) = problems(outer)

        assert "the function of 'i.use' asks for 'v'" in said

    def test_map_items(self) -> None:
        """The items of a map inside come from outside in the same way."""
        inner = Workflow("i", params={"regions": list})
        inner.add_map("m", fn, over="regions")
        outer = Workflow("w", params={"areas": ["eu"]})
        outer.include(inner, prefix="i", params={"regions": Ref("areas")})

        assert outer.check().nodes["i.m"].over == ("param", "areas")

    def test_unknown(self) -> None:
        """A value for a parameter that it does not declare is a problem, with the near name."""
        outer = Workflow("w")
        outer.include(asking("version", version="1"), prefix="i", params={"verison": "2"})

        (said,) = problems(outer)

        assert "include(prefix='i', params=) gives the parameter 'verison'" in said
        assert "did you mean 'version'? declared are: 'version'" in said


class TestPrefix:
    def test_leaves(self) -> None:
        """Depending on the prefix means depending on all of its ends."""
        outer = Workflow("w")
        outer.include(workflow_of("a", "b<a", "c<a", "d"), prefix="i")
        add(outer, "after<i")

        assert edges(outer)["after"] == ("i.b", "i.c", "i.d")

    def test_implied_leaves(self) -> None:
        """A task that another one's parameter waits for is no end."""
        inner = workflow_of("a")
        inner.add_task("b", lambda a: None)
        outer = Workflow("w")
        outer.include(inner, prefix="i")
        add(outer, "after<i")

        assert edges(outer)["after"] == ("i.b",)

    def test_roots(self) -> None:
        """depends_on= holds for everything that waits for nothing inside."""
        outer = workflow_of("x")
        outer.include(workflow_of("a", "b<a", "c"), prefix="i", depends_on="x")

        assert edges(outer) == {"x": (), "i.a": ("x",), "i.b": ("i.a",), "i.c": ("x",)}

    def test_roots_that_look_outwards(self) -> None:
        """A task that waits for something outside is a beginning all the same."""
        inner = Workflow("i")
        inner.add_task("a", lambda image: None)
        add(inner, "b<other")
        outer = workflow_of("image", "x")
        outer.include(workflow_of("o"), prefix="other")
        outer.include(inner, prefix="i", depends_on=["x"])

        assert edges(outer)["i.a"] == ("image", "x")
        assert edges(outer)["i.b"] == ("other.o", "x")

    def test_nested(self) -> None:
        """A prefix within a prefix is inside of both, at the beginning and at the end."""
        middle = workflow_of("first")
        middle.include(workflow_of("a", "b<a"), prefix="i", depends_on="first")
        outer = workflow_of("x")
        outer.include(middle, prefix="m", depends_on="x")
        add(outer, "after<m", "inside<m.i")

        assert edges(outer) == {
            "x": (),
            "m.first": ("x",),
            "m.i.a": ("m.first",),
            "m.i.b": ("m.i.a",),
            "after": ("m.i.b",),
            "inside": ("m.i.b",),
        }

    def test_waits_for_nested(self) -> None:
        """What waits for a prefix inside is no beginning of the prefix around it."""
        middle = Workflow("m")
        middle.include(workflow_of("a"), prefix="i")
        middle.include(workflow_of("b"), prefix="j", depends_on="i")
        add(middle, "last<j")
        outer = workflow_of("x")
        outer.include(middle, prefix="m", depends_on="x")
        add(outer, "after<m")

        assert edges(outer) == {
            "x": (),
            "m.i.a": ("x",),
            "m.j.b": ("m.i.a",),
            "m.last": ("m.j.b",),
            "after": ("m.last",),
        }

    def test_before_the_include(self) -> None:
        """A prefix may be depended on before it is there."""
        outer = workflow_of("after<i")
        outer.include(workflow_of("a"), prefix="i")

        assert edges(outer)["after"] == ("i.a",)

    def test_large(self) -> None:
        """A thousand includes compile in a moment."""
        inner, outer = workflow_of("a", "b<a", "c<b"), workflow_of("x")
        for n in range(1_000):
            outer.include(inner, prefix=f"p{n}", depends_on=f"p{n - 1}" if n else "x")

        assert len(outer.check().stages) == 3_001

    def test_own_prefix(self) -> None:
        """What waits for its own prefix waits for itself."""
        outer = Workflow("w")
        outer.include(workflow_of("a", "b<a"), prefix="i", depends_on="i")

        (said,) = problems(outer)

        assert "i.a -> i.b -> i.a" in said


class TestConflicts:
    def test_on_failure(self) -> None:
        """A run has one answer to failures."""
        outer = workflow_of("x", on_failure="hold")
        outer.include(workflow_of("a"), prefix="i")

        (said,) = problems(outer)

        assert said == (
            "the workflow included as 'i' has on_failure='rollback', the one around it 'hold', "
            "and a run has only one; make them equal"
        )

    def test_on_locked(self) -> None:
        """A run has one way with resources that another one has; whoever has none is not asked."""
        outer = workflow_of("x", on_locked="fail")
        outer.include(workflow_of("a", locks=["b"]), prefix="i")
        outer.include(workflow_of("a"), prefix="j")

        (said,) = problems(outer)

        assert "included as 'i' has on_locked='wait', the one around it 'fail'" in said

    def test_impossible_inside(self) -> None:
        """What is no policy at all is reported once, and is no conflict besides."""
        inner: Any = {"on_failure": "explode", "max_parallel": None}
        outer = workflow_of("x")
        outer.include(workflow_of("a", **inner), prefix="i")

        (said,) = problems(outer)

        assert "in the workflow included as 'i': workflow: on_failure='explode'" in said

    def test_max_parallel(self) -> None:
        """A run has one limit."""
        outer = workflow_of("x", max_parallel=5)
        outer.include(workflow_of("a", max_parallel=3), prefix="i")

        (said,) = problems(outer)

        assert "has max_parallel=3, the one around it 5" in said

    def test_same_prefix(self) -> None:
        """A prefix is there once; both places are named."""
        outer = Workflow("w")
        outer.include(workflow_of("a"), prefix="i")
        outer.include(workflow_of("b"), prefix="i")

        (said,) = problems(outer)

        assert said.startswith("'i' is there twice, added at test_include.py:")
        assert said.count("test_include.py:") == 2

    def test_prefix_like_task(self) -> None:
        """A prefix is not called like a task."""
        outer = workflow_of("i")
        outer.include(workflow_of("a"), prefix="i")

        (said,) = problems(outer)

        assert said.startswith("'i' is there twice")

    def test_prefixes_differ_in_case(self) -> None:
        """Nor like another one but for the case."""
        outer = Workflow("w")
        outer.include(workflow_of("a"), prefix="I")
        outer.include(workflow_of("b"), prefix="i")

        (said,) = problems(outer)

        assert "'i' and 'I' differ only in upper and lower case" in said

    def test_empty(self) -> None:
        """An empty workflow is not included: who depends on it would not wait."""
        outer = workflow_of("x")
        outer.include(Workflow("nothing"), prefix="i", depends_on="x")
        add(outer, "after<i")

        (said,) = problems(outer)

        assert "the workflow included as 'i' has no tasks" in said

    def test_problems_come_along(self) -> None:
        """What is wrong inside is wrong outside, and says where."""
        inner = workflow_of("a b")
        outer = workflow_of("x")
        outer.include(inner, prefix="i")

        with pytest.raises(DefinitionError) as caught:
            outer.check()

        (problem,) = caught.value.problems
        assert isinstance(problem, InIncluded)
        assert "in the workflow included as 'i': the task name 'a b' is not allowed" in str(problem)

    @pytest.mark.parametrize("what", ["itself", "function", "none"])
    def test_no_other_workflow(self, what: str) -> None:
        """Only another workflow can be included, and not the function that makes it."""
        outer = workflow_of("x")
        other: Any = {"itself": outer, "function": workflow_of, "none": None}[what]
        outer.include(other, prefix="i", depends_on="x")
        add(outer, "after<i")

        (said,) = problems(outer)

        assert "give another Workflow; a function that returns one has to be called" in said
