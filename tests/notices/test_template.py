"""Templates: what they may say, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflow.errors import DefinitionError
from pyflow.notices.template import VARIABLES, Template


class TestRender:
    def test_fills(self) -> None:
        """Variables are replaced, in both spellings, and $$ is a dollar sign."""
        template = Template("$workflow: ${headline}", "Costs $$5\nBy $initiator")

        made = template.render({"workflow": "shop", "headline": "started", "initiator": "ada"})

        assert made == ("shop: started", "Costs $5\nBy ada")

    def test_empty_lines(self) -> None:
        """A line whose variables are all empty is left out; one without variables stays."""
        template = Template("x", "Hello\nWhy: $reason\n\n$task or $reason")

        assert template.render({"task": "a"})[1] == "Hello\n\na or"

    def test_parameter(self) -> None:
        """A parameter goes by its name; one that the run lacks is empty."""
        template = Template("$param_version", "$param_other")

        assert template.render({"param_version": "2.3.1"}) == ("2.3.1", "")

    @given(st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.text(max_size=30)))
    def test_values_are_no_templates(self, values: dict[str, str]) -> None:
        """Whatever stands in a value is put in as it is, and a title is one line."""
        title, text = Template("$workflow", "<$reason>").render(values)

        assert title == " ".join(values.get("workflow", "").split())
        assert text in ("", f"<{values.get('reason', '')}>".strip())


class TestChecks:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"title": "$x"}, "does not exist"),
            ({"title": "$initator"}, r"did you mean \$initiator"),
            ({"text": "$"}, "begins no variable"),
            ({"text": "100 $ or"}, "begins no variable"),
            ({"text": "${x.__class__}"}, "begins no variable"),
            ({"text": "${workflow"}, "begins no variable"),
            ({"text": "$param_"}, "does not exist"),
            ({"text": "x" * 10_001}, "at most 10,000"),
            ({"title": ""}, "must be text"),
            ({"title": "a\nb"}, "several lines"),
            ({"title": 7}, "must be text"),
            ({"title": "$x", "text": "$y"}, "2 problems"),
        ],
    )
    def test_refused(self, options: Any, words: str) -> None:
        """What cannot be filled in is refused when the template is made, all of it at once."""
        with pytest.raises(DefinitionError, match=words):
            Template(**options)

    @pytest.mark.parametrize("text", ["{0.__class__}", "%(x)s", "{workflow!r:>9999999}", "{{}}"])
    def test_no_other_language(self, text: str) -> None:
        """Nothing but string.Template is spoken."""
        assert Template("x", text).render({"workflow": "shop"})[1] == text
