"""The answers that everything else is tried with, and the questions behind them, are complete."""

from __future__ import annotations

import itertools
import re

import pytest
from variants import (
    FAR,
    QUESTIONS,
    TOGETHER,
    VARIANTS,
    answers_to_try,
    complete,
    public_questions,
)

import durable_workflow_answers as rules

NUMBERS_OF = {name: [least, most] for name, (least, most, _) in rules.WHOLE_NUMBERS.items()}


def can_be(some: dict[str, str]) -> bool:
    """Whether a project can be rendered with these answers, whatever the others are."""
    free = {
        "project_slug": "o1",
        "callback_timeout_minutes": "1",
        "execution_timeout_minutes": str(rules.WHOLE_NUMBERS["execution_timeout_minutes"][1]),
    }
    return not rules.find_problems(VARIANTS[0] | free | some)


def test_every_pair_of_answers_that_can_occur_does() -> None:
    missing = []
    for one, two in itertools.combinations(public_questions(), 2):
        there = {(variant[one], variant[two]) for variant in VARIANTS}
        for pair in itertools.product(answers_to_try()[one], answers_to_try()[two]):
            if can_be(dict(zip((one, two), pair, strict=True))) and pair not in there:
                missing.append((one, two, *pair))

    assert not missing


def test_every_variant_can_be_rendered() -> None:
    for answers in [*VARIANTS, *map(complete, [*FAR, *TOGETHER])]:
        assert set(answers) == set(public_questions())
        assert rules.find_problems(answers) == {}


def test_every_question_is_tried_with_all_that_it_can_be_answered() -> None:
    tried = answers_to_try()
    assert set(tried) == set(public_questions())
    for name in public_questions():
        assert len(set(tried[name])) >= 2, name
        if isinstance(QUESTIONS[name], list):
            assert set(tried[name]) == set(QUESTIONS[name])
    for name, (_, most) in NUMBERS_OF.items():
        assert str(most) in tried[name]
    operations = {name for each in tried["extra_operations"] for name in each.split(",")}
    assert operations == {"none", *rules.EXTRA_OPERATIONS}
    assert set(QUESTIONS["fan_out"]) == {answers["fan_out"] for answers in TOGETHER}
    there = [
        {*answers["extra_operations"].split(","), *["fan_out"] * (answers["fan_out"] == "yes")}
        for answers in TOGETHER
    ]
    for three in itertools.combinations(("fan_out", *rules.EXTRA_OPERATIONS), 3):
        assert len({frozenset(each.intersection(three)) for each in there}) == 2**3, three


def test_far_answers_are_far_from_the_defaults_and_from_each_other() -> None:
    for name in set(public_questions()) - set(rules.FREE_TEXT):  # the variants have strange ones
        others = {answers[name] for answers in map(complete, FAR)}
        assert others - {VARIANTS[0][name]}, name
        if not isinstance(QUESTIONS[name], list):
            assert len(others) == len(FAR), name
    numbers = [answers[name] for answers in FAR for name in rules.WHOLE_NUMBERS]
    assert len(numbers) == len(set(numbers))
    there = [
        {*answers["extra_operations"].split(","), *(k for k, v in answers.items() if v == "yes")}
        for answers in FAR
    ]
    for one, two in itertools.permutations({*set().union(*there)}, 2):
        assert any(one in each and two not in each for each in there), f"{one} without {two}"


@pytest.mark.parametrize(
    "name", [name for name in public_questions() if not isinstance(QUESTIONS[name], list)]
)
def test_every_question_has_a_rule(name: str) -> None:
    """A line break is right for none; what is right is said with it."""
    assert set(rules.find_problems(VARIANTS[0] | {name: "a\nb"})) == {name}


@pytest.mark.parametrize("name", rules.WHOLE_NUMBERS)
def test_a_number_is_what_its_range_says(name: str) -> None:
    least, most, example = rules.WHOLE_NUMBERS[name]
    for number in (least - 1, least, example, most, most + 1):
        problems = rules.find_problems(
            VARIANTS[0]
            | {"callback_timeout_minutes": "1", "execution_timeout_minutes": "527040"}
            | {name: str(number)}
        )
        too_short = name == "execution_timeout_minutes" and number < 1 + rules.MARGIN_MINUTES
        assert bool(problems) == (not least <= number <= most or too_short)


@pytest.mark.parametrize("name", [*rules.WHOLE_NUMBERS, *rules.FREE_TEXT])
def test_a_prompt_says_the_range(name: str) -> None:
    least, most, _ = (rules.WHOLE_NUMBERS | rules.FREE_TEXT)[name]
    numbers = [int(number) for number in re.findall(r"\d+", QUESTIONS["__prompts__"][name])]

    if name == "execution_timeout_minutes":
        assert numbers == [most, rules.MARGIN_MINUTES]
    else:
        assert numbers == [least, most]


def test_the_prompt_of_the_slug_says_how_long_it_may_be() -> None:
    least, most, *_ = map(int, re.findall(r"\d+", QUESTIONS["__prompts__"]["project_slug"]))

    for length in (least - 1, least, most, most + 1):
        assert (rules.project_slug("o" * length) is None) == (least <= length <= most)


def test_the_prompt_of_the_operations_names_them() -> None:
    prompt = QUESTIONS["__prompts__"]["extra_operations"]

    assert prompt.rpartition(" ")[2] == ",".join(rules.EXTRA_OPERATIONS)
    for name in rules.EXTRA_OPERATIONS:
        assert QUESTIONS[f"__{name}"].split("'")[1::2] == [name, name, ",", ""]


def test_a_choice_is_shown_for_what_it_is() -> None:
    for name in public_questions():
        if isinstance(QUESTIONS[name], list):
            labels = dict(QUESTIONS["__prompts__"][name])
            assert labels.pop("__prompt__")
            assert list(labels) == QUESTIONS[name]
            assert all(label.split()[0] == choice for choice, label in labels.items())
