"""Fixtures: a rendered project, and the environments in which its owner would run it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest
from cookiecutter.main import cookiecutter
from pytest_cookies.plugin import Cookies
from uv import find_uv_bin
from variants import FAR, ROOT, TEMPLATE, VARIANTS, complete, variant_id

UV = find_uv_bin()
LOCKS = TEMPLATE / "requirements"
BIN = "Scripts" if os.name == "nt" else "bin"
TOOLS = Path(sys.prefix) / BIN


@dataclass(frozen=True)
class Project:
    """A rendered project."""

    path: Path
    answers: dict[str, str]

    def files(self) -> list[str]:
        """Every file, as a path from the root of the project."""
        return sorted(
            path.relative_to(self.path).as_posix()
            for path in self.path.rglob("*")
            if path.is_file()
        )

    def texts(self) -> list[str]:
        """Every file but the pictures."""
        return [name for name in self.files() if not name.endswith(".png")]

    def read(self, name: str) -> str:
        """A file's text, with the line endings it has."""
        return (self.path / name).read_bytes().decode("utf-8")

    def run(
        self, *command: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; it has to succeed."""
        result = subprocess.run(
            [str(word) for word in command],
            cwd=self.path,
            env=None if env is None else dict(env),
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, (
            f"{command} failed for {self.answers}:\n{result.stdout}\n{result.stderr}"
        )
        return result


Bake = Callable[..., Project]


@pytest.fixture(autouse=True)
def _no_environment_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep what is set here from reaching the commands that the tests run."""
    # Without bytecode, each of the many programs would compile all that it imports.
    for name in (
        *("VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"),
        *("MAKEFLAGS", "MAKELEVEL"),
    ):
        monkeypatch.delenv(name, raising=False)
    # What mypy has read of the packages is the same for all projects.
    monkeypatch.setenv("MYPY_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "mypy-of-projects"))


@pytest.fixture
def bake(cookies: Cookies) -> Bake:
    """Render the template: ``bake(architecture="x86_64")``; what is not named is the default."""

    def render(**answers: str) -> Project:
        result = cookies.bake(extra_context=answers, template=str(ROOT))
        assert result.exception is None, f"{answers}: {result.exception!r}"
        return Project(Path(result.project_path), answers)

    return render


@pytest.fixture(scope="session", autouse=True)
def _compile_once() -> Iterator[None]:
    """Cookiecutter makes a Jinja environment for each project; the files are the same in all."""
    compile_source = jinja2.Environment.compile
    compiled: dict[Any, Any] = {}

    def compile_once(self: jinja2.Environment, source: str, *where: Any) -> Any:
        key = (self.line_statement_prefix, source, where)
        if key not in compiled:
            compiled[key] = compile_source(self, source, *where)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", compile_once)
        yield


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """Render the template as ``bake`` does, once for all workers; nobody may change the project."""
    folder = tmp_path_factory.getbasetemp()
    shared = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "rendered"
    config = folder / "cookiecutter.json"  # that is YAML, too: nothing of this machine takes part
    config.write_text(json.dumps({"replay_dir": str(folder / "replay")}), encoding="utf-8")

    def render(**answers: str) -> Project:
        output = shared / hashlib.sha256(repr(sorted(answers.items())).encode()).hexdigest()[:16]
        if not output.exists():
            own = tmp_path_factory.mktemp("own")
            cookiecutter(
                str(ROOT),
                no_input=True,
                extra_context=answers,
                output_dir=str(own),
                config_file=str(config),
                accept_hooks=False,
            )
            shared.mkdir(exist_ok=True)
            try:
                own.rename(output)
            except OSError:  # another worker was quicker
                shutil.rmtree(own)
        (path,) = output.iterdir()
        return Project(path, answers)

    return render


@pytest.fixture(params=[pytest.param(answers, id=variant_id(answers)) for answers in VARIANTS])
def project(request: pytest.FixtureRequest, bake: Bake) -> Project:
    """Each of the variants."""
    return bake(**request.param)


@pytest.fixture(
    params=[
        *(pytest.param(answers, id=variant_id(answers)) for answers in VARIANTS),
        *(pytest.param(complete(answers), id=answers["project_slug"]) for answers in FAR),
    ]
)
def rendering(request: pytest.FixtureRequest, rendered: Bake) -> Project:
    """Each of the variants, and of the answers that are far from their defaults, to be read."""
    return rendered(**request.param)


def python_for(version: str) -> str:
    """The interpreter of the Lambda runtime's version if this machine has it, else this one."""
    found = subprocess.run(
        [UV, "python", "find", "--no-project", "--no-python-downloads", "--system", version],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() if found.returncode == 0 else sys.executable


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Project], Path]:
    """The ``bin`` folder of an environment installed from a project's own files.

    Projects that ask for the same packages and the same Python share one.
    """
    root = tmp_path_factory.mktemp("environments")

    def environment(project: Project) -> Path:
        version = project.answers.get("python_version", "3.13")
        wanted = repr((project.read("requirements/dev.txt"), version))
        path = root / hashlib.sha256(wanted.encode()).hexdigest()[:12]
        if not path.exists():
            uv = uv_in(project.path)
            uv("venv", "--quiet", "--python", python_for(version), str(path))
            locked = ("--require-hashes", "-r", "requirements/dev.txt")
            uv("pip", "install", "--quiet", "--python", str(path), *locked)
        return path / BIN

    return environment


@pytest.fixture(scope="session")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SAM CLI, in an environment of its own."""
    return tool(tmp_path_factory.mktemp("sam-cli"), LOCKS / "sam.txt") / "sam"


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniStack, in an environment of its own."""
    path = tmp_path_factory.mktemp("ministack")
    return tool(path, LOCKS / "ministack.txt") / "ministack"


def tool(path: Path, lock: Path) -> Path:
    """The ``bin`` folder of an environment with what a lock names."""
    uv = uv_in(lock.parent)
    uv("venv", "--quiet", "--python", sys.executable, "--clear", "--seed", str(path))
    uv("pip", "install", "--quiet", "--python", str(path), "--require-hashes", "-r", lock.name)
    return path / BIN


def uv_in(folder: Path) -> Callable[..., None]:
    """Run uv in a folder."""

    def uv(*arguments: str) -> None:
        subprocess.run([UV, *arguments], cwd=folder, check=True)

    return uv


def git(folder: Path, *arguments: str | Path) -> str:
    """Run git as somebody."""
    author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    result = subprocess.run(
        ["git", *author, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{arguments}: {result.stdout}{result.stderr}"
    return result.stdout.strip()


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository as git has it, with what is not committed yet."""
    path = tmp_path_factory.mktemp("repository") / "cookiecutter-durable-workflow"
    git(ROOT, "clone", "--quiet", ROOT, path)
    git(ROOT, "--git-dir", path / ".git", "--work-tree", ROOT, "add", "--all")
    git(path, "commit", "--quiet", "--allow-empty", "--message", "Now")
    git(path, "reset", "--quiet", "--hard")
    return path
