"""The documentation says what is so: its examples run, its links lead somewhere, its tables match."""

from __future__ import annotations

import functools
import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

import pyflow
import pyflow.analysis
import pyflow.metrics
import pyflow.probes
import pyflow.testing
from docs import diagrams, states
from docs.pages import DOCS, GENERATED, PAGES, ROOT, Block, anchors, blocks, normal, played
from pyflow import errors
from pyflow.cli.codes import Refusal
from pyflow.cli.main import make_parser
from pyflow.run.states import RUN_TRANSITIONS, TASK_TRANSITIONS

BLOCKS = [block for page in PAGES for block in blocks(page)]
INFOS = ("", "text", "console", "sh", "yaml", "groovy")
LEAVES = {
    "docs/how-to/isolate-tasks.md": "it shows a thread that is given up",
    "docs/how-to/test-your-workflow.md": "it shows a deadlock, which ends the loop, not its tasks",
}
"""Pages whose examples leave tasks behind, and why."""
NO_RUN_MAX = 3
PROGRAMS = ("python", "python3", "pip", "cd", ".", "export")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PROSE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \|", re.MULTILINE)


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


@functools.cache
def places(page: Path) -> frozenset[str]:
    """Return what the headings of *page* are called in links."""
    return frozenset(place for _, place in anchors(page.read_text()))


def as_param(page: Path) -> Any:
    """Return *page* as a parameter, marked if its examples leave something behind."""
    why = LEAVES.get(relative(page))
    marks = () if why is None else pytest.mark.leaves(why)
    return pytest.param(page, id=relative(page), marks=marks)


def place(block: Block) -> str:
    """Return where *block* is."""
    return f"{relative(block.page)}:{block.line}"


def line_above(block: Block) -> str:
    """Return the last line of text above *block*."""
    above = block.page.read_text().splitlines()[: block.line - 1]
    return next(line for line in reversed(above) if line)


def calls(text: str) -> list[str]:
    """Return the calls of programs in *text*, without comments."""
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    return [part.strip() for line in lines for part in line.split("&&") if part.strip()]


def is_known(line: str) -> bool:
    """Return whether *line* calls a program as it wants to be called."""
    program, *words = shlex.split(line.removeprefix("exec "))
    if program == "pyflow-deploy":
        try:
            make_parser({}).parse_args(words)
        except Refusal:
            return False
        return True
    if program == "make":
        return f"\n{words[0]}:" in (ROOT / "Makefile").read_text()
    return program in PROGRAMS


class TestExamples:
    @pytest.mark.parametrize("page", [as_param(page) for page in PAGES if page.parent != ROOT])
    def test_run(self, page: Path, tmp_path: Path) -> None:
        """Every example runs, in order, and prints what stands below it, and nothing else.

        The front page has a test of its own, in test_readme.py.
        """
        for block, printed in played(page, tmp_path):
            place = f"{page.name}:{block.line}"
            assert normal(printed) == normal(block.output or ""), place

    def test_are_run(self) -> None:
        """Each fence is of a known kind, and next to no example is left out; each of those says why."""
        left_out = [b for b in BLOCKS if not b.runs and b.info not in INFOS]

        assert len(left_out) <= NO_RUN_MAX
        assert all(re.fullmatch(r"python no-run: \S.+", block.info) for block in left_out)

    def test_files_are_named(self) -> None:
        """Who reads a listing that is a file is told its name, right above it."""
        files = [block for block in BLOCKS if block.file is not None]

        assert [b.page for b in files if f"`{b.file}`" not in line_above(b)] == []

    def test_commands_are_known(self) -> None:
        """What a shell would be told on another machine calls programs that there are, as they are called."""
        lines = [
            line for b in BLOCKS if b.info == "sh" and not b.is_called for line in calls(b.body)
        ]

        assert len(lines) >= 30
        assert [line for line in lines if not is_known(line)] == []

    @pytest.mark.parametrize("block", [b for b in BLOCKS if b.info == "yaml"], ids=place)
    def test_yaml_is_yaml(self, block: Block) -> None:
        """What a CI system is told can be read, and is a table or a list."""
        assert isinstance(yaml.safe_load(block.body), dict | list)

    def test_outputs_belong_to_examples(self) -> None:
        """What looks like an output stands below the example that printed it."""
        claimed = {(b.page, b.span) for b in BLOCKS if b.runs and b.output is not None}

        assert [b for b in BLOCKS if b.info == "text" and not is_claimed(b, claimed)] == []


def is_claimed(block: Block, claimed: set[tuple[Path, tuple[int, int]]]) -> bool:
    text = block.page.read_text()
    return any(page == block.page and text[a:b] == block.body for page, (a, b) in claimed)


class TestPages:
    @pytest.mark.parametrize("page", PAGES, ids=relative)
    def test_links(self, page: Path) -> None:
        """Every relative link leads to a file that is there, and to a heading in it."""
        for link in LINK.findall(PROSE.sub("", page.read_text())):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in places(target), link

    def test_are_reached(self) -> None:
        """Every page can be reached from the front page of the documentation."""
        found, stack = set[Path](), [DOCS / "index.md"]
        while stack:
            page = stack.pop()
            if page not in found and page.suffix == ".md":
                found.add(page)
                stack += [
                    (page.parent / k.partition("#")[0]).resolve()
                    for k in LINK.findall(page.read_text())
                    if "://" not in k and k[0] != "#"
                ]

        assert [relative(page) for page in PAGES if page not in found and page.parent != ROOT] == []


class TestReference:
    @pytest.mark.parametrize("page", GENERATED, ids=relative)
    def test_is_up_to_date(self, page: Path) -> None:
        """What is taken from the code is what the code says; tests/docs/pages.py writes it anew."""
        assert page.read_text() == GENERATED[page]()

    def test_names_everything(self) -> None:
        """Every public name has its entry."""
        pages = (DOCS / "reference/api").glob("*.md")
        entries = re.findall(
            r"^##+ `(\w+)`$", "\n".join(page.read_text() for page in pages), re.MULTILINE
        )

        rooms = (pyflow, pyflow.probes, pyflow.metrics, pyflow.analysis, pyflow.testing)
        names = [name for room in rooms for name in room.__all__]
        assert [name for name in names if name not in entries] == []

    def test_names_every_error(self) -> None:
        """Every class of error is in the reference of errors."""
        page = (DOCS / "reference/errors.md").read_text()

        classes = [name for name in errors.__all__ if isinstance(getattr(errors, name), type)]
        assert [name for name in classes if f"`{name}`" not in page] == []

    def test_states(self) -> None:
        """The tables of states are those that a run obeys."""
        page = (DOCS / "reference/states.md").read_text()
        run, _, task = page.partition("## Tasks")

        for text, table in ((run, RUN_TRANSITIONS), (task, TASK_TRANSITIONS)):
            rows = {state: set(re.findall(r"`(\w+)`", after)) for state, after in ROW.findall(text)}
            assert rows == {state: set(after) for state, after in table.items()}


class TestDiagrams:
    def test_of_rollouts_names_states(self) -> None:
        """The endings and stops of the rollout are states of a run."""
        ends = {"succeeded", "held", "rolling_back", "rolled_back", "rollback_failed"}

        assert ends <= {box.lines[0] for box in states.BOXES} & set(RUN_TRANSITIONS)

    def test_of_tasks_names_states(self) -> None:
        """The boxes of the other are the states of a task, all of them."""
        assert {box.lines[0] for box in diagrams.TASKS} == set(TASK_TRANSITIONS)

    @pytest.mark.parametrize("boxes", [states.BOXES, diagrams.DECIDED, diagrams.TASKS])
    def test_keep_apart(self, boxes: tuple[states.Box, ...]) -> None:
        """Nothing is drawn over something else."""
        assert [(a, b) for a, b in itertools.combinations(boxes, 2) if covers(a, b)] == []


def covers(one: states.Box, other: states.Box) -> bool:
    """Return whether two boxes overlap."""
    beside = one.right <= other.x or other.right <= one.x
    return not (beside or one.bottom <= other.y or other.bottom <= one.y)
