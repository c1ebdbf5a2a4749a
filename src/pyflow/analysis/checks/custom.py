"""Ask a function of the user's own for a verdict."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_args

from pyflow.analysis.checks.base import Arms, Check, Look, broken, empty
from pyflow.analysis.verdicts import Judgement, Verdict
from pyflow.errors import MetricError, PyflowError, shown
from pyflow.record.values import encode
from pyflow.spans import Span, seconds, span_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Custom"]


@dataclass(frozen=True, slots=True, repr=False)
class Custom(Check):
    """Says what a function says, which is given the `Arms` of the analysis.

    | the function returns | verdict |
    |---|---|
    | True, False | pass, fail |
    | ``"pass"``, ``"fail"``, ``"inconclusive"``, ``"no_data"`` or ``"error"`` | that one |
    | one of these, and values that it rests on | the same; the values are recorded |
    | None | no_data |
    | anything else, or it raises, or takes too long | error |

    An async function runs on the loop, a plain one on a thread.
    """

    kind: ClassVar[str] = "custom"

    fn: Callable[[Arms], Any] = field(kw_only=False)
    """The function, plain or async."""

    timeout: Span = field(default="30s", kw_only=True)
    """Span for one call."""

    def __post_init__(self) -> None:
        problems = [] if callable(self.fn) else [f"{shown(self.fn)} is not a function"]
        if problem := span_problem(self.timeout, zero=False):
            problems.append(f"timeout: {problem}")
        self._check(problems, name=getattr(self.fn, "__qualname__", shown(self.fn)))

    @property
    def settings(self) -> dict[str, Any]:
        """What its verdict depends on, as JSON data."""
        return {"kind": self.kind, "function": getattr(self.fn, "__qualname__", shown(self.fn))}

    async def look(self, arms: Arms, past: Sequence[Mapping[str, Any]]) -> Look:
        """Call the function once."""
        del past
        answer: Any = await self._called(arms)
        values: Any = None
        if isinstance(answer, tuple) and len(cast("tuple[Any, ...]", answer)) == 2:
            answer, values = cast("tuple[Any, Any]", answer)
        if not isinstance(answer, (bool, type(None))) and answer not in get_args(Verdict):
            said = shown(cast("Any", answer))
            raise MetricError(repr(self), self.name or "", f"it said {said}; expected a verdict")
        rests_on = {} if values is None else {"values": encode(values, "values")}
        return Look({"answer": answer, **rests_on})

    async def _called(self, arms: Arms) -> Any:
        name = self.name or ""
        try:
            async with asyncio.timeout(seconds(self.timeout)):
                if inspect.iscoroutinefunction(self.fn):
                    return await self.fn(arms)
                return await asyncio.to_thread(self.fn, arms)
        except TimeoutError as error:
            reason = f"no answer within {seconds(self.timeout):g} s"
            raise MetricError(repr(self), name, reason) from error
        except PyflowError:
            raise
        except Exception as error:
            raise MetricError(repr(self), name, f"it raised {shown(error)}") from error

    @classmethod
    def judge(
        cls, settings: Mapping[str, Any], looks: Sequence[Mapping[str, Any]]
    ) -> Judgement | None:
        """Take the latest answer for what it is."""
        look = looks[-1]
        if (problem := broken(look)) is not None:
            return problem
        answer, method = look["answer"], f"function {settings['function']}"
        if answer is None:
            return empty("the function had nothing to say")
        verdict: Verdict = answer if isinstance(answer, str) else ("pass" if answer else "fail")  # pyright: ignore[reportAssignmentType]
        return Judgement(verdict, f"the function said {answer!r}", method)
