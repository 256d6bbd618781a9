"""What a verb of the rendered Makefile runs, and with what: its tools are stand-ins that say so."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Bake, Project
from test_pages import pages
from test_readmes import shell_blocks
from variants import FAR

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")

# Its own name and its words, and of the environment what the project's program reads.
STAND_IN = """#!/bin/sh
printf '%s\\037' ${LOCAL:+LOCAL=$LOCAL} ${ENV:+ENV=$ENV} "${0##*/}" "$@" && echo
"""
ORDER = "--event=events/order.json"
SAM_BUILD = ["sam build"]
RELEASE = "sam deploy --template-file .aws-sam/build/template.yaml --config-file {config}"
TOOLS = ("dev", "sam", "ministack", "uv")
# What is typed, and what is run; a verb that is not here runs nothing that a test looks at.
OF_FRONT_DOOR = {
    "run UI=1 TENANT=t1a": ["python -m ops run " + ORDER + " --tenant=t1a --answer=ask --ui"],
}
VERBS = {
    "run": ["python -m ops run " + ORDER + " --tenant= --answer=ask"],
    "run EVENT=e.json TENANT=t1a ANSWER=approve": [
        "python -m ops run --event=e.json --tenant=t1a --answer=approve"
    ],
    "cost": ["python -m ops cost " + ORDER + " --items=100"],
    "cost ITEMS=7 NESTING=NESTED ITEMS_PER_CHECKPOINT=3 EVENT=e.json": [
        "python -m ops cost --event=e.json --items=7 --nesting=NESTED --items-per-checkpoint=3"
    ],
    "test": ["python -m pytest -n auto"],
    "test STACK_NAME=s": ["python -m pytest -n 0"],
    "lint": ["ruff check .", "ruff format --check .", "mypy"],
    "format": ["ruff format .", "ruff check --fix ."],
    "validate": ["sam validate"],
    "build": SAM_BUILD,
    "release": [RELEASE],
    "deploy": [*SAM_BUILD, RELEASE, "python -m ops tenant list"],
    "deploy PARAMETERS='A=1 B=$(x)' ENV=globex": [
        "ENV=globex sam build",
        f"ENV=globex {RELEASE} --config-env globex --parameter-overrides {{tenant}}A=1 B=$(x)",
        "ENV=globex python -m ops tenant list",
    ],
    "delete": ["python -m ops delete --sam={sam}"],
    "delete ENV=globex YES=1": ["ENV=globex python -m ops delete --sam={sam} --yes"],
    "lock": [
        f"uv pip compile --quiet {lock}.in --universal --python-version 3.11 --generate-hashes "
        f"--no-emit-index-url --output-file {lock}.txt"
        for lock in (
            *("src/requirements", "src/requirements-api"),
            *(f"requirements/{name}" for name in TOOLS),
        )
    ],
    "start": ["python -m ops start --tenant= " + ORDER],
    "start TENANT=acme EVENT=e.json": ["python -m ops start --tenant=acme --event=e.json"],
    "list": ["python -m ops list --tenant= --since="],
    "list STATE=FAILED TENANT=acme SINCE=2h LIMIT=5": [
        "python -m ops list --state=FAILED --tenant=acme --since=2h --limit=5"
    ],
    "show EXECUTION=arn": ["python -m ops show arn --html="],
    "watch EXECUTION=arn": ["python -m ops watch arn"],
    "stop EXECUTION=arn REASON='wrong prices' YES=1": [
        "python -m ops stop arn '--reason=wrong prices' --yes"
    ],
    "redrive EXECUTION=arn": ["python -m ops redrive arn"],
    "redrive EXECUTION=arn ALL=1": ["python -m ops redrive arn --all"],
    "replay EXECUTION=arn": ["python -m ops replay arn"],
    "replay HISTORY=h.json SAVE=s.json DEBUG=1": [
        "python -m ops replay --history=h.json --save=s.json --debug"
    ],
    "fork EXECUTION=arn": ["python -m ops fork arn"],
    "fork HISTORY=h.json FROM='item 1' LIVE=1": [
        "python -m ops fork --history=h.json '--from=item 1' --live"
    ],
    "check-running": ["python -m ops check-running"],
    "operations": ["python -m ops operations"],
    "operations WRITE=1": ["python -m ops operations --write"],
    "tenant-remove TENANT=acme YES=1": ["python -m ops tenant remove acme --tier= --limits= --yes"],
    "tenant-list": ["python -m ops tenant list '' --tier= --limits="],
    "local-up": ["python -m ops local up --ministack=.ministack/bin/ministack"],
    "local-serve": ["python -m ops local serve --ministack=.ministack/bin/ministack"],
    "local-deploy PARAMETERS=A=1": [
        *SAM_BUILD,
        "python -m ops local deploy --sam={sam} --parameters=A=1",
    ],
    "local-start": ["LOCAL=1 python -m ops start --wait --tenant=acme " + ORDER],
    "local-start TENANT=globex": ["LOCAL=1 python -m ops start --wait --tenant=globex " + ORDER],
    "local-down": ["python -m ops local down"],
    **{
        f"{verb} TENANT=acme TOKEN=t BY=ada COMMENT='no budget'": [
            f"python -m ops {verb} --tenant=acme --token=t --by=ada '--comment=no budget'"
        ]
        for verb in ("approve", "reject", "heartbeat")
    },
    **{
        f"tenant-{verb} TENANT=acme TIER=free LIMITS='a=1 b=2'": [
            f"python -m ops tenant {verb} acme --tier=free '--limits=a=1 b=2'"
        ]
        for verb in ("add", "show", "set", "suspend", "resume", "brake", "release", "remove")
    },
    **{
        f"local-{verb} BY=ada": [f"LOCAL=1 python -m ops {verb} --by=ada --comment="]
        for verb in ("approve", "reject")
    },
}
OTHERS = {"help", "clean"}


@pytest.fixture(scope="module", params=FAR, ids=lambda answers: answers["project_slug"])
def project(
    request: pytest.FixtureRequest, rendered: Bake, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project that has been set up, with stand-ins for its tools."""
    source = rendered(**request.param)
    path = tmp_path_factory.mktemp("verbs") / source.path.name
    shutil.copytree(source.path, path)
    for tool in (
        *(f".venv/bin/{name}" for name in ("python", "ruff", "mypy")),
        *("bin/sam", "bin/uv", ".sam-cli/bin/sam", ".ministack/bin/ministack"),
    ):
        (path / tool).parent.mkdir(parents=True, exist_ok=True)
        (path / tool).write_text(STAND_IN, encoding="utf-8")
        (path / tool).chmod(0o755)
    (path / ".venv" / "ready").touch()
    return Project(path, source.answers)


def make(project: Project, typed: str, *options: str) -> str:
    """What make prints."""
    env = {"PATH": os.pathsep.join([str(project.path / "bin"), os.environ["PATH"]]), "HOME": "/"}
    result = subprocess.run(
        ["sh", "-c", " ".join(["make", "--no-print-directory", *options, typed])],
        cwd=project.path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"make {typed}: {result.stdout}{result.stderr}"
    return result.stdout


def verbs(project: Project) -> set[str]:
    """Every verb of the Makefile."""
    text = project.read("Makefile").replace("\\\n", " ")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.M)
    for name, value in re.findall(r"^(\w+) := (.*)$", text, re.M):
        if match := re.fullmatch(r"\$\(addprefix ([\w-]+),(.*)\)", value):
            value = " ".join(match[1] + word for word in match[2].split())
        phony = phony.replace(f"$({name})", value)
    return set(phony.split())


def test_every_verb_is_looked_at(project: Project) -> None:
    assert {typed.split()[0] for typed in VERBS} | OTHERS == verbs(project)


def test_a_verb_runs_what_it_says(project: Project) -> None:
    tenant = "TenantId=globex " if project.answers.get("tenancy") == "silo" else ""
    has_door = project.answers.get("front_door") != "none"
    for typed, expected in {**VERBS, **(OF_FRONT_DOOR if has_door else {})}.items():
        ran = [line.split("\x1f")[:-1] for line in make(project, typed).splitlines()]
        values = {
            "{tenant}": tenant,
            "{sam}": str(project.path / "bin" / "sam"),
            "{config}": str(project.path / "samconfig.toml"),
        }
        filled = expected
        for name, value in values.items():
            filled = [each.replace(name, value) for each in filled]
        filled = [each for each in filled if has_door or "requirements-api" not in each]
        assert len(ran) == len(filled), f"make {typed}: {ran}"
        for words, each in zip(ran, map(shlex.split, filled), strict=True):
            assert words == each, f"make {typed}"


def test_help_names_every_verb(project: Project) -> None:
    listed = " ".join(line[:26] for line in make(project, "").splitlines())

    assert set(listed.replace("tenant-VERB", " ").split()) == {
        verb for verb in verbs(project) if not verb.startswith("tenant-")
    }


def test_clean_removes_what_the_verbs_have_made(project: Project) -> None:
    ignored = [name.strip("/") for name in project.read(".gitignore").split()]
    removed = make(project, "clean", "-n").split()[2:]

    assert set(removed) == set(ignored) - {"__pycache__"}


def test_every_command_on_the_pages_is_a_verb_with_values_that_somebody_reads(
    project: Project,
) -> None:
    known = verbs(project)
    sources = [name for name in project.files() if name.startswith(("ops/", "tests/cloud/"))]
    programs = " ".join(map(project.read, sources))
    for page in pages(project):
        for block in shell_blocks(project.read(page)):
            for line in re.findall(r"^make\b(.*)$", block.replace("\\\n", ""), re.M):
                words = shlex.split(line, comments=True)
                assert {word for word in words if "=" not in word} <= known, f"{page}: {line}"
                for name in {word.split("=")[0] for word in words if "=" in word}:
                    read = re.search(rf"\$\$\{{?{name}\b", project.read("Makefile"))
                    assert read or f'"{name}"' in programs, f"{page}: {line}"


def test_a_command_of_the_stack_runs(project: Project) -> None:
    """Those of its outputs; the token is missing in them."""
    text = project.read("template.yaml")
    commands = re.findall(r"^    Value: make (.*)$", text, re.M)

    assert len(commands) == 2
    for command in commands:
        assert "python" in make(project, command)
        assert Path(project.path, "events", "order.json").is_file()
