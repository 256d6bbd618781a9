"""Anything that a prompt can be given: a whole project, or a refusal, and nothing between."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Project
from cookiecutter.main import cookiecutter
from hypothesis import given, settings
from hypothesis import strategies as st
from test_render import PARSERS, expected_tree
from variants import QUESTIONS, ROOT, VARIANTS, answers_to_try, public_questions

import durable_workflow_answers as rules

# What means something to the languages that the answers end up in.
TOKENS = [
    *(
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#%",
        "${AWS::Region}",
        "!Ref X",
        "&a",
        "*a",
        "---",
        "...",
        ": ",
    ),
    *(
        "'",
        '"',
        "'''",
        '"""',
        "\\",
        "\\n",
        "\\u0041",
        "$(x)",
        "`x`",
        "$HOME",
        "%s",
        "%(x)s",
        "#",
        "- ",
    ),
    *("<b>", "]]>", "|", ">", "@", "\t", "\n", "\r\n", "\x00", "\x1b", "\x85", "\u2028", "\u202e"),
    *(
        "\ufeff",
        "\u200d",
        "\u00a0",
        "\u6ce8",
        "\U0001f680",
        "e\u0301",
        "../",
        "~",
        "yes",
        "null",
        "1e3",
    ),
]
text = st.one_of(st.text(max_size=120), st.lists(st.sampled_from(TOKENS), max_size=8).map("".join))
plain = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters="{}#%"),
    min_size=1,
    max_size=50,
)
number = st.one_of(
    st.integers(-5, 10**7).map(str), st.sampled_from(["", "1e3", "\u0663", " 3", "9" * 50])
)


def answer_to(question: str) -> st.SearchStrategy[str]:
    """Mostly something that is fine, now and then anything; choices are one of theirs."""
    known = st.sampled_from([value for value in answers_to_try()[question] if value])
    if isinstance(QUESTIONS[question], list):
        return known
    anything = number if question in rules.WHOLE_NUMBERS else text
    fine = plain.map(str.strip).filter(bool) if question in rules.FREE_TEXT else known
    return st.integers(1, 20).flatmap(lambda n: anything if n == 20 else known | fine)


# Few names that are fine for people make a slug by themselves.
answers = st.fixed_dictionaries(
    {"project_slug": answer_to("project_slug")},
    optional={name: answer_to(name) for name in public_questions() if name != "project_slug"},
)
complete = st.fixed_dictionaries(
    {
        name: st.one_of(text, number) if isinstance(QUESTIONS[name], str) else answer_to(name)
        for name in public_questions()
    }
)


@settings(max_examples=500, deadline=None)
@given(complete)
def test_the_rules_have_a_word_for_every_answer(given_answers: dict[str, str]) -> None:
    problems = rules.find_problems(given_answers)

    assert problems.keys() <= given_answers.keys()
    assert all("expected" in complaint for complaint in problems.values())
    assert not rules.unknown_questions(given_answers, given_answers)


@pytest.mark.slow
@settings(max_examples=int(os.environ.get("ANSWERS", "100")), deadline=None)
@given(answers)
def test_a_project_or_a_refusal(given_answers: dict[str, str]) -> None:
    """Prints what became of them: ``ANSWERS=1000 pytest -n 0 -s tests/test_anything.py``."""
    folder = Path(tempfile.mkdtemp())
    try:
        try:
            path = cookiecutter(
                str(ROOT),
                no_input=True,
                extra_context=given_answers,
                default_config=True,
                output_dir=str(folder / "output"),
            )
        except Exception as error:  # noqa: BLE001 - of Jinja, of Cookiecutter, or of the hook
            check_refusal(given_answers, error, folder)
            print("refused")
            return
        check_project(Project(Path(path), given_answers))
        print("rendered")
    finally:
        shutil.rmtree(folder)


def check_refusal(given_answers: dict[str, str], error: Exception, folder: Path) -> None:
    """Only what the rules refuse, or what Jinja cannot read, and nothing is left of it."""
    jinja = any(
        mark in value for value in given_answers.values() for mark in ("{{", "{%", "{#", "#%")
    )
    assert jinja or rules.find_problems(VARIANTS[0] | given_answers), error
    assert not list(folder.glob("output/*"))


def check_project(project: Project) -> None:
    """It is whole, every file parses, and it has the answers as they were given."""
    assert project.files() == expected_tree(VARIANTS[0] | project.answers)
    for name in project.files():
        if parse := PARSERS.get(name[name.rfind(".") :]):
            assert parse(project.read(name)) is not None, name
    project.run(sys.executable, "-m", "ruff", "check", ".")
    project.run(sys.executable, "-m", "ruff", "format", "--check", ".")
    recorded: dict[str, Any] = yaml.safe_load(project.read(".cookiecutter.yaml"))
    assert rules.find_problems(recorded["default_context"]) == {}
    for name, value in project.answers.items():
        if "{" not in value and "#%" not in value:
            assert recorded["default_context"][name] == value
