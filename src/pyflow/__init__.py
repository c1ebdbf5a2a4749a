"""pyflow turns a deployment into a plain value that you can plan, prove, run and roll back."""

from __future__ import annotations

from pyflow.define.environment import Environment
from pyflow.define.interrupts import NOT_APPLIED, UNKNOWN, Applied
from pyflow.define.plan import Plan
from pyflow.define.policies import Retry
from pyflow.define.task import Ref
from pyflow.define.workflow import Workflow
from pyflow.errors import (
    DefinitionError,
    EngineError,
    JournalError,
    LockError,
    PollTimeout,
    PyflowError,
    RecoveryError,
    RunFailed,
    TaskError,
    TaskTimeout,
)
from pyflow.polling import poll
from pyflow.protocols import Probe, Reading
from pyflow.record.audit import AuditTrail
from pyflow.record.codec import Record
from pyflow.record.history import history
from pyflow.run.context import AsyncContext, AsyncRecoveryContext, Context, RecoveryContext
from pyflow.run.engine import Engine
from pyflow.run.handle import Run
from pyflow.run.result import Result
from pyflow.secrets import Secret
from pyflow.spans import Backoff
from pyflow.version import __version__

__all__ = [
    "NOT_APPLIED",
    "UNKNOWN",
    "Applied",
    "AsyncContext",
    "AsyncRecoveryContext",
    "AuditTrail",
    "Backoff",
    "Context",
    "DefinitionError",
    "Engine",
    "EngineError",
    "Environment",
    "JournalError",
    "LockError",
    "Plan",
    "PollTimeout",
    "Probe",
    "PyflowError",
    "Reading",
    "Record",
    "RecoveryContext",
    "RecoveryError",
    "Ref",
    "Result",
    "Retry",
    "Run",
    "RunFailed",
    "Secret",
    "TaskError",
    "TaskTimeout",
    "Workflow",
    "__version__",
    "history",
    "poll",
]
