"""A command-line tool of somebody else's: instances and weights in a JSON file.

python tools.py FILE show | scale VERSION N | weights | route '{"1.0": 100}' | broken | nonsense
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    file, verb, *rest = sys.argv[1:]
    state = json.loads(Path(file).read_text())
    match verb, rest:
        case "show", []:
            rows = [
                {"id": f"{version}-{number}", "version": version, "ready": True}
                for version, count in state["instances"].items()
                for number in range(count)
            ]
            sys.stdout.write(json.dumps(rows))
        case "scale", [version, count]:
            state["instances"][version] = int(count)
        case "weights", []:
            sys.stdout.write(json.dumps(state["weights"]))
        case "route", [weights]:
            state["weights"] = json.loads(weights)
        case "nonsense", []:
            sys.stdout.write("all is well")
        case _:
            sys.exit(f"tools: no permission to {verb}")
    Path(file).write_text(json.dumps(state))


if __name__ == "__main__":
    main()
