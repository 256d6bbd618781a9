"""What the verbs of ``make`` run: each is typed, with a stand-in for the programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ops import stack
from ops.__main__ import VERBS

ORDER = "--event=events/order.json"
OF_OPS = {
    "run": ["run", ORDER, "--tenant=", "--answer=ask"],
    "run ANSWER=reject TENANT=acme EVENT=e.json": [
        *("run", "--event=e.json", "--tenant=acme", "--answer=reject")
    ],
    "cost": ["cost", ORDER, "--items=100"],
    "cost ITEMS=7 NESTING=NESTED ITEMS_PER_CHECKPOINT=3": [
        *("cost", ORDER, "--items=7", "--nesting=NESTED", "--items-per-checkpoint=3")
    ],
    "start TENANT=acme": ["start", "--tenant=acme", ORDER],
    "show EXECUTION=arn": ["show", "arn"],
    "replay EXECUTION=arn": ["replay", "arn"],
    "replay HISTORY=h.json SAVE=s.json DEBUG=1": [
        *("replay", "--history=h.json", "--save=s.json", "--debug")
    ],
    "fork EXECUTION=arn": ["fork", "arn"],
    "fork HISTORY=h.json FROM=process-items LIVE=1": [
        *("fork", "--history=h.json", "--from=process-items", "--live")
    ],
    "check-running": ["check-running"],
    "operations": ["operations"],
    "operations WRITE=1": ["operations", "--write"],
    "delete": ["delete", "--sam=sam"],
    "delete YES=1": ["delete", "--sam=sam", "--yes"],
    **{
        f"{verb} TENANT=acme TOKEN=t BY=ada COMMENT=$(id)": [
            *(verb, "--tenant=acme", "--token=t", "--by=ada", "--comment=$(id)")
        ]
        for verb in ("approve", "reject", "heartbeat")
    },
    **{
        f"tenant-{verb} TENANT=acme TIER=free LIMITS=map_concurrency=5": [
            *("tenant", verb, "acme", "--tier=free", "--limits=map_concurrency=5")
        ]
        for verb in ("add", "show", "set", "suspend", "resume", "remove", "list")
    },
    "local-up": ["local", "up", "--ministack=.ministack/bin/ministack"],
    "local-serve": ["local", "serve", "--ministack=.ministack/bin/ministack"],
    "local-deploy PARAMETERS=A=1": ["local", "deploy", "--sam=sam", "--parameters=A=1"],
    "local-start": ["LOCAL=1", "start", "--wait", "--tenant=acme", ORDER],
    "local-approve": ["LOCAL=1", "approve", "--by=", "--comment="],
    "local-reject BY=ada COMMENT=no": ["LOCAL=1", "reject", "--by=ada", "--comment=no"],
    "local-down": ["local", "down"],
}
OF_TOOLS = {
    "test": [".venv/bin/python -m pytest -n auto"],
    "test STACK_NAME=x": [".venv/bin/python -m pytest -n 0"],
    "lint": [".venv/bin/ruff check .", ".venv/bin/ruff format --check .", ".venv/bin/mypy"],
    "format": [".venv/bin/ruff format .", ".venv/bin/ruff check --fix ."],
    "validate": ["sam validate"],
}
STAND_IN = """\
printf '%s\\n' ${LOCAL:+LOCAL=$LOCAL} "$@"
"""

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")


def make(line: str, *options: str) -> str:
    """What ``make`` prints; nothing is set up or built for it."""
    there = ("-o", ".venv/ready", "-o", ".ministack/bin/ministack", "-o", "sam")
    environment = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL"}}
    done = subprocess.run(  # noqa: S603
        ["make", *there, "SAM=sam", *options, *line.split()],  # noqa: S607
        cwd=stack.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_what_a_verb_passes_on(tmp_path: Path) -> None:
    """As it was typed: nobody is answered for, and nothing in it is run."""
    program = tmp_path / "ops.sh"
    program.write_text(STAND_IN, encoding="utf-8")

    passed = {line: make(line, f"OPS=sh {program}", "-o", "build") for line in OF_OPS}

    assert {line: text.splitlines() for line, text in passed.items()} == OF_OPS


def test_what_the_tools_are_called_with() -> None:
    assert {line: make(line, "-n").splitlines() for line in OF_TOOLS} == OF_TOOLS


def test_a_deploy_is_of_what_is_built_now() -> None:
    for verb in ("deploy", "local-deploy"):
        built, deployed = make(verb, "-n").splitlines()
        assert built.endswith("sam build")
        assert " deploy" in deployed


def test_every_verb_of_ops_is_one_of_make() -> None:
    passed = {word for words in OF_OPS.values() for word in words}

    assert set(VERBS) <= passed
