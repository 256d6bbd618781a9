"""What the verbs of make run, with what was typed: as it was typed, and it is never run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ops.__main__ import VERBS
from ops.local import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
OURS = {"PATH", "PWD", "CURDIR", *re.findall(r"^([A-Z_]+) [:?]?=", MAKEFILE, re.M)}
# What a recipe refers to, what only a program reads, and what nobody reads.
VALUES = sorted({*re.findall(r"\$[({]?([A-Z_]+)", MAKEFILE), "LOCAL_PORT", "BRANCHES"} - OURS)
CODE = "a  b$(shell touch ran)$$(touch ran)`touch ran`\";touch ran;'touch ran' \\ # %\ntouch ran"
RECORD = """\
#!/bin/sh
printf "%s\\0" ${LOCAL:+LOCAL=$LOCAL} "$0" "$@" "" >>"$CALLS"
exec make --silent --file other.mk
"""
PROGRAMS = ("sam", "uv", ".venv/bin/python", ".venv/bin/ruff", ".venv/bin/mypy")
OPS = [".venv/bin/python", "-m", "ops"]
ORDER = "--event=events/order.json"
# What is typed, and the calls of programs.
CALLS = {
    "run": [[*OPS, "run", ORDER, "--tenant=", "--answer=ask"]],
    "run ANSWER=reject TENANT=acme EVENT=e.json": [
        [*OPS, "run", "--event=e.json", "--tenant=acme", "--answer=reject"]
    ],
    "cost": [[*OPS, "cost", ORDER, "--items=100"]],
    "cost ITEMS=7 NESTING=NESTED ITEMS_PER_CHECKPOINT=3": [
        [*OPS, "cost", ORDER, "--items=7", "--nesting=NESTED", "--items-per-checkpoint=3"]
    ],
    # The tests of a stack run one after the other.
    "test": [[".venv/bin/python", "-m", "pytest", "-n", "auto"]],
    "test STACK_NAME=x": [[".venv/bin/python", "-m", "pytest", "-n", "0"]],
    "lint": [
        [".venv/bin/ruff", "check", "."],
        [".venv/bin/ruff", "format", "--check", "."],
        [".venv/bin/mypy"],
    ],
    "format": [[".venv/bin/ruff", "format", "."], [".venv/bin/ruff", "check", "--fix", "."]],
    "validate": [["sam", "validate"]],
    "build": [["sam", "build"]],
    "start TENANT=acme": [[*OPS, "start", "--tenant=acme", ORDER]],
    "list": [[*OPS, "list", "--tenant=", "--since="]],
    "list STATE=FAILED TENANT=acme SINCE=2h LIMIT=5": [
        [*OPS, "list", "--state=FAILED", "--tenant=acme", "--since=2h", "--limit=5"]
    ],
    "show EXECUTION=arn": [[*OPS, "show", "arn", "--html="]],
    "show EXECUTION=arn HTML=a.html": [[*OPS, "show", "arn", "--html=a.html"]],
    "watch EXECUTION=arn": [[*OPS, "watch", "arn"]],
    "stop EXECUTION=arn": [[*OPS, "stop", "arn"]],
    "stop EXECUTION=arn YES=1 REASON=x": [[*OPS, "stop", "arn", "--reason=x", "--yes"]],
    "redrive EXECUTION=arn": [[*OPS, "redrive", "arn"]],
    "redrive EXECUTION=arn ALL=1": [[*OPS, "redrive", "arn", "--all"]],
    "replay EXECUTION=arn": [[*OPS, "replay", "arn"]],
    "replay HISTORY=h.json SAVE=s.json DEBUG=1": [
        [*OPS, "replay", "--history=h.json", "--save=s.json", "--debug"]
    ],
    "fork EXECUTION=arn": [[*OPS, "fork", "arn"]],
    "fork HISTORY=h.json FROM=process-items LIVE=1": [
        [*OPS, "fork", "--history=h.json", "--from=process-items", "--live"]
    ],
    "check-running": [[*OPS, "check-running"]],
    "operations": [[*OPS, "operations"]],
    "operations WRITE=1": [[*OPS, "operations", "--write"]],
    "delete": [[*OPS, "delete", "--sam=sam"]],
    "delete YES=1": [[*OPS, "delete", "--sam=sam", "--yes"]],
    **{f"delete YES={no}": [[*OPS, "delete", "--sam=sam"]] for no in ("", "0")},
    **{
        f"{verb} TENANT=acme TOKEN=t BY=ada COMMENT=$(id)": [
            [*OPS, verb, "--tenant=acme", "--token=t", "--by=ada", "--comment=$(id)"]
        ]
        for verb in ("approve", "reject", "heartbeat")
    },
    **{
        f"tenant-{verb} TENANT=acme TIER=free LIMITS=map_concurrency=5": [
            [*OPS, "tenant", verb, "acme", "--tier=free", "--limits=map_concurrency=5"]
        ]
        for verb in (
            *("add", "show", "set", "suspend", "resume"),
            *("brake", "release", "remove", "list"),
        )
    },
    "tenant-remove TENANT=acme YES=1": [
        [*OPS, "tenant", "remove", "acme", "--tier=", "--limits=", "--yes"]
    ],
    "local-up": [[*OPS, "local", "up", "--ministack=.ministack/bin/ministack"]],
    "local-serve": [[*OPS, "local", "serve", "--ministack=.ministack/bin/ministack"]],
    "local-deploy PARAMETERS=A=1": [
        ["sam", "build"],
        [*OPS, "local", "deploy", "--sam=sam", "--parameters=A=1"],
    ],
    "local-start": [["LOCAL=1", *OPS, "start", "--wait", "--tenant=acme", ORDER]],
    "local-approve": [["LOCAL=1", *OPS, "approve", "--by=", "--comment="]],
    "local-reject BY=ada COMMENT=no": [["LOCAL=1", *OPS, "reject", "--by=ada", "--comment=no"]],
    "local-down": [[*OPS, "local", "down"]],
}


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


def test_no_shell_sees_a_value_before_it_is_made_a_plain_one() -> None:
    """GNU Make 4.4 gives it what was typed, expanded; older ones, which may be here, do not."""
    before, after = MAKEFILE.split("MAKEOVERRIDES :=")

    assert "$(shell" not in before
    assert "$(shell" in after


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
    *deployed, listed = make(project, "deploy")
    assert [call[1] for call in deployed] == ["build", "deploy"]
    assert listed == [*OPS, "tenant", "list"]


def test_a_verb_runs_what_it_says(project: Path) -> None:
    found = str(project / "sam")
    ran = {
        line: [
            ["sam" if word == found else word for word in call]
            for call in make(project, *line.split(), "SAM=sam")
        ]
        for line in CALLS
    }

    assert ran == CALLS


def test_the_verbs_of_ops_that_everybody_types_are_verbs_of_make() -> None:
    calls = [call for calls in CALLS.values() for call in calls if "ops" in call]

    assert set(VERBS) - {call[call.index("ops") + 1] for call in calls} == {
        *("approvals", "pause", "resume", "export")
    }
