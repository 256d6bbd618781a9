"""The template as CloudFormation gets it: transformed by SAM, linted, and asserted on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from ops.local import TEMPLATE, environment
from workflow.checks import CHECKS
from workflow.settings import load

TENANCY = environment()["TENANCY"]


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


@pytest.fixture(scope="module")
def source() -> dict[str, Any]:
    template: dict[str, Any] = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    return template


@pytest.fixture(scope="module")
def transformed() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        template = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
        # What `sam package` does: the transform knows no local paths.
        template["Globals"]["Function"]["CodeUri"] = {"Bucket": "artifacts", "Key": "code.zip"}
        result: dict[str, Any] = transform(template, {}, _NoManagedPolicies())
    return result


def resources(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


@pytest.fixture(scope="module")
def workflow(transformed: dict[str, Any]) -> dict[str, Any]:
    """The workflow's function."""
    properties: dict[str, Any] = transformed["Resources"]["WorkflowFunction"]["Properties"]
    return properties


def test_cloudformation_lint_finds_nothing(transformed: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "transformed.json"
    path.write_text(json.dumps(transformed), encoding="utf-8")
    lint = Path(sys.executable).with_name("cfn-lint")

    result = subprocess.run(  # noqa: S603
        [lint, path], capture_output=True, text=True, check=False
    )

    assert result.stdout + result.stderr == ""
    assert result.returncode == 0


def test_the_function_is_durable_and_published(
    transformed: dict[str, Any], workflow: dict[str, Any]
) -> None:
    function = workflow
    (alias,) = resources(transformed, "AWS::Lambda::Alias").values()

    assert function["DurableConfig"]["ExecutionTimeout"] > 0
    assert function["DurableConfig"]["RetentionPeriodInDays"] == {"Ref": "HistoryRetentionDays"}
    assert function["LoggingConfig"]["LogFormat"] == "JSON"
    assert function["LoggingConfig"]["LogGroup"] == {"Ref": "LogGroup"}
    assert function["DeadLetterConfig"]["TargetArn"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    assert function["FunctionName"] == {"Fn::Sub": "${AWS::StackName}-workflow-" + TENANCY}
    isolated = {"TenantIsolationMode": "PER_TENANT"}
    assert function.get("TenancyConfig") == (isolated if TENANCY == "isolated" else None)
    assert alias["Name"] == "live"


def test_no_version_is_ever_deleted(transformed: dict[str, Any]) -> None:
    """Executions in flight go on with the version they were started on."""
    (version,) = (
        resource
        for resource in transformed["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Version"
    )

    assert version["DeletionPolicy"] == "Retain"
    assert version["UpdateReplacePolicy"] == "Retain"


def test_every_parameter_of_the_function_publishes_a_version(
    source: dict[str, Any], transformed: dict[str, Any], workflow: dict[str, Any]
) -> None:
    """Without it the alias would go on with the old value."""
    (version,) = resources(transformed, "AWS::Lambda::Version").values()
    text = json.dumps(workflow)
    used = {
        name
        for name in source["Parameters"]
        if json.dumps({"Ref": name}) in text or "${" + name + "}" in text
    }

    assert set(re.findall(r"\$\{(\w+)\}", version["Description"]["Fn::Sub"])) == used
    longest = version["Description"]["Fn::Sub"]
    for name in used:
        spec = source["Parameters"][name]
        values = spec.get("AllowedValues") or [spec.get("MaxValue") or "x" * spec["MaxLength"]]
        longest = longest.replace("${" + name + "}", max(map(str, values), key=len))
    assert len(longest) <= 256


def test_the_execution_outlasts_the_approval(
    source: dict[str, Any], workflow: dict[str, Any]
) -> None:
    """At least ten minutes stay for the checks, the items and their retries."""
    longest_wait = source["Parameters"]["CallbackTimeoutMinutes"]["MaxValue"] * 60

    assert longest_wait + 600 <= workflow["DurableConfig"]["ExecutionTimeout"]


WORKFLOW = (
    "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
    "${AWS::StackName}-workflow-" + TENANCY
)
ACTING = [
    "WorkflowRole",
    "StarterRole",
    "ReconcilerRole",
    #% if cookiecutter.__invoke
    "MeterRole",
    #% endif
]
# With a customer managed key only.
KEY_STATEMENTS = {"ReadOwnExecutions", "EncryptAnswers", "EncryptObjects"}


def statements(policies: list[dict[str, Any]]) -> dict[str, tuple[Any, Any]]:
    """What policies allow: action and resource by statement."""
    found = {}
    for policy in policies:
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            found[statement["Sid"]] = (statement["Action"], statement["Resource"])
    return {sid: allowed for sid, allowed in found.items() if sid not in KEY_STATEMENTS}


def test_the_functions_may_do_this_and_nothing_else(transformed: dict[str, Any]) -> None:
    roles = resources(transformed, "AWS::IAM::Role")
    attached = resources(transformed, "AWS::IAM::Policy")

    assert not any("ManagedPolicyArns" in role for role in roles.values())
    assert {name: statements(role.get("Policies", [])) for name, role in roles.items()} == {
        "WorkflowRole": {
            "OwnExecutions": (
                ["lambda:CheckpointDurableExecution", "lambda:GetDurableExecutionState"],
                {"Fn::Sub": f"{WORKFLOW}:*"},
            ),
            "AskForApproval": ("sns:Publish", {"Ref": "ApprovalTopic"}),
            #% if cookiecutter.__child_context
            "TellOperators": ("sns:Publish", {"Ref": "OperatorTopic"}),
            #% endif
            #% if cookiecutter.__invoke
            "RecordUsage": (
                "lambda:InvokeFunction",
                {"Fn::Sub": WORKFLOW.replace("-workflow-", "-meter-")},
            ),
            #% endif
            #% if cookiecutter.fan_out == "yes"
            "ProcessChunks": ("lambda:InvokeFunction", {"Fn::Sub": f"{WORKFLOW}:*"}),
            #% endif
            "KeepFailedEvents": (
                "sqs:SendMessage",
                {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]},
            ),
        },
        "StarterRole": {
            "StartExecutions": ("lambda:InvokeFunction", {"Fn::Sub": f"{WORKFLOW}:live"})
        },
        "ApproverRole": {},
        "ReconcilerRole": {
            "FindRunningExecutions": (
                "dynamodb:Query",
                {"Fn::Sub": "${TenantTable.Arn}/index/running"},
            ),
            "SeeHowTheyEnded": ("lambda:GetDurableExecution", {"Fn::Sub": f"{WORKFLOW}:*"}),
            "KeepFailedEvents": (
                "sqs:SendMessage",
                {"Fn::GetAtt": ["LostStatusEvents", "Arn"]},
            ),
        },
        #% if cookiecutter.__invoke
        "MeterRole": {},
        #% endif
        "TenantRole": {
            "OwnPartition": (
                ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
                {"Fn::GetAtt": ["TenantTable", "Arn"]},
            ),
            #% if cookiecutter.fan_out == "yes"
            "OwnObjects": (
                ["s3:GetObject", "s3:PutObject"],
                {"Fn::Sub": "${ObjectBucket.Arn}/tenants/${!aws:PrincipalTag/TenantId}/*"},
            ),
            #% endif
        },
        "TenantApproverRole": {
            "OwnApprovals": (
                ["dynamodb:GetItem", "dynamodb:UpdateItem"],
                {"Fn::GetAtt": ["TenantTable", "Arn"]},
            ),
            "AnswerOwnExecutions": (
                [
                    "lambda:SendDurableExecutionCallbackSuccess",
                    "lambda:SendDurableExecutionCallbackFailure",
                    "lambda:SendDurableExecutionCallbackHeartbeat",
                ],
                {"Fn::Sub": WORKFLOW + ":*/durable-execution/${!aws:PrincipalTag/TenantId}_*/*"},
            ),
        },
    }
    acting = ACTING
    session = ["sts:AssumeRole", "sts:TagSession"]
    assert {
        name: ([role["Ref"] for role in policy["Roles"]], statements([policy]))
        for name, policy in attached.items()
    } == {
        "ActForTenants": (
            acting,
            {"ActForOneTenant": (session, {"Fn::GetAtt": ["TenantRole", "Arn"]})},
        ),
        "AnswerForTenants": (
            ["ApproverRole"],
            {"AnswerForOneTenant": (session, {"Fn::GetAtt": ["TenantApproverRole", "Arn"]})},
        ),
        "WriteLogs": (
            ["WorkflowRole", "StarterRole", "ApproverRole", *ACTING[2:]],
            {
                "WriteLogs": (
                    ["logs:CreateLogStream", "logs:PutLogEvents"],
                    {"Fn::GetAtt": ["LogGroup", "Arn"]},
                )
            },
        ),
    }
    environments = {
        name: function["Environment"]["Variables"]["TENANT_ROLE_ARN"]["Fn::GetAtt"][0]
        for name, function in resources(transformed, "AWS::Lambda::Function").items()
    }
    assert environments == {
        "WorkflowFunction": "TenantRole",
        "StarterFunction": "TenantRole",
        "ReconcilerFunction": "TenantRole",
        #% if cookiecutter.__invoke
        "MeterFunction": "TenantRole",
        #% endif
        "ApproverFunction": "TenantApproverRole",
    }


@pytest.mark.parametrize(
    ("name", "trusted", "on_items"),
    [
        ("TenantRole", ACTING, "OwnPartition"),
        ("TenantApproverRole", ["ApproverRole"], "OwnApprovals"),
    ],
)
def test_a_tenant_role_takes_a_tag_and_reaches_what_the_tag_names(
    transformed: dict[str, Any], name: str, trusted: list[str], on_items: str
) -> None:
    role = resources(transformed, "AWS::IAM::Role")[name]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    conditions = {
        statement["Sid"]: statement["Condition"]
        for statement in role["Policies"][0]["PolicyDocument"]["Statement"]
        if statement["Sid"] not in KEY_STATEMENTS
    }

    arns = [{"Fn::GetAtt": [role, "Arn"]} for role in trusted]
    assert trust["Principal"] == {"AWS": arns if len(arns) > 1 else arns[0]}
    stack_tenant = {"StringEquals": {"aws:RequestTag/TenantId": {"Ref": "TenantId"}}}
    assert trust["Condition"] == {
        **(stack_tenant if TENANCY == "silo" else {}),
        "Null": {"aws:RequestTag/TenantId": "false"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["TenantId"]},
    }
    tagged = {"Null": {"aws:PrincipalTag/TenantId": "false"}}
    others = {
        #% if cookiecutter.fan_out == "yes"
        "TenantRole": {"OwnObjects": tagged},
        #% endif
        "TenantApproverRole": {"AnswerOwnExecutions": tagged},
    }
    assert conditions == {
        on_items: {
            "ForAllValues:StringEquals": {
                "dynamodb:LeadingKeys": ["TENANT#${aws:PrincipalTag/TenantId}"]
            },
            "Null": {
                "dynamodb:LeadingKeys": "false",
                "aws:PrincipalTag/TenantId": "false",
            },
        },
        **others.get(name, {}),
    }


def test_nobody_may_do_anything_to_everything(transformed: dict[str, Any]) -> None:
    others = {  # in the policy of a key, "*" is the key itself; that of a bucket only denies
        name: resource
        for name, resource in transformed["Resources"].items()
        if resource["Type"] not in {"AWS::KMS::Key", "AWS::S3::BucketPolicy"}
    }

    assert not re.search(r'"(Resource|Action|Principal)": (\[[^]]*)?"\*"', json.dumps(others))


@pytest.mark.parametrize("queue", ["DeadLetterQueue", "LostStatusEvents"])
def test_someone_hears_of_what_failed(transformed: dict[str, Any], queue: str) -> None:
    (alarm,) = (
        alarm
        for alarm in resources(transformed, "AWS::CloudWatch::Alarm").values()
        if alarm["Dimensions"][0]["Value"] == {"Fn::GetAtt": [queue, "QueueName"]}
    )

    assert alarm["AlarmActions"] == [{"Ref": "OperatorTopic"}]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")


def test_the_environment_is_what_the_settings_read() -> None:
    read: set[str] = set()

    class Spy(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            read.add(key)
            return super().get(key, default)

    load(Spy(environment()))

    of_the_stack = {"TENANCY", "TENANT_ID", "TENANT_TABLE", "TENANT_ROLE_ARN", "REGISTRY_FILE"}
    #% if cookiecutter.fan_out == "yes"
    of_the_stack |= {"BUCKET", "OBJECTS_FOLDER"}
    #% endif
    assert read == set(environment()) - of_the_stack


def test_the_artefact_has_every_service_that_is_called() -> None:
    """The build leaves out what botocore knows of all others."""
    makefile = (TEMPLATE.parent / "src" / "Makefile").read_text(encoding="utf-8")
    (kept,) = re.findall(r"^SERVICES := (.*)$", makefile, re.M)
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in (TEMPLATE.parent / "src" / "workflow").glob("*.py")
    )
    called = set(re.findall(r'client\(\s*"(\w+)"', code))

    assert called == set(kept.split())


def test_as_many_checks_can_be_tolerated_as_there_are(source: dict[str, Any]) -> None:
    assert source["Parameters"]["ToleratedCheckFailures"]["MaxValue"] == len(CHECKS)


def test_the_outputs_say_how_to_start_and_to_answer(transformed: dict[str, Any]) -> None:
    outputs = json.dumps(transformed["Outputs"])

    for words in ("make start TENANT=", "make approve TENANT=acme TOKEN="):
        assert words in outputs
