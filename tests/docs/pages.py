"""The pages of the documentation: what is in them, how it is run, and what is taken from the code.

    make docs      writes the reference, the diagrams and every output, and builds the site

Blocks of one page share a namespace and run in order. A block whose fence
says ``python title="name.py"`` is a file that later blocks import; one that
is called ``test_….py`` is run by pytest, and prints what pytest says of it,
unless the page has a command that does so. ``sh`` with an output below it is run
by a shell; without one it is for another machine, and only read by a test.
``python no-run: reason`` is for what needs a real server or a signal. What a
block prints has to stand in a ``text`` block right below it.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import io
import itertools
import os
import re
import subprocess
import sys
import tempfile
import types
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyflow
import pyflow.analysis
import pyflow.ci
import pyflow.exports
import pyflow.metrics
import pyflow.net
import pyflow.notifiers
import pyflow.platforms
import pyflow.probes
import pyflow.record.evidence
import pyflow.record.history.api
import pyflow.reports
import pyflow.routers
import pyflow.run.result
import pyflow.strategies
import pyflow.testing
import pyflow.testing.servers
import pyflow.triggers
from docs import docstrings, notebooks, states
from docs.commands import cli_page
from docs.diagrams import DIAGRAMS
from mutants.page import mutants_page
from pyflow.ci import SYSTEMS
from pyflow.frozen import Frozen, fields_of
from pyflow.record import events
from pyflow.record.events import EVENTS
from support.fake_clouds import install

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
COLUMNS_MAX = 96

FENCE = re.compile(
    r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$(?P<gap>\n*)", re.MULTILINE | re.DOTALL
)
TITLE = re.compile(r'python title="(?P<name>\w+\.py)"')

VARYING = (
    (re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}"), "<run>"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?"), "<instant>"),
    (re.compile(r"[0-9a-f]{64}|(?<=plan )[0-9a-f]{12}|(?<=tasks, )[0-9a-f]{12}"), "<hash>"),
    (re.compile(r"^\d\d:\d\d:\d\d(?= [A-Z]+ |  [a-z])", re.MULTILINE), "<time>"),
    (re.compile(r"UTC on \S+"), "UTC on <host>"),
    (re.compile(r"\S+ \(os\)"), "<user> (os)"),
    (re.compile(r"\+?\b\d+\.\d+ m?s\b|(?<=passed in )\d+\.\d+s(?: \([\d:]+\))?"), "<span>"),
    (re.compile(r"\b[\d,]+(?= a second)"), "<rate>"),
    (re.compile(r"\b\d+(?= records are as)"), "<count>"),
    (re.compile(r"[\w-]+\.(md|py):\d+"), "<place>"),
    (re.compile(r"─+"), "─"),
    (re.compile(r" +"), " "),
)
"""What differs from run to run, and from one machine to another."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    """The line of its fence, from 1."""
    info: str
    body: str
    output: str | None
    """The text block right below it."""
    span: tuple[int, int]
    """Where in the page that text block's body is."""

    @property
    def runs(self) -> bool:
        return self.info == "python" or self.file is not None or self.is_called

    @property
    def is_called(self) -> bool:
        """Whether it is a line or more for a shell, and is run by one."""
        return self.info == "sh" and self.output is not None

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, if it is one."""
        found = TITLE.fullmatch(self.info)
        return found["name"] if found else None


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of *page*, in order."""
    text = page.read_text()
    found = list(FENCE.finditer(text))
    made: list[Block] = []
    for fence, after in itertools.zip_longest(found, found[1:]):
        below = after if after and after.start() == fence.end() else None
        is_output = below is not None and below["info"] in ("text", "console")
        output = below["body"] if below is not None and is_output else None
        span = below.span("body") if below is not None and is_output else (0, 0)
        line = text.count("\n", 0, fence.start()) + 1
        made.append(Block(page, line, fence["info"], fence["body"], output, span))
    return made


def played(
    page: Path, directory: Path, *, called_in: Mapping[str, str] | None = None
) -> Iterator[tuple[Block, str]]:
    """Run the blocks of *page* in *directory*, and yield each with what it printed.

    Commands are called in the environment *called_in*; in that of these tests
    if none is given.
    """
    name = "page_" + re.sub(r"\W", "_", page.stem)
    module = types.ModuleType(name)
    found = blocks(page)
    calls_pytest = any(block.is_called and "pytest" in block.body for block in found)
    with _prepared(module, directory):
        for block in found:
            if block.file is not None:
                (directory / block.file).write_text(block.body)
                if block.file.startswith("test_") and not calls_pytest:
                    yield block, _tested(directory / block.file)
            elif block.is_called:
                yield block, _called(block.body, directory, called_in or _environment())
            elif block.runs:
                code = compile("\n" * block.line + block.body, page.name, "exec")
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    exec(code, vars(module))
                yield block, printed.getvalue()


def _tested(file: Path) -> str:
    """Return what pytest says of *file*, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "_pyflow_pytestplugin", file.name],
        cwd=file.parent,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def _called(lines: str, directory: Path, environ: Mapping[str, str]) -> str:
    """Return what a shell prints for *lines*, errors included."""
    done = subprocess.run(
        ["bash", "-euc", lines],
        cwd=directory,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def _environment() -> dict[str, str]:
    """Return the variables of programs that examples call."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        **{name: text for name, text in os.environ.items() if name != "PYTEST_ADDOPTS"},
        "PATH": programs,
        "PYTHONPATH": str(ROOT / "src"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # so that the plugin is loaded once
        "COLUMNS": "80",
    }


@contextlib.contextmanager
def _prepared(module: types.ModuleType, directory: Path) -> Generator[None]:
    """Work in *directory* with *module* and clouds in place, and without a CI system around it."""
    before, path, environ = Path.cwd(), sys.path[:], dict(os.environ)
    known = set(sys.modules)
    for variable in ("CI", *(system.marker for system in SYSTEMS)):
        os.environ.pop(variable, None)
    os.environ["PATH"] = install(directory / "bin")
    sys.path.insert(0, str(directory))
    sys.modules[module.__name__] = module
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if name == module.__name__ or file.startswith(str(directory)):
                del sys.modules[name]
        os.environ.clear()
        os.environ.update(environ)


def normal(text: str) -> str:
    """Return *text* without what varies."""
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


# reference/records.md ---------------------------------------------------------------------

RECORDS_HEAD = """# Records

<!-- Written by tests/docs/pages.py from src/pyflow/record/events.py. -->

Every kind of event that a journal can hold, with its fields.
`record.kind` is the name, `record.data` the fields as JSON data; a field that is None is left out.
Each record also carries its place: `seq` (its number in the run, from 1), `run_id`, `at` (the instant, in UTC), `prev` (the hash of the record before it) and `hash`.
[Read the audit trail](../how-to/read-the-audit-trail.md) shows how to ask for them.
"""

RESERVED_HEAD = """## Reserved

These kinds have their place in the vocabulary, and nothing writes them yet.
"""


def records_page() -> str:
    """Return the reference of all records."""
    parts = [RECORDS_HEAD]
    written = "".join(
        path.read_text() for path in (ROOT / "src/pyflow").rglob("*.py") if path.name != "events.py"
    )
    is_written = {kind: f"{cls.__name__}(" in written for kind, cls in EVENTS.items()}
    for section, kinds in _sections().items():
        present = [kind for kind in kinds if is_written[kind]]
        if present:
            parts.append(f"## {section}\n")
            parts += [_record(kind) for kind in present]
    reserved = [_record(kind) for kind, there in is_written.items() if not there]
    parts += [RESERVED_HEAD, *reserved] if reserved else []
    return "\n".join(parts)


def _sections() -> dict[str, list[str]]:
    """Return the kinds under the headings of the source file."""
    sections: dict[str, list[str]] = {}
    section = ""
    for line in inspect.getsource(events).splitlines():
        if heading := re.fullmatch(r"# (.+?) -{10,}", line):
            section = heading[1]
        elif kind := re.fullmatch(r' {4}kind: ClassVar\[str\] = "(\w+)"', line):
            sections.setdefault(section, []).append(kind[1])
    return sections


def _record(kind: str) -> str:
    cls = EVENTS[kind]
    rows = [
        f"| `{name}` | `{hint}`{' or absent' if optional else ''} | {words} |"
        for name, hint, optional, words in _fields(cls.__name__)
    ]
    assert len(rows) == len(fields_of(cls))
    table = ["| field | type | meaning |", "|---|---|---|", *rows]
    return "\n".join([f"### `{kind}`", "", _one_line(cls.__doc__), "", *table, ""])


def _fields(class_name: str) -> Iterator[tuple[str, str, bool, str]]:
    """Yield name, type, whether it may be absent, and meaning of each field."""
    body = _classes()[class_name].body
    for field, words in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(words, ast.Expr):
            assert isinstance(field.target, ast.Name)
            hint = ast.unparse(field.annotation)
            optional = hint.endswith(" | None") or (hint == "Any" and field.value is not None)
            hint = hint.removesuffix(" | None").replace("|", "\\|")
            yield field.target.id, hint, optional, _one_line(ast.literal_eval(words.value))


@functools.cache
def _classes() -> dict[str, ast.ClassDef]:
    tree = ast.parse(inspect.getsource(events))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


# reference/api.md -------------------------------------------------------------------------

API_HEAD = """# API

<!-- Written by tests/docs/pages.py from the signatures and docstrings. -->

Every public name, with its signature and what its docstring says.
`import pyflow` gives what stands on the opening three pages, but for what a result or a history hands you, and `pyflow.record.evidence`; the others are imported on their own: `from pyflow.testing import explore`.
A `Span` is a `timedelta`, a number of seconds, or text such as `"90s"`, `"5m"` or `"1h30m"`.
What each error means, and what to do about it, is in [Errors](errors.md).
"""
ROOMS = {
    "Define": "define",
    "Engine and run": "run",
    "Read the record": "record",
    "Ask the infrastructure": "run",
}
"""The page of each section that is not called after a package; of the one before it, if none is given."""
TITLES = {"define": "Define a workflow", "run": "Run a workflow", "record": "The record of runs"}
"""What the pages are called that are not called after a package."""
HEADINGS = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


SECTIONS: dict[str, tuple[types.ModuleType, str]] = {
    "Define": (pyflow, "Workflow Ref Retry Backoff Environment Plan"),
    "Engine and run": (pyflow, "Engine Run Result"),
    "What a result holds": (pyflow.run.result, "TaskResult Metrics"),
    "Inside a task": (pyflow, "Context AsyncContext RecoveryContext AsyncRecoveryContext"),
    "After a crash": (pyflow, "Applied NOT_APPLIED UNKNOWN"),
    "Read the record": (pyflow, "AuditTrail Record"),
    "Look back": (pyflow, "history"),
    "What a history hands you": (
        pyflow.record.history.api,
        " ".join(pyflow.record.history.api.__all__),
    ),
    "`pyflow.record.evidence`": (
        pyflow.record.evidence,
        " ".join(pyflow.record.evidence.__all__),
    ),
    "Ask the infrastructure": (pyflow, "Probe Reading poll"),
    "Keep secrets": (pyflow, "Secret"),
    "Errors": (pyflow, " ".join(n for n in pyflow.__all__ if _is_error(getattr(pyflow, n)))),
    "Version": (pyflow, "__version__"),
    "`pyflow.probes`": (pyflow.probes, " ".join(pyflow.probes.__all__)),
    "`pyflow.metrics`": (pyflow.metrics, " ".join(pyflow.metrics.__all__)),
    "`pyflow.analysis`": (pyflow.analysis, " ".join(pyflow.analysis.__all__)),
    "`pyflow.notifiers`": (pyflow.notifiers, " ".join(pyflow.notifiers.__all__)),
    "`pyflow.net`": (pyflow.net, " ".join(pyflow.net.__all__)),
    "`pyflow.triggers`": (pyflow.triggers, " ".join(pyflow.triggers.__all__)),
    "`pyflow.ci`": (pyflow.ci, "context CIContext report CIReport"),
    "`pyflow.reports`": (pyflow.reports, " ".join(pyflow.reports.__all__)),
    "`pyflow.exports`": (pyflow.exports, " ".join(pyflow.exports.__all__)),
    "`pyflow.platforms`": (pyflow.platforms, " ".join(pyflow.platforms.__all__)),
    "`pyflow.routers`": (pyflow.routers, " ".join(pyflow.routers.__all__)),
    "`pyflow.strategies`": (pyflow.strategies, " ".join(pyflow.strategies.__all__)),
    "`pyflow.testing`: simulate": (
        pyflow.testing,
        "simulate Simulation SimulatedEngine SimulatedExecutor",
    ),
    "`pyflow.testing`: what a call comes to": (
        pyflow.testing,
        "Behaviour returns fails applied_then_fails takes hangs lies stale missing nan flaps original",
    ),
    "`pyflow.testing`: the world": (
        pyflow.testing,
        (
            "World Release Load Change Sample "
            "SimulatedPlatform SimulatedRouter SimulatedProbe SimulatedMetrics SimulatedNotifier"
        ),
    ),
    "`pyflow.testing`: explore": (
        pyflow.testing,
        (
            "explore replay always Explored Fault FaultKind KINDS SimulatedFault "
            "Exploration Counterexample Violation Progress"
        ),
    ),
    "`pyflow.testing`: virtual time": (
        pyflow.testing,
        (
            "run_virtual VirtualLoop VirtualClock Waiting "
            "SimulationError SimulationDeadlock SimulationStalled"
        ),
    ),
    "`pyflow.testing`: contract suites": (
        pyflow.testing,
        " ".join(name for name in pyflow.testing.__all__ if name.startswith("check_")),
    ),
    "`pyflow.testing.servers`": (
        pyflow.testing.servers,
        " ".join(name for name in pyflow.testing.servers.__all__ if name != "Step"),
    ),
}
GenericAlias = type(Literal["a"])
MADE_BY_PYFLOW = (
    *("Plan", "Run", "Result", "TaskResult", "Metrics", "Record", "AuditTrail", "Probe"),
    *("Simulation", "Release", "Load", "Change", "Sample", "Waiting", "SimulatedPlatform"),
    *("SimulatedRouter", "SimulatedProbe", "SimulatedMetrics", "SimulatedNotifier"),
    *("Check", "Judgement", "Replayed", "Pipeline", "Job", "CIContext", "CIReport"),
    *("RolloutWorkflow", "Report", "ReportedStep", "Decision"),
    *("History", "RunSummary", "RunDiff", "Difference", "Compliance", "Evidence", "Dora", "Figure"),
    *("Verification", "Place", "Anchor", "Key"),
    *("Explored", "Exploration", "Counterexample", "Violation", "Progress", "Behaviour"),
)
"""Classes, besides contexts and errors, that users are handed and do not make."""


@functools.cache
def _rooms() -> dict[str, list[str]]:
    """Return the sections of each page of the API."""
    rooms: dict[str, list[str]] = {}
    room = ""
    for title in SECTIONS:
        package = re.match(r"`pyflow\.([\w.]+)`", title)
        if package and package[1] != "record.evidence":
            room = package[1].replace(".", "-")
        room = ROOMS.get(title, room)
        rooms.setdefault(room, []).append(title)
    return rooms


def api_page() -> str:
    """Return the way to each public name."""
    parts = [API_HEAD]
    for room, titles in _rooms().items():
        places = dict(reversed(list(anchors(room_page(room)))))
        links = [
            f"[`{name}`](api/{room}.md#{places[f'`{name}`']})"
            for title in titles
            for name in SECTIONS[title][1].split()
        ]
        parts.append(f"- [{_title(room)}](api/{room}.md): {', '.join(links)}")
    return "\n".join([*parts, ""])


def anchors(text: str) -> Iterator[tuple[str, str]]:
    """Yield the headings of a page, each with what it is called in links."""
    taken: set[str] = set()
    for heading in HEADINGS.findall(
        re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    ):
        word = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        numbered = (f"{word}-{number}" for number in itertools.count(1))
        place = next(one for one in itertools.chain([word], numbered) if one not in taken)
        taken.add(place)
        yield heading, place


def _title(room: str) -> str:
    """Return what the page of *room* is called."""
    return TITLES.get(room, f"`pyflow.{room.replace('-', '.')}`")


@functools.cache
def room_page(room: str) -> str:
    """Return the reference of the names of one page."""
    parts = [f"# {_title(room)}\n"]
    has_sections = len(_rooms()[room]) > 1
    for title in _rooms()[room]:
        module, names = SECTIONS[title]
        if has_sections:
            parts.append(f"## {title}\n")
        level = "###" if has_sections else "##"
        parts += [_entry(name, getattr(module, name), level) for name in names.split()]
    return "\n".join(parts)


def _entry(name: str, value: Any, level: str) -> str:
    if isinstance(value, str):
        return f"{level} `{name}`\n\nThe version, as text.\n"
    if not callable(value) or isinstance(value, GenericAlias):
        code, words = _assigned(name)
        return f"{level} `{name}`\n\n```\n{code}\n```\n\n{' '.join(words.split())}\n"
    handed = name in MADE_BY_PYFLOW or name.endswith("Context") or _is_error(value)
    parts = [f"{level} `{name}`"]
    if not handed:
        parts.append(f"```\n{_signature(name, value)}\n```")
    parts += docstrings.in_markdown(value.__doc__)
    if isinstance(value, type) and not _is_error(value):
        if not handed and value.__init__.__doc__ and "__init__" in vars(value):
            parts += docstrings.in_markdown(value.__init__.__doc__, skip_summary=True)
        if members := "\n".join(_members(value)):
            parts += ["**Members**", members]
        for method, member in _explained(value):
            parts += [f"{level}# `{name}.{method}`", f"```\n{_signature(method, member)}\n```"]
            parts += docstrings.in_markdown(member.__doc__)
    return "\n\n".join(parts) + "\n"


def _explained(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the methods of *cls* of which there is more to say than a line."""
    seen = set[str]()
    for owner in [c for c in cls.__mro__ if c.__module__.startswith("pyflow.")]:
        for name, member in vars(owner).items():
            if name.startswith("_") or name in seen:
                continue
            seen.add(name)
            if inspect.isfunction(member) or isinstance(member, classmethod):
                fn: Any = getattr(cls, name)
                if docstrings.has_more(fn.__doc__):
                    yield name, fn


def _assigned(name: str) -> tuple[str, str]:
    """Return the statement that gives a constant its value, and what stands below it."""
    for module in [m for key, m in sys.modules.items() if key.startswith("pyflow.")]:
        source = inspect.getsource(module)
        for statement, words in itertools.pairwise(_tree(module).body):
            if (
                isinstance(statement, ast.AnnAssign)
                and ast.unparse(statement.target) == name
                and isinstance(words, ast.Expr)
            ):
                return ast.get_source_segment(source, statement) or "", ast.literal_eval(
                    words.value
                )
    raise LookupError(name)


def _members(cls: type) -> Iterator[str]:
    """Yield a line for each public field, property and method of *cls*, inherited ones included.

    What a method that has an entry of its own asks for is said there.
    """
    seen: set[str] = set()
    for owner in [c for c in cls.__mro__ if c.__module__.startswith("pyflow.")]:
        for name, hint, words in _attributes(owner):
            if name not in seen:
                seen.add(name)
                yield f"- `{name}: {hint}`: {words}"
        for name, member in vars(owner).items():
            if name.startswith("_") or name in seen:
                continue
            seen.add(name)
            if isinstance(member, property):
                hint = str(inspect.signature(member.fget).return_annotation)  # pyright: ignore[reportArgumentType]
                yield f"- `{name}: {hint}`: {docstrings.summary(member.__doc__)}"
            elif inspect.isfunction(member) or isinstance(member, classmethod):
                fn: Any = getattr(cls, name)
                wait = "await " if inspect.iscoroutinefunction(fn) else ""
                asked = "(…)" if docstrings.has_more(fn.__doc__) else _parameters(fn)
                yield f"- `{wait}{name}{asked}`: {docstrings.summary(fn.__doc__)}"


@functools.cache
def _tree(module: types.ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def _attributes(cls: type) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and meaning of the annotated fields of *cls*."""
    body = _tree(sys.modules[cls.__module__]).body
    node = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == cls.__name__)
    for field, words in itertools.pairwise(node.body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(words, ast.Expr)):
            continue
        if isinstance(field.target, ast.Name) and isinstance(words.value, ast.Constant):
            meaning = docstrings.summary(str(words.value.value))
            yield field.target.id, ast.unparse(field.annotation).replace("'", '"'), meaning


def _signature(name: str, value: Any) -> str:
    """Return how *value* is called: on one line, or on one for each parameter."""
    if inspect.iscoroutinefunction(value):
        name = f"await {name}"
    line = name + _parameters(value, with_types=True)
    if len(line) <= COLUMNS_MAX:
        return line
    parameters = [_shown(p) for p in _asked(value, with_types=True)]
    return f"{name}(\n" + "".join(f"    {p},\n" for p in parameters) + ")"


def _parameters(value: Any, *, with_types: bool = False) -> str:
    return f"({', '.join(_shown(p) for p in _asked(value, with_types=with_types))})"


def _asked(value: Any, *, with_types: bool) -> list[inspect.Parameter | str]:
    """Return the parameters of *value*, and a star before those that go by name."""
    if isinstance(value, type) and issubclass(value, Frozen):
        with contextlib.suppress(TypeError):
            value()  # its signature is made when it is used for the first time
    asked: list[inspect.Parameter | str] = []
    for p in inspect.signature(value).parameters.values():
        if p.name == "self":
            continue
        star = p.kind is p.KEYWORD_ONLY and "*" not in asked
        if star and not any(
            isinstance(a, inspect.Parameter) and a.kind is p.VAR_POSITIONAL for a in asked
        ):
            asked.append("*")
        asked.append(p if with_types else p.replace(annotation=p.empty))
    return asked


def _shown(parameter: inspect.Parameter | str) -> str:
    text = str(parameter)
    if isinstance(parameter, inspect.Parameter) and isinstance(parameter.annotation, str):
        hint = parameter.annotation
        text = text.replace(repr(hint), hint)
    text = text.replace("<factory>", "{}").replace(repr(pyflow.testing.KINDS), "KINDS")
    return re.sub(r"<class '(\w+)'>", r"\1", text)


def _one_line(docstring: str | None) -> str:
    """Return the opening paragraph of a docstring, on one line, in Markdown."""
    paragraph = inspect.cleandoc(docstring or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).replace("``", "`").replace("|", "\\|")


# Writing ----------------------------------------------------------------------------------

GENERATED = {
    DOCS / "reference/records.md": records_page,
    DOCS / "reference/api.md": api_page,
    **{DOCS / f"reference/api/{room}.md": functools.partial(room_page, room) for room in _rooms()},
    DOCS / "reference/cli.md": cli_page,
    DOCS / "reference/mutants.md": mutants_page,
    **DIAGRAMS,
    states.FILE: states.drawn,
}


def write() -> None:
    """Write everything that the pages take from the code."""
    for page, make in GENERATED.items():
        page.write_text(make())
    for notebook in notebooks.NOTEBOOKS:
        with tempfile.TemporaryDirectory() as directory:
            run = notebooks.run(notebook, Path(directory))
        if _normal_of(run) != _normal_of(notebooks.read(notebook)):
            notebooks.write(notebook, run)
    for page in PAGES:
        text = page.read_text()
        with tempfile.TemporaryDirectory() as directory:
            outputs = list(played(page, Path(directory)))
        for block, printed in reversed(outputs):
            if block.output is not None and normal(block.output) != normal(printed):
                start, end = block.span
                text = text[:start] + _neutral(printed) + text[end:]
        page.write_text(text)


def _normal_of(notebook: Any) -> list[str]:
    return [normal(text) for text in notebooks.given(notebook)]


def _neutral(printed: str) -> str:
    """Return an output without names of the machine and the page that it was made on."""
    printed = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    printed = re.sub(r"\S+ \(os\)", "ada@laptop (os)", printed)
    printed = re.sub(r"UTC on \S+", "UTC on laptop", printed)
    return re.sub(r"[\w-]+\.md:\d+", "release.py:12", printed) + "\n"


if __name__ == "__main__":
    write()
