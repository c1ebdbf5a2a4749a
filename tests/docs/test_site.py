"""The documentation as a site: built without a warning, whole without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages import DOCS

FETCHED = re.compile(
    r"""<(?:script|img|iframe)\b[^>]*\bsrc="(?:https?:)?//|<link\b[^>]*\bhref="(?:https?:)?//"""
)
KINDS = ("Tutorial", "How-to guides", "Reference", "Explanation", "Glossary", "Decisions")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does, anew."""
    made = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--fail-on-warning", "--keep-going", "--nitpicky"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "-d", made / "read", DOCS, made / "pages"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return made / "pages"


class TestSite:
    def test_has_every_page(self, site: Path) -> None:
        """Each page and each notebook is there, and built without a warning."""
        sources = [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]
        pages = {path.relative_to(DOCS).with_suffix(".html") for path in sources}

        assert [page for page in sorted(pages) if not (site / page).exists()] == []

    def test_navigation_is_short(self, site: Path) -> None:
        """The way into it is one word for each kind of page, in the order of the front page."""
        front = (site / "index.html").read_text()
        tree = front[front.index('class="sidebar-tree"') :]
        top = re.findall(r'<li class="toctree-l1[^"]*"><a[^>]*>([^<]+)</a>', tree)

        assert tuple(top) == KINDS

    def test_fetches_nothing(self, site: Path) -> None:
        """No page has a script, a style or a picture from elsewhere."""
        pages = list(site.rglob("*.html"))

        assert [page for page in pages if FETCHED.search(page.read_text())] == []

    def test_shows_names_of_files(self, site: Path) -> None:
        """A listing that is a file has its name above it."""
        page = (site / "tutorial/first-canary.html").read_text()

        assert re.search(r'class="code-block-caption">.*shop\.py', page)
