"""What rendering, building, starting, testing and replaying take, and what is billed, in one run.

Ratios of medians; the machine is noisy, so the two sides of a ratio are measured in turns. Needs
python3.13 on the PATH, and takes six minutes: ``.venv/bin/python benchmarks/bench.py``; with
names of measures, only those: ``.venv/bin/python benchmarks/bench.py replay operations``.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from uv import find_uv_bin

ROOT = Path(__file__).parent.parent
HELLO = ROOT / "benchmarks" / "hello"
ROUNDS = 9
PYTHON = shutil.which("python3.13")


def main() -> None:
    """Measure what is asked for, or everything, and print a table in Markdown."""
    if PYTHON is None:
        sys.exit("there is no python3.13 on the PATH")
    names = sys.argv[1:] or list(MEASURES)
    if unknown := set(names) - set(MEASURES):
        sys.exit(f"there is no {', '.join(sorted(unknown))}, only {', '.join(MEASURES)}")
    with tempfile.TemporaryDirectory() as folder:
        print("| measure | ratio or number |\n|---|---|", flush=True)
        for name in names:
            MEASURES[name](Path(folder))


def render(work: Path) -> None:
    """The render, against the import of Cookiecutter, which every render begins with."""
    floor = [sys.executable, "-c", "import cookiecutter.main"]
    row("render, against the import of cookiecutter", ratio(rendering(work), floor))


def green(work: Path) -> None:
    """From nothing to green tests, with packages in uv's cache; and the tests alone."""
    steps = [*setup(work), ([str(python(work)), "-m", "pytest", "-q", "-n", "auto"], project(work))]
    seconds: list[list[float]] = []
    for _ in range(4):  # the first one fills the cache
        shutil.rmtree(project(work), ignore_errors=True)
        seconds.append([timed(command, cwd) for command, cwd in steps])
    warm = seconds[1:]
    row("`cookiecutter` to green tests, packages cached, in s", median(map(sum, warm)))
    row("the project's own tests, in s", median(times[-1] for times in warm))


def replay(work: Path) -> None:
    """What the handler needs to resume with a long history."""
    in_project(work, "replay.py")


def operations(work: Path) -> None:
    """What an execution is billed for, against the workflow that this one follows."""
    in_project(work, "operations.py")


def fan_out(work: Path) -> None:
    """What an input is billed for that is processed in chunks."""
    in_project(work / "fan-out", "fan_out.py", "fan_out=yes")


def artefacts(work: Path) -> None:
    """What is shipped, and what its cold start imports, against hello as SAM builds it."""
    sam = tool(work / "sam", "{{cookiecutter.project_slug}}/requirements/sam.txt") / "sam"
    timed(rendering(work))
    build(sam, work / "order-approvals")
    shutil.copytree(HELLO, work / "hello")
    build(sam, work / "hello")
    ours = work / "order-approvals/.aws-sam/build/WorkflowFunction"
    hello = work / "hello/.aws-sam/build/HelloFunction"
    sizes = [
        Path(shutil.make_archive(str(path.parent / path.name), "zip", path)).stat().st_size / 1e6
        for path in (ours, hello)
    ]
    row(f"zip of the artefact, {sizes[0]:.1f} MB, against hello", sizes[0] / sizes[1])
    commands = [
        [
            *(str(PYTHON), "-I", "-S", "-B", "-c"),
            f"import sys; sys.path.insert(0, {str(path)!r}); import {module}; "
            "import boto3; boto3.client('lambda', region_name='us-east-1')",
        ]
        for path, module in ((ours, "workflow.handler"), (hello, "app"))
    ]
    row("import of the artefact and the client, against hello", ratio(*commands))


def rendering(folder: Path, *answers: str) -> list[str]:
    """The command that renders into a folder."""
    options = ("--no-input", "--overwrite-if-exists", "--output-dir", str(folder))
    return [sys.executable, "-m", "cookiecutter", str(ROOT), *options, *answers]


def setup(work: Path, *answers: str) -> list[tuple[list[str], Path]]:
    """The commands, and where they run, until the tests of a rendered project can start."""
    uv = find_uv_bin()
    venv = ("--python", str(PYTHON), str(work / "venv"))
    install = ("--python", str(python(work)), "--require-hashes", "-r", "requirements/dev.txt")
    return [
        (rendering(work / "fresh", *answers), work),
        ([uv, "venv", "--quiet", "--clear", *venv], work),
        ([uv, "pip", "install", "--quiet", *install], project(work)),
    ]


def project(work: Path) -> Path:
    """Where ``setup`` renders to."""
    return work / "fresh" / "order-approvals"


def python(work: Path) -> Path:
    """The Python that has the rendered project's packages after ``setup``."""
    return work / "venv" / "bin" / "python"


def in_project(work: Path, script: str, *answers: str) -> None:
    """Rows of a script that imports a rendered project."""
    if not python(work).exists():
        work.mkdir(exist_ok=True)
        for command, cwd in setup(work, *answers):
            timed(command, cwd)
    run = subprocess.run(
        [str(python(work)), str(ROOT / "benchmarks" / script)],
        cwd=project(work),
        env={**os.environ, "PYTHONPATH": f".{os.pathsep}src"},
        check=True,
        stdout=subprocess.PIPE,
    )
    for name, number in json.loads(run.stdout).items():
        row(name, number)


def tool(path: Path, lock: str) -> Path:
    """The ``bin`` folder of an environment with what a lock names."""
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(path)], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(path), "--require-hashes"]
    subprocess.run([*install, "-r", str(ROOT / lock)], check=True)
    return path / "bin"


def build(sam: Path, project: Path) -> None:
    """Build as its owner would."""
    path = os.pathsep.join([str(Path(str(PYTHON)).parent), os.environ["PATH"]])
    env = {**os.environ, "SAM_CLI_TELEMETRY": "0", "PATH": path}
    subprocess.run([sam, "build"], cwd=project, env=env, check=True, capture_output=True)


def ratio(ours: list[str], theirs: list[str]) -> float:
    """The median of one command's time by the median of the other's, run in turns."""
    times = [(timed(ours), timed(theirs)) for _ in range(ROUNDS)]
    return median(time for time, _ in times) / median(time for _, time in times)


def timed(command: list[str], cwd: Path | None = None) -> float:
    """Seconds that a command takes; it has to succeed."""
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - started


median: Callable[..., float] = statistics.median


def row(name: str, value: float) -> None:
    """One line of the table."""
    print(f"| {name} | {value:.4g} |", flush=True)


MEASURES = {each.__name__: each for each in (render, green, artefacts, replay, operations, fan_out)}

if __name__ == "__main__":
    main()
