"""Notebooks of the documentation: run in a kernel, and kept with what their cells gave."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

__all__ = ["NOTEBOOKS", "given", "read", "run", "write"]

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOKS = tuple(sorted(DOCS.rglob("*.ipynb")))
CELL_TIMEOUT_S = 300
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "python"},
}


def read(path: Path) -> Any:
    """Return the notebook in *path*."""
    return nbformat.read(path, as_version=4)


def run(path: Path, directory: Path) -> Any:
    """Run the cells of the notebook in *path* in *directory*, and return it with what they gave."""
    notebook = read(path)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        resources={"metadata": {"path": str(directory)}},
        record_timing=False,
        coalesce_streams=True,
    )
    asyncio.run(client.async_execute())
    notebook.metadata = METADATA
    for cell in notebook.cells:
        cell.metadata.clear()
    return notebook


def given(notebook: Any) -> list[str]:
    """Return what each cell gave, as text."""
    return [_text(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def _text(outputs: list[Any]) -> str:
    """Return *outputs* as text: what was printed, and what is shown in every form that it has."""
    return "\n".join(
        output.text
        if output.output_type == "stream"
        else json.dumps(output.get("data", output), sort_keys=True)
        for output in outputs
    )


def write(path: Path, notebook: Any) -> None:
    """Keep *notebook* in *path*."""
    path.write_text(nbformat.writes(notebook) + "\n")
