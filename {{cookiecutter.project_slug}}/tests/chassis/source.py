"""The source as tests look at it: which module imports which, and who reads which variable."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from ops.local import ROOT

SRC = ROOT / "src"
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")

Symbol = tuple[str, str]
"""A module, and a name in it."""


@cache
def modules() -> dict[str, Path]:
    """Every module below ``src``."""
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    """The module, parsed."""
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


@cache
def imported(module: str) -> dict[str, Symbol]:
    """What each imported name of a module means: a module and a name in it, or "" for itself."""
    found: dict[str, Symbol] = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: (alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = _package(module, node)
            for alias in node.names:
                submodule = f"{package}.{alias.name}"
                is_module = submodule in modules()
                symbol = (submodule, "") if is_module else (package, alias.name)
                found[alias.asname or alias.name] = symbol
    return found


def _package(module: str, node: ast.ImportFrom) -> str:
    parts = [*module.split("."), *(["__init__"] * (modules()[module].name == "__init__.py"))]
    base = parts[: len(parts) - node.level] if node.level else []
    return ".".join(filter(None, [*base, node.module]))


def imports(module: str) -> set[str]:
    """The modules that a module imports, at its top or later."""
    return {name for name, _ in imported(module).values()}


@cache
def loaded(module: str) -> frozenset[str]:
    """The modules of ``src`` that are loaded with a module, itself and all packages included."""
    found: set[str] = set()
    pending = {module}
    while pending:
        name = pending.pop()
        if name in modules() and name not in found:
            found.add(name)
            pending |= {name.rpartition(".")[0], *imports(name)}
    return frozenset(found)


def variables_of(handler: str) -> dict[str, set[str]]:
    """The environment variables that a Lambda handler reads, and the modules that read each.

    It follows what the handler refers to, and what runs while modules are loaded. The steps of an
    item are run by the workflow only, so other functions may import a definition that has them.

    Args:
        handler: as ``template.yaml`` names it, ``package.module.function``.
    """
    module, _, name = handler.rpartition(".")
    runs_steps = "chassis.durable" in loaded(module)
    found: dict[str, set[str]] = {}
    pending: list[Symbol] = [(module, name)]

    def look(node: ast.AST, where: str) -> None:
        if variable := variable_read(node):
            found.setdefault(variable, set()).add(where)

    for where in loaded(module):
        for node in _walk(tree(where), lambda node: not isinstance(node, ast.FunctionDef)):
            look(node, where)
            if isinstance(node, ast.Call):
                pending += _meanings(where, node.func)
    seen: set[Symbol] = set()
    while pending:
        where, name = symbol = pending.pop()
        if symbol in seen:
            continue
        seen.add(symbol)
        for statement in _definitions(where).get(name, []):
            for node in _walk(statement, lambda node: runs_steps or not _has_steps(node)):
                look(node, where)
                pending += _meanings(where, node)
    return found


def variable_read(node: ast.AST) -> str | None:
    """The environment variable that an expression reads, or None.

    >>> [variable_read(ast.parse(text, mode="eval").body) for text in (
    ...     "os.environ['A']", "environment.get('B', '')", "os.getenv('C')",
    ...     "_duration(environment, 'D')", "'E' in os.environ", "os.environ[name]",
    ... )]
    ['A', 'B', 'C', 'D', None, None]
    """
    name: ast.expr | None = None
    if isinstance(node, ast.Subscript) and _is_environment(node.value):
        name = node.slice
    elif isinstance(node, ast.Call) and node.args:
        called = node.func
        if isinstance(called, ast.Attribute) and (
            called.attr == "getenv" or (called.attr == "get" and _is_environment(called.value))
        ):
            name = node.args[0]
        elif len(node.args) > 1 and _is_environment(node.args[0]):
            name = node.args[1]
    if isinstance(name, ast.Constant) and VARIABLE.fullmatch(str(name.value)):
        return str(name.value)
    return None


def _is_environment(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
    return name in {"environ", "environment"}


def _has_steps(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and node.arg == "item_steps"


def _walk(top: ast.AST, goes_into: Callable[[ast.AST], bool]) -> Iterator[ast.AST]:
    pending = [top]
    while pending:
        node = pending.pop()
        yield node
        pending += filter(goes_into, ast.iter_child_nodes(node))


@cache
def _definitions(module: str) -> dict[str, list[ast.stmt]]:
    found: dict[str, list[ast.stmt]] = {}
    top = tree(module) if module in modules() else ast.Module([], [])
    for statement in _walk(top, lambda node: isinstance(node, ast.stmt | ast.ExceptHandler)):
        if not isinstance(statement, ast.stmt):
            continue
        names = [getattr(statement, "name", None)]
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            names = [node.id for node in ast.walk(statement) if _is_target(node)]  # type: ignore
        for name in filter(None, names):
            found.setdefault(name, []).append(statement)
    return found


def _is_target(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _meanings(module: str, node: ast.AST) -> list[Symbol]:
    """What a name, or a name of an imported module, means: where it may be defined."""
    if not isinstance(node, ast.Name | ast.Attribute):
        return []
    names = ast.unparse(node).split(".")
    sizes = range(len(names), 0, -1)
    size = next((size for size in sizes if ".".join(names[:size]) in imported(module)), 0)
    if not size:
        return [(module, names[0])]
    target, name = imported(module)[".".join(names[:size])]
    rest = names[size:]
    while not name and rest and f"{target}.{rest[0]}" in modules():
        target = f"{target}.{rest.pop(0)}"
    name = name or (rest[0] if rest else "")
    while target in modules() and name in imported(target):  # a package passes it on
        target, name = imported(target)[name]
    return [(target, name)]
