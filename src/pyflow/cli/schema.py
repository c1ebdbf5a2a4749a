"""The JSON documents of the command line, in words: what programs may rely on.

Within one version of the schema fields are added, and never changed or taken
out. Instants are ISO 8601 in UTC, spans are in seconds.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMMON", "DOCUMENTS", "PARTS"]

COMMON: Mapping[str, str] = MappingProxyType(
    {
        "schema": "`pyflow.cli/1`",
        "command": "the command",
        "exit_code": "what the program ends with",
        "error": "where something went wrong: `type`, `message` and `next`, what to do",
    }
)
"""The fields of every document."""

DOCUMENTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "check": {"workflow": "its name", "fingerprint": "of its plan"},
        "plan": {
            "plan": "`workflow fingerprint on_failure locks params stages critical_path tasks`"
        },
        "graph": {"graph": "`workflow fingerprint format text file`; one of the last two is null"},
        "run": {"run": "a result", "next": "command lines that may come next"},
        "resume": {
            "run": "a result",
            "next": "command lines that may come next",
            "runs": "without RUN: a list of results",
        },
        "rollback": {"run": "a result", "next": "command lines that may come next"},
        "simulate": {
            "run": "a result",
            "order": "every call, in order",
            "elapsed_s": "how much virtual time passed",
        },
        "explore": {
            "exploration": "`workflow ok complete runs points pruned skipped endings counterexamples`"
        },
        "approve": {"run": "`id is_alive`", "asked": "the command"},
        "reject": {"run": "`id is_alive`", "asked": "the command"},
        "resolve": {"run": "`id is_alive`", "asked": "the command"},
        "pause": {"run": "`id is_alive`", "asked": "the command"},
        "unpause": {"run": "`id is_alive`", "asked": "the command"},
        "cancel": {"run": "`id is_alive`", "asked": "the command"},
        "status": {
            "run": "with RUN: how it stands",
            "next": "with RUN: command lines that decide what it waits for",
            "unfinished": "without RUN: a list of rows",
            "latest": "without RUN: the last ten rows",
        },
        "history": {
            "runs": "a list of rows, the newest first",
            "before": "what `--before` needs for the next page, or null",
            "count": "with `--count`: how many",
            "run": "with `--last-good`: a row, or null",
            "changes": "with `--changes`: `at run environment task resource before after`",
            "dora": "with `--dora`: for each metric `value unit of what`",
        },
        "show": {
            "run": "how it stands",
            "records": "a list of `seq at kind task data hash`",
            "one": "with `--diff`: the run",
            "other": "with `--diff`: the other",
            "differences": "with `--diff`: a list of `what one other`",
            "fields": "with `--compliance`: a list of `standard field found seq`",
            "file": "with `--html`: where the page is",
        },
        "locks": {
            "locks": "a list of `resource standing run host pid since epoch`; `standing` is held, dead or residue",
            "resource": "with `--break`: what was freed",
            "epoch": "with `--break`: its epoch now",
        },
        "export": {
            "export": "`format runs skipped bytes out`; `skipped` had not ended, `bytes` is null where it was sent"
        },
        "verify": {
            "verification": "`subject ok verdict text records first_bad anchored archived unseen findings`"
        },
        "archive": {
            "archives": "a list of `path archive digest records upto runs`",
            "kept": "a list of `run why`",
        },
        "anchor": {
            "anchor": "`subject records head at key_id line`",
            "kept": "where it is",
            "key": "with `--new-key`: `id file`",
        },
    }
)
"""The fields of each command's document, besides those of all."""

PARTS: Mapping[str, str] = MappingProxyType(
    {
        "a result": (
            "`id workflow status environment error tasks residue not_undone recovery_errors "
            "finalizer_errors wall_s records head waits`; a run that a signal has ended is told as "
            "how it stands"
        ),
        "how it stands": (
            "`id workflow status reason environment initiator params started ended error residue "
            "tasks waits records head`"
        ),
        "a row": (
            "`number id workflow environment service version initiator status started ended records "
            "error commit`"
        ),
    }
)
"""What occurs in several documents."""
