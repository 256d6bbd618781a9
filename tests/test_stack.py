"""What the answers become in the stack, in its settings and in its build, read back as data."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from conftest import Bake, Project
from variants import QUESTIONS, VARIANTS, public_questions

import durable_workflow_answers as rules

# What template.yaml has for an answer only: parameters, resources, outputs, variables, and
# statements, each in its resource.
NAMES = {
    "wait": {"CoolDownSeconds", "COOL_DOWN"},
    "wait_for_condition": {"ReadyUrl", "READY_URL"},
    "invoke": {
        *("MeterFunction", "MeterRole", "METER_FUNCTION_ARN", "WorkflowRole/RecordUsage"),
        *("MeterErrorsAlarm", "MeterThrottlesAlarm"),
    },
    "child_context": {"OPERATOR_TOPIC_ARN", "WorkflowRole/TellOperators"},
    "fan_out=yes": {
        *("ChunkSize", "FanOutWidth", "ObjectRetentionDays", "CHUNK_SIZE", "FAN_OUT_WIDTH"),
        *("ObjectBucket", "ObjectBucketPolicy", "ObjectBucketName", "BUCKET"),
        *("WorkflowRole/ProcessChunks", "TenantRole/OwnObjects"),
        "ObjectBucketPolicy/EncryptedTransportOnly",
    },
    "customer_managed_key=yes": {
        *("DataKey", "DataKey/Administration", "DataKey/LambdaEncryptsExecutions"),
        *("DataKey/CloudWatchEncryptsLogs", "DataKey/AlarmsTellOperators"),
        "DataKey/EventBridgeKeepsUndeliveredEvents",
        *("WorkflowRole/ReadOwnExecutions", "WorkflowRole/EncryptMessages"),
        *("ReconcilerRole/DecryptRows", "TenantRole/DecryptRows", "TenantApproverRole/DecryptRows"),
        *("ReconcilerRole/EncryptFailedEvents", "TenantApproverRole/EncryptAnswers"),
        *("WriteLogs/EncryptLogs", "ReadEnvironment", "ReadEnvironment/ReadEnvironment"),
    },
    "fan_out=yes customer_managed_key=yes": {"TenantRole/EncryptObjects"},
    "front_door=http_api": {
        *("JwtIssuer", "JwtAudience", "PageClientId", "SignInOrigin", "TenantClaim", "RolesClaim"),
        *("SignInScope", "FourEyes", "CorsOrigin", "HttpApi", "PageUrl", "PAGE_URL"),
        *("ApiFunction", "JWT_ISSUER", "PAGE_CLIENT_ID", "SIGN_IN_ORIGIN", "PROJECT"),
        *("SIGN_IN_SCOPE", "TENANT_CLAIM", "ROLES_CLAIM", "FOUR_EYES"),
        *("ApiRole", "ApiRole/StartExecutions", "TenantApiRole", "TenantApiRole/OwnPartition"),
        *("TenantApiRole/ListOwnRows", "TenantApiRole/AnswerReadAndStopOwnExecutions"),
        *("ServeTenants", "ServeTenants/ServeOneTenant", "ApiErrorsAlarm", "ApiThrottlesAlarm"),
    },
    "front_door=http_api fan_out=yes": {"TenantApiRole/SeeOwnObjects"},
    "front_door=http_api customer_managed_key=yes": {
        *("TenantApiRole/DecryptRows", "TenantApiRole/EncryptAnswers"),
    },
    "front_door=http_api fan_out=yes customer_managed_key=yes": {"TenantApiRole/DecryptObjects"},
    "tenancy=silo": {"TenantId"},
}
DECRYPT = ["kms:Decrypt"]
ENCRYPT = [*DECRYPT, "kms:GenerateDataKey"]
# What they allow, with what, and through which services.
STATEMENTS: dict[str, tuple[list[str], str, set[str]]] = {
    "WorkflowRole/RecordUsage": (["lambda:InvokeFunction"], "-meter-", set()),
    "WorkflowRole/TellOperators": (["sns:Publish"], "OperatorTopic", set()),
    "WorkflowRole/ProcessChunks": (["lambda:InvokeFunction"], "-workflow-", set()),
    "TenantRole/OwnObjects": (["s3:GetObject", "s3:PutObject"], "ObjectBucket", set()),
    "WorkflowRole/ReadOwnExecutions": (DECRYPT, "DataKey", {"lambda"}),
    "WorkflowRole/EncryptMessages": (ENCRYPT, "DataKey", {"sns", "sqs"}),
    "ReconcilerRole/EncryptFailedEvents": (ENCRYPT, "DataKey", {"sqs"}),
    "ReconcilerRole/DecryptRows": (DECRYPT, "DataKey", {"dynamodb"}),
    "TenantRole/DecryptRows": (DECRYPT, "DataKey", {"dynamodb"}),
    "TenantRole/EncryptObjects": (ENCRYPT, "DataKey", {"s3"}),
    "TenantApproverRole/DecryptRows": (DECRYPT, "DataKey", {"dynamodb"}),
    "TenantApproverRole/EncryptAnswers": (DECRYPT, "DataKey", {"lambda"}),
    "TenantApiRole/DecryptRows": (DECRYPT, "DataKey", {"dynamodb"}),
    "TenantApiRole/EncryptAnswers": (DECRYPT, "DataKey", {"lambda"}),
    "TenantApiRole/SeeOwnObjects": (["s3:GetObject"], "ObjectBucket", set()),
    "TenantApiRole/DecryptObjects": (DECRYPT, "DataKey", {"s3"}),
    "WriteLogs/EncryptLogs": (ENCRYPT, "DataKey", {"logs"}),
    "ReadEnvironment/ReadEnvironment": (DECRYPT, "DataKey", {"lambda"}),
}
# A variable of the workflow's function, and the parameter or the resource that it has.
VARIABLES = {
    "COOL_DOWN": {"Fn::Sub": "${CoolDownSeconds}s"},
    "READY_URL": {"Ref": "ReadyUrl"},
    "METER_FUNCTION_ARN": {"Fn::GetAtt": ["MeterFunction", "Arn"]},
    "OPERATOR_TOPIC_ARN": {"Ref": "OperatorTopic"},
    "CHUNK_SIZE": {"Ref": "ChunkSize"},
    "FAN_OUT_WIDTH": {"Ref": "FanOutWidth"},
    "BUCKET": {"Ref": "ObjectBucket"},
}
# The limits of a tier: items without the fan-out, items with it, and chunks at the same time.
TIERS = {"free": (50, 5_000, 1), "standard": (500, 100_000, 5), "premium": (900, 1_000_000, 20)}
# MB, with the fan-out and without.
MEMORY = {"yes": 1769, "no": 512}
# What keeps something, and has a key.
STORES = re.compile("AWS::(DynamoDB::Table|S3::Bucket|Logs::LogGroup|SNS::Topic|SQS::Queue)")


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML with CloudFormation's short intrinsic functions as the long ones."""


def _intrinsic(loader: Any, suffix: str, node: yaml.Node) -> Any:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    return {name: loader.construct_sequence(node, deep=True)}


Loader.add_multi_constructor("!", _intrinsic)


@functools.cache
def read_template(text: str) -> dict[str, Any]:
    """What CloudFormation would read; nobody may change it."""
    found: dict[str, Any] = yaml.load(text, Loader)
    return found


@pytest.fixture
def template(rendering: Project) -> dict[str, Any]:
    return read_template(rendering.read("template.yaml"))


def is_given(answer: str, answers: dict[str, str]) -> bool:
    """Whether what a table says is answered: an operation, or questions with their answers."""
    given = {f"{name}={value}" for name, value in answers.items()}
    return set(answer.split()) <= given | {*answers["extra_operations"].split(",")}


def walk(value: Any) -> Iterator[Any]:
    """Every value in a structure."""
    yield value
    for child in [*value.values()] if isinstance(value, dict) else value:
        if isinstance(child, dict | list):
            yield from walk(child)
        else:
            yield child


def functions(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The properties of the functions, each with what is set for all."""
    return {
        name: template["Globals"]["Function"] | resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def variables(properties: dict[str, Any]) -> dict[str, Any]:
    """What is set for a function itself."""
    found: dict[str, Any] = properties["Environment"]["Variables"]
    return found


def statements(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The statements of all policies by their ids, each in its resource."""
    return {
        f"{name}/{each['Sid']}": each
        for name, resource in template["Resources"].items()
        for each in walk(resource)
        if isinstance(each, dict) and "Sid" in each
    }


def names(template: dict[str, Any]) -> set[str]:
    """What the template gives a name."""
    of_sections = (template[section] for section in ("Parameters", "Resources", "Outputs"))
    of_functions = (variables(each) for each in functions(template).values())
    return set(statements(template)).union(*of_sections, *of_functions)


def test_what_an_answer_adds(template: dict[str, Any], rendering: Project, rendered: Bake) -> None:
    least = rendered(**VARIANTS[0] | {"front_door": "none"})
    by_default = names(read_template(least.read("template.yaml")))
    added = [NAMES[answer] for answer in NAMES if is_given(answer, rendering.answers)]

    assert names(template) == by_default.union(*added)


def test_what_it_adds_is_for_the_right_one(template: dict[str, Any]) -> None:
    found = statements(template)
    for where in STATEMENTS.keys() & found.keys():
        actions, resource, services = STATEMENTS[where]
        assert found[where]["Effect"] == "Allow"
        assert [*found[where]["Action"]] == actions or [found[where]["Action"]] == actions, where
        assert resource in json.dumps(found[where]["Resource"])
        via = json.dumps(found[where].get("Condition", {}).get("StringEquals", {}))
        assert {*re.findall(r'"([a-z0-9]+)\.\$\{AWS::Region\}\.amazonaws\.com"', via)} == services
    own = variables(functions(template)["WorkflowFunction"])
    for variable in VARIABLES.keys() & names(template):
        assert own[variable] == VARIABLES[variable]


def test_the_functions_are_those_of_the_answers(
    template: dict[str, Any], rendering: Project
) -> None:
    answers = rendering.answers
    isolated = {"TenantIsolationMode": "PER_TENANT"} if answers["tenancy"] == "isolated" else None
    for name, function in functions(template).items():
        assert function["Runtime"] == f"python{answers['python_version']}"
        assert function["Architectures"] == [answers["architecture"]]
        assert template["Globals"]["Function"]["MemorySize"] == {"Ref": "MemorySize"}
        has_mode = name in {"WorkflowFunction", "MeterFunction"}
        assert function.get("TenancyConfig") == (isolated if has_mode else None)
    shared = variables(template["Globals"]["Function"])
    assert shared["TENANCY"] == answers["tenancy"]
    tenant = {"Ref": "TenantId"} if answers["tenancy"] == "silo" else ""
    assert shared["TENANT_ID"] == tenant
    workflow = functions(template)["WorkflowFunction"]
    assert workflow["Timeout"] == {"Ref": "InvocationTimeoutSeconds"}
    assert template["Parameters"]["MemorySize"]["Default"] == MEMORY[answers["fan_out"]]
    starter = variables(functions(template)["StarterFunction"])
    assert ("ITEMS_PER_CHECKPOINT" in starter) == (answers["fan_out"] == "no")
    assert ("NESTING" in starter) == (answers["fan_out"] == "no")


def test_a_function_with_a_mode_has_it_in_its_name(
    template: dict[str, Any], rendering: Project
) -> None:
    """So has every ARN that is spelled out."""
    text = json.dumps(template)
    modes = re.findall(r"\$\{AWS::StackName\}-(workflow|meter)(-\w+)?", text)

    assert {mode for _, mode in modes} == {f"-{rendering.answers['tenancy']}"}
    assert ("meter" in dict(modes)) == is_given("invoke", rendering.answers)


def test_the_execution_lasts_as_long_as_was_answered(
    template: dict[str, Any], rendering: Project
) -> None:
    minutes = int(rendering.answers["execution_timeout_minutes"])
    durable = functions(template)["WorkflowFunction"]["DurableConfig"]
    defaults = {name: spec.get("Default") for name, spec in template["Parameters"].items()}

    assert durable["ExecutionTimeout"] == minutes * 60
    assert f"# {minutes} minutes." in rendering.read("template.yaml")
    for name in ("CallbackTimeoutMinutes", "CallbackHeartbeatMinutes"):
        assert template["Parameters"][name]["MaxValue"] == minutes - rules.MARGIN_MINUTES
    assert defaults["CallbackTimeoutMinutes"] == int(rendering.answers["callback_timeout_minutes"])
    assert defaults["CallbackTimeoutAction"] == rendering.answers["callback_timeout_action"]
    assert defaults["MapMaxConcurrency"] == int(rendering.answers["map_max_concurrency"])


def test_every_default_may_be_deployed(template: dict[str, Any]) -> None:
    for name, spec in template["Parameters"].items():
        if "Default" in spec and spec["Type"] == "Number":
            assert spec.get("MinValue", 0) <= spec["Default"] <= spec.get("MaxValue", 1e9), name
        if "AllowedValues" in spec:
            assert spec["Default"] in spec["AllowedValues"], name
    limits = template["Parameters"]
    for name, question in (("MapMaxConcurrency", "map_max_concurrency"),):
        least, most, _ = rules.WHOLE_NUMBERS[question]
        assert (limits[name]["MinValue"], limits[name]["MaxValue"]) == (least, most)
    actions = limits["CallbackTimeoutAction"]["AllowedValues"]
    assert actions == QUESTIONS["callback_timeout_action"]


def test_every_parameter_is_used_and_those_of_the_workflow_publish_a_version(
    template: dict[str, Any],
) -> None:
    workflow = dict(functions(template)["WorkflowFunction"])
    described = workflow.pop("VersionDescription")["Fn::Sub"]
    description = described if isinstance(described, str) else described[0]
    del workflow["ReservedConcurrentExecutions"]  # of the function, and of no version
    for name in template["Parameters"]:
        ref, sub = json.dumps({"Ref": name}), f"${{{name}}}"
        everything = json.dumps([template[each] for each in ("Resources", "Globals", "Conditions")])
        assert ref in everything or sub in everything, f"{name} is used by nothing"
        of_workflow = json.dumps([workflow, template["Globals"]])
        assert (sub in description) == (ref in of_workflow or sub in of_workflow), name


def test_the_key_encrypts_everything(template: dict[str, Any], rendering: Project) -> None:
    """All that keeps something; without the key, the one topic that SNS has a key for."""
    with_key = is_given("customer_managed_key=yes", rendering.answers)
    arn = {"Fn::GetAtt": ["DataKey", "Arn"]}
    keys = {
        name: [
            value
            for each in walk(resource)
            if isinstance(each, dict)
            for key, value in each.items()
            if re.fullmatch(r"kms.*key.*", key, re.I)
        ]
        for name, resource in {**template["Resources"], "Globals": template["Globals"]}.items()
    }
    stores = {
        name for name, each in template["Resources"].items() if STORES.fullmatch(each["Type"])
    }
    encrypted = {name: [arn] for name in stores | {"Globals", "WorkflowFunction"}}
    expected = encrypted if with_key else {"ApprovalTopic": ["alias/aws/sns"]}
    assert {name: found for name, found in keys.items() if found} == expected
    durable = functions(template)["WorkflowFunction"]["DurableConfig"]
    assert durable.get("KMSKeyArn") == (arn if with_key else None)
    assert ("kms:" in json.dumps(template)) == with_key
    if rendering.answers["fan_out"] == "yes":
        bucket = template["Resources"]["ObjectBucket"]["Properties"]
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        algorithm = rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"]
        assert algorithm == ("aws:kms" if with_key else "AES256")
        assert rule.get("BucketKeyEnabled", False) == with_key


def test_every_function_writes_logs_acts_for_tenants_and_is_built(
    template: dict[str, Any], rendering: Project
) -> None:
    policies = {
        name: re.findall(r'"Ref": "(\w+Role)"', json.dumps(resource["Properties"]["Roles"]))
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::Policy"
    }
    acting = policies["ActForTenants"]
    with_key = is_given("customer_managed_key=yes", rendering.answers)
    environments = json.dumps(template["Resources"].get("ReadEnvironment"))
    for name, function in functions(template).items():
        role, _ = function["Role"]["Fn::GetAtt"]
        assert role in template["Resources"], name
        assert role in policies["WriteLogs"], name
        others = policies["AnswerForTenants"] + policies.get("ServeTenants", [])
        assert role in acting + others, name
        if with_key and name != "WorkflowFunction":  # that reads its own with its executions
            assert role in policies["ReadEnvironment"], name
            assert function["FunctionName"]["Fn::Sub"] in environments, name
    trust = template["Resources"]["TenantRole"]["Properties"]["AssumeRolePolicyDocument"]
    (statement,) = trust["Statement"]
    assert [arn["Fn::GetAtt"][0] for arn in statement["Principal"]["AWS"]] == acting
    own = {"aws:RequestTag/TenantId": {"Ref": "TenantId"}}
    silo = is_given("tenancy=silo", rendering.answers)
    assert statement["Condition"].get("StringEquals") == (own if silo else None)
    (targets,) = re.findall(r"^(build-.*):$", rendering.read("src/Makefile"), re.M)
    assert {*targets.split()} == {f"build-{name}" for name in functions(template)}


def test_the_build_makes_wheels_for_the_answers(rendering: Project) -> None:
    build = rendering.read("src/Makefile")
    platform = {"arm64": "aarch64", "x86_64": "x86_64"}[rendering.answers["architecture"]]

    assert re.findall(r"manylinux2014_(\w+)", build) == [platform]
    versions = re.findall(r"python(?:-version )?(\d\.\d+)", build)
    assert len(versions) >= 2
    assert set(versions) == {rendering.answers["python_version"]}
    (services,) = re.findall(r"^SERVICES := (.*)$", build, re.M)
    expected = ["dynamodb", "lambda", "s3", "sns", "sts"]
    if rendering.answers["fan_out"] == "no":
        expected.remove("s3")
    assert services.split() == expected


def test_samconfig_has_a_stack_for_each_tenant_of_a_silo(rendering: Project) -> None:
    settings = tomllib.loads(rendering.read("samconfig.toml"))
    slug, region = rendering.answers["project_slug"], rendering.answers["aws_region"]
    silo = rendering.answers["tenancy"] == "silo"
    environment, stack = ("acme", f"{slug}-acme") if silo else ("default", slug)
    deploy = settings[environment]["deploy"]["parameters"]

    assert set(settings) == {"version", "default", environment}
    for section in {"default", environment}:
        assert settings[section]["global"]["parameters"]["region"] == region
    assert settings["default"]["validate"]["parameters"] == {"lint": True}
    assert settings[environment]["global"]["parameters"]["stack_name"] == stack
    assert ("stack_name" in settings["default"]["global"]["parameters"]) != silo
    assert deploy.pop("parameter_overrides", None) == ("TenantId=acme" if silo else None)
    assert deploy["s3_prefix"] == stack
    assert deploy["capabilities"] == "CAPABILITY_IAM"
    assert deploy["resolve_s3"] is True
    assert deploy["fail_on_empty_changeset"] is False


def test_the_tiers_are_those_of_the_answers(rendering: Project) -> None:
    """In the owner's file, on the page about tenants, and for the local run."""
    tiers = tomllib.loads(rendering.read("src/workflow/tiers.toml"))
    fan_out = rendering.answers["fan_out"] == "yes"
    expected = {name: large if fan_out else small for name, (small, large, _) in TIERS.items()}
    widths = {name: width if fan_out else None for name, (_, _, width) in TIERS.items()}

    assert {name: tier["items_per_execution"] for name, tier in tiers.items()} == expected
    assert {name: tier.get("fan_out_width") for name, tier in tiers.items()} == widths
    rows = re.findall(
        r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|", tenants(rendering), re.M
    )
    documented = {limit: [int(each.replace(",", "")) for each in row] for limit, *row in rows}
    assert documented == {
        limit: [tier[limit] for tier in tiers.values()] for limit in tiers["free"]
    }
    (shown,) = (
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", tenants(rendering), re.S)
    )
    assert shown["limits"] == tiers[shown["tier"]]
    local = json.loads(rendering.read("ops/tenants.json"))
    width = {"fan_out_width": 20} if fan_out else None
    assert local["acme"].get("overrides") == width
    of_chassis = tomllib.loads(rendering.read("tests/chassis/tiers.toml"))
    assert all(("fan_out_width" in tier) == fan_out for tier in of_chassis.values())


def tenants(project: Project) -> str:
    return project.read("docs/tenants.md")


def test_the_answers_are_recorded(rendering: Project) -> None:
    recorded = yaml.safe_load(rendering.read(".cookiecutter.yaml"))

    assert recorded["template_version"] == QUESTIONS["__version"]
    assert list(recorded["default_context"]) == public_questions()
    assert recorded["default_context"] == rendering.answers


def test_the_tools_are_set_up_for_the_answers(rendering: Project) -> None:
    answers = rendering.answers
    settings = tomllib.loads(rendering.read("pyproject.toml"))
    steps, *_ = settings["tool"]["ruff"]["lint"]["per-file-ignores"]
    asked_for = [name for name in rendering.files() if re.search(r"pyproject|requirements", name)]
    extras = re.findall(r"^\W*moto\[([\w,]+)\]", "\n".join(map(rendering.read, asked_for)), re.M)
    modules = ["data_processor", "checks"]
    if is_given("wait_for_condition", answers):
        modules.append("readiness")

    assert settings["project"]["name"] == answers["project_slug"]
    assert settings["project"]["description"] == answers["description"]
    assert settings["project"]["authors"] == [{"name": answers["author_name"]}]
    assert f"# Lambda runs {answers['python_version']};" in rendering.read("pyproject.toml")
    assert all("s3" in each.split(",") for each in extras) or answers["fan_out"] == "no"
    assert extras
    assert steps == f"src/workflow/{{{','.join(modules)}}}.py"
    for name in ("Makefile", ".gitignore"):
        assert (".objects" in rendering.read(name)) == (answers["fan_out"] == "yes"), name
