"""Tell what happened in a run that broke an invariant: a timeline, and a test to paste."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyflow.record.rendering import detail_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyflow.testing.exploration.explored import Explored
    from pyflow.testing.exploration.trial import Options, Violation
    from pyflow.testing.faults import Fault

__all__ = ["tell", "write_test"]

COLUMNS_MAX = 160
TEST = '''\
from pyflow.testing import Fault, replay


def test_{name}({arguments}):
    """{invariant}"""
    report = replay(
        {factory},
        world=world,
        faults=[{faults}],{more}
    )
    assert report.ok, report
'''


def tell(run: Explored, violations: Sequence[Violation]) -> tuple[str, ...]:
    """Return a line for every record, change and violation of *run*, in order."""
    if not run.has_begun:
        return ()
    began = run.audit_trail[0].at
    lines = list(_between(run, violations, 0))
    for record in run.audit_trail:
        about = f" {record.task}" if record.task else ""
        detail = detail_of(record.event)
        said = f": {detail}" if detail else ""
        at_s = (record.at - began).total_seconds()
        lines.append(f"{at_s:11.3f} s  {record.kind}{about}{said}"[:COLUMNS_MAX])
        lines += _between(run, violations, record.seq)
    return tuple(lines)


def _between(run: Explored, violations: Iterable[Violation], seq: int) -> Iterator[str]:
    """Yield what happened after the record numbered *seq*, before the next one."""
    for change, after in zip(run.history, run.placed, strict=True):
        if after == seq:
            yield f"{change.at_s:11.3f} s      {_changed(change)}"
    for one in violations:
        if one.after_record == seq:
            yield f"{one.at_s:11.3f} s  !!  {one.message}"


def _changed(change: Any) -> str:
    return f"{change.what}: {change.before!r} -> {change.after!r}  by {change.by or 'the world'}"


def write_test(
    factory: object, faults: Sequence[Fault], violation: Violation, options: Options
) -> str:
    """Return a test that fails until *faults* do no harm; what has no name here is a fixture."""
    made_by = _name(factory) or "make_workflow"
    more = dict(_more(options))
    fixtures = ["world", *([made_by] if _name(factory) is None else [])]
    fixtures += [name for name, value in more.items() if name == value]
    script = "".join(f"\n            {_written(fault)}," for fault in faults)
    words = "".join(c if c.isalnum() else " " for c in violation.invariant).split()
    return TEST.format(
        name="_".join(words[:8]).lower(),
        arguments=", ".join(fixtures),
        factory=made_by,
        invariant=violation.invariant.replace("\\", "/").replace('"', "'"),
        faults=f"{script}\n        " if script else "",
        more="".join(f"\n        {name}={value}," for name, value in more.items()),
    )


def _name(thing: object) -> str | None:
    """Return the name that *thing* has where the test will stand, if it has one."""
    name = getattr(thing, "__name__", "")
    return name if name.isidentifier() else None


def _more(options: Options) -> Iterator[tuple[str, str]]:
    """Yield every argument that the exploration was given besides, and what to write for it."""
    usual = type(options)()
    invariants = (*options.at_the_end, *options.always)
    if invariants:
        names = list(map(_name, invariants))
        yield "invariants", "invariants" if None in names else f"[{', '.join(map(str, names))}]"
    for name in ("fakes", "params", "environment"):
        if getattr(options, name) != getattr(usual, name):
            yield name, name
    for name in ("seed", "max_parallel"):
        if getattr(options, name) != getattr(usual, name):
            yield name, repr(getattr(options, name))
    for name in ("within", "drain_timeout"):
        if getattr(options, f"{name}_s") != getattr(usual, f"{name}_s"):
            yield name, repr(getattr(options, f"{name}_s"))


def _written(fault: Fault) -> str:
    return f'Fault({json.dumps(fault.point, ensure_ascii=False)}, "{fault.kind}")'
