"""What is refused, rule by rule, and that a refusal leaves nothing behind."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from conftest import TOOLS, Bake
from pytest_cookies.plugin import Cookies
from variants import QUESTIONS, ROOT, STRANGE_TEXT, TEMPLATE, VARIANTS, public_questions

import durable_workflow_answers as rules

NUMBERS = list(rules.WHOLE_NUMBERS)
TEXTS = list(rules.FREE_TEXT)


@pytest.mark.parametrize("value", ["1", "7", "10"])
def test_whole_numbers_are_fine(value: str) -> None:
    assert rules.whole_number(value, 1, 10, 3) is None


@pytest.mark.parametrize(
    "value",
    [
        "0",
        "11",
        "03",
        "3.5",
        "1e3",
        " 4",
        "4 ",
        "\uff10",
        "\u0664",
        "-1",
        "+1",
        "",
        "abc",
        "9" * 5000,
        "1\n",
    ],
)
def test_other_numbers_are_refused(value: str) -> None:
    assert (
        rules.whole_number(value, 1, 10, 3) == "expected a whole number from 1 to 10, for example 3"
    )


@pytest.mark.parametrize(
    "value",
    [
        "Order Approvals",
        'It\'s "fine": 100 % #1',
        STRANGE_TEXT,
        "\u6ce8\u6587\u627f\u8a8d\u3000x",
        "\u0627\u0644\u0637\u0644\u0628",
        "\U0001f469\u200d\U0001f4bb caf\u00e9",
        "a } b { c",
    ],
)
def test_text_is_fine(value: str) -> None:
    assert rules.free_text(value, 1, 200, "x") is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "1 to 200 characters"),
        ("x" * 500, "it has 500"),
        (" x", "no blanks around it"),
        ("a\tb", "character 2 is U+0009"),
        ("a\nb", "character 2 is U+000A"),
        ("a\rb", "U+000D"),
        ("a\u2028b", "U+2028 (LINE SEPARATOR)"),
        ("a\u200fb", "U+200F (RIGHT-TO-LEFT MARK)"),
        ("a\u202eb", "U+202E (RIGHT-TO-LEFT OVERRIDE)"),
        ("a\ufeffb", "U+FEFF"),
        ("a\x00b", "U+0000"),
        ("a\ud800b", "U+D800"),
        ("a {" + "{ b }" + "}", "Cookiecutter evaluates"),
        ("a {" + "% b", "Cookiecutter evaluates"),
        ("a {" + "# b", "Cookiecutter evaluates"),
        ("#% if b", "Cookiecutter evaluates"),
    ],
)
def test_other_text_is_refused_with_its_reason(value: str, reason: str) -> None:
    assert reason in rules.free_text(value, 1, 200, "x")


@pytest.mark.parametrize("value", ["ab", "orders", "order-approvals-2", "a--b", "o" * 32])
def test_slugs_are_fine(value: str) -> None:
    assert rules.project_slug(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a",
        "A",
        "Orders",
        "2orders",
        "-ab",
        "ab-",
        "a_b",
        "a.b",
        "../x",
        "caf\u00e9",
        "o" * 33,
        "nul",
        "ab\n",
    ],
)
def test_other_slugs_are_refused(value: str) -> None:
    assert "for example order-approvals" in rules.project_slug(value)


@pytest.mark.parametrize("value", ["us-east-1", "eu-central-2", "us-gov-west-1", "eusc-de-east-1"])
def test_regions_are_fine(value: str) -> None:
    assert rules.aws_region(value) is None


@pytest.mark.parametrize(
    "value", ["", "us-east", "US-EAST-1", "us-east-1a", "useast1", "us-east-1\n"]
)
def test_other_regions_are_refused(value: str) -> None:
    assert "for example us-east-1" in rules.aws_region(value)


@pytest.mark.parametrize(
    "value", ["none", "wait", "invoke,wait", "wait,wait_for_condition,invoke,child_context"]
)
def test_operations_are_fine(value: str) -> None:
    assert rules.extra_operations(value) is None


@pytest.mark.parametrize(
    "value", ["", "all", "sleep", "wait,wait", "wait, invoke", "none,wait", "wait,", "Wait"]
)
def test_other_operations_are_refused(value: str) -> None:
    assert "for example wait,invoke" in rules.extra_operations(value)


def test_the_execution_has_to_outlast_the_approval() -> None:
    assert rules.execution_timeout(60, 70) is None
    assert "expected at least 70" in rules.execution_timeout(60, 69)


@pytest.mark.parametrize(
    ("tenancy", "length", "tenant"), [("pool", 32, ""), ("isolated", 32, ""), ("silo", 25, "-t24")]
)
def test_the_names_of_the_functions_fit(tenancy: str, length: int, tenant: str) -> None:
    """Lambda allows 64 characters; a silo's stack has a tenant of up to 24 in its name."""
    longest = "o" * length
    stack = longest + ("-" + "t" * 24 if tenant else "")

    assert rules.project_slug(longest) is None
    assert rules.tenant_stack_names(longest, tenancy) is None
    assert len(f"{stack}-workflow-{tenancy}") <= 64


def test_every_name_that_the_template_makes_fits() -> None:
    """Functions and rules may have 64 characters; the longest stack is a silo's with 50."""
    template = (TEMPLATE / "template.yaml").read_text(encoding="utf-8")
    suffixes = re.findall(r"(?:FunctionName|RuleName): !Sub \$\{AWS::StackName\}(-\S.*)", template)

    assert len(suffixes) == 7
    for suffix in suffixes:
        for tenancy, longest in (("pool", 32), ("isolated", 32), ("silo", 50)):
            name = suffix.replace("{{ cookiecutter.tenancy }}", tenancy)
            assert longest + len(name) <= 64, name


def test_the_slug_comes_from_the_name_and_is_as_long_as_it_may_be(rendered: Bake) -> None:
    project = rendered(project_name="Caf\u00e9 Orders, Loans & Claims of the North")

    assert project.path.name == "cafe-orders-loans-claims-of-the-"[:32].rstrip("-")
    assert rules.project_slug(project.path.name) is None
    assert rendered(project_name="a" * 40).path.name == "a" * 32


def test_a_slug_that_is_too_long_for_a_silo_is_refused() -> None:
    assert "at most 25 characters" in rules.tenant_stack_names("o" * 26, "silo")


def refuse(output: Path, **answers: str) -> tuple[str, subprocess.CompletedProcess[str]]:
    """Render with answers that have to be refused; return what was said."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "--default-config"),
            *("--output-dir", str(output)),
            *(f"{name}={value}" for name, value in answers.items()),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert list(output.iterdir()) == []
    return result.stdout, result


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    said, _ = refuse(
        tmp_path,
        project_name="x\ty",
        project_slug="Orders",
        description="a\u202eb",
        author_name="x" * 500,
        aws_region="moon-1",
        extra_operations="sleep",
        parallel_branch_count="0",
        map_max_concurrency="1e3",
        callback_timeout_minutes="3.5",
        execution_timeout_minutes="",
    )

    lines = [line for line in said.splitlines() if line.startswith("  - ")]
    assert [line.split()[1] for line in lines] == [
        "project_slug",
        "project_name",
        "description",
        "author_name",
        "aws_region",
        "extra_operations",
        *NUMBERS,
    ]
    assert "  - map_max_concurrency is '1e3': expected a whole number from 1 to 100" in said
    assert all("for example" in line for line in lines)


def test_a_refusal_is_all_that_is_printed(tmp_path: Path) -> None:
    """No traceback, also where the slug is a path of several folders."""
    said, result = refuse(tmp_path, project_slug="a/b/c")

    assert said.startswith("No project was made")
    assert result.stderr == ""


@pytest.mark.parametrize("way", ["replay", "override"])
def test_what_was_not_asked_is_checked_all_the_same(tmp_path: Path, way: str) -> None:
    answers = VARIANTS[0] | {"project_slug": "orders", "map_max_concurrency": "abc"}
    output = tmp_path / "output"
    output.mkdir()
    if way == "replay":
        replay = tmp_path / "replay.json"
        private = {name: QUESTIONS[name] for name in QUESTIONS if name.startswith("_")}
        context = {**private, **answers, "__checked": "", "_template": str(ROOT)}
        replay.write_text(json.dumps({"cookiecutter": context}), encoding="utf-8")
        chosen = ["--replay-file", str(replay)]
    else:
        chosen = ["--no-input", "__checked=yes", "map_max_concurrency=abc"]
    command = [sys.executable, "-m", "cookiecutter", str(ROOT), "--output-dir", str(output)]

    result = subprocess.run([*command, *chosen], capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert "map_max_concurrency is 'abc'" in result.stdout + result.stderr
    assert list(output.iterdir()) == []


@pytest.mark.parametrize(
    "program",
    [
        "/usr/bin/cookiecutter",
        "Scripts/cookiecutter.exe",
        "site-packages/cookiecutter/__main__.py",
    ],
)
def test_the_words_of_its_command_line_are_seen(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "x", "--no-input", "a=b=c", "d="])

    assert rules.words_of_command_line() == {"a": "b=c", "d": ""}


def test_the_console_script_refuses_as_the_module_does(tmp_path: Path) -> None:
    """And prints a command that goes on: with this Python, whatever is on the PATH."""
    answers = ("parallel_branch_count=0", "tenency=silo", "aws_region=eu-west-1")
    options = ("--no-input", "--default-config", "--output-dir", str(tmp_path))
    said = [
        subprocess.run(
            [*program, str(ROOT), *options, *answers], capture_output=True, text=True, check=False
        ).stdout
        for program in ((sys.executable, "-m", "cookiecutter"), (str(TOOLS / "cookiecutter"),))
    ]

    lines = [each.replace(str(Path(sys.executable).parent), "").splitlines() for each in said]
    assert lines[0][:-1] == lines[1][:-1]
    assert "there is no such question, expected tenancy" in said[1]
    assert shlex.split(lines[0][-1])[1:] == shlex.split(lines[1][-1])[1:]
    assert shlex.split(lines[1][-1])[1:5] == ["-m", "cookiecutter", str(ROOT), "--no-input"]


@pytest.mark.parametrize(
    "argv",
    [[], ["x/cookiecutter/render.py", "--target", "x"], ["cookiecutter.py", "--target", "x"]],
)
def test_programs_that_call_cookiecutter_have_a_command_line_of_their_own(
    monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", argv)

    assert rules.words_of_command_line() is None


def test_answers_that_are_no_text_are_refused(cookies: Cookies) -> None:
    result = cookies.bake(extra_context={"author_name": None}, template=str(ROOT))

    assert "author_name is None: expected text" in str(result.exception)


def test_a_misspelt_question_is_refused(tmp_path: Path) -> None:
    said, _ = refuse(tmp_path, tenency="silo", colour="blue")

    assert "  - tenency is 'silo': there is no such question, expected tenancy" in said
    assert "  - colour is 'blue': there is no such question, expected architecture or" in said
    assert "tenency=" not in said.split("To repeat this")[1]


def test_answers_that_cannot_work_together(tmp_path: Path) -> None:
    said, _ = refuse(tmp_path, callback_timeout_minutes="60", execution_timeout_minutes="69")

    assert "execution_timeout_minutes is '69': expected at least 70, for example 70" in said


def test_the_command_that_is_printed_works(tmp_path: Path) -> None:
    """It has the answers that were fine; what was refused is asked again, or the default."""
    fine = {"description": STRANGE_TEXT, "aws_region": "eu-west-1", "architecture": "x86_64"}
    said, _ = refuse(tmp_path, **fine, parallel_branch_count="0")
    command = said.split("To repeat this with the other answers:\n  ")[1].splitlines()[0]
    words = shlex.split(command)

    assert words[:5] == [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input"]
    assert {f"{name}={value}" for name, value in fine.items()} < set(words)
    assert not any(word.startswith("parallel_branch_count") for word in words)
    subprocess.run(words, check=True)
    settings = (tmp_path / "order-approvals" / "pyproject.toml").read_text(encoding="utf-8")
    assert tomllib.loads(settings)["project"]["description"] == STRANGE_TEXT


@pytest.mark.parametrize(
    "name", [name for name in public_questions() if isinstance(QUESTIONS[name], list)]
)
def test_cookiecutter_itself_refuses_an_unknown_choice(cookies: Cookies, name: str) -> None:
    result = cookies.bake(extra_context={name: "sparc"}, template=str(ROOT))

    assert f"sparc provided for choice variable {name}" in str(result.exception)


@pytest.mark.parametrize("name", [*NUMBERS, *TEXTS, "project_slug", "aws_region"])
def test_no_answer_is_run_as_code(cookies: Cookies, tmp_path: Path, name: str) -> None:
    """The hook gets the answers as data: this one would end a Python string of any kind."""
    trap = tmp_path / "trap"
    answer = f"\"'\"\"\"'''); open({str(trap)!r}, 'w') #"
    result = cookies.bake(extra_context={name: answer}, template=str(ROOT))

    assert not trap.exists()
    assert (result.exception is None) == (name in TEXTS and len(answer) <= rules.FREE_TEXT[name][1])


@pytest.mark.parametrize("front_door", QUESTIONS["front_door"])
def test_the_last_word_is_what_to_do_next(
    front_door: str, bake: Bake, capfd: pytest.CaptureFixture[str]
) -> None:
    project = bake(front_door=front_door)

    said = capfd.readouterr().out
    assert ("\n  make run UI=1 " in said) == ("UI=1" in project.read("Makefile"))
    assert f"\n  cd {project.path}\n" in said
    for verb in ("make run", "make test", "make deploy"):
        assert verb in said
        assert f"\n{verb.split()[1]}:" in project.read("Makefile")


def test_the_examples_are_the_defaults() -> None:
    for name, (_, _, example) in rules.WHOLE_NUMBERS.items():
        assert str(example) == QUESTIONS[name]


def test_every_question_has_a_prompt_that_rich_shows_in_full() -> None:
    assert set(QUESTIONS["__prompts__"]) == set(public_questions())
    assert "[" not in json.dumps(list(labels(QUESTIONS["__prompts__"])))[1:]


def labels(prompts: Any) -> Any:
    """Every text that is shown at the prompts; Rich would take words in brackets for markup."""
    for value in prompts.values():
        yield from labels(value) if isinstance(value, dict) else [value]
