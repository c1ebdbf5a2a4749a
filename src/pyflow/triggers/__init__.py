"""Start pipelines of CI services and wait for them, as tasks; keep their deployments in step with runs."""

from __future__ import annotations

from pyflow.triggers.github import GitHubActions
from pyflow.triggers.github_deployments import GitHubDeployments
from pyflow.triggers.gitlab import GitLabCI
from pyflow.triggers.gitlab_deployments import GitLabDeployments
from pyflow.triggers.jenkins import Jenkins
from pyflow.triggers.pipeline import Job, Pipeline
from pyflow.triggers.watch import Watch

__all__ = [
    "GitHubActions",
    "GitHubDeployments",
    "GitLabCI",
    "GitLabDeployments",
    "Jenkins",
    "Job",
    "Pipeline",
    "Watch",
]
