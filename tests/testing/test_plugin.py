"""The pytest plugin, in sessions of its own, as somebody else's project has them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import pyflow
from pyflow.testing.samples import SAMPLES

ROOT = Path(__file__).parents[2]
SRC = Path(pyflow.__file__).parents[1]
MODULE = "_pyflow_pytestplugin"
IS_INSTALLED = any(point.value == MODULE for point in entry_points(group="pytest11"))

SIMULATED = """
import pyflow

def make_workflow():
    workflow = pyflow.Workflow("deploy")

    @workflow.task(retry=pyflow.Retry(3, backoff=pyflow.Backoff("10s", jitter=1)))
    def deploy():
        raise ConnectionError("no route")

    return workflow

def test_it(pyflow_simulation):
    simulation = pyflow_simulation(make_workflow())
    assert simulation.status == "succeeded"
"""
"""A test that fails, after waits that the seed decides."""

RERUN = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    runtestprotocol(item, log=False, nextitem=nextitem)
    item._initrequest()
"""
"""A plugin that runs each test once before."""


EXPLORED = """
import pytest
import pyflow
from pyflow.testing import Fault, World, explore, replay

def explored(name="bad", *, weight=100):
    world = World()
    world.service("shop", version="1.0", instances=2)
    return explore(maker(world, name, weight), world=world, faults=0)

def maker(world, name="bad", weight=100):
    def make():
        workflow = pyflow.Workflow(name)

        @workflow.task
        async def shift():
            await world.router.set_weights("shop", {"1.0": 100 - weight, "2.0": weight})

        return workflow

    return make
"""
"""Explorations of a workflow that sends traffic where nobody is, unless its *weight* is 0."""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the sessions load this plugin and no other, from this checkout."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(SRC))
    monkeypatch.setenv("COLUMNS", "200")


def session(pytester: pytest.Pytester, code: str, *options: str) -> pytest.RunResult:
    """Run *code* as a module of tests."""
    pytester.makepyfile(test_shop=code)
    return pytester.runpytest_inprocess("-p", MODULE, "-Werror", *options)


def again(pytester: pytest.Pytester, command: str) -> pytest.RunResult:
    """Run a command line that begins with ``pytest``, in a process of its own."""
    program, *options = shlex.split(command)
    assert program == "pytest"
    return pytester.runpytest_subprocess("-p", MODULE, "-Werror", *options)


def section(done: pytest.RunResult, title: str = "simulation") -> str:
    """Return what the plugin has added to a report, or nothing."""
    found = re.search(
        rf"^-+ pyflow {title} -+\n(.*?)^[=_-]{{3}}", done.stdout.str(), re.MULTILINE | re.DOTALL
    )
    return found[1].strip() if found else ""


def names(done: pytest.RunResult) -> list[str]:
    """Return which workflows stand in the section on explorations, in order."""
    return re.findall(r"^explored '(\w+)'", section(done, "exploration"), re.MULTILINE)


def explored(pytester: pytest.Pytester, code: str, *options: str) -> pytest.RunResult:
    """Run the tests of *code*, which can explore."""
    return session(pytester, EXPLORED + textwrap.dedent(code), *options)


def replay_of(done: pytest.RunResult) -> str:
    """Return the command line by which to do it again."""
    return section(done).rpartition("replay: ")[2]


OPTION = {
    "blue_green": "switch",
    "canary": "steps",
    "progressive": "waves",
    "release_train": "services",
    "rolling": "instances",
}
"""What each strategy refuses to have nothing of."""


class TestFixtures:
    @pytest.mark.parametrize("strategy", SAMPLES)
    def test_samples(self, pytester: pytest.Pytester, strategy: str) -> None:
        """`pyflow_<strategy>` is a rollout that works in `pyflow_world`, and can be made otherwise."""
        done = session(
            pytester,
            f"""
            def test_good(pyflow_{strategy}, pyflow_world, pyflow_simulation):
                assert pyflow_{strategy}.world is pyflow_world
                assert pyflow_simulation(pyflow_{strategy}.workflow).status == "succeeded"
                assert pyflow_world.services["shop"].counts() == {{"2.0": 4}}

            def test_otherwise(pyflow_{strategy}):
                try:
                    pyflow_{strategy}.make({OPTION[strategy]}=[])
                except ValueError:
                    return
                assert False
            """,
        )

        done.assert_outcomes(passed=2)

    def test_samples_share_a_world(self, pytester: pytest.Pytester) -> None:
        """Two samples in one test find what the other one has set up."""
        done = session(
            pytester,
            """
            def test_it(pyflow_canary, pyflow_release_train, pyflow_world):
                assert list(pyflow_world.services) == ["shop", "api"]
            """,
        )

        done.assert_outcomes(passed=1)

    def test_engine(self, pytester: pytest.Pytester) -> None:
        """`pyflow_engine` runs a workflow of 24 hours in virtual time, with the session's seed."""
        done = session(
            pytester,
            """
            import pyflow

            def test_it(pyflow_engine):
                workflow = pyflow.Workflow("bake")
                workflow.add_task("bake", lambda ctx: ctx.sleep("24h"), effect=False)
                result = pyflow_engine.execute(workflow)
                assert (result.status, result.metrics.wall_s) == ("succeeded", 86_400)
                assert result.audit_trail[0].event.origin["seed"] == 6
            """,
            "--pyflow-seed=6",
        )

        done.assert_outcomes(passed=1)

    def test_world(self, pytester: pytest.Pytester) -> None:
        """`pyflow_world` is empty, has the session's seed, and is another one in every test."""
        done = session(
            pytester,
            """
            import pytest

            @pytest.mark.parametrize("again", [False, True])
            def test_it(pyflow_world, again):
                assert (dict(pyflow_world.services), pyflow_world.seed) == ({}, 3)
                pyflow_world.service("shop", version="1.0")
            """,
            "--pyflow-seed=3",
        )

        done.assert_outcomes(passed=2)

    def test_simulation(self, pytester: pytest.Pytester) -> None:
        """`pyflow_simulation` is `simulate` in `pyflow_world`, with the session's seed."""
        done = session(
            pytester,
            """
            import pyflow
            from pyflow.testing import returns

            def test_it(pyflow_world, pyflow_simulation):
                pyflow_world.service("shop", version="1.0")
                workflow = pyflow.Workflow("deploy")

                @workflow.task
                async def deploy():
                    await pyflow_world.platform.scale("shop", "2.0", 1)

                workflow.add_task("check", lambda: 1 / 0, depends_on=["deploy"])
                simulation = pyflow_simulation(workflow, fakes={"check": returns(None)})
                assert (simulation.status, simulation.seed) == ("succeeded", 5)
                assert simulation.world is pyflow_world
                assert [change.by for change in simulation.history] == ["deploy#1"]
            """,
            "--pyflow-seed=5",
        )

        done.assert_outcomes(passed=1)

    def test_simulation_of_your_own(self, pytester: pytest.Pytester) -> None:
        """What a test gives `pyflow_simulation` goes before the presets."""
        done = session(
            pytester,
            """
            import pyflow

            def test_it(pyflow_simulation):
                workflow = pyflow.Workflow("deploy")
                workflow.add_task("deploy", lambda: None)
                simulation = pyflow_simulation(workflow, seed=9, world=None)
                assert (simulation.seed, simulation.world) == (9, None)
            """,
        )

        done.assert_outcomes(passed=1)

    def test_notifications(self, pytester: pytest.Pytester) -> None:
        """`pyflow_notifications` is the notifier of `pyflow_world`, told nothing so far."""
        done = session(
            pytester,
            """
            def test_it(pyflow_notifications, pyflow_world):
                assert pyflow_notifications is pyflow_world.notifier
                assert pyflow_notifications.sent == []
            """,
        )

        done.assert_outcomes(passed=1)

    def test_are_described(self, pytester: pytest.Pytester) -> None:
        """`pytest --fixtures` says of every fixture what it is."""
        pytester.makepyfile(test_shop="")
        done = pytester.runpytest_inprocess("-p", MODULE, "--fixtures", "-v")

        described = re.findall(r"^(pyflow_\w+) .*\n +(\S.*)", done.stdout.str(), re.MULTILINE)
        names = sorted([*SAMPLES, "engine", "notifications", "seed", "simulation", "world"])
        assert sorted(name for name, _ in described) == [f"pyflow_{name}" for name in names]
        assert all("no docstring" not in words for _, words in described)


class TestSeed:
    SHOWN = "def test_it(pyflow_seed): print('the seed is', pyflow_seed)"

    def seed(self, pytester: pytest.Pytester, *options: str) -> int:
        done = session(pytester, self.SHOWN, "-s", *options)
        done.assert_outcomes(passed=1)
        found = re.search(r"the seed is (\d+)", done.stdout.str())
        assert found
        return int(found[1])

    def test_default(self, pytester: pytest.Pytester) -> None:
        """Without the option the seed is 0, so sessions are alike."""
        assert self.seed(pytester) == 0

    def test_given(self, pytester: pytest.Pytester) -> None:
        """`--pyflow-seed=N` is the seed."""
        assert self.seed(pytester, "--pyflow-seed=20260101") == 20260101

    def test_random(self, pytester: pytest.Pytester) -> None:
        """`--pyflow-seed=random` draws another one for every session."""
        seeds = {self.seed(pytester, "--pyflow-seed=random") for _ in range(3)}

        assert len(seeds) == 3

    def test_random_for_a_session(self, pytester: pytest.Pytester) -> None:
        """All tests of a session have the seed that was drawn for it."""
        code = f"{self.SHOWN}\n{self.SHOWN.replace('it', 'them')}"
        done = session(pytester, code, "-s", "--pyflow-seed=random")

        seeds = re.findall(r"the seed is (\d+)", done.stdout.str())
        assert len(seeds) == 2
        assert len(set(seeds)) == 1

    @pytest.mark.parametrize("text", ["-1", "1.5", "often", "", "٣", "0x10", "9" * 5000])
    def test_refuses(self, text: str, pytester: pytest.Pytester) -> None:
        """What is no seed ends the session before it begins, and is shown."""
        done = session(pytester, self.SHOWN, f"--pyflow-seed={text}")

        assert done.ret == pytest.ExitCode.USAGE_ERROR
        (line,) = [line for line in done.stderr.lines if line.startswith("ERROR")]
        assert f"--pyflow-seed={text[:20]!r}"[:-1] in line
        assert line.endswith("give a whole number from 0, of up to 40 digits, or the word random")


class TestReport:
    def test_of_a_failure(self, pytester: pytest.Pytester) -> None:
        """Under a test that failed stands what was simulated, with its seed, and how to replay it."""
        done = session(pytester, SIMULATED, "--pyflow-seed=7")

        done.assert_outcomes(failed=1)
        told = section(done).splitlines()
        assert told[0] == "simulated in virtual time, seed 7: deploy > deploy > deploy"
        assert told[1].startswith("deploy: rolled_back (run ")
        assert told[-1] == "replay: pytest test_shop.py::test_it --pyflow-seed=7"

    def test_replays(self, pytester: pytest.Pytester) -> None:
        """The command line does the same run again, to the byte; another seed does another."""
        done = session(pytester, SIMULATED, "--pyflow-seed=random")

        replayed = again(pytester, replay_of(done))

        replayed.assert_outcomes(failed=1)
        assert section(replayed) == section(done) != ""
        assert section(again(pytester, "pytest")) != section(done)

    def test_replays_odd_names(self, pytester: pytest.Pytester) -> None:
        """The command line fits a shell, whatever a test is called."""
        code = "import pytest\n\n@pytest.mark.parametrize('name', [\"it's $HOME; x\", 'b'])\n"
        code += "def test_it(pyflow_seed, name): assert name == 'b'"
        done = session(pytester, code)

        replayed = again(pytester, replay_of(done))

        replayed.assert_outcomes(failed=1)

    def test_replays_from_below(
        self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The command line fits the directory that pytest was called in."""
        pytester.makeini("[pytest]")
        monkeypatch.chdir(pytester.mkdir("below"))
        (pytester.path / "below" / "test_shop.py").write_text(SIMULATED)
        done = pytester.runpytest_inprocess("-p", MODULE)

        assert replay_of(done) == "pytest test_shop.py::test_it --pyflow-seed=0"
        again(pytester, replay_of(done)).assert_outcomes(failed=1)

    def test_of_the_last(self, pytester: pytest.Pytester) -> None:
        """Of many simulations the last three are shown, which are nearest to the failure."""
        code = SIMULATED + "\ndef test_many(pyflow_simulation):\n"
        code += "    for seed in range(9): pyflow_simulation(make_workflow(), seed=seed)\n"
        code += "    assert False"
        done = session(pytester, code, "-k", "many")

        assert re.findall(r"seed (\d)", section(done)) == ["6", "7", "8"]

    @pytest.mark.parametrize("fixture", ["engine", "world", "notifications", "seed"])
    def test_of_other_fixtures(self, fixture: str, pytester: pytest.Pytester) -> None:
        """Whichever fixture a failed test used, the seed is shown."""
        done = session(pytester, f"def test_it(pyflow_{fixture}): assert False", "--pyflow-seed=4")

        assert section(done) == "replay: pytest test_shop.py::test_it --pyflow-seed=4"

    def test_of_a_simulation_that_breaks(self, pytester: pytest.Pytester) -> None:
        """A simulation that raises is replayed as well."""
        code = SIMULATED.replace("make_workflow())\n    assert", "None)\n    assert")
        done = session(pytester, code)

        assert section(done) == "replay: pytest test_shop.py::test_it --pyflow-seed=0"

    def test_of_a_rerun(self, pytester: pytest.Pytester) -> None:
        """Of a test that is run again, what was simulated this time is shown."""
        pytester.makeconftest(RERUN)
        done = session(pytester, SIMULATED)

        assert section(done).count("simulated in virtual time") == 1

    def test_of_a_teardown(self, pytester: pytest.Pytester) -> None:
        """A test whose teardown fails has it too."""
        code = SIMULATED.replace('"succeeded"', '"rolled_back"') + (
            "\nimport pytest\n\n@pytest.fixture(autouse=True)\n"
            "def after(pyflow_seed):\n    yield\n    assert False\n"
        )
        done = session(pytester, code)

        done.assert_outcomes(passed=1, errors=1)
        assert section(done).startswith("simulated in virtual time, seed 0")

    @pytest.mark.parametrize("options", [(), ("-v",), ("-rA",)], ids=" ".join)
    def test_of_a_success(self, options: tuple[str, ...], pytester: pytest.Pytester) -> None:
        """A test that passes says nothing."""
        code = SIMULATED.replace('"succeeded"', '"rolled_back"')
        done = session(pytester, code, *options)

        done.assert_outcomes(passed=1)
        assert "simulat" not in done.stdout.str()
        assert "replay" not in done.stdout.str()

    def test_of_others(self, pytester: pytest.Pytester) -> None:
        """A failed test that uses no fixture of pyflow is left alone."""
        done = session(pytester, "def test_it(): assert False")

        done.assert_outcomes(failed=1)
        assert "pyflow" not in done.stdout.str()


class TestReportOfExplorations:
    @pytest.mark.parametrize("asserted", ["report.ok, report", "report.ok", "report"])
    def test_of_a_failure(self, asserted: str, pytester: pytest.Pytester) -> None:
        """Under a test that failed stands what `print(report)` gives, however it was asserted."""
        done = explored(
            pytester,
            f"""
            def test_it():
                report = explored()
                print(report)
                assert {asserted}
            """,
        )

        done.assert_outcomes(failed=1)
        told = section(done, "exploration")
        assert done.stdout.str().count(f"{told}\n") == 2
        assert told.startswith("explored 'bad' under up to 0 faults: 1 counterexample\n")
        assert "\nas a test\n" in told
        assert section(done) == ""

    @pytest.mark.parametrize("asserted", ["report.ok, report", "report.ok"])
    def test_of_the_assertion(self, asserted: str, pytester: pytest.Pytester) -> None:
        """The line of the assertion says what broke, and by which faults, unshortened."""
        done = explored(pytester, f"def test_it():\n    report = explored()\n    assert {asserted}")

        done.stdout.fnmatch_lines(
            '*<Exploration of bad: 1 run, broken: "No traffic reaches a version with nothing '
            'ready" by [[]no fault[]]>*'
        )

    def test_of_a_replay(self, pytester: pytest.Pytester) -> None:
        """A replay that breaks what it broke is shown as an exploration is."""
        done = explored(
            pytester,
            """
            def test_it():
                world = World()
                world.service("shop", version="1.0", instances=2)
                fault = Fault("shift#1 ends", "applied_then_fails")
                assert replay(maker(world), world=world, faults=[fault]).ok
            """,
        )

        told = section(done, "exploration")
        assert told.startswith("explored 'bad' under up to 1 fault: 1 counterexample\n")
        assert "  1. shift#1 ends: applied_then_fails\n" in told

    def test_of_one_that_is_not_complete(self, pytester: pytest.Pytester) -> None:
        """An exploration that ran out of time is not ok either, and is shown."""
        done = explored(
            pytester,
            """
            def test_it():
                world = World()
                world.service("shop", version="1.0", instances=2)
                make = maker(world, weight=0)
                report = explore(make, world=world, faults=3, time_limit=1e-9)
                assert report.ok, report
            """,
        )

        assert ": not complete\n" in section(done, "exploration")

    def test_of_several(self, pytester: pytest.Pytester) -> None:
        """Of those of a test the ones that are not ok are shown, the last three, in order."""
        done = explored(
            pytester,
            """
            def test_it():
                for name in "abcde":
                    explored(name)
                    explored("good", weight=0)
                assert False
            """,
        )

        assert names(done) == ["c", "d", "e"]

    def test_of_its_own(self, pytester: pytest.Pytester) -> None:
        """A failed test shows none of those that other tests have made."""
        done = explored(
            pytester,
            """
            def test_good():
                assert not explored("expected").ok

            def test_bad():
                assert explored("unexpected").ok

            def test_other():
                assert False
            """,
        )

        done.assert_outcomes(passed=1, failed=2)
        assert names(done) == ["unexpected"]
        assert "expected'" not in done.stdout.str().replace("unexpected'", "")

    @pytest.mark.parametrize("scope", ["function", "module"])
    def test_of_a_fixture(self, scope: str, pytester: pytest.Pytester) -> None:
        """One that a fixture made is shown under each failed test that has it, and once there."""
        done = explored(
            pytester,
            f"""
            @pytest.fixture(scope="{scope}")
            def report():
                return explored("shared")

            def test_it(report):
                assert report.ok, report

            def test_again(report):
                assert report.ok, report

            def test_other():
                assert False
            """,
        )

        done.assert_outcomes(failed=3)
        assert names(done) == ["shared"]
        assert done.stdout.str().count("explored 'shared'") == 2

    def test_of_a_fixture_that_fails(self, pytester: pytest.Pytester) -> None:
        """A fixture that asserts it has it shown under the error."""
        done = explored(
            pytester,
            """
            @pytest.fixture
            def proven():
                assert explored("unproven").ok

            def test_it(proven):
                pass
            """,
        )

        done.assert_outcomes(errors=1)
        assert names(done) == ["unproven"]

    def test_beside_a_simulation(self, pytester: pytest.Pytester) -> None:
        """Simulations have their section all the same, and the line on how to replay stays last."""
        done = explored(
            pytester,
            """
            def test_it(pyflow_world, pyflow_simulation):
                pyflow_world.service("shop", version="1.0", instances=2)
                make = maker(pyflow_world)
                report = explore(make, world=pyflow_world, faults=0)
                pyflow_simulation(make())
                assert report.ok, report
            """,
            "--pyflow-seed=8",
        )

        assert names(done) == ["bad"]
        assert section(done).startswith("simulated in virtual time, seed 8: shift\n")
        assert replay_of(done) == "pytest test_shop.py::test_it --pyflow-seed=8"
        assert done.stdout.str().index("replay: ") > done.stdout.str().index("as a test")

    def test_of_a_rerun(self, pytester: pytest.Pytester) -> None:
        """Of a test that is run again, what was explored this time is shown."""
        pytester.makeconftest(RERUN)
        done = explored(pytester, "def test_it():\n    assert explored().ok")

        assert names(done) == ["bad"]

    def test_of_a_session_within(self, pytester: pytest.Pytester) -> None:
        """What the tests of a session within a test explore is theirs, not that test's."""
        done = explored(
            pytester,
            f"""
            pytest_plugins = ["pytester"]

            def test_it(pytester):
                explored("before")
                pytester.makepyfile({EXPLORED + "def test_within(): assert explored('within').ok"!r})
                pytester.runpytest_inprocess("-p", "{MODULE}").assert_outcomes(failed=1)
                explored("after")
                assert False
            """,
            "-p",
            "pytester",
            "--show-capture=no",
        )

        assert names(done) == []
        done = pytester.runpytest_inprocess("-p", MODULE, "-p", "pytester")
        found = done.stdout.str().rpartition("- pyflow exploration -")[2]
        assert re.findall(r"^explored '(\w+)'", found, re.MULTILINE) == ["before", "after"]

    @pytest.mark.parametrize("options", [(), ("-v",), ("-rA",)], ids=" ".join)
    def test_of_a_success(self, options: tuple[str, ...], pytester: pytest.Pytester) -> None:
        """A test that passes says nothing, whatever it explored."""
        done = explored(pytester, "def test_it():\n    assert not explored().ok", *options)

        done.assert_outcomes(passed=1)
        assert "explored '" not in done.stdout.str()
        assert "pyflow exploration" not in done.stdout.str()


class TestImports:
    def test_of_the_module(self) -> None:
        """Importing the plugin imports nothing but what pytest has imported."""
        code = (
            "import sys, pytest; before = set(sys.modules)\n"
            f"import {MODULE}; print(*sorted(set(sys.modules) - before))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert done.stdout.split() == [MODULE]

    def test_of_a_session(self, pytester: pytest.Pytester) -> None:
        """A session whose tests use no fixture imports neither pyflow nor asyncio."""
        pytester.makepyfile(
            """
            import sys

            def test_it(request):
                assert request.config.pluginmanager.hasplugin("_pyflow_pytestplugin")
                assert [name for name in ("pyflow", "asyncio") if name in sys.modules] == []
            """
        )
        done = again(pytester, "pytest")

        done.assert_outcomes(passed=1)


class TestEntryPoint:
    def test_is_declared(self) -> None:
        """The distribution tells pytest of the plugin, and its wheel holds it beside the package."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]

        assert project["project"]["entry-points"]["pytest11"] == {"pyflow": MODULE}
        assert wheel["packages"] == ["src/pyflow", f"src/{MODULE}.py"]
        assert all((ROOT / path).exists() for path in wheel["packages"])

    @pytest.mark.skipif(not IS_INSTALLED, reason="pyflow is not installed here, only on the path")
    def test_is_loaded_once(
        self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An installed pyflow has its fixtures in every session, without asking for them."""
        monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
        pytester.makepyfile(
            f"""
            def test_it(request, pyflow_seed):
                plugins = request.config.pluginmanager.list_name_plugin()
                names = [n for n, p in plugins if getattr(p, "__name__", "") == "{MODULE}"]
                assert (names, pyflow_seed) == (["pyflow"], 0)
            """
        )
        done = pytester.runpytest_subprocess()

        done.assert_outcomes(passed=1)
