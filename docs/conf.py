"""How `make docs` builds the site: Markdown in, pages out, nothing fetched from elsewhere.

The navigation is not written down a second time. It is read from the lists of
links in the front page and in the front page of each kind (``how-to/index.md``
and its siblings, and ``reference/api.md``): an item is a page below, an item that is indented is a page
below the one before it. So the lists that people read in the repository and
the navigation of the site cannot disagree.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pyflow

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent

project = "pyflow"
version = release = pyflow.__version__
project_copyright = "the authors of pyflow, MIT licence"
extensions = ["myst_nb"]
exclude_patterns = ["_static"]
nitpicky = True
myst_heading_anchors = 4
suppress_warnings: list[str] = []

nb_execution_mode = "off"  # tests/docs/pages.py runs notebooks, and their outputs are kept

html_theme = "furo"
html_title = "pyflow"
html_static_path = ["_static"]
html_css_files = ["pyflow.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

ITEM = re.compile(r"^(?P<indent> *)- \[[^\]]+\]\((?P<page>[^)#:]+)\.(?:md|ipynb)\)", re.MULTILINE)
FILE = re.compile(r'^```python title="(?P<name>[^"]+)"\n', re.MULTILINE)


def navigation() -> dict[str, list[str]]:
    """Return the pages below each page, in order."""
    tree: dict[str, list[str]] = {}
    for front in (DOCS / "index.md", *sorted(DOCS.glob("*/index.md")), DOCS / "reference/api.md"):
        parent = front.relative_to(DOCS).with_suffix("").as_posix()
        last = parent
        for item in ITEM.finditer(front.read_text()):
            page = _resolved(PurePosixPath(parent).parent / item["page"])
            below = last if item["indent"] else parent
            tree.setdefault(below, []).append(page)
            last = last if item["indent"] else page
    return tree


def _resolved(path: PurePosixPath) -> str:
    """Return *path* from the folder of the documentation, without dots."""
    return (DOCS / path).resolve().relative_to(DOCS).as_posix()


def on_read(_app: Sphinx, name: str, source: list[str]) -> None:
    """Give the page *name* its navigation, and files that it shows their names."""
    text = FILE.sub(r"```{code-block} python\n:caption: \g<name>\n\n", source[0])
    if below := TREE.get(name):
        entries = "\n".join(f"/{page}" for page in below)
        text += f"\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"
    source[0] = text


def setup(app: Sphinx) -> None:
    """Have every page go through `on_read`."""
    app.connect("source-read", on_read)


TREE = navigation()
