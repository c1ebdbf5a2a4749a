"""What a run says to its CI system, and that nobody else can say anything through it."""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path
from typing import Any

import pytest

import pyflow
from pyflow.ci import context, report
from pyflow.ci.files import DOTENV_BYTES_MAX, SUMMARY_BYTES_MAX, add_summary
from pyflow.errors import DefinitionError, SecretError
from pyflow.reports import summary, tell
from support.pipelines import Fixed

ENVIRON = {
    "github": {"GITHUB_ACTIONS": "true"},
    "gitlab": {"GITLAB_CI": "true"},
    "azure": {"TF_BUILD": "True"},
    "teamcity": {"TEAMCITY_VERSION": "2026.1"},
    "buildkite": {"BUILDKITE": "true"},
    "jenkins": {"JENKINS_URL": "https://ci.example/"},
    "none": {},
}
SECRET = "s3cr3t-value-of-ada"
HOSTILE = [
    "::error::boo", "  ::set-output name=x::y", "\n::add-mask::a\n", "\r::warning::x", "a\r\n::endgroup::",
    "##vso[task.complete result=Failed]", "x ##vso[task.setvariable variable=a]b", "##[endgroup]",
    "##teamcity[buildStop comment='x']", "--- folded", "+++ open", "\x1b[0Ksection_end:1:x\r\x1b[0K", "\u202eevil",
    "\ud800", "\x00", "\u2028::error::x",
]  # fmt: skip


class Told:
    """A report, and what it printed."""

    def __init__(self, system: str, **environ: str) -> None:
        self.out = io.StringIO()
        given = {**ENVIRON[system], **environ}
        self.report = report(given, out=self.out, clock=Fixed())

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().split("\n")[:-1]


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """Read a line as the runner of GitHub does: command, properties, message."""
    found = re.fullmatch(r"::([a-z-]+)(?: ([^:]*))?::(.*)", line)
    assert found is not None, line
    pairs = [part.partition("=") for part in (found[2] or "").split(",") if part]

    def plain(text: str, *, prop: bool) -> str:
        for char in ("\r", "\n", *(":," if prop else "")):
            text = text.replace(f"%{ord(char):02X}", char)
        return text.replace("%25", "%")

    properties = {name: plain(value, prop=True) for name, _, value in pairs}
    return found[1], properties, plain(found[3], prop=False)


class TestAnnotations:
    def test_github(self) -> None:
        """An annotation is one line, whatever it says, and reads back as it was."""
        told = Told("github")
        text = "100% of it, a:b\nand a second line %0A"

        assert told.report.error(text, file="a,b:c.py", line=7, title="x: y, z")

        [line] = told.lines
        want = {"file": "a,b:c.py", "line": "7", "title": "x: y, z"}
        assert parsed(line) == ("error", want, text)

    def test_limit(self) -> None:
        """What GitHub would not show goes to the log."""
        told = Told("github")

        made = [told.report.warning(f"w{n}") for n in range(12)]

        assert made == [True] * 10 + [False] * 2
        assert told.lines[-1] == "warning: w11"
        assert told.report.error("another level has its own ten")

    @pytest.mark.parametrize(
        ("system", "line"),
        [
            (
                "azure",
                "##vso[task.logissue type=error;sourcepath=a%3Bb.py;linenumber=7;]t: one%0Atwo %AZP25",
            ),
            ("teamcity", "##teamcity[message text='t: one|ntwo %' status='ERROR']"),
            ("jenkins", "a;b.py:7: error: t: one\ntwo %"),
            ("none", "a;b.py:7: error: t: one\ntwo %"),
        ],
    )
    def test_cousins(self, system: str, line: str) -> None:
        """Other systems get it in their own form, or in the log."""
        told = Told(system)

        told.report.error("one\ntwo %", title="t", file="a;b.py", line=7)

        assert told.out.getvalue() == line + "\n"

    @pytest.mark.parametrize("options", [{"level": "fatal"}, {"level": "error", "line": -1}])
    def test_refused(self, options: dict[str, Any]) -> None:
        """A level that nobody knows is refused."""
        with pytest.raises(DefinitionError):
            Told("github").report.annotate("x", **options)


class TestHostile:
    @pytest.mark.parametrize("system", ENVIRON)
    @pytest.mark.parametrize("text", HOSTILE)
    def test_is_no_command(self, system: str, text: str) -> None:
        """Text of others gives no command, through whatever it is said."""
        told = Told(system)
        told.report.log(text)
        told.report.error(text, title=text, file=text)
        with told.report.group(text):
            pass

        allowed = {
            "github": r"::(stop-commands::[0-9a-f]{32}|[0-9a-f]{32}::|error( |::)|group::|endgroup::)",
            "azure": r"##vso\[task\.logissue |##\[(end)?group\]",
            "teamcity": r"##teamcity\[(message|blockOpened|blockClosed) ",
            "buildkite": "--- ",
            "gitlab": "\x1b\\[0Ksection_(start|end):",
        }.get(system, "(?!)")
        for line in re.split(r"[\n\r]", told.out.getvalue()):
            if re.match(r"\s*(::|##\[|--- |\+\+\+ )|.*##(vso|teamcity)\[", line):
                assert re.match(allowed, line), line
            assert "\x1b" not in line or system == "gitlab"
            assert "\u202e" not in line
            assert "\x00" not in line

    def test_token_is_new(self) -> None:
        """The token that ends a stop of commands is another one each time."""
        told = Told("github")
        told.report.log("a")
        told.report.log("a")

        assert told.lines[0] != told.lines[3]


class TestMasks:
    def test_github(self) -> None:
        """Each line of a secret is masked by itself, but for those that are everywhere."""
        told = Told("github")
        key = "{\n-----BEGIN KEY-----\nMIIBkDCCATegAwIBAg\n}"

        assert told.report.mask(pyflow.Secret(key, name="key"))

        masked = [parsed(line)[2] for line in told.lines]
        assert masked == [key, "-----BEGIN KEY-----", "MIIBkDCCATegAwIBAg"]

    @pytest.mark.parametrize("system", ENVIRON)
    def test_what_is_printed(self, system: str, tmp_path: Path) -> None:
        """From then on nothing that is printed or written holds it, in any form."""
        told = Told(system, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
        told.report.mask(SECRET)
        told.out.truncate(0)
        told.report.log(f"token={SECRET}")
        told.report.error(SECRET, title=SECRET, file=SECRET)
        told.report.summary(f"It is {SECRET}, or {SECRET.encode().hex()}.")
        with told.report.group(SECRET):
            pass

        summary_file = tmp_path / "summary.md"
        text = told.out.getvalue() + (summary_file.read_text() if summary_file.exists() else "")
        assert SECRET not in text
        assert SECRET.encode().hex() not in text
        assert "***" in text

    @pytest.mark.parametrize("system", ["jenkins", "gitlab", "none"])
    def test_never_printed(self, system: str) -> None:
        """Where the log cannot be masked, the secret is not printed to mask it."""
        told = Told(system)

        assert told.report.mask(SECRET) is False
        assert told.out.getvalue() == ""

    def test_several(self) -> None:
        """Several are masked in one call."""
        told = Told("github")

        assert told.report.mask(pyflow.Secret(SECRET), "another-t0ken")

        assert [parsed(line)[2] for line in told.lines] == [SECRET, "another-t0ken"]

    def test_weak(self) -> None:
        """A value that is everywhere is refused, and not printed either."""
        told = Told("github")

        with pytest.raises(SecretError):
            told.report.mask("abc")
        assert told.out.getvalue() == ""


class TestOutputs:
    def test_github(self, tmp_path: Path) -> None:
        """An output of several lines reads back, and cannot begin another one."""
        file = tmp_path / "out"
        told = Told("github", GITHUB_OUTPUT=str(file))
        value = "one\nEOF\nother<<EOF\ntwo"

        assert told.report.output("text", value)
        assert told.report.output("next", "x")

        assert outputs(file.read_text()) == {"text": value, "next": "x"}

    def test_random(self, tmp_path: Path) -> None:
        """The delimiter is another one each time."""
        file = tmp_path / "out"
        told = Told("github", GITHUB_OUTPUT=str(file))
        told.report.output("a", "x")
        told.report.output("a", "x")

        first, second = re.findall(r"<<(\w+)", file.read_text())
        assert first != second
        assert len(first) >= 32

    @pytest.mark.parametrize("name", ["", "a b", "a\n", "a<<b", "1a", "a=b", "ä", "x" * 101, None])
    def test_bad_name(self, name: Any, tmp_path: Path) -> None:
        """A name that could end itself is refused."""
        with pytest.raises(DefinitionError):
            Told("github", GITHUB_OUTPUT=str(tmp_path / "o")).report.output(name, "x")

    @pytest.mark.parametrize("value", ["a\0", 7, None, "x" * 1_048_577])
    def test_bad_value(self, value: Any) -> None:
        """So is a value that no system takes."""
        with pytest.raises(DefinitionError):
            Told("azure").report.output("a", value)

    def test_secret(self, tmp_path: Path) -> None:
        """A masked secret is no output: GitHub would drop it, and others would show it."""
        told = Told("github", GITHUB_OUTPUT=str(tmp_path / "o"))
        told.report.mask(SECRET)

        with pytest.raises(SecretError):
            told.report.output("a", f"x {SECRET}")

    def test_gitlab(self, tmp_path: Path) -> None:
        """GitLab gets a line of a dotenv report, as long as there is room."""
        file = tmp_path / "deploy.env"
        made = report({"GITLAB_CI": "true"}, out=io.StringIO(), dotenv=file)

        assert made.output("RUN_ID", "7")
        assert not made.output("BIG", "x" * DOTENV_BYTES_MAX)
        with pytest.raises(DefinitionError):
            made.output("a", "one\ntwo")
        assert file.read_text() == "RUN_ID=7\n"

    def test_cousins(self) -> None:
        """Azure and TeamCity get a variable, and others have no place for it."""
        azure, teamcity = Told("azure"), Told("teamcity")
        azure.report.output("a", "1;2]")
        teamcity.report.output("a", "it's [é]")

        assert azure.lines == ["##vso[task.setvariable variable=a;isOutput=true;]1;2]"]
        assert teamcity.lines == ["##teamcity[setParameter name='a' value='it|'s |[|0x00e9|]']"]
        assert not Told("jenkins").report.output("a", "1")
        assert not Told("github").report.output("a", "1")  # a step without the file


class TestGroups:
    def test_gitlab(self) -> None:
        """Sections of GitLab begin and end with one name, which tells them apart."""
        told = Told("gitlab")
        for _ in range(2):
            with told.report.group("Deploy"):
                told.report.log("x")

        at_s = int(Fixed().now().timestamp())
        text = told.out.getvalue()
        assert f"\x1b[0Ksection_start:{at_s}:pyflow_1[collapsed=true]\r\x1b[0KDeploy\n" in text
        assert f"\x1b[0Ksection_end:{at_s}:pyflow_1\r\x1b[0K\n" in text
        assert f"section_end:{at_s}:pyflow_2" in text

    def test_ends_after_all(self) -> None:
        """A group ends though its block raises."""
        told = Told("github")

        with pytest.raises(OSError), told.report.group("x"):
            raise OSError

        assert told.lines == ["::group::x", "::endgroup::"]


class TestSummary:
    def test_limit(self, tmp_path: Path) -> None:
        """A summary has 1 MiB a step, whatever is added; what has no room is cut at a line."""
        file = tmp_path / "s.md"
        told = Told("github", GITHUB_STEP_SUMMARY=str(file))

        assert told.report.summary("a" * 500_000)
        assert not told.report.summary("\n".join(["é" * 1_000] * 500))
        told.report.summary("\n".join(["more"] * 10_000))

        data = file.read_bytes()
        assert len(data) <= SUMMARY_BYTES_MAX
        data.decode()
        assert "cut here" in data.decode()

    def test_fence(self, tmp_path: Path) -> None:
        """A cut leaves no fence open, which would swallow what comes after."""
        file = tmp_path / "s.md"
        add_summary(file, "x" * 1_000_000 + "\n```\n" + "y\n" * 40_000 + "```\nend")

        assert file.read_text().count("```") % 2 == 0

    def test_elsewhere(self) -> None:
        """Where there is no summary, it is in the log."""
        told = Told("gitlab")

        assert not told.report.summary("## Done\n")
        assert "## Done" in told.out.getvalue()

    def test_run(self) -> None:
        """A summary says how a run ended, why, what is still applied, and draws the plan."""
        workflow = failing()
        plan = workflow.check()

        text = summary(pyflow.Engine().execute(workflow), plan=plan)

        assert text.startswith("## 🔥 shop: rollback failed\n")
        assert "OSError: no route" in text
        assert "**Still applied:**\n\n- deploy" in text
        assert "| deploy | undo_failed | 1 |" in text
        assert "```mermaid\nflowchart LR\n" in text
        assert "t0 --> t1" in text

    def test_hostile(self) -> None:
        """What tasks and people write is text in it, and nothing else."""
        workflow = pyflow.Workflow("w", on_failure="stop")
        evil = "<script>x</script> [a](http://evil.example) | @everyone `x` ![i](http://e.example/i)\n```\n# H"

        def fail() -> None:
            raise OSError(evil)

        workflow.add_task("a", fail)

        text = summary(pyflow.Engine().execute(workflow), plan=workflow.check())

        table = next(line for line in text.splitlines() if line.startswith("| a |"))
        assert "<script>" not in table
        assert "](http" not in table
        assert "http://" not in table
        assert "@everyone" not in table
        assert re.split(r"(?<!\\)\|", table)[1].strip() == "a"
        assert len(re.split(r"(?<!\\)\|", table)) == 7
        block = text.partition("**Why:**")[2].partition("| task")[0]
        assert all(line.startswith("    ") or not line for line in block.split("\n"))

    def test_tell(self, tmp_path: Path) -> None:
        """All of it in one call: summary, errors, outputs."""
        out, file = tmp_path / "out", tmp_path / "s.md"
        told = Told("github", GITHUB_OUTPUT=str(out), GITHUB_STEP_SUMMARY=str(file))
        result = pyflow.Engine().execute(failing())

        tell(told.report, result)

        assert outputs(out.read_text()) == {"run_id": result.run_id, "status": "rollback_failed"}
        assert "rollback failed" in file.read_text()
        titles = [parsed(line)[1]["title"] for line in told.lines]
        assert titles == ["shop: rollback_failed", "shop: deploy could not be taken back"]


class TestPrompts:
    def test_never(self) -> None:
        """Nothing in the library asks whoever sits at a terminal: in CI nobody does."""
        root = Path(pyflow.__file__).parent
        calls = [
            f"{path.relative_to(root)}:{node.lineno}"
            for path in root.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("input", "getpass.getpass", "sys.stdin.readline")
        ]

        assert calls == []


class TestContext:
    @pytest.mark.parametrize(
        ("environ", "system", "actor"),
        [
            ({"TEAMCITY_VERSION": "2026", "BUILD_VCS_NUMBER": "c0ffee"}, "teamcity", None),
            ({"CODEBUILD_BUILD_ID": "p:1", "CODEBUILD_INITIATOR": "ada"}, "codebuild", "ada"),
            ({"CI": "true", "DRONE": "true", "DRONE_BUILD_TRIGGER": "ada"}, "drone", "ada"),
            ({"CI": "woodpecker", "CI_COMMIT_AUTHOR": "ada"}, "woodpecker", "ada"),
            ({"CI": "true"}, "unknown", None),
        ],
    )
    def test_cousins(self, environ: dict[str, str], system: str, actor: str | None) -> None:
        """More systems are recognised, each by a variable of its own."""
        found = context(environ)

        assert found is not None
        assert (found.system, found.actor) == (system, actor)

    def test_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without variables, those of the process are looked at."""
        monkeypatch.setenv("GITHUB_ACTIONS", "true")

        found = context()

        assert found is not None
        assert found.system == "github"


def failing() -> pyflow.Workflow:
    """Return a workflow whose rollback fails."""

    def fail() -> None:
        raise OSError("no route")

    workflow = pyflow.Workflow("shop")
    workflow.add_task("deploy", lambda: None)
    workflow.add_task("check", fail, depends_on=["deploy"])
    workflow.add_recovery("deploy", fail)
    return workflow


def outputs(text: str) -> dict[str, str]:
    """Read a file of outputs as the runner of GitHub does."""
    found: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        name, _, delimiter = line.partition("<<")
        value: list[str] = []
        for one in lines:
            if one == delimiter:
                break
            value.append(one)
        found[name] = "\n".join(value)
    return found
