from __future__ import annotations

import getpass
import json
import os
import re
import socket

import pytest

from pyflow.ci import CIContext, Initiator, detect_ci, detect_initiator
from pyflow.errors import DefinitionError

GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_ACTOR": "alice",
    "GITHUB_TRIGGERING_ACTOR": "bob",
    "GITHUB_SHA": "c0ffee",
    "GITHUB_REF_NAME": "main",
    "GITHUB_REPOSITORY": "acme/shop",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_RUN_ID": "77",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_EVENT_NAME": "push",
}
GITLAB = {
    "CI": "true",
    "GITLAB_CI": "true",
    "GITLAB_USER_LOGIN": "alice",
    "CI_COMMIT_SHA": "c0ffee",
    "CI_COMMIT_REF_NAME": "main",
    "CI_PROJECT_PATH": "acme/shop",
    "CI_JOB_URL": "https://gitlab.example/acme/shop/-/jobs/9",
    "CI_PIPELINE_ID": "5",
    "CI_JOB_ID": "9",
    "CI_PIPELINE_SOURCE": "merge_request_event",
}
JENKINS = {
    "CI": "true",
    "JENKINS_URL": "https://ci.example/",
    "BUILD_USER_ID": "alice",
    "GIT_COMMIT": "c0ffee",
    "BRANCH_NAME": "main",
    "GIT_BRANCH": "origin/main",
    "GIT_URL": "https://git.example/acme/shop.git",
    "BUILD_URL": "https://ci.example/job/shop/3/",
    "JOB_NAME": "shop/main",
    "BUILD_NUMBER": "3",
}
AZURE = {
    "TF_BUILD": "True",
    "BUILD_REQUESTEDFOREMAIL": "alice@example.com",
    "BUILD_SOURCEVERSION": "c0ffee",
    "BUILD_SOURCEBRANCH": "refs/heads/feature/x",
    "BUILD_REPOSITORY_NAME": "shop",
    "SYSTEM_COLLECTIONURI": "https://dev.azure.com/acme/",
    "SYSTEM_TEAMPROJECT": "shop",
    "BUILD_BUILDID": "12",
    "BUILD_REASON": "Manual",
}
BUILDKITE = {
    "CI": "true",
    "BUILDKITE": "true",
    "BUILDKITE_BUILD_CREATOR_EMAIL": "alice@example.com",
    "BUILDKITE_COMMIT": "c0ffee",
    "BUILDKITE_BRANCH": "main",
    "BUILDKITE_REPO": "git@github.com:acme/shop.git",
    "BUILDKITE_BUILD_URL": "https://buildkite.com/acme/shop/builds/4",
    "BUILDKITE_BUILD_ID": "b-4",
    "BUILDKITE_JOB_ID": "j-1",
    "BUILDKITE_SOURCE": "webhook",
}
CIRCLECI = {
    "CI": "true",
    "CIRCLECI": "true",
    "CIRCLE_USERNAME": "alice",
    "CIRCLE_SHA1": "c0ffee",
    "CIRCLE_BRANCH": "main",
    "CIRCLE_PROJECT_USERNAME": "acme",
    "CIRCLE_PROJECT_REPONAME": "shop",
    "CIRCLE_BUILD_URL": "https://circleci.com/gh/acme/shop/8",
    "CIRCLE_WORKFLOW_ID": "w-1",
    "CIRCLE_BUILD_NUM": "8",
}
BITBUCKET = {
    "CI": "true",
    "BITBUCKET_BUILD_NUMBER": "6",
    "BITBUCKET_STEP_TRIGGERER_UUID": "{a-1}",
    "BITBUCKET_COMMIT": "c0ffee",
    "BITBUCKET_BRANCH": "main",
    "BITBUCKET_REPO_FULL_NAME": "acme/shop",
}


class TestCIContext:
    def test_leaves_out_what_is_unknown(self) -> None:
        """The data holds the known facts and no nulls."""
        context = CIContext("github", actor="alice")

        data = context.to_data()

        assert data == {"system": "github", "actor": "alice"}

    def test_data_is_json_in_order(self) -> None:
        """Everything known goes into the data, in the order of the fields."""
        context = CIContext("s", "a", "c", "r", "p", "u", "i", "e")

        text = json.dumps(context.to_data())

        assert list(json.loads(text).items()) == [
            ("system", "s"),
            ("actor", "a"),
            ("commit", "c"),
            ("ref", "r"),
            ("repository", "p"),
            ("run_url", "u"),
            ("run_id", "i"),
            ("event", "e"),
        ]

    def test_is_frozen(self) -> None:
        """A context does not change once it is known."""
        context = CIContext("github")

        with pytest.raises(AttributeError):
            context.actor = "mallory"  # pyright: ignore[reportAttributeAccessIssue]


class TestDetectCI:
    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            pytest.param(
                GITHUB,
                CIContext(
                    system="github",
                    actor="bob",
                    commit="c0ffee",
                    ref="main",
                    repository="acme/shop",
                    run_url="https://github.com/acme/shop/actions/runs/77/attempts/2",
                    run_id="77-2",
                    event="push",
                ),
                id="github",
            ),
            pytest.param(
                GITLAB,
                CIContext(
                    system="gitlab",
                    actor="alice",
                    commit="c0ffee",
                    ref="main",
                    repository="acme/shop",
                    run_url="https://gitlab.example/acme/shop/-/jobs/9",
                    run_id="5/9",
                    event="merge_request_event",
                ),
                id="gitlab",
            ),
            pytest.param(
                JENKINS,
                CIContext(
                    system="jenkins",
                    actor="alice",
                    commit="c0ffee",
                    ref="main",
                    repository="https://git.example/acme/shop.git",
                    run_url="https://ci.example/job/shop/3/",
                    run_id="shop/main#3",
                ),
                id="jenkins",
            ),
            pytest.param(
                AZURE,
                CIContext(
                    system="azure",
                    actor="alice@example.com",
                    commit="c0ffee",
                    ref="feature/x",
                    repository="shop",
                    run_url="https://dev.azure.com/acme/shop/_build/results?buildId=12",
                    run_id="12",
                    event="Manual",
                ),
                id="azure",
            ),
            pytest.param(
                BUILDKITE,
                CIContext(
                    system="buildkite",
                    actor="alice@example.com",
                    commit="c0ffee",
                    ref="main",
                    repository="git@github.com:acme/shop.git",
                    run_url="https://buildkite.com/acme/shop/builds/4#j-1",
                    run_id="b-4/j-1",
                    event="webhook",
                ),
                id="buildkite",
            ),
            pytest.param(
                CIRCLECI,
                CIContext(
                    system="circleci",
                    actor="alice",
                    commit="c0ffee",
                    ref="main",
                    repository="acme/shop",
                    run_url="https://circleci.com/gh/acme/shop/8",
                    run_id="w-1/8",
                ),
                id="circleci",
            ),
            pytest.param(
                BITBUCKET,
                CIContext(
                    system="bitbucket",
                    actor="{a-1}",
                    commit="c0ffee",
                    ref="main",
                    repository="acme/shop",
                    run_url="https://bitbucket.org/acme/shop/pipelines/results/6",
                    run_id="6",
                ),
                id="bitbucket",
            ),
            pytest.param({"CI": "true"}, CIContext(system="unknown"), id="bare"),
        ],
    )
    def test_reads_each_system(self, environ: dict[str, str], expected: CIContext) -> None:
        """Each system's variables end up under the same names."""
        context = detect_ci(environ)

        assert context == expected

    @pytest.mark.parametrize(
        "environ",
        [{}, {"CI": ""}, {"CI": "false"}, {"CI": "0"}, {"GITHUB_ACTIONS": "False"}, {"PATH": "/"}],
    )
    def test_none_outside_ci(self, environ: dict[str, str]) -> None:
        """A marker that is missing, blank or off is no CI."""
        context = detect_ci(environ)

        assert context is None

    def test_earlier_system_wins(self) -> None:
        """Where two systems leave their marks, the order of the list decides."""
        context = detect_ci({**BITBUCKET, **GITLAB, **GITHUB})

        assert context is not None
        assert context.system == "github"

    def test_falls_back(self) -> None:
        """A missing variable gives way to the next that says the same."""
        names = ("GITHUB_TRIGGERING_ACTOR", "GITHUB_RUN_ATTEMPT")
        environ = {name: value for name, value in GITHUB.items() if name not in names}

        context = detect_ci(environ)

        assert context is not None
        assert (context.actor, context.run_id) == ("alice", "77")
        assert context.run_url == "https://github.com/acme/shop/actions/runs/77"

    def test_missing_facts_are_none(self) -> None:
        """A system that says nothing more leaves everything else unknown."""
        context = detect_ci({"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "  "})

        assert context == CIContext(system="github")

    def test_reads_tags(self) -> None:
        """A tag's ref is the tag's name."""
        context = detect_ci({**AZURE, "BUILD_SOURCEBRANCH": "refs/tags/v2"})

        assert context is not None
        assert context.ref == "v2"

    @pytest.mark.parametrize(
        "userinfo", ["bot:hunter22", "hunter22", "bot:hun#ter?22", "a:b@hunter22"]
    )
    def test_drops_credentials(self, userinfo: str) -> None:
        """Credentials in an address never reach the record."""
        environ = {**JENKINS, "GIT_URL": f"https://{userinfo}@git.example/acme/shop.git"}

        context = detect_ci(environ)

        assert context is not None
        assert context.repository == "https://git.example/acme/shop.git"

    def test_tames_hostile_values(self) -> None:
        """What an outsider may choose, such as a branch name, is printable and bounded."""
        environ = {**GITHUB, "GITHUB_REF_NAME": "a\n::error::\x1b[31m", "GITHUB_SHA": "f" * 5_000}

        context = detect_ci(environ)

        assert context is not None
        assert context.ref == "a\ufffd::error::\ufffd[31m"
        assert context.commit == "f" * 1_000

    def test_reads_only_what_it_is_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment of this process plays no part."""
        monkeypatch.setenv("GITHUB_ACTIONS", "true")

        context = detect_ci({})

        assert context is None


class TestInitiator:
    def test_data(self) -> None:
        """The data says who, and who says so."""
        initiator = Initiator("alice", "given")

        data = initiator.to_data()

        assert data == {"id": "alice", "source": "given"}

    def test_is_frozen(self) -> None:
        """An initiator does not change."""
        initiator = Initiator("alice", "given")

        with pytest.raises(AttributeError):
            initiator.id = "mallory"  # pyright: ignore[reportAttributeAccessIssue]


class TestDetectInitiator:
    def test_given_wins(self) -> None:
        """A name that the caller gave is taken, whatever CI says."""
        initiator = detect_initiator(" alice@example.com ", GITHUB, os_user=lambda: "root@box")

        assert initiator == Initiator("alice@example.com", "given")

    def test_ci_before_os(self) -> None:
        """Without a given name, the actor of the CI job is asked before the system."""
        initiator = detect_initiator(None, GITHUB, os_user=lambda: "root@box")

        assert initiator == Initiator("bob", "ci")

    @pytest.mark.parametrize("environ", [{}, {"CI": "true"}])
    def test_os_at_last(self, environ: dict[str, str]) -> None:
        """Outside of CI, or where CI names nobody, it is the user of the system."""
        initiator = detect_initiator(None, environ, os_user=lambda: "deploy@box")

        assert initiator == Initiator("deploy@box", "os")

    @pytest.mark.parametrize(
        "given",
        ["", "  ", 7, True, b"alice", "a\nb", "a\x00b", "a\u202eb", "a\ud800", "x" * 201],
        ids=ascii,
    )
    def test_refuses_what_names_nobody(self, given: object) -> None:
        """A name that is blank, no text, too long or not printable is refused, and shown escaped."""
        with pytest.raises(DefinitionError, match=r"initiator: .*does not name anybody") as caught:
            detect_initiator(given, {}, os_user=lambda: "x@y")  # pyright: ignore[reportArgumentType]

        assert str(caught.value).isprintable()

    def test_longest_name(self) -> None:
        """Two hundred characters are still a name."""
        initiator = detect_initiator("x" * 200, {})

        assert initiator.id == "x" * 200

    def test_found_names_are_tamed(self) -> None:
        """A name that was found is never a reason to refuse the run: it is cut and cleaned."""
        by_ci = detect_initiator(None, {**GITHUB, "GITHUB_TRIGGERING_ACTOR": "b" * 300})
        by_os = detect_initiator(None, {}, os_user=lambda: "c\n" + "d" * 300)

        assert by_ci.id == "b" * 200
        assert by_os.id == "c\ufffd" + "d" * 198

    def test_default_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As it comes, the system's user is named with the host."""
        monkeypatch.setattr(getpass, "getuser", lambda: "deploy")
        monkeypatch.setattr(socket, "gethostname", lambda: "box")

        initiator = detect_initiator(None, {})

        assert initiator == Initiator("deploy@box", "os")

    @pytest.mark.parametrize("error", [KeyError, OSError, ImportError])
    def test_user_without_name(
        self, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        """In a container whose user has no name, the number stands in."""

        def getuser() -> str:
            raise error

        monkeypatch.setattr(getpass, "getuser", getuser)
        monkeypatch.setattr(os, "getuid", lambda: 1000)

        initiator = detect_initiator(None, {})

        assert re.fullmatch("uid-1000@.*", initiator.id)
