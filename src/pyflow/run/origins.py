"""Where the runs of an engine come from: which process and CI job, whom, which source and trace."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from pyflow.ci import detect_ci, detect_initiator
from pyflow.run.loops import run_aside
from pyflow.tracing import given_in
from pyflow.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.ci.context import Initiator
    from pyflow.define.plan import Plan
    from pyflow.source import Source

__all__ = ["Origins"]


class Origins:
    """What the first record of each run says of where it comes from."""

    def __init__(self, environ: Mapping[str, str], source: bool | Source) -> None:
        self._environ = environ
        self._source = source
        self._found: dict[str, Source] = {}

    def initiator(self, given: str | None) -> Initiator:
        """Return who asks for a run: *given*, else what the CI system or the machine says."""
        return detect_initiator(given, self._environ)

    def of(self, plan: Plan) -> dict[str, Any]:
        """Return where a run of *plan* comes from, as far as that is to be recorded."""
        origin: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "pyflow": __version__,
        }
        ci = detect_ci(self._environ)
        if ci is not None:
            origin["ci"] = ci.to_data()
        origin |= given_in(self._environ)
        source = self._source_of(plan)
        if source is not None:
            origin["source"] = source.to_data()
        return origin

    def _source_of(self, plan: Plan) -> Source | None:
        """Return where the definition comes from, as far as that is to be recorded."""
        if not isinstance(self._source, bool):
            return self._source
        return self._found_out(plan.defined_in) if self._source else None

    def _found_out(self, file: str) -> Source:
        """Return where *file* comes from; once, because what Python has loaded by then stays."""
        if file not in self._found:
            from pyflow.source import source_of  # noqa: PLC0415 - only where it is asked

            self._found[file] = run_aside(source_of(file))
        return self._found[file]
