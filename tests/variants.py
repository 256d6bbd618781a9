"""The answers that the template is tried with: every pair of them, computed from the questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import covertable

import durable_workflow_answers as rules

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
QUESTIONS: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))


# Text that breaks out of a YAML, TOML, JSON, Python, shell or CloudFormation string if it can.
STRANGE_TEXT = '"It\'s" \\ #1: ${AWS::Region} %s & <b> $(x) `y` }} \u6ce8\u6587 \U0001f680'


def public_questions() -> list[str]:
    """The names of the questions, in the order in which they are asked."""
    return [name for name in QUESTIONS if not name.startswith("_")]


def answers_to_try() -> dict[str, list[str]]:
    """Every choice, the default of every number with its boundaries, and plain and strange text."""
    answers: dict[str, list[str]] = {}
    for name in public_questions():
        default = QUESTIONS[name]
        if isinstance(default, list):
            answers[name] = default
        elif name in rules.WHOLE_NUMBERS:
            least, most, _ = rules.WHOLE_NUMBERS[name]
            answers[name] = [default, str(least), str(most)]
    shortest = int(answers["callback_timeout_minutes"][1]) + rules.MARGIN_MINUTES
    answers["execution_timeout_minutes"][1] = str(shortest)
    answers["project_name"] = [QUESTIONS["project_name"], STRANGE_TEXT[:60].strip()]
    answers["project_slug"] = ["order-approvals", "o1", "o" * 32]
    answers["description"] = [QUESTIONS["description"], STRANGE_TEXT]
    answers["author_name"] = [QUESTIONS["author_name"], STRANGE_TEXT]
    answers["extra_operations"] = [
        QUESTIONS["extra_operations"],
        "wait,invoke",
        "wait_for_condition,child_context",
        ",".join(rules.EXTRA_OPERATIONS),
    ]
    answers["aws_region"] = [QUESTIONS["aws_region"], "ap-southeast-2"]
    return answers


def _timeouts_fit(answers: dict[str, str]) -> bool:
    timeouts = ("callback_timeout_minutes", "execution_timeout_minutes")
    return rules.execution_timeout(*(int(answers[name]) for name in timeouts)) is None


def _names_fit(answers: dict[str, str]) -> bool:
    return rules.tenant_stack_names(answers["project_slug"], answers["tenancy"]) is None


def variants() -> list[dict[str, str]]:
    """A set of answers in which every pair of answers occurs that can; the default comes first."""
    factors = answers_to_try()
    default = {name: values[0] for name, values in factors.items()}
    rows = covertable.make(
        factors,
        presets=[default],
        constraints=[
            {
                "operator": "fn",
                "requires": ["callback_timeout_minutes", "execution_timeout_minutes"],
                "evaluate": _timeouts_fit,
            },
            {
                "operator": "fn",
                "requires": ["project_slug", "tenancy"],
                "evaluate": _names_fit,
            },
        ],
    )
    return [default, *(dict(row) for row in rows if dict(row) != default)]


VARIANTS = variants()

# Answers that differ from their defaults and from each other's. Of any two things that are there
# for an answer only, one project has the first without the second, and another the other way.
FAR = [
    {
        "project_slug": "loan-requests",
        "python_version": "3.14",
        "architecture": "x86_64",
        "aws_region": "eu-central-1",
        "tenancy": "isolated",
        "parallel_branch_count": "7",
        "map_max_concurrency": "33",
        "callback_timeout_minutes": "95",
        "callback_timeout_action": "continue",
        "execution_timeout_minutes": "2222",
        "extra_operations": "wait,wait_for_condition",
        "fan_out": "yes",
    },
    {
        "project_slug": "claims",
        "front_door": "none",
        "architecture": "x86_64",
        "aws_region": "ap-northeast-3",
        "tenancy": "silo",
        "parallel_branch_count": "1",
        "map_max_concurrency": "4",
        "callback_timeout_minutes": "17",
        "callback_timeout_action": "fail",
        "execution_timeout_minutes": "345",
        "extra_operations": "invoke,child_context",
        "fan_out": "yes",
    },
    {
        "project_slug": "refunds-2",
        "python_version": "3.14",
        "aws_region": "us-gov-west-1",
        "customer_managed_key": "yes",
        "parallel_branch_count": "2",
        "map_max_concurrency": "77",
        "callback_timeout_minutes": "1000",
        "callback_timeout_action": "fail",
        "execution_timeout_minutes": "40000",
        "extra_operations": "invoke,wait",
    },
    {
        "project_slug": "bulk-mail",
        "front_door": "none",
        "aws_region": "sa-east-1",
        "tenancy": "isolated",
        "customer_managed_key": "yes",
        "parallel_branch_count": "9",
        "map_max_concurrency": "50",
        "callback_timeout_minutes": "240",
        "execution_timeout_minutes": "5000",
        "extra_operations": "child_context,wait_for_condition",
    },
]
# Any three of the fan-out and the operations go together, or without each other.
TOGETHER = [
    {
        "fan_out": row["fan_out"],
        "extra_operations": ",".join(name for name in rules.EXTRA_OPERATIONS if row[name] == "yes")
        or "none",
    }
    for row in covertable.make(
        {name: ["no", "yes"] for name in ("fan_out", *rules.EXTRA_OPERATIONS)}, strength=3
    )
]
# Everything on.
EVERYTHING = {
    "tenancy": "isolated",
    "customer_managed_key": "yes",
    "parallel_branch_count": "10",
    "callback_timeout_action": "continue",
    "extra_operations": "wait,wait_for_condition,invoke,child_context",
    "fan_out": "yes",
}


def variant_id(answers: dict[str, str]) -> str:
    """A name for a variant that shows what is special about it."""
    shown = ("tenancy", "parallel_branch_count", "callback_timeout_action", "python_version")
    return "-".join([str(VARIANTS.index(answers)), *(answers[name] for name in shown)])


def complete(answers: dict[str, str]) -> dict[str, str]:
    """These answers, and the defaults of the others."""
    return VARIANTS[0] | answers
