"""What the CI system says about this run, and what the run says to it.

Every run asks the former; the latter is imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pyflow.ci.context import (
    SYSTEMS,
    CIContext,
    Initiator,
    context,
    detect_ci,
    detect_initiator,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.ci.reporting import CIReport, report

__all__ = [
    "SYSTEMS",
    "CIContext",
    "CIReport",
    "Initiator",
    "context",
    "detect_ci",
    "detect_initiator",
    "report",
]

LATER: Mapping[str, str] = MappingProxyType(
    {
        "CIReport": "reporting",
        "report": "reporting",
    }
)
"""Names that are imported when they are used, and the module that has each."""


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{LATER[name]}"), name)
