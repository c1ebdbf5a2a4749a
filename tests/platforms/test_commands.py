"""A platform and a router that are commands of somebody else's."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow import platforms, routers
from pyflow.errors import DefinitionError, PlatformError, RouterError
from pyflow.protocols import Instance
from pyflow.strategies import canary
from pyflow.testing import check_platform, check_router

TOOL = [sys.executable, "-S", str(Path(__file__).parents[1] / "support" / "tools.py")]


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The state of the tool: 1.0 runs and has everything."""
    place = tmp_path / "state.json"
    place.write_text(json.dumps({"instances": {"1.0": 2}, "weights": {"1.0": 100}}))
    return str(place)


def platform(file: str, **options: Any) -> platforms.Commands:
    given: dict[str, Any] = {
        "observe": [*TOOL, file, "show"],
        "scale": [*TOOL, file, "scale", "{version}", "{instances}"],
    }
    return platforms.Commands(**{**given, **options})


def router(file: str, **options: Any) -> routers.Commands:
    given: dict[str, Any] = {
        "weights": [*TOOL, file, "weights"],
        "set_weights": [*TOOL, file, "route", "{weights}"],
    }
    return routers.Commands(**{**given, **options})


class TestContracts:
    def test_of_the_platform(self, file: str) -> None:
        """The platform keeps its contract."""
        asyncio.run(check_platform(lambda: platform(file), service="shop", version="2.0"))

    def test_of_the_router(self, file: str) -> None:
        """The router keeps its contract."""
        asyncio.run(check_router(lambda: router(file), service="shop", versions=("1.0", "2.0")))


class TestPlatform:
    def test_parses(self, file: str) -> None:
        """What the command writes may be in any form."""
        made = platform(file, parse=lambda text: [Instance(text[:3], "1.0", ready=False)])

        assert asyncio.run(made.observe("shop")).instances == (Instance('[{"', "1.0", False),)

    @pytest.mark.parametrize(
        ("command", "reason"),
        [("broken", "code 1: tools: no permission to broken"), ("nonsense", "cannot be read")],
    )
    def test_says_what_the_command_said(self, file: str, command: str, reason: str) -> None:
        """A command that fails, or writes something else, is an error with its own words."""
        with pytest.raises(PlatformError, match=reason):
            asyncio.run(platform(file, observe=[*TOOL, file, command]).observe("shop"))

    def test_wants_a_plain_answer(self, file: str) -> None:
        """Ready is true or false, and nothing that could be taken for one of them."""
        code = 'print(\'[{"id": 1, "version": "1", "ready": "no"}]\')'
        made = platform(file, observe=[sys.executable, "-c", code])

        with pytest.raises(PlatformError, match="has to be true or false"):
            asyncio.run(made.observe("shop"))

    def test_needs_lists(self, file: str) -> None:
        """Command lines in one text are refused."""
        with pytest.raises(DefinitionError, match="2 problems"):
            platform(file, observe="kubectl get", scale=[])


class TestRouter:
    def test_makes_the_command(self, file: str) -> None:
        """A function may put the weights in the words of a tool."""

        def words(service: str, weights: Mapping[str, float]) -> list[str]:
            return [*TOOL, file, "route", json.dumps({v: round(w) for v, w in weights.items()})]

        async def work() -> dict[str, float]:
            made = router(file, set_weights=words)
            await made.set_weights("shop", {"1.0": 60, "2.0": 40})
            return await made.weights("shop")

        assert asyncio.run(work()) == {"1.0": 60.0, "2.0": 40.0}

    @pytest.mark.parametrize(
        ("command", "reason"),
        [("broken", "no permission to broken"), ("nonsense", "cannot be read")],
    )
    def test_says_what_the_command_said(self, file: str, command: str, reason: str) -> None:
        """A command that fails, or writes something else, is an error with its own words."""
        with pytest.raises(RouterError, match=reason):
            asyncio.run(router(file, weights=[*TOOL, file, command]).weights("shop"))

    def test_reads_only_weights(self, file: str) -> None:
        """What does not sum to 100 is no answer."""
        with pytest.raises(RouterError, match="are no weights"):
            asyncio.run(router(file, parse=lambda _: {"1.0": 1.0}).weights("shop"))

    def test_needs_lists(self, file: str) -> None:
        """Command lines in one text are refused."""
        with pytest.raises(DefinitionError, match="2 problems"):
            router(file, weights="gcloud", set_weights="gcloud")


class TestRollout:
    def test_by_commands_alone(self, file: str) -> None:
        """A canary runs on nothing but commands."""
        ports: dict[str, Any] = {"platform": platform(file), "router": router(file)}
        workflow = canary("shop", "2.0", **ports, steps=[50, 100], backoff=pyflow.Backoff("10ms"))

        result = pyflow.Engine().execute(workflow)

        assert result.status == "succeeded", result.error
        state = json.loads(Path(file).read_text())
        assert state == {"instances": {"1.0": 0, "2.0": 2}, "weights": {"2.0": 100.0}}
