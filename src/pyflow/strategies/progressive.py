"""Progressive: one target after another, in waves, each judged before the next begins."""

from __future__ import annotations

from collections.abc import Callable as Function
from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.errors import DefinitionError, shown
from pyflow.protocols import Platform, Router
from pyflow.strategies.fleet import Fleet, slug
from pyflow.strategies.measuring import is_comparison, measured
from pyflow.strategies.portions import portion, waves_of
from pyflow.strategies.rollout import BACKOFF
from pyflow.strategies.targets import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.define.policies import OnFailure
    from pyflow.define.workflow import Workflow
    from pyflow.spans import Backoff, Span
    from pyflow.strategies.portions import Portion
    from pyflow.strategies.rollout import Check

__all__ = ["progressive"]

WAVES: tuple[Portion, ...] = (1, "10%", "50%", "100%")
NAME_CHARS_MAX = 80
Scope: TypeAlias = Literal["wave", "all"]
PlatformOf: TypeAlias = Function[[str], Platform]
RouterOf: TypeAlias = Function[[str], Router]


def progressive(
    service: str,
    version: str,
    *,
    targets: Sequence[Target | str],
    platform: PlatformOf | None = None,
    router: RouterOf | None = None,
    waves: Sequence[Portion] = WAVES,
    max_unavailable: Portion = "100%",
    tolerate: Portion = 0,
    bake: Span | None = None,
    checks: Sequence[Check] = (),
    approval: str | None = None,
    abort_scope: Scope = "all",
    ready_within: Span = "10m",
    check_within: Span = "1h",
    on_failure: OnFailure = "rollback",
    backoff: Backoff = BACKOFF,
) -> Workflow:
    """Return the rollout of *version* over *targets*, in waves, with checks between them.

    At each target the new version starts beside the old one, at full
    capacity; where there is a router it gets the traffic; then the old one
    goes. A target that has the version already is left as it is, so a rollout
    that ended half-way can be made again. Targets that matter less come
    earlier, and a rollback goes back in reverse.

    Args:
        service: The service; its lock is ``service:<service>``.
        version: The version to roll out.
        targets: Hosts, regions, tenants or cells: each a `Target`, or a name
            for which *platform* returns the platform.
        platform: Returns the platform of a target that is a name.
        router: Returns its router; without it such a target has none.
        waves: How many targets have been rolled over after each wave, of all
            targets: counts, or percentages, which are rounded up. The last is
            all of them; a wave that adds none is left out.
        max_unavailable: How many targets may be under way at once, there and
            back: a count, or a percentage of all of them, rounded down, at least one.
        tolerate: How many targets may fail, in all; rounded down. One that does
            is taken back at once and left behind.
        bake: How long to wait after each wave before it is judged.
        checks: What has to be well then; see `canary`. Comparisons are made up
            to the last wave, after which there is nothing to compare with.
        approval: A question to people after each wave but the last.
        abort_scope: What a failure takes back: `all` that was done, or the
            `wave` that failed, after which the run ends as `failed`, with
            earlier waves as they are. A person who rolls back takes back all.
        ready_within: How long instances may take to become ready.
        check_within: How long one check may take.
        on_failure: What a failure leads to, where *abort_scope* is `all`.
        backoff: The waits between tries, and between looks at what is to become ready.

    Raises:
        DefinitionError: An argument makes no sense.
    """
    several = _targets(targets, platform, router)
    _check_scope(abort_scope, on_failure)
    ends = waves_of("progressive", waves, len(several))
    together = _limit("max_unavailable", max_unavailable, len(several), least=1)
    fleet = Fleet(
        several,
        tolerate=_limit("tolerate", tolerate, len(several), least=0),
        measures=bool(measured(checks)),
        service=service,
        version=version,
        ready_within=ready_within,
        check_within=check_within,
        on_failure="stop" if abort_scope == "wave" else on_failure,
        backoff=backoff,
    )
    names = [target.name for target in sorted(several, key=lambda one: one.criticality)]
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False), start=1):
        is_last = end == len(names)
        fleet.wave(names[start:end], together=together)
        fleet.reached(100 * end / len(names))
        made = [one for one in checks if not (is_last and is_comparison(one))]
        fleet.judge(f"bake_{number}", bake, f"check_{number}", made)
        fleet.approve(f"approve_{number}", None if is_last else approval)
        fleet.close()
    if abort_scope == "wave":
        fleet.take_back()
    return fleet.workflow


def _targets(
    given: Sequence[Target | str], platform: PlatformOf | None, router: RouterOf | None
) -> list[Target]:
    """Return the targets, each with its ports.

    Raises:
        DefinitionError: There are none, two have one name, or one has no platform.
    """
    several: list[object] = [] if isinstance(given, str) else list(given)
    problems = [] if several else [f"targets={shown(given)} must be a list of targets"]
    made: list[Target] = []
    for one in several:
        if isinstance(one, Target):
            made.append(one)
        elif isinstance(one, str) and platform is not None:
            made.append(Target(one, platform(one), router(one) if router is not None else None))
        else:
            hint = "give a Target, or a name and platform=, which returns the platform of each"
            problems.append(f"{shown(one)} is no target; {hint}")
    names = [slug(one.name).lower() for one in made]
    problems += [
        f"two targets are called {one.name!r}, or nearly so; tell them apart by letters or digits"
        for number, one in enumerate(made)
        if names.index(names[number]) < number
    ]
    problems += [
        f"{one.name!r} is no name of a target"
        for one in made
        if not 0 < len(one.name) <= NAME_CHARS_MAX
    ]
    problems += [
        f"target {one.name!r}: instances={shown(one.instances)} must be a whole number of 1 or more"
        for one in made
        if one.instances is not None and (type(one.instances) is not int or one.instances < 1)
    ]
    if problems:
        raise DefinitionError("progressive", problems)
    return made


def _limit(what: str, given: Portion, total: int, *, least: int) -> int:
    """Return *given* as a number of targets, of at least *least*.

    Raises:
        DefinitionError: It is no such number.
    """
    found = portion(given, total, up=False)
    if found is None or (found < least and type(given) is int):
        problem = f"{what}={shown(given)} must be a count of {least} or more, or a percentage"
        raise DefinitionError("progressive", [problem])
    return max(least, found)


def _check_scope(scope: Scope, on_failure: OnFailure) -> None:
    if scope not in ("wave", "all"):
        problem = f'abort_scope={shown(scope)} must be "all" or "wave"'
        raise DefinitionError("progressive", [problem])
    if scope == "wave" and on_failure != "rollback":
        problem = (
            f'abort_scope="wave" says what a failure leads to, and on_failure={shown(on_failure)} '
            "something else; leave one of them out"
        )
        raise DefinitionError("progressive", [problem])
