"""How a judge is recorded with a check, and found again when its verdicts are derived anew."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

import pyflow.analysis.judges as ours
from pyflow.analysis.judges.protocol import Judge
from pyflow.analysis.verdicts import Judgement
from pyflow.errors import DefinitionError, shown
from pyflow.frozen import Frozen, fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["judge_data", "judge_of", "judge_problems", "looks_of", "looks_problems", "too_early"]


def judge_problems(judge: object) -> list[str]:
    """Return what is wrong with *judge*."""
    if isinstance(judge, type) or not isinstance(judge, Judge):
        return [f"judge={shown(judge)} is no judge; give one such as Sequential()"]
    return []


def judge_data(judge: Judge) -> dict[str, Any]:
    """Return what the record says of *judge*: its class, and its options if they are plain."""
    cls = type(judge)
    data: dict[str, Any] = {"name": cls.__qualname__}
    if getattr(ours, cls.__name__, None) is not cls:
        return {"name": f"{cls.__module__}.{cls.__qualname__}"}
    return {**data, "options": {name: getattr(judge, name) for name in _options(judge)}}


def judge_of(data: Mapping[str, Any]) -> Judge:
    """Return the judge that the record tells of.

    Raises:
        DefinitionError: It is none of ours, so its verdicts cannot be derived here.
    """
    cls = getattr(ours, data["name"], None)
    if cls is None or "options" not in data:
        raise DefinitionError(
            "replay",
            [f"the judge {data['name']!r} is none of pyflow's; its verdicts stand as read"],
        )
    return cls(**data["options"])


def looks_of(judge: Judge, count: int | None) -> dict[str, int]:
    """Return, for a judge that looks once, after how many measurements; else nothing."""
    return {"looks": count or 1} if isinstance(judge, ours.FixedSample) else {}


def looks_problems(judge: Judge, count: int | None, interval: object) -> list[str]:
    """Return why a judge that looks once would not know when."""
    if looks_of(judge, count) and interval is not None and count is None:
        return [f"{type(judge).__name__} looks once, after the last measurement; give count="]
    return []


def too_early(settings: Mapping[str, Any], measured: int) -> Judgement | None:
    """Return what a judge that looks once says of a look before the last, or None."""
    looks = settings.get("looks", 0)
    if measured >= looks:
        return None
    return Judgement("inconclusive", f"it is judged once, after {looks} measurements", "none")


def _options(judge: Judge) -> tuple[str, ...]:
    if isinstance(judge, Frozen):
        return fields_of(type(judge))
    return tuple(field.name for field in dataclasses.fields(cast("Any", judge)))
