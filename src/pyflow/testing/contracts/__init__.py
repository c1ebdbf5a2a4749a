"""Contract suites: what every implementation of a port has to keep.

Whoever writes a journal or a lock manager runs the suite on it, in one test::

    def test_contract():
        check_journal(lambda: MyJournal(new_directory()))

A suite checks every rule, each on a fresh object, and then fails once, with
all that was broken. The suites that are async run under `asyncio.run`, or in
virtual time with `pyflow.testing.run_virtual` where nothing real is behind
the port.
"""

from pyflow.testing.contracts.clock import check_clock
from pyflow.testing.contracts.executor import check_executor
from pyflow.testing.contracts.journal import check_journal
from pyflow.testing.contracts.lock_manager import check_lock_manager
from pyflow.testing.contracts.metric_source import check_metric_source
from pyflow.testing.contracts.notifier import check_notifier
from pyflow.testing.contracts.platform import check_platform
from pyflow.testing.contracts.probe import check_probe
from pyflow.testing.contracts.router import check_router

__all__ = [
    "check_clock",
    "check_executor",
    "check_journal",
    "check_lock_manager",
    "check_metric_source",
    "check_notifier",
    "check_platform",
    "check_probe",
    "check_router",
]
