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
        for resource in template["Resources"].values():
            if "CodeUri" in resource.get("Properties", {}):
                resource["Properties"]["CodeUri"] = {"Bucket": "artifacts", "Key": "code.zip"}
        result: dict[str, Any] = transform(template, {}, _NoManagedPolicies())
    return result


def resources(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def test_cloudformation_lint_finds_nothing(transformed: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "transformed.json"
    path.write_text(json.dumps(transformed), encoding="utf-8")
    lint = Path(sys.executable).with_name("cfn-lint")

    result = subprocess.run(  # noqa: S603
        [lint, path], capture_output=True, text=True, check=False
    )

    assert result.stdout + result.stderr == ""
    assert result.returncode == 0


def test_the_function_is_durable_and_published(transformed: dict[str, Any]) -> None:
    (function,) = resources(transformed, "AWS::Lambda::Function").values()
    (alias,) = resources(transformed, "AWS::Lambda::Alias").values()

    assert function["DurableConfig"]["ExecutionTimeout"] > 0
    assert function["DurableConfig"]["RetentionPeriodInDays"] == {"Ref": "HistoryRetentionDays"}
    assert function["LoggingConfig"]["LogFormat"] == "JSON"
    assert function["LoggingConfig"]["LogGroup"] == {"Ref": "WorkflowLogGroup"}
    assert function["DeadLetterConfig"]["TargetArn"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    assert function["FunctionName"] == {"Fn::Sub": "${AWS::StackName}-workflow"}
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
    source: dict[str, Any], transformed: dict[str, Any]
) -> None:
    """Without it the alias would go on with the old value."""
    (function,) = resources(transformed, "AWS::Lambda::Function").values()
    (version,) = resources(transformed, "AWS::Lambda::Version").values()
    text = json.dumps(function)
    used = {
        name
        for name in source["Parameters"]
        if json.dumps({"Ref": name}) in text or "${" + name + "}" in text
    }

    assert set(re.findall(r"\$\{(\w+)\}", version["Description"]["Fn::Sub"])) == used
    longest = re.sub(r"\$\{(\w+)\}", "continue", version["Description"]["Fn::Sub"])
    assert len(longest) <= 256


def test_the_execution_outlasts_the_approval(
    source: dict[str, Any], transformed: dict[str, Any]
) -> None:
    """At least ten minutes stay for the checks, the items and their retries."""
    (function,) = resources(transformed, "AWS::Lambda::Function").values()
    longest_wait = source["Parameters"]["CallbackTimeoutMinutes"]["MaxValue"] * 60

    assert longest_wait + 600 <= function["DurableConfig"]["ExecutionTimeout"]


def test_the_role_may_do_this_and_nothing_else(transformed: dict[str, Any]) -> None:
    (role,) = resources(transformed, "AWS::IAM::Role").values()
    statements = [
        statement
        for policy in role["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    function_versions = (
        "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
        "${AWS::StackName}-workflow:*"
    )

    assert "ManagedPolicyArns" not in role
    assert {
        statement["Sid"]: (statement["Effect"], statement["Action"], statement["Resource"])
        for statement in statements
    } == {
        "OwnExecutions": (
            "Allow",
            ["lambda:CheckpointDurableExecution", "lambda:GetDurableExecutionState"],
            {"Fn::Sub": function_versions},
        ),
        "OwnLogs": (
            "Allow",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            {"Fn::GetAtt": ["WorkflowLogGroup", "Arn"]},
        ),
        "AskForApproval": ("Allow", "sns:Publish", {"Ref": "ApprovalTopic"}),
        "KeepFailedEvents": (
            "Allow",
            "sqs:SendMessage",
            {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]},
        ),
    }
    assert role["AssumeRolePolicyDocument"]["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ]


def test_nobody_may_do_anything_to_everything(transformed: dict[str, Any]) -> None:
    assert not re.search(r'"(Resource|Action|Principal)": (\[[^]]*)?"\*"', json.dumps(transformed))


def test_someone_hears_of_a_failed_execution(transformed: dict[str, Any]) -> None:
    (alarm,) = resources(transformed, "AWS::CloudWatch::Alarm").values()

    assert alarm["AlarmActions"] == [{"Ref": "OperatorTopic"}]
    assert alarm["Dimensions"][0]["Value"] == {"Fn::GetAtt": ["DeadLetterQueue", "QueueName"]}


def test_the_environment_is_what_the_settings_read() -> None:
    read: set[str] = set()

    class Spy(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            read.add(key)
            return super().get(key, default)

    load(Spy(environment()))

    assert read == set(environment())


def test_as_many_checks_can_be_tolerated_as_there_are(source: dict[str, Any]) -> None:
    assert source["Parameters"]["ToleratedCheckFailures"]["MaxValue"] == len(CHECKS)


def test_the_outputs_say_how_to_start_and_to_answer(transformed: dict[str, Any]) -> None:
    outputs = json.dumps(transformed["Outputs"])

    for words in ("--invocation-type Event", "--durable-execution-name", "make approve EXECUTION="):
        assert words in outputs
