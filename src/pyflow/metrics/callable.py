"""Ask a function of the user's own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable as Function
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pyflow.clock import SystemClock
from pyflow.errors import MetricError, PyflowError, shown
from pyflow.metrics._series import History, check_question, collected
from pyflow.probes._checks import one_line, refuse, span_problems, text_problems
from pyflow.protocols import Clock, Sample
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from pyflow.protocols import Samples

__all__ = ["Callable"]


@dataclass(frozen=True, slots=True, repr=False)
class Callable:
    """Answers with what a function of the query returns.

    | the function returns | the answer |
    |---|---|
    | a number | a sample of this instant, beside those of earlier questions |
    | a list of `Sample` | those that lie in the window |
    | None | nothing besides what earlier questions found |
    | anything else, or it raises, or takes too long | `MetricError` |

    An async function runs on the loop, a plain one on a thread, which goes on
    to its end even where nobody waits for it any more.
    """

    fn: Function[[str], Any]
    """The function, plain or async."""

    _: KW_ONLY

    name: str | None = None
    """What errors and reprs call it; by default the function's own name."""

    timeout: Span = "10s"
    """Span for one call."""

    clock: Clock = field(default_factory=SystemClock, repr=False, compare=False)
    """What tells the present."""

    _history: list[History] = field(
        default_factory=list[History], init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        problems = [*text_problems("name", self.name), *span_problems("timeout", self.timeout)]
        if not callable(self.fn):
            problems.append(f"{shown(self.fn)} is not a function of a query")
        refuse("Callable", problems)
        if self.name is None:
            object.__setattr__(self, "name", getattr(self.fn, "__qualname__", shown(self.fn)))
        self._history.append(History(self.clock))

    def __repr__(self) -> str:
        return f"Callable({self.name})"

    async def query(
        self, query: str, /, *, window: timedelta, at: datetime | None = None
    ) -> Samples:
        """Ask the function, unless *at* is over and it tells of the present alone.

        Raises:
            DefinitionError: That is no question.
            MetricError: The function raised, took too long, or returned what
                is no answer.
        """
        check_question(query, window, at)
        history = self._history[0]
        answer = await self._called(query)
        if isinstance(answer, Sequence) and not isinstance(answer, str):
            points = cast("Sequence[object]", answer)
            if not all(isinstance(p, Sample) and p.at.utcoffset() is not None for p in points):
                raise self._refusal(query, points)
            samples = cast("Sequence[Sample]", answer)
            pairs = [(sample.at, float(sample.value)) for sample in samples]
            return collected(pairs, window=window, at=at or self.clock.now())
        if isinstance(answer, bool) or not isinstance(answer, (int, float, type(None))):
            raise self._refusal(query, answer)
        if answer is not None and not history.is_past(at):
            history.add(query, float(answer))
        return history.answer(query, window, at)

    async def _called(self, query: str) -> Any:
        try:
            async with asyncio.timeout(seconds(self.timeout)):
                if inspect.iscoroutinefunction(self.fn):
                    return await self.fn(query)
                answer = await asyncio.to_thread(self.fn, query)
                return await answer if inspect.isawaitable(answer) else answer
        except TimeoutError as error:
            reason = f"no answer within {seconds(self.timeout):g} s"
            raise MetricError(repr(self), query, reason) from error
        except PyflowError:
            raise
        except Exception as error:
            raise MetricError(repr(self), query, one_line(f"it raised {error!r}")) from error

    def _refusal(self, query: str, answer: object) -> MetricError:
        reason = f"it returned {shown(answer)}; expected a number, a list of Sample, or None"
        return MetricError(repr(self), query, reason)
