"""What the CI system says about this run, and who started it.

Both are read once, when a run starts, and recorded. The environment is handed
in; only `context` looks at the process's own where none is given.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
from string import Template
from typing import TYPE_CHECKING, Literal

from pyflow.errors import DefinitionError, shown
from pyflow.frozen import fields_of, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SYSTEMS", "CIContext", "Initiator", "context", "detect_ci", "detect_initiator"]

INITIATOR_CHARS_MAX = 200
VALUE_CHARS_MAX = 1_000
OFF = ("", "0", "false")
USERINFO = re.compile(r"(?<=://)[^/]*@")


@frozen
class CIContext:
    """What a CI system says about the job that this process belongs to."""

    system: str
    """``github``, ``gitlab``, ``jenkins``, ``azure``, ``buildkite``, ``circleci``,
    ``bitbucket``, ``teamcity``, ``codebuild``, ``drone``, ``woodpecker``, or ``unknown``
    for one that only says that it is there."""

    actor: str | None = None
    """Who started the job."""

    commit: str | None = None
    """The commit that the job was started for."""

    ref: str | None = None
    """Its branch or tag, without ``refs/heads/`` or ``refs/tags/``."""

    repository: str | None = None
    """The repository's name or address, without credentials."""

    run_url: str | None = None
    """Where a person reads about the job."""

    run_id: str | None = None
    """The system's own name for the job, telling its re-runs apart where it can."""

    event: str | None = None
    """What set the job off, such as ``push``."""

    def to_data(self) -> dict[str, str]:
        """Return what is known as JSON data; what is not known is left out."""
        values = ((name, getattr(self, name)) for name in fields_of(type(self)))
        return {name: value for name, value in values if value is not None}


@frozen
class Initiator:
    """Who started a run."""

    id: str
    """The name, as given or as found."""

    source: Literal["given", "ci", "os"]
    """Who says so: the caller, the CI system or the operating system."""

    def to_data(self) -> dict[str, str]:
        """Return this as JSON data."""
        return {"id": self.id, "source": self.source}


@frozen
class _System:
    """Where one CI system keeps its facts: for each, patterns in order of preference."""

    name: str
    marker: str
    actor: tuple[str, ...] = ()
    commit: tuple[str, ...] = ()
    ref: tuple[str, ...] = ()
    repository: tuple[str, ...] = ()
    run_url: tuple[str, ...] = ()
    run_id: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    value: str | None = None
    """What the marker has to be; None for anything that does not switch it off."""


# The order matters: a system may be driven from inside another one's job, and all set CI.
SYSTEMS = (
    # https://docs.github.com/actions/reference/workflows-and-actions/variables
    _System(
        "github",
        "GITHUB_ACTIONS",
        actor=("$GITHUB_TRIGGERING_ACTOR", "$GITHUB_ACTOR"),
        commit=("$GITHUB_SHA",),
        ref=("$GITHUB_REF_NAME", "$GITHUB_REF"),
        repository=("$GITHUB_REPOSITORY",),
        run_url=(
            "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID/attempts/$GITHUB_RUN_ATTEMPT",
            "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID",
        ),
        run_id=("$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT", "$GITHUB_RUN_ID"),
        event=("$GITHUB_EVENT_NAME",),
    ),
    # https://docs.gitlab.com/ci/variables/predefined_variables/
    _System(
        "gitlab",
        "GITLAB_CI",
        actor=("$GITLAB_USER_LOGIN", "$GITLAB_USER_EMAIL"),
        commit=("$CI_COMMIT_SHA",),
        ref=("$CI_COMMIT_REF_NAME", "$CI_COMMIT_TAG"),
        repository=("$CI_PROJECT_PATH",),
        run_url=("$CI_JOB_URL", "$CI_PIPELINE_URL"),
        run_id=("$CI_PIPELINE_ID/$CI_JOB_ID", "$CI_PIPELINE_ID", "$CI_JOB_ID"),
        event=("$CI_PIPELINE_SOURCE",),
    ),
    # https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables
    _System(
        "jenkins",
        "JENKINS_URL",
        actor=("$BUILD_USER_ID",),
        commit=("$GIT_COMMIT",),
        ref=("$BRANCH_NAME", "$GIT_BRANCH", "$TAG_NAME"),
        repository=("$GIT_URL",),
        run_url=("$BUILD_URL",),
        run_id=("$JOB_NAME#$BUILD_NUMBER", "$BUILD_TAG"),
    ),
    # https://learn.microsoft.com/azure/devops/pipelines/build/variables
    _System(
        "azure",
        "TF_BUILD",
        actor=("$BUILD_REQUESTEDFOREMAIL", "$BUILD_REQUESTEDFOR"),
        commit=("$BUILD_SOURCEVERSION",),
        ref=("$BUILD_SOURCEBRANCH",),
        repository=("$BUILD_REPOSITORY_NAME", "$BUILD_REPOSITORY_URI"),
        run_url=(
            "${SYSTEM_COLLECTIONURI}${SYSTEM_TEAMPROJECT}/_build/results?buildId=$BUILD_BUILDID",
        ),
        run_id=("$BUILD_BUILDID",),
        event=("$BUILD_REASON",),
    ),
    # https://buildkite.com/docs/pipelines/configure/environment-variables
    _System(
        "buildkite",
        "BUILDKITE",
        actor=("$BUILDKITE_BUILD_CREATOR_EMAIL", "$BUILDKITE_BUILD_CREATOR"),
        commit=("$BUILDKITE_COMMIT",),
        ref=("$BUILDKITE_TAG", "$BUILDKITE_BRANCH"),
        repository=("$BUILDKITE_REPO",),
        run_url=("$BUILDKITE_BUILD_URL#$BUILDKITE_JOB_ID", "$BUILDKITE_BUILD_URL"),
        run_id=("$BUILDKITE_BUILD_ID/$BUILDKITE_JOB_ID", "$BUILDKITE_BUILD_ID"),
        event=("$BUILDKITE_SOURCE",),
    ),
    # https://circleci.com/docs/variables/
    _System(
        "circleci",
        "CIRCLECI",
        actor=("$CIRCLE_USERNAME",),
        commit=("$CIRCLE_SHA1",),
        ref=("$CIRCLE_TAG", "$CIRCLE_BRANCH"),
        repository=("$CIRCLE_PROJECT_USERNAME/$CIRCLE_PROJECT_REPONAME", "$CIRCLE_REPOSITORY_URL"),
        run_url=("$CIRCLE_BUILD_URL",),
        run_id=("$CIRCLE_WORKFLOW_ID/$CIRCLE_BUILD_NUM", "$CIRCLE_BUILD_NUM"),
    ),
    # https://support.atlassian.com/bitbucket-cloud/docs/variables-and-secrets/
    _System(
        "bitbucket",
        "BITBUCKET_BUILD_NUMBER",
        actor=("$BITBUCKET_STEP_TRIGGERER_UUID",),
        commit=("$BITBUCKET_COMMIT",),
        ref=("$BITBUCKET_TAG", "$BITBUCKET_BRANCH"),
        repository=("$BITBUCKET_REPO_FULL_NAME", "$BITBUCKET_GIT_HTTP_ORIGIN"),
        run_url=(
            "https://bitbucket.org/$BITBUCKET_REPO_FULL_NAME/pipelines/results/$BITBUCKET_BUILD_NUMBER",
        ),
        run_id=("$BITBUCKET_BUILD_NUMBER",),
    ),
    # https://www.jetbrains.com/help/teamcity/predefined-build-parameters.html
    _System(
        "teamcity",
        "TEAMCITY_VERSION",
        commit=("$BUILD_VCS_NUMBER",),
        repository=("$TEAMCITY_PROJECT_NAME",),
        run_url=("$BUILD_URL",),
        run_id=("$TEAMCITY_BUILDCONF_NAME#$BUILD_NUMBER", "$BUILD_NUMBER"),
    ),
    # https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
    _System(
        "codebuild",
        "CODEBUILD_BUILD_ID",
        actor=("$CODEBUILD_INITIATOR",),
        commit=("$CODEBUILD_RESOLVED_SOURCE_VERSION",),
        ref=("$CODEBUILD_WEBHOOK_HEAD_REF", "$CODEBUILD_SOURCE_VERSION"),
        repository=("$CODEBUILD_SOURCE_REPO_URL",),
        run_url=("$CODEBUILD_PUBLIC_BUILD_URL",),
        run_id=("$CODEBUILD_BUILD_ID",),
        event=("$CODEBUILD_WEBHOOK_EVENT",),
    ),
    # https://docs.drone.io/pipeline/environment/reference/
    _System(
        "drone",
        "DRONE",
        actor=("$DRONE_BUILD_TRIGGER", "$DRONE_COMMIT_AUTHOR"),
        commit=("$DRONE_COMMIT_SHA", "$DRONE_COMMIT"),
        ref=("$DRONE_TAG", "$DRONE_BRANCH"),
        repository=("$DRONE_REPO",),
        run_url=("$DRONE_BUILD_LINK",),
        run_id=("$DRONE_BUILD_NUMBER",),
        event=("$DRONE_BUILD_EVENT",),
    ),
    # https://woodpecker-ci.org/docs/usage/environment
    _System(
        "woodpecker",
        "CI",
        actor=("$CI_COMMIT_AUTHOR",),
        commit=("$CI_COMMIT_SHA",),
        ref=("$CI_COMMIT_TAG", "$CI_COMMIT_BRANCH"),
        repository=("$CI_REPO",),
        run_url=("$CI_PIPELINE_URL",),
        run_id=("$CI_PIPELINE_NUMBER",),
        event=("$CI_PIPELINE_EVENT",),
        value="woodpecker",
    ),
    _System("unknown", "CI"),
)


def context(environ: Mapping[str, str] | None = None) -> CIContext | None:
    """Return what the CI system says about this process, or None outside of CI.

    Args:
        environ: The environment variables to look at; the process's own by
            default. Blank ones count as missing; credentials in addresses are
            left out.
    """
    return detect_ci(os.environ if environ is None else environ)


def detect_ci(environ: Mapping[str, str]) -> CIContext | None:
    """Return what the CI system says about this process, or None outside of CI.

    Args:
        environ: The environment variables to look at. Blank ones count as
            missing; credentials in addresses are left out.
    """
    for system in SYSTEMS:
        marker = _said(environ, system.marker).lower()
        if marker == system.value or (system.value is None and marker not in OFF):
            return CIContext(
                system=system.name,
                actor=_fill(system.actor, environ),
                commit=_fill(system.commit, environ),
                ref=_short(_fill(system.ref, environ)),
                repository=_fill(system.repository, environ),
                run_url=_fill(system.run_url, environ),
                run_id=_fill(system.run_id, environ),
                event=_fill(system.event, environ),
            )
    return None


def _fill(patterns: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    """Return the leading pattern whose variables are all set, filled in."""
    for pattern in patterns:
        template = Template(pattern)
        values = {name: _said(environ, name) for name in template.get_identifiers()}
        if all(values.values()):
            return template.substitute(values)
    return None


def _said(environ: Mapping[str, str], name: str) -> str:
    return USERINFO.sub("", _printable(environ.get(name, "")))[:VALUE_CHARS_MAX]


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text.strip())


def _short(ref: str | None) -> str | None:
    return ref and ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def _os_user() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container often has a user id without a name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def detect_initiator(
    given: str | None,
    environ: Mapping[str, str],
    *,
    os_user: Callable[[], str] = _os_user,
) -> Initiator:
    """Return who starts this run: the one *given*, else the CI actor, else the user of the system.

    Args:
        given: The name that the caller gave, or None to look for one.
        environ: The environment variables to look at.
        os_user: Names the user of the operating system; ``user@host`` as it
            comes, with ``uid-1000`` for a user that has no name.

    Raises:
        DefinitionError: *given* is blank, longer than 200 characters, or holds
            characters that do not print.
    """
    if given is not None:
        return Initiator(_checked(given), "given")
    context = detect_ci(environ)
    if context is not None and context.actor is not None:
        return Initiator(context.actor[:INITIATOR_CHARS_MAX], "ci")
    return Initiator(_printable(os_user())[:INITIATOR_CHARS_MAX], "os")


def _checked(given: object) -> str:
    if (
        not isinstance(given, str)
        or not given.strip()
        or not given.isprintable()
        or len(given) > INITIATOR_CHARS_MAX
    ):
        problem = (
            f"{shown(given)} does not name anybody; give an e-mail address or another name "
            f"of 1 to {INITIATOR_CHARS_MAX} printable characters, or leave it out"
        )
        raise DefinitionError("initiator", [problem])
    return given.strip()
