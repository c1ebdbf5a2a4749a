"""The vocabulary of a run."""

from __future__ import annotations

import ast
import inspect
import re
from itertools import pairwise
from types import MappingProxyType
from typing import Any, cast

import pytest

from pyflow.frozen import Frozen, fields_of
from pyflow.record import events as ev
from pyflow.record.codec import event_data

TREE = ast.parse(inspect.getsource(ev))
CLASSES = {node.name: node for node in TREE.body if isinstance(node, ast.ClassDef)}


def undocumented(node: ast.ClassDef) -> list[str]:
    """Return the fields of a class that no string follows."""
    body = [*node.body, ast.Pass()]
    return [
        f"{node.name}.{ast.unparse(item.target)}"
        for item, after in pairwise(body)
        if isinstance(item, ast.AnnAssign)
        and not ast.unparse(item.annotation).startswith("ClassVar")
        and not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant))
    ]


class TestEvents:
    def test_all(self) -> None:
        """Every class of event that has a kind is in the table exactly once."""
        defined = [
            cls
            for cls in vars(ev).values()
            if isinstance(cls, type) and issubclass(cls, ev.Event) and cls.kind
        ]

        assert list(ev.EVENTS.values()) == defined
        assert len(ev.ALL) == len(ev.EVENTS) == len(set(defined))

    def test_kinds(self) -> None:
        """A kind is the name of its class, in snake case, so no two are alike."""
        expected = [
            re.sub("(?<!^)(?=[A-Z])", "_", cls.__name__).lower() for cls in ev.EVENTS.values()
        ]

        assert list(ev.EVENTS) == expected

    def test_table_is_closed(self) -> None:
        """Nobody adds a kind at run time."""
        table = cast("dict[str, Any]", ev.EVENTS)

        assert isinstance(ev.EVENTS, MappingProxyType)
        with pytest.raises(TypeError):
            table["own"] = ev.Event

    def test_documented(self) -> None:
        """Every class and every field says what it means."""
        assert [name for name, node in CLASSES.items() if not ast.get_docstring(node)] == []
        assert [field for node in CLASSES.values() for field in undocumented(node)] == []

    def test_about_a_task(self) -> None:
        """An event of a task names it in its opening field; the others may name one."""
        for cls in ev.EVENTS.values():
            assert issubclass(cls, ev.TaskEvent) == (fields_of(cls)[0] == "task"), cls

    def test_frozen(self) -> None:
        """An event never changes."""
        event = ev.TaskSkipped("a", "why")

        with pytest.raises(AttributeError, match="never changes"):
            event.reason = "other"  # pyright: ignore[reportAttributeAccessIssue]

        assert event == ev.TaskSkipped("a", "why") != ev.TaskBlocked("a", "why")

    def test_unknown_field(self) -> None:
        """An event takes no field that it does not have."""
        with pytest.raises(TypeError):
            ev.TaskSkipped("a", "why", mood="bad")  # pyright: ignore[reportCallIssue]


class TestStoredForm:
    def test_leaves_out_none(self) -> None:
        """A field that is None is no part of the record, so that one may be added later."""
        assert event_data(ev.TaskSkipped("a", "why")) == {"task": "a", "reason": "why"}

    def test_keeps_the_rest(self) -> None:
        """What is false, zero or empty is kept; only None is left out."""
        event = ev.TaskFailed("a", "", allowed=False)

        assert event_data(event) == {"allowed": False, "reason": "", "task": "a"}

    @pytest.mark.parametrize("kind", ev.EVENTS)
    def test_optional(self, kind: str) -> None:
        """Whatever may be None may also be missing when an event is read."""
        cls: Any = ev.EVENTS[kind]
        hints = {k: v for k, v in cls.__annotations__.items() if not v.startswith("ClassVar")}
        optional = [name for name, hint in hints.items() if hint.endswith("None")]

        event = cls(**{name: "x" for name in hints if name not in optional})

        assert [getattr(event, name) for name in optional] == [None] * len(optional)

    def test_error(self) -> None:
        """An error is stored as type, message and traceback."""
        event = ev.RepairFailed("a", 0, ev.ErrorInfo("OSError", "no"), 0.5)

        assert event_data(event)["error"] == {"type": "OSError", "message": "no", "traceback": ""}
        assert isinstance(event.error, Frozen)
