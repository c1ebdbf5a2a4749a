"""Routes: what they let through, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.notices.route import Route, checked_routes
from pyflow.notices.template import Template
from pyflow.notifiers import Log
from support.notices import RUN, message

LOG = Log()


class TestFits:
    @pytest.mark.parametrize(
        ("options", "event", "fits"),
        [
            ({}, "started", True),
            ({"events": ["failed"]}, "started", False),
            ({"events": ["failed", "started"]}, "started", True),
            ({"severity": "error"}, "held", False),
            ({"severity": "error"}, "undo_failed", True),
            ({"environments": ["production"]}, "started", True),
            ({"environments": ["live"]}, "started", True),
            ({"environments": ["prod*"]}, "started", True),
            ({"environments": ["staging"]}, "started", False),
            ({"labels": {"version": "2.*"}}, "started", True),
            ({"labels": {"version": "3.*"}}, "started", False),
            ({"labels": {"workflow": "shop", "initiator": "ada"}}, "started", True),
            ({"labels": {"system": "github", "absent": "*"}}, "started", False),
            ({"severity": "error", "environments": ["staging"]}, "failed", False),
        ],
    )
    def test_filters(self, options: dict[str, Any], event: str, fits: bool) -> None:
        """Every filter has to fit."""
        assert Route(LOG, **options).fits(message(event)) is fits

    def test_no_environment(self) -> None:
        """A run without an environment fits no list of them."""
        bare = message(run=replace(RUN, environment=None, tier=None))

        assert not Route(LOG, environments=["*"]).fits(bare)
        assert Route(LOG).fits(bare)

    def test_kinds(self) -> None:
        """Kinds of records may be asked for, and are not told unless they are."""
        assert Route(LOG, events=["task_succeeded"]).wants("task_succeeded")
        assert not Route(LOG).wants("task_succeeded")

    def test_templates(self) -> None:
        """One template serves all events, or each its own."""
        one, other = Template("a"), Template("b")

        assert Route(LOG, template=one).template_for("failed") is one
        assert Route(LOG, template={"failed": other}).template_for("failed") is other
        assert Route(LOG, template={"failed": other}).template_for("started") is None


class TestChecks:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"notifier": None}, "is no notifier"),
            ({"notifier": Log}, "is no notifier"),
            ({"events": ["faild"]}, "did you mean 'failed'"),
            ({"events": []}, "must be a list"),
            ({"events": "failed"}, "must be a list"),
            ({"environments": [""]}, "must be a list"),
            ({"severity": "loud"}, "must be one of"),
            ({"labels": ["a"]}, "must be a dict"),
            ({"labels": {"a": 1}}, "must be a dict"),
            ({"template": "x"}, "must be a Template"),
            ({"template": {"faild": Template()}}, "did you mean"),
            ({"timeout": 0}, "timeout"),
            ({"deadline": "soon"}, "deadline"),
            ({"attempts": 0}, "attempts="),
            ({"attempts": True}, "attempts="),
            ({"backoff": "1s"}, "must be a Backoff"),
            ({"name": "a b"}, "name="),
            ({"required": True, "events": ["failed"]}, "about the start"),
            ({"required": True, "severity": "error"}, "about the start"),
            ({"severity": "loud", "attempts": 0}, "2 problems"),
        ],
    )
    def test_refused(self, options: Any, words: str) -> None:
        """What is wrong is refused when the route is made, all of it at once."""
        given: dict[str, Any] = {"notifier": LOG, **options}
        with pytest.raises(DefinitionError, match=words):
            Route(**given)

    def test_required_is_quick(self) -> None:
        """A required message is given up after 30 s, because a run waits for it."""
        assert Route(LOG, required=True).deadline_s == 30.0
        assert Route(LOG).deadline_s == 600.0


class TestCheckedRoutes:
    def test_bare_notifiers(self) -> None:
        """A bare notifier gets a route with every default, named by its class."""
        routes = checked_routes([LOG, Route(Log("x"), name="other")])

        assert [route.name for route in routes] == ["log", "other"]
        assert checked_routes(()) == ()

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ([LOG, Log("x")], "stand twice"),
            ("slack", "no list"),
            (None, "no list"),
            (LOG, "no list"),
            ([None], "is no notifier"),
        ],
    )
    def test_refused(self, given: Any, words: str) -> None:
        """Names that stand twice, and what is neither route nor notifier, are refused."""
        with pytest.raises(DefinitionError, match=words):
            checked_routes(given)
