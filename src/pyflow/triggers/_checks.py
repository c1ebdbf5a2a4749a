"""What triggers check: names that end up in paths, refs, inputs, and where the service is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from pyflow.errors import DefinitionError, refuse, shown
from pyflow.net.url import parse_url
from pyflow.secrets import Secret
from pyflow.triggers.watch import Watch

__all__ = [
    "base_url_problems",
    "path_problems",
    "ref_problems",
    "refuse",
    "token_problems",
    "values_problems",
    "watch_problems",
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


def path_problems(
    name: str, path: object, *, segment: re.Pattern[str], least: int, such_as: str
) -> list[str]:
    """Return what is wrong with *path* as *least* or more segments, none of which leads elsewhere."""
    if isinstance(path, str) and len(path) <= 1_000:
        segments = path.split("/")
        if len(segments) >= least and all(
            segment.fullmatch(one) and one not in (".", "..") and len(one) <= SEGMENT_CHARS_MAX
            for one in segments
        ):
            return []
    return [
        f"{name}={shown(path)} must be such as {such_as!r}, without slashes around and without '..'"
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
        if isinstance(value, Secret):
            problems.append(
                f"{name}: {shown(key)} is a Secret, which a pipeline would show to whoever may "
                "look at it; keep secrets in the CI system's own store"
            )
        elif not isinstance(value, str):
            kind = type(value).__name__
            problems.append(f"{name}: {shown(key)} is of type {kind}; give text, as from str(...)")
        elif "\0" in value:
            problems.append(f"{name}: {shown(key)} holds a NUL; leave it out")
    if reserved is not None and reserved in given:
        problems.append(f"{name}: {reserved!r} is where the correlation id goes; leave it out")
    if len(given) + (reserved is not None) > most:
        problems.append(f"{name}: {len(given)} is too many; the service takes {most} in all")
    if not problems and sum(len(k) + len(v) for k, v in given.items()) > VALUES_CHARS_MAX:
        problems.append(f"{name}: more than {VALUES_CHARS_MAX:,} characters")
    return problems


def base_url_problems(url: object, *, name: str = "base_url", added: str = "") -> list[str]:
    """Return what is wrong with *url* as the place where a service is; *added* comes behind it."""
    try:
        target = parse_url(url)  # type: ignore[arg-type]
    except DefinitionError as error:
        return [f"{name}=: {error}"]
    if "?" in target.path or "#" in str(url) or ".." in target.path.split("/"):
        return [f"{name}= holds a query, a fragment or '..'; give scheme, host and path alone"]
    if added and target.path.rstrip("/").endswith(added):
        return [f"{name}= ends in {added}, which is added to it; leave that out"]
    return []


def watch_problems(watch: object) -> list[str]:
    """Return what is wrong with *watch* as what says how long to wait, or None for the usual."""
    if watch is None or isinstance(watch, Watch):
        return []
    return [f'watch={shown(watch)} must be a Watch, such as Watch(timeout="30m")']


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
