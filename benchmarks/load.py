"""Does the starter hold its limits, whatever happens? Fifty clients with a thousand starts each.

    .venv/bin/python -m benchmarks.load
    .venv/bin/python -m benchmarks.load --clients 20 --starts 100 --seed 7
    .venv/bin/python -m benchmarks.load --starts 100 tenancy=isolated fan_out=yes
    .venv/bin/python -m benchmarks.load --http --starts 20

Renders a project of these answers, installs its tools, and runs ``clients.py`` in it, or ``--http``
``front_door.py``; each says what is asked for and what has to hold. The exit status is 1 if
something does not. Needs python3.13 on the PATH. docs/performance.md has the last figures: two
hundred starts each take four minutes, a thousand most of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import bench


def main() -> int:
    """Run it, and print what came of it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load")
    parser.add_argument("--clients", type=int, default=50, help="threads")
    parser.add_argument("--starts", type=int, default=1_000, help="of each client")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the requests")
    parser.add_argument("--http", action="store_true", help="through the API, with approvals")
    parser.add_argument("answers", nargs="*", help="to the template's questions: name=value")
    options = parser.parse_args()
    if bench.PYTHON is None:
        sys.exit("there is no python3.13 on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for command, cwd in bench.setup(work, *options.answers):
            bench.timed(command, cwd)
        numbers = map(str, (options.clients, options.starts, options.seed))
        script = bench.ROOT / "benchmarks" / ("front_door.py" if options.http else "clients.py")
        run = subprocess.run(
            [str(bench.python(work)), str(script), *numbers],
            cwd=bench.project(work),
            env={**os.environ, "PYTHONPATH": ".:src"},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    print(run.stdout, end="")
    return 1 if json.loads(run.stdout)["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
