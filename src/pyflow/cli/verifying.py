"""`verify` and `anchor`: is the record what was written, and who remembers where it ended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyflow.cli.codes import INTEGRITY, Refusal
from pyflow.cli.journals import existing
from pyflow.cli.output import Answer
from pyflow.cli.parsing import add_journal, command
from pyflow.clock import SystemClock
from pyflow.record.archive.verifying import verify_archive
from pyflow.record.evidence.anchors import (
    Anchor,
    anchor_journal,
    anchors_in_text,
    append_anchor,
    read_anchors,
)
from pyflow.record.evidence.git import (
    BRANCH,
    anchors_in_git,
    anchors_in_tags,
    commit_anchor,
    tag_anchor,
)
from pyflow.record.evidence.keys import Key, make_key, read_key, write_key
from pyflow.record.evidence.verification import verify_journal, verify_trail

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from pyflow.cli.output import Output
    from pyflow.cli.parsing import Commands, Parser
    from pyflow.record.evidence.verification import Verification

__all__ = ["add"]


def add(commands: Commands, environ: Mapping[str, str]) -> None:
    """Add the commands."""
    _add_verify(commands, environ)
    _add_anchor(commands, environ)


def _add_verify(commands: Commands, environ: Mapping[str, str]) -> None:
    parser = command(
        commands,
        "verify",
        verify,
        does="read the whole journal, or a trail, and say whether it is what was written",
        example="""
        pyflow-deploy verify --journal deploys.db
        pyflow-deploy verify --anchors anchors.jsonl --key env:ANCHOR_KEY
        pyflow-deploy verify --anchor 20261127-101500-8f3a2b1c@11:4f1c...
        pyflow-deploy verify --trail trail.jsonl
        pyflow-deploy verify --archive archives/deploys-1-4210-34aa3a7a2266.jsonl.gz
        """,
        more="""
        Without an anchor that is kept elsewhere, it cannot tell when whole
        records were cut from the end together with the head, or when everything
        was made anew. What it cannot tell, it says.
        """,
    )
    add_journal(parser, environ)
    parser.add_argument(
        "--trail", metavar="FILE", help="a trail instead, as `show --jsonl` gives it"
    )
    parser.add_argument(
        "--archive", metavar="FILE", help="an archive instead, alone; see `archive`"
    )
    parser.add_argument(
        "--digest", metavar="SHA256", help="with --archive: what the journal calls it"
    )
    parser.add_argument(
        "--with",
        dest="archives",
        metavar="PLACE",
        action="append",
        default=[],
        help="an archive, or a directory of them, read in the place of what was archived",
    )
    parser.add_argument("--partial", action="store_true", help="with --trail: the run may go on")
    parser.add_argument(
        "--anchors", metavar="FILE", action="append", default=[], help="anchors, a line each"
    )
    parser.add_argument(
        "--anchor",
        metavar="TEXT",
        action="append",
        default=[],
        help="an anchor as a notice or a summary has it, or the line that `anchor` gives",
    )
    parser.add_argument(
        "--git", metavar="REPOSITORY", help="anchors on a branch of this repository"
    )
    parser.add_argument("--tags", metavar="REPOSITORY", help="anchors in tags of this repository")
    parser.add_argument(
        "--signed", action="store_true", help="with --tags: each has to be signed, as git trusts it"
    )
    _add_key(parser)


def _add_anchor(commands: Commands, environ: Mapping[str, str]) -> None:
    parser = command(
        commands,
        "anchor",
        anchor,
        does="remember where the journal ends, in a file or in git",
        example="""
        pyflow-deploy anchor --file /mnt/elsewhere/anchors.jsonl
        pyflow-deploy anchor --git . --sign
        pyflow-deploy anchor --new-key first.key
        """,
        more="""
        Without --file and --git the anchor goes to stdout, for a message or a
        summary. With --key-file the anchor is signed and the key moves on, so
        that the host cannot sign as of yesterday; keep the first key elsewhere.
        """,
    )
    add_journal(parser, environ)
    parser.add_argument("--file", metavar="FILE", help="add it to this file")
    parser.add_argument(
        "--git", metavar="REPOSITORY", help="commit it to a branch of this repository"
    )
    parser.add_argument(
        "--tag", action="store_true", help="with --git: tag HEAD with it, instead of a commit"
    )
    parser.add_argument("--sign", action="store_true", help="with --git: have git sign it")
    parser.add_argument("--new-key", metavar="FILE", help="make a key, and nothing else")
    parser.add_argument(
        "--key-file", metavar="FILE", help="sign with the key in this file, and move it on"
    )
    _add_key(parser)


def _add_key(parser: Parser) -> None:
    parser.add_argument(
        "--branch", metavar="NAME", default=BRANCH, help=f"with --git: the branch; {BRANCH}"
    )
    parser.add_argument(
        "--key", metavar="KEY", help="the key of anchors: env:VARIABLE or file:PATH"
    )


def verify(args: argparse.Namespace, _: Output) -> Answer:
    """Verify a journal or a trail."""
    key = _key(args.key)
    anchors = [one for file in args.anchors for one in _anchors_of(file)]
    anchors += [one for text in args.anchor for one in anchors_in_text(text)]
    if args.git is not None:
        anchors += anchors_in_git(args.git, branch=args.branch)
    if args.tags is not None:
        anchors += anchors_in_tags(args.tags, signed=args.signed)
    if args.archive is not None:
        found = verify_archive(args.archive, digest=args.digest, anchors=anchors, key=key)
    elif args.trail is not None:
        text = _bytes(args.trail, "a trail: pyflow-deploy show RUN --jsonl > FILE")
        found = verify_trail(text, anchors=anchors, key=key, complete=not args.partial)
    else:
        archives = [file for place in args.archives for file in _archives_in(place)]
        journal = existing(args.journal)
        found = verify_journal(journal, anchors=anchors, key=key, archives=archives)
    return Answer({"verification": _data(found)}, str(found), 0 if found.ok else INTEGRITY)


def anchor(args: argparse.Namespace, out: Output) -> Answer:
    """Make an anchor, or a key."""
    if args.new_key is not None:
        return _new_key(args.new_key)
    if (args.sign or args.tag) and args.git is None:
        raise Refusal("--sign and --tag are for git", "add --git REPOSITORY")
    if args.key is not None and args.key_file is not None:
        raise Refusal("--key and --key-file are two keys", "choose one of them")
    key = read_key(args.key_file) if args.key_file is not None else _key(args.key)
    made = anchor_journal(existing(args.journal), at=SystemClock().now(), key=key)
    if args.key_file is not None and key is not None:
        write_key(args.key_file, key.next())  # first: an anchor that is lost can be made again
    where = _kept(args, made)
    if where:
        out.tell(f"record {made.records} is anchored in {' and '.join(where)}")
    return Answer({"anchor": _anchor_data(made), "kept": where}, "" if where else made.to_line())


def _kept(args: argparse.Namespace, made: Anchor) -> list[str]:
    where: list[str] = []
    if args.file is not None:
        append_anchor(args.file, made)
        where.append(args.file)
    if args.tag:
        name = tag_anchor(args.git, made, sign=args.sign)
        where.append(f"tag {name} of {args.git}")
    elif args.git is not None:
        commit = commit_anchor(args.git, made, branch=args.branch, sign=args.sign)
        where.append(f"commit {commit[:12]} on {args.branch} of {args.git}")
    return where


def _new_key(file: str) -> Answer:
    if os.path.lexists(file):
        raise Refusal(f"{file!r} is there already", "name another file; a key is never overwritten")
    key = make_key()
    write_key(file, key)
    text = (
        f"made key {key.id} in {file}; keep this copy away from the host, and put another one "
        "there for --key-file"
    )
    return Answer({"key": {"id": key.id, "file": file}}, text, told=True)


def _key(text: str | None) -> Key | None:
    if text is None:
        return None
    kind, _, rest = text.partition(":")
    if kind == "file" and rest:
        return read_key(rest)
    if kind == "env" and rest:
        if not os.environ.get(rest):
            raise Refusal(
                f"the variable {rest} is not set", "set it to the key, as its file has it"
            )
        return Key.from_text(os.environ[rest])
    raise Refusal("--key is seen by everybody on the host", "write env:VARIABLE or file:PATH")


def _anchors_of(file: str) -> Sequence[Anchor]:
    text = _bytes(file, "anchors: pyflow-deploy anchor --file FILE")
    return read_anchors(text.decode("ascii", "backslashreplace").split("\n"))


def _archives_in(place: str) -> list[Path]:
    path = Path(place)
    return sorted(path.glob("*.jsonl.gz")) if path.is_dir() else [path]


def _bytes(file: str, what: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Refusal(
            f"{file!r} cannot be read: {error.strerror}", f"name a file with {what}"
        ) from None


def _anchor_data(made: Anchor) -> dict[str, Any]:
    return {
        "subject": made.subject,
        "records": made.records,
        "head": made.head,
        "at": made.at,
        "key_id": made.key_id,
        "line": made.to_line(),
    }


def _data(found: Verification) -> dict[str, Any]:
    bad = found.first_bad
    return {
        "subject": found.subject,
        "ok": found.ok,
        "verdict": found.verdict,
        "text": found.text,
        "records": found.records,
        "first_bad": None if bad is None else {"n": bad.n, "run": bad.run_id, "seq": bad.seq},
        "anchored": found.anchored,
        "archived": [
            {
                "archive": cut.archive,
                "digest": cut.digest,
                "records": cut.records,
                "upto": cut.upto,
                "runs": len(cut.runs),
                "at": cut.at,
                "by": cut.by,
            }
            for cut in found.archived
        ],
        "unseen": list(found.unseen),
        "findings": [
            {"kind": f.kind, "text": f.text, "n": f.n, "run": f.run_id, "seq": f.seq}
            for f in found.findings
        ],
    }
