"""What is rendered: the tree, and that every file of every variant is what it says it is."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from typing import Any

import pytest
import yaml
from conftest import Bake, Project
from variants import ROOT, STRANGE_TEXT, TEMPLATE

import durable_workflow_answers as rules

TREE = [
    ".cookiecutter.yaml",
    ".github/workflows/ci.yml",
    ".gitignore",
    "Makefile",
    "README.md",
    "docs/change.md",
    "docs/how-it-works.md",
    "docs/local-aws.md",
    "docs/operate.md",
    "docs/sizes-and-cost.md",
    "docs/tenants.md",
    "docs/updates.md",
    "events/demo.json",
    "events/order.json",
    "ops/__init__.py",
    "ops/__main__.py",
    "ops/client.py",
    "ops/cost.py",
    "ops/deletion.py",
    "ops/emulator.py",
    "ops/executions.py",
    "ops/inbox.py",
    "ops/local.py",
    "ops/local_aws.py",
    "ops/prices.toml",
    "ops/run.py",
    "ops/stack.py",
    "ops/tenants.json",
    "ops/tenants.py",
    "pyproject.toml",
    "samconfig.toml",
    "src/Makefile",
    "src/chassis/__init__.py",
    "src/chassis/durable/__init__.py",
    "src/chassis/durable/approval.py",
    "src/chassis/durable/checks.py",
    "src/chassis/durable/execution.py",
    "src/chassis/durable/handler.py",
    "src/chassis/durable/items.py",
    "src/chassis/durable/policies.py",
    "src/chassis/durable/report.py",
    "src/chassis/functions/__init__.py",
    "src/chassis/functions/approver.py",
    "src/chassis/functions/log.py",
    "src/chassis/functions/reconciler.py",
    "src/chassis/functions/starter.py",
    "src/chassis/model.py",
    "src/chassis/quotas.py",
    "src/chassis/settings.py",
    "src/chassis/steps/__init__.py",
    "src/chassis/steps/work.py",
    "src/chassis/tenancy/__init__.py",
    "src/chassis/tenancy/approvals.py",
    "src/chassis/tenancy/credentials.py",
    "src/chassis/tenancy/guard.py",
    "src/chassis/tenancy/profile.py",
    "src/chassis/tenancy/registry.py",
    "src/chassis/tenancy/rows.py",
    "src/chassis/tenancy/stores.py",
    "src/chassis/wire.py",
    "src/requirements.txt",
    "src/workflow/__init__.py",
    "src/workflow/approver.py",
    "src/workflow/callback_helper.py",
    "src/workflow/checks.py",
    "src/workflow/data_processor.py",
    "src/workflow/definition.py",
    "src/workflow/handler.py",
    "src/workflow/messages.py",
    "src/workflow/starter.py",
    "src/workflow/tiers.toml",
    "src/workflow/workflow.py",
    "template.yaml",
    "tests/chassis/aws.py",
    "tests/chassis/conftest.py",
    "tests/chassis/durable/test_approval.py",
    "tests/chassis/durable/test_checks.py",
    "tests/chassis/durable/test_crashes.py",
    "tests/chassis/durable/test_handler.py",
    "tests/chassis/durable/test_items.py",
    "tests/chassis/durable/test_policies.py",
    "tests/chassis/durable/test_records.py",
    "tests/chassis/durable/test_replay.py",
    "tests/chassis/functions/conftest.py",
    "tests/chassis/functions/test_approver.py",
    "tests/chassis/functions/test_races.py",
    "tests/chassis/functions/test_reconciler.py",
    "tests/chassis/functions/test_starter.py",
    "tests/chassis/ops/conftest.py",
    "tests/chassis/ops/lambda_api.py",
    "tests/chassis/ops/test_cost.py",
    "tests/chassis/ops/test_deletion.py",
    "tests/chassis/ops/test_executions.py",
    "tests/chassis/ops/test_local_aws.py",
    "tests/chassis/ops/test_main.py",
    "tests/chassis/ops/test_run.py",
    "tests/chassis/ops/test_stack.py",
    "tests/chassis/ops/test_tenants.py",
    "tests/chassis/sample.py",
    "tests/chassis/source.py",
    "tests/chassis/tenancy/test_approvals.py",
    "tests/chassis/tenancy/test_credentials.py",
    "tests/chassis/tenancy/test_guard.py",
    "tests/chassis/tenancy/test_profile.py",
    "tests/chassis/tenancy/test_registry.py",
    "tests/chassis/test_model.py",
    "tests/chassis/test_quotas.py",
    "tests/chassis/test_rooms.py",
    "tests/chassis/test_settings.py",
    "tests/chassis/test_template.py",
    "tests/chassis/test_wire.py",
    "tests/chassis/tiers.toml",
    "tests/cloud/test_cloud.py",
    "tests/conftest.py",
    "tests/crashes.py",
    "tests/execution.py",
    "tests/workflow/conftest.py",
    "tests/workflow/test_callback_helper.py",
    "tests/workflow/test_checks.py",
    "tests/workflow/test_data_processor.py",
    "tests/workflow/test_definition.py",
    "tests/workflow/test_messages.py",
    "tests/workflow/test_workflow.py",
]

# Files that are there for an answer only; for none of the operations, of the rest of the tree.
FOR_OPERATION = {
    "wait": [
        "src/workflow/cool_down.py",
        "tests/workflow/test_cool_down.py",
    ],
    "wait_for_condition": [
        "src/workflow/readiness.py",
        "tests/workflow/test_readiness.py",
    ],
    "invoke": [
        "src/chassis/durable/invocation.py",
        "src/chassis/durable/metering.py",
        "src/chassis/functions/meter.py",
        "tests/chassis/durable/test_invocation.py",
        "tests/chassis/durable/test_metering.py",
        "tests/chassis/functions/test_meter.py",
    ],
    "child_context": [
        "src/workflow/announcement.py",
        "tests/workflow/test_announcement.py",
    ],
}
FOR_FAN_OUT = {
    "no": [],
    "yes": [
        "src/chassis/chunking.py",
        "src/chassis/durable/fan_out.py",
        "src/chassis/durable/invocation.py",
        "src/chassis/steps/chunks.py",
        "src/chassis/tenancy/objects.py",
        "tests/chassis/durable/test_fan_out.py",
        "tests/chassis/durable/test_fan_out_crashes.py",
        "tests/chassis/durable/test_invocation.py",
        "tests/chassis/tenancy/test_objects.py",
        "tests/chassis/test_chunking.py",
    ],
}
FOR_FRONT_DOOR = {
    "http_api": [
        "docs/front-door.md",
        "docs/openapi.yaml",
        "ops/page.py",
        "src/chassis/functions/api.py",
        "src/chassis/functions/oauth4webapi.js",
        "src/chassis/functions/page.css",
        "src/chassis/functions/page.html",
        "src/chassis/functions/page.js",
        "src/chassis/functions/page.py",
        "src/chassis/tenancy/runs.py",
        "src/requirements-api.txt",
        "src/workflow/api.py",
        "tests/chassis/functions/test_api.py",
        "tests/chassis/ops/test_page.py",
    ],
    "none": [],
}

# What looks like Jinja, or speaks of the generator, and is meant.
ALLOWED = [
    "${{ vars.AWS_DEPLOY_ROLE_ARN }}",
    "${{ matrix.tenant }}",
    ".cookiecutter.yaml",
    "cookiecutter <template>",
    "`cookiecutter`",
]


def expected_tree(answers: dict[str, str]) -> list[str]:
    """The files of a project with these answers."""
    files = {*TREE, *FOR_FAN_OUT[answers["fan_out"]], *FOR_FRONT_DOOR[answers["front_door"]]}
    for name in answers["extra_operations"].split(","):
        files |= {*FOR_OPERATION.get(name, [])}
    return sorted(files)


class TemplateLoader(yaml.SafeLoader):
    """Reads YAML with CloudFormation's short intrinsic functions; their values do not matter."""


TemplateLoader.add_multi_constructor("!", lambda loader, suffix, node: suffix)

PARSERS = {
    ".py": ast.parse,
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": lambda text: yaml.load(text, TemplateLoader),
    ".yml": yaml.safe_load,
}


def test_the_tree_is_the_expected_one(project: Project) -> None:
    assert project.path.name == project.answers["project_slug"]
    assert project.files() == expected_tree(project.answers)


def test_every_file_parses(project: Project) -> None:
    for name in project.files():
        parse = PARSERS.get(name[name.rfind(".") :])
        if parse:
            assert parse(project.read(name)) is not None, name


def test_nothing_of_the_template_is_left(project: Project) -> None:
    answers = [value for value in project.answers.values() if value]
    for name in project.files():
        text = project.read(name)
        for allowed in [*answers, *ALLOWED]:
            text = text.replace(allowed, "")
        left = re.search(r"\{\{|\{%|\{#|^\s*#%|cookiecutter", text, re.M | re.I)
        assert not left, f"{name} has {left}"


def test_files_end_as_they_should(project: Project) -> None:
    for name in project.files():
        text = project.read(name)
        assert text.strip(), f"{name} is empty"
        assert text.endswith("\n"), f"{name} has no newline at its end"
        assert not text.endswith("\n\n"), f"{name} has blank lines at its end"
        assert "\r" not in text, f"{name} has line endings of Windows"
        assert "\n\n\n\n" not in text, f"{name} has a run of blank lines"
        assert not re.search(r"[ \t]$", text, re.M), f"{name} has blanks at the end of a line"
        assert str(ROOT) not in text, f"{name} has a path of the template"


def test_paths_work_on_every_system(project: Project) -> None:
    for name in project.files():
        assert not re.search(r'[<>:"|?*\\]', name)
        assert len(name) <= 88  # and 32 of the slug: 120 characters


def test_the_same_answers_give_the_same_project(bake: Bake) -> None:
    one, two = bake(description=STRANGE_TEXT), bake(description=STRANGE_TEXT)

    assert {name: one.read(name) for name in one.files()} == {
        name: two.read(name) for name in two.files()
    }


def test_free_text_comes_out_faithfully(bake: Bake) -> None:
    project = bake(
        project_name='It\'s "x" \\ #1', description=STRANGE_TEXT, author_name=STRANGE_TEXT
    )
    settings = tomllib.loads(project.read("pyproject.toml"))["project"]
    # In Markdown a backslash makes plain text of the character behind it.
    readme = re.sub(r"\\([^\w\s])", r"\1", project.read("README.md")).splitlines()

    assert settings["description"] == STRANGE_TEXT
    assert settings["authors"] == [{"name": STRANGE_TEXT}]
    assert readme[0] == '# It\'s "x" \\ #1'
    assert readme[2] == f"Purpose: {STRANGE_TEXT}"
    assert readme[-1] == f"Made by {STRANGE_TEXT}."


@pytest.mark.parametrize("fan_out", ["no", "yes"])
@pytest.mark.parametrize("index", range(16))
def test_any_operations_go_together(bake: Bake, fan_out: str, index: int) -> None:
    chosen = [name for bit, name in enumerate(rules.EXTRA_OPERATIONS) if index >> bit & 1]
    project = bake(fan_out=fan_out, extra_operations=",".join(chosen) or "none")

    project.run(sys.executable, "-m", "ruff", "check", ".")
    project.run(sys.executable, "-m", "ruff", "format", "--check", ".")


@pytest.mark.parametrize("count", range(1, 11))
def test_there_are_as_many_checks_as_asked_for(bake: Bake, count: int) -> None:
    project = bake(parallel_branch_count=str(count))
    project.run(sys.executable, "-m", "ruff", "check", "src")
    project.run(sys.executable, "-m", "ruff", "format", "--check", "src")
    tree = ast.parse(project.read("src/workflow/checks.py"))
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    functions = {name for name in names if not name.startswith("_")}
    (checks,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "CHECKS"
    )

    assert isinstance(checks, ast.Dict)
    assert len(checks.values) == count
    assert {ast.unparse(value) for value in checks.values} == functions


def test_the_answers_reach_the_stack(bake: Bake) -> None:
    project = bake(
        python_version="3.14",
        architecture="x86_64",
        aws_region="eu-west-1",
        map_max_concurrency="7",
        callback_timeout_minutes="90",
        callback_timeout_action="continue",
        execution_timeout_minutes="100",
    )
    template: dict[str, Any] = yaml.load(project.read("template.yaml"), TemplateLoader)
    function = template["Resources"]["WorkflowFunction"]["Properties"]
    function |= template["Globals"]["Function"]
    defaults = {name: spec["Default"] for name, spec in template["Parameters"].items()}

    assert function["Runtime"] == "python3.14"
    assert function["Architectures"] == ["x86_64"]
    assert function["DurableConfig"]["ExecutionTimeout"] == 6_000
    assert defaults["MapMaxConcurrency"] == 7
    assert defaults["CallbackTimeoutMinutes"] == 90
    assert defaults["CallbackTimeoutAction"] == "continue"
    assert template["Parameters"]["CallbackTimeoutMinutes"]["MaxValue"] == 90
    settings = tomllib.loads(project.read("samconfig.toml"))["default"]["global"]["parameters"]
    assert settings == {"stack_name": "order-approvals", "region": "eu-west-1"}
    assert "manylinux2014_x86_64" in project.read("src/Makefile")
    assert "--python-version 3.14" in project.read("src/Makefile")


@pytest.mark.parametrize("fan_out", ["no", "yes"])
def test_the_docs_say_what_an_invocation_has_time_for(bake: Bake, fan_out: str) -> None:
    """In its seconds, every item of an execution, or of a chunk, can take as long as they say."""
    project = bake(fan_out=fan_out)
    template: dict[str, Any] = yaml.load(project.read("template.yaml"), TemplateLoader)
    parameters = template["Parameters"]
    seconds = parameters["InvocationTimeoutSeconds"]
    section = project.read("docs/sizes-and-cost.md").split("## What one invocation has time for")[1]
    rows = re.findall(r"^\| [\w ]+ \| (\d+) \| (\d+) \| ([\d.]+) s \|$", section, re.M)

    assert "      Timeout: !Ref InvocationTimeoutSeconds\n" in project.read("template.yaml")
    assert seconds["Default"] == seconds["MaxValue"] == 900
    assert f"`InvocationTimeoutSeconds`: {seconds['Default']}," in section
    sizes = [900, parameters["ChunkSize"]["Default"]] if fan_out == "yes" else [900]
    assert [int(items) for items, *_ in rows] == sizes
    for items, wide, longest in rows:
        assert int(wide) == parameters["MapMaxConcurrency"]["Default"]
        assert int(items) * float(longest) / int(wide) == pytest.approx(seconds["Default"])


def test_the_python_of_the_template_is_python() -> None:
    """An editor, a type checker and a reader can open it without rendering it."""
    for path in TEMPLATE.rglob("*.py*"):  # the name of some ends with the end of a condition
        ast.parse(path.read_text(encoding="utf-8"), str(path))
