"""What its owner would do with each variant: test it, lint it, validate it, build it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project, python_for

pytestmark = pytest.mark.slow

SERVICES = ("dynamodb", "lambda", "sns", "sts")  # and s3 with fan_out
FUNCTIONS = {
    "WorkflowFunction": "workflow.handler",
    "StarterFunction": "workflow.starter",
    "ApproverFunction": "workflow.approver",
    "ReconcilerFunction": "chassis.functions.reconciler",
}


def has_python(version: str) -> bool:
    """Whether the build finds this Python; a version manager may name one that it lacks."""
    found = shutil.which(f"python{version}")
    return bool(found) and subprocess.run([found, "--version"], check=False).returncode == 0


def test_the_project_passes_its_own_checks(
    project: Project, environments: Callable[[Project], Path], sam: Path
) -> None:
    python = environments(project) / "python"
    project.run(python, "-m", "ruff", "check", ".")
    project.run(python, "-m", "ruff", "format", "--check", ".")
    project.run(python, "-m", "mypy")
    tested = project.run(python, "-m", "pytest", "-q", "-rs")
    skipped = [line for line in tested.stdout.splitlines() if line.startswith("SKIPPED")]
    assert skipped
    assert all("tests/cloud/test_cloud.py" in line for line in skipped)

    environment = {
        **os.environ,
        "SAM_CLI_TELEMETRY": "0",
        "PATH": os.pathsep.join([str(sam.parent), os.environ["PATH"]]),
    }
    project.run(sam, "validate", env=environment)
    # With another --config-env than samconfig.toml has, SAM translates instead of linting.
    translate = ("validate", "--config-env", "none", "--region", "us-east-1")
    project.run(sam, *translate, env=environment)
    project.run(sam, "build", env=environment)
    functions = dict(FUNCTIONS)
    if "invoke" in project.answers["extra_operations"].split(","):
        functions["MeterFunction"] = "chassis.functions.meter"
    if project.answers["front_door"] == "http_api":
        functions["ApiFunction"] = "workflow.api"
    services = [*SERVICES, *(["s3"] if project.answers["fan_out"] == "yes" else [])]
    for function, module in functions.items():
        artefact = project.path / ".aws-sam" / "build" / function
        imported = project.run(
            python_for(project.answers["python_version"]),
            *("-I", "-S", "-B", "-c"),
            f"import sys; sys.path.insert(0, {str(artefact)!r}); "
            f"from {module} import handler; import boto3; print(boto3.__file__); "
            f"[boto3.client(name, region_name='us-east-1') for name in {services}]",
        )
        assert imported.stdout.startswith(str(artefact))
        version = project.answers["python_version"]
        tag = f"cpython-{version.replace('.', '')}.pyc"
        sources, compiled = list(artefact.rglob("*.py")), list(artefact.rglob(f"*.{tag}"))
        # Only this very Python can make bytecode; without it the artefact has none.
        assert len(compiled) == (len(sources) if has_python(version) else 0)
        size = sum(path.stat().st_size for path in artefact.rglob("*"))
        assert size < (20_000_000 if function == "ApiFunction" else 15_000_000)  # with Powertools
        # What the API needs and what it serves are in no other artefact.
        modules = (f"chassis/functions/{name}.py" for name in ("api", "history", "timeline"))
        of_the_api = [artefact / name for name in ("aws_lambda_powertools", *modules)]
        pages = {*artefact.glob("chassis/*/page.*"), *artefact.glob("chassis/*/*.js")}
        assert {path.exists() for path in of_the_api} == {function == "ApiFunction"}
        assert len(pages) == (5 if function == "ApiFunction" else 0)
