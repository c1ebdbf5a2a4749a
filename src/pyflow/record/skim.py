"""Reading stored records without making events of them: what it takes to check many, fast.

A stored record is canonical JSON whose keys are sorted, so ``hash`` and what
follows it stand at the end, in one fixed form. `skim` takes the hash of the
stored bytes themselves: equal hashes are equal bytes, so what was written in
canonical form is still in it, and nothing has to be written anew to compare.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import NamedTuple

from pyflow.record.codec import DOMAIN

__all__ = ["Skimmed", "kind_of", "skim"]

DOMAIN_BYTES = DOMAIN.encode()
MARK = b'"hash":"'
DIGEST = 64
TAIL = re.compile(
    rb'"hash":"([0-9a-f]{64})","kind":"([a-z_]+)","prev":"([0-9a-f]{64})","run":("(?:[ !#-\[\]-~]|\\.)*"),"seq":(\d{1,15})\}'
)
AT = slice(7, 34)
KIND = '","kind":"'


class Skimmed(NamedTuple):  # which is made three times as fast as a frozen class
    """A record as it is stored, read no further than its place in the chain."""

    run_id: str
    """The run that it belongs to."""

    seq: int
    """Its number in that run."""

    kind: str
    """The kind of event."""

    prev: str
    """Hash of the record before it."""

    hash: str
    """Its own hash, which is that of its bytes."""

    at: str
    """When it was recorded, as it is written: text order is time order."""


def skim(line: bytes) -> Skimmed | None:
    """Return the record in *line*, or None if it is not as it was written."""
    at = line.rfind(MARK)
    found = TAIL.fullmatch(line, at) if at > 0 else None
    if found is None:
        return None
    digest, kind, prev, run, seq = found.groups()
    # The bytes without the hash: what stands before it, and what stands after its comma.
    bare = line[:at] + line[at + len(MARK) + DIGEST + 2 :]
    if hashlib.sha256(DOMAIN_BYTES + bare).hexdigest().encode() != digest:
        return None
    name = json.loads(run) if b"\\" in run else run[1:-1].decode("ascii")
    return Skimmed(name, int(seq), kind.decode(), prev.decode(), digest.decode(), _instant(line))


def _instant(line: bytes) -> str:
    return line[AT].decode() if line.startswith(b'{"at":"') else ""


def kind_of(line: str) -> str:
    """Return the kind of the record in *line*, or nothing where it has none."""
    at = line.rfind(KIND) + len(KIND)
    return line[at : line.find('"', at)] if at >= len(KIND) else ""
