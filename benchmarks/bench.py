"""What rendering, building, starting and testing take, against others of their kind, in one run.

Ratios of medians; the machine is noisy, so the two sides of a ratio are measured in turns. Needs
python3.13 on the PATH, and takes five minutes: ``.venv/bin/python benchmarks/bench.py``.
"""

from __future__ import annotations

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
    """Measure everything, and print a table in Markdown."""
    if PYTHON is None:
        sys.exit("there is no python3.13 on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        print("| measure | ratio or number |\n|---|---|", flush=True)
        render(work)
        project = work / "order-approvals"
        green(work)
        sam = tool(work / "sam", "requirements-sam.lock") / "sam"
        build(sam, project)
        shutil.copytree(HELLO, work / "hello")
        build(sam, work / "hello")
        artefacts(
            project / ".aws-sam/build/WorkflowFunction", work / "hello/.aws-sam/build/HelloFunction"
        )


def render(work: Path) -> None:
    """The render, against the import of Cookiecutter, which every render begins with."""
    output = ("--no-input", "--overwrite-if-exists", "--output-dir", str(work))
    ours = [sys.executable, "-m", "cookiecutter", str(ROOT), *output]
    floor = [sys.executable, "-c", "import cookiecutter.main"]
    row("render, against the import of cookiecutter", ratio(ours, floor))


def green(work: Path) -> None:
    """From nothing to green tests, with packages in uv's cache; and the tests alone."""
    uv = find_uv_bin()
    venv = work / "venv"
    install = [uv, "pip", "install", "--quiet", "--python", str(venv)]
    steps = [
        [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "--output-dir", "fresh"],
        [uv, "venv", "--quiet", "--clear", "--python", str(PYTHON), str(venv)],
        [*install, "-r", "src/requirements.txt", "--group", "dev"],
        [str(venv / "bin" / "python"), "-m", "pytest", "-q"],
    ]
    seconds: list[list[float]] = []
    for _ in range(4):  # the first one fills the cache
        shutil.rmtree(work / "fresh", ignore_errors=True)
        project = work / "fresh" / "order-approvals"
        folders = [work, work, project, project]
        seconds.append([timed(step, cwd) for step, cwd in zip(steps, folders, strict=True)])
    warm = seconds[1:]
    row("`cookiecutter` to green tests, packages cached, in s", median(map(sum, warm)))
    row("the project's own tests, in s", median(times[-1] for times in warm))


def artefacts(ours: Path, hello: Path) -> None:
    """What is shipped, and what its cold start imports, against hello as SAM builds it."""
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
    print(f"| {name} | {value:.2f} |", flush=True)


if __name__ == "__main__":
    main()
