"""What is rendered: the tree, and that every file of every variant is what it says it is."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import sys
import tomllib
from dataclasses import dataclass

import pytest
import yaml
from conftest import TOOLS, Bake, Project
from test_stack import Loader, is_given, read_template
from variants import FAR, ROOT, STRANGE_TEXT, TEMPLATE, TOGETHER, complete

TREE = [
    ".checkov.yaml",
    ".cookiecutter.yaml",
    ".github/dependabot.yml",
    ".github/workflows/ci.yml",
    ".gitignore",
    "Makefile",
    "README.md",
    "deploy-role.yaml",
    "docs/change.md",
    "docs/deploy.md",
    "docs/how-it-works.md",
    "docs/local-aws.md",
    "docs/operate.md",
    "docs/operator-policy.json",
    "docs/sizes-and-cost.md",
    "docs/tenants.md",
    "docs/timeline.svg",
    "docs/updates.md",
    "events/demo.json",
    "events/order.json",
    "ops/__init__.py",
    "ops/__main__.py",
    "ops/brake.py",
    "ops/client.py",
    "ops/cost.py",
    "ops/deletion.py",
    "ops/emulator.py",
    "ops/erasure.py",
    "ops/executions.py",
    "ops/inbox.py",
    "ops/local.py",
    "ops/local_aws.py",
    "ops/operations.py",
    "ops/prices.toml",
    "ops/redrive.py",
    "ops/replay.py",
    "ops/run.py",
    "ops/stack.py",
    "ops/steering.py",
    "ops/tenants.json",
    "ops/tenants.py",
    "pyproject.toml",
    *(
        f"requirements/{name}.{kind}"
        for name in ("dev", "ministack", "sam", "uv")
        for kind in ("in", "txt")
    ),
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
    "src/chassis/functions/history.py",
    "src/chassis/functions/log.py",
    "src/chassis/functions/reconciler.py",
    "src/chassis/functions/starter.py",
    "src/chassis/functions/timeline.py",
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
    "src/requirements.in",
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
    "tests/chassis/functions/test_secrets.py",
    "tests/chassis/functions/test_starter.py",
    "tests/chassis/functions/test_timeline.py",
    "tests/chassis/ops/conftest.py",
    "tests/chassis/ops/history.json",
    "tests/chassis/ops/lambda_api.py",
    "tests/chassis/ops/test_brake.py",
    "tests/chassis/ops/test_cost.py",
    "tests/chassis/ops/test_deletion.py",
    "tests/chassis/ops/test_emulator.py",
    "tests/chassis/ops/test_erasure.py",
    "tests/chassis/ops/test_executions.py",
    "tests/chassis/ops/test_local_aws.py",
    "tests/chassis/ops/test_local_deploy.py",
    "tests/chassis/ops/test_main.py",
    "tests/chassis/ops/test_redrive.py",
    "tests/chassis/ops/test_replay.py",
    "tests/chassis/ops/test_rights.py",
    "tests/chassis/ops/test_run.py",
    "tests/chassis/ops/test_stack.py",
    "tests/chassis/ops/test_steering.py",
    "tests/chassis/ops/test_tenants.py",
    "tests/chassis/sample.py",
    "tests/chassis/source.py",
    "tests/chassis/tenancy/test_approvals.py",
    "tests/chassis/tenancy/test_credentials.py",
    "tests/chassis/tenancy/test_guard.py",
    "tests/chassis/tenancy/test_profile.py",
    "tests/chassis/tenancy/test_registry.py",
    "tests/chassis/test_alarms.py",
    "tests/chassis/test_ci.py",
    "tests/chassis/test_deploy_role.py",
    "tests/chassis/test_locks.py",
    "tests/chassis/test_makefile.py",
    "tests/chassis/test_model.py",
    "tests/chassis/test_quotas.py",
    "tests/chassis/test_rooms.py",
    "tests/chassis/test_settings.py",
    "tests/chassis/test_template.py",
    "tests/chassis/test_wire.py",
    "tests/chassis/test_wiring.py",
    "tests/chassis/tiers.toml",
    "tests/cloud/test_cloud.py",
    "tests/conftest.py",
    "tests/crashes.py",
    "tests/execution.py",
    "tests/workflow/conftest.py",
    "tests/workflow/operations.txt",
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
        "docs/front-door.png",
        "docs/openapi.yaml",
        "ops/page.py",
        "src/chassis/functions/api.py",
        "src/chassis/functions/oauth4webapi.js",
        "src/chassis/functions/page.css",
        "src/chassis/functions/page.html",
        "src/chassis/functions/page.js",
        "src/chassis/functions/page.py",
        "src/chassis/tenancy/runs.py",
        "src/requirements-api.in",
        "src/requirements-api.txt",
        "src/workflow/api.py",
        "tests/chassis/functions/test_api.py",
        "tests/chassis/ops/test_page.py",
    ],
    "none": [],
}

# Words that are there for an answer only.
WORDS = {
    "fan_out=yes": re.compile(
        r"[Cc]hunk|[Ff]an.?[Oo]ut|FAN_OUT|\bOBJECTS\b|[Ii]nput_?[Rr]ef|\b[Ss]3\b|[Bb]ucket|BUCKET"
        r"|ObjectRetention|\.objects\b|(Bucket|File)Objects|[Rr]esults_?[Rr]ef|StoredI"
    ),
    "wait": re.compile(r"[Cc]ool.?[Dd]own|COOL_DOWN"),
    "wait_for_condition": re.compile(r"[Rr]eadiness|ReadyUrl|READY_URL|ready_url|NotReady"),
    "invoke": re.compile(
        r"(?<![a-z])[Mm]eter\b|(?<!PARA)METER|Meter(Function|Role)|metering\b|(?<!para)meter[-_]"
        r"|[Uu]sage ?[Rr]ecord|USAGE|(put|record)_usage"
    ),
    "front_door=http_api": re.compile(
        r"[Ff]ront.?[Dd]oor|[Jj]wt|JWT|HttpApi|\bAPI's\b|TenantApi|ApiRole|[Pp]owertools|PAGE_URL"
        r"|page_url|UI=1|requirements-api|put_result|record-result"
    ),
    "child_context": re.compile(
        r"[Aa]nnounce|OPERATOR_TOPIC|operator_topic|(?<!Alarms)TellOperators"
    ),
    "customer_managed_key=yes": re.compile(r"[Kk][Mm][Ss]|DataKey|So does the key"),
    "tenancy=silo": re.compile(r"ENV=acme|[^:]-acme\b|!Ref TenantId"),
    "tenancy=isolated": re.compile(r"PER_TENANT|TenancyConfig"),
}
# What has such words in it, and is meant.
MEANT = re.compile(
    r"S3 keys|moto\[.*\]|S3::BucketPolicy|of a bucket only|KMS::Key|\"chunking\"|: S3\b"
    r"|\"Bucket\": \"artif|mypy-boto3-s3"
    r"|also where a chunk of it runs|of a chunk says nothing"
    # What another answer would do.
    r"|with `fan_out=yes`(, which)? cuts( its input into chunks)?"
    # The keys that AWS manages.
    r"|requests to KMS, for the keys that AWS manages|KmsMasterKeyId\W+alias/aws/sns"
    # The bucket of the SAM CLI.
    r"|(s3:::aws-sam-cli-managed-default-)?samclisourcebucket|bucket of (its own stack|the SAM CLI)"
    r"|FindBucket|s3:(Get|Put)Object(Version)?$|--resolve-s3"
    # Of Dependabot, between two updates.
    r"|cooldown:",
    re.M,
)
# Tables of tests have what any project has.
MEANT_THERE = {
    ("tests/chassis/ops/test_cost.py", "fan_out=yes"),
    ("tests/chassis/functions/test_starter.py", "fan_out=yes"),
    ("tests/chassis/test_template.py", "tenancy=isolated"),
    ("tests/chassis/ops/test_emulator.py", "fan_out=yes"),
    ("tests/chassis/ops/test_executions.py", "child_context"),
    ("tests/chassis/test_deploy_role.py", "customer_managed_key=yes"),
    ("tests/chassis/test_deploy_role.py", "fan_out=yes"),
    ("tests/chassis/test_template.py", "fan_out=yes"),
    *(
        (name, answer)
        for name in ("tests/chassis/test_wiring.py", "tests/chassis/ops/history.json")
        for answer in (
            *("fan_out=yes", "front_door=http_api"),
            *("wait", "wait_for_condition", "invoke", "child_context"),
        )
    ),
}
# What says more of the first answer if the second is given, too.
MORE = {
    ("docs/how-it-works.md", "fan_out=yes"): "invoke",
    ("docs/operate.md", "fan_out=yes"): "invoke",
    ("src/chassis/durable/fan_out.py", "fan_out=yes"): "invoke",
    ("src/chassis/tenancy/registry.py", "fan_out=yes"): "invoke",
    ("docs/how-it-works.md", "invoke"): "front_door=http_api",
    ("src/chassis/durable/items.py", "fan_out=yes"): "front_door=http_api",
    ("tests/chassis/durable/test_metering.py", "fan_out=yes"): "front_door=http_api",
    ("src/chassis/functions/reconciler.py", "invoke"): "front_door=http_api",
    ("src/chassis/tenancy/registry.py", "invoke"): "front_door=http_api",
    ("tests/chassis/functions/test_reconciler.py", "invoke"): "front_door=http_api",
    ("tests/chassis/test_template.py", "customer_managed_key=yes"): "front_door=http_api",
    ("tests/chassis/test_template.py", "fan_out=yes"): "front_door=http_api",
    ("template.yaml", "fan_out=yes"): "front_door=http_api",
    ("template.yaml", "front_door=http_api"): "customer_managed_key=yes",
    ("template.yaml", "invoke"): "customer_managed_key=yes",
}

# What looks like Jinja, or speaks of the generator, and is meant.
ALLOWED = [
    "${{ vars.AWS_CHECK_ROLE_ARN }}",
    "${{ vars.AWS_DEPLOY_ROLE_ARN }}",
    "${{ matrix.tenant }}",
    ".cookiecutter.yaml",
    "cookiecutter <template>",
    "`cookiecutter`",
]
# The SAM CLI needs it.
LOCK_OF_SAM = "requirements/sam.txt"


def expected_tree(answers: dict[str, str]) -> list[str]:
    """The files of a project with these answers."""
    files = {*TREE, *FOR_FAN_OUT[answers["fan_out"]], *FOR_FRONT_DOOR[answers["front_door"]]}
    for name in answers["extra_operations"].split(","):
        files |= {*FOR_OPERATION.get(name, [])}
    return sorted(files)


@functools.cache
def parse_python(text: str) -> ast.Module:
    return ast.parse(text)


PARSERS = {
    ".py": parse_python,
    ".json": json.loads,
    ".toml": tomllib.loads,
    ".yaml": lambda text: yaml.load(text, Loader),
    ".yml": lambda text: yaml.load(text, Loader),
}


def test_the_tree_is_the_expected_one(rendering: Project) -> None:
    assert rendering.path.name == rendering.answers["project_slug"]
    assert rendering.files() == expected_tree(rendering.answers)


def test_every_file_parses(rendering: Project) -> None:
    for name in rendering.files():
        parse = PARSERS.get(name[name.rfind(".") :])
        if parse:
            assert parse(rendering.read(name)) is not None, name


def test_nothing_of_the_template_is_left(rendering: Project) -> None:
    answers = [value for value in rendering.answers.values() if value]
    for name in rendering.texts():
        text = rendering.read(name)
        for allowed in [*answers, *ALLOWED]:
            text = text.replace(allowed, "")
        if name == LOCK_OF_SAM:
            text = re.sub(r"(?m)^cookiecutter(?===)|^    # +(via )?cookiecutter$", "", text)
        left = re.search(r"\{\{|\{%|\{#|^\s*#%|cookiecutter", text, re.M | re.I)
        assert not left, f"{name} has {left}"


def test_files_end_as_they_should(rendering: Project) -> None:
    for name in rendering.texts():
        text = rendering.read(name)
        assert text.strip(), f"{name} is empty"
        assert text.endswith("\n"), f"{name} has no newline at its end"
        assert not text.endswith("\n\n"), f"{name} has blank lines at its end"
        assert "\r" not in text, f"{name} has line endings of Windows"
        assert "\n\n\n\n" not in text, f"{name} has a run of blank lines"
        assert not re.search(r"[ \t]$", text, re.M), f"{name} has blanks at the end of a line"
        assert str(ROOT) not in text, f"{name} has a path of the template"


def test_paths_work_on_every_system(rendering: Project) -> None:
    for name in rendering.files():
        assert not re.search(r'[<>:"|?*\\]', name)
        assert len(name) <= 88  # and 32 of the slug: 120 characters


def test_the_same_answers_give_the_same_project(bake: Bake) -> None:
    one, two = bake(description=STRANGE_TEXT), bake(description=STRANGE_TEXT)

    assert {name: one.read(name) for name in one.texts()} == {
        name: two.read(name) for name in two.texts()
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


@pytest.fixture(params=TOGETHER, ids=lambda answers: "-".join(answers.values()))
def together(request: pytest.FixtureRequest, rendered: Bake) -> Project:
    """Any three operations go together, with the fan-out and without; to be read."""
    return rendered(**request.param)


def test_any_operations_go_together(together: Project) -> None:
    lint(together)
    everything_is_imported_from_somewhere(together)
    nothing_is_there_that_was_not_asked_for(together)


def test_a_project_has_what_it_uses_and_what_was_asked_for(rendering: Project) -> None:
    everything_is_imported_from_somewhere(rendering)
    nothing_is_there_that_was_not_asked_for(rendering)


@pytest.mark.parametrize("answers", FAR, ids=lambda answers: answers["project_slug"])
def test_the_linter_finds_nothing_and_the_types_hold(
    rendered: Bake, answers: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Types as far as they are known without the packages of a project: those are anything."""
    rooms = ("src/chassis", "src/workflow", "ops", "tests")
    options = ("--config-file=", "--ignore-missing-imports", "--explicit-package-bases")
    cache = tmp_path_factory.getbasetemp() / "mypy"  # of this worker
    project = rendered(**answers)
    lint(project)
    project.run(
        *(sys.executable, "-m", "mypy", f"--cache-dir={cache}", *options, *rooms),
        env={**os.environ, "MYPYPATH": "src"},
    )


def lint(project: Project) -> None:
    """The linter and the formatter find nothing; no cache is left in what others read."""
    project.run(TOOLS / "ruff", "check", "--no-cache", ".")
    project.run(TOOLS / "ruff", "format", "--no-cache", "--check", ".")


@dataclass(frozen=True)
class Names:
    """What a module defines, and what it takes from other modules."""

    defined: set[str]
    imported: set[tuple[str, str]]
    used: set[tuple[str, str]]  # of a name that stands for a module


@functools.cache
def names_in(text: str) -> Names:
    """Names that are something else somewhere in the module are left out of ``used``."""
    names = Names(set(), set(), set())
    modules: dict[str, str] = {}
    others: set[str] = set()
    nodes = list(ast.walk(parse_python(text)))
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.defined.add(node.id)
            others.add(node.id)
        elif isinstance(node, ast.arg):
            others.add(node.arg)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names.defined.update((each.asname or each.name).split(".")[0] for each in node.names)
            if isinstance(node, ast.ImportFrom) and node.module:
                names.imported.update((node.module, each.name) for each in node.names)
                modules |= {
                    each.asname or each.name: f"{node.module}.{each.name}" for each in node.names
                }
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            if module and node.value.id not in others and not node.attr.startswith("__"):
                names.used.add((module, node.attr))
    return names


def everything_is_imported_from_somewhere(project: Project) -> None:
    """What a module takes from another one of the project is there."""
    texts = {
        re.sub(r"^src/|(/__init__)?\.py$", "", name).replace("/", "."): project.read(name)
        for name in project.files()
        if name.endswith(".py")
    }
    packages = {module.rpartition(".")[0] for module in texts if "." in module}
    for text in texts.values():
        names = names_in(text)
        for module, name in names.imported | names.used:
            if module in texts and f"{module}.{name}" not in texts:
                assert name in names_in(texts[module]).defined, f"{module} has no {name}"
        for module, name in names.imported:
            if module.split(".")[0] in {"chassis", "workflow", "ops", "tests"}:
                assert module in texts or f"{module}.{name}" in texts, f"no {module}.{name}"
                assert module in texts.keys() | packages


@functools.cache
def spoken_of(text: str) -> dict[str, list[str]]:
    """The answers that a text speaks of, each with the lines that do."""
    lines = MEANT.sub("", text).splitlines()
    found = {answer: [*filter(words.search, lines)] for answer, words in WORDS.items()}
    return {answer: lines for answer, lines in found.items() if lines}


def nothing_is_there_that_was_not_asked_for(project: Project) -> None:
    """No word about it, in no file but the one that records the answers."""
    answers = complete(project.answers)
    for name in set(project.texts()) - {".cookiecutter.yaml"}:
        for answer, lines in spoken_of(project.read(name)).items():
            allowed = is_given(answer, answers) or (name, answer) in MEANT_THERE
            assert allowed, f"{name} speaks of {answer}: {lines[0]}"


def test_what_a_file_says_of_an_answer_depends_on_no_other_answer(rendered: Bake) -> None:
    """It says it in as many lines; of MORE, in more if both are given."""
    counts: dict[tuple[str, str, bool], set[int]] = {}
    for project in (rendered(**answers) for answers in [*TOGETHER, *FAR]):
        for name in set(project.texts()) - {".cookiecutter.yaml"}:
            for answer in WORDS:
                if is_given(answer, complete(project.answers)):
                    lines = spoken_of(project.read(name)).get(answer, [])
                    more = is_given(MORE.get((name, answer), ""), complete(project.answers))
                    counts.setdefault((name, answer, more), set()).add(len(lines))

    assert not {where: found for where, found in counts.items() if len(found) > 1}
    for where in MORE:
        assert max(counts[*where, True]) > max(counts[*where, False]), f"{where} says no more"


@pytest.mark.parametrize("count", range(1, 11))
def test_there_are_as_many_checks_as_asked_for(rendered: Bake, count: int) -> None:
    project = rendered(parallel_branch_count=str(count))
    lint(project)
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
    keys = [ast.literal_eval(key) for key in checks.keys if key]
    listed = project.read("tests/workflow/operations.txt").split("run-checks\n")[1]
    assert [line.strip() for line in listed.splitlines() if line[0] == " "][:count] == keys
    assert listed.splitlines()[count] == "process-items"


@pytest.mark.parametrize("fan_out", ["no", "yes"])
def test_the_docs_say_what_an_invocation_has_time_for(rendered: Bake, fan_out: str) -> None:
    """In its seconds, every item of an execution, or of a chunk, can take as long as they say."""
    project = rendered(fan_out=fan_out)
    parameters = read_template(project.read("template.yaml"))["Parameters"]
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
