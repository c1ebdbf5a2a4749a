"""A machine with Python and nothing else: a virtual environment with the wheel of this checkout, and pytest.

No registry is asked. The wheel is built from the checkout and unpacked as an
installer would do it; pytest is linked from where these tests have it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTEST = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
PROGRAM = """#!{python}
import sys
from {module} import {function}

sys.exit({function}())
"""


def fresh_environment(directory: Path) -> dict[str, str]:
    """Make that machine in *directory*, and return the variables of whoever works on it."""
    home, made = directory / "home", directory / "venv"
    home.mkdir()
    venv.create(made, symlinks=True)
    site = next(made.glob("lib/python*/site-packages"))
    for name in PYTEST:
        _link(name, site)
    with zipfile.ZipFile(_wheel(directory / "wheel")) as wheel:
        wheel.extractall(site)
    for name, target in _programs(site):
        _write_program(made / "bin" / name, made / "bin/python", target)
    return {
        "PATH": f"{made / 'bin'}{os.pathsep}{os.defpath}",
        "HOME": str(home),
        "VIRTUAL_ENV": str(made),
        "LANG": "C.UTF-8",
    }


def _wheel(directory: Path) -> Path:
    """Build the wheel of this checkout."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = directory.glob("*.whl")
    return wheel


def _link(name: str, site: Path) -> None:
    """Have what is installed here as *name* in *site* as well."""
    found = distribution(name)
    tops = {
        file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")
    }
    for top in sorted(tops):
        (site / top).symlink_to(Path(str(found.locate_file(top))))


def _programs(site: Path) -> Iterator[tuple[str, str]]:
    """Yield the programs of the wheel in *site*, each with what it calls."""
    (file,) = site.glob("pyflow_deploy-*.dist-info/entry_points.txt")
    parser = ConfigParser(delimiters=("=",))
    parser.read(file)
    yield from parser["console_scripts"].items()


def _write_program(path: Path, python: Path, target: str) -> None:
    module, _, function = target.partition(":")
    path.write_text(PROGRAM.format(python=python, module=module, function=function))
    path.chmod(0o755)
