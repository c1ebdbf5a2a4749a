"""The journal that a command is about: it has to be there, and to have the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyflow.cli.codes import Refusal
from pyflow.record.ledger import is_ledger
from pyflow.record.shortcuts import Unknown, last_record

if TYPE_CHECKING:
    from pyflow.protocols import Journal

__all__ = ["existing", "known_run"]


def existing(journal: str) -> Path:
    """Return the path of *journal*, which is there, so that looking never makes one.

    Raises:
        Refusal: It is not.
    """
    path = Path(journal)
    if not path.exists() and not path.with_name(path.name + ".head").exists():
        raise Refusal(
            f"there is no journal {journal!r}",
            "name the one that the run was made with: --journal FILE, or PYFLOW_JOURNAL",
        )
    return path


def known_run(journal: Journal, run_id: str) -> None:
    """Make sure that *journal* has *run_id*.

    Raises:
        Refusal: It has not; the text names the nearest, and the last.
    """
    if not is_ledger(run_id) and last_record(journal, run_id) is not None:
        return
    unknown = Unknown(journal, run_id)
    hint = f"; did you mean {unknown.near}?" if unknown.near else ""
    last = f"the last run is {unknown.last}" if unknown.last else "it has no run yet"
    raise Refusal(
        f"no run {run_id!r} is in the journal{hint}", f"{last}; pyflow-deploy history lists them"
    )
