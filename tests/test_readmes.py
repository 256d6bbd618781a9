"""The commands of both READMEs, as their readers would type them, in an empty HOME."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Bake, Project, git
from variants import QUESTIONS, ROOT, public_questions

NEEDS = "# needs "  # an AWS account, or the template


def shell_blocks(text: str) -> list[str]:
    """The code blocks that are commands."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)


def empty_home(path: Path) -> dict[str, str]:
    """The environment of somebody who has Python, pip, git and make, and nothing else."""
    home = path / "home"
    tools = path / "tools"
    home.mkdir()
    tools.mkdir()
    for tool in ("git", "make"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    for name in ("python", "python3"):
        (tools / name).write_text(f'#!/bin/sh\nexec "{base}" "$@"\n')
        (tools / name).chmod(0o755)
    network = re.compile("CERT|CA_BUNDLE|PROXY", re.IGNORECASE)
    return {
        "HOME": str(home),
        "USER": "ada",
        "LANG": "C.UTF-8",
        "PATH": f"{tools}:/usr/bin:/bin",
        "SAM_CLI_TELEMETRY": "0",
        **{name: value for name, value in os.environ.items() if network.search(name)},
    }


def type_at_terminal(
    command: str, keys: str, folder: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command whose standard input is a terminal, at which somebody types."""
    ours, theirs = os.openpty()
    try:
        os.write(ours, keys.encode())
        return subprocess.run(
            ["sh", "-c", command],
            cwd=folder,
            env=env,
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.slow
def test_the_first_command_of_the_template(repository: Path, tmp_path: Path) -> None:
    """A clone, a person who accepts every default, and a project that runs."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", repository, clone)
    command = shell_blocks((ROOT / "README.md").read_text(encoding="utf-8"))[0]

    result = type_at_terminal(command, "\n" * len(public_questions()), clone, empty_home(tmp_path))

    assert result.returncode == 0, result.stdout + result.stderr
    assert "cd order-approvals" in result.stdout
    shown = " ".join(result.stdout.split())  # the terminal wraps the prompts
    for name in public_questions():
        label = QUESTIONS["__prompts__"][name]
        assert (label if isinstance(label, str) else label["__prompt__"]) in shown
    assert (tmp_path / "order-approvals" / "template.yaml").is_file()


def test_the_second_command_of_the_template_is_what_ci_runs() -> None:
    command = shell_blocks((ROOT / "README.md").read_text(encoding="utf-8"))[1].strip()
    setup, _, tests = command.rpartition(" && ")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert f"\n{setup}\n" in ci
    assert f"\n{tests} " in ci


@pytest.mark.slow
def test_the_commands_of_the_project(bake: Bake, tmp_path: Path) -> None:
    project = bake()
    env = empty_home(tmp_path)
    blocks = shell_blocks(project.read("README.md"))
    ours = [block for block in blocks if not block.startswith(NEEDS)]
    assert len(blocks) - len(ours) == 7
    assert [line for block in ours for line in block.splitlines()] == [
        "make run",
        "make run EVENT=events/demo.json ANSWER=approve",
        "make test",
        "make format",
        "make lint",
        "make test",
        "make local-up",
        "make local-deploy",
        "make local-start",
        "make local-approve",
        "make local-down",
        "make validate",
        "make build",
        "make cost ITEMS=100",
    ]
    before = {name: project.read(name) for name in project.files()}

    for block in ours:
        for command in block.splitlines():
            result = type_at_terminal(command, "y\n", project.path, env)
            assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
            if "make run" in command:
                check_run(result)
    assert (project.path / ".aws-sam" / "build" / "WorkflowFunction" / "workflow").is_dir()
    assert {name: project.read(name) for name in before} == before


def check_run(result: subprocess.CompletedProcess[str]) -> None:
    """The result as JSON on standard output, the rest on standard error."""
    output = json.loads(result.stdout)
    assert output["status"].startswith("COMPLETED")
    assert output["callbackResult"] == {"decision": "APPROVED", "decidedBy": "ada", "comment": None}
    assert output["metrics"]["itemsProcessed"] == 5
    assert re.fullmatch(r"\d+ durable operations in 2 invocations", result.stderr.splitlines()[-1])


@pytest.mark.slow
def test_the_commands_of_the_project_without_make(bake: Bake, tmp_path: Path) -> None:
    project = bake(parallel_branch_count="10", callback_timeout_action="fail")
    env = empty_home(tmp_path)
    (tmp_path / "tools" / "make").unlink()
    env["PATH"] = str(tmp_path / "tools")
    section = project.read("README.md").split("## Without make")[1]
    commands = re.findall(r"^\|[^|]*\| `([^`]*)` \|$", section, re.M)
    assert len(commands) == 17

    for command in commands:
        if "--tenant" not in command and "local_aws" not in command:  # what needs a stack
            run_without_shell(project, command, env)


def run_without_shell(project: Project, command: str, env: dict[str, str]) -> None:
    program, *arguments = command.split()
    path = shutil.which(program, path=env["PATH"]) or project.path / program
    project.run(path, *arguments, env=env)
