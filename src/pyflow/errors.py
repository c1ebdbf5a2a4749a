"""Every error that pyflow raises.

    PyflowError
    ├── DefinitionError (also ValueError)   the workflow, a policy or a parameter is wrong
    ├── CodecError (also TypeError)         a value that the record cannot hold
    ├── TaskError                           an attempt of a task went wrong
    │   ├── TaskTimeout (also TimeoutError) it took longer than its timeout
    │   └── RecoveryError                   an undo, a repair or a finalizer went wrong
    ├── ProcessFailed                       the process of an isolated task gave no answer
    ├── CommandFailed                       a program that was called did not do what it was for
    ├── RunFailed                           `result.raise_for_status()` on a run that did not succeed
    ├── EngineError                         the engine was used in a way it cannot serve
    ├── RunBroken                           what a run had decided could not be carried out
    ├── ProbeError                          polling ended without the reading it waited for
    │   └── PollTimeout (also TimeoutError)
    ├── JournalError                        the record could not be written or read
    │   ├── TamperedJournal                 the record is not what was written
    │   └── JournalIntegrityError           the journal as a whole is not the one that was left
    ├── LockError                           a lock could not be taken or kept
    │   ├── LockHeld                        somebody has it, and nobody is to wait
    │   ├── LockLost                        somebody else has it by now
    │   ├── LockMoved                       somebody else has had it since
    │   └── RunAlive                        the run that asks for it is alive elsewhere
    ├── PlatformError                       a platform could not be observed or changed
    ├── RouterError                         weights could not be read or set
    ├── NeedsDecision                       what has failed is a question to a person
    ├── RolloutError                        a step of a rollout cannot be taken safely
    │   ├── CheckFailed                     a check did not say that all is well
    │   ├── ForeignChange (also NeedsDecision) somebody else changed weights or versions
    │   └── Unconfirmed (also NeedsDecision) a change did not show after bounded tries
    ├── SecretError (also ValueError)       a secret that cannot be protected or fetched
    ├── HTTPError                           a request gave no usable answer
    ├── MetricError                         a source of metrics gave no usable answer
    ├── PipelineError                       a pipeline could not be started or followed
    │   ├── PipelineFailed                  it ended, and not well
    │   └── PipelineUnknown (also NeedsDecision) nobody can tell whether it runs
    ├── ExportError                         an export could not be made, written or sent
    └── AnalysisFailed                      an analysis says that a rollout must not go on
        └── AnalysisHeld (also NeedsDecision) it cannot say that it may, and asks for a person

    RunStopping (BaseException)             a wait was cut short because the run is stopping

An error says what was seen, what was expected and what to do, and carries the
same facts as attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyflow.protocols import Holder, Lease, Reading

__all__ = [
    "AnalysisFailed",
    "AnalysisHeld",
    "CheckFailed",
    "CodecError",
    "CommandFailed",
    "DefinitionError",
    "EngineError",
    "ExportError",
    "ForeignChange",
    "HTTPError",
    "IntegrityProblem",
    "JournalError",
    "JournalIntegrityError",
    "LockError",
    "LockHeld",
    "LockLost",
    "LockMoved",
    "MetricError",
    "NeedsDecision",
    "Phase",
    "PipelineError",
    "PipelineFailed",
    "PipelineUnknown",
    "PlatformError",
    "PollTimeout",
    "ProbeError",
    "Problem",
    "ProcessFailed",
    "PyflowError",
    "RecoveryError",
    "RolloutError",
    "RouterError",
    "RunAlive",
    "RunBroken",
    "RunFailed",
    "RunStopping",
    "SecretError",
    "TamperedJournal",
    "TaskError",
    "TaskTimeout",
    "Unconfirmed",
    "nearest",
    "refuse",
    "shown",
]

SHOWN_CHARS_MAX = 200

Phase: TypeAlias = Literal["connect", "proxy", "tls", "send", "headers", "body"]
"""How far a request came; name lookup is part of `connect`, and a proxy's
part of it all, reaching it included, is `proxy`."""

IntegrityProblem: TypeAlias = Literal[
    "gone", "emptied", "behind", "rewritten", "no_head", "unreadable_head", "foreign_head"
]
"""What is wrong with a journal: the file itself, what it holds, or its head."""


class PyflowError(Exception):
    """The root of every error that pyflow raises on purpose."""


class Problem(Protocol):
    """**Protocol:** one thing that is wrong with a definition.

    `str(problem)` is a sentence: what was seen, what was expected, what to do.
    """

    def __str__(self) -> str: ...


class DefinitionError(PyflowError, ValueError):
    """A definition cannot be run; the error lists every problem, not only the first.

    Raised before any record, lock or effect.
    """

    def __init__(self, subject: str, problems: Sequence[Problem | str]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        count = len(self.problems)
        if count == 1:
            text = f"{subject}: {self.problems[0]}"
        else:
            lines = "".join(f"\n  {n}. {p}" for n, p in enumerate(self.problems, start=1))
            text = f"{subject}: {count} problems{lines}"
        super().__init__(text)


class CodecError(PyflowError, TypeError):
    """A value cannot be stored, or stored data does not fit the type asked for.

    `path` leads to the offending part, as in ``output.hosts[2]``.
    """

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        self.reason = message
        super().__init__(f"{path}: {message}")


class TaskError(PyflowError):
    """An attempt of a task went wrong.

    This is the recorded form of whatever the task raised: it reads the same
    in the process that saw the exception (where `__cause__` is that very
    exception) and in one that reads the journal later.
    """

    def __init__(self, task: str, type_name: str, message: str, traceback: str = "") -> None:
        self.task = task
        self.type = type_name
        self.message = message
        self.traceback = traceback
        super().__init__(f"{task}: {type_name}: {message}" if message else f"{task}: {type_name}")


class TaskTimeout(TaskError, TimeoutError):
    """An attempt took longer than its timeout.

    A plain function that runs on a thread cannot be stopped; the record then
    says that it is still running. `isolation="process"` makes a timeout real.
    """


class RecoveryError(TaskError):
    """An undo, a repair or a finalizer went wrong; `task` names what it was for."""


class ProcessFailed(PyflowError):
    """The process of an isolated task gave no answer: it died, or what it sent made no sense.

    `code` is its exit code, negative where a signal ended it, None where it
    had none yet. Worth another attempt by default, as any exception is.
    """

    def __init__(self, task: str, reason: str, *, code: int | None = None) -> None:
        self.task = task
        self.code = code
        super().__init__(f"the process of {task!r} {reason}")


class RunFailed(PyflowError):
    """A run did not succeed; `result` holds everything known about it."""

    def __init__(self, message: str, result: object) -> None:
        self.result = result
        super().__init__(message)


class EngineError(PyflowError):
    """The engine was used in a way it cannot serve; nothing was started."""


class RunBroken(PyflowError):
    """What a run had decided, and recorded, could not be carried out, for the reason in `__cause__`.

    Nothing further was started, and the run is as its record says: what was to
    start is in doubt when it is resumed. Contrast `JournalError`: there, the
    decision itself is not on record.
    """


class OutsideExecutor(EngineError):
    """A wait was asked for on a thread that the executor does not run."""


class PlanChanged(EngineError):
    """A recorded run cannot be taken up with this workflow, whose plan is another one.

    `changes` says what differs, by task.
    """

    def __init__(self, message: str, changes: Mapping[str, str]) -> None:
        self.changes = dict(changes)
        super().__init__(message)


class ProbeError(PyflowError):
    """Polling ended on a reading that the caller refuses.

    Contrast `PollTimeout`: there, time ran out first.
    """

    def __init__(self, message: str, *, reading: Reading | None = None, calls: int = 0) -> None:
        self.reading = reading
        self.calls = calls
        super().__init__(message)


class PollTimeout(ProbeError, TimeoutError):
    """Polling ran out of time; `reading` is the last one seen, `calls` their number."""


class JournalError(PyflowError):
    """The record could not be written or read. Nothing further was started."""


class TamperedJournal(JournalError):
    """A record is not what was written; `seq` is the first that does not verify."""

    def __init__(self, message: str, *, run_id: str, seq: int) -> None:
        self.run_id = run_id
        self.seq = seq
        super().__init__(message)


class JournalIntegrityError(JournalError):
    """A journal on disk is not the one that was left: records, or the head that tells, are missing.

    It was not opened, and nothing was changed. `path` is the journal, and
    `problem` one word for what is wrong. Contrast `TamperedJournal`: there, a
    single record gives it away.
    """

    def __init__(self, message: str, *, path: str, problem: IntegrityProblem) -> None:
        self.path = path
        self.problem: IntegrityProblem = problem
        super().__init__(message)


class LockError(PyflowError):
    """A lock could not be taken, or was lost."""


class LockHeld(LockError):
    """Another run has the lock or is next in line for it, and the policy is not to wait.

    `holder` is who has it, or None where it is free and somebody is about to
    take it. Contrast `RunAlive`: there, it is the very run that asks.
    """

    def __init__(self, message: str, *, holder: Holder | None = None) -> None:
        self.holder = holder
        super().__init__(message)


class LockLost(LockError):
    """A run that held a lock holds it no more, so what it was about to write was not written.

    `lease` is what it had, and `epoch` the one that is current now.
    """

    def __init__(self, message: str, *, lease: Lease, epoch: int) -> None:
        self.lease = lease
        self.epoch = epoch
        super().__init__(message)


class LockMoved(LockError):
    """A run that is taken up again had a lock which is not its own any more, so it cannot go on.

    Somebody broke the lock, or another run has had it since: what this run
    left there may have been changed. `lease` is what it had, and `epoch` the
    one that is current now. Contrast `LockLost`: there, the run is under way.
    """

    def __init__(self, message: str, *, lease: Lease, epoch: int) -> None:
        self.lease = lease
        self.epoch = epoch
        super().__init__(message)


class RunAlive(LockError):
    """A run asks for a lock that it holds already, and its `holder` is alive: one of them is too many."""

    def __init__(self, message: str, *, holder: Holder) -> None:
        self.holder = holder
        super().__init__(message)


class CommandFailed(PyflowError):
    """A program could not be started, took too long, or ended with a code that is not 0.

    `code` is its exit code, negative where a signal ended it, None where it
    has none; `output` is the end of what it said. Neither arguments nor
    environment are repeated, which may hold a credential.
    """

    def __init__(
        self, program: str, reason: str, *, code: int | None = None, output: str = ""
    ) -> None:
        self.program = program
        self.reason = reason
        self.code = code
        self.output = output
        super().__init__(f"{program} {reason}" + (f": {output}" if output else ""))


class PlatformError(PyflowError):
    """A platform could not be observed or changed; `service` is what it was asked about."""

    def __init__(self, service: str, reason: str) -> None:
        self.service = service
        self.reason = reason
        super().__init__(f"{service}: {reason}")


class RouterError(PyflowError):
    """Weights could not be read or set; `service` is whose. What is in force is to be read anew."""

    def __init__(self, service: str, reason: str) -> None:
        self.service = service
        self.reason = reason
        super().__init__(f"{service}: {reason}")


class NeedsDecision(PyflowError):
    """What has failed is a question to a person: the run is held, whatever ``on_failure=`` says.

    Raise it, or an error of your own that is one, where neither to go on nor
    to roll back is known to be safe. It counts as a failure first: it is
    retried and repaired like any other, and a task that handles failures may
    handle it. Raised by an undo it is a failure of that undo, whose effect is
    then in the residue.
    """


class RolloutError(PyflowError):
    """A step of a rollout cannot be taken safely, or did not come about; the text says what is there."""


class CheckFailed(RolloutError):
    """A check did not say that all is well. `reading` is what it said, if it was a probe."""

    def __init__(self, message: str, *, reading: Reading | None = None) -> None:
        self.reading = reading
        super().__init__(message)


class ForeignChange(RolloutError, NeedsDecision):
    """Weights or versions are not those that this run left: somebody else changed them.

    Nothing was overwritten, and the run is held. `seen` is what is there,
    `expected` what this run had verified last. Contrast `Unconfirmed`: there,
    nobody else is known to have had a hand in it.
    """

    def __init__(self, service: str, *, what: str, seen: object, expected: object) -> None:
        self.service = service
        self.seen = seen
        self.expected = expected
        super().__init__(
            f"{service}: {what} are {shown(seen)}, and this run left {shown(expected)}; somebody "
            "else changed them, and nothing was overwritten"
        )


class Unconfirmed(RolloutError, NeedsDecision):
    """A platform or router did not show what it was asked for, after a bounded number of tries.

    The text names what is there now, and the run is held.
    """


class SecretError(PyflowError, ValueError):
    """A secret cannot be protected (too short) or fetched (its provider failed)."""


class HTTPError(PyflowError):
    """A request gave no usable answer: refused, too slow, too large, or not HTTP.

    `phase` says how far it came, and `reason` what went wrong there. `url` is
    without its query, which may hold a credential. `final` says that to ask
    again would not help: the address may not be used, or a proxy refuses.
    `__cause__` is the socket's or TLS library's own error, if there was one.
    """

    def __init__(self, url: str, phase: Phase, reason: str, *, final: bool = False) -> None:
        self.url = url
        self.phase: Phase = phase
        self.reason = reason
        self.final = final
        super().__init__(f"{url}: {reason} (while at: {phase})")

    @property
    def sent(self) -> bool:
        """Whether the request, or a part of it, may have reached the service."""
        return self.phase not in ("connect", "proxy", "tls")


class MetricError(PyflowError):
    """A source of metrics gave no usable answer: it failed, or what it said makes no sense.

    Contrast an empty answer, which is no error: there is no data. `source`
    says who was asked, `query` what, and `reason` what went wrong.
    """

    def __init__(self, source: str, query: str, reason: str) -> None:
        self.source = source
        self.query = query
        self.reason = reason
        super().__init__(f"{source} cannot answer {shown(query)}: {reason}")


class PipelineError(PyflowError):
    """A pipeline of a CI service could not be started; nothing runs. `pipeline` says which."""

    def __init__(self, pipeline: str, reason: str, *, url: str = "") -> None:
        self.pipeline = pipeline
        self.reason = reason
        self.url = url
        super().__init__(f"{pipeline}: {reason}")


class PipelineFailed(PipelineError):
    """A pipeline ended, and not well, or took too long and was cancelled.

    `url` is where a person reads about it, `status` how it ended in the
    service's own word, `failed` the jobs that did not end well, and `log` the
    end of what one of them said.
    """

    def __init__(
        self,
        pipeline: str,
        reason: str,
        *,
        url: str = "",
        status: str = "",
        failed: Sequence[str] = (),
        log: str = "",
    ) -> None:
        self.status = status
        self.failed = tuple(failed)
        self.log = log
        super().__init__(pipeline, reason, url=url)


class PipelineUnknown(PipelineError, NeedsDecision):
    """Nobody can tell whether a pipeline was started, or how it stands; the run is held.

    Nothing was started twice. Another attempt looks again before it does
    anything. Contrast `PipelineError` itself: there, nothing runs.
    """


class ExportError(PyflowError):
    """An export could not be made, written or sent; nothing of the journal was touched."""


class AnalysisFailed(PyflowError):
    """An analysis says that a rollout must not go on.

    `verdict` is what it came to, and `result` what became of each check.
    """

    def __init__(self, message: str, *, verdict: str, result: Mapping[str, Any]) -> None:
        self.verdict = verdict
        self.result = dict(result)
        super().__init__(message)


class AnalysisHeld(AnalysisFailed, NeedsDecision):
    """An analysis cannot say that a rollout may go on, and asks for a person to decide.

    Contrast `AnalysisFailed` itself: there, what was measured is reason enough.
    """


class RunStopping(BaseException):
    """A `ctx.sleep` or `ctx.poll` was cut short because the run is stopping.

    A `BaseException`, so that a task's own ``except Exception`` cannot take
    it for a failure and go on. Let it pass; the attempt ends as `cancelled`.
    """


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of *known* that *name* was probably meant to be, or None."""
    import difflib  # noqa: PLC0415 - only where something is misspelt

    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def refuse(subject: str, problems: Iterable[str]) -> None:
    """Raise one `DefinitionError` of *subject* with all *problems*, if there are any."""
    found = tuple(problems)
    if found:
        raise DefinitionError(subject, found)


def shown(value: object) -> str:
    """Return the repr of *value*, on one line, at most 200 characters, whatever it is."""
    try:
        text = repr(value)
        if len(text) <= SHOWN_CHARS_MAX and text.isascii() and "\n" not in text:
            return text
    except Exception as error:  # noqa: BLE001 - a broken repr must not hide the real problem
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    text = text.encode("ascii", "backslashreplace").decode("ascii").replace("\n", "\\n")
    return text if len(text) <= SHOWN_CHARS_MAX else text[: SHOWN_CHARS_MAX - 1] + "…"
