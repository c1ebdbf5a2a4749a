"""The recipes for clouds in the documentation, over scripted `gcloud` and `az`: both contracts."""

from __future__ import annotations

import asyncio
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docs.pages import DOCS, blocks
from pyflow.errors import PlatformError, RouterError
from pyflow.testing import check_platform, check_router
from support.fake_clouds import install

RECIPES = {"roll-out-on-cloud-run": "shop-", "roll-out-on-azure": "shop--"}
Recipe = Callable[[str], dict[str, Any]]


@pytest.fixture(params=RECIPES)
def recipe(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What the listing of a page defines, where revisions 1-0 and 2-0 are there."""
    monkeypatch.setenv("PATH", install(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    prefix = RECIPES[request.param]
    revisions = [f"{prefix}{version}" for version in ("1-0", "2-0")]
    state = {
        "revisions": revisions,
        "active": revisions,
        "weights": {revisions[0]: 100},
        "tags": {},
    }
    Path("cloud.json").write_text(json.dumps(state))
    [listing] = [b for b in blocks(DOCS / f"how-to/{request.param}.md") if b.file is not None]
    Path("listing.py").write_text(listing.body)
    return runpy.run_path("listing.py")


class TestRecipes:
    def test_router(self, recipe: dict[str, Any]) -> None:
        """The router keeps its contract."""
        router = recipe["router"]

        asyncio.run(
            check_router(
                lambda: router, service="shop", versions=("1-0", "2-0"), splits=(0, 5, 100)
            )
        )

    def test_platform(self, recipe: dict[str, Any]) -> None:
        """The platform keeps its contract, with one instance of each version."""
        platform = recipe["platform"]
        asyncio.run(platform.scale("shop", "1-0", 1))

        asyncio.run(
            check_platform(lambda: platform, service="shop", version="2-0", settle="5s", most=1)
        )

    def test_passes_on_what_is_said(self, recipe: dict[str, Any]) -> None:
        """A revision that is not there is an error in the words of the tool."""
        with pytest.raises(RouterError, match=r"Revision shop--?3-0 is not found"):
            asyncio.run(recipe["router"].set_weights("shop", {"3-0": 100}))
        with pytest.raises(PlatformError, match=r"Revision shop--?3-0 is not found"):
            asyncio.run(recipe["platform"].scale("shop", "3-0", 1))


class TestAzure:
    @pytest.mark.parametrize("recipe", ["roll-out-on-azure"], indirect=True)
    def test_refuses_the_latest(self, recipe: dict[str, Any]) -> None:
        """Traffic that follows the latest revision would move by itself, and is refused."""
        with pytest.raises(ValueError, match="pin it to one by name"):
            recipe["weights"]('[{"latestRevision": true, "weight": 100}]')

    @pytest.mark.parametrize("recipe", ["roll-out-on-azure"], indirect=True)
    @pytest.mark.parametrize(
        ("running", "health", "ready"),
        [
            ("Running", "Healthy", True),
            ("Running", "Unhealthy", False),
            ("Degraded", "Healthy", False),
            ("Processing", "None", False),
        ],
    )
    def test_reads_states(
        self, recipe: dict[str, Any], running: str, health: str, ready: bool
    ) -> None:
        """A revision is ready once it runs and nothing says that it is not well."""
        told = {"active": True, "runningState": running, "healthState": health}

        [found] = recipe["instances"](json.dumps([{"name": "shop--2-0", "properties": told}]))

        assert (found.version, found.ready) == ("2-0", ready)
