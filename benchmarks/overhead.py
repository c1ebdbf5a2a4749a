"""What pyflow costs, next to a bare `graphlib` + asyncio loop in the same run.

Microseconds depend on the machine; ratios travel. Every figure is the best of
interleaved rounds, so a busy machine disturbs both sides alike. Run with
``make bench``, or ``python benchmarks/overhead.py --quick``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import graphlib
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyflow

Graph = Mapping[str, Sequence[str]]

BAR_RATIO = 5.0
BAR_BYTES = 2_048
BAR_IMPORT_MS = 80.0
BAR_THREAD_RATIO = 3.0
WIDTH = 20


async def nothing() -> None:
    """Do nothing: what remains is the engine."""


def plain_nothing() -> None:
    """Do nothing on a thread."""


def chain(size: int) -> Graph:
    """Each task waits for the one before it."""
    return {f"t{n}": [f"t{n - 1}"] if n else [] for n in range(size)}


def fan(size: int) -> Graph:
    """All tasks wait for one."""
    return {f"t{n}": ["t0"] if n else [] for n in range(size)}


def layers(size: int) -> Graph:
    """Layers of twenty, each task waiting for the whole layer before it."""
    return {
        f"t{n}": [f"t{m}" for m in range((n // WIDTH - 1) * WIDTH, (n // WIDTH) * WIDTH)]
        if n >= WIDTH
        else []
        for n in range(size)
    }


SHAPES: dict[str, Callable[[int], Graph]] = {"chain": chain, "fan-out": fan, "layers": layers}


async def bare(graph: Graph) -> None:
    """Run *graph* with nothing but what the standard library offers."""
    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()
    under_way: dict[asyncio.Task[None], str] = {}
    while sorter.is_active():
        for name in sorter.get_ready():
            under_way[asyncio.create_task(nothing())] = name
        done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            sorter.done(under_way.pop(task))


def workflow_of(graph: Graph, fn: Callable[[], object] = nothing) -> pyflow.Workflow:
    """Return the workflow of *graph*."""
    workflow = pyflow.Workflow("bench")
    for name, deps in graph.items():
        workflow.add_task(name, fn, depends_on=deps)
    return workflow


def timed(fn: Callable[[], object]) -> float:
    """Return how long *fn* takes, in seconds, with the collector at rest before it."""
    gc.collect()
    started = time.perf_counter()
    fn()
    return time.perf_counter() - started


def succeed(result: pyflow.Result) -> None:
    """Make sure that the run did what is being measured."""
    assert result.status == "succeeded", result.status


def measure(graph: Graph, rounds: int) -> tuple[float, float, float]:
    """Return microseconds a task: bare, running a plan, and checking a workflow."""
    workflow = workflow_of(graph)
    checks, bares, runs = [timed(workflow.check)], [], []
    plan = workflow.check()
    for _ in range(rounds):
        bares.append(timed(lambda: asyncio.run(bare(graph))))
        runs.append(timed(lambda: succeed(pyflow.Engine().execute(plan))))
    scale = 1e6 / len(graph)
    return min(bares) * scale, min(runs) * scale, min(checks) * scale


def measure_concurrent(runs: int, size: int, rounds: int) -> tuple[float, float]:
    """Return microseconds a task of many runs at once: bare, and in one engine."""
    graph = layers(size)
    plan = workflow_of(graph).check()

    async def all_bare() -> None:
        await asyncio.gather(*(bare(graph) for _ in range(runs)))

    async def all_runs() -> None:
        engine = pyflow.Engine()
        for result in await asyncio.gather(*(engine.run(plan) for _ in range(runs))):
            succeed(result)

    bares, ours = [], []
    for _ in range(rounds):
        bares.append(timed(lambda: asyncio.run(all_bare())))
        ours.append(timed(lambda: asyncio.run(all_runs())))
    scale = 1e6 / (runs * size)
    return min(bares) * scale, min(ours) * scale


def measure_memory(graph: Graph) -> float:
    """Return the bytes that a finished task leaves behind: its record, its state, its result."""
    plan = workflow_of(graph).check()
    engine = pyflow.Engine()
    succeed(engine.execute(workflow_of(chain(10)).check()))
    gc.collect()
    tracemalloc.start()
    result = engine.execute(plan)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    succeed(result)
    return kept / len(graph)


def measure_threads(size: int, rounds: int) -> tuple[float, float]:
    """Return microseconds a plain function: a bare hop to a thread and back, and as a task."""
    plan = workflow_of(chain(size), plain_nothing).check()

    async def hops() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(size):
            await loop.run_in_executor(None, plain_nothing)

    bares, ours = [], []
    for _ in range(rounds):
        bares.append(timed(lambda: asyncio.run(hops())))
        ours.append(timed(lambda: succeed(pyflow.Engine().execute(plan))))
    return min(bares) * 1e6 / size, min(ours) * 1e6 / size


def measure_import(rounds: int) -> tuple[float, float]:
    """Return milliseconds over a bare interpreter: of asyncio alone, and of pyflow."""
    source = str(Path(pyflow.__file__).parents[1])
    environ = {**os.environ, "PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": ""}

    def start(code: str) -> float:
        return timed(lambda: subprocess.run([sys.executable, "-c", code], check=True, env=environ))

    start("import pyflow")  # writes the byte code
    empty, loop, ours = [], [], []
    for _ in range(rounds):
        empty.append(start("pass"))
        loop.append(start("import asyncio"))
        ours.append(start("import pyflow"))
    return (min(loop) - min(empty)) * 1e3, (min(ours) - min(empty)) * 1e3


def verdict(good: bool) -> str:
    """Return a word for whether a bar is met."""
    return "ok" if good else "MISSED"


def main() -> int:
    """Measure everything and print it next to its bar; fail if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller graphs, fewer rounds")
    quick = parser.parse_args().quick
    rounds, sizes = (3, [100, 1_000]) if quick else (5, [100, 1_000, 10_000])
    missed = 0

    print(f"Python {sys.version.split()[0]}, best of {rounds} interleaved rounds\n")
    print(
        f"{'shape':<14}{'tasks':>7}{'bare µs':>10}{'run µs':>9}{'ratio':>8}   bar ≤ {BAR_RATIO:g}  {'check µs':>9}"
    )
    for shape, make in SHAPES.items():
        for size in sizes:
            repeat = rounds * 4 if size == 100 else rounds
            base, ours, check = measure(make(size), repeat)
            good = ours / base <= BAR_RATIO
            missed += not good
            print(
                f"{shape:<14}{size:>7}{base:>10.1f}{ours:>9.1f}{ours / base:>8.2f}   {verdict(good):<8}{check:>9.1f}"
            )
    base, ours = measure_concurrent(100, 100, rounds)
    missed += ours / base > BAR_RATIO
    print(
        f"{'100 runs of':<14}{100:>7}{base:>10.1f}{ours:>9.1f}{ours / base:>8.2f}   {verdict(ours / base <= BAR_RATIO)}"
    )

    print()
    for shape, make in SHAPES.items():
        kept = measure_memory(make(sizes[-1]))
        missed += kept > BAR_BYTES
        print(
            f"memory of a finished task, {shape:<8} {kept:>8.0f} bytes   bar ≤ {BAR_BYTES}  {verdict(kept <= BAR_BYTES)}"
        )
    hop, threaded = measure_threads(1_000, rounds)
    missed += threaded / hop > BAR_THREAD_RATIO
    print(
        f"plain function on a thread          {threaded:>8.1f} µs      bar ≤ {BAR_THREAD_RATIO:g} hops "
        f"{verdict(threaded / hop <= BAR_THREAD_RATIO)} ({threaded / hop:.2f}; a bare hop {hop:.1f})"
    )
    loop, imported = measure_import(rounds * 3)
    missed += imported > BAR_IMPORT_MS
    print(
        f"import pyflow over bare Python      {imported:>8.1f} ms      bar ≤ {BAR_IMPORT_MS:g}    {verdict(imported <= BAR_IMPORT_MS)} (asyncio alone {loop:.1f})"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
