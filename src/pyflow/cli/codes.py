"""What a command ends with: a number for programs, and the next step for people."""

from __future__ import annotations

import shlex

from pyflow import errors

__all__ = ["CODES", "Refusal", "code_of_error", "code_of_status", "next_step"]

CODES = (
    (0, "succeeded", "what was asked is done"),
    (1, "failed", "a run failed, or an exploration found what goes wrong"),
    (2, "usage", "a word on the command line or the workflow is wrong; nothing was started"),
    (3, "rolled_back", "a run failed, and everything that has an undo is undone"),
    (4, "locked", "somebody else has the run or a resource; nothing was started"),
    (5, "rollback_failed", "a rollback could not finish; what is still applied is named"),
    (6, "journal_integrity", "the journal cannot be read, written or trusted"),
    (7, "needs_decision", "a run waits for a person"),
    (130, "cancelled", "a run was cancelled, or SIGINT came"),
    (143, "cancelled", "SIGTERM came; 129 for SIGHUP"),
)
"""Every exit code, its name, and what it says."""

SUCCEEDED, FAILED, USAGE, ROLLED_BACK, LOCKED = 0, 1, 2, 3, 4
ROLLBACK_FAILED, INTEGRITY, NEEDS_DECISION, CANCELLED = 5, 6, 7, 130

STATUSES = (
    ("succeeded", SUCCEEDED),
    ("failed", FAILED),
    ("rolled_back", ROLLED_BACK),
    ("rollback_failed", ROLLBACK_FAILED),
    ("cancelled", CANCELLED),
)


class Refusal(Exception):
    """What was asked cannot be done; the text says why, and `step` what to do."""

    def __init__(self, text: str, step: str, *, code: int = USAGE) -> None:
        self.step = step
        self.code = code
        super().__init__(text)


def code_of_status(status: str) -> int:
    """Return the exit code of a command whose run stands at *status*."""
    return dict(STATUSES).get(status, NEEDS_DECISION)


def code_of_error(error: BaseException) -> int:
    """Return the exit code of a command that ended with *error*."""
    if isinstance(error, Refusal):
        return error.code
    return next((code for kinds, code, _ in ERRORS if isinstance(error, kinds)), FAILED)


def next_step(error: BaseException, *, journal: str | None) -> str:
    """Return what whoever is told of *error* does next."""
    if isinstance(error, Refusal):
        return error.step
    step = next((step for kinds, _, step in ERRORS if isinstance(error, kinds)), HISTORY)
    return step.replace("{journal}", f" --journal {shlex.quote(journal)}" if journal else "")


HISTORY = "see what happened before it: pyflow-deploy history{journal}"
ERRORS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], int, str], ...] = (
    (
        errors.PlanChanged,
        USAGE,
        "take it up with the code that started it, or add --accept-changes",
    ),
    (errors.RunAlive, LOCKED, "wait for it, or ask it: pyflow-deploy cancel RUN{journal}"),
    (errors.LockError, LOCKED, "see who has what: pyflow-deploy locks{journal}"),
    (
        (errors.JournalIntegrityError, errors.TamperedJournal),
        INTEGRITY,
        "see what is wrong: pyflow-deploy verify{journal}",
    ),
    (errors.JournalError, INTEGRITY, "name another file with --journal, or mend what is named"),
    (errors.EngineError, USAGE, "see which runs there are: pyflow-deploy history{journal}"),
    (
        errors.DefinitionError,
        USAGE,
        "mend it, and see that nothing else is wrong: pyflow-deploy check FILE:WORKFLOW",
    ),
    (errors.ExportError, USAGE, "name another file or format: pyflow-deploy export --help"),
    (errors.SecretError, USAGE, "set the variable or the file that the secret is read from"),
    (errors.CommandFailed, USAGE, "call that program by hand there, and mend what it says"),
    (errors.NeedsDecision, NEEDS_DECISION, HISTORY),
)
"""For each kind of error, the closest first: the exit code, and the next step."""
