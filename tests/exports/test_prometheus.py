"""Prometheus text, read by the parser of Prometheus' own client, and checked by its promtool."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pyflow.errors import ExportError
from pyflow.exports import prometheus
from pyflow.record.history.summary import RunSummary
from support.exported import ODD

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def run(number: int = 1, **options: Any) -> RunSummary:
    """Return a run that took a minute, so many hours ago."""
    hours = options.pop("hours", 1.0)
    took_s = options.pop("took_s", 60.0)
    started = NOW - timedelta(hours=hours)
    given: dict[str, Any] = {
        "number": number,
        "run_id": f"r{number}",
        "workflow": "shop",
        "environment": "production",
        "version": "1",
        "service": "shop",
        "initiator": "ada",
        "status": "succeeded",
        "started": started,
        "ended": None if took_s is None else started + timedelta(seconds=took_s),
        "records": 5,
        "error": None,
        "commit": "c0ffee",
    }
    return RunSummary(**given | options)


def text_of(*runs: RunSummary, **options: Any) -> str:
    return "".join(prometheus(runs, now=NOW, **options))


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return what another parser finds: values by name and labels, in the order of their names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


SHOP = ("production", "shop")
RUNS = (
    run(1, hours=50, took_s=20),
    run(2, hours=40, status="rolled_back", took_s=400),
    run(3, hours=30, took_s=60),
    run(4, hours=2, status="held", took_s=None),
    run(5, hours=1, status="failed", workflow="db", environment=None, took_s=90_000),
)


class TestFigures:
    def test_of_runs(self) -> None:
        """Runs are counted by how they ended, and those that have not by how they stand."""
        found = samples(text_of(*RUNS))

        assert found["pyflow_runs_total", "production", "succeeded", "shop"] == 2
        assert found["pyflow_runs_total", "production", "rolled_back", "shop"] == 1
        assert found["pyflow_runs_total", "", "failed", "db"] == 1
        assert found["pyflow_runs_unfinished", "production", "held", "shop"] == 1
        ended = datetime.fromtimestamp(
            found["pyflow_run_last_end_timestamp_seconds", "production", "succeeded", "shop"], UTC
        )
        assert ended == RUNS[2].ended

    def test_of_durations(self) -> None:
        """The histogram has cumulative buckets, a sum and a count."""
        found = samples(text_of(*RUNS))
        name = "pyflow_run_duration_seconds"

        assert found[f"{name}_count", *SHOP] == 3
        assert found[f"{name}_sum", *SHOP] == 480
        buckets = [
            found[f"{name}_bucket", "production", le, "shop"]
            for le in ("10.0", "30.0", "60.0", "300.0", "600.0", "+Inf")
        ]
        assert buckets == [0, 1, 2, 2, 3, 3]
        assert found[f"{name}_bucket", "", "86400.0", "db"] == 0
        assert found[f"{name}_bucket", "", "+Inf", "db"] == 1

    def test_of_dora(self) -> None:
        """DORA's figures are over the window, in units of Prometheus, with their denominators."""
        made = NOW - timedelta(hours=31)
        found = samples(text_of(*RUNS, window="2d", committed_at=lambda _: made))

        assert found["pyflow_dora_frequency_per_day", *SHOP] == 0.5
        assert found["pyflow_dora_fail_ratio", *SHOP] == 0.5
        assert found["pyflow_dora_fail_ratio_of", *SHOP] == 2
        assert found["pyflow_dora_rework_ratio", *SHOP] == 1
        assert found["pyflow_dora_recovery_seconds", *SHOP] == 10 * 3600 + 60
        assert found["pyflow_dora_lead_time_seconds", *SHOP] == 3600 + 60

    def test_of_nothing(self) -> None:
        """Where nothing was counted there is no figure, and its denominator says so."""
        found = samples(text_of(run(status="cancelled"), window="1d"))

        assert ("pyflow_dora_fail_ratio", *SHOP) not in found
        assert found["pyflow_dora_fail_ratio_of", *SHOP] == 0
        assert samples(text_of()) == {}
        assert samples(text_of(run(hours=48), window="1d"))["pyflow_runs_total", *in_order()] == 1

    def test_of_a_clock_that_went_back(self) -> None:
        """A run that ended before it began took no time."""
        assert samples(text_of(run(took_s=-5)))["pyflow_run_duration_seconds_sum", *SHOP] == 0


def in_order(status: str = "succeeded") -> tuple[str, str, str]:
    return ("production", status, "shop")


class TestTheFormat:
    def test_escapes(self) -> None:
        """Odd names are labels like others, and come out as they were, but for control characters."""
        odd = run(workflow=ODD + "\\n", environment='a"}\\')

        found = samples(text_of(odd))

        (key,) = [key for key in found if key[0] == "pyflow_runs_total"]
        assert key[1] == 'a"}\\'
        assert key[3] == '=1+1",\n\ufffd[31m<b>&"?ü\ufffd\\n'

    def test_is_text(self) -> None:
        """It is UTF-8, every line is whole, each metric is described once, and none has an instant."""
        text = text_of(*RUNS, run(workflow=ODD))

        lines = text.splitlines()
        assert text.endswith("\n")
        assert len([x for x in lines if x.startswith("# TYPE")]) == len(
            {x.split()[2] for x in lines if x.startswith("# HELP")}
        )
        assert all(
            re.fullmatch(r"[a-z_]+\{.*\} [0-9.e+-]+", x) for x in lines if not x.startswith("#")
        )
        assert text.encode().decode() == text

    @pytest.mark.integration
    def test_suits_promtool(self) -> None:
        """Prometheus' own linter finds nothing to say."""
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text_of(*RUNS, run(workflow=ODD)).encode(),
            capture_output=True,
            check=False,
        )

        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


class TestBounds:
    def test_on_series(self) -> None:
        """However many workflows there are, the first have series of their own, and stay in them."""
        many = [run(n, workflow=f"w{n}", hours=1_000 - n) for n in range(300)]

        few, all_of_them = samples(text_of(*many[:5], places=5)), samples(text_of(*many, places=5))

        names = {key[-1] for key in all_of_them}
        assert names == {"w0", "w1", "w2", "w3", "w4", "other"}
        assert all_of_them["pyflow_runs_total", "other", "succeeded", "other"] == 295
        assert {k for k in few if k[0] == "pyflow_runs_total"} <= set(all_of_them)
        assert all_of_them["pyflow_runs_total", "production", "succeeded", "w4"] == 1

    def test_on_labels(self) -> None:
        """A name without end is cut, and names that are the same then are one."""
        runs = [run(n, workflow="x" * 5_000 + str(n)) for n in (1, 2)]

        found = {k: v for k, v in samples(text_of(*runs)).items() if k[0] == "pyflow_runs_total"}

        ((key, count),) = found.items()
        assert (len(key[-1]), count) == (200, 2)

    def test_on_places(self) -> None:
        """There has to be one."""
        with pytest.raises(ExportError, match="places=0 leaves no series"):
            text_of(places=0)

    def test_on_memory(self) -> None:
        """Runs are taken in as they come, once each."""
        asked: list[int] = []

        def runs() -> Any:
            for number in range(2_000):
                asked[:] = [number]  # and what was handed out before is not needed any more
                yield run(number, hours=2_000 - number)

        pieces = prometheus(runs(), now=NOW)

        assert asked == []
        assert samples("".join(pieces))["pyflow_runs_total", *in_order()] == 2_000
