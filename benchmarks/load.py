"""Does the starter hold its limits, whatever happens? Fifty clients with a thousand starts each.

    .venv/bin/python -m benchmarks.load
    .venv/bin/python -m benchmarks.load --clients 20 --starts 100 --seed 7

Renders a project, installs its tools, and runs ``clients.py`` in it, which says what is asked for
and what has to hold. The exit status is 1 if something does not. Needs python3.13 on the PATH; the
whole run takes about a quarter of an hour on two idle processors, most of it in moto.
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
    options = parser.parse_args()
    if bench.PYTHON is None:
        sys.exit("there is no python3.13 on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for command, cwd in bench.setup(work):
            bench.timed(command, cwd)
        numbers = map(str, (options.clients, options.starts, options.seed))
        run = subprocess.run(
            [str(bench.python(work)), str(bench.ROOT / "benchmarks" / "clients.py"), *numbers],
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
