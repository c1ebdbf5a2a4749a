"""Plans: order, fingerprint, equality."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyflow.define.fingerprint import Identities, stable_repr
from pyflow.define.plan import Plan, compile_plan
from pyflow.define.policies import Retry
from pyflow.define.task import Ref
from pyflow.define.workflow import Workflow
from pyflow.errors import DefinitionError
from pyflow.spans import Backoff

SRC = Path(__file__).parents[2] / "src"


def fn() -> None: ...


def other() -> None: ...


def takes(*args: Any, **kwargs: Any) -> None: ...


def workflow_of(**edges: list[str]) -> Workflow:
    workflow = Workflow("w")
    for name, deps in edges.items():
        workflow.add_task(name, fn, depends_on=deps)
    return workflow


class TestOrder:
    def test_declared(self) -> None:
        """Tasks of one stage keep the order of declaration."""
        plan = workflow_of(b=[], a=[], d=["b"], c=["a"]).check()

        assert plan.stages == (("b", "a"), ("d", "c"))
        assert list(plan.nodes) == ["b", "a", "d", "c"]

    def test_forward(self) -> None:
        """A dependency may be declared after the task that waits for it."""
        plan = workflow_of(c=["b"], b=["a"], a=[]).check()

        assert plan.stages == (("a",), ("b",), ("c",))

    def test_level(self) -> None:
        """A task stands one stage after the last thing that it waits for."""
        plan = workflow_of(a=[], b=["a"], c=["a", "b"], d=["a"]).check()

        assert plan.stages == (("a",), ("b", "d"), ("c",))

    def test_dependents(self) -> None:
        """Each node knows both of its sides, in the order of declaration."""
        plan = workflow_of(a=[], c=["a"], b=["a", "c"]).check()

        assert plan.nodes["a"].dependents == ("c", "b")
        assert plan.nodes["b"].depends_on == ("a", "c")
        assert repr(plan.nodes["a"]) == "<Node a>"

    def test_critical_path(self) -> None:
        """The critical path is a longest chain; of equal ones, the one declared first."""
        plan = workflow_of(a=[], x=[], b=["a"], y=["x"], c=["b"], z=["y", "b"]).check()

        assert plan.critical_path == ("a", "b", "c")

    def test_handler_of_the_blocked(self) -> None:
        """A task whose failure is allowed counts as failed where it is blocked."""
        workflow = workflow_of(a=[])
        workflow.add_task("b", fn, depends_on="a", allow_failure=True)
        workflow.add_task("c", fn, depends_on="b", join="failure")

        assert workflow.check().critical_path == ("a", "b", "c")

    def test_implied(self) -> None:
        """A parameter named like a task is a dependency, once."""
        workflow = workflow_of(a=[], b=[])
        workflow.add_task("c", lambda b, a: None, depends_on="a")

        assert workflow.check().nodes["c"].depends_on == ("a", "b")

    @pytest.mark.parametrize("shape", ["chain", "fan", "reversed"])
    def test_large(self, shape: str) -> None:
        """Ten thousand tasks compile, whatever their shape, without recursion."""
        count, workflow = 10_000, Workflow("w")
        for n in range(count):
            deps = {"chain": n - 1, "fan": 0, "reversed": n + 1}[shape]
            before = [f"t{deps}"] if 0 <= deps < count and n != deps else []
            workflow.add_task(f"t{n}", fn, depends_on=before)

        plan = workflow.check()

        assert len(plan.stages) == (2 if shape == "fan" else count)
        assert len(plan.critical_path) == len(plan.stages)

    def test_large_ring(self) -> None:
        """A ring of ten thousand tasks is shown in part."""
        workflow = Workflow("w")
        for n in range(10_000):
            workflow.add_task(f"t{n}", fn, depends_on=[f"t{(n + 1) % 10_000}"])

        with pytest.raises(DefinitionError) as caught:
            workflow.check()

        (problem,) = caught.value.problems
        assert "t0 -> t1 -> t2 -> t3 -> t4 -> t5 -> (9989 more) -> t9995" in str(problem)
        assert len(str(problem)) < 300

    def test_many_problems(self) -> None:
        """Thousands of problems are listed in a moment; the hints stop after some."""
        workflow = Workflow("w")
        for n in range(3_000):
            workflow.add_task(f"task-{n}", fn, depends_on=[f"tusk-{n}"])

        with pytest.raises(DefinitionError) as caught:
            workflow.check()

        said = [str(problem) for problem in caught.value.problems]
        assert len(said) == 3_000
        assert "did you mean 'task-0'" in said[0]
        assert "did you mean" not in said[-1]


class TestCompilePlan:
    def test_reads_only(self) -> None:
        """The workflow is left as it was."""
        workflow = workflow_of(a=[], b=["a"])
        before = list(workflow.tasks)

        assert compile_plan(workflow) == compile_plan(workflow)
        assert workflow.tasks == before

    def test_refuses(self) -> None:
        """What cannot be run has no plan."""
        with pytest.raises(DefinitionError, match="workflow 'w': it has no tasks"):
            compile_plan(Workflow("w"))


class TestPlan:
    def test_is_kept(self) -> None:
        """Checking again costs nothing as long as nothing changed."""
        workflow = workflow_of(a=[])

        assert workflow.check() is workflow.check()

    @pytest.mark.parametrize(
        "change",
        [
            lambda w, i: w.add_task("new", fn),
            lambda w, i: w.add_map("new", fn, over=[1]),
            lambda w, i: w.add_recovery("a", fn),
            lambda w, i: w.add_finalizer("new", fn),
            lambda w, i: w.include(i, prefix="new"),
        ],
    )
    def test_is_a_snapshot(self, change: Any) -> None:
        """A later change shows in the next plan, and in none before."""
        workflow, inner = workflow_of(a=[]), workflow_of(x=[])
        plan = workflow.check()
        shape = repr(plan), list(plan.nodes), plan.nodes["a"].undo, plan.finalizers

        change(workflow, inner)

        assert (repr(plan), list(plan.nodes), plan.nodes["a"].undo, plan.finalizers) == shape
        assert workflow.check() != plan

    @pytest.mark.parametrize(
        "mistake",
        [
            lambda w, i: w.add_task("a b", fn),
            lambda w, i: w.add_recovery("a", fn, times=0),
            lambda w, i: w.add_finalizer("a b", fn),
            lambda w, i: w.include(i, prefix="i"),
        ],
    )
    def test_sees_mistakes(self, mistake: Any) -> None:
        """A mistake after a good check is not hidden by the plan before it."""
        workflow, inner = workflow_of(a=[]), workflow_of(x=[])
        workflow.include(inner, prefix="i")
        workflow.check()

        mistake(workflow, inner)

        with pytest.raises(DefinitionError):
            workflow.check()

    def test_equality(self) -> None:
        """Equal workflows make equal plans; a plan equals nothing else."""
        one, two = workflow_of(a=[], b=["a"]).check(), workflow_of(a=[], b=["a"]).check()

        assert one == two
        assert hash(one) == hash(two)
        assert one != workflow_of(a=[], b=[]).check()
        assert one != "plan"

    def test_text(self) -> None:
        """Its text is its stages; its repr fits on a line."""
        plan = workflow_of(a=[], b=[], c=["a"]).check()

        assert str(plan) == f"plan of 'w' (3 tasks, {plan.fingerprint[:12]})\n  1. a, b\n  2. c"
        assert repr(plan).startswith("Plan(workflow_name='w', on_failure='rollback', locks=()")

    def test_never_changes(self) -> None:
        """No field of it can be assigned."""
        plan: Any = workflow_of(a=[]).check()

        with pytest.raises(AttributeError):
            plan.locks = ("a",)

    def test_returns(self) -> None:
        """A node makes the recorded output into what its function declares."""

        def port() -> int: ...
        def odd() -> Plan: ...

        workflow = Workflow("w")
        workflow.add_task("a", port)
        workflow.add_task("b", odd)
        nodes = workflow.check().nodes

        assert nodes["a"].returns(5, "a") == 5
        assert nodes["b"].returns({"k": 1}, "b") == {"k": 1}


def base(**task: Any) -> Workflow:
    """Return a workflow that uses everything, for one change at a time."""
    workflow = Workflow("w", params={"p": 1, "q": ["x"]}, locks=["l"], max_parallel=5)
    workflow.add_task("first", takes)
    workflow.add_task("a", takes, depends_on="first", **task)
    workflow.add_task("spare", takes, depends_on="first")
    workflow.add_recovery("first", fn, retry=Retry(2), timeout=5)
    return workflow


def inner(**params: Any) -> Workflow:
    workflow = Workflow("i", params={"v": str})
    workflow.add_task("x", lambda v: None)
    outside = Workflow("w", params={"one": "1", "two": "2"})
    outside.include(workflow, prefix="i", params=params)
    return outside


def recovered(**options: Any) -> Workflow:
    workflow = base()
    workflow.add_recovery("a", options.pop("fn", fn), **options)
    return workflow


def mapped(**options: Any) -> Workflow:
    workflow = Workflow("w", params={"p": [1], "q": [1]})
    options.setdefault("over", [1, 2])
    workflow.add_map("m", fn, **options)
    return workflow


def finalized(name: str = "f", fn: Any = fn, **options: Any) -> Workflow:
    workflow = base()
    workflow.add_finalizer(name, fn, **options)
    return workflow


def bare(name: str = "w", task: Any = fn, **options: Any) -> Workflow:
    workflow = Workflow(name, **options)
    workflow.add_task("a", task)
    return workflow


def ordered(*names: str) -> Workflow:
    return workflow_of(**{name: [] for name in names})


def many(n: int) -> tuple[type[Exception], ...]:
    return tuple(type(f"LongNameOfAnError{i}", (Exception,), {}) for i in range(n))


LONG = many(30)


def decorated(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper() -> None: ...

    return wrapper


class Caller:
    def __call__(self) -> None: ...


class OtherCaller:
    def __call__(self) -> None:
        """Do the same."""


CHANGES: dict[str, tuple[Workflow, Workflow]] = {
    "name": (bare("w"), bare("v")),
    "on_failure": (bare(), bare(on_failure="stop")),
    "locks": (bare(locks=["a"]), bare(locks=["b"])),
    "on_locked": (bare(), bare(on_locked="fail")),
    "max_parallel": (bare(), bare(max_parallel=1)),
    "param name": (bare(params={"p": 1}), bare(params={"q": 1})),
    "param default": (bare(params={"p": 1}), bare(params={"p": 2})),
    "param long default": (
        bare(params={"p": "x" * 300 + "a"}),
        bare(params={"p": "x" * 300 + "b"}),
    ),
    "param type": (bare(params={"p": str}), bare(params={"p": int})),
    "param none": (bare(params={"p": str}), bare(params={"p": None})),
    "param bound": (inner(v=Ref("one")), inner(v=Ref("two"))),
    "param bound to value": (inner(v="one"), inner(v="two")),
    "task name": (ordered("a", "b"), ordered("a", "c")),
    "task order": (ordered("a", "b"), ordered("b", "a")),
    "task added": (ordered("a"), ordered("a", "b")),
    "depends_on": (workflow_of(a=[], b=[]), workflow_of(a=[], b=["a"])),
    "function": (bare(), bare(task=other)),
    "join": (base(), base(join="any")),
    "when": (base(when=fn), base(when=other)),
    "retry": (base(), base(retry=Retry())),
    "retry attempts": (base(retry=Retry(2)), base(retry=Retry(3))),
    "retry wait": (base(retry=Retry(backoff=1)), base(retry=Retry(backoff=2))),
    "retry ceiling": (
        base(retry=Retry(backoff=Backoff(ceiling=5))),
        base(retry=Retry(backoff=Backoff(ceiling=6))),
    ),
    "retry on": (base(retry=Retry(on=OSError)), base(retry=Retry(on=KeyError))),
    "retry on many": (base(retry=Retry(on=LONG[:-1])), base(retry=Retry(on=LONG))),
    "retry after_crash": (base(retry=Retry()), base(retry=Retry(after_crash=True))),
    "timeout": (base(timeout=5), base(timeout=6)),
    "allow_failure": (base(), base(allow_failure=True)),
    "point_of_no_return": (base(), base(point_of_no_return=True)),
    "effect": (base(), base(effect=False)),
    "isolation": (base(), base(isolation="inline")),
    "skippable": (base(), base(skippable=True)),
    "step": (base(skippable="a"), base(skippable="b")),
    "skip_on_promotion": (base(), base(skip_on_promotion=True)),
    "background": (base(), base(background=True)),
    "on_interrupt": (base(), base(on_interrupt="rerun")),
    "on_interrupt function": (base(on_interrupt=fn), base(on_interrupt=other)),
    "map items": (mapped(), mapped(over=[1, 3])),
    "map many items": (mapped(over=[*range(500), 1]), mapped(over=[*range(500), 2])),
    "map source": (mapped(over="p"), mapped(over="q")),
    "map tolerate": (mapped(), mapped(tolerate=1)),
    "map max_parallel": (mapped(), mapped(max_parallel=1)),
    "undo": (base(), recovered()),
    "undo function": (recovered(), recovered(fn=other)),
    "undo timeout": (recovered(), recovered(timeout=5)),
    "undo retry": (recovered(), recovered(retry=Retry(2))),
    "repair": (recovered(), recovered(then="retry")),
    "repair then": (recovered(then="continue"), recovered(then="retry")),
    "repair on": (recovered(then="retry"), recovered(then="retry", on=OSError)),
    "repair times": (recovered(then="retry"), recovered(then="retry", times=2)),
    "repair timeout": (recovered(then="retry"), recovered(then="retry", timeout=1)),
    "finalizer": (base(), finalized()),
    "finalizer name": (finalized(), finalized("g")),
    "finalizer function": (finalized(), finalized(fn=other)),
    "finalizer timeout": (finalized(), finalized(timeout=5)),
}


class TestFingerprint:
    @pytest.mark.parametrize("kind", CHANGES)
    def test_changes(self, kind: str) -> None:
        """Whatever changes in the definition changes the fingerprint."""
        before, after = CHANGES[kind]

        assert before.check().fingerprint != after.check().fingerprint

    def test_inputs(self) -> None:
        """inputs= is part of the definition."""

        def of(source: str) -> str:
            workflow = Workflow("w", params={"p": 1, "q": 1})
            workflow.add_task("a", lambda x: None, inputs={"x": source})
            return workflow.check().fingerprint

        assert of("p") == of("p") != of("q")

    def test_equal(self) -> None:
        """The same definition has the same fingerprint each time it is written."""
        for _ in range(2):
            assert base().check().fingerprint == base().check().fingerprint
            assert mapped().check().fingerprint == mapped().check().fingerprint

    def test_spelling(self) -> None:
        """How a span or a lock list was spelt is not part of the definition."""
        retry = Retry(backoff="60s")
        one = base(timeout="1m", retry=retry).check()
        two = base(timeout=60, retry=Retry(backoff=Backoff("1m", factor=2))).check()

        assert one.fingerprint == two.fingerprint
        assert bare(locks=["a", "b"]).check() == bare(locks=["b", "a", "b"]).check()

    def test_objects(self) -> None:
        """The address of an object is not part of the definition."""

        class Probe:
            pass

        class Broken:
            def __repr__(self) -> str:
                raise OSError

        for made in (Probe, Broken):
            assert bare(params={"p": made()}).check() == bare(params={"p": made()}).check()
        assert stable_repr(Broken()).endswith("Broken>")

    def test_digests(self) -> None:
        """Each task has a digest of its own, so that a change can be named."""
        before, after = base().check().digests, base(timeout=5).check().digests

        assert [name for name in before if before[name] != after[name]] == ["a"]


def identity(fn: Any) -> str:
    said = Identities().function(fn)
    assert said is not None
    return said


def load(path: Path, source: str, name: str = "fn") -> Any:
    """Return what *source* calls *name*, loaded from the file at *path*."""
    path.write_text(source, "utf-8")
    spec = importlib.util.spec_from_file_location("written", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(source, str(path), "exec"), module.__dict__)
    return getattr(module, name)


class TestIdentity:
    def test_none(self) -> None:
        """No function has no identity."""
        assert Identities().function(None) is None

    def test_name(self) -> None:
        """A function is known by its qualified name."""
        assert f"{__name__}.fn:" in identity(fn)
        assert identity(Caller().__call__).startswith(f"{__name__}.Caller.__call__:")
        assert identity(len).startswith("builtins.len:")
        assert identity(fn) != identity(other)

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("def fn():\n    return 1\n", "def fn():\n    return 2\n"),
            ("fn = lambda: 1\n", "fn = lambda: 2\n"),
            (
                "def fn():\n    return lambda: (\n        1\n    )\n",
                "def fn():\n    return lambda: (\n        2\n    )\n",
            ),
            (
                "def fn():\n    def g():\n        return 1\n",
                "def fn():\n    def g():\n        return 2\n",
            ),
            (
                "def fn():\n    class A:\n        def g(self):\n            return 1\n",
                "def fn():\n    class A:\n        def g(self):\n            return 2\n",
            ),
            (
                "def fn():\n    return '''a\n    b'''\n",
                "def fn():\n    return '''a\n    c'''\n",
            ),
            (
                "class Call:\n    def __call__(self):\n        return 1\nfn = Call()\n",
                "class Call:\n    def __call__(self):\n        return 2\nfn = Call()\n",
            ),
            (
                "class fn:\n    def __init__(self):\n        self.x = 1\n",
                "class fn:\n    def __init__(self):\n        self.x = 2\n",
            ),
            *(
                (
                    f"import functools\n{around}\ndef inner():\n    return 1\nfn = wrap(inner)\n",
                    f"import functools\n{around}\ndef inner():\n    return 2\nfn = wrap(inner)\n",
                )
                for around in (
                    "wrap = functools.cache",
                    "wrap = functools.partial",
                    "wrap = lambda fn: functools.wraps(fn)(lambda: 5)",
                    "wrap = lambda fn: functools.partial(functools.cache(functools.partial(fn)))",
                )
            ),
        ],
    )
    @pytest.mark.parametrize("kept", ["file", "memory"])
    def test_source(self, before: str, after: str, kept: str, tmp_path: Path) -> None:
        """An edited function is another one, wherever its source is kept."""
        path = tmp_path / "written.py"

        def written(source: str) -> str:
            found = load(path, source)
            if kept == "memory":
                path.unlink()
            return identity(found)

        first = written(before)
        again = written(before)
        changed = written(after)

        assert first == again != changed

    def test_defaults(self, tmp_path: Path) -> None:
        """Defaults are part of the source."""
        one = identity(load(tmp_path / "a.py", "def fn(a=1):\n    ...\n"))
        two = identity(load(tmp_path / "b.py", "def fn(a=2):\n    ...\n"))

        assert one != two

    def test_without_columns(self, tmp_path: Path) -> None:
        """An inner function counts where Python keeps no ends of expressions, too."""
        said: list[str] = []
        for answer in (1, 2):
            source = f"def fn():\n    def g():\n        x = 0\n        return {answer}\n"
            (tmp_path / "written.py").write_text(source, "utf-8")
            program = "import written; from pyflow.define.fingerprint import Identities as I; "
            said.append(python("-X", "no_debug_ranges", "-c", program + NAME_IT, path=tmp_path))

        assert said[0] != said[1]

    def test_elsewhere_in_the_file(self, tmp_path: Path) -> None:
        """What changes around a function leaves it what it was."""
        body = "def fn():\n    return 1\n"

        one = identity(load(tmp_path / "a.py", body))
        two = identity(load(tmp_path / "b.py", f"import os\n\n\n{body}\nX = 5\n"))

        assert one == two

    def test_decorator(self) -> None:
        """A decorator around a function is part of it."""
        assert identity(fn) != identity(decorated(fn))

    def test_partial(self) -> None:
        """What a partial fixes is part of it, and its address is not."""
        eu, us = (functools.partial(takes, region, depth=1) for region in ("eu", "us"))

        assert identity(eu) == identity(functools.partial(takes, "eu", depth=1)) != identity(us)
        assert identity(functools.partial(takes, object())) == identity(
            functools.partial(takes, object())
        )

    def test_objects(self) -> None:
        """Callable objects go by their class."""
        assert identity(Caller()) == identity(Caller()) != identity(OtherCaller())

    def test_constants_in_memory(self) -> None:
        """Without a source, constants that have no order are put into one."""

        def made(source: str) -> Any:
            space: dict[str, Any] = {"__name__": "made"}
            exec(source, space)
            return space["fn"]

        source = "def fn(x):\n    return x in {'a', 'b', 'c'}\n"

        assert identity(made(source)) == identity(made(source))
        assert identity(made(source)) != identity(made(source.replace("'c'", "'d'")))


NAME_IT = "print(I().function(written.fn))"


def python(*arguments: str, path: Path = SRC, seed: int = 0) -> str:
    """Return what a fresh interpreter prints, with *path* to import from besides."""
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(path), str(SRC)]),
        "PYTHONHASHSEED": str(seed),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout


PROGRAM = """
import pyflow
def fn(): ...
def check(x): return x in {'a', 'b', 'c', 'd'}
wf = pyflow.Workflow("w", params={"p": {"k": 1, "a": 2}, "o": object()}, locks={"x", "y", "z"})
for name in "cabd":
    wf.add_task(name, fn)
wf.add_task("last", check, depends_on={"a", "b", "c", "d"}, inputs={"x": "p"}, when=lambda b, a: 1)
exec("def made(x): return x in {'p', 'q', 'r', 's'}")
wf.add_task("made", made, inputs={"x": "p"})
plan = wf.check()
print(plan.fingerprint, plan.stages, plan.critical_path, plan.nodes["last"].depends_on)
"""


class TestHashSeed:
    def test_independent(self, tmp_path: Path) -> None:
        """The same program has the same plan in every process, whatever the hash seed."""
        program = tmp_path / "program.py"
        program.write_text(PROGRAM, "utf-8")

        said = {python(str(program), seed=seed) for seed in (0, 1, 4_242)}

        assert len(said) == 1
        assert "('a', 'b', 'c', 'd')" in said.pop()
