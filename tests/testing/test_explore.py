"""`explore`: every fault and every pair of faults, counted, pruned, bounded, and told."""

from __future__ import annotations

import asyncio
import gc
import importlib
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, cast

import pytest

import pyflow
from pyflow import AsyncContext, Context, Environment, RecoveryContext, Workflow
from pyflow.errors import DefinitionError, LockError
from pyflow.probes import Callable as Asking
from pyflow.testing import (
    Counterexample,
    Exploration,
    Explored,
    Fault,
    Progress,
    SimulatedFault,
    SimulationError,
    World,
    always,
    applied_then_fails,
    explore,
    lies,
    returns,
    run_virtual,
    simulate,
    takes,
)
from pyflow.testing.exploration import laboratory
from pyflow.testing.exploration.explore import YOUNG_MAX
from pyflow.testing.exploration.laboratory import Laboratory
from pyflow.testing.exploration.scout import Scout
from pyflow.testing.exploration.template import Template
from pyflow.testing.exploration.trial import Options
from pyflow.testing.faults import KINDS, NO_FAULTS
from support.explored import FEW, SAFE, UNSAFE, Mismatch, careless, made, switch, told, twofold
from support.repeatable import run_python
from support.simulated import nap_isolated, nothing_behind, undo_isolated
from support.worlds import shop
from support.worlds import told as changes

ENDS = "Every run ends in a defined state, within bounded virtual time."


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with nothing_behind(caplog):
        yield


def explored(make: Callable[[World], Workflow] = switch, **options: Any) -> Exploration:
    """Explore what *make* makes, in a world of its own."""
    world = World()
    return explore(made(make, world), world=world, **options)


def script(report: Exploration) -> list[str]:
    """Return the faults of the counterexample."""
    assert report.counterexample is not None
    return [str(fault) for fault in report.counterexample.faults]


def broken(report: Exploration) -> list[str]:
    """Return the invariants that the counterexample breaks."""
    assert report.counterexample is not None
    return broken_by(report.counterexample)


def broken_by(one: Counterexample) -> list[str]:
    """Return the invariants that *one* breaks."""
    return [violation.invariant for violation in one.violations]


def said(report: Exploration) -> str:
    """Return what the opening violation of the counterexample says."""
    assert report.counterexample is not None
    return report.counterexample.violations[0].message


class TestCounts:
    def test_without_faults(self) -> None:
        """Without faults there is one run, and nothing to go wrong."""
        report = explored(faults=0)

        assert report.ok
        assert report
        assert (report.workflow, report.faults, report.runs) == ("switch", 0, 1)
        assert (report.by_faults, report.by_kind, report.endings) == ({0: 1}, {}, {"succeeded": 1})
        assert (report.points, report.pruned, report.skipped) == (0, 0, 0)
        assert (report.counterexamples, report.counterexample) == ((), None)

    def test_single(self) -> None:
        """Every fault is tried alone: at each commit, around the call, and in what it calls."""
        report = explored(faults=1)

        # run_started, task_started and task_succeeded (with the outcome and the end) are three
        # commits: a crash before and after each, an operator after the two that do not end it.
        # The call fails or hangs as it begins, fails as it ends, and sets the setting once.
        assert report.ok
        assert report.by_kind == {
            "fails": 1 + 1,
            "applied_then_fails": 1 + 1,
            "lies": 1,
            "hangs": 1,
            "crash": 3 * 2,
            "cancel": 2,
            "pause": 2,
            "roll_back": 2,
        }
        assert report.points == 3 * 2 + 2 + 1
        assert report.by_faults == {0: 1, 1: 18}
        assert report.runs == 19 == sum(report.endings.values()) + report.pruned

    def test_single_unpruned(self) -> None:
        """Without pruning every run is seen to its end."""
        report = explored(faults=1, prune=False)

        # rolled_back: fails 2, applied_then_fails 2, hangs 1, roll_back 2. Of the crashes, the one
        # before the opening record leaves no run; the two around the call have somebody asked
        # whether it took effect; and the others are survived.
        assert report.endings == {
            "cancelled": 2,
            "crashed": 1,
            "held": 2,
            "rolled_back": 7,
            "succeeded": 1 + 1 + 2 + 3,
        }
        assert (report.runs, report.pruned) == (19, 0)

    def test_pairs(self) -> None:
        """Every fault is tried after every other, as far as a run gets; pruning leaves some out."""
        report, whole = explored(faults=2), explored(faults=2, prune=False)

        # A crash before task_started is followed by run_resumed and all that a run of its own has,
        # and one around the call by run_resumed alone, where somebody is asked.
        before = 5 + (5 + 6 + 2)  # a crash before and after, an operator's three; as above
        assert whole.by_faults == {0: 1, 1: 18, 2: 131 + 2 * before + 2 * 5}
        assert report.by_faults == {0: 1, 1: 18, 2: 121}
        assert (report.points, whole.points) == (31, 34)
        assert (report.pruned, report.skipped, whole.skipped) == (102, 0, 0)
        assert report.ok
        assert report.complete
        assert whole.ok

    def test_deeper(self) -> None:
        """A greater budget makes every run of a smaller one, and more."""
        counts = [explored(faults=faults).by_faults for faults in range(3)]

        for smaller, greater in itertools.pairwise(counts):
            assert greater.items() > smaller.items()

    @pytest.mark.parametrize("make", [twofold, careless])
    def test_repeats(self, make: Callable[[World], Workflow]) -> None:
        """Equal explorations give equal reports, but for the time that they take."""
        assert told(explored(make)) == told(explored(make))

    def test_repeats_elsewhere(self) -> None:
        """A process in which strings hash otherwise reports the same."""
        code = ["-c", "from support.explored import main; main()"]
        reports = [run_python(code, PYTHONHASHSEED=seed) for seed in "12"]

        assert [report.stderr for report in reports] == ["", ""]
        assert reports[0].stdout == reports[1].stdout
        assert reports[0].stdout == told(explored(twofold)) + told(explored(careless))

    def test_seed(self) -> None:
        """The seed reaches the runs."""
        ids: list[str] = []

        for seed in (1, 1, 2):
            explored(faults=0, seed=seed, invariants=[lambda run: ids.append(run.id)])

        assert ids[0] == ids[1] != ids[2]


class TestKinds:
    def test_chosen(self) -> None:
        """Only what was chosen goes wrong."""
        report = explored(kinds=["crash", "lies"])

        assert report.by_kind.keys() == {"crash", "lies"}
        assert report.endings.keys() == {"crashed", "held", "succeeded"}

    @pytest.mark.parametrize("kind", KINDS)
    def test_each(self, kind: Any) -> None:
        """Each kind can be asked for alone, and only it is counted."""
        report = explored(kinds=[kind], faults=1)

        assert set(report.by_kind) <= {kind}
        assert report.runs == explored(faults=1).by_kind.get(kind, 0) + 1

    def test_none(self) -> None:
        """If nothing may go wrong, there is one run whatever the budget."""
        assert explored(kinds=[], faults=2).runs == 1


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"faults": -1}, "faults=-1: give a whole number from 0 to 5"),
            ({"faults": 6}, "faults=6: give a whole number from 0 to 5"),
            ({"faults": True}, "faults=True: give a whole number from 0 to 5"),
            ({"faults": "2"}, "faults='2': give a whole number from 0 to 5"),
            (
                {"kinds": ["carsh"]},
                f"'carsh' is no kind of fault; did you mean 'crash'? There are: {', '.join(KINDS)}",
            ),
            (
                {"kinds": ["?"]},
                f"'?' is no kind of fault. There are: {', '.join(KINDS)}",
            ),
            ({"kinds": "crash"}, "kinds='crash': give a list of them"),
            ({"kinds": None}, "kinds=None: give a list of them"),
            ({"invariants": [3]}, "3 is no invariant; give a function"),
            ({"invariants": "all"}, "invariants='all': give a list of them"),
            ({"world": None}, "world=None: give a World"),
            ({"fakes": {"deplyo": lies()}}, "fakes= has 'deplyo', and the workflow has no such"),
        ],
    )
    def test_refused(self, options: dict[str, Any], message: str) -> None:
        """An argument that makes no sense is refused, and the error shows it."""
        world = World()

        with pytest.raises(SimulationError) as caught:
            explore(made(switch, world), **cast("Any", {"world": world, **options}))

        assert str(caught.value).startswith(message)

    def test_invariant_alone(self) -> None:
        """A function where a list of them belongs is refused."""
        with pytest.raises(SimulationError, match=r"invariants=<function .*: give a list of them"):
            explored(invariants=lambda run: True)

    @pytest.mark.parametrize("span", [0, -1, "soon", True, float("nan")])
    @pytest.mark.parametrize("name", ["time_limit", "within"])
    def test_spans(self, name: str, span: Any) -> None:
        """A span that is none is refused by its name."""
        with pytest.raises(DefinitionError, match=f"^{name}: "):
            explored(**{name: span})

    @pytest.mark.parametrize("factory", [None, 3, "switch", [switch]])
    def test_no_factory(self, factory: Any) -> None:
        """What is neither a workflow nor a function is refused."""
        with pytest.raises(SimulationError, match="is no workflow, nor a function that returns"):
            explore(factory, world=World())

    @pytest.mark.parametrize("thing", [None, switch, "switch"])
    def test_factory_of_nothing(self, thing: Any) -> None:
        """A factory has to return a workflow."""
        with pytest.raises(SimulationError, match=r"the factory returned .*; expected a Workflow"):
            explore(lambda: thing, world=World())

    def test_wrong_workflow(self) -> None:
        """A workflow that is wrong is refused as it is everywhere."""
        workflow = switch(World())
        workflow.add_task("check", lambda: None, depends_on="deplyo")

        with pytest.raises(DefinitionError, match="did you mean 'deploy'"):
            explore(workflow, world=World())

    def test_wrong_params(self) -> None:
        """Parameters that do not fit are refused as they are everywhere."""
        with pytest.raises(DefinitionError, match="size"):
            explored(params={"size": 3})

    def test_workflow(self) -> None:
        """A workflow that remembers nothing does in place of a factory."""
        world = World()

        report = explore(switch(world), world=world)

        assert report.ok
        assert report.runs == explored().runs

    def test_max_parallel(self) -> None:
        """The engine's own options are handed on."""
        with pytest.raises(ValueError, match="max_parallel"):
            explored(max_parallel=0)
        with pytest.raises(DefinitionError, match="drain_timeout"):
            explored(drain_timeout="soon")

    def test_what_is_given(self) -> None:
        """Parameters, the environment and fakes reach every run."""
        world = World()
        seen: list[tuple[str, int]] = []

        async def deploy(ctx: AsyncContext, size: int) -> None:
            assert ctx.environment is not None
            seen.append((ctx.environment.name, size))

        def make() -> Workflow:
            workflow = Workflow("w", params={"size": int})
            workflow.add_task("deploy", deploy, timeout="1m")
            workflow.add_task("check", deploy, depends_on="deploy")
            return workflow

        report = explore(
            make,
            world=world,
            faults=1,
            params={"size": 3},
            environment=Environment("production", tier="prod"),
            fakes={"check": takes("1h", then=returns("fine"))},
            kinds=["fails", "cancel"],
        )

        assert report.ok
        assert set(seen) == {("production", 3)}
        # after each of the three commits that do not end the run, and in the middle of the hour
        assert report.by_kind == {"fails": 2, "cancel": 4}


class TestWorld:
    def used(self) -> World:
        """Return a world that much has happened to."""
        world = shop(instances=2, rps=10)
        world.at("1s", lambda: world.config.update(seen=True))
        world.platform.on("observe", applied_then_fails(times=2))
        world.watchers.append(lambda: None)
        simulate(switch(world), world=world)

        async def hold() -> None:
            await world.locks.acquire("mine", ["mine"])
            world.locks.release(await world.locks.acquire("theirs", ["theirs"]), residue=True)

        run_virtual(hold())
        return world

    def state(self, world: World) -> list[Any]:
        """Return all that can be seen of *world*."""
        locks = [
            (world.locks.holder(r), str(world.locks.refusal([r]))) for r in ("mine", "theirs", "x")
        ]
        return [
            str(world),
            world.facts(),
            changes(world.history),
            world.now_s,
            locks,
            world.faults,
            list(world.watchers),
            list(world.notifier.sent),
            world.platform.save(),
            world.schema_version,
        ]

    def busy(self, world: World) -> Workflow:
        """Return a workflow that changes all of a world."""

        async def deploy(ctx: AsyncContext) -> None:
            await world.platform.scale("shop", "2.0", 3)
            await world.router.set_weights("shop", {"1.0": 50, "2.0": 50})
            world.schema_version += 1
            await world.notifier.notify(None)  # type: ignore[arg-type]
            world.service("mail", version="1")
            world.at("1s", lambda: None)
            world.platform.on("scale", lies())
            await ctx.sleep("1h")

        workflow = Workflow("busy", locks=["x"])
        workflow.add_task("deploy", deploy, timeout="2h")
        return workflow

    def test_as_it_was(self) -> None:
        """The world is left as it was found, to the clock, the locks and who watches it."""
        world = self.used()
        before = self.state(world)

        report = explore(made(self.busy, world), world=world, faults=1, find_all=True)

        assert report.runs > 15
        assert self.state(world) == before
        assert before[5] is NO_FAULTS

    @pytest.mark.parametrize("where", ["factory", "later", "world", "progress", "invariant"])
    def test_after_an_error(self, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The world is left as it was found whatever is raised on the way."""
        world = self.used()
        before = self.state(world)
        made_so_far: list[Workflow] = []

        def fail(*_: object) -> None:
            raise KeyboardInterrupt(where)

        def make() -> Workflow:
            if where == "factory" or (where == "later" and len(made_so_far) == 5):
                fail()
            if where == "world":
                world.at("2s", fail)
            made_so_far.append(self.busy(world))
            return made_so_far[-1]

        invariant = fail if where == "invariant" else bool
        monkeypatch.setattr(explore_module(), "PROGRESS_EVERY_S", 0.0)
        with pytest.raises(KeyboardInterrupt, match=where):
            explore(make, world=world, progress=fail, invariants=[invariant])

        assert self.state(world) == before

    def test_goes_on(self) -> None:
        """After an exploration a simulation begins where the world stands."""
        world, other = self.used(), self.used()
        explore(made(self.busy, world), world=world, faults=1)

        assert changes(simulate(self.busy(world), world=world).history) == changes(
            simulate(self.busy(other), world=other).history
        )

    def test_what_is_planned(self) -> None:
        """What is planned for the world happens in every run, by nobody's hand."""
        world = shop(instances=2, rps=10)
        world.at("30s", lambda: world.kill("shop", "1.0", 2))
        ends: set[Any] = set()

        def note(run: Explored) -> None:
            ends.add(tuple(change.by for change in run.history))

        report = explore(
            call_of(lambda: asyncio.sleep(60)), world=world, faults=0, invariants=[note]
        )

        assert report.ok  # nobody of the run has done it
        assert ends == {(None,)}

    def test_what_is_planned_fails(self) -> None:
        """What is planned and fails is raised, as a simulation does."""
        world = World()
        world.at("30s", lambda: world.kill("shop", "1.0"))

        with pytest.raises(SimulationError, match="the world has no service 'shop'"):
            explore(call_of(lambda: asyncio.sleep(60)), world=world)

    def test_others_have_the_lock(self) -> None:
        """A run whose lock somebody holds waits for ever, and is not blamed for the lock."""
        world = self.used()

        waiting = explore(lambda: switch(world, locks=("mine",)), world=world, find_all=True)

        assert {v for one in waiting.counterexamples for v in broken_by(one)} == {ENDS}
        assert "acquire" in said(waiting)
        with pytest.raises(LockError, match="run theirs left residue"):
            explore(lambda: switch(world, locks=("theirs",)), world=world)

    def test_mistakes(self) -> None:
        """A mistake of the test is raised, rather than taken for a failure of the deployment."""
        world = shop()

        with pytest.raises(SimulationError, match="no service 'shp'; did you mean 'shop'"):
            explore(call_of(lambda: world.platform.scale("shp", "2.0", 1)), world=world)


def call_of(work: Callable[[], Any]) -> Callable[[], Workflow]:
    """Return a factory for a task, ``deploy``, that awaits *work* and has an hour for it."""

    async def deploy() -> None:
        await work()

    def make() -> Workflow:
        workflow = Workflow("w")
        workflow.add_task("deploy", deploy, timeout="1h")
        return workflow

    return make


def explore_module() -> Any:
    """Return the module, which its function hides."""
    return importlib.import_module("pyflow.testing.exploration.explore")


class TestTimeLimit:
    def test_stops(self) -> None:
        """Once the time is up no further run is made, and the report says what is missing."""
        report = explored(time_limit=1e-6)

        assert report.runs == 1
        assert report.skipped == explored(faults=1).runs - 1
        assert not report.complete
        assert not report.ok
        assert not report
        assert "under up to 2 faults: not complete" in str(report)

    def test_is_enough(self) -> None:
        """A limit that is not used up changes nothing."""
        assert told(explored(time_limit="1h")) == told(explored())


class TestGarbage:
    @pytest.fixture(autouse=True)
    def as_before(self) -> Iterator[None]:
        before = gc.get_threshold()
        yield
        gc.set_threshold(*before)

    @pytest.mark.parametrize(
        ("before", "during"),
        [
            ((700, 10, 10), (YOUNG_MAX, 10, 10)),
            ((90_000, 5, 5), (90_000, 5, 5)),
            ((0, 9, 9), (0, 9, 9)),
        ],
    )
    def test_is_looked_for_less(
        self, before: tuple[int, int, int], during: tuple[int, int, int]
    ) -> None:
        """Runs are made with fewer looks for garbage, and whoever looks seldom or never goes on so."""
        gc.set_threshold(*before)
        seen: set[tuple[int, int, int]] = set()

        explored(faults=0, invariants=[lambda _: seen.add(gc.get_threshold())])

        assert seen == {during}
        assert gc.get_threshold() == before

    def test_after_an_error(self) -> None:
        """An exploration that ends with an error leaves the collector as it was too."""
        before = gc.get_threshold()

        with pytest.raises(SimulationError):
            explore(cast("Any", lambda: 7), world=World())

        assert gc.get_threshold() == before


class TestProgress:
    def test_callback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever asked is told how far it has come."""
        monkeypatch.setattr(explore_module(), "PROGRESS_EVERY_S", 0.0)
        seen: list[Progress] = []

        report = explored(faults=1, progress=seen.append)

        assert [one.runs for one in seen] == list(range(1, 20))
        assert [one.waiting for one in seen] == list(range(18, -1, -1))
        assert [one.faults for one in seen] == [0, *[1] * 18]
        assert 0 < seen[0].elapsed_s <= seen[-1].elapsed_s <= report.elapsed_s
        assert str(Progress(1_200, 34, 2, 5.04)) == "1,200 runs in 5.0 s, 34 to go, 2 faults each"

    def test_not_too_often(self) -> None:
        """Nobody is told more than about once a second."""
        seen: list[Progress] = []
        report = explored(faults=1, progress=seen.append)

        assert len(seen) <= report.elapsed_s

    @pytest.mark.parametrize(
        ("progress", "terminal", "is_told"),
        [(True, False, True), (None, True, True), (None, False, False), (False, True, False)],
    )
    def test_stderr(
        self,
        progress: bool | None,
        terminal: bool,
        is_told: bool,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """It goes to stderr if asked for, and to a terminal unless forbidden."""
        module = explore_module()
        monkeypatch.setattr(module, "PROGRESS_EVERY_S", 0.0)
        monkeypatch.setattr(module.sys.stderr, "isatty", lambda: terminal)
        explored(faults=1, progress=progress)

        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == (19 if is_told else 0)
        assert all(" runs in 0." in line and line.endswith(" each") for line in lines)


class TestInvariants:
    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (None, None),
            (True, None),
            (False, "it does not hold"),
            ("it is new", "it is new"),
            ("", "it does not hold"),
            (AssertionError("it is new"), "it is new"),
            (AssertionError(), "the assertion failed"),
            (KeyError("mode"), "it raised KeyError: 'mode'"),
        ],
    )
    @pytest.mark.parametrize("mark", [always, lambda invariant: invariant], ids=["always", "end"])
    def test_answers(self, mark: Any, answer: object, message: str | None) -> None:
        """An invariant is broken by False, by a sentence, by an assertion, and by any error."""

        @mark
        def stays_old(about: World | Explored) -> object:
            world = about if isinstance(about, World) else about.world
            if world.config.get("mode") != "new":
                return None
            if isinstance(answer, Exception):
                raise answer
            return answer

        report = explored(faults=0, invariants=[stays_old])

        assert report.endings == {"succeeded": 1}
        if message is None:
            assert report.ok
        else:
            assert (broken(report), said(report)) == (["stays old"], message)
            assert script(report) == []

    def test_name(self) -> None:
        """An invariant is called what its docstring says, or by its name, partials included."""

        def documented(run: Explored, wanted: int) -> bool:
            """The mode stays old.

            It was so before.
            """
            return wanted == 3

        class Bare:
            def __call__(self, run: Explored) -> bool:
                return False

        reports = [
            explored(faults=0, invariants=[one])
            for one in (partial(documented, wanted=4), lambda run: False, Bare())
        ]

        assert [broken(report) for report in reports] == [
            ["The mode stays old."],
            ["<lambda>"],
            ["invariant"],
        ]

    def test_is_told_once(self) -> None:
        """What is broken at many changes in the same way is told once."""
        world = World()

        async def put() -> None:
            for level in range(4):
                world.config["level"] = level

        @always
        def stays_unset(about: World) -> str | None:
            return "it is set" if "level" in about.config else None

        workflow = Workflow("w")
        workflow.add_task("deploy", put)
        report = explore(workflow, world=world, faults=0, invariants=[stays_unset])

        assert report.counterexample is not None
        assert [v.message for v in report.counterexample.violations] == ["it is set"]

    def test_at_every_change(self) -> None:
        """A marked invariant sees what no end shows, as of the moment at which it was so."""
        world = World()

        async def deploy(ctx: AsyncContext) -> None:
            await ctx.sleep("1m")
            world.config["mode"] = "odd"
            await ctx.sleep("1m")
            world.config["mode"] = "new"

        @always
        def never_odd(about: World) -> bool:
            return about.config.get("mode") != "odd"

        def make() -> Workflow:
            return switch(world, deploy, timeout="1h")

        report = explore(make, world=world, invariants=[never_odd], faults=1)

        assert report.counterexample is not None
        violation = report.counterexample.violations[0]
        assert (violation.invariant, violation.at_s, violation.after_record) == ("never odd", 60, 2)
        assert str(violation) == "never odd\n    it does not hold (at 60.000 s)"
        assert explore(make, world=world, invariants=[lambda run: True], faults=0).ok

    def test_of_a_run(self) -> None:
        """An invariant sees the whole run: faults, records, states, calls, facts, history."""
        seen: list[Explored] = []
        report = explored(invariants=[seen.append], faults=1, kinds=["roll_back"], prune=False)

        assert report.ok
        assert [run.status for run in seen] == ["succeeded", "rolled_back", "rolled_back"]
        plain, _, back = seen
        assert repr(plain) == "<Explored succeeded after 0 s under 0 faults>"
        assert repr(back) == "<Explored rolled_back after 0 s under 1 fault>"
        assert back.faults == (Fault("after record 2 (task_started deploy)", "roll_back"),)
        assert back.before == {"schema version": 0} == back.after
        assert plain.after == {"schema version": 0, "config mode": "new"}
        assert [call.label for call in back.calls] == ["deploy#1", "undo of deploy#1"]
        assert [str(change.by) for change in back.history] == ["deploy#1", "undo of deploy#1"]
        assert back.state.tasks["deploy"].status == "undone"
        assert back.result.status == "rolled_back"
        assert [r.event for r in back.audit_trail] == back.events
        assert back.residue == ()

    def test_of_a_crash(self) -> None:
        """Of a run that crashed an invariant sees what was recorded, and what came of that."""
        seen: dict[str, Explored] = {}

        def note(run: Explored) -> None:
            seen[run.faults[-1].point if run.faults else ""] = run

        explored(invariants=[note], faults=1, kinds=["crash"], prune=False)

        lost = seen["before record 3 (task_succeeded deploy)"]
        assert (lost.status, lost.state.tasks["deploy"].status) == ("held", "interrupted")
        assert lost.residue == ()
        assert lost.after == {"schema version": 0, "config mode": "new"}  # what nobody knows
        known = seen["after record 3 (task_succeeded deploy)"]
        assert (known.status, known.state.tasks["deploy"].status) == ("succeeded", "succeeded")
        begun = seen["after record 1 (run_started)"]
        assert [event.kind for event in begun.events[:3]] == [
            *("run_started", "run_resumed", "task_started")
        ]
        assert [record.event for record in begun.audit_trail] == begun.events
        assert "before record 1 (run_started)" not in seen  # then there is nothing to look at


class TestPruning:
    @pytest.mark.parametrize("name", SAFE)
    def test_safe(self, name: str) -> None:
        """What is safe is found safe with pruning and without, in fewer runs with it."""
        pruned, whole = explored(SAFE[name]), explored(SAFE[name], prune=False)

        assert pruned.ok
        assert whole.ok
        assert pruned.runs < whole.runs
        assert pruned.endings.keys() == whole.endings.keys()

    @pytest.mark.parametrize("name", UNSAFE)
    def test_unsafe(self, name: str) -> None:
        """What is unsafe is found so with pruning and without, by as many faults."""
        pruned, whole = explored(UNSAFE[name]), explored(UNSAFE[name], prune=False)

        assert not pruned.ok
        assert broken(pruned) == broken(whole)
        assert len(script(pruned)) == len(script(whole))
        assert pruned.runs <= whole.runs

    def test_lies_are_not_forgotten(self) -> None:
        """A state that somebody was lied to about is not taken for one that is as it seems."""
        world = shop()

        async def deploy() -> str:
            await world.platform.scale("shop", "2.0", 2)
            return "done"

        async def undeploy() -> None:
            await world.platform.scale("shop", "2.0", 0)
            if (await world.platform.observe("shop")).instances[4:]:
                raise Mismatch

        def make() -> Workflow:
            return switch(world, deploy, undeploy)

        assert explore(make, world=world).ok
        assert explore(make, world=world, prune=False).ok

    def test_calls_under_way(self) -> None:
        """What a call has been told so far counts while it is under way, though nothing shows yet."""
        world = shop()
        probe = world.probe("shop")

        def make() -> Workflow:
            async def deploy(ctx: AsyncContext) -> None:
                await probe.read()
                healthy = (await probe.read()).is_healthy
                await ctx.sleep("1m")
                world.config["mode"] = "new" if healthy else "odd"

            async def tick(ctx: AsyncContext) -> None:
                await ctx.sleep("30s")

            workflow = switch(world, deploy, timeout="1h")
            workflow.add_task("tick", tick, timeout="1h")
            return workflow

        def never_odd(run: Explored) -> bool:
            return run.after.get("config mode") != "odd"

        report = explore(make, world=world, faults=1, kinds=["flipped"], invariants=[never_odd])

        assert script(report) == ["deploy#1 probe.read#2: flipped"]

    @pytest.mark.parametrize("beside", [True, False])
    def test_no_answer(self, *, beside: bool) -> None:
        """A call that was refused an answer is not one that waited for it in vain, nor one that still does."""
        world = shop()

        def make() -> Workflow:
            async def deploy(ctx: AsyncContext) -> None:
                late = False
                try:
                    async with asyncio.timeout(10):
                        await world.platform.observe("shop")
                except TimeoutError:
                    late = True
                except SimulatedFault:
                    pass
                await ctx.sleep("1m")
                world.config["mode"] = "odd" if late else "new"

            async def tick(ctx: AsyncContext) -> None:
                await ctx.sleep("30s")

            workflow = switch(world, deploy, timeout="1h")
            if beside:
                workflow.add_task("tick", tick, timeout="1h")
            return workflow

        def never_odd(run: Explored) -> bool:
            return run.after.get("config mode") != "odd"

        report = explore(
            make, world=world, faults=1, kinds=["fails", "hangs"], invariants=[never_odd]
        )

        assert script(report) == ["deploy#1 platform.observe#1: hangs"]

    def test_waits(self) -> None:
        """A run is given up while everything waits, if another went on from there."""
        world = shop()
        seen: list[str] = []

        def make() -> Workflow:
            async def deploy(ctx: AsyncContext) -> None:
                await world.platform.observe("shop")
                await ctx.sleep("1m")
                seen.append("went on")

            return switch(world, deploy, timeout="1h")

        report = explore(make, world=world, faults=1, kinds=["stale"])

        assert (report.ok, report.runs, report.pruned) == (True, 2, 1)
        assert seen == ["went on"]

    def test_polls(self) -> None:
        """A poll goes by its last look, so a run is given up at the next one after a look that failed."""
        world = shop()

        def make() -> Workflow:
            async def is_ready() -> bool:
                state = await world.platform.observe("shop")
                return sum(one.ready for one in state.instances) > 4

            async def deploy(ctx: AsyncContext) -> None:
                await world.platform.scale("shop", "2.0", 2)
                await ctx.poll(Asking(is_ready), backoff="30s", timeout="1h")

            async def undeploy() -> None:
                await world.platform.scale("shop", "2.0", 0)

            return switch(world, deploy, undeploy, timeout="2h")

        runs: list[int] = []
        for startup in ("2m", "4m", "8m"):
            world.release("shop", "2.0", startup=startup)
            report = explore(make, world=world, kinds=["fails"])
            assert report.ok
            runs.append(report.by_faults[2])

        assert runs == [
            9,
            15,
            25,
        ]  # with the looks, not with their pairs, as 24, 81 and 256 would be

    def test_memory(self) -> None:
        """What functions keep in variables is not seen: pruning takes two such states for one."""
        world = shop()
        probe = world.probe("shop")

        def make(*, tells: bool) -> Workflow:
            noted: list[bool] = []

            async def look() -> bool:
                await probe.read()
                noted.append((await probe.read()).is_healthy)
                return noted[-1] if tells else True

            async def put() -> None:
                world.config["mode"] = "new"

            async def put_back() -> None:
                while noted[-1] and world.config.get("mode") is not None:
                    world.config["mode"] = None

            workflow = Workflow("w")
            workflow.add_task("look", look, timeout="1m")
            workflow.add_task("deploy", put, depends_on="look", timeout="1m")
            workflow.add_recovery("deploy", put_back, timeout="1m", retry=FEW)
            return workflow

        secretive, open_ = partial(make, tells=False), partial(make, tells=True)

        assert not explore(secretive, world=world, prune=False).ok
        assert explore(secretive, world=world).ok  # the limit that the documentation names
        assert not explore(open_, world=world).ok


class TestFindAll:
    def test_each_once(self) -> None:
        """Every way to break an invariant is told once, the shortest first, and each is minimal."""
        report = explored(UNSAFE["forgetful"], find_all=True, prune=False)

        assert report.complete
        assert not report.ok
        scripts = [tuple(map(str, one.faults)) for one in report.counterexamples]
        assert len(set(scripts)) == len(scripts) > 1
        assert scripts == sorted(scripts, key=len)
        for one in scripts:
            assert not any(set(other) < set(one) for other in scripts)
        assert f"under up to 2 faults: {len(scripts)} counterexamples" in str(report)

    def test_goes_on(self) -> None:
        """Invariants that are broken by more faults are found as well."""
        world = World()

        def twice(run: Explored) -> bool:
            """It fails at most once."""
            return sum(event.kind == "attempt_failed" for event in run.events) < 2

        def never(run: Explored) -> bool:
            """It never fails."""
            return all(event.kind != "attempt_failed" for event in run.events)

        report = explore(
            lambda: switch(world, retry=FEW),
            world=world,
            invariants=[twice, never],
            kinds=["fails"],
            prune=False,
            find_all=True,
        )

        assert [
            (len(one.faults), [v.invariant for v in one.violations])
            for one in report.counterexamples
        ] == [
            (1, ["It never fails."]),
            (1, ["It never fails."]),
            *[(2, ["It fails at most once.", "It never fails."])] * 4,
        ]

    def test_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No more than a certain number of counterexamples is told."""
        monkeypatch.setattr(explore_module(), "COUNTEREXAMPLES_MAX", 1)

        report = explored(UNSAFE["forgetful"], find_all=True)

        assert len(report.counterexamples) == 1
        assert report.skipped > 0

    def test_shrinks(self) -> None:
        """Faults that are not needed are taken out, one after another, and the rest is run again."""
        world = World()
        options = Options(at_the_end=(lambda run: all(f.kind != "lies" for f in run.faults),))
        laboratory = Laboratory(Template(made(switch, world)), world, options)
        faults = (
            Fault("after record 1 (run_started)", "pause"),
            Fault("deploy#1 config.set#1", "lies"),
            Fault("deploy#1 ends", "applied_then_fails"),
        )

        found = laboratory.run(faults, Scout(faults, frozenset()))
        smallest = explore_module()._shrunk(laboratory, found, "<lambda>")
        laboratory.close()

        assert found.script == faults
        assert smallest.script == faults[1:2]
        assert [violation.invariant for violation in smallest.violations] == ["<lambda>"]


class TestEqualRuns:
    def test_a_fault_that_is_missed(self) -> None:
        """A workflow that takes another road in an equal run is refused."""
        world, runs = World(), list[int]()

        def make() -> Workflow:
            runs.append(len(runs))
            return switch(world, retry=FEW if len(runs) < 3 else None)

        def odd() -> Workflow:
            runs.append(len(runs))
            return switch(world) if len(runs) % 2 else call_of(lambda: asyncio.sleep(1))()

        kinds: list[Any] = ["fails", "lies"]
        assert explore(make, world=world, faults=1, kinds=kinds).ok
        with pytest.raises(SimulationError) as caught:
            explore(odd, world=world, faults=1, kinds=kinds)

        assert str(caught.value).startswith("equal runs differ: the run never reached the point")
        assert str(caught.value).endswith("anew, and draw nothing by itself.")

    def test_another_workflow_after_a_crash(self) -> None:
        """A factory that makes another workflow for whoever takes a run up is refused."""
        world, made_so_far = World(), list[int]()

        def make() -> Workflow:
            made_so_far.append(len(made_so_far))
            return switch(world, retry=FEW if len(made_so_far) == 4 else None)

        with pytest.raises(SimulationError) as caught:
            explore(make, world=world, faults=1, kinds=["crash"])

        assert str(caught.value).startswith("equal runs differ: the plan of run ")
        assert "\n  deploy: changed, and is still to run\n" in str(caught.value)
        assert str(caught.value).endswith("anew, and draw nothing by itself.")

    def test_a_violation_that_is_not_repeated(self) -> None:
        """A violation that an equal run does not show is no counterexample, but a mistake."""
        answers = [True, False]

        def once(run: Explored) -> bool:
            """It holds."""
            return answers.pop(0) if answers else True

        with pytest.raises(SimulationError) as caught:
            explored(invariants=[once], kinds=["crash"])

        assert str(caught.value).startswith(
            "equal runs differ: one under after record 1 (run_started): crash broke "
            "'It holds.', and the next did not\n"
        )

    def test_a_workflow_that_remembers(self) -> None:
        """One workflow for all runs is refused where it keeps something from run to run."""
        world = World()
        tries: list[int] = []

        async def deploy() -> None:
            tries.append(1)
            if len(tries) == 1:
                world.config["mode"] = "new"

        with pytest.raises(SimulationError, match="equal runs differ"):
            explore(switch(world, deploy), world=world)


class TestNeverEnding:
    def test_waits(self) -> None:
        """A run that waits for longer than it may is named, with whoever waits."""
        world = World()

        def wait(ctx: Context) -> None:
            ctx.sleep("3h")

        workflow = Workflow("w")
        workflow.add_task("deploy", lambda: None)
        workflow.add_task("bake", wait, depends_on="deploy")
        report = explore(workflow, world=world, faults=0, within="2h")

        assert broken(report) == [ENDS]
        assert said(report).startswith(
            "it is still running after 7200 s of virtual time; bake#1 is under way and has no "
            "timeout=; these wait:\n    bake: "
        )
        assert "Trial.main" not in said(report)
        assert explore(workflow, world=world, faults=0, within="4h").ok

    def test_hangs(self) -> None:
        """What hangs is held by nothing but the run, and still counts as waiting."""
        report = explored(UNSAFE["endless"])

        assert script(report) == ["deploy#1 begins: hangs"]
        assert "deploy: " in said(report)
        assert "switch.<locals>.put" in said(report)

    def test_spins(self) -> None:
        """A task that runs again and again without waiting is told, and does not hang the search."""

        async def spin() -> None:
            while True:  # noqa: ASYNC110 - nothing to wait for is the point
                await asyncio.sleep(0)

        report = explored(lambda world: switch(world, spin), faults=1)

        assert broken(report) == ["Virtual time moves on."]
        assert "100,000 turns at 0.000000 s" in said(report)
        assert "spin" in said(report)
        assert report.counterexample is not None
        assert report.counterexample.run.status == "running"
        assert any("task_started deploy" in line for line in report.counterexample.timeline)
        assert report.endings == {"running": 1}

    def test_spins_under_a_fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The search goes on after a run that spins."""
        monkeypatch.setattr(laboratory, "TURNS_MAX", 1_000)
        world = World()

        async def deploy() -> None:
            world.config["mode"] = "new"
            while world.config.get("mode") is None:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0)

        report = explore(
            lambda: switch(world, deploy), world=world, kinds=["lies"], faults=1, find_all=True
        )

        assert report.complete
        assert script(report) == ["deploy#1 config.set#1: lies"]
        assert report.endings == {"running": 1, "succeeded": 1}

    @pytest.mark.parametrize("nap", [0, 60])
    def test_swallows_cancels(self, nap: float, monkeypatch: pytest.MonkeyPatch) -> None:
        """A task that does not end even when it is cancelled is told, and left behind."""
        monkeypatch.setattr(laboratory, "TURNS_MAX", 1_000)

        async def cling() -> None:
            while True:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(nap)

        report = explored(lambda world: switch(world, cling), faults=1, within="2h")

        assert len(broken(report)) == 1
        assert "cling" in said(report)

    def test_cleans_up_for_long(self) -> None:
        """A task that takes its time to end, once the engine is dead, is given it."""
        begun: list[str] = []
        ended: list[str] = []
        seen: dict[str, float] = {}

        async def linger(ctx: AsyncContext) -> None:
            begun.append(ctx.task)
            try:
                await ctx.sleep("1m")
            finally:
                await asyncio.sleep(600)
                ended.append(ctx.task)

        def note(run: Explored) -> None:
            seen["; ".join(fault.point for fault in run.faults)] = run.elapsed_s

        report = explored(beside(linger), kinds=["crash"], invariants=[note], faults=1, prune=False)

        assert report.ok
        assert begun == ended
        # The other task succeeds after 30 s; then 600 s to clean up, and a minute.
        assert seen["after record 4 (task_succeeded tick)"] == 30 + 600 + 60

    def test_outlives_its_engine(self) -> None:
        """A task that does not end although its engine is dead is told, and left behind."""

        async def stay() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                while True:
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(60)

        report = explored(beside(stay), kinds=["crash"], faults=1, within="2h", find_all=True)

        assert report.complete
        assert {v for one in report.counterexamples for v in broken_by(one)} == {ENDS}
        assert script(report) == ["before record 4 (task_succeeded tick): crash"]
        assert said(report).startswith("it is still running after 7200 s of virtual time")
        assert "stay" in said(report)


def beside(work: Callable[..., Any]) -> Callable[[World], Workflow]:
    """Return what makes a workflow of two tasks: one does *work*, one takes 30 seconds."""

    async def tick(ctx: AsyncContext) -> None:
        await ctx.sleep("30s")

    def make(world: World) -> Workflow:
        workflow = switch(world, work, timeout="1h")
        workflow.add_task("tick", tick, timeout="1m")
        return workflow

    return make


class TestFunctions:
    def test_plain(self) -> None:
        """Plain functions, with a context that waits and without, are explored like any other."""
        world = World()

        def make() -> Workflow:
            def deploy(ctx: Context) -> None:
                ctx.sleep("5s")
                world.config["mode"] = "new"
                ctx.sleep("5s")

            def check() -> None:
                assert world.config["mode"] == "new"

            def undo(ctx: RecoveryContext) -> None:
                world.config["mode"] = None
                ctx.sleep("1s")
                if world.config["mode"] is not None:
                    raise Mismatch

            workflow = switch(world, deploy, undo)
            workflow.add_task("check", check, depends_on="deploy", timeout="1m")
            return workflow

        report = explore(make, world=world, faults=1)

        assert report.ok
        assert report.by_kind["hangs"] == 2
        assert report.by_kind["pause"] == 3 + 2  # after each commit but the last, and in each wait
        # What hangs on a thread goes on there, so it cannot be undone: that is said to be residue.
        assert report.endings.keys() == {
            *("cancelled", "crashed", "held", "rolled_back", "rollback_failed", "succeeded")
        }

    def test_plain_spins(self) -> None:
        """No thread is left where a plain function hangs and its timeout leaves it behind."""
        before = threading.active_count()
        world = World()

        def make() -> Workflow:
            def deploy(ctx: Context) -> None:
                ctx.sleep("3h")

            workflow = Workflow("w")
            workflow.add_task("deploy", deploy, timeout="1m", retry=pyflow.Retry(2, backoff="1s"))
            workflow.add_recovery("deploy", deploy, timeout="1m")
            return workflow

        report = explore(make, world=world, faults=1)

        assert not report.counterexamples
        assert threading.active_count() == before

    def test_inline(self) -> None:
        """A plain function on the loop itself cannot hang, so that is not tried."""
        world = World()
        workflow = Workflow("w")
        workflow.add_task("deploy", lambda: None, isolation="inline")
        report = explore(workflow, world=world, faults=1)

        assert report.ok
        assert "hangs" not in report.by_kind

    def test_isolated(self) -> None:
        """A task that has a process of its own is explored in this one."""
        world = World()

        def make() -> Workflow:
            workflow = Workflow("w")
            workflow.add_task("deploy", nap_isolated, isolation="process", timeout="10m")
            workflow.add_recovery("deploy", undo_isolated, timeout="10m", retry=FEW)
            return workflow

        report = explore(make, world=world, faults=1)

        assert report.ok
        assert report.by_kind["hangs"] == 1

    def test_map(self) -> None:
        """Each item of a map is a call of its own, at which things go wrong."""
        world = World()

        def make() -> Workflow:
            async def put(item: str) -> None:
                world.config[item] = "new"

            async def put_back(item: str) -> None:
                world.config[item] = None
                if world.config[item] is not None:
                    raise Mismatch

            workflow = Workflow("w")
            workflow.add_map("deploy", put, over=["eu", "us"], timeout="1m", max_parallel=1)
            workflow.add_recovery("deploy", put_back, timeout="1m", retry=FEW)
            return workflow

        seen: set[str] = set()

        def note(run: Explored) -> None:
            seen.update(fault.point for fault in run.faults)

        report = explore(make, world=world, faults=1, invariants=[note], prune=False)

        assert report.ok
        assert report.by_kind["hangs"] == 2
        assert {f"deploy[{item}]#1 config.set#1" for item in ("eu", "us")} <= seen

    def test_hold(self) -> None:
        """A run that waits for a person has ended, and keeps its locks."""
        world = World()

        def make() -> Workflow:
            workflow = Workflow("w", on_failure="hold", locks=["shop"])
            workflow.add_task("deploy", lambda: None, timeout="1m")
            return workflow

        report = explore(make, world=world)

        assert report.ok
        assert report.endings["held"] > 0

    def test_retries(self) -> None:
        """An attempt after a failure is a call with points of its own."""
        report = explored(lambda world: switch(world, retry=FEW), kinds=["fails"], prune=False)

        # Each attempt can fail as it begins, or at the setting.
        assert report.ok
        assert report.by_faults == {0: 1, 1: 2, 2: 4}
        assert report.points == 4
        assert report.endings == {"succeeded": 7}

    def test_repair_and_condition(self) -> None:
        """Repairs and conditions are calls at which things go wrong too."""
        world = World()
        labels: set[str] = set()

        def make() -> Workflow:
            workflow = switch(world, when=lambda: True)
            workflow.add_recovery("deploy", lambda: None, then="retry", timeout="1m")
            return workflow

        def note(run: Explored) -> None:
            labels.update(fault.point for fault in run.faults)

        report = explore(make, world=world, invariants=[note], kinds=["fails"], prune=False)

        assert report.ok
        assert {"when= of deploy#1 begins", "repair of deploy#1 begins"} <= labels

    def test_finalizer(self) -> None:
        """A finalizer may fail, and changes nothing of how the run ends."""
        world = World()

        def make() -> Workflow:
            workflow = switch(world)
            workflow.add_finalizer("report", lambda: None, timeout="1m")
            workflow.add_finalizer("clean", lambda: None, timeout="1m")
            return workflow

        points: list[str] = []

        def note(run: Explored) -> None:
            points.extend(fault.point for fault in run.faults)

        report = explore(
            make, world=world, faults=1, invariants=[note], kinds=["fails", "hangs"], prune=False
        )

        assert report.ok
        assert report.endings["succeeded"] == 1 + 2 * 2
        assert points.count("finalizer report#1 begins") == 2
        # Between the two finalizers the state is twice the same; no run is given up for its own.
        assert explore(make, world=world, faults=0).endings == {"succeeded": 1}

    def test_failure_that_is_raised(self) -> None:
        """What goes wrong is an error that code for lost connections handles too."""
        world = World()
        seen: list[BaseException] = []

        async def deploy() -> None:
            try:
                world.config["mode"] = "new"
            except ConnectionError as error:
                seen.append(error)

        report = explore(lambda: switch(world, deploy), world=world, faults=1, kinds=["fails"])

        assert report.ok
        assert isinstance(seen[0], SimulatedFault)

    def test_pause_ends(self) -> None:
        """A pause lasts for a while, during which an operator may do something else."""
        report = explored(kinds=["pause", "cancel"], faults=2, prune=False)

        assert report.ok
        assert report.endings.keys() == {"cancelled", "succeeded"}

    def test_wait_after_wait(self) -> None:
        """Of waits between which nothing changes, an operator acts in one."""
        world = World()

        def make(waits: int) -> Workflow:
            async def deploy(ctx: AsyncContext) -> None:
                for _ in range(waits):
                    await ctx.sleep("10s")

            return switch(world, deploy, timeout="1h")

        reports = [
            explore(partial(make, waits), world=world, faults=1, kinds=["cancel"], prune=False)
            for waits in (0, 1, 5)
        ]

        assert [report.runs for report in reports] == [1 + 2, 1 + 2 + 1, 1 + 2 + 1]

    def test_asked_too_late(self) -> None:
        """What an operator asks for as the run ends finds it ended."""
        world = World()

        async def deploy(ctx: AsyncContext) -> None:
            await ctx.sleep("1m")

        report = explore(
            lambda: switch(world, deploy, timeout="2m"), world=world, kinds=["pause", "cancel"]
        )

        assert report.ok


class TestInsideALoop:
    def test_real(self) -> None:
        """Inside a running loop, such as a notebook's, an exploration does the same."""

        async def main() -> Exploration:
            return explored(twofold, faults=1)

        before = threading.active_count()

        assert told(asyncio.run(main())) == told(explored(twofold, faults=1))
        assert threading.active_count() == before

    def test_virtual(self) -> None:
        """Inside virtual time the world's clock goes on from where it stood."""
        world = shop()

        async def main() -> list[float]:
            seen = [world.now_s]
            for _ in range(2):
                await asyncio.sleep(5)
                explore(made(switch, world), world=world, faults=1)
                seen.append(world.now_s)
            return seen

        assert run_virtual(main()) == [0, 5, 10]

    def test_errors(self) -> None:
        """Errors come through to whoever called, there too."""

        async def main() -> None:
            explored(faults=1, params={"size": 1})

        with pytest.raises(DefinitionError):
            asyncio.run(main())
