"""From signatures to the sources of arguments."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol
from unittest import mock

import pytest

from pyflow.define.task import MISSING, Param, Ref
from pyflow.define.wiring import (
    Input,
    Names,
    innermost,
    is_async,
    outer,
    read_signature,
    unusable,
)
from pyflow.define.workflow import Workflow
from pyflow.errors import CodecError, DefinitionError

if TYPE_CHECKING:
    from decimal import Decimal as Ghost


@dataclass(frozen=True)
class Image:
    tag: str


class Probe(Protocol):
    async def read(self) -> str: ...


def build() -> Image:
    return Image("x")


def untyped(): ...


def wired(fn: Any, **options: Any) -> dict[str, Input]:
    """Return the inputs of *fn* in a workflow with a task, a parameter and a map."""
    workflow = Workflow("w", params={"version": str, "replicas": 2, "probe": Probe})
    workflow.add_task("build", build)
    workflow.add_task("untyped", untyped)
    workflow.add_map("each", untyped, over=["a"])
    workflow.add_task("it", fn, **options)
    return {i.argument: i for i in workflow.check().nodes["it"].call.wiring}


def problem(fn: Any, **options: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        wired(fn, **options)
    (only,) = caught.value.problems
    return str(only)


class TestSources:
    def test_nothing(self) -> None:
        """A function without parameters gets nothing."""
        assert wired(lambda: None) == {}

    def test_by_name(self) -> None:
        """A parameter is the context, a task's output, or a workflow's parameter."""

        def fn(ctx: Any, build: Image, version: str) -> None: ...

        inputs = wired(fn)

        assert {name: (i.kind, i.source) for name, i in inputs.items()} == {
            "ctx": ("ctx", "ctx"),
            "build": ("output", "build"),
            "version": ("param", "version"),
        }
        assert inputs["ctx"].decode is None

    def test_inputs(self) -> None:
        """inputs= gives a source with another name, and takes it from its own."""

        def fn(image: Image, version: int) -> None: ...

        inputs = wired(fn, inputs={"image": "build", "version": "replicas"})

        assert inputs["image"].source == "build"
        assert inputs["version"].source == "replicas"

    def test_inputs_are_dependencies(self) -> None:
        """An output that inputs= or when= takes is waited for, too."""
        workflow = Workflow("w")
        workflow.add_task("b", lambda a: None, inputs={"a": "c"})
        workflow.add_task("c", lambda: 1)
        workflow.add_task("d", lambda: 1, when=lambda c: c)

        plan = workflow.check()

        assert plan.nodes["b"].depends_on == ("c",)
        assert plan.nodes["d"].depends_on == ("c",)

    def test_item(self) -> None:
        """The function of a map gets its item; its condition does not."""
        workflow = Workflow("w")
        workflow.add_map("each", lambda item: None, over=["a"])
        workflow.add_map("asked", lambda item: None, over=["a"], when=lambda item: item)

        with pytest.raises(DefinitionError, match="the when= of 'asked' asks for 'item'"):
            workflow.check()

    def test_no_item(self) -> None:
        """A task that is no map has no item."""
        assert "asks for 'item', which is no task" in problem(lambda item: None)

    def test_missing(self) -> None:
        """A parameter without a source is a problem, with the name that was meant."""

        def fn(verison: str) -> None: ...

        said = problem(fn)

        assert said.startswith("the function of 'it' asks for 'verison', which is no task")
        assert "did you mean 'version'? declare it in params=" in said

    def test_default(self) -> None:
        """A default stands in for a missing source, and is kept where there is one."""

        def fn(build: Image | None = None, other: int = 5) -> None: ...

        inputs = wired(fn)

        assert list(inputs) == ["build"]
        assert inputs["build"].default is None
        assert wired(lambda build: None)["build"].default is MISSING

    def test_condition_has_no_context(self) -> None:
        """A condition decides on values alone."""
        assert "asks for ctx, which it does not get" in problem(untyped, when=lambda ctx: True)

    def test_condition_may_have_default_context(self) -> None:
        """A ctx with a default is left alone."""
        assert wired(untyped, when=lambda ctx=None: True) == {}


class TestShapes:
    """The kinds of things that can be called."""

    def test_partial(self) -> None:
        """What a partial fixes is not asked for, even where a task has that name."""

        def fn(first: int, build: Image, version: str, ctx: Any) -> None: ...

        inputs = wired(functools.partial(fn, 1, build=Image("fixed")))

        assert list(inputs) == ["version", "ctx"]

    def test_nested_partial(self) -> None:
        """A partial of a subclass keeps what the inner one fixed."""

        class Mine(functools.partial):  # type: ignore[type-arg]
            pass

        def fn(build: Image, version: str) -> None: ...

        inner = Mine(fn, build=Image("x"))
        inputs = wired(functools.partial(inner, version="y"))

        assert inputs == {}

    def test_callable_object(self) -> None:
        """An object with __call__ is asked what its call needs."""

        class Deploy:
            def __call__(self, build: Image) -> None: ...

        assert list(wired(Deploy())) == ["build"]

    def test_class(self) -> None:
        """A class is asked what its constructor needs, and gives its instance."""

        class Release(NamedTuple):
            build: Image

        @dataclass
        class Ticket:
            version: str

        assert list(wired(Release)) == ["build"]
        assert list(wired(Ticket)) == ["version"]
        assert read_signature(Ticket).returns is Ticket

    def test_bound_method(self) -> None:
        """A bound method needs no self."""

        class Deployer:
            def run(self, build: Image) -> None: ...

            @classmethod
            def make(cls, version: str) -> None: ...

            @staticmethod
            def free(ctx: Any) -> None: ...

        assert list(wired(Deployer().run)) == ["build"]
        assert list(wired(Deployer.make)) == ["version"]
        assert list(wired(Deployer.free)) == ["ctx"]
        assert list(wired(Deployer.__dict__["free"])) == ["ctx"]

    def test_decorated(self) -> None:
        """A decorator that says what it wraps is looked through."""

        def decorate(fn: Any) -> Any:
            @functools.wraps(fn)
            def wrapper(*args: Any, **kwargs: Any) -> Any: ...

            return wrapper

        @decorate
        @functools.cache
        def fn(build: Image) -> None: ...

        assert wired(fn)["build"].decode is not None

    def test_mock(self) -> None:
        """A mock asks for nothing."""
        assert wired(mock.Mock()) == {}

    def test_any_arguments(self) -> None:
        """*args and **kwargs are left empty."""

        def fn(*args: Any, build: Image, **kwargs: Any) -> None: ...

        assert list(wired(fn)) == ["build"]

    def test_positional_only(self) -> None:
        """Arguments go by name, so one that cannot is a problem."""

        def fn(build: Image, /) -> None: ...
        def bare(other: int, /) -> None: ...
        def fine(other: int = 5, /) -> None: ...

        assert "takes 'build' by position only; drop the /" in problem(fn)
        assert "takes 'other' by position only" in problem(bare)
        assert "takes 'obj' by position only; drop the /, or wrap it in a def" in problem(len)
        assert wired(fine) == {}

    def test_no_signature(self) -> None:
        """A built-in that does not say what it needs has to be wrapped."""
        assert "<class 'dict'>, whose signature cannot be read; wrap it in a def" in problem(dict)


class TestAnnotations:
    def test_decodes(self) -> None:
        """Text annotations, as under the future import, mean what they name."""

        def fn(build: Image) -> None: ...

        assert wired(fn)["build"].decode({"tag": "x"}, "p") == Image("x")  # type: ignore[misc]

    def test_follows_the_source(self) -> None:
        """A parameter without annotation has the type of its source."""
        inputs = wired(lambda build, replicas, each, untyped: None)

        assert decoded(inputs["build"], {"tag": "x"}) == Image("x")
        assert decoded(inputs["each"], [1, "b"]) == [1, "b"]
        assert decoded(inputs["untyped"], {"k": [1]}) == {"k": [1]}
        with pytest.raises(CodecError, match="expected int"):
            decoded(inputs["replicas"], "two")

    def test_text_inside(self) -> None:
        """A text inside a type is resolved as well."""

        def fn(build: Any) -> None: ...

        fn.__annotations__["build"] = list["Image"]

        assert decoded(wired(fn)["build"], [{"tag": "x"}]) == [Image("x")]

    def test_no_text(self) -> None:
        """Annotations that are types already are taken as they are."""

        def fn(build: Any, version: Any) -> None: ...

        fn.__annotations__ |= {"build": Image, "version": Annotated[str, "tag"]}
        inputs = wired(fn)

        assert decoded(inputs["build"], {"tag": "x"}) == Image("x")
        assert decoded(inputs["version"], "1") == "1"

    def test_closure(self) -> None:
        """A local type that the function uses is found in its closure."""

        @dataclass
        class Local:
            n: int

        def fn(build: Local) -> Any:
            return Local

        assert decoded(wired(fn)["build"], {"n": 1}) == Local(1)

    def test_empty_closure(self) -> None:
        """A name of the closure that has no value yet is left out."""

        def fn(build: Image) -> Any:
            return later

        inputs = wired(fn)
        later = 1

        assert decoded(inputs["build"], {"tag": str(later)}) == Image("1")

    def test_unresolvable(self) -> None:
        """An annotation that only type checkers can resolve cannot be served; it is shown."""

        def fn(build: Ghost) -> None: ...

        said = problem(fn)

        assert "the function of 'it' asks for 'build' with an annotation that cannot" in said
        assert (
            "'Ghost' has no meaning when it runs (NameError: name 'Ghost' is not defined)" in said
        )

    def test_unresolvable_item(self) -> None:
        """An item is stored data too, so its annotation has to mean something."""
        workflow = Workflow("w")

        def fn(item: Ghost) -> None: ...

        workflow.add_map("m", fn, over=[1])

        with pytest.raises(DefinitionError, match="'Ghost' has no meaning"):
            workflow.check()

    @pytest.mark.parametrize("text", ["1 +", "1 / 0", "5", "Image.nothing", "[", "\x00"])
    def test_nonsense(self, text: str) -> None:
        """Whatever an annotation raises, it is a problem and no crash."""

        def fn(build: Any) -> None: ...

        fn.__annotations__["build"] = text

        assert "annotation that cannot be served" in problem(fn)

    def test_unresolvable_context(self) -> None:
        """The context needs no annotation that means anything."""

        def fn(ctx: Ghost) -> None: ...

        assert list(wired(fn)) == ["ctx"]

    def test_unresolvable_parameter(self) -> None:
        """A parameter may be any object; plain data comes as a copy of its own."""

        def fn(probe: Ghost, version: Ghost) -> None: ...

        data = {"k": [1]}
        copy = decoded(wired(fn)["version"], data)

        assert copy == data
        assert copy["k"] is not data["k"]

    def test_unresolvable_return(self) -> None:
        """What a function says it returns need not be resolved; its output is plain data then."""

        def fn() -> Ghost: ...

        assert read_signature(fn).returns is Any

    def test_undecodable(self) -> None:
        """A type that no stored value can have is a problem where it is asked for."""

        def fn(build: set[int]) -> None: ...

        assert "set cannot be made from stored data" in problem(fn)

    def test_undecodable_return(self) -> None:
        """Who does not annotate gets plain data where the source's type cannot be served."""
        workflow = Workflow("w")

        def odd() -> Probe: ...

        workflow.add_task("odd", odd)
        workflow.add_task("it", lambda odd: None)
        (wire,) = workflow.check().nodes["it"].call.wiring

        assert decoded(wire, [1]) == [1]

    def test_follows_the_item(self) -> None:
        """What takes back or repairs an item gets that item's output; everybody else gets the list."""
        workflow = Workflow("w")

        def deploy(item: str) -> Image: ...

        workflow.add_map("deploy", deploy, over=["a"], on_interrupt=lambda deploy: None)
        workflow.add_recovery("deploy", lambda deploy: None)
        workflow.add_recovery("deploy", lambda deploy: None, then="continue")
        workflow.add_task("it", lambda deploy: None)
        workflow.add_recovery("it", lambda deploy: None)
        workflow.add_finalizer("last", lambda deploy: None)

        plan = workflow.check()

        each, it = plan.nodes["deploy"], plan.nodes["it"]
        assert each.undo is not None
        assert each.on_interrupt is not None
        assert it.undo is not None
        for callee in (each.undo, *each.repairs, each.on_interrupt):
            assert decoded(callee.wiring[0], {"tag": "x"}) == Image("x")
        for callee in (it.call, it.undo, plan.finalizers[0][1]):
            assert decoded(callee.wiring[0], [{"tag": "x"}]) == [{"tag": "x"}]

    def test_follows_an_item_that_cannot_be_decoded(self) -> None:
        """Of an item whose type cannot be served, its undo gets plain data."""
        workflow = Workflow("w")

        def deploy(item: str) -> Probe: ...

        workflow.add_map("deploy", deploy, over=["a"])
        workflow.add_recovery("deploy", lambda deploy: None)

        undo = workflow.check().nodes["deploy"].undo

        assert undo is not None
        assert decoded(undo.wiring[0], [1]) == [1]

    def test_unhashable(self) -> None:
        """An annotation that cannot be hashed is served all the same."""

        def fn(build: Any) -> None: ...

        fn.__annotations__["build"] = Annotated[Image, []]

        assert decoded(wired(fn)["build"], {"tag": "x"}) == Image("x")


def decoded(wire: Input, data: Any) -> Any:
    assert wire.decode is not None
    return wire.decode(data, "it")


class TestNames:
    NAMES = Names(
        {"a": int, "x.a": int, "x.y.b": int},
        {
            "p": Param("p", str, MISSING),
            "x.q": Param("x.q", str, MISSING, Ref("p")),
            "x.y.r": Param("x.y.r", str, MISSING, Ref("q")),
            "x.y.s": Param("x.y.s", str, MISSING, Ref("nowhere")),
        },
    )

    @pytest.mark.parametrize(
        ("name", "scope", "expected"),
        [
            ("a", "", ("output", "a")),
            ("a", "x.", ("output", "x.a")),
            ("a", "x.y.", ("output", "x.a")),
            ("b", "x.y.", ("output", "x.y.b")),
            ("b", "x.", None),
            ("y.b", "x.", ("output", "x.y.b")),
            ("p", "x.y.", ("param", "p")),
            ("q", "x.", ("param", "p")),
            ("r", "x.y.", ("param", "p")),
            ("x.y.r", "", ("param", "p")),
            ("s", "x.y.", None),
            ("nothing", "x.y.", None),
        ],
    )
    def test_find(self, name: str, scope: str, expected: Any) -> None:
        """Inside the prefix first, then outwards; what an include bound leads on."""
        assert self.NAMES.find(name, scope) == expected

    @pytest.mark.parametrize(("scope", "expected"), [("a.b.c.", "a.b."), ("a.", ""), ("", "")])
    def test_outer(self, scope: str, expected: str) -> None:
        """The prefix around the outermost one is none."""
        assert outer(scope) == expected


async def coroutine_function() -> None: ...


class AsyncCall:
    async def __call__(self) -> None: ...

    async def method(self) -> None: ...


class TestIsAsync:
    @pytest.mark.parametrize(
        "fn",
        [
            coroutine_function,
            functools.partial(coroutine_function),
            AsyncCall(),
            AsyncCall().method,
            functools.partial(functools.partial(AsyncCall())),
        ],
    )
    def test_async(self, fn: Any) -> None:
        """Calling it gives something to await."""
        assert is_async(fn)

    @pytest.mark.parametrize(
        "fn", [build, AsyncCall, len, functools.partial(AsyncCall), mock.Mock()]
    )
    def test_plain(self, fn: Any) -> None:
        """Calling it gives its result; a class makes an instance, whatever that does."""
        assert not is_async(fn)


def generator() -> Any:
    yield 1


async def async_generator() -> Any:
    yield 1


class Yields:
    def __call__(self) -> Any:
        yield 1


class TestUnusable:
    @pytest.mark.parametrize("fn", [build, coroutine_function, AsyncCall(), Image, len, Yields])
    def test_fine(self, fn: Any) -> None:
        """What can be called, and does something when it is."""
        assert unusable(fn) is None

    def test_coroutine(self) -> None:
        """A coroutine is closed, so that nobody warns of it."""
        coroutine = coroutine_function()

        assert "pass the function itself, without ()" in str(unusable(coroutine))
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED

    @pytest.mark.parametrize("fn", [None, 5, "build", generator(), object()])
    def test_not_callable(self, fn: Any) -> None:
        """What cannot be called is shown."""
        assert "which cannot be called; pass a function" in str(unusable(fn))

    @pytest.mark.parametrize(
        "fn", [generator, async_generator, functools.partial(generator), Yields()]
    )
    def test_generator(self, fn: Any) -> None:
        """A generator would do nothing when called."""
        assert "is a generator function" in str(unusable(fn))


class TestInnermost:
    def test_takes_off(self) -> None:
        """Partials, wrappers, methods and callable objects come down to a function."""

        class Deployer:
            def run(self) -> None: ...

            def __call__(self) -> None: ...

        assert innermost(functools.partial(functools.cache(build))) is build
        assert innermost(Deployer().run) is Deployer.run
        assert innermost(Deployer()) is Deployer.__call__
        assert innermost(Deployer) is Deployer
        assert innermost(len) is len

    def test_gives_up(self) -> None:
        """What has no function in it is returned as it is."""
        odd = functools.singledispatchmethod(build)

        assert innermost(odd) is odd
