"""Start pipelines of CI services and wait for them, as tasks."""

from __future__ import annotations

from pyflow.triggers.github import GitHubActions
from pyflow.triggers.gitlab import GitLabCI
from pyflow.triggers.jenkins import Jenkins
from pyflow.triggers.pipeline import Job, Pipeline
from pyflow.triggers.watch import Watch

__all__ = ["GitHubActions", "GitLabCI", "Jenkins", "Job", "Pipeline", "Watch"]
