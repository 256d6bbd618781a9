"""The same answers make the same project, whichever way they reach the template."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TOOLS
from variants import STRANGE_TEXT

pytestmark = pytest.mark.slow

ANSWERS = {
    "project_name": "Parity",
    "description": STRANGE_TEXT,
    "tenancy": "silo",
    "architecture": "x86_64",
    "parallel_branch_count": "10",
    "callback_timeout_minutes": "1",
}
WORDS = [f"{name}={value}" for name, value in ANSWERS.items()]
CONFIG = json.dumps({"default_context": ANSWERS}, ensure_ascii=False)  # that is YAML, too


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty HOME, so that nobody's configuration or cache takes part."""
    return tmp_path_factory.mktemp("home")


Run = Callable[..., None]


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    """Run a command that has to succeed."""

    def run_command(*command: str | Path, cwd: Path | None = None) -> None:
        result = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, "HOME": str(home), "SAM_CLI_TELEMETRY": "0"},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"

    return run_command


COOKIECUTTER = TOOLS / "cookiecutter"


def from_a_path(run: Run, repository: Path, output: Path) -> None:
    run(COOKIECUTTER, repository, "--no-input", "--output-dir", output, *WORDS)


def from_a_zip(run: Run, repository: Path, output: Path) -> None:
    archive = output.parent / "template.zip"
    prefix = f"--prefix={repository.name}/"
    run("git", "archive", prefix, "--output", archive, "HEAD", cwd=repository)
    run(COOKIECUTTER, archive, "--no-input", "--output-dir", output, *WORDS)


def from_git(run: Run, repository: Path, output: Path) -> None:
    address = f"git+{repository.as_uri()}"
    run(COOKIECUTTER, address, "--no-input", "--output-dir", output, *WORDS)


def from_a_config_file(run: Run, repository: Path, output: Path) -> None:
    config = output.parent / "config.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    run(COOKIECUTTER, repository, "--no-input", "--output-dir", output, "--config-file", config)


def from_what_the_project_records(run: Run, repository: Path, output: Path) -> None:
    first = output.parent / "first"
    from_a_path(run, repository, first)
    config = first / "parity" / ".cookiecutter.yaml"
    run(COOKIECUTTER, repository, "--no-input", "--output-dir", output, "--config-file", config)


def from_a_replay(run: Run, repository: Path, output: Path) -> None:
    from_a_path(run, repository, output.parent / "played")
    run(COOKIECUTTER, repository, "--replay", "--output-dir", output)


def from_cruft(run: Run, repository: Path, output: Path) -> None:
    output.mkdir()
    context = ("--extra-context", json.dumps(ANSWERS))
    run(
        *(TOOLS / "cruft", "create", repository.as_uri(), "--no-input", "--output-dir", output),
        *context,
    )
    (output / "parity" / ".cruft.json").unlink()


WAYS = [
    from_a_zip,
    from_git,
    from_a_config_file,
    from_what_the_project_records,
    from_a_replay,
    from_cruft,
]


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_cookiecutter_and_cruft(
    run: Run, repository: Path, tmp_path: Path, way: Callable[[Run, Path, Path], None]
) -> None:
    from_a_path(run, repository, tmp_path / "expected")
    way(run, repository, tmp_path / "output")

    assert tree(tmp_path / "output") == tree(tmp_path / "expected")


def test_sam_init(run: Run, repository: Path, tmp_path: Path, sam: Path) -> None:
    """With a SAM CLI that was installed by pip; the others refuse templates with hooks."""
    from_a_path(run, repository, tmp_path / "expected")
    shutil.rmtree(tmp_path / "output", ignore_errors=True)
    (tmp_path / "output").mkdir()
    context = ("--extra-context", json.dumps(ANSWERS))
    run(sam, "init", "--location", repository, "--no-input", *context, cwd=tmp_path / "output")

    assert tree(tmp_path / "output") == tree(tmp_path / "expected")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file with its content, and which of them can be run."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert "parity/template.yaml" in files
    return files
