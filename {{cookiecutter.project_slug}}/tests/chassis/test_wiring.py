"""From the parameters of the stack and the limits of a tenant to what an execution is run with;
and what the running stack needs of the template, which no linter knows.

Every number differs from its default and from all others, so that none can stand for another.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest

from chassis import JsonObject
from chassis.settings import SettingsError, load
from chassis.tenancy.profile import Limits
from chassis.tenancy.rows import row_key
from ops import local
from tests.chassis import sample
from tests.chassis.source import modules, tree
from tests.chassis.test_template import of_type, properties, transformed
from tests.execution import Start, make_event

PARAMETERS: dict[str, tuple[str, Any, Any]] = {
    "Nesting": ("nesting", "NESTED", "NESTED"),
    "ItemsPerCheckpoint": ("items_per_checkpoint", 4, 4),
    "MapMaxConcurrency": ("map_max_concurrency", 37, 37),
    "ToleratedItemFailurePercentage": ("tolerated_item_failure_percentage", 41, 41),
    "ToleratedCheckFailures": ("tolerated_check_failures", 3, 3),
    "CallbackTimeoutMinutes": ("callback_timeout", 17, 17 * 60),
    "CallbackHeartbeatMinutes": ("callback_heartbeat", 13, 13 * 60),
    "CallbackTimeoutAction": ("callback_timeout_action", "reject", "reject"),
    "DecisionRetentionDays": ("decision_retention_days", 31, 31),
    "CoolDownSeconds": ("cool_down", 19, 19),
    "ReadyUrl": ("ready_url", "https://example.com", "https://example.com"),
    "ChunkSize": ("chunk_size", 23, 23),
    "FanOutWidth": ("fan_out_width", 29, 29),
}
"""Parameters of the template: the setting of each, its value, and that of the setting."""

OTHERS = {
    "APPROVAL_TOPIC_ARN": "approvers",
    "OPERATOR_TOPIC_ARN": "operators",
    #% if cookiecutter.front_door == "http_api"
    "PAGE_URL": "https://example.com/page",
    #% endif
}
OF_A_TENANT: JsonObject = {
    "items_per_execution": 11,
    "fan_out_width": 5,
    "map_concurrency": 7,
    "callback_timeout_minutes": 2,
    "running_executions": 6,
}
NARROWED = {"fan_out_width": 5, "map_max_concurrency": 7, "callback_timeout": 2 * 60}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the workflow's function has in a stack with these parameters."""
    deployed = local.template()
    parameters = {
        name: {"Default": PARAMETERS[name][1]} if name in PARAMETERS else spec
        for name, spec in deployed["Parameters"].items()
    }
    monkeypatch.setattr(local, "template", lambda: {**deployed, "Parameters": parameters})
    variables = local.environment()
    return {name: variables[name] for name in sample.SETTINGS} | OTHERS


@pytest.mark.parametrize(
    ("overrides", "narrowed"), [({}, {}), (OF_A_TENANT, NARROWED)], ids=["stack", "tenant"]
)
def test_an_execution_is_run_with_what_the_stack_and_the_tenant_say(
    start: Start, environment: dict[str, str], overrides: JsonObject, narrowed: JsonObject
) -> None:
    known = {name: overrides[name] for name in Limits.__annotations__ if name in overrides}
    tenant = {"status": "ACTIVE", "tier": "large", "overrides": known}
    execution = start(make_event("a"), known={"acme": tenant}, **environment)
    execution.reject()

    assert execution.output()["approvals"][0]["decision"] == "REJECTED"
    plan = json.loads(execution.ended.get_step("prepare-work").result or "")
    of_stack = {setting: value for setting, _, value in PARAMETERS.values()}
    others = {name.lower(): value for name, value in OTHERS.items()}
    expected = {**of_stack, **others, "meter_function_arn": "meter", **narrowed}
    assert plan["settings"] == {name: expected[name] for name in plan["settings"]}
    assert plan["tier"] == "large"


def test_a_step_that_calls_nobody_is_tried_once(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def broken(*numbers: Any) -> JsonObject:
        calls.append(numbers)
        raise ZeroDivisionError("no items")

    monkeypatch.setattr(sample, "aggregate", broken)
    execution = start(make_event("a"), approvals=())

    assert execution.error()[1] == "no items"
    assert len(calls) == 1


def test_a_setting_that_is_missing_is_refused_by_its_name(environment: dict[str, str]) -> None:
    may_be_empty = {"TENANCY", "TENANT_ID", "READY_URL", "METER_FUNCTION_ARN", *OTHERS}
    for name in environment.keys() - may_be_empty:
        left = {other: value for other, value in environment.items() if other != name}
        with pytest.raises(SettingsError, match=f"^environment variable {name} is '', expected"):
            load(left)


def test_every_rule_of_the_chassis_is_asked_by_somebody() -> None:
    """By the code of the functions or the operators', not by a test alone."""
    of_sdk = {"ExecutionReport", "BatchSerDes"}  # called by the SDK
    of_owner = {"Execution", "Fields"}  # called as the owner likes
    defined: set[str] = set()
    named: set[str] = set()
    tools = (path.read_text(encoding="utf-8") for path in (local.ROOT / "ops").glob("*.py"))
    for module, source in [
        *((module, tree(module)) for module in modules()),
        *(("ops", ast.parse(text)) for text in tools),
    ]:
        for node in ast.walk(source):
            if isinstance(node, ast.Name | ast.Attribute):
                named.add(node.id if isinstance(node, ast.Name) else node.attr)
            elif isinstance(node, ast.Constant):
                named.add(str(node.value))  # in __all__
            elif isinstance(node, ast.ClassDef) and node.name in of_sdk | of_owner:
                named |= {inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)}
            elif isinstance(node, ast.FunctionDef) and module.startswith("chassis"):
                is_route = any(isinstance(each, ast.Call) for each in node.decorator_list)
                defined |= set() if is_route else {node.name}
    handlers = {
        function["Properties"]["Handler"].rpartition(".")[2]
        for function in local.template()["Resources"].values()
        if function["Type"] == "AWS::Serverless::Function"
    }

    assert len(defined) > 100
    assert not {name for name in defined - named - handlers if not name.startswith("__")}


def test_every_parameter_of_a_setting_has_bounds() -> None:
    """What is out of them is refused by CloudFormation, and not by the first step."""
    for name in PARAMETERS.keys() & local.template()["Parameters"].keys():
        spec = local.template()["Parameters"][name]
        if spec["Type"] == "Number":
            assert spec["MinValue"] <= spec["Default"] <= spec["MaxValue"], name
        else:
            assert {"AllowedValues", "AllowedPattern"} & spec.keys(), name


def test_the_operators_find_what_they_ask_the_stack_for() -> None:
    """``stack.output`` and the inbox of the local AWS go by these names."""
    outputs = {name: output["Value"] for name, output in transformed()["Outputs"].items()}
    expected = {
        "WorkflowAliasArn": {"Ref": "WorkflowFunctionAliaslive"},
        "StarterFunctionName": {"Ref": "StarterFunction"},
        "ApproverFunctionName": {"Ref": "ApproverFunction"},
        "TenantTableName": {"Ref": "TenantTable"},
        "DeadLetterQueueUrl": {"Ref": "DeadLetterQueue"},
    }
    assert outputs.items() >= expected.items()
    tools = [*(local.ROOT / "ops").glob("*.py"), *(local.ROOT / "tests" / "cloud").glob("*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in tools)
    asked = set(re.findall(r'output\(\s*"(\w+)"', text))
    assert asked
    assert asked <= outputs.keys()
    assert transformed()["Resources"]["ApprovalTopic"]["Type"] == "AWS::SNS::Topic"


def test_what_is_built_is_for_the_runtime() -> None:
    makefile = (local.ROOT / "src" / "Makefile").read_text(encoding="utf-8")
    (version,) = re.findall(r"--python-version (\S+)", makefile)
    (platform,) = re.findall(r"--platform manylinux\w+?_(aarch64|x86_64)", makefile)
    for name, function in local.template()["Resources"].items():
        if function["Type"] == "AWS::Serverless::Function":
            assert f"build-{name}" in makefile
            assert function["Metadata"]["BuildMethod"] == "makefile", name
            assert properties(name)["Runtime"] == f"python{version}"
            arm = properties(name)["Architectures"] == ["arm64"]
            assert platform == ("aarch64" if arm else "x86_64")


def test_the_function_of_the_workflow_outlives_an_update() -> None:
    """Executions in flight go on; what they have failed with is kept, and in time."""
    function = transformed()["Resources"]["WorkflowFunction"]
    source = local.template()["Resources"]["WorkflowFunction"]["Properties"]

    assert function["UpdateReplacePolicy"] == "Retain"
    assert function["Properties"]["Handler"] == "workflow.handler.handler"
    assert source["AutoPublishAliasAllProperties"] is True
    assert function["Properties"]["DeadLetterConfig"] == {
        "TargetArn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    }
    for name in ("WorkflowFunction", "StarterFunction", "ApproverFunction", "ReconcilerFunction"):
        assert properties(name)["MemorySize"] == {"Ref": "MemorySize"}
        assert properties(name)["LoggingConfig"]["ApplicationLogLevel"] == {"Ref": "LogLevel"}
    lost = properties("ReconcilerFunction")["DeadLetterConfig"]["TargetArn"]
    assert lost == {"Fn::GetAtt": ["LostStatusEvents", "Arn"]}


def test_the_reconciler_is_allowed_to_be_called_by_its_rules() -> None:
    permitted = [
        permission["SourceArn"]["Fn::GetAtt"][0]
        for permission in of_type("AWS::Lambda::Permission").values()
        if permission["FunctionName"] == {"Ref": "ReconcilerFunction"}
    ]
    assert sorted(permitted) == ["ReconcilerFunctionExecutionEnded", "ReconcilerFunctionSweep"]
    (policy,) = (
        policy
        for policy in of_type("AWS::SQS::QueuePolicy").values()
        if {"Ref": "LostStatusEvents"} in policy["Queues"]
    )
    allowed = [
        statement
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert [
        (statement["Principal"], statement["Action"], statement["Resource"])
        for statement in allowed
    ] == [
        (
            {"Service": "events.amazonaws.com"},
            "sqs:SendMessage",
            {"Fn::GetAtt": ["LostStatusEvents", "Arn"]},
        )
    ]


def test_whoever_is_named_is_told_by_e_mail() -> None:
    for who, topic in (("Approver", "ApprovalTopic"), ("Operator", "OperatorTopic")):
        subscription = transformed()["Resources"][f"{who}Subscription"]
        assert subscription["Condition"] == f"Has{who}"
        assert subscription["Properties"] == {
            "TopicArn": {"Ref": topic},
            "Protocol": "email",
            "Endpoint": {"Ref": f"{who}Email"},
        }
        (is_empty,) = transformed()["Conditions"][f"Has{who}"]["Fn::Not"]
        assert is_empty == {"Fn::Equals": [{"Ref": f"{who}Email"}, ""]}
        assert local.template()["Parameters"][f"{who}Email"]["Default"] == ""


#% if cookiecutter.fan_out == "yes"
def test_nobody_else_reads_the_objects() -> None:
    bucket = properties("ObjectBucket")

    #% if cookiecutter.customer_managed_key == "yes"
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    key = encryption["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]
    assert key == {"Fn::GetAtt": ["DataKey", "Arn"]}
    #% endif
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    (expiry,) = bucket["LifecycleConfiguration"]["Rules"]
    assert expiry["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


#% endif
#% if cookiecutter.customer_managed_key == "yes"
def test_the_key_is_the_one_that_lambda_encrypts_executions_with() -> None:
    key = {"Fn::GetAtt": ["DataKey", "Arn"]}
    statements = properties("DataKey")["KeyPolicy"]["Statement"]
    allowed = {statement["Sid"]: statement for statement in statements}

    assert properties("WorkflowFunction")["DurableConfig"]["KMSKeyArn"] == key
    assert properties("DataKey")["EnableKeyRotation"] is True
    used = allowed["LambdaEncryptsExecutions"]
    assert used["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert set(used["Action"]) == {"kms:GenerateDataKey", "kms:Decrypt"}
    name = properties("WorkflowFunction")["FunctionName"]["Fn::Sub"]
    sources = [arn["Fn::Sub"] for arn in used["Condition"]["StringLike"]["aws:SourceArn"]]
    prefix = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
    assert sources == [f"{prefix}{name}", f"{prefix}{name}:*"]


#% endif
def test_the_registry_is_kept_as_it_was_at_any_second() -> None:
    table = properties("TenantTable")

    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    keys = {key["KeyType"]: key["AttributeName"] for key in table["KeySchema"]}
    assert row_key("acme", "PROFILE").keys() == set(keys.values())
    assert keys["HASH"] == "pk"
