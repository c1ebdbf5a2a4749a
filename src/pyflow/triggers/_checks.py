"""What triggers check: names that end up in paths, refs, inputs, and where the service is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from pyflow.errors import DefinitionError, refuse, shown
from pyflow.net.url import parse_url
from pyflow.secrets import Secret

__all__ = [
    "base_url_problems",
    "path_problems",
    "ref_problems",
    "refuse",
    "token_problems",
    "values_problems",
    "words_problems",
]

REF_CHARS_MAX = 250
SEGMENT_CHARS_MAX = 255
VALUES_CHARS_MAX = 65_535
BAD_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,254}")


def ref_problems(ref: object) -> list[str]:
    """Return what is wrong with *ref* as a branch or a tag, by the rules of git-check-ref-format."""
    if (
        isinstance(ref, str)
        and 1 <= len(ref) <= REF_CHARS_MAX
        and ref.isprintable()
        and not BAD_IN_REF.search(ref)
        and not ref.startswith(("-", "/", "."))
        and not ref.endswith(("/", "."))
        and ref != "@"
    ):
        return []
    rule = f"1 to {REF_CHARS_MAX} characters, without spaces, control characters, '..' and ~^:?*[\\"
    return [f"ref={shown(ref)} is no branch or tag that git allows: {rule}"]


def path_problems(name: str, path: object, *, segment: re.Pattern[str], least: int) -> list[str]:
    """Return what is wrong with *path* as *least* or more segments, none of which leads elsewhere."""
    if isinstance(path, str) and len(path) <= 1_000:
        segments = path.split("/")
        if len(segments) >= least and all(
            segment.fullmatch(one) and one not in (".", "..") and len(one) <= SEGMENT_CHARS_MAX
            for one in segments
        ):
            return []
    return [
        f"{name}={shown(path)} is not such a name; give it without slashes around and without '..'"
    ]


def values_problems(name: str, values: object, *, most: int, reserved: str | None) -> list[str]:
    """Return what is wrong with *values* as names and texts that are handed to a pipeline."""
    if not isinstance(values, Mapping):
        return [f"{name}={shown(values)} must be a dict of names and texts"]
    given = cast("Mapping[Any, Any]", values)
    problems = [
        f"{name}: {shown(key)} is not the name of an input"
        for key in given
        if not (isinstance(key, str) and NAME.fullmatch(key))
    ]
    for key, value in given.items():
        if not isinstance(value, str) or "\0" in value:
            kind = "a Secret" if isinstance(value, Secret) else f"a {type(value).__name__}"
            problems.append(
                f"{name}: {shown(key)} is {kind} or holds a NUL; give text, as from str(...), and "
                "keep secrets in the CI system's own store"
            )
    if reserved is not None and reserved in given:
        problems.append(f"{name}: {reserved!r} is where the correlation id goes; leave it out")
    if len(given) + (reserved is not None) > most:
        problems.append(f"{name}: {len(given)} is too many; the service takes {most} in all")
    if not problems and sum(len(k) + len(v) for k, v in given.items()) > VALUES_CHARS_MAX:
        problems.append(f"{name}: more than {VALUES_CHARS_MAX:,} characters")
    return problems


def base_url_problems(url: object) -> list[str]:
    """Return what is wrong with *url* as the place where a service is."""
    try:
        target = parse_url(url)  # type: ignore[arg-type]
    except DefinitionError as error:
        return [f"base_url=: {error}"]
    if "?" in target.path or "#" in str(url) or ".." in target.path.split("/"):
        return ["base_url= holds a query, a fragment or '..'; give scheme, host and path alone"]
    return []


def token_problems(name: str, token: object) -> list[str]:
    """Return what is wrong with *token* as a credential, without showing it."""
    if isinstance(token, Secret):
        return []
    return [f"{name}= is a {type(token).__name__}; give a Secret, as from Secret.from_env(...)"]


def words_problems(name: str, words: object) -> list[str]:
    """Return what is wrong with *words* as one or more words for a good end."""
    given = cast("tuple[Any, ...]", words) if isinstance(words, tuple) else ()
    if given and all(isinstance(one, str) and one for one in given):
        return []
    return [f'{name}={shown(cast("object", words))} must be a tuple of words such as ("success",)']
