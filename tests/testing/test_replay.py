"""`replay`: a counterexample again, as a run, as a text, and as a test to paste."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest

from pyflow import AsyncContext, Environment, Workflow
from pyflow.errors import DefinitionError
from pyflow.testing import (
    Counterexample,
    Exploration,
    Explored,
    Fault,
    SimulationError,
    Violation,
    World,
    always,
    explore,
    lies,
    replay,
    takes,
)
from pyflow.testing.exploration.explored import NotRun
from pyflow.testing.exploration.telling import write_test
from pyflow.testing.exploration.trial import Options
from pyflow.testing.faults import NO_FAULTS
from support.explored import UNSAFE, careless, made, switch, told
from support.simulated import nothing_behind
from support.worlds import shop

Make = Callable[[World], Workflow]
AS_BEFORE = "After `rolled_back`, versions, capacity, weights and configuration are as before."


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with nothing_behind(caplog):
        yield


def found(make: Make, world: World, **options: Any) -> Counterexample:
    """Return the counterexample to what *make* makes."""
    report = explore(made(make, world), world=world, **options)
    assert report.counterexample is not None
    return report.counterexample


def run_test(text: str, names: Mapping[str, Any], **fixtures: Any) -> None:
    """Run the test *text*, where *names* are known, with *fixtures*."""
    space = dict(names)
    exec(text, space)
    name = next(n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef))
    space[name](**fixtures)


class TestReplay:
    @pytest.mark.parametrize("name", UNSAFE)
    def test_counterexample(self, name: str) -> None:
        """A counterexample that is run again breaks the same, at the same time, in the same way."""
        world = World()
        first = found(UNSAFE[name], world)

        again = replay(made(UNSAFE[name], world), world=world, faults=first.faults)

        assert not again.ok
        assert again.counterexample is not None
        assert again.counterexample.faults == first.faults
        assert again.counterexample.violations == first.violations
        assert again.counterexample.timeline == first.timeline
        assert again.counterexample.test == first.test
        assert again.counterexample.run.events == first.run.events

    def test_counts(self) -> None:
        """A replay is one run, and leaves nothing to try."""
        world = World()
        fault = Fault("deploy#1 config.set#1", "lies")

        report = replay(switch(world), world=world, faults=[fault])

        assert report.ok
        assert (report.runs, report.faults, report.skipped, report.pruned) == (1, 1, 0, 0)
        assert report.by_faults == {1: 1}
        assert report.by_kind == {"lies": 1}
        assert report.endings == {"succeeded": 1}

    def test_without_faults(self) -> None:
        """A run under no faults can be asked for as well."""
        world = World()

        assert replay(made(careless, world), world=world, faults=[]).by_faults == {0: 1}

    def test_leaves_the_world(self) -> None:
        """The world is left as it was found."""
        world = shop()
        before = str(world)
        replay(made(careless, world), world=world, faults=[Fault("deploy#1 begins", "fails")])

        assert str(world) == before
        assert (world.history, world.watchers, world.faults) == ([], [], NO_FAULTS)

    def test_options(self) -> None:
        """What the exploration was given can be given again, and decides the same."""
        world = World()

        def make() -> Workflow:
            async def deploy(ctx: AsyncContext, size: int) -> None:
                assert ctx.environment is not None
                world.config[ctx.environment.name] = size

            return switch(world, deploy, params={"size": int})

        options: dict[str, Any] = {
            "params": {"size": 3},
            "environment": Environment("production", tier="prod"),
            "fakes": {"undo of deploy": takes("1m")},
            "invariants": [lambda run: "config production" not in run.after],
            "within": "2h",
            "seed": 4,
            "max_parallel": 2,
            "drain_timeout": "1s",
        }
        first = explore(make, world=world, **options).counterexample
        assert first is not None
        again = replay(make, world=world, faults=first.faults, **options).counterexample

        assert again is not None
        assert again.timeline == first.timeline
        assert "config production: None -> 3  by deploy#1" in "\n".join(first.timeline)


class TestRefusals:
    def refused(self, *faults: Any, **options: Any) -> str:
        """Return why *faults* cannot be replayed."""
        world = World()
        with pytest.raises(SimulationError) as caught:
            replay(made(switch, world), world=world, **cast("Any", {"faults": faults, **options}))
        assert str(world.facts()) == "{'schema version': 0}"
        return str(caught.value)

    def test_point(self) -> None:
        """A point that the run does not get to is named, with the nearest that it does."""
        assert self.refused(Fault("deploy#1 beginns", "fails")) == (
            "the run never reached the point 'deploy#1 beginns'; the nearest that it did reach is "
            "'deploy#1 begins'"
        )
        assert self.refused(Fault("?", "fails")) == "the run never reached the point '?'"

    def test_point_after_another(self) -> None:
        """So is one that another fault keeps it from."""
        faults = Fault("deploy#1 begins", "fails"), Fault("deploy#1 ends", "applied_then_fails")

        assert self.refused(*faults).startswith("the run never reached the point 'deploy#1 ends'")

    def test_kind(self) -> None:
        """A kind that cannot happen at its point is named, with those that can."""
        assert self.refused(Fault("deploy#1 begins", "crash")) == (
            "'crash' cannot happen at 'deploy#1 begins'; it can be: fails, hangs"
        )
        assert self.refused(Fault("after record 1 (run_started)", "lies")) == (
            "'lies' cannot happen at 'after record 1 (run_started)'; it can be: crash, cancel, "
            "pause, roll_back"
        )

    def test_kind_in_a_wait(self) -> None:
        """In the middle of a wait only an operator can act."""
        world = World()

        def make() -> Workflow:
            async def deploy(ctx: AsyncContext) -> None:
                await ctx.sleep("10s")

            return switch(world, deploy)

        point = "in the wait from 0.000 s until 10.000 s"
        with pytest.raises(SimulationError, match="it can be: cancel, pause, roll_back"):
            replay(make, world=world, faults=[Fault(point, "crash")])
        assert replay(make, world=world, faults=[Fault(point, "pause")]).ok

    def test_no_kind(self) -> None:
        """A kind that does not exist cannot happen anywhere."""
        assert self.refused(Fault("deploy#1 begins", cast("Any", "fials"))).startswith(
            "'fials' is no kind of fault; did you mean 'fails'?"
        )

    @pytest.mark.parametrize(
        ("faults", "message"),
        [
            ("deploy#1 begins", "faults='deploy#1 begins': give a list of them"),
            (Fault("a", "fails"), "faults=Fault(point='a', kind='fails'): give a list of them"),
            ([("a", "fails")], "('a', 'fails') is no fault; give Fault(point, kind)"),
            (
                [Fault("a", "fails"), Fault("a", "hangs")],
                "two faults cannot happen at one point, 'a'",
            ),
        ],
    )
    def test_no_faults(self, faults: Any, message: str) -> None:
        """What is no list of faults is refused."""
        assert self.refused(faults=faults) == message

    def test_arguments(self) -> None:
        """Other arguments are checked as `explore` does."""
        with pytest.raises(SimulationError, match="world=None: give a World"):
            replay(switch(World()), world=cast("Any", None), faults=[])
        with pytest.raises(SimulationError, match="is no workflow, nor a function"):
            replay(cast("Any", 3), world=World(), faults=[])
        with pytest.raises(SimulationError, match="3 is no invariant"):
            replay(switch(World()), world=World(), faults=[], invariants=[cast("Any", 3)])
        with pytest.raises(DefinitionError, match=r"^within: "):
            replay(switch(World()), world=World(), faults=[], within=0)


def make_workflow() -> Workflow:
    """Stand where a test is pasted: the workflow that was found faulty, or mended."""
    raise NotImplementedError


class TestWritten:
    @pytest.mark.parametrize("name", UNSAFE)
    def test_fails_until_mended(self, name: str) -> None:
        """The test that is printed fails for the faulty workflow, and passes for a mended one."""
        world = World()
        text = found(UNSAFE[name], world).test
        names = {UNSAFE[name].__name__: made(UNSAFE[name], world)}

        with pytest.raises(AssertionError, match="explored 'switch' under up to"):
            run_test(text, names, world=world)
        if name != "endless":  # a fault that ends it would not be reached in another workflow
            run_test(text, {UNSAFE[name].__name__: made(switch, world)}, world=world)

    def test_text(self) -> None:
        """It is what one would write: imports, a name, the invariant, and the faults."""
        assert (
            found(careless, World()).test
            == '''\
from pyflow.testing import Fault, replay


def test_after_rolled_back_versions_capacity_weights_and_configuration(world):
    """After `rolled_back`, versions, capacity, weights and configuration are as before."""
    report = replay(
        careless,
        world=world,
        faults=[
            Fault("after record 2 (task_started deploy)", "roll_back"),
            Fault("undo of deploy#1 config.set#1", "lies"),
        ],
    )
    assert report.ok, report
'''
        )

    @pytest.mark.parametrize(
        "factory", [lambda: switch(World()), partial(switch, World()), switch(World())]
    )
    def test_without_a_name(self, factory: Any) -> None:
        """A factory that has no name is a fixture of the test, as the world is."""
        world = World()

        def never(run: Explored) -> bool:
            """It never runs."""
            return False

        report = explore(factory, world=world, faults=0, invariants=[never])
        assert report.counterexample is not None
        text = report.counterexample.test

        assert "def test_it_never_runs(world, make_workflow):" in text
        assert "faults=[],\n        invariants=[never],\n    )" in text
        with pytest.raises(AssertionError, match="It never runs"):
            run_test(text, {"never": never}, world=world, make_workflow=factory)
        run_test(text, {"never": bool}, world=world, make_workflow=factory)

    def test_with_what_was_given(self) -> None:
        """What the exploration was given besides is in it, by value or as a fixture."""
        world = World()

        @always
        def stays(about: World) -> bool:
            """The mode stays."""
            return "mode" not in about.config

        given: dict[str, Any] = {
            "fakes": {"undo of deploy": lies()},
            "params": {"size": 3},
            "environment": Environment("production", tier="prod"),
        }

        def make() -> Workflow:
            async def deploy(size: int) -> None:
                world.config["mode"] = size

            return switch(world, deploy, params={"size": int})

        report = explore(
            make,
            world=world,
            invariants=[stays, lambda run: True],
            seed=7,
            within="1h",
            max_parallel=3,
            drain_timeout=timedelta(seconds=90),
            **given,
        )
        assert report.counterexample is not None
        text = report.counterexample.test

        assert "def test_the_mode_stays(world, invariants, fakes, params, environment):" in text
        assert (
            """\
        faults=[],
        invariants=invariants,
        fakes=fakes,
        params=params,
        environment=environment,
        seed=7,
        max_parallel=3,
        within=3600.0,
        drain_timeout=90.0,
    )
"""
            in text
        )
        with pytest.raises(AssertionError, match="The mode stays"):
            run_test(text, {"make": make}, world=world, invariants=[stays], **given)
        run_test(text, {"make": make}, world=world, invariants=[], **given)

    def test_as_usual(self) -> None:
        """What is as usual is left out, which takes the usual to be the same everywhere."""
        import inspect

        for call in (explore, replay):
            usual = inspect.signature(call).parameters
            assert usual["seed"].default == Options().seed
            assert usual["max_parallel"].default == Options().max_parallel
            assert (usual["within"].default, Options().within_s) == ("7d", 7 * 86_400)
            assert (usual["drain_timeout"].default, Options().drain_timeout_s) == ("10m", 600)

    @pytest.mark.parametrize(
        "invariant",
        [
            'No "mode" is set.',
            'No """mode"""',
            "No \\mode\\",
            "Kein Überlauf, 100 %",
            "One two three four five six seven eight nine ten.",
            "?",
        ],
    )
    @pytest.mark.parametrize(
        "point", ['deploy["eu"]#1 begins', "deploy[\\]#1", "deploy[ü'é]#1 ends"]
    )
    def test_can_be_read(self, invariant: str, point: str) -> None:
        """Whatever an invariant or a point is called, the test is Python, and names it."""
        violation = Violation(invariant, "", 0.0, 0)

        text = write_test(switch, [Fault(point, "fails")], violation, Options())
        tree = ast.parse(text)

        written = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        assert point in written
        name = next(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
        assert name.startswith("test_")
        assert len(name.split("_")) <= 9


class TestTold:
    def report(self) -> Exploration:
        """Return the report of a switch that does not look, as if it had taken no time."""
        world = World()
        report = explore(made(careless, world), world=world)
        return dataclasses.replace(report, elapsed_s=0.5)

    def test_report(self) -> None:
        """A report is its counts, and its counterexample."""
        report = self.report()
        text = str(report)

        assert (
            text
            == f"""\
explored 'switch' under up to 2 faults: 1 counterexample
  runs     88 in 0.5 s, 176 a second
  faults   0 faults 1, 1 faults 18, 2 faults 69
  kinds    fails 12, applied_then_fails 11, lies 6, hangs 6, crash 28, cancel 8, pause 8, roll_back 8
  points   31 at which something could go wrong
  pruned   53 runs, at a state that another went on from
  skipped  52 runs
  endings  cancelled 10, crashed 1, held 5, rolled_back 8, succeeded 11

{report.counterexample}"""
        )

    def test_safe_report(self) -> None:
        """A report of what is safe is its counts alone."""
        world = World()
        lines = told(explore(switch(world), world=world, faults=0)).splitlines()

        assert lines == [
            "explored 'switch' under up to 0 faults: all safe",
            "  runs     1 in 0.0 s, 1,000,000,000 a second",
            "  faults   0 faults 1",
            "  kinds    none",
            "  points   0 at which something could go wrong",
            "  pruned   0 runs, at a state that another went on from",
            "  skipped  0 runs",
            "  endings  succeeded 1",
        ]
        assert "under up to 1 fault: all safe" in str(explore(switch(world), world=world, faults=1))

    def test_counterexample(self) -> None:
        """A counterexample is what is broken, the script of faults, the timeline, and the test."""
        found = self.report().counterexample
        assert found is not None
        plan = found.run.plan.fingerprint[:12]
        test = "".join(f"  {line}".rstrip() + "\n" for line in found.test.splitlines())

        assert (
            str(found) + "\n"
            == f"""\
counterexample: an invariant does not hold
  {AS_BEFORE}
    config mode is 'new', and was None before; deploy counts as undone (at 0.000 s)

script of faults
  1. after record 2 (task_started deploy): roll_back
  2. undo of deploy#1 config.set#1: lies

timeline, ending rolled_back
        0.000 s  run_started: 1 task, plan {plan}
        0.000 s  task_started deploy: attempt 1: no dependencies
        0.000 s      config mode: None -> 'new'  by deploy#1
        0.000 s  task_succeeded deploy: in 0.0 ms
        0.000 s  intent_raised: rollback: by operator: explored
        0.000 s  command_received: rollback, by operator: explored
        0.000 s  undo_started deploy: attempt 1
        0.000 s  undo_succeeded deploy: in 0.0 ms
        0.000 s  outcome_decided: rolled_back: a rollback was asked for
        0.000 s  run_finished: rolled_back, 9 records
        0.000 s  !!  config mode is 'new', and was None before; deploy counts as undone

as a test
{test}"""
        )

    def test_without_faults(self) -> None:
        """Where it goes wrong by itself, that is said."""
        world = World()
        report = explore(switch(world), world=world, invariants=[lambda run: False], faults=0)

        assert "\nno fault is needed\n" in str(report.counterexample)
        assert "script of faults" not in str(report.counterexample)

    def test_repr(self) -> None:
        """In one line a report says what broke, and by which faults; so does its counterexample."""
        report = self.report()
        broken = (
            f'"{AS_BEFORE[:-1]}" by [after record 2 (task_started deploy): roll_back; '
            "undo of deploy#1 config.set#1: lies]"
        )

        assert repr(report) == f"<Exploration of switch: 88 runs, broken: {broken}>"
        assert repr(report.counterexample) == f"<Counterexample to {broken}>"

    def test_repr_of_no_counterexample(self) -> None:
        """A report without a counterexample says that all is safe, or how much was left out."""
        safe = explore(switch(World()), world=World(), faults=0)

        assert repr(safe) == "<Exploration of switch: 1 run, all safe>"
        assert (
            repr(dataclasses.replace(safe, runs=4321, skipped=7))
            == "<Exploration of switch: 4,321 runs, not complete: 7 skipped>"
        )

    def test_repr_of_much(self) -> None:
        """Where more broke than one line can say, the first is named and the others are counted."""

        def both(run: Explored) -> bool:
            return False

        def again(run: Explored) -> bool:
            return False

        world = World()
        report = explore(switch(world), world=world, faults=0, invariants=[both, again])
        many = dataclasses.replace(report, counterexamples=report.counterexamples * 3)

        broken = '"both" and 1 more by [no fault]'
        assert repr(many) == f"<Exploration of switch: 1 run, 3 counterexamples, broken: {broken}>"

    def test_repr_is_short(self) -> None:
        """However long names and sentences are, pytest shows the line whole: it has 240 characters."""
        report = self.report()
        (found,) = report.counterexamples
        wordy = dataclasses.replace(
            found,
            faults=(Fault("deploy#1 " + "x" * 300, "lies"), *found.faults),
            violations=(dataclasses.replace(found.violations[0], invariant="y" * 300),) * 1000,
        )
        many = dataclasses.replace(
            report, workflow="z" * 300, runs=10**9, counterexamples=(wordy,) * 20
        )

        for line in (repr(many), repr(wordy)):
            assert '"yyyy' in line
            assert "[deploy#1 xxx" in line
            assert len(line) == 240

    def test_timeline(self) -> None:
        """Records, changes and violations come in the order in which they happened."""
        world = World()
        world.at("90s", lambda: world.config.update(drift=True))

        @always
        def unset(about: World) -> str | None:
            return "it is set" if "mode" in about.config else None

        async def deploy(ctx: AsyncContext) -> None:
            await ctx.sleep("1m")
            world.config["mode"] = "new"
            ctx.log("x" * 300)
            await ctx.sleep("1m")

        workflow = Workflow("w")
        workflow.add_task("deploy", deploy)
        report = explore(workflow, world=world, faults=0, invariants=[unset])
        assert report.counterexample is not None
        lines = report.counterexample.timeline

        assert [line[:60].rstrip() for line in lines[1:6]] == [
            "      0.000 s  task_started deploy: attempt 1: no dependenci",
            "     60.000 s      config mode: None -> 'new'  by deploy#1",
            "     60.000 s  !!  it is set",
            "     60.000 s  logged deploy: " + "x" * 30,
            "     90.000 s      config drift: None -> True  by the world",
        ]
        assert max(map(len, lines)) == 160

    def test_crash(self) -> None:
        """The timeline of a run that crashed goes on where another engine took it up."""
        world = World()
        report = explore(
            switch(world),
            world=world,
            kinds=["crash"],
            invariants=[lambda run: run.status != "held"],
        )
        assert report.counterexample is not None

        assert [str(fault) for fault in report.counterexample.faults] == [
            "after record 2 (task_started deploy): crash"
        ]
        assert "timeline, ending held" in str(report.counterexample)
        assert [line[:38].rstrip() for line in report.counterexample.timeline] == [
            "      0.000 s  run_started: 1 task, pl",
            "      0.000 s  task_started deploy: at",
            "     60.000 s  run_resumed: by explora",
            "     60.000 s  task_interrupted deploy",
            "     60.000 s  intent_raised deploy: h",
            "     60.000 s  !!  it does not hold",
        ]

    def test_of_nothing(self) -> None:
        """Of a run that never began there is nothing to tell, and asking for its state says so."""
        seen: list[Explored] = []
        world = World()

        def note(run: Explored) -> None:
            seen.append(run)

        report = replay(
            switch(world),
            world=world,
            faults=[Fault("before record 1 (run_started)", "crash")],
            invariants=[note],
        )

        assert report.ok
        assert report.endings == {"crashed": 1}
        assert seen == []


class TestNotRun:
    def test_says_so(self) -> None:
        """A run that never began has no state, no result and no id, and is not asked about."""
        from pyflow.testing.exploration.laboratory import Laboratory
        from pyflow.testing.exploration.scout import Scout
        from pyflow.testing.exploration.telling import tell
        from pyflow.testing.exploration.template import Template

        world = World()
        laboratory = Laboratory(Template(made(switch, world)), world, Options())
        script = (Fault("before record 1 (run_started)", "crash"),)
        run = laboratory.run(script, Scout(script, frozenset())).explored
        laboratory.close()

        assert run is not None
        assert not run.has_begun
        assert (run.status, run.residue, run.events, run.engine_error) == ("crashed", (), [], None)
        assert tell(run, ()) == ()
        for name in ("state", "result", "audit_trail", "id", "redactor"):
            with pytest.raises(NotRun, match="died before the run began"):
                getattr(run, name)
