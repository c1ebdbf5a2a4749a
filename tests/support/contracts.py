"""Read the report of a contract suite."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import pytest

Broken = tuple[type, Sequence[str]]
"""A class that breaks rules, and a part of the sentence of each, in the order of the report."""


def broken_rules(check: Callable[[], object]) -> list[str]:
    """Return the sentence of each rule that *check* finds broken."""
    with pytest.raises(AssertionError, match="broken rule") as caught:
        check()
    sentences = re.findall(r"^  \d+\. (.+)$", str(caught.value), re.MULTILINE)
    rules = "rule" if len(sentences) == 1 else "rules"
    assert str(caught.value).startswith(f"{len(sentences)} broken {rules}:")
    return sentences


def assert_breaks(check: Callable[[], object], parts: Sequence[str]) -> None:
    """Assert that *check* finds exactly the rules broken whose sentences hold *parts*."""
    found = broken_rules(check)
    assert len(found) == len(parts), found
    assert all(part in sentence for part, sentence in zip(parts, found, strict=True)), found


def never_broken(rules: Iterable[Callable[..., object]], broken: Iterable[Broken]) -> list[str]:
    """Return the rules that none of *broken* breaks."""
    parts = [part for _, sentences in broken for part in sentences]
    sentences = [rule.__doc__ or "" for rule in rules]
    return [sentence for sentence in sentences if not any(part in sentence for part in parts)]


def ids(value: object) -> str:
    """Name a case after the class that it is about."""
    return getattr(value, "__name__", "")
