"""The documentation says what the template does."""

from __future__ import annotations

import re
import tomllib

from variants import QUESTIONS, ROOT, public_questions

import durable_workflow_answers as rules


def test_the_options_are_documented_as_they_are() -> None:
    text = (ROOT / "docs" / "options.md").read_text(encoding="utf-8").split("## Limits")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.M))

    assert [name for name in rows if name in public_questions()] == public_questions()
    for name in public_questions():
        answers, default, *_ = rows[name].split(" | ")
        if isinstance(QUESTIONS[name], list):
            assert answers == ", ".join(QUESTIONS[name])
            assert default == QUESTIONS[name][0]
        elif name in rules.WHOLE_NUMBERS:
            assert default == QUESTIONS[name]
            assert str(rules.WHOLE_NUMBERS[name][1]) in answers
        elif name in rules.FREE_TEXT:
            assert answers == "{} to {} characters".format(*rules.FREE_TEXT[name])


def test_the_readme_counts_the_questions() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert f"asks {len(public_questions())} questions" in readme


def test_the_version_stands_twice_and_is_the_same() -> None:
    """For projects, and for the tools of this repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["version"] == QUESTIONS["__version"]


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
