"""What platforms check of what they are given."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyflow.errors import PlatformError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["check_scale", "filled"]

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}")
INSTANCES_MAX = 10_000


def check_scale(service: object, version: object = "v", instances: object = 0) -> None:
    """Check the arguments of a `scale`, which end up in file names and command lines.

    Raises:
        PlatformError: A name is none, or the number is not one of instances.
    """
    for what, name in (("service", service), ("version", version)):
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise PlatformError(
                shown(service),
                f"{shown(name)} is no name of a {what}; give up to 100 letters, digits, and ._+-",
            )
    if type(instances) is not int or not 0 <= instances <= INSTANCES_MAX:
        raise PlatformError(
            shown(service),
            f"{shown(instances)} is no number of instances; give 0 to {INSTANCES_MAX}",
        )


def filled(parts: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """Return *parts* with each ``{name}`` of *values* replaced; other braces are left alone."""
    return [_fill(part, values) for part in parts]


def _fill(part: str, values: Mapping[str, object]) -> str:
    pattern = "|".join(re.escape(f"{{{name}}}") for name in values)
    return re.sub(pattern, lambda found: str(values[found[0][1:-1]]), part)
