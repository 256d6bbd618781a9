"""The workflow as data: what runs where there are credentials, and what does not."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from ops.local import ROOT

GITHUB = ROOT / ".github"
WORKFLOW = (GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8")

Json = dict[str, Any]


@cache
def workflow() -> Json:
    """The workflow; do not change it."""
    parsed: Json = yaml_parse(WORKFLOW)
    return parsed


def steps(job: str) -> list[Json]:
    found: list[Json] = workflow()["jobs"][job]["steps"]
    return found


def commands(job: str) -> list[str]:
    return [step["run"] for step in steps(job) if "run" in step]


def action(job: str, name: str) -> Json:
    """The inputs of the one step of a job that uses an action."""
    (found,) = (step for step in steps(job) if step.get("uses", "").startswith(f"actions/{name}@"))
    inputs: Json = found["with"]
    return inputs


def test_an_action_is_named_by_its_commit() -> None:
    lines = re.findall(r"^ +- uses: (.*)$", WORKFLOW, re.M)

    assert len(lines) == WORKFLOW.count("uses:")
    for line in lines:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_only_jobs_on_main_can_have_credentials() -> None:
    assert set(workflow()["jobs"]) == {"test", "check-running", "deploy"}
    assert workflow()["permissions"] == {"contents": "read"}
    assert "permissions" not in workflow()["jobs"]["test"]
    assert "secrets." not in WORKFLOW
    assert "pull_request_target" not in WORKFLOW
    for name, role in (("check-running", "CHECK"), ("deploy", "DEPLOY")):
        variable = f"vars.AWS_{role}_ROLE_ARN"
        job = workflow()["jobs"][name]
        assert job["permissions"] == {"contents": "read", "id-token": "write"}
        condition = f"github.ref == 'refs/heads/main' && {variable} != ''"
        assert job["if"].removesuffix(" && !failure() && !cancelled()") == condition
        (credentials,) = (each for each in steps(name) if "aws-actions" in each.get("uses", ""))
        assert credentials["with"]["role-to-assume"].strip("${} ") == variable
        assert set(credentials["with"]) == {"role-to-assume", "aws-region"}
    for job in workflow()["jobs"]:
        assert action(job, "checkout")["persist-credentials"] is False
        assert workflow()["jobs"][job]["timeout-minutes"] <= 30


def test_the_job_that_deploys_waits_for_the_tests_and_a_person() -> None:
    job = workflow()["jobs"]["deploy"]

    assert job["needs"] == ["test", "check-running"]
    assert job["if"].endswith(" && !failure() && !cancelled()")  # one of them may be skipped
    assert job["environment"] == "production"
    #% if cookiecutter.tenancy == "silo"
    assert job["strategy"]["matrix"]["tenant"]
    for name in ("strategy", "env"):
        assert workflow()["jobs"]["check-running"][name] == job[name]
    assert job["env"]["ENV"] == "{% raw %}${{ matrix.tenant }}{% endraw %}"
    assert job["concurrency"] == "{% raw %}deploy-${{ matrix.tenant }}{% endraw %}"


    #% else
    assert job["concurrency"] == "deploy"


    #% endif
def test_what_is_deployed_was_built_without_credentials() -> None:
    local = "SAM=.sam-cli/bin/sam"  # not the one that the runner may have
    assert commands("test") == [
        "make lint",
        "make test",
        f"make validate {local}",
        f"make build {local}",
    ]
    assert commands("deploy") == ["make .sam-cli/bin/sam", f"make release {local}"]
    assert "make build" in steps("test")[-2]["run"]
    uploaded, downloaded = action("test", "upload-artifact"), action("deploy", "download-artifact")
    assert uploaded["name"] == downloaded["name"]
    assert uploaded["path"] == downloaded["path"] == ".aws-sam/build"
    assert uploaded["include-hidden-files"] is True
    assert uploaded["if-no-files-found"] == "error"
    assert workflow()["env"] == {"PIP_ONLY_BINARY": ":all:"}


@pytest.mark.parametrize(
    ("job", "command"), [("check-running", "make check-running"), ("deploy", "make release")]
)
def test_with_credentials_there_is_one_command(job: str, command: str) -> None:
    credentials, last = steps(job)[-2:]

    assert credentials["uses"].startswith("aws-actions/configure-aws-credentials@")
    assert last["run"].startswith(command)


def test_what_is_checked_before_a_deployment_does_not_stop_it() -> None:
    assert workflow()["jobs"]["check-running"]["needs"] == "test"
    prepared, checked = commands("check-running")
    assert prepared == "make .venv/ready"
    assert checked.startswith('make check-running || echo "::warning::')


def test_dependabot_looks_at_the_locks_and_the_actions() -> None:
    config: Json = yaml_parse((GITHUB / "dependabot.yml").read_text(encoding="utf-8"))

    assert {entry["package-ecosystem"] for entry in config["updates"]} == {"uv", "github-actions"}
    for entry in config["updates"]:
        assert entry["directory"] == "/"
        assert entry["schedule"] == {"interval": "weekly"}
        assert [group["patterns"] for group in entry["groups"].values()] == [["*"]]
