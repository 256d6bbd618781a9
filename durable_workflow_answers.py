"""Refuse answers that would render a broken project: all problems at once, before anything is made.

A rule is a function from the answer to a complaint, or to None; its docstring shows valid and
invalid answers. Cookiecutter calls ``require_valid_answers`` as a Jinja filter, last of all
questions (``__checked`` in cookiecutter.json): a hook comes when the folder is there already, and
its refusal with a traceback. For what has not been asked, there is one all the same.
"""

import difflib
import re
import shlex
import sys
import unicodedata
from pathlib import Path

import click
import cookiecutter.cli
from cookiecutter.exceptions import FailedHookException
from cookiecutter.utils import simple_filter

WHOLE_NUMBERS = {  # question: least, most, an example
    "parallel_branch_count": (1, 10, 3),
    "map_max_concurrency": (1, 100, 10),
    "callback_timeout_minutes": (1, 525_600, 60),
    "execution_timeout_minutes": (1, 527_040, 1_440),
}
FREE_TEXT = {  # question: least and most characters, an example
    "project_name": (1, 60, "Order Approvals"),
    "description": (1, 200, "Approves and processes orders"),
    "author_name": (1, 100, "Ada Lovelace"),
}

EXTRA_OPERATIONS = ("wait", "wait_for_condition", "invoke", "child_context")

# What the execution needs beside the approval: the checks, the items, and their retries.
MARGIN_MINUTES = 10

# Separators and joiners that written languages and emoji need, although they are not printable.
JOINERS = "\u00a0\u200c\u200d\u3000"
WINDOWS_DEVICES = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")


def whole_number(value, least, most, example):
    """Check a whole decimal number within its range.

    Valid from 1 to 10: "1", "10". Invalid: "0", "11", "03", "3.5", "1e3", " 4", "-1", "", "abc".
    """
    if re.fullmatch(r"0|[1-9][0-9]{0,8}", value) and least <= int(value) <= most:
        return None
    return f"expected a whole number from {least} to {most}, for example {example}"


def free_text(value, least, most, example):
    """Check one line of text: any script, quotes, backslashes and emoji.

    Valid: "Order Approvals", "It's \\"fine\\": 100 % #1", "\u6ce8\u6587". Invalid: two lines,
    a tab, a right-to-left mark, text that Jinja would evaluate, blanks around it.
    """
    if not least <= len(value) <= most:
        return (
            f"expected {least} to {most} characters, for example {example!r}; it has {len(value)}"
        )
    if value != value.strip():
        return f"expected no blanks around it, for example {example!r}"
    for position, character in enumerate(value, start=1):
        if not character.isprintable() and character not in JOINERS:
            name = unicodedata.name(character, "a control character")
            return (
                f"expected one line of printable text, for example {example!r}; character "
                f"{position} is U+{ord(character):04X} ({name})"
            )
    for mark in ("{" + "{", "{" + "%", "{" + "#", "#" + "%"):
        if mark in value:
            return (
                f"expected no {mark!r}, which Cookiecutter evaluates when the project is updated, "
                f"for example {example!r}"
            )
    return None


def project_slug(value):
    """Check the name of the folder and the stack, and the prefix of the function's name.

    32 characters keep "<slug>-workflow-isolated" within the 64 of a Lambda function name. Valid:
    "orders", "order-approvals-2". Invalid: "Orders", "2orders", "o", "orders-", "order_approvals",
    "nul".
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}[a-z0-9]", value):
        return (
            "expected 2 to 32 of a-z, 0-9 and hyphen, a letter first and no hyphen last, "
            "for example order-approvals"
        )
    if WINDOWS_DEVICES.fullmatch(value):
        return "expected a name that is no device on Windows, for example order-approvals"
    return None


def tenant_stack_names(slug, tenancy):
    """Check that the function names of a tenant's stack fit into Lambda's 64 characters.

    A silo's stack is "<slug>-<tenant>", with up to 24 characters of the tenant, and its longest
    function is "<stack>-workflow-silo". Valid: 25 and fewer, or another tenancy. Invalid: 26.
    """
    most = 64 - len("-workflow-silo") - 1 - 24
    if tenancy != "silo" or len(slug) <= most:
        return None
    return (
        f"expected at most {most} characters with tenancy silo, for example order-approvals: "
        "the names of the stacks and functions have the tenant's id, too"
    )


def aws_region(value):
    """Check the form of a Region name; AWS knows which ones there are.

    Valid: "us-east-1", "eu-central-2", "us-gov-west-1", "eusc-de-east-1". Invalid: "us-east",
    "US-EAST-1", "us-east-1a", "".
    """
    if re.fullmatch(r"[a-z]{2,4}(-[a-z]+){1,2}-[1-9]", value):
        return None
    return "expected the name of an AWS Region, for example us-east-1"


def extra_operations(value):
    """Check a list of durable operations, with commas and without blanks.

    Valid: "none", "wait", "invoke,wait". Invalid: "", "sleep", "wait,wait", "wait, invoke",
    "none,wait".
    """
    words = value.split(",")
    if value == "none" or (set(words) <= set(EXTRA_OPERATIONS) and len(words) == len(set(words))):
        return None
    return (
        f"expected none, or some of {', '.join(EXTRA_OPERATIONS)}, each once, with commas and "
        "without blanks, for example wait,invoke"
    )


def execution_timeout(callback_timeout_minutes, execution_timeout_minutes):
    """Check that the execution outlasts the approval, with time left for the work.

    Valid: 60 and 70, 60 and 1440. Invalid: 60 and 69, 60 and 60, 1440 and 60.
    """
    least = callback_timeout_minutes + MARGIN_MINUTES
    if execution_timeout_minutes >= least:
        return None
    return (
        f"expected at least {least}, for example {least}: the {callback_timeout_minutes} of "
        f"callback_timeout_minutes and {MARGIN_MINUTES} for the checks, the items and their retries"
    )


def find_problems(answers):
    """Return the complaint about each answer that has one, by question."""
    complaints = {
        question: "expected text, also for a number, such as '3'"
        for question, answer in answers.items()
        if not isinstance(answer, str)
    }
    if complaints:
        return complaints
    slug, tenancy = answers["project_slug"], answers["tenancy"]
    complaints = {"project_slug": project_slug(slug) or tenant_stack_names(slug, tenancy)}
    for question, rule in FREE_TEXT.items():
        complaints[question] = free_text(answers[question], *rule)
    complaints["aws_region"] = aws_region(answers["aws_region"])
    complaints["extra_operations"] = extra_operations(answers["extra_operations"])
    for question, rule in WHOLE_NUMBERS.items():
        complaints[question] = whole_number(answers[question], *rule)
    timeouts = ("callback_timeout_minutes", "execution_timeout_minutes")
    if not any(complaints[question] for question in timeouts):
        complaints[timeouts[1]] = execution_timeout(*(int(answers[name]) for name in timeouts))
    return {question: text for question, text in complaints.items() if text}


def words_of_command_line():
    """Return the answers that were given on Cookiecutter's command line, or None if there is none.

    SAM CLI, cruft and programs that call Cookiecutter have other command lines.
    """
    program = Path(next(iter(sys.argv), ""))
    is_module = program.name == "__main__.py" and program.parent.name == "cookiecutter"
    if not is_module and program.stem != "cookiecutter":
        return None
    try:
        context = cookiecutter.cli.main.make_context("cookiecutter", sys.argv[1:])
    except click.ClickException:  # a program of the same name
        return None
    return dict(context.params["extra_context"] or {})


def unknown_questions(words, questions):
    """Return a complaint about each word that answers no question; Cookiecutter ignores it."""
    complaints = {}
    for word in words:
        if word not in questions:
            like = difflib.get_close_matches(word, questions, n=1) or sorted(questions)
            complaints[word] = f"there is no such question, expected {' or '.join(like)}"
    return complaints


def repeat_command(answers, problems, words):
    """Return the command that asks again, with the answers that were fine already filled in."""
    kept = [word for word in sys.argv[1:] if word.partition("=")[0] not in words]
    fine = [
        f"{question}={value}" for question, value in answers.items() if question not in problems
    ]
    return shlex.join([sys.executable, "-m", "cookiecutter", *kept, *fine])


@simple_filter
def quoted(text):
    """Return an answer as a double-quoted string, which TOML and YAML read in the same way."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@simple_filter
def require_valid_answers(context):
    """Refuse to render; called when every question has been answered, and before anything is made.

    Raises:
        FailedHookException: what is wrong with the answers, each of them named; Cookiecutter prints
            it, and nothing else.
    """
    answers = {name: value for name, value in context.items() if not name.startswith("_")}
    words = words_of_command_line()
    problems = find_problems(answers) | unknown_questions(words or {}, answers)
    if not problems:
        return ""
    given = answers | (words or {})
    lines = [f"{name} is {given[name]!r}: {text}" for name, text in problems.items()]
    report = ["No project was made, because of these answers:", *(f"  - {line}" for line in lines)]
    if words is not None:
        report.append("To repeat this with the other answers:")
        report.append(f"  {repeat_command(answers, problems, words)}")
    # What cannot be written to this terminal is escaped.
    encoding = sys.stdout.encoding or "utf-8"
    raise FailedHookException(
        "\n".join(report).encode(encoding, "backslashreplace").decode(encoding)
    )
