"""As much of `gcloud` and `az` as rollouts call; scripted programs that keep a cloud in cloud.json.

python fake_clouds.py gcloud run services describe shop --region=… --format=json
python fake_clouds.py az containerapp revision list -n shop -g … -o json
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

State = dict[str, Any]
STATE = Path("cloud.json")


def install(place: Path) -> str:
    """Put `gcloud` and `az` into the directory *place*; return a PATH that begins with it."""
    place.mkdir(exist_ok=True)
    for name in ("gcloud", "az"):
        program = place / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {__file__} {name} "$@"\n')
        program.chmod(0o755)
    return f"{place}{os.pathsep}{os.environ['PATH']}"


def main() -> None:
    """Carry out one command, or end with 1 and say why."""
    name, *words = sys.argv[1:]
    revision = {"gcloud": "shop-1-0", "az": "shop--1-0"}[name]
    fresh = {"revisions": [revision], "active": [revision], "weights": {revision: 100}, "tags": {}}
    state: State = json.loads(STATE.read_text()) if STATE.exists() else fresh
    try:
        {"gcloud": gcloud, "az": az}[name](state, words)
    except LookupError as error:
        sys.exit(f"ERROR: ({name}) {error}")
    STATE.write_text(json.dumps(state))


def split(words: list[str]) -> tuple[str, dict[str, list[str]]]:
    """Return the words of a command, and its options with all of their values."""
    plain: list[str] = []
    options: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("-"):
            key, _, value = word.partition("=")
            options[key] = [value] if value else []
        elif options and words[0] == "containerapp":
            options[list(options)[-1]].append(word)
        else:
            plain.append(word)
    return " ".join(plain), options


def pairs(texts: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (text.rpartition("=") for text in texts)}


def assign(state: State, weights: dict[str, str]) -> None:
    """Set weights, as both do: of revisions that are there and active, and all together 100."""
    for revision, weight in weights.items():
        if revision not in state["revisions"] or revision not in state["active"]:
            raise LookupError(f"Revision {revision} is not found or not active")
        if not weight.isdecimal():
            raise LookupError(f"{weight} is not an integer")
    if sum(map(int, weights.values())) != 100:
        raise LookupError("The weights must sum to 100")
    state["weights"] = {revision: int(weight) for revision, weight in weights.items()}


def gcloud(state: State, words: list[str]) -> None:
    command, options = split(words)
    match command:
        case "run deploy shop":
            revision = f"shop-{options['--revision-suffix'][0]}"
            if revision in state["revisions"]:
                raise LookupError(f"Revision named {revision} already exists")
            state["revisions"].append(revision)
            state["active"].append(revision)
        case "run services update-traffic shop":
            for tag, revision in pairs(some(options, "--update-tags")).items():
                if revision not in state["revisions"]:
                    raise LookupError(f"Revision {revision} is not found")
                state["tags"][tag] = revision
            for tag in some(options, "--remove-tags"):
                state["tags"].pop(tag, None)
            if "--to-revisions" in options:
                assign(state, pairs(some(options, "--to-revisions")))
        case "run services describe shop":
            traffic: list[Any] = [
                {"revisionName": name, "percent": weight}
                for name, weight in state["weights"].items()
            ]
            traffic += [{"revisionName": r, "tag": tag} for tag, r in state["tags"].items()]
            sys.stdout.write(json.dumps({"status": {"traffic": traffic}}))
        case _:
            raise LookupError(f"Invalid choice: {command}")


def some(options: dict[str, list[str]], name: str) -> list[str]:
    return ",".join(options.get(name, [])).split(",") if options.get(name) else []


def az(state: State, words: list[str]) -> None:
    command, options = split(words)
    match command:
        case "containerapp update":
            revision = f"shop--{options['--revision-suffix'][0]}"
            if revision in state["revisions"]:
                raise LookupError(f"A revision with the name {revision} already exists")
            state["revisions"].append(revision)
            state["active"].append(revision)
        case "containerapp ingress traffic show":
            rows = [{"revisionName": n, "weight": w} for n, w in state["weights"].items()]
            sys.stdout.write(json.dumps(rows))
        case "containerapp ingress traffic set":
            assign(state, pairs(options["--revision-weight"]))
        case "containerapp revision list":
            sys.stdout.write(json.dumps([described(state, name) for name in state["active"]]))
        case "containerapp revision activate" | "containerapp revision deactivate":
            activate(state, options["--revision"][0], command.rpartition(" ")[2])
        case _:
            raise LookupError(f"'{command}' is misspelled or not recognized by the system")


def described(state: State, name: str) -> dict[str, Any]:
    """Return what is said of an active revision; others are not listed."""
    told = {"active": True, "healthState": "Healthy", "runningState": "Running", "replicas": 1}
    return {"name": name, "properties": {**told, "trafficWeight": state["weights"].get(name, 0)}}


def activate(state: State, name: str, how: str) -> None:
    if name not in state["revisions"]:
        raise LookupError(f"Revision {name} is not found")
    active: list[str] = state["active"]
    if how == "activate" and name not in active:
        active.append(name)
    if how == "deactivate" and name in active:
        if state["weights"].get(name):
            raise LookupError(f"Revision {name} receives traffic")
        active.remove(name)


if __name__ == "__main__":
    main()
