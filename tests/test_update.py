"""A project takes a newer template, and keeps what its owner has changed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import TOOLS, Project, git
from recipes import CHANGES, follow
from test_readmes import shell_blocks
from variants import QUESTIONS, ROOT

pytestmark = pytest.mark.slow

ANSWERS = {"project_name": "Loan Requests", "parallel_branch_count": "4", "author_name": "Ada"}
RENDER = "{{cookiecutter.project_slug}}"
UPDATES = "docs/updates.md"
NEWER = "9.9.9"
MARK = "Changed in the newer version."
CHASSIS = ("src/chassis", "ops", "tests/chassis")
# An owner has no use for the other two ways to change the checks.
FOLLOWED = [change for change in CHANGES if change not in ("One less", "None at all")]


@pytest.fixture(scope="module")
def older(repository: Path) -> str:
    """The last release, or, before there is one, the template as it is now."""
    if tags := git(ROOT, "tag", "--list", "v*", "--sort=-version:refname", "--merged"):
        return tags.splitlines()[0]
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def newer(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose newest commit changes every file of the chassis, and the version."""
    path = tmp_path_factory.mktemp("newer") / repository.name
    git(repository, "clone", "--quiet", repository, path)
    for folder in CHASSIS:
        for file in (path / RENDER / folder).rglob("*.py*"):
            text = file.read_text(encoding="utf-8")
            assert text.startswith('"""'), file
            file.write_text(text.replace('"""', f'# {MARK}\n"""', 1), encoding="utf-8")
    questions = path / "cookiecutter.json"
    text = questions.read_text(encoding="utf-8")
    now = f'"__version": "{QUESTIONS["__version"]}"'
    assert text.count(now) == 1
    questions.write_text(text.replace(now, f'"__version": "{NEWER}"'), encoding="utf-8")
    git(path, "commit", "--all", "--quiet", "--message", "Newer")
    return path


def edit(project: Path) -> dict[str, bytes]:
    """Make every change of docs/change.md, and one of the README; return the owner's files."""
    touched = {name for change in FOLLOWED for name in follow(project, change)}
    readme = project / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(text.replace("## Read on", "## Our runbook\n\nCall Ada.\n\n## Read on"))
    for command in (("format", "--quiet"), ("check", "--quiet", "--fix")):
        subprocess.run([TOOLS / "ruff", *command, "."], cwd=project, check=True)
    git(project, "commit", "--all", "--message", "Our own")
    return {name: (project / name).read_bytes() for name in {*touched, "README.md"}}


def check(project: Path, ours: dict[str, bytes], environments: Callable[[Project], Path]) -> None:
    """It has the owner's changes and the newer chassis, and passes its own checks."""
    assert {name: (project / name).read_bytes() for name in ours} == ours
    updated = Project(project, ANSWERS)
    chassis = [path for folder in CHASSIS for path in (project / folder).rglob("*.py")]
    assert len(chassis) > 50
    assert all(path.read_text(encoding="utf-8").startswith(f"# {MARK}") for path in chassis)
    recorded = yaml.safe_load(updated.read(".cookiecutter.yaml"))
    assert recorded["template_version"] == NEWER
    assert recorded["default_context"]["project_name"] == "Loan Requests"
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
    repository: Path,
    newer: Path,
    older: str,
    tmp_path: Path,
    environments: Callable[[Project], Path],
) -> None:
    """The commands of the project's docs/updates.md."""
    address = f"git+{repository.as_uri()}"
    project = make([str(TOOLS / "cookiecutter")], address, older, tmp_path / "output")
    ours = edit(project)
    pages = (project / UPDATES).read_text(encoding="utf-8")
    (commands,) = (block for block in shell_blocks(pages) if "<template>" in block)
    script = commands.replace("<template>", f"git+{newer.as_uri()}")
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
    check(project, ours, environments)


def test_with_cruft(
    repository: Path,
    newer: Path,
    older: str,
    tmp_path: Path,
    environments: Callable[[Project], Path],
) -> None:
    cruft = str(TOOLS / "cruft")
    project = make([cruft, "create"], newer.as_uri(), older, tmp_path / "output")
    ours = edit(project)

    subprocess.run(
        [cruft, "update", "--skip-apply-ask", "--checkout", git(newer, "rev-parse", "HEAD")],
        cwd=project,
        check=True,
    )

    assert not list(project.rglob("*.rej"))
    assert not git(project, "diff", "--name-only", "--diff-filter=U")
    check(project, ours, environments)
