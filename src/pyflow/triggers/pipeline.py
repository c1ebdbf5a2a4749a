"""What a pipeline came to: the output of a trigger's task."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Job", "Pipeline"]


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a pipeline."""

    name: str
    """Its name."""

    status: str
    """What became of it, in the service's own word."""

    url: str = ""
    """Where a person reads about it; empty where the service does not say."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline that has ended well."""

    system: str
    """``github``, ``gitlab`` or ``jenkins``."""

    id: str
    """The service's own name for it, unique where it is."""

    url: str
    """Where a person reads about it."""

    status: str
    """How it ended, in the service's own word."""

    ref: str
    """The branch or tag that it was started for; empty for a Jenkins job, which knows its own."""

    key: str
    """The correlation id by which it was, or would have been, looked up."""

    commit: str = ""
    """The commit that it ran for, where the service says so."""

    jobs: tuple[Job, ...] = ()
    """Its jobs, at most 100; empty where they could not be read."""

    log: str = ""
    """The end of its log, if that was asked for."""
