"""Evidence that a record is what was written: keys, anchors, and verdicts.

Importing this imports SQLite; a run does not need it.
"""

from __future__ import annotations

from pyflow.record.evidence.anchors import (
    Anchor,
    anchor_journal,
    anchor_trail,
    anchors_in_text,
    append_anchor,
    read_anchors,
)
from pyflow.record.evidence.git import anchors_in_git, anchors_in_tags, commit_anchor, tag_anchor
from pyflow.record.evidence.keys import Key, make_key, read_key, write_key
from pyflow.record.evidence.verification import Place, Verification, verify_journal, verify_trail

__all__ = [
    "Anchor",
    "Key",
    "Place",
    "Verification",
    "anchor_journal",
    "anchor_trail",
    "anchors_in_git",
    "anchors_in_tags",
    "anchors_in_text",
    "append_anchor",
    "commit_anchor",
    "make_key",
    "read_anchors",
    "read_key",
    "tag_anchor",
    "verify_journal",
    "verify_trail",
    "write_key",
]
