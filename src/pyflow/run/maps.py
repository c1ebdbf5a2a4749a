"""How far a map has come: which items may start next, and when it is over."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyflow.run.state import TaskState

__all__ = ["MapProgress"]


class MapProgress:
    """Counts the items of one map, so that a settled item costs no scan of the others."""

    def __init__(self, parent: TaskState) -> None:
        assert parent.items is not None
        assert parent.node.task.map is not None
        self.parent = parent
        self.items = parent.items
        self.tolerate = parent.node.task.map.tolerate
        self.failed = 0
        self._room = parent.node.task.map.max_parallel or len(self.items)
        self._next = deque(self.items)
        self._admitted: set[str] = set()

    @property
    def has_failed(self) -> bool:
        """Whether more items failed than the map tolerates."""
        return self.failed > self.tolerate

    def admit(self) -> list[TaskState]:
        """Return the items that may start now, in item order."""
        admitted: list[TaskState] = []
        while self._next and self._room > 0:
            item = self._next.popleft()
            self._room -= 1
            self._admitted.add(item.name)
            admitted.append(item)
        return admitted

    def take_up(self) -> None:
        """Count what the record says of the items, after a resume."""
        self._next = deque(item for item in self.items if item.status == "pending")
        for item in self.items:
            if item.status == "pending":
                continue
            self._admitted.add(item.name)
            if not item.settled:
                self._room -= 1
            elif item.status != "succeeded":
                self.failed += 1

    def settled(self, item: TaskState) -> None:
        """Count *item*, which has settled."""
        if item.name in self._admitted:
            self._room += 1
        if item.status != "succeeded":
            self.failed += 1

    def outputs(self) -> list[object]:
        """Return what the items gave, in item order, None where one gave nothing."""
        return [item.output if item.status == "succeeded" else None for item in self.items]

    def reason(self) -> str:
        """Return why the map has failed."""
        return (
            f"{self.failed} of {len(self.items)} items did not succeed, {self.tolerate} tolerated"
        )
