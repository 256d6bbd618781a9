"""The recipes of a rendered project's docs/change.md, done as they say."""

from __future__ import annotations

import re
from pathlib import Path

HEADING = re.compile(r"^##+ (.*)$", re.M)
BLOCK = re.compile(r"^In `([^`]+)`:\n\n```diff\n(.*?)^```$", re.M | re.S)

CHANGES = [
    "1. Call another system for each item",
    "2. Other items and other results",
    "3. A field of the input",
    "One more",
    "One less",
    "None at all",
    "5. A second approval",
    "6. A setting",
    "7. A second step for each item",
]
"""Headings of the recipes; an owner who follows all of them leaves out two ways of checks."""


def recipes(project: Path, page: str = "change.md") -> dict[str, str]:
    """The text of each recipe, by its heading."""
    text = (project / "docs" / page).read_text(encoding="utf-8")
    parts = HEADING.split(text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def follow(project: Path, heading: str, page: str = "change.md") -> list[str]:
    """Make the changes of a recipe; return the files that they touch."""
    text = recipes(project, page)[heading]
    touched = []
    for name in re.findall(r"^Delete (.*)\.$", text, re.M):
        for path in re.findall(r"`([^`]+/[^`]+)`", name):
            (project / path).unlink()
            touched.append(path)
    for name, block in BLOCK.findall(text):
        path = project / name
        changed = path.read_text(encoding="utf-8")
        for hunk in re.split(r"^@@\n", block, flags=re.M):
            changed = _apply(changed, hunk.splitlines(), f"{heading}, {name}")
        path.write_text(changed, encoding="utf-8")
        touched.append(name)
    return touched


def _apply(text: str, hunk: list[str], where: str) -> str:
    old = "".join(f"{line[1:]}\n" for line in hunk if line[:1] in {" ", "-"})
    new = "".join(f"{line[1:]}\n" for line in hunk if line[:1] in {" ", "+"})
    assert f"\n{text}".count(f"\n{old}") == 1, f"{where} does not fit:\n{old}"
    return f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:]
