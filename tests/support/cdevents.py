"""What validates CDEvents: the schemas of their specification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

SCHEMAS = Path(__file__).parents[1] / "notifiers" / "cdevents"


def validator(kind: str) -> Draft202012Validator:
    """Return what validates CDEvents of type *kind*."""
    schemas = {path.stem: json.loads(path.read_text()) for path in SCHEMAS.rglob("*.json")}
    registry: Registry[Any] = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in schemas.values()
    )
    name = "".join(kind.split(".")[2:4]) if kind.startswith("dev.cdevents.") else "custom"
    return Draft202012Validator(schemas[name], registry=registry, format_checker=FormatChecker())
