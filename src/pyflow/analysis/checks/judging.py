"""How a judge is recorded with a check, and found again when its verdicts are derived anew."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

import pyflow.analysis.judges as ours
from pyflow.analysis.judges.protocol import Judge
from pyflow.errors import DefinitionError, shown
from pyflow.frozen import Frozen, fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["judge_data", "judge_of", "judge_problems"]


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


def _options(judge: Judge) -> tuple[str, ...]:
    if isinstance(judge, Frozen):
        return fields_of(type(judge))
    return tuple(field.name for field in dataclasses.fields(cast("Any", judge)))
