"""`check` and `plan`: what is told of a workflow, and of one that is wrong or not there."""

from __future__ import annotations

import pytest

from support.command_line import CommandLine


class TestCheck:
    def test_says_that_nothing_is_wrong(self, cli: CommandLine) -> None:
        """A sound workflow passes, and nothing of it is run or recorded."""
        said = cli("check", "deploy.py:release")

        assert (said.code, said.out) == (0, "release: nothing is wrong with it\n")
        assert not (cli.directory / "deploys.db").exists()

    def test_names_every_problem(self, cli: CommandLine) -> None:
        """A workflow that is wrong ends with 2, and every problem is named."""
        (cli.directory / "bad.py").write_text(
            "import pyflow\nwf = pyflow.Workflow('w')\n"
            "wf.add_task('a', lambda: 1, depends_on=['b'])\n"
            "wf.add_task('c', lambda nothing: 1)\n"
        )

        said = cli("check", "bad.py", "--json")

        assert said.code == 2
        assert said.data["error"]["type"] == "DefinitionError"
        assert "2 problems" in said.data["error"]["message"]
        assert said.data["error"]["next"].startswith("mend it")

    def test_checks_parameters(self, cli: CommandLine) -> None:
        """With an environment or a parameter, all parameters are checked."""
        said = cli("check", "deploy.py:release", "--env", "production")

        assert said.code == 2
        assert "'version': no value was given" in said.err

    @pytest.mark.parametrize(
        ("place", "sentence"),
        [
            ("gone.py:release", "there is no file 'gone.py'"),
            ("deploy.py:relase", "deploy.py has no 'relase'; did you mean 'release'?"),
            ("deploy.py:number", "deploy.py has something else called 'number'"),
            ("deploy.py", "deploy.py has 3 workflows: release, asking, keeping"),
            ("no-module:release", "'no-module' names neither a file nor a module"),
            ("nowhere.at_all:release", "there is no module 'nowhere.at_all' here"),
            ("empty.py", "empty.py has no workflow"),
            ("broken.py", "broken.py cannot be imported: ZeroDivisionError"),
            ("syntax.py", "syntax.py cannot be imported: SyntaxError"),
            ("leaves.py", "leaves.py cannot be imported: SystemExit: 3"),
            ("needs.py", "needs.py cannot be imported: ModuleNotFoundError"),
            ("json.py", "json.py cannot be imported as 'json', because another module"),
            ("maker.py:make", "maker.py:make returns int, not a Workflow"),
            ("maker.py:ask", "maker.py:ask is a function that needs arguments"),
        ],
    )
    def test_refuses(self, cli: CommandLine, place: str, sentence: str) -> None:
        """What is no workflow is refused in one sentence, with a next step."""
        files = {
            "empty.py": "",
            "broken.py": "1 / 0",
            "syntax.py": "def",
            "leaves.py": "raise SystemExit(3)",
            "needs.py": "import nothing_of_that_name",
            "json.py": "",
            "maker.py": "def make(): return 3\ndef ask(version): ...",
        }
        for name, text in files.items():
            (cli.directory / name).write_text(text)

        said = cli("check", place)

        assert said.code == 2
        assert sentence in said.err
        assert "\n  next: " in said.err
        assert "Traceback" not in said.err


class TestPlan:
    def test_shows_the_order(self, cli: CommandLine) -> None:
        """People are shown what runs in which order, and what can be undone."""
        said = cli("plan", "deploy.py:release")

        assert "  1. before\n  2. deploy\n  3. announce\n" in said.out
        assert "deploy: has an undo" in said.out

    def test_is_data(self, cli: CommandLine) -> None:
        """Programs get stages, tasks and the fingerprint; a function will do as well."""
        plan = cli("plan", "deploy.py:make_release", "--json").data["plan"]

        assert plan["stages"] == [["before"], ["deploy"], ["announce"]]
        assert [task["has_undo"] for task in plan["tasks"]] == [False, True, False]
        assert len(plan["fingerprint"]) == 64
