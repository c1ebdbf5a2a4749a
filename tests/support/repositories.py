"""Real git repositories, small, and without what the user has set up."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["commit", "git", "make_repository", "sign_with"]

WHO = ("-c", "user.name=ada", "-c", "user.email=ada@localhost")


def git(repository: Path, *words: str) -> str:
    """Return what git says in *repository*."""
    argv = ["git", "-C", str(repository), *WHO, *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def make_repository(place: Path, **files: str) -> Path:
    """Return a repository at *place* with one commit of *files*, each named without its ``.py``."""
    place.mkdir(exist_ok=True)
    git(place, "init", "-q", "-b", "main")
    if files:
        commit(place, **files)
    return place


def commit(repository: Path, **files: str) -> str:
    """Commit *files*, and return the commit."""
    for name, text in files.items():
        (repository / f"{name}.py").write_text(text)
        git(repository, "add", f"{name}.py")
    git(repository, "commit", "-q", "-m", "change")
    return git(repository, "rev-parse", "HEAD")


def sign_with(repository: Path, key: Path) -> None:
    """Have git sign in *repository* with a new ssh key at *key*, and know it."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(argv, check=True)
    public = key.with_name(f"{key.name}.pub")
    allowed = key.with_name("allowed")
    allowed.write_text(f"pyflow@localhost {public.read_text()}")
    for name, value in (
        ("gpg.format", "ssh"),
        ("user.signingkey", str(public)),
        ("gpg.ssh.allowedSignersFile", str(allowed)),
    ):
        git(repository, "config", name, value)
