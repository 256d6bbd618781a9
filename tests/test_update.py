"""A project takes a newer template, and keeps what its owner has changed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TOOLS, Project, git
from test_readmes import shell_blocks
from variants import ROOT

pytestmark = pytest.mark.slow

ANSWERS = {"project_name": "Loan Requests", "parallel_branch_count": "4", "author_name": "Ada"}
README = "{{cookiecutter.project_slug}}/README.md"


@pytest.fixture(scope="module")
def released() -> str:
    """The last release, or, before there is one, the first commit whose project has a README."""
    if git(ROOT, "rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("the history is not here: git fetch --unshallow")
    if tags := git(ROOT, "tag", "--list", "v*", "--sort=-version:refname", "--merged"):
        return tags.splitlines()[0]
    first = git(ROOT, "log", "--diff-filter=A", "--format=%H", "--", README)
    return first.splitlines()[-1]


def edit(project: Path) -> None:
    """Change the workflow and the README, as an owner would, and commit that."""
    for name, line, new in (
        ("README.md", "## Change it\n", "## Our runbook\n\nCall Ada.\n\n## Change it\n"),
        (
            "src/workflow/workflow.py",
            "    batch: BatchResult[JsonObject] = context.parallel(\n",
            '    context.logger.info("our own line")\n'
            "    batch: BatchResult[JsonObject] = context.parallel(\n",
        ),
    ):
        text = (project / name).read_text(encoding="utf-8")
        assert text.count(line) == 1
        (project / name).write_text(text.replace(line, new), encoding="utf-8")
    git(project, "commit", "--all", "--message", "Our own")


def check(project: Path, environments: Callable[[Project], Path]) -> None:
    """It has the owner's changes and what is new in the template, and passes its own checks."""
    updated = Project(project, ANSWERS)
    assert "## Our runbook\n\nCall Ada.\n" in updated.read("README.md")
    assert "our own line" in updated.read("src/workflow/workflow.py")
    assert "Loan Requests" in updated.read(".cookiecutter.yaml")
    python = environments(updated) / "python"
    updated.run(python, "-m", "ruff", "check", ".")
    updated.run(python, "-m", "ruff", "format", "--check", ".")
    updated.run(python, "-m", "mypy")
    updated.run(python, "-m", "pytest", "-q")


def make(command: list[str], address: str, version: str, output: Path) -> Path:
    """Render a version of the template, and commit what it has made."""
    output.mkdir()
    chosen = ["--checkout", version, "--no-input", "--output-dir", str(output)]
    if command[-1] == "create":
        answers = ["--extra-context", json.dumps(ANSWERS)]
    else:
        answers = [f"{name}={value}" for name, value in ANSWERS.items()]
    home = {**os.environ, "HOME": str(output)}  # Cookiecutter keeps clones there
    subprocess.run([*command, address, *chosen, *answers], env=home, check=True)
    project = output / "loan-requests"
    git(project, "init", "--quiet", "--initial-branch", "main")
    git(project, "add", "--all")
    git(project, "commit", "--message", "First")
    return project


def test_with_git_alone(
    repository: Path, tmp_path: Path, environments: Callable[[Project], Path], released: str
) -> None:
    """The commands of the project's README."""
    address = f"git+{repository.as_uri()}"
    project = make([str(TOOLS / "cookiecutter")], address, released, tmp_path / "output")
    edit(project)
    readme = (ROOT / README).read_text(encoding="utf-8")
    (commands,) = (block for block in shell_blocks(readme) if "<template>" in block)
    script = commands.replace("<template>", address)
    if not (project / ".cookiecutter.yaml").exists():  # it is older than the record
        copy = "cp .cookiecutter.yaml ../answers.yaml\n"
        assert copy in script
        script = script.replace(copy, "")
        record = json.dumps({"default_context": ANSWERS})
        (project.parent / "answers.yaml").write_text(record, encoding="utf-8")
    ada = {"NAME": "Ada", "EMAIL": "ada@example.com"}
    person = {f"GIT_{who}_{k}": v for who in ("AUTHOR", "COMMITTER") for k, v in ada.items()}
    path = os.pathsep.join([str(TOOLS), os.environ["PATH"]])

    result = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=project,
        env={**os.environ, **person, "PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert git(project, "branch", "--show-current") == "main"
    check(project, environments)


def test_with_cruft(
    repository: Path, tmp_path: Path, environments: Callable[[Project], Path], released: str
) -> None:
    cruft = str(TOOLS / "cruft")
    project = make([cruft, "create"], repository.as_uri(), released, tmp_path / "output")
    edit(project)

    newest = git(repository, "rev-parse", "HEAD")
    subprocess.run(
        [cruft, "update", "--skip-apply-ask", "--checkout", newest], cwd=project, check=True
    )

    assert not list(project.rglob("*.rej"))
    assert not git(project, "diff", "--name-only", "--diff-filter=U")
    check(project, environments)
