"""Archives: finished runs of long ago, out of the journal and still provable.

`archive_runs` writes them to files that stand alone, and then removes them
from the journal by a cut that the journal's own chain records. So `verify`
still succeeds, and says which records are in which archive.
"""

from __future__ import annotations

from pyflow.record.archive.files import Archive
from pyflow.record.archive.moving import Moved, archive_runs
from pyflow.record.archive.selecting import Kept
from pyflow.record.archive.verifying import verify_archive

__all__ = ["Archive", "Kept", "Moved", "archive_runs", "verify_archive"]
