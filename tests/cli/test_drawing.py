"""`graph`: a workflow in four forms, to stdout and to a file."""

from __future__ import annotations

import pytest

from support.command_line import CommandLine

BEGINNINGS = {
    "text": "1. before\n",
    "mermaid": "flowchart LR\n",
    "dot": "digraph {\n",
    "svg": "<svg ",
}


class TestGraph:
    @pytest.mark.parametrize("form", BEGINNINGS)
    def test_formats(self, cli: CommandLine, form: str) -> None:
        """Each form goes to stdout, and nothing else does."""
        said = cli("graph", "deploy.py:release", "--format", form)

        assert (said.code, said.err) == (0, "")
        assert said.out.startswith(BEGINNINGS[form])
        assert "announce" in said.out

    def test_is_text(self, cli: CommandLine) -> None:
        """Without a form it is what people read at once; a function will do as well."""
        assert cli("graph", "deploy.py:make_release").out == "1. before\n2. deploy\n3. announce\n"

    @pytest.mark.parametrize(
        ("words", "form"),
        [
            (["--out", "a.svg"], "svg"),
            (["--out", "a.SVG"], "svg"),
            (["--out", "a.dot"], "dot"),
            (["--out", "a.mmd"], "mermaid"),
            (["--out", "a"], "text"),
            (["--out", "a.svg", "--format", "dot"], "dot"),
        ],
    )
    def test_files(self, cli: CommandLine, words: list[str], form: str) -> None:
        """The name of a file says which form it has, unless that is said."""
        said = cli("graph", "deploy.py:release", *words)

        text = (cli.directory / words[1]).read_text()
        assert (said.code, said.out, said.err) == (0, "", f"wrote {words[1]}\n")
        assert text.startswith(BEGINNINGS[form])
        assert text.endswith("\n")

    def test_is_data(self, cli: CommandLine) -> None:
        """Programs get the text, or where the file is."""
        drawn = cli("graph", "deploy.py:release", "--json", "--format", "mermaid").data["graph"]
        kept = cli("graph", "deploy.py:release", "--json", "--out", "a.svg").data["graph"]

        assert drawn["text"].startswith("flowchart LR")
        assert (drawn["format"], drawn["file"]) == ("mermaid", None)
        assert (kept["text"], kept["file"], kept["workflow"]) == (None, "a.svg", "release")

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["deploy.py:relase"], "did you mean 'release'?"),
            (["deploy.py:release", "--format", "sgv"], "'sgv' is no FORMAT; did you mean 'svg'?"),
            (["deploy.py:release", "--out", "no/such/a.svg"], "cannot be written"),
            (["deploy.py:release", "--out", "."], "cannot be written"),
        ],
    )
    def test_refuses(self, cli: CommandLine, words: list[str], sentence: str) -> None:
        """What is wrong is said in one sentence, with a next step."""
        said = cli("graph", *words)

        assert said.code == 2
        assert sentence in said.err
        assert "\n  next: " in said.err
