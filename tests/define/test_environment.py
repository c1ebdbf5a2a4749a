"""Environments, and the parameters of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

import pytest

from pyflow.define.environment import Environment, Parameters, bind_params
from pyflow.define.plan import Plan
from pyflow.define.task import Ref
from pyflow.define.workflow import Workflow
from pyflow.errors import DefinitionError, SecretError
from pyflow.run.engine import Engine
from pyflow.secrets import Secret

VALUE = "tr0ub4dor-and-3"


def fn() -> None: ...


def planned(task: Any = fn, **params: Any) -> Plan:
    workflow = Workflow("w", params=params)
    workflow.add_task("it", task)
    return workflow.check()


def bound(plan: Plan, environment: Environment | None = None, **given: Any) -> Parameters:
    return bind_params(plan, environment, given)


def problems(plan: Plan, environment: Any = None, given: Any = None) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        bind_params(plan, environment, {} if given is None else given)
    return [str(problem) for problem in caught.value.problems]


class TestEnvironment:
    def test_bare(self) -> None:
        """A name is enough."""
        environment = Environment("staging")

        assert environment.to_data() == {"name": "staging"}
        assert (environment.max_parallel, environment.task_timeout_s) == (None, None)

    def test_limits(self) -> None:
        """Limits are read as a number and as a span, and recorded as data."""
        environment = Environment(
            "eu.prod-1",
            tier="production",
            limits={"max_parallel": 5, "task_timeout": timedelta(minutes=5)},
        )

        assert (environment.max_parallel, environment.task_timeout_s) == (5, 300)
        assert environment.to_data() == {
            "name": "eu.prod-1",
            "tier": "production",
            "limits": {"max_parallel": 5, "task_timeout": 300.0},
        }

    def test_no_limits(self) -> None:
        """A limit of None is none, and not recorded."""
        environment = Environment("x", limits={"max_parallel": None, "task_timeout": None})

        assert environment.to_data() == {"name": "x"}
        assert environment.task_timeout_s is None

    def test_is_a_snapshot(self) -> None:
        """What the program does with its dicts later changes nothing here."""
        params, limits = {"a": 1}, {"max_parallel": 5}
        environment = Environment("x", params, limits=limits)
        params["a"], limits["max_parallel"] = 2, 0

        assert environment.params == {"a": 1}
        assert environment.max_parallel == 5

    def test_hides_secrets(self) -> None:
        """Neither the repr nor the recorded form of it shows a secret."""
        environment = Environment("x", {"token": Secret(VALUE)})

        assert VALUE not in repr(environment)
        assert "token" not in str(environment.to_data())

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"name": ""}, "the environment name '' is not allowed"),
            ({"name": "a b"}, "use letters, digits, _, - and ., starting with"),
            ({"name": None}, "the environment name None is not allowed"),
            ({"name": "x" * 10_000}, "xxx"),
            ({"tier": ""}, "the tier name '' is not allowed"),
            ({"tier": 5}, "the tier name 5 is not allowed"),
            ({"params": None}, "params=None is not possible; give a dict"),
            ({"params": [1]}, r"params=\[1\] is not possible"),
            ({"limits": 5}, "limits=5 is not possible; give a dict"),
            ({"limits": {"cpu": 5}}, r"limits\['cpu'\]=5 is not possible; there are max_parallel,"),
            ({"limits": {"max_parallel": 0}}, "give a whole number from 1"),
            ({"limits": {"max_parallel": True}}, "give a whole number from 1"),
            ({"limits": {"max_parallel": 2.0}}, "give a whole number from 1"),
            ({"limits": {"max_parallel": 10**9}}, "give a whole number from 1"),
            ({"limits": {"task_timeout": 0}}, "0 must be finite and more than zero"),
            ({"limits": {"task_timeout": "5"}}, "'5' is not a span of time"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], says: str) -> None:
        """An impossible option is shown, with what is possible."""
        options = dict(options)

        with pytest.raises(DefinitionError, match=says) as caught:
            Environment(options.pop("name", "x"), **options)

        assert len(caught.value.problems) == 1
        assert len(str(caught.value)) < 1_000

    def test_all_at_once(self) -> None:
        """Every problem is reported, not only the first."""
        limits = {"x": 1, "max_parallel": 0, "task_timeout": -1}
        options: dict[str, Any] = {"name": "a b", "params": 5, "tier": "c d", "limits": limits}

        with pytest.raises(DefinitionError) as caught:
            Environment(**options)

        assert len(caught.value.problems) == 6


class TestPrecedence:
    def test_order(self) -> None:
        """A default gives way to the environment, and both to what the run is given."""
        plan = planned(a=1, b=1, c=1)
        environment = Environment("x", {"b": 2, "c": 2})

        assert bound(plan, environment, c=3).data == {"a": 1, "b": 2, "c": 3}

    def test_environment_for_many(self) -> None:
        """An environment may hold the parameters of other workflows."""
        assert bound(planned(a=1), Environment("x", {"other": 5})).data == {"a": 1}

    def test_none(self) -> None:
        """None is a value like any other."""
        plan = planned(a="x", b=None, c=int | None)
        environment = Environment("x", {"a": "y"})

        assert bound(plan, environment, c=None).data == {"a": "y", "b": None, "c": None}
        assert "expected str, found None" in problems(plan, environment, {"a": None, "c": 1})[0]

    def test_included(self) -> None:
        """Those of an included workflow are given by their full names."""
        inner, outer = Workflow("i", params={"v": "1"}), Workflow("w", params={"r": 5})
        inner.add_task("a", lambda v: None)
        outer.include(inner, prefix="i")
        outer.include(inner, prefix="j", params={"v": Ref("r")})
        plan = outer.check()

        assert bound(plan).data == {"r": 5, "i.v": "1"}
        assert bind_params(plan, None, {"i.v": "2"}).data["i.v"] == "2"
        (said,) = problems(plan, given={"j.v": 1})
        assert "params= gives the parameter 'j.v', which the workflow does not declare" in said


@dataclass(frozen=True)
class Image:
    tag: str


@runtime_checkable
class Probe(Protocol):
    def read(self) -> str: ...


class Silent(Protocol):
    def hush(self) -> str: ...


class Fine:
    def read(self) -> str:
        return "fine"


@dataclass
class DataProbe:
    host: str

    def read(self) -> str:
        return "fine"


class TestObjects:
    def test_probe(self) -> None:
        """A probe is handed over as it is; the record has its repr, without an address."""
        probe = Fine()
        parameters = bound(planned(probe=Probe), probe=probe)

        assert parameters.objects["probe"] is probe
        assert parameters.data == {}
        assert parameters.recorded["probe"]["$object"].endswith(".Fine object>")

    def test_default(self) -> None:
        """A default may be an object, and another kind of object may take its place."""
        probe, other = Fine(), DataProbe("db")

        assert bound(planned(probe=probe)).objects["probe"] is probe
        assert bound(planned(probe=None), probe=other).objects["probe"] is other
        assert bound(planned(probe=Probe), probe=other).objects["probe"] is other

    def test_function(self) -> None:
        """A function is an object, too."""
        assert bound(planned(ask=None), ask=fn).objects["ask"] is fn

    def test_unchecked_protocol(self) -> None:
        """A protocol that cannot be checked at run time is taken on trust."""
        probe = Fine()

        assert bound(planned(probe=Silent), probe=probe).objects["probe"] is probe
        assert bound(planned(probe=list[Probe]), probe=probe).objects["probe"] is probe

    def test_wrong_object(self) -> None:
        """An object of another type is refused, and so is data in its place."""
        (object_said,) = problems(planned(probe=Probe), given={"probe": object()})
        (data_said,) = problems(planned(probe=Probe), given={"probe": "tcp://db"})

        assert "parameter 'probe': expected Probe, found <object object" in object_said
        assert "expected Probe, found 'tcp://db'" in data_said

    def test_dataclass(self) -> None:
        """A dataclass that was declared is data, which each task decodes for itself."""
        plan = planned(lambda image: None, image=Image)
        parameters = bound(plan, image=Image("x"))
        (wire,) = plan.nodes["it"].call.wiring

        assert parameters.data == parameters.recorded == {"image": {"tag": "x"}}
        assert wire.decode is not None
        assert wire.decode(parameters.data["image"], "image") == Image("x")

    def test_broken_repr(self) -> None:
        """An object whose repr raises is recorded all the same."""

        class Broken:
            def __repr__(self) -> str:
                raise OSError

        recorded = bound(planned(o=None), o=Broken()).recorded

        assert "whose repr raised OSError" in recorded["o"]["$object"]

    def test_long_repr(self) -> None:
        """A long repr is recorded in part."""

        class Long:
            def __repr__(self) -> str:
                return "x" * 10_000

        assert len(bound(planned(o=None), o=Long()).recorded["o"]["$object"]) == 200


class TestSecrets:
    def test_given(self) -> None:
        """A secret is handed over as it is, known for redaction, and not in the record."""
        secret = Secret(VALUE, name="token")
        parameters = bound(planned(token=Secret), token=secret)

        assert parameters.objects["token"] is secret
        assert parameters.secrets == (secret,)
        assert parameters.recorded == {"token": {"$secret": "name:token"}}

    def test_default(self) -> None:
        """A secret may be a default."""
        parameters = bound(planned(token=Secret(VALUE)))

        assert parameters.recorded == {"token": {"$secret": "given"}}
        assert len(parameters.secrets) == 1

    def test_nested(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A secret inside of other data is known for redaction, too."""
        monkeypatch.setenv("TOKEN", VALUE)
        login = {"user": "deploy", "tokens": [Secret.from_env("TOKEN")]}
        plan = planned(login=dict, other={"login": login})

        parameters = bound(plan, login=login)

        assert [secret.reveal() for secret in parameters.secrets] == [VALUE, VALUE]
        assert VALUE not in str(parameters.recorded)

    def test_nested_without_place(self) -> None:
        """A secret inside of other data needs a place to be fetched from again."""
        (said,) = problems(planned(login=dict), given={"login": {"token": Secret(VALUE)}})

        assert "login.token: a secret enters the record as the place to fetch it from" in said
        assert VALUE not in said

    @pytest.mark.parametrize("declared", [Secret, Secret | None])
    def test_plain_text(self, declared: Any) -> None:
        """Plain text in the place of a secret is refused, and not shown."""
        (said,) = problems(planned(token=declared), given={"token": VALUE})

        assert "parameter 'token': expected a Secret; give pyflow.Secret.from_env(...)" in said
        assert VALUE not in said

    def test_default_type(self) -> None:
        """A secret default makes the parameter a secret."""
        (said,) = problems(planned(token=Secret("another-secret-1")), given={"token": VALUE})

        assert "expected a Secret" in said

    def test_in_place_of_data(self) -> None:
        """A secret in the place of plain data is refused: it would be taken for text."""
        (said,) = problems(planned(version=str), given={"version": Secret(VALUE)})

        assert "expected str, found Secret(***)" in said

    @pytest.mark.parametrize(
        "make",
        [
            lambda name: (Workflow(name), "a", None),
            lambda name: (Workflow("w"), name, None),
            lambda name: (Workflow("w"), "a", name),
            lambda name: (Workflow("w", params={name: 1}), "a", None),
            lambda name: (Workflow("w", locks=[f"service:{name}"]), "a", None),
        ],
    )
    def test_in_a_name(self, make: Any) -> None:
        """A name that holds the value of a secret is refused: it would be masked everywhere."""
        workflow, task, finalizer = make(VALUE)
        workflow.add_task(task, fn)
        if finalizer:
            workflow.add_finalizer(finalizer, fn)
        inner = Workflow("i", params={"token": Secret})
        inner.add_task("x", fn)
        workflow.include(inner, prefix="i", params={"token": Secret(VALUE)})

        (said,) = problems(workflow.check())

        assert "*** " in said or "***'" in said
        assert "holds the value of a secret, which is masked" in said
        assert VALUE not in said

    def test_cannot_be_fetched(self) -> None:
        """A secret that cannot be fetched stops the run before it starts."""
        with pytest.raises(SecretError, match="NO_SUCH_VARIABLE"):
            bound(planned(token=Secret), token=Secret.from_env("NO_SUCH_VARIABLE"))


class TestRefusals:
    def test_unknown(self) -> None:
        """An unknown parameter is shown with the name that was meant."""
        (said,) = problems(planned(version="1"), given={"verison": "2"})

        assert said == (
            "params= gives the parameter 'verison', which the workflow does not declare; "
            "did you mean 'version'? declared are: 'version'"
        )

    def test_none_declared(self) -> None:
        """Where none is declared, that is said."""
        (said,) = problems(planned(), given={5: 1})

        assert said.endswith(
            "gives the parameter 5, which the workflow does not declare; declared are: none"
        )

    @pytest.mark.parametrize(
        ("declared", "wanted"), [(str, "str"), (str | None, "str | None"), (list[int], "list")]
    )
    def test_missing(self, declared: Any, wanted: str) -> None:
        """A missing parameter is named with its type and where to give it."""
        (said,) = problems(planned(version=declared))

        assert f"parameter 'version': no value was given; give a {wanted}" in said
        assert "in params= or in the environment" in said

    @pytest.mark.parametrize(
        ("declared", "value", "says"),
        [
            (int, "2", "expected int, found '2'"),
            (2, 2.5, "expected int, found 2.5"),
            (int, True, "expected int, found True"),
            (True, 1, "expected bool, found 1"),
            ("x", 5, "expected str, found 5"),
            (list[int], [1, "b"], "expected int, found 'b'"),
            (Image, {"name": "x"}, "Image"),
            (float, float("nan"), "nan is not a finite number"),
            (None, {1, 2}, "set, which the record cannot hold"),
            (None, b"x", "bytes, which the record cannot hold"),
            (None, 10**400, "an integer beyond 64 bits"),
            (None, {"a": {"b": [object()]}}, r"a.b[0]"),
            (Fine, "x", "expected Fine, found 'x'"),
        ],
    )
    def test_wrong_type(self, declared: Any, value: Any, says: str) -> None:
        """A value of another type, or one that cannot be stored, is shown."""
        (said,) = problems(planned(p=declared), given={"p": value})

        assert said.startswith("parameter 'p': ")
        assert says in said

    def test_function_disagrees(self) -> None:
        """A function that asks for a parameter as another type is found before it runs, once."""
        workflow = Workflow("w", params={"replicas": 2, "regions": ["eu"]})

        def scale(replicas: str) -> None: ...

        workflow.add_task("a", scale, when=scale)
        workflow.add_task("b", scale)
        workflow.add_recovery("a", scale)
        workflow.add_recovery("a", lambda regions: None, then="retry")

        (said,) = problems(workflow.check())

        assert said == (
            "parameter 'replicas': the function of 'a' asks for another type: expected str, found 2"
        )

    @pytest.mark.parametrize("role", ["when=", "undo", "repair", "finalizer"])
    def test_every_function(self, role: str) -> None:
        """So is any other function of the plan."""
        workflow = Workflow("w", params={"replicas": 2})

        def scale(replicas: str) -> None: ...

        workflow.add_task("a", fn, when=scale if role == "when=" else None)
        if role == "undo":
            workflow.add_recovery("a", scale)
        elif role == "repair":
            workflow.add_recovery("a", scale, then="retry")
        elif role == "finalizer":
            workflow.add_finalizer("a_", scale)

        (said,) = problems(workflow.check())

        assert f"the {role} of 'a" in said

    @pytest.mark.parametrize("value", ["eu", 5, None, Fine(), {"a": 1}])
    def test_map_needs_a_list(self, value: Any) -> None:
        """What a map runs over is a list."""
        workflow = Workflow("w", params={"regions": None})
        workflow.add_map("m", fn, over="regions")

        (said,) = problems(workflow.check(), given={"regions": value})

        assert "parameter 'regions': 'm' runs over it, so give a list, not " in said

    def test_map_has_a_list(self) -> None:
        """A list is what it takes, a missing one is one problem."""
        workflow = Workflow("w", params={"regions": list})
        workflow.add_map("m", fn, over="regions")

        assert bound(workflow.check(), regions=("eu",)).data == {"regions": ["eu"]}
        assert len(problems(workflow.check())) == 1

    @pytest.mark.parametrize(
        ("environment", "given", "says"),
        [
            ("production", {}, "environment='production' is not possible; give pyflow.Environment"),
            (None, [("a", 1)], "params=[('a', 1)] is not possible; give a dict"),
        ],
    )
    def test_wrong_sources(self, environment: Any, given: Any, says: str) -> None:
        """An environment is no name, and parameters are a dict."""
        (said,) = problems(planned(a=1), environment, given)

        assert says in said

    def test_all_at_once(self) -> None:
        """Every problem is reported, not only the first."""
        plan = planned(a=str, b=int, c=2, d=Secret)

        said = problems(plan, Environment("x", {"c": "two"}), {"e": 1, "b": "x", "d": VALUE})

        assert [line.partition(":")[0].partition(",")[0] for line in said] == [
            "params= gives the parameter 'e'",
            "parameter 'a'",
            "parameter 'b'",
            "parameter 'c'",
            "parameter 'd'",
        ]

    def test_before_any_record(self) -> None:
        """The engine refuses with the same error, before any record."""
        engine = Engine()
        called: list[int] = []
        workflow = Workflow("w", params={"a": str})
        workflow.add_task("it", lambda: called.append(1))

        with pytest.raises(DefinitionError, match="parameter 'a': no value was given"):
            engine.execute(workflow)
        with pytest.raises(DefinitionError, match="environment='production'"):
            engine.execute(workflow, environment="production", params={"a": "x"})  # type: ignore[arg-type]

        assert engine.journal.runs() == []
        assert called == []


class TestParameters:
    def test_order(self) -> None:
        """The record lists parameters in the order of declaration."""
        recorded = bound(planned(b=1, probe=Fine(), a=1)).recorded

        assert list(recorded) == ["b", "probe", "a"]
        assert isinstance(recorded, Mapping)

    def test_data_is_a_copy(self) -> None:
        """What the program does with what it gave later changes nothing."""
        regions = ["eu"]
        parameters = bound(planned(regions=list), regions=regions)
        regions.append("us")

        assert parameters.data["regions"] == ["eu"]
