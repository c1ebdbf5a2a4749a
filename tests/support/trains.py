"""A shop and the service behind it, and a release train of both with a change of the schema."""

from __future__ import annotations

from typing import Any

from pyflow.strategies import RolloutWorkflow, Service, StateChange, blue_green, release_train
from pyflow.testing import World
from support.rollouts import INSTANCES, NEW, OLD, open_shop

API_INSTANCES = 2


def facts(version: str, schema: int) -> dict[str, Any]:
    """Return what is there when both services run *version*."""
    return {
        f"shop instances {version}": INSTANCES,
        f"shop weight {version}": 100.0,
        f"api instances {version}": API_INSTANCES,
        f"api weight {version}": 100.0,
        "schema version": schema,
    }


BEFORE, AFTER = facts(OLD, 0), facts(NEW, 1)


def open_shops(**release: Any) -> World:
    """Return a shop and an api that run their old versions under traffic."""
    world = open_shop(**release)
    world.service("api", version=OLD, instances=API_INSTANCES)
    world.release("api", NEW, startup="20s")
    world.traffic("api", rps=100)
    return world


def schema(world: World, **options: Any) -> StateChange:
    """Return the change of the schema, with an undo unless it is given another way back."""

    async def migrate() -> None:
        world.schema_version = 1
        if world.schema_version != 1:
            raise RuntimeError("the schema is not there")

    async def migrate_back() -> None:
        world.schema_version = 0
        if world.schema_version != 0:
            raise RuntimeError("the schema is still there")

    if "way_back" not in options:
        options["undo"] = migrate_back
    given: dict[str, Any] = {"on_interrupt": "rerun", **options}
    return StateChange("schema", migrate, **given)


def api(world: World, **options: Any) -> RolloutWorkflow:
    return blue_green("api", NEW, platform=world.platform, router=world.router, **options)


def shop(world: World, **options: Any) -> RolloutWorkflow:
    return blue_green("shop", NEW, platform=world.platform, router=world.router, **options)


def make_train(
    world: World, *, change: StateChange | None = None, after: str = "schema", **options: Any
) -> RolloutWorkflow:
    """Return the canonical train: the schema, then the api that needs it, then the shop that needs that.

    Args:
        world: Where it runs.
        change: The change of the schema, if it is another one.
        after: What the api waits for.
        options: More for the train.
    """
    policy = {"on_failure": options["on_failure"]} if "on_failure" in options else {}
    return release_train(
        services=[
            Service(api(world, **policy), depends_on=[after] if after else []),
            Service(shop(world, **policy), depends_on=["api"]),
        ],
        changes=[change or schema(world)],
        **options,
    )
