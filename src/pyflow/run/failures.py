"""From an exception to what the record and the machine need to know of it."""

from __future__ import annotations

import linecache
import traceback
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from pyflow.errors import CodecError, NeedsDecision, PyflowError, RunStopping, TaskTimeout
from pyflow.frozen import frozen
from pyflow.record.events import ErrorInfo
from pyflow.run.inputs import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, TracebackType

    from pyflow.secrets import Redactor

__all__ = ["ChildFailed", "Seen", "failure", "see"]

MESSAGE_CHARS_MAX = 4_000
TRACEBACK_CHARS_MAX = 8_000
FRAMES_MAX = 12


@frozen
class Seen:
    """What can be seen of an exception from outside, in full and not yet redacted."""

    type: str
    """The name of its class."""

    text: str
    """What it says, its notes included."""

    traceback: str
    """Where it came from."""

    kinds: tuple[str, ...]
    """Qualified names of its class and of all its bases."""


class ChildFailed(PyflowError):
    """The function of an isolated task raised; `seen` is what its process saw of that.

    It is recorded, retried and repaired as the exception itself would have been.
    """

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        super().__init__(f"{seen.type}: {seen.text}" if seen.text else seen.type)


def failure(
    error: BaseException, *, redactor: Redactor, chance: float, leftover: bool = False
) -> Failure:
    """Return what the machine is told of *error*."""
    seen = see(error)
    return Failure(
        error=_recorded(seen, redactor),
        kinds=seen.kinds,
        chance=chance,
        final=_qualified(CodecError) in seen.kinds,
        stopped=_qualified(RunStopping) in seen.kinds,
        leftover=leftover,
        asks=_qualified(NeedsDecision) in seen.kinds,
    )


def see(error: BaseException) -> Seen:
    """Return what can be seen of *error*, here or where it was raised."""
    if isinstance(error, ChildFailed):
        return error.seen
    kinds = tuple(_qualified(cls) for cls in type(error).__mro__)
    return Seen(_type_name(error), _text(error), _traceback(error), kinds)


def _recorded(seen: Seen, redactor: Redactor) -> ErrorInfo:
    """Return what is recorded: redacted whole, then cut to size."""
    return ErrorInfo(
        redactor.redact(seen.type),
        _cut(redactor.redact(seen.text), MESSAGE_CHARS_MAX, keep_end=False),
        _cut(redactor.redact(seen.traceback), TRACEBACK_CHARS_MAX, keep_end=True),
    )


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _type_name(error: BaseException) -> str:
    cls = type(error)
    if isinstance(error, TaskTimeout) or cls.__module__ == "builtins":
        return cls.__qualname__
    return _qualified(cls)


def _text(error: BaseException) -> str:
    """Return the text of *error*, its notes included, even where `str` raises."""
    try:
        text = error.message if isinstance(error, TaskTimeout) else str(error)
        notes = getattr(error, "__notes__", ())
        return "\n".join((text, *map(str, notes)))
    except BaseException as broken:  # noqa: BLE001 - a broken message must not hide the error
        return f"<its text could not be made: {type(broken).__name__}>"


def _traceback(error: BaseException) -> str:
    """Return where *error* came from, without pyflow's own frames."""
    try:
        steps = list(_outside(error.__traceback__))[-FRAMES_MAX:]
        return "".join(_step(step.tb_frame.f_code, step.tb_lasti, step.tb_lineno) for step in steps)
    except Exception:  # noqa: BLE001 - a source file may be unreadable
        return ""


def _outside(trace: TracebackType | None) -> Iterator[TracebackType]:
    """Yield the steps of *trace* that are not pyflow's own, whose source Python then can find."""
    while trace is not None:
        frame = trace.tb_frame
        if "/pyflow/run/" not in frame.f_code.co_filename.replace("\\", "/"):
            linecache.lazycache(frame.f_code.co_filename, frame.f_globals)
            yield trace
        trace = trace.tb_next


@lru_cache(maxsize=512)
def _step(code: CodeType, instruction: int, line: int) -> str:
    """Return a step of a traceback, as Python shows it, which reads the source to do so."""
    linecache.checkcache(code.co_filename)
    positions = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    _, last_line, column, last_column = positions
    frame = traceback.FrameSummary(
        code.co_filename,
        line,
        code.co_name,
        end_lineno=last_line,
        colno=column,
        end_colno=last_column,
    )
    return "".join(traceback.format_list([frame]))


def _cut(text: str, size: int, *, keep_end: bool) -> str:
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= size:
        return text
    return "…" + text[1 - size :] if keep_end else text[: size - 1] + "…"
