"""Which kind of file system a path is on, and which kinds cannot hold a journal.

SQLite's WAL keeps its index in memory that every process maps, which a
network file system cannot share between machines; their locks are not
dependable either. What comes of it is a damaged journal, not an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NETWORK", "filesystem_of"]

NETWORK = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "gpfs", "lustre", "ncpfs",
        "nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs",
        "fuse.ceph", "fuse.cephfs", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.mfs",
        "fuse.moosefs", "fuse.rclone", "fuse.s3fs", "fuse.smbnetfs", "fuse.sshfs", "fuse.weed",
    }
)  # fmt: skip
"""File systems whose files are on another machine, or on several."""

MOUNTS = "/proc/self/mountinfo"


def filesystem_of(directory: Path, /, *, mounts: str = MOUNTS) -> str | None:
    """Return the kind of file system that *directory* is on, or None where nothing tells.

    Args:
        directory: An absolute path without symbolic links.
        mounts: The file that lists what is mounted; only Linux has one.
    """
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - a text, not a path of ours
            lines = file.read().splitlines()
    except OSError:
        return None
    best, kind = -1, None
    for line in lines:
        place, found = _mount(line)
        # Of two mounts on one place, the later one hides the other.
        if found and len(place) >= best and _is_within(str(directory), place):
            best, kind = len(place), found
    return kind


def _mount(line: str) -> tuple[str, str]:
    """Return where a line of mountinfo mounts what kind of file system."""
    before, _, after = line.partition(" - ")
    fields, kinds = before.split(" "), after.split(" ")
    if len(fields) < 5 or not kinds[0]:
        return "", ""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4]), kinds[0]


def _is_within(directory: str, place: str) -> bool:
    return directory == place or directory.startswith(place.rstrip("/") + "/")
