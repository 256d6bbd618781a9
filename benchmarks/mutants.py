"""Which wrong lines stay green: puts mistakes into a rendered project, one at a time.

The mistakes are those of mutmut, and a few more that people make: a statement or a call that is
left out, a condition that is turned round, a line of ``template.yaml`` that is missing. mutmut's
own runner leaves out decorated functions, which every durable step is, and the template. A mistake
is tried with the tests nearest to its file, and with the whole suite if those stay green::

    make mutants                      # an hour, another sample for each SEED
    make mutants SEED=7 MINUTES=10
    make mutants FILES='src/chassis/tenancy/*'

Texts of several words are left alone: they are messages. What stays green and is right all the
same is in ``equivalent-mutants.toml``, with the reason. The exit status is 1 if anything else does.
"""

from __future__ import annotations

import argparse
import difflib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import libcst as cst
from mutmut.mutation.mutators import mutation_operators

ROOT = Path(__file__).parent.parent
EQUIVALENT = Path(__file__).with_name("equivalent-mutants.toml")
EVERYTHING = {
    "tenancy": "isolated",
    "fan_out": "yes",
    "customer_managed_key": "yes",
    "callback_timeout_action": "continue",
    "extra_operations": "wait,wait_for_condition,invoke,child_context",
}
PYTEST = [
    *(".venv/bin/python", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"),
    *("-o", "timeout=40"),
]
OF_MAKE = {"MAKEFLAGS", "MAKELEVEL"}
NO_SOURCE = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom)


@dataclass(frozen=True)
class Mutant:
    """A file of the project with one mistake in it."""

    file: str
    was: str
    wrong: str

    def diff(self) -> str:
        """The lines that differ, with a line of the file around them."""
        lines = difflib.unified_diff(
            self.was.splitlines(), self.wrong.splitlines(), self.file, self.file, "", "", 1, ""
        )
        return "\n".join(lines)

    def change(self) -> tuple[str, str, str]:
        """What identifies the mutant wherever its lines are."""
        lines = [line for line in self.diff().splitlines()[2:] if line[0] in "+-"]
        was, wrong = ("\n".join(li[1:].strip() for li in lines if li[0] == sign) for sign in "-+")
        return self.file, was, wrong


Make = Callable[[], Mutant]


class _Visitor(cst.CSTVisitor):
    """Collects each node with what a mistake makes of it."""

    def __init__(self) -> None:
        self.found: list[tuple[cst.CSTNode, cst.CSTNode]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, NO_SOURCE) or _is_text(node):
            return False
        for kind, operator in [*mutation_operators, *MORE_OPERATORS]:
            if isinstance(node, kind):
                wrong = list(operator(node))
                # Of a string one mutant, not its case as well.
                self.found += [
                    (node, one) for one in wrong[: 1 if kind is cst.BaseString else None]
                ]
        return True


def _is_text(node: cst.CSTNode) -> bool:
    """Whether it is a docstring, a message, or a name in ``__all__``."""
    if isinstance(node, cst.Assign):
        return cst.Module([]).code_for_node(node).startswith("__all__")
    text = isinstance(node, cst.SimpleString | cst.FormattedString | cst.ConcatenatedString)
    return text and " " in cst.Module([]).code_for_node(node)


def leave_out(node: cst.SimpleStatementLine) -> Iterator[cst.SimpleStatementLine]:
    """A call whose result nobody takes, or an error that is not raised."""
    (first, *_) = node.body
    called = isinstance(first, cst.Expr) and isinstance(first.value, cst.Call)
    if called or isinstance(first, cst.Raise):
        yield node.with_changes(body=[cst.Pass()])


def unwrap(node: cst.Call) -> Iterator[cst.BaseExpression]:
    """What is passed or asked, instead of what is made of it."""
    if node.args and not node.args[0].star and not node.args[0].keyword:
        yield node.args[0].value.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    elif isinstance(node.func, cst.Attribute) and not node.args:
        yield node.func.value


def turn_round(node: cst.If) -> Iterator[cst.If]:
    """The opposite of a condition."""
    test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    yield node.with_changes(
        test=cst.UnaryOperation(cst.Not(), test), whitespace_before_test=cst.SimpleWhitespace(" ")
    )


MORE_OPERATORS = [
    (cst.SimpleStatementLine, leave_out),
    (cst.Call, unwrap),
    (cst.If, turn_round),
]


def of_python(file: str, was: str) -> Iterator[Make]:
    """The mutants of a module."""
    module, visitor = cst.parse_module(was), _Visitor()
    module.visit(visitor)

    def make(node: cst.CSTNode, wrong: cst.CSTNode) -> Mutant:
        return Mutant(file, was, cst.ensure_type(module.deep_replace(node, wrong), cst.Module).code)

    yield from (partial(make, *replacement) for replacement in visitor.found)


def of_yaml(file: str, was: str) -> Iterator[Make]:
    """A line that is missing, of those that have none below them, or has a larger number."""
    lines = was.splitlines(keepends=True)
    message = sys.maxsize  # the indent of a description that goes on
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        indent = len(line) - len(line.lstrip())
        is_leaf = len(below) - len(below.lstrip()) <= indent
        if indent > message or not line.strip():
            continue
        is_for_people = line.lstrip().startswith(("#", "Description:", "AlarmDescription:"))
        message = indent if is_for_people else sys.maxsize
        if is_for_people:
            continue
        larger = re.sub(r"(?<=: )\d+$", lambda found: str(int(found[0]) + 1), line)
        for wrong in [""] * is_leaf + [larger] * (larger != line):
            yield partial(
                Mutant, file, was, "".join([*lines[:number], wrong, *lines[number + 1 :]])
            )


def mutants(project: Path, patterns: Iterable[str]) -> list[Make]:
    """All mutants of the files of a project that match, each to be made when it is drawn."""
    found: list[Make] = []
    paths = [*project.glob("src/**/*.py"), *project.glob("ops/*.py"), project / "template.yaml"]
    for path in sorted(paths):
        file = path.relative_to(project).as_posix()
        if any(fnmatch(file, pattern) for pattern in patterns):
            of_file = of_yaml if path.suffix == ".yaml" else of_python
            found += of_file(file, path.read_text(encoding="utf-8"))
    return found


def nearest(project: Path, file: str) -> list[str]:
    """The tests of a file: its own examples, and the tests of its name and of its folder."""
    path = Path(file)
    if path.suffix == ".yaml":
        return ["tests/chassis/test_template.py", "tests/chassis/test_wiring.py"]
    folder = Path("tests", "chassis", "ops") if path.parts[0] == "ops" else None
    folder = folder or Path("tests", *path.parts[1:-1])
    if path.parent.name == "steps":
        folder = folder.with_name("durable")
    tests = [folder / f"test_{path.stem}.py", *([folder] if folder.name != "chassis" else [])]
    return [file, *(str(test) for test in tests if (project / test).exists())]


class Copy:
    """A copy of the project for one worker."""

    def __init__(self, project: Path, folder: Path, timeout: float = 600) -> None:
        """Make it; a run of its suite may take so many seconds."""
        self.path = folder
        shutil.copytree(project, folder, ignore=shutil.ignore_patterns(".venv", ".git"))
        (folder / ".venv").symlink_to((project / ".venv").resolve())
        self._timeout = timeout
        self._said = ""
        self._environment = {k: v for k, v in os.environ.items() if k not in OF_MAKE}

    def check(self) -> float:
        """Run the suite without a mistake; return the seconds that it takes."""
        begin = time.monotonic()
        if (how := self._run([])) != "survived":
            sys.exit(f"the suite is red without any mistake: {how}\n{self._said}")
        seconds = time.monotonic() - begin
        self._timeout = 3 * seconds + 60
        # There is bytecode of everything now, and none is to be made of a mutant.
        self._environment["PYTHONDONTWRITEBYTECODE"] = "1"
        return seconds

    def again(self, folder: Path) -> Copy:
        """Another copy, that needs no check."""
        other = Copy(self.path, folder, self._timeout)
        other._environment = self._environment
        return other

    def tried(self, mutant: Mutant) -> str:
        """``killed``, ``timed out`` or ``survived``."""
        path = self.path / mutant.file
        times = path.stat()
        path.write_text(mutant.wrong, encoding="utf-8")
        try:
            how = self._run(nearest(self.path, mutant.file))
            return how if how != "survived" else self._run([])
        finally:
            path.write_text(mutant.was, encoding="utf-8")
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as its bytecode knows it

    def _run(self, tests: list[str]) -> str:
        try:
            done = subprocess.run(
                [*PYTEST, *tests],
                cwd=self.path,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=self._timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "timed out"
        self._said = done.stdout
        if "Failed: Timeout" in done.stdout or "+ Timeout +" in done.stdout:
            return "timed out"
        return "killed" if done.returncode else "survived"


def render(folder: Path) -> Path:
    """A project with everything, and its environment."""
    answers = [f"{name}={answer}" for name, answer in EVERYTHING.items()]
    command = [sys.executable, "-m", "cookiecutter", "--no-input", str(ROOT), "-o", str(folder)]
    subprocess.run([*command, *answers], check=True, stdout=subprocess.DEVNULL)
    (project,) = folder.iterdir()
    subprocess.run(["make", "--silent", ".venv/ready"], cwd=project, check=True)
    return project


def known() -> dict[tuple[str, str, str], str]:
    """The mutants that are right all the same, and why."""
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("equivalent", [])
    return {(entry["file"], entry["was"], entry["wrong"]): entry["why"] for entry in entries}


def main() -> int:
    """Try a sample, and print what stays green."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--minutes", type=float, default=60, help="begin no mutant after them")
    parser.add_argument("--sample", type=int, default=10**9, help="mutants at most")
    parser.add_argument("--files", default="*", help="patterns, such as 'src/chassis/*'")
    parser.add_argument("--project", type=Path, help="rendered, with .venv, instead of a new one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        project = options.project or render(folder / "project")
        drawn = mutants(project, options.files.split())
        print(f"{len(drawn)} mutants", flush=True)
        random.Random(options.seed).shuffle(drawn)
        copies: SimpleQueue[Copy] = SimpleQueue()
        first = Copy(project, folder / "0")
        print(f"the suite alone: {first.check():.0f} s", flush=True)
        workers = os.cpu_count() or 1
        for copy in [first, *(first.again(folder / str(n)) for n in range(1, workers))]:
            copies.put(copy)
        deadline, equivalent = time.monotonic() + 60 * options.minutes, known()

        def attempt(make: Make) -> str:
            if time.monotonic() > deadline:
                return "not tried"
            try:
                mutant = make()
                if mutant.file.endswith(".py"):
                    compile(mutant.wrong, mutant.file, "exec")
            except (SyntaxError, cst.CSTValidationError):
                return "no program"
            copy = copies.get()
            try:
                how = copy.tried(mutant)
            finally:
                copies.put(copy)
            if how == "survived" and mutant.change() in equivalent:
                how = "equivalent"
            print(f"\n{mutant.diff()}" if how == "survived" else how[0], end=" ", flush=True)
            return how

        with ThreadPoolExecutor(workers) as threads:
            results = Counter(threads.map(attempt, drawn[: options.sample]))
    tried = results.total() - results["not tried"] - results["no program"]
    print(f"\nseed {options.seed}: {tried} tried, {dict(results)}")
    return 1 if results["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
