"""The documentation says what the template does."""

from __future__ import annotations

import re
import tomllib

from conftest import Bake
from variants import EVERYTHING, QUESTIONS, ROOT, public_questions

import durable_workflow_answers as rules


def test_the_options_are_documented_as_they_are() -> None:
    text = (ROOT / "docs" / "options.md").read_text(encoding="utf-8").split("## Limits")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.M))

    assert [name for name in rows if name in public_questions()] == public_questions()
    for name in public_questions():
        answers, default, *_ = rows[name].split(" | ")
        numbers = [int(number) for number in re.findall(r"\d+", answers)]
        choices = QUESTIONS[name]
        if isinstance(choices, list):
            assert answers == ", ".join(choices)
            choices = choices[0]
        elif name == "execution_timeout_minutes":
            assert numbers == [rules.WHOLE_NUMBERS[name][1], rules.MARGIN_MINUTES]
        elif name in rules.WHOLE_NUMBERS | rules.FREE_TEXT:
            assert numbers == [*(rules.WHOLE_NUMBERS | rules.FREE_TEXT)[name][:2]]
        elif name == "extra_operations":
            assert re.findall(r"`(\w+)`", answers) == ["none", *rules.EXTRA_OPERATIONS]
        assert default == ELSEWHERE.get(name, choices)


# A default that is no text, and one that is long.
ELSEWHERE = {"project_slug": "from the name", "description": "see the prompt"}


def test_the_readme_counts_the_questions() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert f"asks {len(public_questions())} questions" in readme


def test_the_version_stands_twice_and_is_the_same() -> None:
    """For projects, and for the tools of this repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["version"] == QUESTIONS["__version"]


def test_the_tests_that_the_pages_name_exist(rendered: Bake) -> None:
    """Here, or in a project: the default, or with everything on."""
    roots = [ROOT, rendered().path, rendered(**EVERYTHING).path]
    for page in (ROOT / "docs").glob("*.md"):
        for name in re.findall(r"\btests/[\w./-]*\w", page.read_text(encoding="utf-8")):
            assert any((root / name).exists() for root in roots), f"{page.name}: {name}"


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
