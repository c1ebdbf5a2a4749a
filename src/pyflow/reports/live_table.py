"""A live display by ``rich``: each run with its bar, and below it what is under way and since when.

``rich`` has the terminal meanwhile: what tasks print appears above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

from pyflow.record.rendering import fitted
from pyflow.reports.live import done_of, elapsed_of, titled, under_way
from pyflow.reports.looks import look_of, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.live import Live
    from rich.table import Table

    from pyflow.protocols import Clock
    from pyflow.record.outline import Outline

__all__ = ["LiveTable"]

TASKS_MAX = 8
BAR_COLUMNS = 30
REFRESHES_A_SECOND = 4
STYLES = (
    *(("good", "green"), ("bad", "red"), ("doubt", "yellow")),
    *(("back", "magenta"), ("busy", "cyan"), ("off", "dim")),
)


class LiveTable:
    """Every run that goes on, its bar, and the tasks that are worked on."""

    is_live = True

    def __init__(self, stream: TextIO, *, colours: bool, clock: Clock) -> None:
        from rich.console import Console  # noqa: PLC0415 - an extra

        self._console = Console(
            file=stream, force_terminal=True, no_color=not colours, highlight=False, emoji=False
        )
        self._clock = clock
        self._runs: dict[str, Outline] = {}
        self._live: Live | None = None

    def line(self, text: str, *, look: str = "") -> None:
        """Show *text* for good, above what moves."""
        from rich.text import Text  # noqa: PLC0415 - an extra

        self._console.print(Text(text, style=dict(STYLES).get(look, "")), soft_wrap=True)

    def show(self, runs: Mapping[str, Outline]) -> None:
        """Show how *runs* stand."""
        self._runs = dict(runs)
        if runs and self._live is None:
            self._live = self._made()
            self._live.start()
        elif not runs and self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def _made(self) -> Live:
        from rich.live import Live  # noqa: PLC0415 - an extra

        return Live(
            console=self._console,
            get_renderable=self._table,
            refresh_per_second=REFRESHES_A_SECOND,
            transient=True,
        )

    def _table(self) -> Table:
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - an extra
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table.grid(padding=(0, 1))
        for outline in list(self._runs.values()):
            done, whole = done_of(outline)
            look = dict(STYLES)["back" if outline.status == "rolling_back" else "busy"]
            bar = ProgressBar(
                total=max(whole, 1),
                completed=done,
                width=BAR_COLUMNS,
                complete_style=look,
                finished_style=look,
            )
            passed = elapsed_of(outline, self._clock)
            table.add_row(
                Text(titled(outline), style="bold"), bar, Text(f"{done}/{whole}"), Text(passed)
            )
            for row in self._tasks(outline):
                table.add_row(*row)
        return table

    def _tasks(self, outline: Outline) -> list[tuple[Any, ...]]:
        from rich.text import Text  # noqa: PLC0415 - an extra

        names = under_way(outline)
        rows: list[tuple[Any, ...]] = []
        for name in names[:TASKS_MAX]:
            task = outline.tasks[name]
            is_again = task.status == "running" and task.attempts > 1
            again = f", attempt {task.attempts}" if is_again else ""
            said = Text(f"{words_of(task.status)}{again}", dict(STYLES)[look_of(task.status)])
            rows.append((Text(f"  {fitted(name, 40)}"), said))
        if len(names) > TASKS_MAX:
            rows.append((Text(f"  and {len(names) - TASKS_MAX} more", style="dim"),))
        return rows
