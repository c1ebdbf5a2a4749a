"""The source that reads a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pyflow.errors import DefinitionError, MetricError
from pyflow.metrics import CSV
from pyflow.testing import check_metric_source
from support.sources import NOON_S, Standing, ask, seconds_before_noon, values

TEXT = f"""at,version,latency,errors
{NOON_S - 60},1.0,0.2,
2026-01-02T12:59:30+01:00,2.0,0.4,7
2026-01-02T12:00:00Z,2.0,nan,8
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "m.csv"
    path.write_text(TEXT)
    return path


def source(path: Path, **options: Any) -> CSV:
    return CSV(path, clock=Standing(), **options)


class TestCSV:
    def test_column(self, path: Path) -> None:
        """A query is a column; an empty cell is no data."""
        samples = ask(source(path), "errors")

        assert (values(samples), seconds_before_noon(samples)) == ([7, 8], [30, 0])

    def test_conditions(self, path: Path) -> None:
        """Conditions choose rows; NaN is no sample, and a note says so."""
        samples = ask(source(path), "latency version=2.0")

        assert (values(samples), len(samples.notes)) == ([0.4], 1)

    def test_grows(self, path: Path) -> None:
        """The file is read anew for each question."""
        found = source(path)
        ask(found, "latency")

        path.write_text(TEXT + f"{NOON_S - 1},2.0,0.5,\n")

        assert values(ask(found, "latency")) == [0.2, 0.4, 0.5]

    @pytest.mark.parametrize(
        ("text", "query", "words"),
        [
            (TEXT, "latncy", "no column 'latncy'; it has: at, version, latency, errors"),
            (TEXT, "latency region=eu", "no column 'region'"),
            ("time,latency\n", "latency", "no column 'at'"),
            ("", "latency", "it has: none"),
            ("at,latency\nnoon,1\n", "latency", "after 0 values"),
            ("at,latency\n1,one\n", "latency", "could not convert"),
            ("at,latency\n2026-01-02T12:00:00,1\n", "latency", "with zone"),
        ],
    )
    def test_errors(self, path: Path, text: str, query: str, words: str) -> None:
        """A file that does not hold what is asked for is an error that says why."""
        path.write_text(text)

        with pytest.raises(MetricError) as caught:
            ask(source(path), query)

        assert words in caught.value.reason

    def test_no_file(self, tmp_path: Path) -> None:
        """A file that is not there is an error."""
        with pytest.raises(MetricError, match="No such file"):
            ask(source(tmp_path / "none.csv"), "latency")

    def test_large(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that is too large is refused."""
        monkeypatch.setattr("pyflow.metrics.csv.BYTES_MAX", 10)

        with pytest.raises(MetricError, match="larger than 10"):
            ask(source(path), "latency")

    def test_no_query(self, path: Path) -> None:
        """A condition has a column and a value."""
        with pytest.raises(DefinitionError, match="a column and conditions"):
            ask(source(path), "latency 2.0")

    def test_contract(self, path: Path) -> None:
        """It keeps the contract of a source."""
        rows = [f"{NOON_S - 60 * n},{n}\n" for n in range(90, -1, -1)]
        path.write_text("at,latency\n" + "".join(rows))

        asyncio.run(check_metric_source(lambda: source(path), known="latency", unknown="x"))

    def test_refuses(self) -> None:
        """Wrong arguments are refused when the source is made."""
        with pytest.raises(DefinitionError, match="2 problems"):
            CSV("", at="")

    def test_repr(self) -> None:
        """The repr names the file."""
        assert repr(CSV("m.csv")) == "CSV('m.csv')"
