"""The invariants of the house: what may import what, and what is deliberately absent."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyflow

SRC = Path(pyflow.__file__).parent
MODULES = sorted(path for path in SRC.rglob("*.py"))
ROOMS = [
    (
        *(
            "errors",
            "frozen",
            "spans",
            "tracing",
            "version",
            "redaction",
            "finding",
            "redactor",
            "providers",
            "secrets",
            "messages",
            "protocols",
        ),
        *("net", "ci", "clock"),
    ),
    ("record", "define", "polling", "programs", "git", "source"),
    ("notices",),
    ("probes", "notifiers", "platforms", "routers"),
    ("metrics", "triggers"),
    ("analysis",),
    ("run",),
    ("strategies",),
    ("testing",),
]


PURE = (
    "approving",
    "asked",
    "inputs",
    "joins",
    "machine",
    "mapping",
    "maps",
    "passing",
    "recovery",
    "locking",
    "resuming",
    "retrying",
    "state",
    "states",
    "trying",
    "undoing",
)

ANALYSIS_PURE = ("book", "holm", "policies", "progress", "scoring", "tolerance")


def name_of(path: Path) -> str:
    """Return the dotted name of a module."""
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, run_time: bool = True) -> Iterator[str]:
    """Yield what a module imports at its top, outside of TYPE_CHECKING."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def room(module: str) -> int:
    """Return which floor of the house *module* is on."""
    part = module.split(".")[1] if "." in module else "__init__"
    for number, names in enumerate(ROOMS):
        if part in names:
            return number
    return len(ROOMS)


class TestImports:
    @pytest.mark.parametrize("path", MODULES, ids=name_of)
    def test_are_of_the_standard_library(self, path: Path) -> None:
        """The library imports itself and the standard library, and nothing else."""
        foreign = [
            name
            for name in imports(path)
            if name.split(".")[0] not in {*sys.stdlib_module_names, "pyflow"}
        ]
        assert foreign == []

    @pytest.mark.parametrize("path", MODULES, ids=name_of)
    def test_point_up(self, path: Path) -> None:
        """A room imports rooms above it, never one below."""
        mine = room(name_of(path))
        below = [n for n in imports(path) if n.startswith("pyflow.") and room(n) > mine]
        assert below == []

    def test_have_no_ring(self) -> None:
        """Modules import one another without a ring."""
        from graphlib import TopologicalSorter

        graph = {
            name_of(path): [n for n in imports(path) if n.startswith("pyflow.")] for path in MODULES
        }
        TopologicalSorter(graph).prepare()


class TestTheMachine:
    @pytest.mark.parametrize("module", PURE)
    def test_is_pure(self, module: str) -> None:
        """The deciding modules import no asyncio, no clock, no randomness and no I/O."""
        allowed = {"__future__", "collections", "typing", "types"}
        names = {n for n in imports(SRC / "run" / f"{module}.py") if not n.startswith("pyflow.")}
        assert names <= allowed


class TestTheAnalysis:
    @pytest.mark.parametrize("module", ANALYSIS_PURE)
    def test_is_pure(self, module: str) -> None:
        """What decides on measurements imports no asyncio, no clock, no randomness and no I/O."""
        allowed = {"__future__", "collections", "typing", "math", "dataclasses"}
        path = SRC / "analysis" / f"{module}.py"
        names = {n for n in imports(path) if not n.startswith("pyflow.")}
        assert names <= allowed


class TestTheClock:
    def test_is_read_in_one_place(self) -> None:
        """Only SystemClock reads the wall clock; only an exploration has a stopwatch."""
        banned = {
            "time",
            "monotonic",
            "perf_counter",
            "time_ns",
            "monotonic_ns",
            "utcnow",
            "now",
            "today",
        }
        found: list[str] = []
        for path in MODULES:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    owner = ast.unparse(node.func.value)
                    if node.func.attr in banned and owner in ("time", "datetime", "date"):
                        found.append(f"{name_of(path)}: {owner}.{node.func.attr}")
        assert sorted(found) == [
            "pyflow.clock: datetime.now",
            "pyflow.probes.file: time.time",
            "pyflow.testing.exploration.explore: time.monotonic",
        ]


class TestTheTests:
    def test_never_sleep(self) -> None:
        """No test passes real time by sleeping: waits are virtual, or for something that happens."""
        tests = Path(__file__).parent
        found = [
            f"{path.relative_to(tests)}:{node.lineno}"
            for path in sorted(tests.rglob("*.py"))
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep"
        ]
        assert found == []


class TestState:
    def test_is_nowhere_in_a_module(self) -> None:
        """No module holds a list, set or dict that anything could change: those are instances'."""
        found: list[str] = []
        for path in MODULES:
            for node in ast.parse(path.read_text()).body:
                value = getattr(node, "value", None)
                if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
                    value, ast.List | ast.Set | ast.Dict
                ):
                    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                    if ast.unparse(target) != "__all__":
                        found.append(f"{name_of(path)}.{ast.unparse(target)}")
        changed = [name for name in found if assigned_to(name)]
        assert changed == []

    def test_two_engines_share_nothing(self) -> None:
        """Two engines in one process never see each other's runs or locks."""
        workflow = pyflow.Workflow("w", locks=["shop"])
        workflow.add_task("a", lambda: None)
        one, two = pyflow.Engine(), pyflow.Engine()

        one.execute(workflow)

        assert list(two.journal.runs()) == []


def assigned_to(name: str) -> bool:
    """Return whether any code changes the module-level name."""
    short = name.rsplit(".", 1)[-1]
    patterns = [
        f"{short}.append(",
        f"{short}.add(",
        f"{short}.update(",
        f"{short}.pop(",
        f"{short}[",
    ]
    for path in MODULES:
        for line in path.read_text().splitlines():
            text = line.strip()
            if any(p in text for p in patterns[:4]):
                return True
            if text.startswith(patterns[4]) and "] = " in text:
                return True
    return False


class TestTheFrontDoor:
    def test_is_sorted_and_small(self) -> None:
        """`pyflow.__all__` is complete and about 30 names long; ruff keeps it sorted."""
        assert len(pyflow.__all__) <= 35
        assert all(hasattr(pyflow, name) for name in pyflow.__all__)

    @pytest.mark.parametrize("path", MODULES, ids=name_of)
    def test_every_module_names_what_it_offers(self, path: Path) -> None:
        """A module's `__all__` names things that it has, once each."""
        import importlib

        module = importlib.import_module(name_of(path))
        offered = getattr(module, "__all__", None)
        if offered is not None:
            assert len(set(offered)) == len(offered)
            assert all(hasattr(module, name) for name in offered)

    def test_every_public_name_says_what_it_is(self) -> None:
        """Every public name has a docstring."""
        silent = [
            n for n in pyflow.__all__ if n != "__version__" and not getattr(pyflow, n).__doc__
        ]
        assert silent == []


class TestInterpreters:
    @pytest.mark.parametrize(
        "options", [["-O"], ["-I"], ["-X", "dev", "-W", "error"]], ids=" ".join
    )
    def test_of_every_mood(self, options: list[str]) -> None:
        """A run works under -O, isolated, and with every warning an error."""
        code = (
            f"import sys; sys.path.insert(0, {str(SRC.parent)!r}); import pyflow\n"
            "w = pyflow.Workflow('w'); w.add_task('a', lambda: 1)\n"
            "print(pyflow.Engine().execute(w).status)"
        )
        done = subprocess.run(
            [sys.executable, *options, "-c", code], capture_output=True, text=True, check=False
        )
        assert (done.stdout, done.stderr) == ("succeeded\n", "")

    def test_in_a_bare_house(self, tmp_path: Path) -> None:
        """A run works without HOME, without a locale, and in a directory that is gone."""
        code = (
            f"import os, sys; sys.path.insert(0, {str(SRC.parent)!r}); import pyflow\n"
            f"os.rmdir({str(tmp_path)!r})\n"
            "w = pyflow.Workflow('w'); w.add_task('a', lambda: 'é')\n"
            "r = pyflow.Engine().execute(w, initiator='ann')\n"
            "print(r.status, ascii(r.audit_trail.query(task='a')[1].data['output']))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"LANG": "C"},
        )
        assert (done.stdout, done.stderr) == ("succeeded '\\xe9'\n", "")
