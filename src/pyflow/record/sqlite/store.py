"""The file of a workspace, opened by an engine: its journal, its locks, and who has it open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.record.sqlite.locks import SQLiteLocks
from pyflow.record.sqlite.owners import Owner

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["Store"]


class Store:
    """A journal on disk, with the locks that all processes of this host share.

    Args:
        path: The file, which is made if it is not there.
        now: Tells the instants that people are shown beside locks.

    Raises:
        JournalError: It cannot be opened, and was not touched.
    """

    def __init__(self, path: str | os.PathLike[str], *, now: Callable[[], datetime]) -> None:
        self.journal = SQLiteJournal(path)
        try:
            self._owner = Owner(self.journal.database.path, now=now)
        except BaseException:
            self.journal.close()
            raise
        self.locks = SQLiteLocks(self.journal.database, self._owner, now=now)

    def __repr__(self) -> str:
        return f"<Store {str(self.journal.database.path)!r}>"

    def close(self) -> None:
        """Let go of the file. Runs that have not ended may be taken up by others from now on."""
        self._owner.close()
        self.journal.close()
