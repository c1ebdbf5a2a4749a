"""What an exploration found: how much was tried, and the smallest counterexample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyflow.testing.errors import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.testing.exploration.explored import Explored
    from pyflow.testing.exploration.trial import Violation
    from pyflow.testing.faults import Fault, FaultKind

__all__ = ["Counterexample", "Exploration", "Progress"]

REPR_CHARS_MAX = 240
"""Of a longer repr pytest leaves out the middle."""
NAME_CHARS_MAX = 40


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an exploration has got."""

    runs: int
    """Runs made so far."""

    waiting: int
    """Runs that are known to be left; making them may show more."""

    faults: int
    """How many faults the present runs have."""

    elapsed_s: float
    """Real seconds since the beginning."""

    def __str__(self) -> str:
        return (
            f"{self.runs:,} runs in {self.elapsed_s:.1f} s, {self.waiting:,} to go, "
            f"{self.faults} faults each"
        )


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A run that broke an invariant, with as few faults as it takes."""

    faults: tuple[Fault, ...]
    """The script: what has to go wrong, in order. Without faults it goes wrong by itself."""

    violations: tuple[Violation, ...]
    """What was broken."""

    run: Explored
    """The run, at its end."""

    timeline: tuple[str, ...]
    """What happened, a line each, in order."""

    test: str
    """A test to paste: it fails until the workflow is mended."""

    def __repr__(self) -> str:
        return f"<Counterexample to {self._broken(room=REPR_CHARS_MAX - 20)}>"

    def _broken(self, *, room: int) -> str:
        """Return the invariant and the script of faults, on one line of up to *room* characters."""
        others = len(self.violations) - 1
        more = f" and {others} more" if others else ""
        script = _short("; ".join(map(str, self.faults)) or "no fault", room // 2)
        by = f"{more} by [{script}]"
        invariant = self.violations[0].invariant.removesuffix(".")
        return f'"{_short(invariant, room - len(by) - 2)}"{by}'

    def __str__(self) -> str:
        script = [f"  {n}. {fault}" for n, fault in enumerate(self.faults, start=1)]
        lines = [
            "counterexample: an invariant does not hold",
            *(f"  {violation}" for violation in self.violations),
            "",
            "script of faults" if script else "no fault is needed",
            *script,
            "",
            f"timeline, ending {self.run.status}",
            *(f"  {line}" for line in self.timeline),
            "",
            "as a test",
            *(f"  {line}".rstrip() for line in self.test.splitlines()),
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Exploration:
    """What came of an exploration."""

    workflow: str
    """Name of the workflow."""

    faults: int
    """The budget: how many faults one run had at most."""

    runs: int
    """How many runs were made."""

    by_faults: Mapping[int, int]
    """How many of them had how many faults."""

    by_kind: Mapping[FaultKind, int]
    """How many of them had which kind of fault last."""

    points: int
    """How many points were reached at which something could go wrong."""

    pruned: int
    """Runs that were given up where they got to a state that another went on from."""

    skipped: int
    """Runs that were known of and not made, for lack of time or because one had failed."""

    endings: Mapping[str, int]
    """How many runs ended in which state."""

    elapsed_s: float
    """How long it took, in real seconds."""

    counterexamples: tuple[Counterexample, ...]
    """Runs that broke an invariant, each with as few faults as it takes."""

    @property
    def counterexample(self) -> Counterexample | None:
        """The counterexample with the fewest faults, or None."""
        return self.counterexamples[0] if self.counterexamples else None

    @property
    def complete(self) -> bool:
        """Whether every run within the budget was made."""
        return self.skipped == 0

    @property
    def ok(self) -> bool:
        """Whether every run within the budget was made, and kept every invariant."""
        return self.complete and not self.counterexamples

    @property
    def _rate(self) -> float:
        return self.runs / max(self.elapsed_s, 1e-9)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        runs = "1 run" if self.runs == 1 else f"{self.runs:,} runs"
        about = f"<Exploration of {_short(self.workflow, NAME_CHARS_MAX)}: {runs}"
        if self.counterexample is None:
            found = "all safe" if self.complete else f"not complete: {self.skipped:,} skipped"
            return f"{about}, {found}>"
        if len(self.counterexamples) > 1:
            about += f", {len(self.counterexamples)} counterexamples"
        about += ", broken: "
        return f"{about}{self.counterexample._broken(room=REPR_CHARS_MAX - len(about) - 1)}>"  # noqa: SLF001

    def __str__(self) -> str:
        found = "all safe" if self.complete else "not complete"
        if self.counterexamples:
            found = counted(self.counterexamples, "counterexample", "counterexamples")
        budget = counted(range(self.faults), "fault", "faults")
        lines = [
            f"explored {self.workflow!r} under up to {budget}: {found}",
            f"  runs     {self.runs:,} in {self.elapsed_s:.1f} s, {self._rate:,.0f} a second",
            f"  faults   {_counts({f'{n} faults': count for n, count in self.by_faults.items()})}",
            f"  kinds    {_counts(self.by_kind) or 'none'}",
            f"  points   {self.points:,} at which something could go wrong",
            f"  pruned   {self.pruned:,} runs, at a state that another went on from",
            f"  skipped  {self.skipped:,} runs",
            f"  endings  {_counts(self.endings) or 'none'}",
        ]
        if self.counterexample is not None:
            lines += ["", str(self.counterexample)]
        return "\n".join(lines)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return what a notebook shows: its figures, and the counterexample."""
        from pyflow.reports.notebook import exploration_bundle  # noqa: PLC0415 - only notebooks ask for it

        return exploration_bundle(self)


def _short(text: str, most: int) -> str:
    """Return *text* if it has up to *most* characters, and else its beginning."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _counts(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
