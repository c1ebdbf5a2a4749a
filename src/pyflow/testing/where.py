"""Say what waits, and where: the name of a call, the place of a task or a thread.

An error that only counted the tasks that wait would leave the search to its
reader, so it shows the chain of calls that each one is in.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["name_of", "where_task", "where_thread"]


def name_of(func: object) -> str:
    """Return the name of *func*, looking through what `asyncio.to_thread` wraps around it."""
    while isinstance(func, functools.partial):
        inside = cast("functools.partial[Any]", func)
        in_context = isinstance(getattr(inside.func, "__self__", None), contextvars.Context)
        func = inside.args[0] if in_context and inside.args else inside.func
    return str(getattr(func, "__qualname__", None) or type(func).__name__)


def where_task(task: asyncio.Task[Any]) -> str:
    """Return the chain of calls that *task* waits in, outermost first."""
    calls: list[str] = []
    inner: Any = task.get_coro()
    while inner is not None:
        kind = next((k for k in ("cr", "gi", "ag") if hasattr(inner, f"{k}_frame")), None)
        if kind is None:
            break
        frame = getattr(inner, f"{kind}_frame")
        if frame is None:
            break
        calls.append(_place(inner.__qualname__, frame.f_code.co_filename, frame.f_lineno))
        inner = getattr(inner, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
    target = getattr(task, "_fut_waiter", None)
    if isinstance(target, asyncio.Task):
        calls.append(f"task {cast('asyncio.Task[Any]', target).get_name()}")
    return " > ".join(calls) or "not started"


def where_thread(ident: int | None) -> str:
    """Return the call that the thread *ident* is in."""
    frame = None if ident is None else _frames().get(ident)
    if frame is None:
        return "not on a thread that the loop started"
    return _place(frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno)


def _frames() -> dict[int, FrameType]:
    # Python 3.11 holds a lock meanwhile that ending threads need, and hangs if
    # it collects garbage there and so lets one of them run (gh-106883).
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()  # noqa: SLF001
    finally:
        if collects:
            gc.enable()


def _place(name: str, path: str, line: int | None) -> str:
    return f"{name} ({Path(path).name}:{line})"
