"""What happened, in all runs of a journal: found, compared, counted.

with pyflow.history("deploys.db") as history:
    for run in history.runs(environment="production", status="rolled_back"):
        print(run)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from pyflow.record.history.lookup import History

__all__ = ["history"]


def history(
    path: str | os.PathLike[str], /, *, told: Callable[[int, int], None] | None = None
) -> History:
    """Open the history of the journal at *path*, to look things up in.

    Args:
        path: The journal; it is read, and never changed.
        told: Hears how far the index has come that runs are found by.

    Raises:
        JournalError: There is no journal there, or it cannot be read.
        JournalIntegrityError: It is not what its head says.
    """
    # Few programs look back, and importing pyflow is to be quick.
    from pyflow.record.history.lookup import History  # noqa: PLC0415

    return History(path, told=told)
