"""The report of a rollout: what it does and risks, before anything runs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from pyflow.analysis import Compare, Threshold
from pyflow.errors import DefinitionError
from pyflow.probes import Callable
from pyflow.strategies import (
    Report,
    ReportedStep,
    RolloutWorkflow,
    StateChange,
    Step,
    release_train,
)
from pyflow.strategies.report import told
from pyflow.testing import Simulation, simulate, takes
from support.rollouts import NEW, STRATEGIES, make_blue_green, make_canary, open_shop
from support.trains import api, make_train, open_shops, schema, shop

each = pytest.mark.parametrize("name", STRATEGIES)
RPS = 200.0
WELL = Callable(lambda: True, name="well")


def step(report: Report, name: str) -> ReportedStep:
    [found] = [one for one in report.steps if one.name == name]
    return found


def guards(report: Report) -> dict[str, tuple[str, ...]]:
    return {one.name: one.guards for one in report.decisions}


def smoke() -> None:
    """Check nothing."""


def met(simulation: Simulation, by_s: float) -> float:
    """Return how many requests have met the new version by an instant, off the changes of weight."""
    total, since_s, pct = 0.0, 0.0, 0.0
    changes = [
        (c.at_s, c.after or 0.0) for c in simulation.history if c.what == f"shop weight {NEW}"
    ]
    for at_s, after in [*changes, (by_s, 0.0)]:
        end_s = min(at_s, by_s)
        total += max(0.0, end_s - since_s) * pct / 100 * RPS
        since_s, pct = end_s, after
    return total


class TestEveryStrategy:
    @each
    def test_says_what_is_expected(self, name: str) -> None:
        """Where all is well, a simulation takes and exposes what was reckoned, but for looking twice."""
        world = open_shop(startup="30s")
        workflow = STRATEGIES[name](world, bake="10m")

        report = workflow.report(traffic=RPS, startup="30s")
        simulation = simulate(workflow, world=world)

        ends = {one.task: one for one in simulation.audit_trail.query(kind="task_succeeded")}
        began = simulation.audit_trail[0].at
        assert simulation.elapsed.total_seconds() == pytest.approx(report.takes_s, rel=0.05)
        for one in report.decisions:
            at_s = (ends[one.name].at - began).total_seconds()
            assert at_s == pytest.approx(one.at_s, abs=40)
            assert met(simulation, at_s) == pytest.approx(one.requests, rel=0.02, abs=1)

    @each
    def test_bounds_what_can_be(self, name: str) -> None:
        """No simulation exposes more before a decision than was said, however slow its ports are."""
        world = open_shop(startup="5m")
        world.router.on("set_weights", takes("20s"))
        workflow = STRATEGIES[name](world, bake="10m")

        report = workflow.report(traffic=RPS)
        simulation = simulate(workflow, world=world)

        assert simulation.status == "succeeded"
        began = simulation.audit_trail[0].at
        ends = {one.task: one.at for one in simulation.audit_trail.query(kind="task_succeeded")}
        for one in report.decisions:
            at_s = (ends[one.name] - began).total_seconds()
            assert one.requests_at_most is not None
            assert met(simulation, at_s) <= one.requests_at_most

    @each
    def test_says_the_way_back(self, name: str) -> None:
        """Undos come in the order in which a rollback from the end makes them."""
        world = open_shop()
        workflow = STRATEGIES[name](world)
        report = workflow.report()
        failing = STRATEGIES[name](world)
        last = report.steps[-1].name
        failing.add_task("smoke", lambda: 1 / 0, depends_on=[last])

        simulation = simulate(failing, world=world)

        undone = [one.removeprefix("undo of ") for one in simulation.order if "undo of" in one]
        assert list(report.undo_order) == undone
        assert report.not_undone == report.no_return == ()
        assert all(one.way_back for one in report.steps if one.name in undone)

    @each
    def test_is_data_and_text(self, name: str) -> None:
        """A report is JSON data, and every line of its text ends where its words do."""
        report = STRATEGIES[name](open_shop()).report(traffic=RPS)

        data = json.loads(json.dumps(dataclasses.asdict(report)))

        assert [one["name"] for one in data["steps"]] == [one.name for one in report.steps]
        lines = str(report).splitlines()
        assert all(line == line.rstrip() for line in lines)
        assert all(any(line.startswith(one.name) for line in lines) for one in report.steps)


class TestSteps:
    def test_have_weights_and_requests(self) -> None:
        """What a step exposes is its weight, for as long as it takes."""
        report = make_canary(open_shop(), steps=[25, 100], bake="2m").report(traffic=RPS)

        assert step(report, "scale_25").requests == 0
        assert (step(report, "bake_25").weight_pct, step(report, "bake_25").requests) == (25, 6000)
        assert (step(report, "bake_100").weight_pct, step(report, "bake_100").starts_s) == (
            100,
            120,
        )
        assert step(report, "shift_25").requests_at_most == 0.25 * RPS * 1200
        assert step(report, "retire_old").kind == "retire"

    def test_of_nothing_are_left_out(self) -> None:
        """A wait of no time is no step."""
        report = make_blue_green(open_shop(), bake=0, keep_old_for=0).report()

        assert not {"bake", "keep_old"} & {one.name for one in report.steps}

    def test_last_as_long_as_their_limits(self) -> None:
        """The most that a step can take is its timeout, for each of its tries, and what lies between."""
        report = make_canary(open_shop(), ready_within="5m", check_within="2m").report()

        assert step(report, "scale_25").at_most_s == 300 + 600
        assert step(report, "survey").at_most_s == 4 * 600 + 2 + 4 + 8
        assert step(report, "bake_25").at_most_s == 2 * 60 + 600

    def test_of_maps_count_their_rounds(self) -> None:
        """A map takes as long as its items do, so many at a time; where they are not known, without a limit."""
        workflow = make_blue_green(open_shop())
        items = ["a", "b", "c"]
        workflow.add_map("all", lambda item: item, over=items, timeout="1m")
        workflow.add_map("two", lambda item: item, over=items, timeout="1m", max_parallel=2)
        workflow.add_map("none", lambda item: item, over=[], timeout="1m")
        workflow.add_map("open", lambda item: item, over="all", timeout="1m")

        report = workflow.report()

        limits = {one.name: one.at_most_s for one in report.steps}
        assert [limits[name] for name in ("all", "two", "none", "open")] == [60, 120, 0, None]

    def test_of_other_people_are_there(self) -> None:
        """A task that was added by hand is a step too, without a limit unless it has one."""
        workflow = make_blue_green(open_shop())
        workflow.add_task("smoke", lambda: None, depends_on=["switch"])
        workflow.add_approval("ask", "Well?", depends_on=["smoke"], expires="1h")

        report = workflow.report(traffic=RPS)

        assert (step(report, "smoke").kind, step(report, "smoke").at_most_s) == ("task", None)
        assert step(report, "smoke").requests_at_most is None
        assert step(report, "ask").at_most_s == 3600
        assert report.not_undone == ("smoke",)
        assert report.at_most_s is None

    def test_have_an_undo_of_other_people(self) -> None:
        """An undo that nobody describes is an undo."""
        workflow = make_blue_green(open_shop())
        workflow.add_task("smoke", lambda: None)
        workflow.add_recovery("smoke", lambda: None)

        assert step(workflow.report(), "smoke").way_back == "its undo"

    def test_measure_for_as_long_as_they_say(self) -> None:
        """An analysis takes as long as its measurements do."""
        world = open_shop()
        rate = Threshold(world.metrics, "error_rate shop $version", below=0.05, name="rate")
        counts = Compare(
            world.metrics,
            "errors shop $version",
            "requests shop $version",
            max_increase=0.02,
            interval="1m",
            name="e",
        )
        often = dataclasses.replace(rate, interval="1m", count=4)
        endless = dataclasses.replace(rate, interval="1m", name="endless")

        for checks, takes_s in (
            ([rate], 300),
            ([counts], 300),
            ([often], 180),
            ([endless, often], 180),
        ):
            report = make_canary(world, steps=[25, 100], bake="5m", checks=checks).report()
            assert step(report, "check_25").takes_s == takes_s
            [first] = [one for one in report.decisions if one.name == "check_25"]
            assert first.asks == tuple(check.name for check in checks)


class TestDecisions:
    def test_guard_what_comes_next(self) -> None:
        """Each step that changes something names the nearest decisions before it, and they name it."""
        workflow = make_blue_green(
            open_shop(), preview_checks=[WELL, WELL], approval="Switch?", post_checks=[WELL]
        )

        report = workflow.report()

        assert guards(report) == {
            "survey": ("deploy_preview",),
            "check_preview_1": (),
            "check_preview_2": (),
            "approve_switch": ("switch",),
            "confirm": ("retire_old",),
        }
        assert step(report, "switch").guards == ("approve_switch",)
        assert step(report, "bake").guards == ()

    def test_ask_what_they_ask(self) -> None:
        """A decision names its probes, its functions, or the question."""
        workflow = make_blue_green(open_shop(), preview_checks=[WELL, smoke], approval="Switch?")

        asks = {one.name: one.asks for one in workflow.report().decisions}

        assert "well" in asks["check_preview_1"][0]
        assert asks["check_preview_2"] == ("smoke",)
        assert asks["approve_switch"] == ("Switch?",)

    def test_by_people_have_no_limit(self) -> None:
        """While a question is open requests go on, so there is no saying how many; before traffic, none."""
        steps = [Step(25, approval="Go on?"), 100]
        report = make_canary(open_shop(), steps=steps, checks=[WELL]).report(traffic=RPS)
        most = {one.name: one.requests_at_most for one in report.decisions}

        assert most["check_25"] == 0.25 * RPS * (1200 + 720 + 3600)
        assert most["approve_25"] is most["check_100"] is None
        assert "no limit" in str(report)

        green = make_blue_green(open_shop(), approval="Switch?", post_checks=[WELL])
        most = {one.name: one.requests_at_most for one in green.report(traffic=RPS).decisions}
        assert most["approve_switch"] == 0
        assert most["confirm"] == pytest.approx(RPS * (1200 + 720 + 3600), rel=1e-5)


class TestTrain:
    def test_has_all_of_it(self) -> None:
        """The steps of every service are there, and its own traffic counts for each."""
        workflow = make_train(open_shops(), bake="10m", checks=[WELL], approval="Keep it?")

        report = workflow.report(traffic={"shop": 200, "api": 100}, startup="30s")

        verdict = {one.name: one for one in report.decisions}
        assert step(report, "shop.switch").service == "shop"
        assert step(report, "schema").what == "migrate"
        assert step(report, "schema").way_back == "migrate_back"
        assert verdict["api.survey"].requests == 0
        assert verdict["verdict"].requests == 200 * 600 + 100 * 630
        assert verdict["approve"].guards == ("api.retire_old", "shop.retire_old")
        assert report.undo_order[-1] == "schema"
        assert step(report, "bake").requests == 300 * 600

    def test_knows_what_stays(self) -> None:
        """What has no undo is said, and where there is no way back at all."""
        world = open_shops()
        stays = schema(world, way_back="forward_only", checks=[WELL], depends_on=["api"])
        last = StateChange("drop", lambda: None, way_back="freeze", at_end=True)
        workflow = release_train(services=[api(world), shop(world)], changes=[stays, last])

        report = workflow.report()

        assert report.not_undone == ("schema", "drop")
        assert report.no_return == ("drop",)
        assert step(report, "schema").way_back == "stays"
        assert step(report, "way_back_past_schema").way_back.endswith("has to pass")
        assert "cannot be undone: schema, drop" in str(report)
        assert "no way back after: drop" in str(report)


class TestArguments:
    def test_traffic_may_be_unknown(self) -> None:
        """Without figures there are weights and spans, and question marks."""
        report = make_blue_green(open_shop()).report()
        half = make_train(open_shops(), checks=[WELL]).report(traffic={"shop": 10})

        assert all(one.requests is None for one in report.decisions)
        assert "?" in str(report)
        assert half.decisions[-1].requests is None
        assert half.decisions[0].name == "api.survey"

    @pytest.mark.parametrize(
        ("traffic", "reason"),
        [
            (-1, "traffic=-1 must be requests a second"),
            (True, "traffic=True"),
            ("200", "traffic='200'"),
            (float("inf"), "traffic=inf"),
            ({"shpo": 1}, "'shpo', which is not here; did you mean 'shop'"),
            ({"zzzzzzz": 1}, "there are shop."),
        ],
    )
    def test_of_traffic_are_checked(self, traffic: Any, reason: str) -> None:
        """Figures that are none are refused, and services that are not there."""
        with pytest.raises(DefinitionError, match=reason):
            make_blue_green(open_shop()).report(traffic=traffic)

    def test_of_a_workflow_that_cannot_run(self) -> None:
        """What cannot be run has no report."""
        workflow = make_blue_green(open_shop())
        workflow.add_task("lost", lambda: None, depends_on=["nowhere"])

        with pytest.raises(DefinitionError, match="nowhere"):
            workflow.report()

    def test_may_be_an_empty_rollout(self) -> None:
        """A rollout that nobody has noted anything about has steps, and no decisions."""
        workflow = RolloutWorkflow("bare")
        workflow.add_task("one", lambda: None, effect=False)

        report = workflow.report(traffic=1)

        assert report.decisions == ()
        assert "a rollback undoes: nothing" in str(report)


class TestText:
    @pytest.mark.parametrize(
        ("span_s", "text"),
        [
            (None, "no limit"),
            (0, "-"),
            (0.25, "0.25s"),
            (59, "59s"),
            (90, "1m30s"),
            (3600, "1h"),
            (90_061, "1d1h"),
        ],
    )
    def test_of_spans(self, span_s: float | None, text: str) -> None:
        """Spans are told in their two largest units."""
        assert told(span_s) == text

    def test_is_cut(self) -> None:
        """What is long, or has several lines, is one line that fits."""
        workflow = make_blue_green(open_shop(), approval="Switch?\n" + "really " * 40)

        text = str(workflow.report())

        assert "Switch? really" in text
        assert "…" in text
        assert max(map(len, text.splitlines())) < 200
