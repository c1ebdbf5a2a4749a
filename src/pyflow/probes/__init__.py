"""Probes: ask the infrastructure one question, once, without changing it.

Each probe is a value with the question as its arguments; `all_of`, `any_of`
and `consistently` make one question of several. A reading is `healthy` or
`unhealthy` where the evidence says so, and `unknown` where it is missing or
contradicts itself. Wrong arguments are refused when a probe is made.
"""

from pyflow.probes.callable import Callable
from pyflow.probes.combine import all_of, any_of, consistently
from pyflow.probes.command import Command
from pyflow.probes.file import File
from pyflow.probes.http import HTTP
from pyflow.probes.process import Process
from pyflow.probes.tcp import TCP

__all__ = [
    "HTTP",
    "TCP",
    "Callable",
    "Command",
    "File",
    "Process",
    "all_of",
    "any_of",
    "consistently",
]
