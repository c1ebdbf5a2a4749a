"""A notebook, carried out by a real kernel: things show themselves, and cells may wait."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

WATCHDOG_S = 120

CELLS = (
    """
import pyflow
from pyflow.testing import World

shop = pyflow.Workflow("shop", params={"version": str})


@shop.task
async def build(ctx: pyflow.AsyncContext, version: str) -> str:
    return f"shop:{version}"


shop.add_task("deploy", lambda build: None)
shop
""",
    """
run = pyflow.Engine().start(shop, params={"version": "2.0"})
display(run)
result = await run
result
""",
    "result.audit_trail",
    "pyflow.Engine().execute(shop, params={'version': '2.1'}).status",
    "World()",
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """Return what each cell of the notebook puts out."""
    home: Path = tmp_path_factory.mktemp("jupyter")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c.strip()) for c in CELLS])
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(home / name.lower()))
        client = nbclient.NotebookClient(notebook, timeout=WATCHDOG_S, kernel_name="python3")
        asyncio.run(client.async_execute())
    return [cell.outputs for cell in notebook.cells]


class TestNotebook:
    def test_workflow_is_drawn(self, outputs: list[list[Any]]) -> None:
        """A workflow at the end of a cell is its drawing."""
        (shown,) = outputs[0]

        assert set(shown.data) == {"text/plain", "image/svg+xml"}
        assert "deploy" in shown.data["image/svg+xml"]

    def test_run_is_kept_up_to_date(self, outputs: list[list[Any]]) -> None:
        """A run has one place, where it stands as it ended; a cell may wait for it."""
        shown, result = outputs[1]

        assert shown.output_type == "display_data"
        assert '<span class="badge good">succeeded</span>' in shown.data["text/html"]
        assert '<progress max="2" value="2">' in shown.data["text/html"]
        assert result.output_type == "execute_result"
        assert "<svg" in result.data["text/html"]

    def test_others_show_themselves(self, outputs: list[list[Any]]) -> None:
        """A trail is a table, a world its facts, and `execute` works in a cell."""
        trail, status, world = (cell[0].data for cell in outputs[2:])

        assert "run started" in trail["text/html"]
        assert status == {"text/plain": "'succeeded'"}
        assert "world at 0.0 s" in world["text/html"]
