"""The page docs/reference/mutants.md: every planted fault, and what it took to find it."""

from __future__ import annotations

import re

from mutants.catching import caught, promise
from mutants.engine import MUTANTS, Mutant
from mutants.faulty import FAULTY, Faulty

__all__ = ["mutants_page"]

HEAD = """# What `explore` has been shown to find

<!-- Written by tests/docs/pages.py from tests/mutants. -->

A proof is worth as much as the mistakes that it would have found.
So mistakes are planted, one at a time, and `explore` has to find each of them: {engine} in the engine itself, and {workflows} in workflows, of the kind that people write.
With the mistake taken out again, it has to find nothing, under as many faults.

A row says which promise `explore` saw broken, how many things had to go wrong for it, and how many runs were made until then.
All of them together take some seconds.
The tables stand in `tests/mutants`, and the tests try every row anew.
"""

ENGINE = """## In the engine

Each is planted alone into the real engine, and tried on a small workflow that is safe without it.
"""

WORKFLOWS = """## In workflows

Each stands in `tests/mutants/faulty.py` beside the mended one, which often differs in a few characters.
"""


def mutants_page() -> str:
    """Return the page."""
    stories = [line for faulty in FAULTY for line in _story(faulty)]
    parts = [
        HEAD.format(engine=len(MUTANTS), workflows=len(FAULTY)),
        ENGINE,
        *_table("planted bug", MUTANTS),
        WORKFLOWS,
        *_table("mistake", FAULTY),
        *stories,
    ]
    return "\n".join(parts)


def _table(what: str, planted: list[Mutant] | list[Faulty]) -> list[str]:
    rows = [f"| {what} | broken promise | faults needed | runs it took |", "|---|---|---|---|"]
    for one in planted:
        found = caught(one)
        name = _code(one.name)
        rows.append(f"| {name} | {_code(promise(one.breaks))} | {found.faults} | {found.runs} |")
    return [*rows, ""]


def _story(faulty: Faulty) -> list[str]:
    sentences = re.sub(r"(?<=[.]) (?=[A-Z])", "\n", _code(faulty.story))
    return [f"### {_code(faulty.name)}", "", sentences, ""]


def _code(text: str) -> str:
    text = text.replace("``", "`")
    return re.sub(r"(?<!`)\b(\w+=)(?!\w)(?!`)", r"`\1`", text)
