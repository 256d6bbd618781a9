"""The workflows of GitHub Actions, a project's and this repository's, as data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from conftest import Project
from test_stack import Loader
from variants import ROOT

OURS = ROOT / ".github" / "workflows" / "ci.yml"
# What has to have passed before anything is deployed.
LOCKED = "SAM=.sam-cli/bin/sam"
BEFORE = {"make lint", "make test", f"make validate {LOCKED}", f"make build {LOCKED}"}
DEPLOYING = {f"make release {LOCKED}"}
READ_ONLY = {"contents": "read"}


def parse(text: str) -> dict[str, Any]:
    """A workflow; YAML 1.1 takes ``on`` for true."""
    workflow: dict[str, Any] = yaml.load(text, Loader)
    workflow["on"] = workflow.pop(True)
    return workflow


@pytest.fixture
def ci(rendering: Project) -> dict[str, Any]:
    """The one workflow of a project."""
    (name,) = (name for name in rendering.files() if name.startswith(".github/workflows/"))
    return parse(rendering.read(name))


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All steps of all jobs."""
    for job in workflow["jobs"].values():
        yield from job["steps"]


def commands(job: dict[str, Any]) -> set[str]:
    """The lines of a job that a shell runs."""
    return {line.strip() for step in job["steps"] for line in step.get("run", "").splitlines()}


def needed(workflow: dict[str, Any], job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The jobs that have to have passed before a job begins."""
    names = job.get("needs", [])
    for name in [names] if isinstance(names, str) else names:
        yield workflow["jobs"][name]
        yield from needed(workflow, workflow["jobs"][name])


def check(workflow: dict[str, Any], text: str) -> None:
    """What holds for every workflow."""
    assert workflow["permissions"] == READ_ONLY
    assert workflow["on"]["push"] == {"branches": ["main"]}
    assert "pull_request" in workflow["on"]
    assert "pull_request_target" not in workflow["on"]
    for name, job in workflow["jobs"].items():
        assert 0 < job["timeout-minutes"] <= 60, name
        more = job.get("permissions", READ_ONLY)
        assert more == READ_ONLY or (more == {**READ_ONLY, "id-token": "write"}), name
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), step
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
    pinned = re.findall(r"uses: ([\w./-]+)@(\w+) # (v[\d.]+)$", text, re.M)
    assert len(pinned) == text.count("uses:"), "an action has no version behind its commit"
    assert len({action for action, _, _ in pinned}) == len(set(pinned)), "two pins of an action"


def test_the_workflow_of_a_project(ci: dict[str, Any], rendering: Project) -> None:
    check(ci, rendering.read(".github/workflows/ci.yml"))
    answers = rendering.answers
    for step in steps(ci):
        if "setup-python" in step.get("uses", ""):
            assert step["with"]["python-version"] == answers["python_version"]
        if "configure-aws-credentials" in step.get("uses", ""):
            assert step["with"]["aws-region"] == answers["aws_region"]
            role = step["with"]["role-to-assume"]
            assert re.fullmatch(r"\$\{\{ vars\.AWS_(CHECK|DEPLOY)_ROLE_ARN \}\}", role)
            assert "aws-access-key-id" not in step["with"]
    targets = set(re.findall(r"^([\w./-]+):", rendering.read("Makefile"), re.M))
    for job in ci["jobs"].values():
        assert {line.split()[1] for line in commands(job) if line.startswith("make ")} <= targets


def test_what_is_on_main_is_deployed_after_its_tests(
    ci: dict[str, Any], rendering: Project
) -> None:
    (deploy,) = (job for job in ci["jobs"].values() if commands(job) & DEPLOYING)
    assert "id-token" in deploy["permissions"]
    assert {command for job in needed(ci, deploy) for command in commands(job)} >= BEFORE
    for part in ("github.ref == 'refs/heads/main'", "vars.AWS_DEPLOY_ROLE_ARN != ''"):
        assert part in deploy["if"]
    assert "||" not in deploy["if"]
    assert deploy["environment"] == "production"
    uses = [step.get("uses", "").split("@")[0] for step in deploy["steps"]]
    role = uses.index("aws-actions/configure-aws-credentials")
    assert not commands({"steps": deploy["steps"][:role]}) & DEPLOYING
    if rendering.answers["tenancy"] == "silo":
        assert deploy["strategy"]["matrix"] == {"tenant": ["acme"]}
        assert deploy["env"] == {"ENV": "${{ matrix.tenant }}"}
        assert deploy["concurrency"] == "deploy-${{ matrix.tenant }}"
    else:
        assert "strategy" not in deploy
        assert "ENV" not in deploy.get("env", {})
        assert deploy["concurrency"] == "deploy"
    for job in ci["jobs"].values():
        if job is not deploy:
            assert "environment" not in job
            assert not re.search(r"make (deploy|release)|sam deploy", " ".join(commands(job)))


def test_the_workflow_of_this_repository(rendered: Any) -> None:
    text = OURS.read_text(encoding="utf-8")
    check(parse(text), text)
    jobs = parse(text)["jobs"]
    fast, everything = jobs["fast"], jobs["all"]
    systems = {"ubuntu-latest", "macos-latest", "windows-latest"}
    assert set(fast["strategy"]["matrix"]["os"]) == systems
    assert fast["runs-on"] == "${{ matrix.os }}"
    assert "python -m pip install --require-hashes -r requirements.lock" in commands(fast)
    assert 'python -m pytest -m "not slow"' in commands(fast)
    assert commands(everything) == {".ci/run"}
    theirs = rendered().read(".github/workflows/ci.yml")
    pins = [dict(re.findall(r"uses: ([\w./-]+)@(\w+)", each)) for each in (text, theirs)]
    assert pins[0].items() <= pins[1].items(), "an action is pinned in two ways"
