"""What belongs to this repository: its locks, its commands, its benchmarks and its prices."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import UV, Bake, Project, git
from packaging.requirements import Requirement
from test_readmes import empty_home, shell_blocks
from test_render import names_in
from variants import EVERYTHING, ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
GROUPS = tomllib.loads(PYPROJECT)["dependency-groups"]
LOCKS = {
    "dev": "requirements.lock",
    "checkov": "requirements-checkov.lock",
    "mutants": "requirements-mutants.lock",
    "browser": "requirements-browser.lock",
}
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
BENCHED = {"operations.py", "fan_out.py", "replay.py"}
IN_A_PROJECT = {*BENCHED, "reference.py", "clients.py", "front_door.py", "moto_table.py"}
# In us-east-1, in US dollars: what is rendered has the source and the date of each.
PRICES = {
    "million_operations": 8.00,
    "gigabyte_written": 0.25,
    "gigabyte_month_retained": 0.15,
    "million_lambda_requests": 0.20,
    "million_write_units": 0.625,
    "million_read_units": 0.125,
    "million_messages": 0.50,
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(text: str) -> dict[str, str]:
    """The version of each package in a lock."""
    rows = re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.M)
    return {normal(name): version for name, version in rows}


def compile_commands() -> list[list[str]]:
    """The commands at the top of pyproject.toml."""
    comments = "\n".join(line[1:] for line in PYPROJECT.splitlines() if line.startswith("#"))
    return [
        shlex.split(command)
        for command in re.findall(r"(?m)^   (uv pip compile .*)", comments.replace("\\\n", " "))
    ]


def test_there_is_a_lock_for_each_group() -> None:
    assert set(LOCKS) == set(GROUPS)
    assert set(LOCKS.values()) == {path.name for path in ROOT.glob("*.lock")}
    made = {
        command[command.index("--group") + 1]: command[command.index("--output-file") + 1]
        for command in compile_commands()
    }
    assert made == LOCKS
    python = tomllib.loads(PYPROJECT)["project"]["requires-python"].removeprefix(">=")
    for command in compile_commands():
        assert {"--universal", "--generate-hashes", "--no-emit-index-url"} <= set(command)
        assert command[command.index("--python-version") + 1] == python


@pytest.mark.parametrize("group", LOCKS)
def test_a_lock_has_what_its_group_asks_for(group: str) -> None:
    text = (ROOT / LOCKS[group]).read_text(encoding="utf-8")
    versions = locked(text)
    for wanted in map(Requirement, GROUPS[group]):
        assert normal(wanted.name) in versions, f"{wanted} is in no line of {LOCKS[group]}"
        assert wanted.specifier.contains(versions[normal(wanted.name)]), wanted
    for package in re.split(r"(?m)^(?=[\w.-]+==)", text)[1:]:
        assert "--hash=sha256:" in package, package
    assert "://" not in text  # the address of a registry


@pytest.mark.slow
@pytest.mark.parametrize("command", compile_commands(), ids=lambda command: command[-1])
def test_a_lock_is_what_its_command_makes(command: list[str], tmp_path: Path) -> None:
    """With the versions that it has, as uv keeps them: newer ones are no difference."""
    for name in ("pyproject.toml", *LOCKS.values()):
        shutil.copy(ROOT / name, tmp_path)
    subprocess.run([UV, *command[1:], "--quiet"], cwd=tmp_path, check=True)
    before, after = (
        [
            line
            for line in (folder / command[-1]).read_text(encoding="utf-8").splitlines()
            if not line.startswith("#")
        ]
        for folder in (ROOT, tmp_path)
    )

    assert after == before


def test_the_commands_of_contributors_are_those_of_ci() -> None:
    (block,) = shell_blocks(CONTRIBUTING)
    install, lint, fast, slow = block.splitlines()
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert install.replace("pip install", "pip install --quiet") in ci
    for command in lint.split(" && "):
        assert f"\n{command}\n" in ci
        checked = command.split()[2:] if "format" not in command else command.split()[3:]
        assert all((ROOT / path).exists() for path in checked if not path.startswith("-"))
    assert {fast, slow} == {
        f".venv/bin/python -m pytest -m {marker}" for marker in ('"not slow"', "slow")
    }
    markers = tomllib.loads(PYPROJECT)["tool"]["pytest"]["ini_options"]["markers"]
    assert [marker.split(":")[0] for marker in markers] == ["slow"]


@pytest.mark.slow
def test_the_commands_of_contributors_run(repository: Path, tmp_path: Path) -> None:
    """In a clone and an empty HOME; of the tests, that all of them are found."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", repository, clone)
    (block,) = shell_blocks(CONTRIBUTING)
    env = empty_home(tmp_path)
    for command in block.splitlines():
        typed = f"{command} --collect-only --quiet" if "pytest" in command else command
        ran = subprocess.run(
            ["sh", "-c", typed], cwd=clone, env=env, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"


def load(path: Path) -> ModuleType:
    """Import a benchmark."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bench() -> Any:
    """The program that runs the benchmarks."""
    return load(ROOT / "benchmarks" / "bench.py")


def test_what_benchmarks_take_from_a_project_is_there(rendered: Bake) -> None:
    assert {path.name for path in BENCHMARKS} == {
        *IN_A_PROJECT,
        "bench.py",
        "load.py",
        "mutants.py",
    }
    for path in BENCHMARKS:
        project = rendered(fan_out="yes") if path.name == "fan_out.py" else rendered()
        names = names_in(path.read_text(encoding="utf-8"))
        for module, name in names.imported | names.used:
            if module.split(".")[0] in {"chassis", "workflow", "ops"}:
                assert is_there(project, module, name), f"{path.name}: {module}.{name}"


def is_there(project: Project, module: str, name: str) -> bool:
    """Whether a module of the project or its class has a name, or it is a package with it."""
    folder = project.path / ("." if module.startswith("ops") else "src")
    path = folder / module.replace(".", "/")
    if (path / f"{name}.py").is_file():
        return True
    if path.name[0].isupper():
        path = path.parent
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.is_file() and name in names_in(file.read_text(encoding="utf-8")).defined


@pytest.mark.slow
def test_the_benchmarks_can_be_imported(
    bake: Bake, environments: Callable[[Project], Path]
) -> None:
    project = bake(fan_out="yes")
    folder = str(ROOT / "benchmarks")
    for name in IN_A_PROJECT:
        code = f"import sys; sys.path[:0] = ['.', 'src', {folder!r}]; import {name[:-3]}"
        words = ("1", "1", "1") if name == "clients.py" else ()  # it reads them at once
        project.run(environments(project) / "python", "-B", "-c", code, *words)


def test_the_benchmark_measures_what_it_says(
    bench: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([2, 1, 30, 3, 8, 2] * 9)
    monkeypatch.setattr(bench, "timed", lambda _: next(seconds))
    assert bench.ratio(["ours"], ["theirs"]) == 8 / 2
    bench.row("name", 0.123456)
    assert capsys.readouterr().out == "| name | 0.1235 |\n"
    tree = ast.parse((ROOT / "benchmarks" / "bench.py").read_text(encoding="utf-8"))
    scripts = {
        node.args[1].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "in_project"
        and isinstance(node.args[1], ast.Constant)
    }
    assert scripts == BENCHED
    assert set(bench.MEASURES) == {
        *("render", "green", "artefacts", "replay", "operations", "fan_out")
    }


def test_the_benchmark_renders_and_times(bench: Any, tmp_path: Path) -> None:
    assert 0 < bench.timed(bench.rendering(tmp_path / "fresh", "fan_out=yes")) < 600
    assert (bench.project(tmp_path) / "src" / "chassis" / "chunking.py").is_file()
    with pytest.raises(subprocess.CalledProcessError):
        bench.timed([sys.executable, "-c", "raise SystemExit(1)"])


def test_the_benchmark_knows_its_measures(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "PYTHON", sys.executable)
    monkeypatch.setattr(sys, "argv", ["bench.py", "replay", "rendering"])
    with pytest.raises(SystemExit, match="there is no rendering, only render, green"):
        bench.main()


def test_hello_runs_the_durable_sdk_of_a_project(rendered: Bake) -> None:
    """Sizes are compared, so the two have to carry the same."""
    hello = (ROOT / "benchmarks" / "hello" / "src" / "requirements.txt").read_text(encoding="utf-8")
    theirs = locked(rendered().read("src/requirements.txt"))

    assert locked(hello).items() <= theirs.items()


def test_a_price_has_its_source_and_its_date(rendered: Bake) -> None:
    text = rendered().read("ops/prices.toml")
    prices = tomllib.loads(text)
    read = date.fromisoformat(prices.pop("read"))

    assert prices == PRICES
    assert date(2026, 11, 25) <= read <= date.today()
    for block in text.split("\n\n")[1:]:
        assert re.match(r"# aws\.amazon\.com/\S*pricing", block), block
    cost = rendered().read("ops/cost.py")
    for name in prices:
        assert name in cost or name.removeprefix("million_") in cost, name
    assert f"read\n{read}" in rendered().read("docs/sizes-and-cost.md")


def test_a_mutant_that_is_said_to_be_right_is_one_of_what_is_there(rendered: Bake) -> None:
    project = rendered(**EVERYTHING)
    listed = tomllib.loads((ROOT / "benchmarks" / "equivalent-mutants.toml").read_text("utf-8"))

    assert listed["equivalent"]
    for entry in listed["equivalent"]:
        lines = [line.strip() for line in project.read(entry["file"]).splitlines()]
        assert entry["was"] in lines, entry
        assert entry["why"]
