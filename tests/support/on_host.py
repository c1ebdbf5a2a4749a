"""What a host is told by ssh: start, stop and list versions, each a file of its own.

python on_host.py DIRECTORY start VERSION | stop VERSION | list
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    place, verb, *rest = sys.argv[1:]
    running = Path(place)
    running.mkdir(parents=True, exist_ok=True)
    match verb, rest:
        case "start", [version]:
            (running / version).touch()
        case "stop", [version]:
            (running / version).unlink(missing_ok=True)
        case "list", []:
            sys.stdout.write("".join(f"{one.name}\n" for one in running.iterdir()))
        case _:
            sys.exit(f"on_host: cannot {verb} {rest}")


if __name__ == "__main__":
    main()
