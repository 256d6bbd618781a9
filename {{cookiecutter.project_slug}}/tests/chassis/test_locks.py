"""What is installed is named by version and hash, and a lock is that of the file that it locks."""

from __future__ import annotations

import re
import tomllib

import pytest

from ops.local import ROOT

LOCKS = sorted(path.relative_to(ROOT).as_posix()[:-3] for path in ROOT.glob("*/*.in"))
DIRECT = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?==(\S+)")
LOCKED = re.compile(
    r"(?P<name>[\w.-]+)==(?P<version>\S+)(?: ; (?P<marker>.+))? \\\n"
    r"(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+"
    r"(?P<via>(?:    #.*\n)+)"
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def direct(lock: str) -> dict[str, str]:
    """The versions that an ``.in`` file names."""
    lines = [line for line in read(f"{lock}.in").splitlines() if line[0] not in "#-"]
    found = [DIRECT.fullmatch(line) for line in lines]
    assert all(found), f"{lock}.in: expected name==version in every line"
    return {match[1]: match[2] for match in found if match}


def entries(lock: str) -> list[re.Match[str]]:
    """The packages of a lock; there is nothing else in it, and so no address of a registry."""
    lines = read(f"{lock}.txt").splitlines(keepends=True)
    text = "".join(lines[2:])
    found = list(LOCKED.finditer(text))
    assert "".join(entry[0] for entry in found) == text, f"{lock}.txt: a package has no hash"
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_what_is_asked_for_and_nothing_of_before(lock: str) -> None:
    locked = {entry["name"]: entry["version"] for entry in entries(lock)}
    asked = {entry["name"] for entry in entries(lock) if f"-r {lock}.in\n" in entry["via"]}

    assert direct(lock).items() <= locked.items(), f"{lock}.in has changed: make lock"
    assert asked == direct(lock).keys(), f"{lock}.in has changed: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_says_how_it_is_made(lock: str) -> None:
    """Dependabot reads it, and takes files of up to 500,000 bytes in folders of the root."""
    project = tomllib.loads(read("pyproject.toml"))["project"]
    oldest = project["requires-python"].removeprefix(">=")

    assert read(f"{lock}.txt").splitlines()[1] == (
        f"#    uv pip compile {lock}.in --universal --python-version {oldest} "
        f"--generate-hashes --no-emit-index-url --output-file {lock}.txt"
    )
    assert (ROOT / f"{lock}.txt").stat().st_size < 500_000


def test_make_locks_every_file() -> None:
    line = re.compile(r"^LOCKS := (.*) \$\(addprefix requirements/,(.*)\)$", re.M)
    ((shipped, others),) = line.findall(read("Makefile"))

    assert {*shipped.split(), *(f"requirements/{name}" for name in others.split())} == {*LOCKS}


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock.startswith("src/")])
def test_what_is_tested_is_what_is_shipped(lock: str) -> None:
    """And on whatever machine it is built: pip would ask that machine for what a marker says."""
    shipped, tested = entries(lock), entries("requirements/dev")
    versions = {(entry["name"], entry["version"]) for entry in tested}

    assert {(entry["name"], entry["version"]) for entry in shipped} <= versions
    assert not [entry[0] for entry in shipped if entry["marker"]]


def test_everything_is_installed_by_hash() -> None:
    files = ["Makefile", "src/Makefile", ".github/workflows/ci.yml"]
    files += [path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")]
    installs = re.compile(r"(?:pip|INSTALL =) install\b.*")
    commands = [
        f"{name}: {command}"
        for name in files
        for command in installs.findall(read(name).replace("\\\n", " "))
    ]

    assert {command.partition(":")[0] for command in commands} >= {"Makefile", "src/Makefile"}
    assert not [command for command in commands if "--require-hashes" not in command]
