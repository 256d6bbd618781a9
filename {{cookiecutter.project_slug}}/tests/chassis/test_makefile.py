"""What is typed after a verb of make reaches the program as it was typed, and is never run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ops.local import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
OURS = {"PATH", "PWD", "CURDIR", *re.findall(r"^([A-Z_]+) [:?]?=", MAKEFILE, re.M)}
# What a recipe refers to, what only a program reads, and what nobody reads.
VALUES = sorted({*re.findall(r"\$[({]?([A-Z_]+)", MAKEFILE), "LOCAL_PORT", "BRANCHES"} - OURS)
CODE = "a  b$(shell touch ran)$$(touch ran)`touch ran`\";touch ran;'touch ran' \\ # %\ntouch ran"
RECORD = '#!/bin/sh\nprintf "%s\\0" "$0" "$@" "" >>"$CALLS"\nexec make --silent --file other.mk\n'
PROGRAMS = ("sam", "uv", ".venv/bin/python", ".venv/bin/ruff", ".venv/bin/mypy")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile among programs that only record how they were called, and run a make."""
    (tmp_path / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    (tmp_path / "other.mk").write_text("all:\n\t@true\n", encoding="utf-8")
    for name in ("dev", "ministack"):
        (tmp_path / "requirements").mkdir(exist_ok=True)
        (tmp_path / "requirements" / f"{name}.txt").touch()
    for name in (*PROGRAMS, ".venv/ready", ".ministack/bin/ministack"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RECORD, encoding="utf-8")
        path.chmod(0o755)
    return tmp_path


def make(project: Path, *arguments: str, **variables: str) -> list[list[str]]:
    """Run make; return how each program was called."""
    calls = project / "calls"
    calls.write_text("", encoding="utf-8")
    path = os.pathsep.join([str(project), os.environ["PATH"]])
    result = subprocess.run(  # noqa: S603
        ["make", *arguments],  # noqa: S607
        cwd=project,
        env={"PATH": path, "CALLS": str(calls), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    recorded = calls.read_text(encoding="utf-8").split("\0\0")
    return [call.split("\0") for call in recorded if call]


def verbs() -> list[str]:
    """Those that ``make`` lists, without those that remove things."""
    names = re.findall(r"^([a-z][a-z -]*):.*## ", MAKEFILE, re.M)
    (answers,) = re.findall(r"^ANSWERS := (.*)$", MAKEFILE, re.M)
    found = [verb for line in [*names, answers] for verb in line.split()]
    return [*(verb for verb in found if verb not in {"help", "clean"}), "tenant-set"]


@pytest.mark.parametrize("how", ["command line", "environment", "dry run"])
def test_a_value_is_not_code(project: Path, how: str) -> None:
    values = dict.fromkeys(VALUES, CODE)
    typed = [f"{name}={value}" for name, value in values.items()]
    if how == "environment":
        calls = make(project, *verbs(), **values)
    else:
        dry = ["--dry-run"] if how == "dry run" else []
        calls = make(project, *verbs(), *typed, *dry)

    assert not (project / "ran").exists()
    if how == "dry run":
        assert not calls
    else:
        assert len(calls) > len(verbs())
        (cost,) = (call for call in calls if "cost" in call)
        assert f"--items={CODE}" in cost
        (run,) = (call for call in calls if "run" in call)
        assert run[-3:] == [f"--event={CODE}", f"--tenant={CODE}", f"--answer={CODE}"]


def test_a_release_takes_what_was_built_and_builds_nothing(project: Path) -> None:
    #% if cookiecutter.tenancy == "silo"
    parameters = ["--parameter-overrides", "TenantId=acme", "A=1", "B=2"]
    #% else
    parameters = ["--parameter-overrides", "A=1", "B=2"]
    #% endif
    section = ["--config-env", "acme"]
    for given, expected in (
        ({}, []),
        ({"ENV": "acme"}, section),
        ({"ENV": "acme", "PARAMETERS": "A=1 B=2"}, section + parameters),
    ):
        ((_, *arguments),) = make(project, "release", **given)
        config = str(project / "samconfig.toml")
        built = ["--template-file", ".aws-sam/build/template.yaml", "--config-file", config]
        assert arguments == ["deploy", *built, *expected]
    assert [call[1] for call in make(project, "deploy")] == ["build", "deploy"]


def test_the_tests_of_a_stack_run_one_after_the_other(project: Path) -> None:
    for stack, workers in (("", "auto"), ("orders", "0")):
        ((_, *arguments),) = make(project, "test", STACK_NAME=stack)
        assert arguments == ["-m", "pytest", "-n", workers]
