"""The commands of both READMEs, as their readers would type them, in an empty HOME."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import UV, Bake, Project, git
from recipes import follow, recipes
from variants import FAR, QUESTIONS, ROOT, public_questions

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


README = (ROOT / "README.md").read_text(encoding="utf-8")


def command_with(part: str) -> str:
    """The one command of the template's README that has this in it."""
    (command,) = (block.strip() for block in shell_blocks(README) if part in block)
    return command


@pytest.mark.slow
def test_the_first_command_of_the_template(repository: Path, tmp_path: Path) -> None:
    """With uv alone, from the address of the repository."""
    command = shell_blocks(README)[0].strip()
    address = "gh:org/cookiecutter-durable-workflow"
    assert command == f"uvx cookiecutter {address}"
    here = command.replace(address, f"git+{repository.as_uri()}")
    env = empty_home(tmp_path)
    (tmp_path / "tools" / "uvx").symlink_to(Path(UV).with_name("uvx"))

    result = type_at_terminal(here, "\n" * len(public_questions()), tmp_path, env)

    check_made(result, tmp_path / "order-approvals")


@pytest.mark.slow
def test_the_command_without_uv(repository: Path, tmp_path: Path) -> None:
    """A clone, a person who accepts every default, and a project beside it."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", repository, clone)
    command = command_with("--output-dir ..")

    result = type_at_terminal(command, "\n" * len(public_questions()), clone, empty_home(tmp_path))

    check_made(result, tmp_path / "order-approvals")


def check_made(result: subprocess.CompletedProcess[str], project: Path) -> None:
    """Every question was asked, and the next steps lead to the project."""
    assert result.returncode == 0, result.stdout + result.stderr
    shown = " ".join(result.stdout.split())  # the terminal wraps the prompts
    for name in public_questions():
        label = QUESTIONS["__prompts__"][name]
        assert (label if isinstance(label, str) else label["__prompt__"]) in shown
    (step,) = re.findall(r"^  cd (.*)$", result.stdout, re.M)
    assert Path(step) == project.resolve()
    assert (project / "template.yaml").is_file()


def test_the_last_command_of_the_template_is_what_ci_runs() -> None:
    setup, _, tests = command_with("pytest").rpartition(" && ")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert f"\n{setup}\n" in ci
    assert f"\n{tests} " in ci
    assert README.index("## Contributing") < README.index(tests)


# What the owner types, in the order of the pages; the others need AWS or the template.
OURS = {
    "README.md": [
        "make run",
        "make run EVENT=events/demo.json ANSWER=approve",
        "make test",
        "make validate",
        "make build",
    ],
    "docs/change.md": ["make format", "make lint", "make test"],
    "docs/deploy.md": ["make lock"],
    "docs/local-aws.md": [
        "make local-up",
        "make local-deploy",
        "make local-start",
        "make local-approve",
        "make local-down",
        "export LOCAL_PORT=5566",
    ],
    "docs/sizes-and-cost.md": ["make cost ITEMS=100"],
}


@pytest.mark.slow
def test_the_commands_of_the_project(bake: Bake, tmp_path: Path) -> None:
    project = bake()
    env = empty_home(tmp_path)
    assert len(project.read("README.md").splitlines()) <= 120
    before = {name: project.read(name) for name in project.texts()}

    for page, expected in OURS.items():
        blocks = [b for b in shell_blocks(project.read(page)) if not b.startswith(NEEDS)]
        commands = [line for block in blocks for line in block.splitlines()]
        assert commands == expected, page
        for command in commands:
            result = type_at_terminal(command, "y\n", project.path, env)
            assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
            if "make run" in command:
                check_run(result)
            if "make cost" in command:
                operations = re.findall(r"(\d+) durable operations", result.stdout)[0]
                assert f"| by default | {operations} |" in project.read(page)
    built = project.path / ".aws-sam" / "build" / "WorkflowFunction"
    assert {"chassis", "workflow"} <= {path.name for path in built.iterdir()}
    assert {name: project.read(name) for name in before} == before


def check_run(result: subprocess.CompletedProcess[str]) -> None:
    """The result as JSON on standard output, the rest on standard error."""
    output = json.loads(result.stdout)
    assert output["status"].startswith("COMPLETED")
    assert output["callbackResult"] == {"decision": "APPROVED", "decidedBy": "ada", "comment": None}
    assert output["metrics"]["itemsProcessed"] == 5
    last = result.stderr.splitlines()[-1]
    assert re.fullmatch(r"\d+ durable operations in [12] invocations", last)


@pytest.mark.slow
def test_the_commands_of_the_project_without_make(bake: Bake, tmp_path: Path) -> None:
    project = bake(parallel_branch_count="10", callback_timeout_action="fail")
    env = empty_home(tmp_path)
    (tmp_path / "tools" / "make").unlink()
    env["PATH"] = str(tmp_path / "tools")
    section = project.read("docs/operate.md").split("## Without make")[1]
    commands = [line for block in shell_blocks(section) for line in block.splitlines()]
    assert len(commands) == 4

    for command in commands:
        program, *arguments = command.split()
        path = shutil.which(program, path=env["PATH"]) or project.path / program
        project.run(path, *arguments, env=env)


@pytest.mark.slow
@pytest.mark.parametrize(
    "answers", [{}, *FAR], ids=lambda each: each.get("project_slug", "default")
)
def test_a_failure_is_replayed_fixed_and_forked_as_shown(
    answers: dict[str, str], bake: Bake, environments: Callable[[Project], Path]
) -> None:
    """Every transcript of the section; ``...`` stands for whatever there is."""
    project, section = bake(**answers), "Replay a failed execution"
    (project.path / ".venv").symlink_to(environments(project).parent)
    (project.path / ".venv" / "ready").touch()
    before, after = re.findall(
        r"^```text\n(.*?)^```$", recipes(project.path, "operate.md")[section], re.M | re.S
    )
    check_transcript(before, project.path)
    assert follow(project.path, section, "operate.md") == ["src/workflow/callback_helper.py"]
    check_transcript(after, project.path)


def check_transcript(transcript: str, folder: Path) -> None:
    """Each command prints what is shown below it."""
    _, *shown = re.split(r"^\$ ", transcript, flags=re.M)
    assert shown
    for command, *lines in map(str.splitlines, shown):
        pattern = "".join(
            r"(.*\n)*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
            for line in lines
        )
        whole = ["sh", "-c", f"{command} 2>&1"]
        printed = subprocess.run(whole, cwd=folder, capture_output=True, text=True, check=False)
        assert re.fullmatch(pattern, printed.stdout), f"{command}\n{printed.stdout}"
