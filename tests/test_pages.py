"""The pages of a rendered project speak of this project, and of no other."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from conftest import Bake, Project
from recipes import CHANGES, follow
from test_stack import is_given, read_template
from variants import FAR, TEMPLATE

# What is said on a page, and when: for an answer, for all of several, for one or another, for none.
SENTENCES = {
    "README.md": [
        ("make run UI=1", "front_door=http_api"),
        ("approver.py, api.py the entry points", "front_door=http_api"),
        ("| [Front door](docs/front-door.md) |", "front_door=http_api"),
        ("lets a cool-down pass,", "wait"),
        ("waits until the system that the items go to is ready,", "wait_for_condition"),
        ("Large inputs are processed in chunks, by executions of their own.", "fan_out=yes"),
        ("A second function records what each execution has used.", "invoke"),
        ("Approvers are told the result, operators are told of failures.", "child_context"),
        ("export ENV=acme # each tenant has a stack of its own", "tenancy=silo"),
        ('approval -- "approved" -->', "not callback_timeout_action=continue"),
        ('"approved, or<br/>no answer in time" -->', "callback_timeout_action=continue"),
        ('"no answer in time" --> failed', "callback_timeout_action=fail"),
        ('"rejected, or<br/>no answer in time" -->', "callback_timeout_action=reject"),
        ('-- "rejected" -->', "not callback_timeout_action=reject"),
        ('-- "up to 750 items" -->', "fan_out=yes"),
        ('chunks["process-chunks', "fan_out=yes"),
        ('--> meter["meter-usage"] --> aggregate', "invoke"),
        ('--> announce["announce-result"]', "child_context"),
    ],
    "docs/tenants.md": [
        ("| API | invoke the alias `live` of the workflow |", "front_door=http_api"),
        (", see whether an input is there", "front_door=http_api fan_out=yes"),
        ("All tenants share one stack and one function (`pool`).", "tenancy=pool"),
        ("Lambda runs every tenant in execution environments of its own", "tenancy=isolated"),
        ("Every tenant has a stack of its own,", "tenancy=silo"),
        ("make tenant-add TENANT=globex", "tenancy=silo"),
        ("No deploy is needed.", "not tenancy=silo"),
        ("items that are processed at the same time, in each chunk |", "fan_out=yes"),
        ("the key of the row, the prefix of the object and the name", "fan_out=yes"),
        ("the key of the row and the name", "not fan_out=yes"),
        ("publish to both topics", "child_context"),
        ("publish to the topic of the approvers", "not child_context"),
        (", invoke the meter", "invoke"),
        ("| meter | nothing | read and write its rows: record its usage |", "invoke"),
        (", invoke itself for chunks", "fan_out=yes"),
        ("; read and write its objects |", "fan_out=yes"),
        ("They use [the key](operate.md#the-key) of the stack", "customer_managed_key=yes"),
        ("(`fan_out_width` + 1): 4, 60 and 420 in the tiers above.", "fan_out=yes"),
        ("`running_executions`: 2, 20 and 200", "not fan_out=yes"),
        ("3 running, 60 at a time", "fan_out=yes"),
        ("3 running, 20 at a time", "not fan_out=yes"),
        ("or the meter, from running", "invoke"),
        ("- Lambda keeps at most 2.5 execution environments of tenants", "tenancy=isolated"),
        ("Two functions are isolated, the workflow and the meter:", "tenancy=isolated invoke"),
        ("(Lambda names the execution of a chunk,", "fan_out=yes"),
        ("- the invocation, which Lambda isolates by tenant.", "tenancy=isolated"),
        ("- the stack.", "tenancy=silo"),
        ("A chunk is processed only while the execution that cut", "fan_out=yes"),
        ("histories, its objects, and its rows.", "fan_out=yes"),
        ("so they stay until you run it with `--usage`.", "invoke"),
    ],
    "docs/local-aws.md": [
        ("export ENV=acme make local-up", "tenancy=silo"),
        ("Without `ENV=acme` there is no stack to deploy.", "tenancy=silo"),
        ("make start LOCAL=1 TENANT=globex", "not tenancy=silo"),
        ("The last command is refused, because the tenant `globex`", "not tenancy=silo"),
        ("- Isolation: here the function runs as one", "tenancy=isolated"),
        ("- The API: MiniStack serves no routes of it.", "front_door=http_api"),
    ],
    "docs/change.md": [
        ("`checks.py`, `readiness.py`, and any module", "wait_for_condition"),
        ("+items_per_execution = 600000", "fan_out=yes"),
        ("+items_per_execution = 450", "not fan_out=yes"),
    ],
    "docs/how-it-works.md": [
        ("; for an `inputRef`, none, but in `lines`", "fan_out=yes"),
        (
            "The starter, and the [API](front-door.md) in the same way, starts",
            "front_door=http_api",
        ),
        ("The starter is the only function that starts", "not front_door=http_api"),
        ("the entry points from `chassis.functions.starter`, `chassis", "front_door=http_api"),
        ("min | ends and processes nothing: `TIMED_OUT` |", "callback_timeout_action=reject"),
        ("min | continues as if it had been given;", "callback_timeout_action=continue"),
        ("min | fails with `ApprovalTimedOutError` |", "callback_timeout_action=fail"),
        ("is set | fails with `ApprovalTimedOutError` |", "callback_timeout_action=fail"),
        ("decision `HEARTBEAT_LOST` |", "not callback_timeout_action=fail"),
        ("the execution waits for `CoolDownSeconds` (60).", "wait"),
        ("If `ReadyUrl` is set, the workflow polls it", "wait_for_condition"),
        ("a list of up to 900 JSON values;", "not fan_out=yes"),
        ("a list of JSON values;", "fan_out=yes"),
        ("| `inputData.inputRef` | instead of `items`:", "fan_out=yes"),
        ("S3, below `mapResults.resultsRef` in the tenant's prefix.", "fan_out=yes"),
        ("the results are in the history of the execution.", "not fan_out=yes"),
        ("1,000 of them, or 200 if the input was cut into chunks.", "fan_out=yes"),
        ("1,000 of them.", "not fan_out=yes"),
        ("- **A chunk**: it is processed once more.", "fan_out=yes"),
        ("- **The meter**: it is invoked once more.", "invoke"),
        ("- **A message about the result**: it is retried.", "child_context"),
        ("The meter records how many items were processed,", "invoke"),
        ("Each chunk has a record of its own,", "fan_out=yes invoke"),
        ("the log has the line `usage not recorded`", "invoke"),
        ("A chunk that is processed again has the same keys.", "fan_out=yes"),
        ("A usage record that is written again changes nothing.", "invoke"),
        ("More items than `ChunkSize` (750), or than fit, are cut into chunks.", "fan_out=yes"),
        ("An input with more items is refused before anything", "not fan_out=yes"),
        ("events, stored inputs, answers to approvals", "fan_out=yes"),
        ("reconciler, meter", "invoke"),
        ("credentials, objects", "fan_out=yes"),
        ("| `invoke(function, payload, name)` |", "invoke"),
        ("the tenant's rows and objects, and `notify", "fan_out=yes"),
    ],
    "docs/sizes-and-cost.md": [
        ("what the table and the bucket store", "fan_out=yes"),
        ("what the table stores", "not fan_out=yes"),
        ("- the API: a dollar for a million requests", "front_door=http_api"),
        ("- the key, and the requests to KMS", "customer_managed_key=yes"),
        ("- the requests to KMS, for the keys that AWS", "not customer_managed_key=yes"),
        ("But all items of an execution or a chunk are processed in one", "fan_out=yes"),
        ("| a chunk | 750 |", "fan_out=yes"),
        ("raise `MapMaxConcurrency` or lower `ChunkSize`:", "fan_out=yes"),
        ("raise `MapMaxConcurrency`, or send fewer items", "not fan_out=yes"),
        ("Chunks divide long work", "fan_out=yes"),
        ("More items are cut into chunks.", "fan_out=yes"),
        ("An input that is too large is refused before", "not fan_out=yes"),
        ("## Large inputs", "fan_out=yes"),
        ("make cost ITEMS=1000000", "fan_out=yes"),
    ],
    "docs/operate.md": [
        ("export ENV=acme make deploy", "tenancy=silo"),
        ("Each tenant has a stack of its own, named in a section", "tenancy=silo"),
        ("`sam build` and `sam deploy` do the same.", "not tenancy=silo"),
        (", and the id of [the key](#the-key). Its statements", "customer_managed_key=yes"),
        ("- **An input that was cut into chunks** is redriven", "fan_out=yes"),
        ("- [The key](#the-key)", "customer_managed_key=yes"),
        ("One KMS key, `DataKey`, encrypts everything at rest:", "customer_managed_key=yes"),
        ("table, the bucket, the logs,", "customer_managed_key=yes fan_out=yes"),
        ("Whoever puts an input into the bucket needs", "customer_managed_key=yes fan_out=yes"),
        ("- **Usage**: an execution", "invoke"),
        ("not sent: COMPLETED: order-2026-0042", "child_context"),
        ("A chunk that has failed counts, even if it is then processed again.", "fan_out=yes"),
        ("so every stack has this alarm at the same time.", "tenancy=silo"),
        ("have fewer of them: lower `ChunkSize`.", "fan_out=yes"),
        ("`ReconcilerErrorsAlarm`, `MeterErrorsAlarm`", "invoke"),
        ("`ReconcilerThrottlesAlarm`, `MeterThrottlesAlarm`", "invoke"),
        ("Usage that the meter did not take is in the log.", "invoke"),
        ("execution or a chunk that is stopped,", "invoke fan_out=yes"),
        ("- **Chunks** are executions of their own,", "fan_out=yes"),
        (", to which the page has a link.", "front_door=http_api"),
        ("was stopped, also over HTTP, is in the dead-letter queue", "front_door=http_api"),
        ("`API_TOKEN` is an access token of the tenant", "front_door=http_api"),
        ("the page of the front door", "front_door=http_api"),
        ("One of them processes more than 16 chunks.", "fan_out=yes"),
        ("the address of the approval on it.", "front_door=http_api"),
        (", if the API has started it |", "front_door=http_api"),
        ("`claim`, a token that was verified;", "front_door=http_api"),
        ("the tokens of every approval.", "tenancy=silo"),
        ("the tokens of all tenants.", "not tenancy=silo"),
        ("export ENV=acme make delete", "tenancy=silo"),
        ("the table of the tenants, the bucket", "fan_out=yes"),
        (", the key. ##", "customer_managed_key=yes"),
    ],
    "docs/front-door.md": [
        (
            "- Cancelling a workflow does not stop its chunks at once",
            "front_door=http_api fan_out=yes",
        ),
    ],
    "docs/deploy.md": [
        ("| `src/requirements-api.in` | what is shipped with the API", "front_door=http_api"),
        ("The matrix of `deploy`, and that of", "tenancy=silo"),
        ("and likewise for every other tenant, and commit it:", "tenancy=silo"),
        ('parameter_overrides = "TenantId=acme PermissionsBoundary=', "tenancy=silo"),
    ],
    "deploy-role.yaml": [
        ("dead-letter queue, the table, the bucket", "fan_out=yes"),
        (", the key. # The actions", "customer_managed_key=yes"),
        ("Sid: Bucket", "fan_out=yes"),
        ("Sid: Key", "customer_managed_key=yes"),
        ("Sid: UseOfKey", "customer_managed_key=yes"),
        ("Sid: Decrypt", "customer_managed_key=yes"),
    ],
    ".checkov.yaml": [
        ("- CKV_AWS_173", "not customer_managed_key=yes"),
        ("- CKV_AWS_26", "not customer_managed_key=yes"),
        ("- CKV_AWS_21", "fan_out=yes"),
    ],
    "template.yaml": [
        ("# Starts executions: beside the workflow itself the only principal", "fan_out=yes"),
        ("# Starts executions: the only principal that may invoke", "not fan_out=yes"),
        ("APPROVAL#<id>, USAGE#<start>#<execution> Tenant", "invoke"),
        ("APPROVAL#<id> Tenant", "not invoke"),
        ("environments, table, bucket, logs,", "customer_managed_key=yes fan_out=yes"),
    ],
    "samconfig.toml": [("# A stack for each tenant: to add one, copy", "tenancy=silo")],
}
# What the pages say with the answers in it.
FIGURES = {
    "README.md": [
        "in Python {python_version}. It turns",
        'approval{{"approval<br/>up to {callback_timeout_minutes} min"}}',
        "processes the items {map_max_concurrency} at a time, and",
        'items["process-items<br/>{map_max_concurrency} at a time"]',
        "The stack is deployed to {aws_region}:",
    ],
    "docs/operate.md": [
        "deploys the stack `{stack}` to {aws_region}, and prints",
        "| `CallbackTimeoutMinutes` | {callback_timeout_minutes} |",
        "| `CallbackTimeoutAction` | `{callback_timeout_action}` |",
        "| `MapMaxConcurrency` | {map_max_concurrency} |",
        "may take {execution_timeout_minutes} minutes (`ExecutionTimeout`",
        "make show EXECUTION=arn:aws:lambda:{aws_region}:111122223333:function:...",
        "export STACK_NAME={stack} AWS_REGION={aws_region} make test",
        "has a dashboard in CloudWatch, `{stack}-{aws_region}`.",
        "longer than {execution_timeout_minutes} minutes, its",
    ],
    "docs/front-door.md": ["JwtIssuer=https://cognito-idp.{aws_region}.amazonaws.com/"],
    "docs/how-it-works.md": ["| does not come within {callback_timeout_minutes} min |"],
    "docs/sizes-and-cost.md": [
        "| one execution | 900 | {map_max_concurrency} | {map_max_concurrency} s |",
        "Lambda's Python ({python_version}) is on this machine",
    ],
    "docs/deploy.md": [
        "--stack-name deploy-{project_slug} --region {aws_region} ",
        "in `[{section}.deploy.parameters]`",
        "make changes of {stacks}, in the next role",
        "if its name begins with `{project_slug}-`;",
    ],
    "deploy-role.yaml": [
        "of one repository needs to deploy {project_slug};",
        "RoleName: deploy-{project_slug} ",
        "RoleName: deploy-{project_slug}-stack ",
        "ManagedPolicyName: deploy-{project_slug}-boundary ",
    ],
    "docs/updates.md": ["The folder has to have the name {project_slug}:"],
}
# What an operation adds to an execution: operations of a run with five items, operations that are
# billed, invocations.
ADDS = {
    "wait": (1, 1, 1),
    "wait_for_condition": (1, 2, 0),
    "invoke": (1, 1, 1),
    "child_context": (3, 2, 0),
    "front_door=http_api": (1, 1, 0),
}
# Free text is looked for in test_render.py, the others in the tests of parameters, costs and ARNs.
ELSEWHERE = {
    "README.md": "project_name description author_name",
    "docs/how-it-works.md": "project_slug tenancy aws_region",
    "docs/local-aws.md": "project_slug aws_region",
    "docs/operate.md": "project_slug wait wait_for_condition",
    "docs/sizes-and-cost.md": "wait wait_for_condition invoke child_context",
    "docs/updates.md": "yaml",  # of .cookiecutter.yaml
}
# Blanks, stops and words that a condition may leave behind, or take away.
SLIP = re.compile(
    r"^ \S|\S {2,}\w|[a-z]\.[A-Z]|[A-Za-z] [,;]|[^.]\.\.[^.]|,\.|\b([a-z]+)\s\1\b", re.M
)
SOURCES = {
    re.sub("{%.*?%}", "", path.relative_to(TEMPLATE).as_posix()): path
    for path in sorted(TEMPLATE.rglob("*.md*"))
}


def pages(project: Project) -> list[str]:
    """The pages of a project."""
    return [name for name in project.files() if name.endswith(".md")]


def said(project: Project, page: str) -> str:
    """A page on one line."""
    return " ".join(project.read(page).split())


def stack(answers: dict[str, str]) -> str:
    """The name of the stack that the pages speak of."""
    return answers["project_slug"] + ("-acme" if answers["tenancy"] == "silo" else "")


def values(answers: dict[str, str]) -> dict[str, str]:
    """The answers, and what the pages make of them."""
    slug, silo = answers["project_slug"], answers["tenancy"] == "silo"
    return answers | {
        "stack": stack(answers),
        "stacks": f"the stacks `{slug}-*`" if silo else f"the stack `{slug}`",
        "section": "acme" if silo else "default",
    }


def is_said(when: str, answers: dict[str, str]) -> bool:
    negated = when.removeprefix("not ")
    return is_given(negated, answers) == (negated == when)


def test_a_sentence_is_there_for_its_answer_only(rendering: Project) -> None:
    wrong = [
        f"{page}: {'no ' if is_said(when, rendering.answers) else ''}{sentence!r} with {when}"
        for page, sentences in SENTENCES.items()
        if page in rendering.files()
        for sentence, when in sentences
        if (sentence in said(rendering, page)) != is_said(when, rendering.answers)
    ]

    assert not wrong, "\n".join(wrong)


def test_the_figures_are_those_of_the_answers(rendering: Project) -> None:
    for page, figures in FIGURES.items():
        if page not in rendering.files():
            continue  # of the front door
        for figure in figures:
            filled = figure.format_map(values(rendering.answers))
            assert filled in said(rendering, page), f"{page}: no {filled!r}"


@pytest.mark.parametrize("page", SOURCES)
def test_every_answer_that_a_page_depends_on_is_looked_for(page: str) -> None:
    source = SOURCES[page].read_text(encoding="utf-8")
    used = set(re.findall(r"cookiecutter\.(?:__)?(\w+)", source))
    whens = " ".join(when for _, when in SENTENCES.get(page, []))
    figures = re.findall(r"\{(\w+)\}", " ".join(FIGURES.get(page, [])))
    looked_for = {*re.findall(r"\w+", whens), *figures, *ELSEWHERE.get(page, "").split()}

    assert used <= looked_for | {"parallel_branch_count"}


@pytest.mark.parametrize("page", ["docs/how-it-works.md", "docs/operate.md", "docs/local-aws.md"])
def test_every_arn_is_of_this_stack(rendering: Project, page: str) -> None:
    answers = rendering.answers
    arns = re.findall(r"arn:aws:lambda:([\w-]+):\d+:function:([\w-]+):", rendering.read(page))

    assert set(arns) == {(answers["aws_region"], f"{stack(answers)}-workflow-{answers['tenancy']}")}


def test_the_parameters_are_documented(rendering: Project) -> None:
    """Each of them with its default; the one of a silo is in samconfig.toml."""
    deployed = read_template(rendering.read("template.yaml"))["Parameters"]
    there = {"docs/operate.md", "docs/front-door.md"} & {*rendering.files()}
    tables = re.findall(
        r"^\| parameter \|.*?\n\n", "".join(map(rendering.read, there)), re.M | re.S
    )
    documented = {}
    for row in re.findall(r"^\| (`.*)\|$", "".join(tables), re.M):
        names, cell, *_ = row.split("|")
        parameters = re.findall(r"`(\w+)`", names)
        defaults = [value.strip(" `") for value in cell.split(",")]
        if len(defaults) == 1:  # of all in the row
            defaults *= len(parameters)
        documented |= dict(zip(parameters, defaults, strict=True))

    assert documented == {
        name: str(spec["Default"]) for name, spec in deployed.items() if "Default" in spec
    }


def test_the_output_is_that_of_the_answers(rendering: Project) -> None:
    """And all JSON on the pages is JSON."""
    blocks = {
        page: [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.S)]
        for page in pages(rendering)
        if (text := rendering.read(page))
    }
    (output,) = (each for each in blocks["docs/how-it-works.md"] if "mapResults" in each)
    checks = re.findall(r'^    "([\w-]+)": \w+,$', rendering.read("src/workflow/checks.py"), re.M)
    assert [result["name"] for result in output["parallelResults"]] == checks
    assert len(checks) == output["metrics"]["checksRun"]
    assert len(checks) == int(rendering.answers["parallel_branch_count"])
    assert ("announced" in output) == is_given("child_context", rendering.answers)
    assert ("resultsRef" in output["mapResults"]) == is_given("fan_out=yes", rendering.answers)


def test_the_picture_shows_the_way_of_an_execution(rendering: Project) -> None:
    answers = rendering.answers
    (picture,) = re.findall(r"```mermaid\n(.*?)```", rendering.read("README.md"), re.S)
    edges = []
    for line in picture.splitlines():
        nodes = [re.findall(r"^\s*(\w+)", part)[0] for part in line.split("-->")]
        edges += itertools.pairwise(nodes)
    steps = {"cool": "wait", "ready": "wait_for_condition"}
    meter = ["meter"] if is_given("invoke", answers) else []
    announce = ["announce"] if is_given("child_context", answers) else []
    way = ["prepare", "approval", *(step for step in steps if is_given(steps[step], answers))]
    expected = {
        *itertools.pairwise([*way, "checks", "items", *meter, "aggregate"]),
        *itertools.pairwise(["aggregate", *announce, "result"]),
        ("approval", "aggregate"),
    }
    if answers["fan_out"] == "yes":
        expected |= {("checks", "chunks"), ("chunks", "aggregate")}
    if answers["callback_timeout_action"] == "fail":
        expected.add(("approval", "failed"))

    assert set(edges) == expected
    assert len(edges) == len(expected)


def test_the_readme_counts_what_a_run_takes(rendering: Project) -> None:
    checks = int(rendering.answers["parallel_branch_count"])
    added = [ADDS[name] for name in ADDS if is_given(name, rendering.answers)]
    operations = 13 + checks + sum(each for each, _, _ in added)
    invocations = 2 + sum(each for _, _, each in added)
    readme = said(rendering, "README.md")
    branches = "1 check" if checks == 1 else f"{checks} checks in parallel"

    assert f"\n{operations} durable operations in {invocations} invocations\n" in (
        rendering.read("README.md")
    )
    assert f" runs {branches}, processes" in readme
    assert f'checks["run-checks<br/>{branches.replace(" checks", "")}"]' in readme


def test_the_costs_are_the_prices_times_what_is_counted(rendering: Project) -> None:
    prices = tomllib.loads(rendering.read("ops/prices.toml"))
    checks = int(rendering.answers["parallel_branch_count"])
    added = [ADDS[name] for name in ADDS if is_given(name, rendering.answers)]
    fixed = 9 + checks + sum(each for _, each, _ in added)
    metered = int(is_given("invoke", rendering.answers))  # the meter's request and its record
    writes = 59 if is_given("front_door=http_api", rendering.answers) else 27
    text = rendering.read("docs/sizes-and-cost.md")
    of_an_operation = prices["million_operations"] / 1000  # of 1,000 executions
    counted = {
        "durable operations": (fixed + 100, "million_operations"),
        "lambda requests": (
            4 + sum(each for _, _, each in added) + metered,
            "million_lambda_requests",
        ),
        "read units": (4, "million_read_units"),
        "write units": (writes + metered, "million_write_units"),
        "messages": (1, "million_messages"),
    }
    lines = dict(re.findall(r"^  (\d+ [a-z ]+?) +([\d.]+)$", text, re.M))
    assert lines == {
        f"{count} {what}": f"{count * prices[price] / 1000:.4f}"
        for what, (count, price) in counted.items()
    }
    shapes = {
        "by default": fixed + 100,
        "`Nesting=NESTED`": fixed + 200 + checks,
        "`ItemsPerCheckpoint=10`": fixed + 10,
    }
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \| ([\d.]+) \| [\d,]+ \|", text, re.M)
    assert rows == [
        (shape, str(count), f"{count * of_an_operation:.2f}") for shape, count in shapes.items()
    ]
    total = float(re.findall(r"1,000 executions cost about ([\d.]+) dollars", text)[0])
    assert abs(total - sum(map(float, lines.values()))) < 0.02  # and the bytes
    assert f"| {fixed}, plus one step for each item, named after it |" in text


def test_the_owners_files_are_listed(rendering: Project) -> None:
    section = rendering.read("README.md").split("## Where things are")[1].split("src/chassis/")[0]
    files = [name.removeprefix("src/workflow/") for name in rendering.files()]
    ours = {name for name in files if re.fullmatch(r"\w+\.(py|toml)", name)}
    in_room = {
        name.removeprefix("src/workflow/")
        for name in rendering.files()
        if name.startswith("src/workflow/")
    }

    assert set(re.findall(r"\w+\.(?:py|toml)", section)) == (ours & in_room) - {"__init__.py"}


@pytest.mark.parametrize("answers", FAR, ids=lambda answers: answers["project_slug"])
def test_the_recipes_fit(rendered: Bake, tmp_path: Path, answers: dict[str, str]) -> None:
    """Every line that one changes, or goes by, is there; test_recipes.py says what comes of it."""
    for number, change in enumerate(CHANGES):
        project = tmp_path / str(number)
        shutil.copytree(rendered(**answers).path, project)
        assert follow(project, change)


def test_pages_are_whole(rendering: Project) -> None:
    """Fences close, rows have the columns of their table, sentences end, links lead somewhere."""
    for page in pages(rendering):
        text = rendering.read(page)
        assert text.count("```") % 2 == 0, page
        prose = re.sub(r"```.*?```", "```", text, flags=re.S)
        for paragraph in re.split(r"\n\n+", prose):
            lines = paragraph.splitlines()
            if lines[0].startswith("|"):
                widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
                assert len(widths) == 1, f"{page}: {lines[0]}"
            elif len(lines) > 1 and not lines[0].startswith(("#", "-", "```", "1.")):
                assert re.search(r"[.:!?)`]$", paragraph), f"{page}: {paragraph}"
        bare = re.sub(r"`[^`\n]*`|\(http[^)]*\)", "X", prose)
        slip = SLIP.search(bare)
        assert not slip, f"{page}: {slip}"
        for link in re.findall(r"\]\(([^):]+)\)", prose):
            path, _, anchor = link.partition("#")
            target = (rendering.path / page).parent / path if path else rendering.path / page
            assert target.exists(), f"{page}: {link}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
                slugs = {
                    re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings
                }
                assert anchor in slugs, f"{page}: {link}"
