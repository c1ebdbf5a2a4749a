"""One table of definitions that cannot be run, and what is said about each.

Each holds one mistake, and gets one problem that shows what was seen, what was
expected and what to do. Nothing is recorded, and nothing is called.
"""

from __future__ import annotations

import functools
import itertools
import math
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from pyflow.define import problems as kinds
from pyflow.define.policies import Retry
from pyflow.define.task import Ref
from pyflow.define.workflow import Workflow
from pyflow.errors import DefinitionError
from pyflow.run.engine import Engine
from pyflow.secrets import Secret

if TYPE_CHECKING:
    from somewhere import Ghost  # type: ignore[import-not-found]

Build: TypeAlias = Callable[[Workflow], object]

called: list[str] = []


def work() -> None:
    called.append("work")


def again() -> None:
    called.append("again")


async def coroutine() -> None:
    called.append("coroutine")


def generator() -> Any:
    yield called.append("generator")


async def async_generator() -> Any:
    yield called.append("async generator")


class Service:
    def deploy(self) -> None:
        called.append("deploy")

    def __call__(self) -> None:
        called.append("call")

    @classmethod
    def make(cls) -> None:
        called.append("make")


def haunted(first: Ghost) -> None:
    called.append("haunted")


def grouped(first: set[int]) -> None:
    called.append("grouped")


def task(name: Any = "it", fn: Any = work, **options: Any) -> Build:
    """Return what adds a task."""
    return lambda workflow: workflow.add_task(name, fn, **options)


def map_of(**options: Any) -> Build:
    options.setdefault("over", [1])
    return lambda workflow: workflow.add_map("it", work, **options)


def recovery(of: Any = "first", fn: Any = work, **options: Any) -> Build:
    return lambda workflow: workflow.add_recovery(of, fn, **options)


def finalizer(name: Any = "end", fn: Any = work, **options: Any) -> Build:
    return lambda workflow: workflow.add_finalizer(name, fn, **options)


def include(prefix: Any = "inner", **options: Any) -> Build:
    inner = Workflow("inner")
    inner.add_task("a", again)
    return lambda workflow: workflow.include(inner, prefix=prefix, **options)


def each(*steps: Build) -> Build:
    def take(workflow: Workflow) -> None:
        for step in steps:
            step(workflow)

    return take


def closure() -> Any:
    def inside() -> None:
        called.append("inside")

    return inside


def renamed(name: str, module: str = __name__) -> Any:
    """Return a function that goes by *name*."""
    fn = types.FunctionType(work.__code__, globals())
    fn.__qualname__, fn.__module__ = name, module
    return fn


CASES: list[tuple[str, Build, str, tuple[str, ...]]] = []


def case(name: str, build: Build, kind: str, *says: str) -> None:
    CASES.append((name, build, kind, says))


# Graphs -----------------------------------------------------------------------------------

case(
    "cycle",
    each(task("a", depends_on="b"), task("b", depends_on="c"), task("c", depends_on="a")),
    "Cycle",
    "these tasks wait for one another: a -> b -> c -> a",
    "take one of the dependencies out",
)
case(
    "cycle behind others",
    each(
        task("z", depends_on="y"), task("x", depends_on="y"), task("y", depends_on=["first", "x"])
    ),
    "Cycle",
    "x -> y -> x",
)
case(
    "cycle by parameter",
    each(task("a", lambda b: 1), task("b", lambda a: 1)),
    "Cycle",
    "a -> b -> a",
)
case(
    "itself", task("a", depends_on="a"), "Cycle", "task 'a' waits for itself: a -> a", "take it out"
)
case("itself by parameter", task("a", lambda a: 1), "Cycle", "task 'a' waits for itself")
case(
    "itself by map", lambda w: w.add_map("a", work, over="a"), "Cycle", "task 'a' waits for itself"
)
case(
    "unknown dependency",
    task(depends_on=["first", "frist"]),
    "UnknownDependency",
    "task 'it' depends on 'frist', which this workflow lacks",
    "did you mean 'first'?",
    "add that task, or take it out of depends_on=",
)
case("unknown like nothing", task(depends_on=["zzz"]), "UnknownDependency", "lacks; add that task")
case("unknown dependency of include", include(depends_on="frist"), "UnknownDependency", "'inner.a'")
case(
    "duplicate",
    each(task("it"), task("it", again)),
    "DuplicateName",
    "'it' is there twice, added at test_bad_definitions.py:",
    "and at test_bad_definitions.py:",
    "give one of them another name",
)
case("task like finalizer", finalizer("first"), "DuplicateName", "'first' is there twice")
case(
    "case",
    task("FIRST"),
    "ClashingNames",
    "'FIRST' and 'first' differ only in upper and lower case",
)
case("case of finalizer", finalizer("First"), "ClashingNames", "rename one of them")
case(
    "failure of nothing",
    task(join="failure"),
    "ImpossibleJoin",
    "join='failure'",
    "depends on nothing",
)
case("any of nothing", task(join="any"), "ImpossibleJoin", "join='any'", "so it can never run")
case(
    "failure of the unfailing",
    each(task("safe", allow_failure=True), task(join="failure", depends_on="safe")),
    "ImpossibleJoin",
    "nothing that it depends on can count as failed",
)

# Names ------------------------------------------------------------------------------------

HOSTILE: dict[str, Any] = {
    "slash": "a/b",
    "parent": "..",
    "dot": "a.b",
    "nul": "a\0b",
    "newline": "a\nb",
    "last newline": "a\n",
    "right to left": "a\u202eb",
    "ansi": "\x1b[31mred\x1b[0m",
    "long": "x" * 10_000,
    "too long": "x" * 101,
    "emoji": "deploy🚀",
    "accent": "é",
    "accent in parts": "e\u0301",
    "wide": "\uff41",
    "digit first": "1a",
    "empty": "",
    "blank": "  ",
    "inner blank": "a b",
    "none": None,
    "number": 5,
    "bytes": b"a",
    "list": ["a"],
    "surrogate": "\ud800",
    "secret": Secret("hunter2hunter2"),
    "device": "CON",
    "device with number": "lpt1",
    "markup": "<b>",
    "template": "${x.__class__}",
}
for label, name in HOSTILE.items():
    for what, build in (
        ("task", task(name)),
        ("finalizer", finalizer(name)),
        ("prefix", include(name)),
    ):
        case(f"{what}: {label}", build, "BadName", f"the {what} name ", " is not allowed; ")
for name in ("ctx", "item"):
    case(f"task {name}", task(name), "BadName", "gets something else; choose another")
case(
    "decorated without a name",
    lambda w: w.task(functools.partial(work)),
    "BadName",
    "the task name ''",
)
case("decorated lambda", lambda w: w.task(lambda: None), "BadName", "'<lambda>'", "use letters")

# Functions --------------------------------------------------------------------------------

FUNCTIONS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "called coroutine": (
        lambda: coroutine(),
        ("is the coroutine that coroutine() returned; pass the function itself, without ()",),
    ),
    "generator": (lambda: generator, ("is a generator function", "return instead of yield")),
    "async generator": (lambda: async_generator, ("is a generator function",)),
    "called generator": (lambda: generator(), ("is <generator object", "pass a function")),
    "text": (lambda: "work", ("is 'work', which cannot be called; pass a function",)),
    "none": (lambda: None, ("is None, which cannot be called",)),
    "result": (lambda: {"a": 1}, ("is {'a': 1}, which cannot be called",)),
    "no signature": (lambda: dict, ("whose signature cannot be read; wrap it in a def",)),
    "position": (lambda: len, ("takes 'obj' by position only; drop the /, or wrap it",)),
}
for label, (make, says) in FUNCTIONS.items():
    for what, role, build in (
        ("task", "function", lambda w, make=make: w.add_task("it", make())),
        ("map", "function", lambda w, make=make: w.add_map("it", make(), over=[1])),
        ("undo", "undo", lambda w, make=make: w.add_recovery("first", make())),
        ("repair", "repair", lambda w, make=make: w.add_recovery("first", make(), then="retry")),
        ("finalizer", "finalizer", lambda w, make=make: w.add_finalizer("end", make())),
        ("when", "when=", lambda w, make=make: w.add_task("it", work, when=make())),
        (
            "on_interrupt",
            "on_interrupt=",
            lambda w, make=make: w.add_task("it", work, on_interrupt=make()),
        ),
    ):
        if (what, label) not in {
            ("when", "none"),
            ("on_interrupt", "text"),
        }:  # options of their own
            case(f"{what}: {label}", build, "BadFunction", f"the {role} of '", *says)
case(
    "dependency: called coroutine",
    lambda w: w.add_task("it", work, depends_on=coroutine()),  # type: ignore[arg-type]
    "UnknownFunction",
    "refers to the function coroutine, which no task here has",
)
case(
    "dependencies: called coroutine",
    lambda w: w.add_task("it", work, depends_on=[coroutine()]),  # type: ignore[list-item]
    "UnknownFunction",
    "add its task before, or give the task's name",
)
case(
    "async on a thread",
    task(fn=coroutine, isolation="thread"),
    "BadFunction",
    "is async",
    "leave it out",
)

# Isolation --------------------------------------------------------------------------------

for label, fn, seen in (
    ("lambda", lambda: None, "it is a lambda"),
    ("partial", functools.partial(work), "has no name of its own"),
    ("method", Service().deploy, "Service.deploy is something else"),
    ("object", Service(), "has no name of its own"),
    ("closure", closure(), "closure.<locals>.inside is defined inside a function"),
    ("program", renamed("work", "__main__"), "work is defined in the program itself"),
    ("renamed", renamed("again"), ".again is something else"),
    ("gone", renamed("gone"), ".gone is something else"),
):
    case(
        f"isolated {label}",
        task(fn=fn, isolation="process"),
        "NotIsolatable",
        "the function of 'it' runs with isolation=\"process\", but ",
        seen,
        "; define it at the top of a module that can be imported",
    )
case(
    "isolated undo",
    each(task(isolation="process"), recovery("it", lambda: None)),
    "NotIsolatable",
    "the undo of 'it' runs with isolation=\"process\"",
)

# Inputs -----------------------------------------------------------------------------------

case(
    "no source",
    task(fn=lambda frist: 1),
    "MissingInput",
    "the function of 'it' asks for 'frist', which is no task",
    "did you mean 'first'?",
    "declare it in params=, name a task so, or give it a default",
)
case("undo without source", recovery(fn=lambda nothing: 1), "MissingInput", "the undo of 'first'")
case(
    "finalizer without source",
    finalizer(fn=lambda nothing: 1),
    "MissingInput",
    "the finalizer of 'end'",
)
case(
    "handler without source",
    task(fn=lambda nothing: 1, join="failure"),
    "MissingInput",
    "'nothing'",
)
case(
    "condition with ctx",
    task(when=lambda ctx: 1),
    "BadFunction",
    "asks for ctx, which it does not get",
)
case("over nothing", map_of(over="regions"), "MissingInput", "over= of 'it' asks for 'regions'")
case("over a wrong reference", map_of(over=Ref("frist")), "MissingInput", "did you mean 'first'?")
case(
    "unknown input",
    task(fn=lambda x: 1, inputs={"x": "frist"}),
    "UnknownInput",
    "inputs= with 'x' from 'frist', which is no task and no parameter",
    "did you mean 'first'? name one that is",
)
case(
    "unused input",
    task(fn=lambda image: 1, inputs={"imgae": "first", "image": "first"}),
    "UnusedInput",
    "inputs= with 'imgae', which its functions do not ask for",
    "did you mean 'image'? they ask for: 'image'",
)
case("input of nothing", task(inputs={"x": "first"}), "UnusedInput", "they ask for: nothing")
case(
    "unresolvable annotation",
    task(fn=haunted),
    "UndecodableInput",
    "'Ghost' has no meaning",
    "import",
)
case(
    "undecodable annotation",
    task(fn=grouped),
    "UndecodableInput",
    "set cannot be made from stored data",
)
case(
    "undo with undecodable annotation",
    each(task(), recovery("it", grouped)),
    "UndecodableInput",
    "the undo of 'it' asks for 'first'",
)

# Recoveries -------------------------------------------------------------------------------

case(
    "two undos",
    each(recovery(), recovery(fn=again)),
    "DuplicateUndo",
    "task 'first' has two undos, added at test_bad_definitions.py:",
    'then="retry"',
)
case(
    "recovery for nobody",
    recovery("frist"),
    "UnknownRecovered",
    "the recovery added at test_bad_definitions.py:",
    "is for 'frist', which is no task; did you mean 'first'? add the task, or take the recovery out",
)
case("recovery for a strange function", recovery(again), "UnknownFunction", "the recovery added at")
case(
    "recovery for a number",
    recovery(5),
    "UnknownFunction",
    "refers to the function 5, which no task",
)
case(
    "recovery for a shared function",
    each(task("a", again), task("b", again), recovery(again)),
    "UnknownFunction",
    "which several tasks have: 'a', 'b'",
)

# Options ----------------------------------------------------------------------------------

SPANS = [0, -1, math.nan, math.inf, "5", "", "soon", True, [], "9" * 39 + "d", 10**400]
LIMITS = [0, -1, 1.5, 10**9, True, "5", math.nan]
NOT_RETRY = [3, True, "3", {"attempts": 3}, Retry]
NOT_BOOL = [None, 0, "no", []]
OPTIONS: dict[str, tuple[Callable[..., Any], dict[str, list[Any]], str]] = {
    "task": (
        task,
        {
            "depends_on": [5, None, True, 1.5],
            "join": ["sometimes", None, 5, [], "SUCCESS"],
            "retry": NOT_RETRY,
            "timeout": SPANS,
            "allow_failure": NOT_BOOL,
            "point_of_no_return": NOT_BOOL,
            "effect": NOT_BOOL,
            "on_interrupt": ["maybe", "", "ASK"],
            "isolation": ["docker", 5, []],
            "inputs": [5, "x", ["x"], {"x": 5}, {5: "first"}],
        },
        "task 'it': ",
    ),
    "map": (
        map_of,
        {
            "over": [5, None, "", b"ab", {"a", "b"}, frozenset("ab"), [object()], [math.nan]],
            "max_parallel": LIMITS,
            "tolerate": [-1, 1.5, 10**9, None, True, "1"],
            "timeout": SPANS[:2],
        },
        "task 'it': ",
    ),
    "recovery": (
        recovery,
        {
            "then": ["undo", "skip", 5, []],
            "on": [None, (), "OSError", [OSError], int, OSError()],
            "times": [0, -1, 1.5, 10**9, None, True],
            "retry": NOT_RETRY,
            "timeout": SPANS,
        },
        "the recovery added at test_bad_definitions.py:",
    ),
    "finalizer": (finalizer, {"timeout": SPANS}, "finalizer 'end': "),
    "include": (include, {"depends_on": [5, None], "params": [5, [1]]}, "include 'inner': "),
}
for label, (build_with, options, subject) in OPTIONS.items():
    for option, values in options.items():
        for count, value in enumerate(values):
            case(
                f"{label} {option} {count}",
                build_with(**{option: value}),
                "BadOption",
                subject,
                f"{option}=",
                " is not possible; ",
            )
case(
    "called coroutine for items", lambda w: map_of(over=coroutine())(w), "BadOption", "over=<corou"
)
case(
    "called coroutine for a workflow",
    lambda w: w.include(coroutine(), prefix="i"),  # type: ignore[arg-type]
    "BadOption",
    "other=<coroutine",
)
case("endless items", map_of(over=itertools.count()), "BadOption", "at most 100000 items")
case("set of items", map_of(over={"a"}), "BadOption", "over={'a'}", "give a list")
case("items that cannot be stored", map_of(over=[{"a": {1}}]), "BadOption", "over[0].a")
case(
    "a name for the function",
    lambda w: w.task("it"),  # type: ignore[type-var]
    "BadOption",
    "write @workflow.task",
)
case(
    "no workflow",
    lambda w: w.include(case, prefix="inner"),  # type: ignore[arg-type]
    "BadOption",
    "other=<function case",
)
case(
    "empty include", lambda w: w.include(Workflow("e"), prefix="i"), "EmptyInclude", "has no tasks"
)
case(
    "policy", lambda w: include_held(w), "PolicyConflict", "'hold'", "'rollback'", "make them equal"
)
case(
    "unknown parameter of include",
    include(params={"x": 1}),
    "UnknownParam",
    "include(prefix='inner', params=) gives the parameter 'x'",
)


def include_held(workflow: Workflow) -> None:
    inner = Workflow("inner", on_failure="hold")
    inner.add_task("a", again)
    workflow.include(inner, prefix="inner")


WHOLE: list[tuple[str, dict[str, Any], str, tuple[str, ...]]] = [
    *(
        (f"name: {label}", {"name": name}, "BadName", ("the workflow name ", " is not allowed"))
        for label, name in HOSTILE.items()
    ),
    *(
        (
            f"parameter: {label}",
            {"params": {name: 1}},
            "BadName",
            ("the parameter name ", " is not allowed"),
        )
        for label, name in HOSTILE.items()
        if label not in ("list", "secret")
    ),
    ("parameter ctx", {"params": {"ctx": 1}}, "BadName", ("'ctx'", "choose another")),
    ("parameter first", {"params": {"first": 1}}, "DuplicateName", ("(params=) and at",)),
    ("parameter First", {"params": {"First": 1}}, "ClashingNames", ("'First'",)),
    *(
        (f"params {n}", {"params": value}, "BadOption", ("params=", "give a dict"))
        for n, value in enumerate([5, "x", [1], {1}, Workflow])
    ),
    *(
        (
            f"default {n}",
            {"params": {"p": value}},
            "BadParam",
            ("parameter 'p': the default cannot",),
        )
        for n, value in enumerate(
            [{1}, b"x", math.nan, math.inf, 10**400, {"a": {1: 2}}, [object()]]
        )
    ),
    *(
        (f"on_failure {n}", {"on_failure": value}, "BadOption", ("on_failure=", "rollback, stop"))
        for n, value in enumerate(["explode", None, 5, True, []])
    ),
    *(
        (f"on_locked {n}", {"on_locked": value}, "BadOption", ("on_locked=", "wait, fail, cancel"))
        for n, value in enumerate(["explode", None, 5, True, []])
    ),
    *(
        (f"max_parallel {n}", {"max_parallel": value}, "BadOption", ("max_parallel=", "from 1 to"))
        for n, value in enumerate(LIMITS)
    ),
    *(
        (f"locks {n}", {"locks": value}, "BadOption", ("locks=", "name resources in printable"))
        for n, value in enumerate(
            [
                5,
                None,
                "",
                " ",
                "a ",
                "a\n",
                "a\0",
                "\u202e",
                "\x1b[0m",
                "x" * 201,
                ["a", 5],
                ["a", None],
                [Secret("hunter2hunter2")],
            ]
        )
    ),
]


@pytest.fixture(autouse=True)
def nothing_called() -> Any:
    called.clear()
    yield
    assert called == []


def refused(workflow: Workflow) -> DefinitionError:
    """Return the error that both check and execute give; nothing is recorded."""
    engine = Engine()
    with pytest.raises(DefinitionError) as checked:
        workflow.check()
    with pytest.raises(DefinitionError) as executed:
        engine.execute(workflow)

    assert str(executed.value) == str(checked.value)
    assert engine.journal.runs() == []
    return checked.value


def is_fit_to_print(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text) < 1_200 and "hunter2" not in text


class TestMistakes:
    @pytest.mark.parametrize(
        ("build", "kind", "says"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
    )
    def test_one(self, build: Build, kind: str, says: tuple[str, ...]) -> None:
        """One mistake makes one problem, which says what was seen and what to do."""
        workflow = Workflow("w")
        workflow.add_task("first", work)
        build(workflow)

        error = refused(workflow)

        (problem,) = error.problems
        assert type(problem).__name__ == kind
        assert [part for part in says if part not in str(problem)] == []
        assert str(error) == f"workflow 'w': {problem}"
        assert is_fit_to_print(str(error).replace("…", ""))

    @pytest.mark.parametrize(
        ("options", "kind", "says"), [c[1:] for c in WHOLE], ids=[c[0] for c in WHOLE]
    )
    def test_whole(self, options: dict[str, Any], kind: str, says: tuple[str, ...]) -> None:
        """So does a mistake in the workflow's own options."""
        workflow = Workflow(
            options.get("name", "w"), **{k: v for k, v in options.items() if k != "name"}
        )
        workflow.add_task("first", work)

        error = refused(workflow)

        (problem,) = error.problems
        assert type(problem).__name__ == kind
        assert [part for part in says if part not in str(problem)] == []
        assert is_fit_to_print(str(error).replace("…", ""))

    def test_empty(self) -> None:
        """A workflow without tasks is a mistake, and no success."""
        error = refused(Workflow("w"))

        assert error.problems == (kinds.EmptyWorkflow(),)
        assert "it has no tasks, so there is nothing to run; add one with add_task" in str(error)

    def test_empty_with_others(self) -> None:
        """An empty workflow may have other mistakes besides."""
        workflow = Workflow("w", on_failure="x", max_parallel=0)  # type: ignore[arg-type]
        workflow.add_finalizer("a b", work)

        assert len(refused(workflow).problems) == 4

    def test_every_kind(self) -> None:
        """The table holds every kind of problem that a check can find."""
        elsewhere = {"EmptyWorkflow", "InIncluded", "NamedLikeSecret"}

        assert {kind for _, _, kind, _ in (*CASES, *WHOLE)} | elsewhere == set(kinds.__all__)


class TestIsolated:
    @pytest.mark.parametrize("fn", [work, coroutine, Service.make, Service])
    def test_fine(self, fn: Any) -> None:
        """What can be imported by its name may run in a process of its own."""
        workflow = Workflow("w")
        workflow.add_task("it", fn, when=lambda: True, isolation="process")

        assert workflow.check().nodes["it"].task.isolation == "process"


class TestAllAtOnce:
    def test_five(self) -> None:
        """Five different mistakes make five problems."""
        workflow = Workflow("w", on_failure="explode")  # type: ignore[arg-type]
        workflow.add_task("a b", work)
        workflow.add_task("c", work, depends_on="nothing")
        workflow.add_task("d", lambda nothing: None)
        workflow.add_task("e", work, depends_on="e")

        said = [type(problem).__name__ for problem in refused(workflow).problems]

        assert said == ["BadOption", "BadName", "MissingInput", "UnknownDependency", "Cycle"]

    def test_one_of_each(self) -> None:
        """Mistakes of every step are found together, each once."""
        workflow = Workflow("w", locks=[""], params={"p": {1}})
        workflow.add_task("a", work)
        workflow.add_task("a", work)
        workflow.add_task("B", work)
        workflow.add_task("b", work)
        workflow.add_task("c", None)  # type: ignore[arg-type]
        workflow.add_task("d", work, join="any")
        workflow.add_task("e", lambda: None, isolation="process")
        workflow.add_recovery("nobody", work)
        workflow.add_task("f", lambda x: None, inputs={"x": "nowhere"})
        workflow.add_task("g", work, depends_on="h")
        workflow.add_task("h", work, depends_on="g")
        workflow.add_task("i", work, depends_on="j")
        workflow.add_task("j", work, depends_on="i")
        workflow.include(Workflow("empty"), prefix="k", depends_on="nowhere")

        said = sorted(type(problem).__name__ for problem in refused(workflow).problems)

        assert said == [
            "BadFunction",
            "BadOption",
            "BadParam",
            "ClashingNames",
            "Cycle",
            "Cycle",
            "DuplicateName",
            "EmptyInclude",
            "ImpossibleJoin",
            "NotIsolatable",
            "UnknownInput",
            "UnknownRecovered",
        ]

    def test_duplicates(self) -> None:
        """Of two tasks with one name, the one that was there first is looked at further."""
        workflow = Workflow("w")
        workflow.add_task("a", work, depends_on="nothing")
        workflow.add_task("a", work)

        said = [type(problem).__name__ for problem in refused(workflow).problems]

        assert said == ["DuplicateName", "UnknownDependency"]

    def test_numbered(self) -> None:
        """Several problems are numbered, one on each line."""
        workflow = Workflow("w")
        workflow.add_task("a b", work)
        workflow.add_task("c", work, depends_on="nothing")

        lines = str(refused(workflow)).splitlines()

        assert lines[0] == "workflow 'w': 2 problems"
        assert [line[:5] for line in lines[1:]] == ["  1. ", "  2. "]

    def test_many_cycles(self) -> None:
        """Of many cycles, the opening ones are shown."""
        workflow = Workflow("w")
        for n in range(50):
            workflow.add_task(f"a{n}", work, depends_on=f"b{n}")
            workflow.add_task(f"b{n}", work, depends_on=f"a{n}")

        found = refused(workflow).problems

        assert len(found) == 20
        assert "a0 -> b0 -> a0" in str(found[0])

    def test_unreadable_functions(self) -> None:
        """What hangs on a function that cannot be read is not guessed at."""
        workflow = Workflow("w")
        workflow.add_task("a", None, when=5, inputs={"x": "y"}, join="failure")  # type: ignore[arg-type]

        said = [type(problem).__name__ for problem in refused(workflow).problems]

        assert said == ["BadFunction", "BadFunction", "UnknownInput"]
