"""The template as CloudFormation gets it: transformed by SAM, linted, and asserted on.

An owner may add parameters, variables and permissions of the workflow, and resources. What is said
here of the chassis' own is exact.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

#% if cookiecutter.front_door == "http_api"
from chassis.functions import page, reconciler
from chassis.functions.api import MOST_EVENTS
from chassis.functions.history import PAGE
#% else
from chassis.functions import reconciler
#% endif
from chassis.settings import load
from chassis.tenancy import credentials, registry
from chassis.tenancy.rows import partition_key
from ops.local import ROOT, template
from tests.chassis import sample
from tests.chassis.aws import TABLE, Add, admit, ask
from tests.chassis.source import SRC, modules, variables_of

TENANCY = template()["Globals"]["Function"]["Environment"]["Variables"]["TENANCY"]
WORKFLOW = (
    "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
    "${AWS::StackName}-workflow-" + TENANCY
)
#% if cookiecutter.customer_managed_key == "yes"
ENCRYPT = ["kms:Decrypt", "kms:GenerateDataKey"]
#% endif
ACTING = [
    "WorkflowRole",
    "StarterRole",
    "ReconcilerRole",
    #% if cookiecutter.__invoke
    "MeterRole",
    #% endif
]
FUNCTIONS = {
    "WorkflowFunction": ("WorkflowRole", "TenantRole"),
    "StarterFunction": ("StarterRole", "TenantRole"),
    "ReconcilerFunction": ("ReconcilerRole", "TenantRole"),
    #% if cookiecutter.__invoke
    "MeterFunction": ("MeterRole", "TenantRole"),
    #% endif
    "ApproverFunction": ("ApproverRole", "TenantApproverRole"),
    #% if cookiecutter.front_door == "http_api"
    "ApiFunction": ("ApiRole", "TenantApiRole"),
    #% endif
}
"""Those of the chassis: the role of each, and the role in which it acts for a tenant."""

OF_LIBRARIES = ("AWS_", "LAMBDA_", "OTEL_", "POWERTOOLS_", "PYTHON")
"""Variables that begin so are set by Lambda, or read by a library."""

Json = dict[str, Any]


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


@cache
def transformed() -> Json:
    """What CloudFormation gets; do not change it."""
    # Only a worker that needs it should take the time to import it.
    from samtranslator.translator.transform import transform

    source = copy.deepcopy(template())
    # What `sam package` does: the transform knows no local paths.
    source["Globals"]["Function"]["CodeUri"] = {"Bucket": "artifacts", "Key": "code.zip"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        result: Json = transform(source, {}, _NoManagedPolicies())
    return result


def of_type(kind: str) -> dict[str, Json]:
    """The properties of all resources of a type."""
    return {
        name: resource["Properties"]
        for name, resource in transformed()["Resources"].items()
        if resource["Type"] == kind
    }


def properties(name: str) -> Json:
    """The properties of a resource."""
    found: Json = transformed()["Resources"][name]["Properties"]
    return found


def arn(name: str) -> Json:
    return {"Fn::GetAtt": [name, "Arn"]}


def test_cloudformation_lint_finds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "transformed.json"
    path.write_text(json.dumps(transformed()), encoding="utf-8")
    lint = Path(sys.executable).with_name("cfn-lint")

    result = subprocess.run(  # noqa: S603
        [lint, path, ROOT / "deploy-role.yaml", "--include-checks", "I"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stdout + result.stderr == ""
    assert result.returncode == 0


def test_the_function_is_durable_and_published() -> None:
    function = properties("WorkflowFunction")

    assert function["DurableConfig"]["ExecutionTimeout"] > 0
    assert function["DurableConfig"]["RetentionPeriodInDays"] == {"Ref": "HistoryRetentionDays"}
    assert function["DeadLetterConfig"]["TargetArn"] == arn("DeadLetterQueue")
    assert function["FunctionName"] == {"Fn::Sub": "${AWS::StackName}-workflow-" + TENANCY}
    isolated = {"TenantIsolationMode": "PER_TENANT"}
    assert function.get("TenancyConfig") == (isolated if TENANCY == "isolated" else None)
    assert properties("WorkflowFunctionAliaslive")["Name"] == "live"
    for name in FUNCTIONS:
        logging = properties(name)["LoggingConfig"]
        assert (logging["LogFormat"], logging["LogGroup"]) == ("JSON", {"Ref": "LogGroup"})


def version() -> Json:
    """The version of the workflow's function that a deploy publishes."""
    (found,) = (
        resource
        for resource in transformed()["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Version"
        and resource["Properties"]["FunctionName"] == {"Ref": "WorkflowFunction"}
    )
    return dict(found)


def test_no_version_is_ever_deleted() -> None:
    """Executions in flight go on with the version they were started on."""
    assert version()["DeletionPolicy"] == "Retain"
    assert version()["UpdateReplacePolicy"] == "Retain"


def description() -> str:
    """What CloudFormation puts together for a version."""
    text = version()["Properties"]["Description"]["Fn::Sub"]
    return str(text if isinstance(text, str) else text[0])


def test_every_parameter_of_the_function_publishes_a_version() -> None:
    of_versions = properties("WorkflowFunction").copy()
    of_versions.pop("ReservedConcurrentExecutions")  # of the function, whatever version runs
    text = json.dumps(of_versions)
    conditions = json.dumps(template().get("Conditions", {}))
    problems = []
    for name in template()["Parameters"]:
        ref, sub = json.dumps({"Ref": name}), "${" + name + "}"
        if (ref in text or sub in text) and sub not in description():
            problems.append(
                f"{name} is not in VersionDescription: "
                "a deploy that changes it would publish no version"
            )
        if sub in description() and not (ref in text or sub in text or ref in conditions):
            problems.append(f"{name} is in VersionDescription and WorkflowFunction does not use it")

    assert not problems, "\n".join(problems)


def test_concurrency_is_reserved_if_it_is_asked_for() -> None:
    for parameter, condition, names in (
        ("WorkflowConcurrency", "ReservesWorkflow", {"WorkflowFunction"}),
        ("ControlConcurrency", "ReservesControl", FUNCTIONS.keys() - {"WorkflowFunction"}),
    ):
        assert template()["Parameters"][parameter]["Default"] == 0
        asked_for = {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, 0]}]}
        assert transformed()["Conditions"][condition] == asked_for
        reserved = {"Fn::If": [condition, {"Ref": parameter}, {"Ref": "AWS::NoValue"}]}
        for name in names:
            assert properties(name)["ReservedConcurrentExecutions"] == reserved, name


def test_the_description_of_a_version_is_short_enough() -> None:
    longest = description()
    for name, spec in template()["Parameters"].items():
        most = "x" * int(spec.get("MaxLength", 256))
        values = spec.get("AllowedValues") or [spec.get("MaxValue", most)]
        longest = longest.replace("${" + name + "}", max(map(str, values), key=len))
    # The id of a role and of an API, which are shorter and longer than their references.
    longest = longest.replace("${WorkflowRole.RoleId}", 21 * "x").replace("${Page}", 10 * "x")

    assert len(longest) <= 256, (
        "shorten VersionDescription, or give its parameters a MaxLength or MaxValue"
    )


def test_the_execution_outlasts_the_approval() -> None:
    """At least ten minutes stay for the checks, the items and their retries."""
    timeout = properties("WorkflowFunction")["DurableConfig"]["ExecutionTimeout"]

    for name in ("CallbackTimeoutMinutes", "CallbackHeartbeatMinutes"):
        assert template()["Parameters"][name]["MaxValue"] * 60 + 600 <= timeout


def function_names() -> list[str]:
    """The functions whose code is in ``src``."""
    return [
        name
        for name, resource in template()["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
        and resource["Properties"].get("Handler", "").rpartition(".")[0] in modules()
    ]


def read_by(function: str) -> dict[str, set[str]]:
    """The variables that the code of a function reads, and the files that read each."""
    found = variables_of(template()["Resources"][function]["Properties"]["Handler"])
    return {
        variable: {modules()[module].relative_to(SRC).as_posix() for module in readers}
        for variable, readers in found.items()
        if not variable.startswith(OF_LIBRARIES)
    }


def variables(properties: Json) -> dict[str, Any]:
    """What ``template.yaml`` sets for a function, or for all."""
    found: dict[str, Any] = properties.get("Environment", {}).get("Variables", {})
    return {name: value for name, value in found.items() if not name.startswith(OF_LIBRARIES)}


def for_all() -> dict[str, Any]:
    return variables(template()["Globals"]["Function"])


@pytest.mark.parametrize("function", function_names())
def test_a_function_reads_what_is_set_for_it(function: str) -> None:
    read, own = read_by(function), variables(template()["Resources"][function]["Properties"])
    forgotten = [
        f"{function}: {name} is read by {', '.join(sorted(files))} and not set in template.yaml"
        for name, files in read.items()
        if name not in own | for_all()
    ]
    forgotten += [
        f"{function}: {name} is set in template.yaml and read by nobody"
        for name in own
        if name not in read
    ]

    assert not forgotten, "\n".join(forgotten)


def test_what_is_set_for_all_functions_is_read_by_some() -> None:
    read = {name for function in function_names() for name in read_by(function)}
    forgotten = [name for name in for_all() if name not in read]

    assert not forgotten, f"Globals: {', '.join(forgotten)} set in template.yaml, read by nobody"


def settings() -> dict[str, tuple[str, str]]:
    """The settings of the chassis that a parameter decides: its name, and the unit after it."""
    found = {}
    for name, value in variables(template()["Resources"]["WorkflowFunction"]["Properties"]).items():
        if not isinstance(value, dict):
            continue
        text = str(value.get("Fn::Sub", "${" + str(value.get("Ref")) + "}"))
        match = re.fullmatch(r"\$\{(\w+)\}(\w*)", text)
        if name in sample.SETTINGS and match and match[1] in template()["Parameters"]:
            found[name] = (match[1], match[2])
    return found


@pytest.mark.parametrize("name", settings())
def test_the_settings_take_whatever_the_template_allows(name: str) -> None:
    """In their unit: minutes are minutes in both."""
    parameter, unit = settings()[name]
    spec = template()["Parameters"][parameter]
    limits = [spec[limit] for limit in ("MinValue", "MaxValue", "Default") if limit in spec]
    for value in spec.get("AllowedValues", limits):
        load(sample.SETTINGS | {name: f"{value}{unit}"})  # raises SettingsError

    assert unit == {"Minutes": "m", "Seconds": "s"}.get(parameter[-7:], "")
    stem = parameter.removesuffix("Minutes").removesuffix("Seconds")
    assert re.sub(r"(?<=[a-z])(?=[A-Z])", "_", stem).upper() == name


def test_what_is_set_is_of_this_stack() -> None:
    """Settings with a unit, and what names a resource."""
    of_workflow = variables(properties("WorkflowFunction"))
    expected = {
        "CALLBACK_TIMEOUT": {"Fn::Sub": "${CallbackTimeoutMinutes}m"},
        "CALLBACK_HEARTBEAT": {"Fn::Sub": "${CallbackHeartbeatMinutes}m"},
        #% if cookiecutter.__wait
        "COOL_DOWN": {"Fn::Sub": "${CoolDownSeconds}s"},
        #% endif
        "APPROVAL_TOPIC_ARN": {"Ref": "ApprovalTopic"},
        #% if cookiecutter.__child_context
        "OPERATOR_TOPIC_ARN": {"Ref": "OperatorTopic"},
        #% endif
        #% if cookiecutter.__invoke
        "METER_FUNCTION_ARN": arn("MeterFunction"),
        #% endif
        #% if cookiecutter.fan_out == "yes"
        "BUCKET": {"Ref": "ObjectBucket"},
        #% endif
    }
    assert {name: of_workflow.get(name) for name in expected} == expected
    starter = variables(properties("StarterFunction"))
    assert starter["WORKFLOW_ALIAS_ARN"] == {"Ref": "WorkflowFunctionAliaslive"}
    #% if cookiecutter.front_door == "http_api"
    assert variables(properties("ApiFunction"))["WORKFLOW_ALIAS_ARN"] == {
        "Fn::Sub": f"{WORKFLOW}:live"
    }
    assert properties("WorkflowFunctionAliaslive")["Name"] == "live"
    #% endif
    for name in FUNCTIONS:
        found = variables(properties(name))
        assert found["TENANT_TABLE"] == {"Ref": "TenantTable"}
        assert found["TENANT_ID"] == ({"Ref": "TenantId"} if TENANCY == "silo" else "")
        for shared in sample.SETTINGS.keys() & found.keys():
            assert found[shared] == of_workflow[shared]


def statements(*policies: Json) -> dict[str, tuple[Any, Any]]:
    """What policies allow: action and resource by statement."""
    found = {}
    for policy in policies:
        for number, statement in enumerate(policy["PolicyDocument"]["Statement"]):
            sid = statement.get("Sid", f"{policy['PolicyName']} {number}")
            if statement["Effect"] != "Allow":
                sid = f"{statement['Effect']} {sid}"
            found[sid] = (statement["Action"], statement["Resource"])
    return found


def test_the_workflow_may_do_what_the_chassis_does_for_it() -> None:
    allowed = statements(*properties("WorkflowRole")["Policies"])

    expected = {
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
        "KeepFailedEvents": ("sqs:SendMessage", arn("DeadLetterQueue")),
        #% if cookiecutter.customer_managed_key == "yes"
        "ReadOwnExecutions": ("kms:Decrypt", arn("DataKey")),
        "EncryptMessages": (ENCRYPT, arn("DataKey")),
        #% endif
    }
    assert {sid: allowed.get(sid) for sid in expected} == expected


def test_the_functions_of_the_chassis_may_do_this_and_nothing_else() -> None:
    roles = {
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
            "KeepFailedEvents": ("sqs:SendMessage", arn("LostStatusEvents")),
            #% if cookiecutter.customer_managed_key == "yes"
            "EncryptFailedEvents": (ENCRYPT, arn("DataKey")),
            "DecryptRows": ("kms:Decrypt", arn("DataKey")),
            #% endif
        },
        #% if cookiecutter.__invoke
        "MeterRole": {},
        #% endif
        "TenantRole": {
            "OwnPartition": (
                [f"dynamodb:{action}Item" for action in ("Get", "Put", "Update")]
                + ["dynamodb:Query"],
                arn("TenantTable"),
            ),
            #% if cookiecutter.customer_managed_key == "yes"
            "DecryptRows": ("kms:Decrypt", arn("DataKey")),
            #% endif
            #% if cookiecutter.fan_out == "yes"
            "OwnObjects": (
                ["s3:GetObject", "s3:PutObject"],
                {"Fn::Sub": "${ObjectBucket.Arn}/tenants/${!aws:PrincipalTag/TenantId}/*"},
            ),
            #% if cookiecutter.customer_managed_key == "yes"
            "EncryptObjects": (ENCRYPT, arn("DataKey")),
            #% endif
            #% endif
        },
        "TenantApproverRole": {
            "OwnApprovals": (["dynamodb:GetItem", "dynamodb:UpdateItem"], arn("TenantTable")),
            "AnswerOwnExecutions": (
                [
                    "lambda:SendDurableExecutionCallbackSuccess",
                    "lambda:SendDurableExecutionCallbackFailure",
                    "lambda:SendDurableExecutionCallbackHeartbeat",
                ],
                {"Fn::Sub": WORKFLOW + ":*/durable-execution/${!aws:PrincipalTag/TenantId}_*/*"},
            ),
            #% if cookiecutter.customer_managed_key == "yes"
            "DecryptRows": ("kms:Decrypt", arn("DataKey")),
            "EncryptAnswers": ("kms:Decrypt", arn("DataKey")),
            #% endif
        },
        #% if cookiecutter.front_door == "http_api"
        "ApiRole": {"StartExecutions": ("lambda:InvokeFunction", {"Fn::Sub": f"{WORKFLOW}:live"})},
        "TenantApiRole": {
            "OwnPartition": (
                [f"dynamodb:{action}Item" for action in ("Get", "Put", "Update")],
                arn("TenantTable"),
            ),
            "ListOwnRows": ("dynamodb:Query", {"Fn::Sub": "${TenantTable.Arn}/index/listed"}),
            "AnswerReadAndStopOwnExecutions": (
                [
                    "lambda:SendDurableExecutionCallbackSuccess",
                    "lambda:SendDurableExecutionCallbackFailure",
                    "lambda:GetDurableExecutionHistory",
                    "lambda:StopDurableExecution",
                ],
                {"Fn::Sub": WORKFLOW + ":*/durable-execution/${!aws:PrincipalTag/TenantId}_*/*"},
            ),
            #% if cookiecutter.customer_managed_key == "yes"
            "DecryptRows": ("kms:Decrypt", arn("DataKey")),
            "EncryptAnswers": ("kms:Decrypt", arn("DataKey")),
            #% endif
            #% if cookiecutter.fan_out == "yes"
            "SeeOwnObjects": (
                "s3:GetObject",
                {"Fn::Sub": "${ObjectBucket.Arn}/tenants/${!aws:PrincipalTag/TenantId}/*"},
            ),
            #% if cookiecutter.customer_managed_key == "yes"
            "DecryptObjects": ("kms:Decrypt", arn("DataKey")),
            #% endif
            #% endif
        },
        #% endif
    }

    assert {name: statements(*properties(name).get("Policies", [])) for name in roles} == roles


def test_each_function_of_the_chassis_has_its_role_and_acts_for_one_tenant() -> None:
    session = ["sts:AssumeRole", "sts:TagSession"]
    for function, (role, tenant_role) in FUNCTIONS.items():
        assert properties(function)["Role"] == arn(role)
        assert variables(properties(function))["TENANT_ROLE_ARN"] == arn(tenant_role)
    attached = of_type("AWS::IAM::Policy")
    roles = {
        name: [role.get("Ref") or role["Fn::If"][1]["Ref"] for role in policy["Roles"]]
        for name, policy in attached.items()
    }
    assert statements(attached["ActForTenants"]) == {
        "ActForOneTenant": (session, arn("TenantRole"))
    }
    assert roles["ActForTenants"] == ACTING
    assert statements(attached["AnswerForTenants"]) == {
        "AnswerForOneTenant": (session, arn("TenantApproverRole"))
    }
    assert roles["AnswerForTenants"] == ["ApproverRole"]
    #% if cookiecutter.front_door == "http_api"
    assert statements(attached["ServeTenants"]) == {
        "ServeOneTenant": (session, arn("TenantApiRole"))
    }
    assert roles["ServeTenants"] == ["ApiRole"]
    #% endif
    assert statements(attached["WriteLogs"]) == {
        "WriteLogs": (["logs:CreateLogStream", "logs:PutLogEvents"], arn("LogGroup")),
        #% if cookiecutter.customer_managed_key == "yes"
        "EncryptLogs": (ENCRYPT, arn("DataKey")),
        #% endif
    }
    of_functions = {role for role, _ in FUNCTIONS.values()}
    assert of_functions <= set(roles["WriteLogs"])
    known = {"ActForTenants", "AnswerForTenants", "ServeTenants", "WriteLogs"}
    #% if cookiecutter.customer_managed_key == "yes"
    assert statements(attached["ReadEnvironment"]) == {
        "ReadEnvironment": ("kms:Decrypt", arn("DataKey"))
    }
    assert set(roles["ReadEnvironment"]) == of_functions - {"WorkflowRole"}
    known.add("ReadEnvironment")
    #% endif
    for name in attached.keys() - known:
        wrong = set(roles[name]) & of_functions - {"WorkflowRole"}
        assert not wrong, f"{name} gives more to {', '.join(wrong)}, which nothing should"


@pytest.mark.parametrize(
    ("name", "trusted", "on_items"),
    [
        ("TenantRole", ACTING, "OwnPartition"),
        ("TenantApproverRole", ["ApproverRole"], "OwnApprovals"),
        #% if cookiecutter.front_door == "http_api"
        ("TenantApiRole", ["ApiRole"], "OwnPartition"),
        ("TenantApiRole", ["ApiRole"], "ListOwnRows"),
        #% endif
    ],
)
def test_a_tenant_role_takes_a_tag_and_reaches_what_the_tag_names(
    name: str, trusted: list[str], on_items: str
) -> None:
    role = properties(name)
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    conditions = {
        statement["Sid"]: statement.get("Condition")
        for statement in role["Policies"][0]["PolicyDocument"]["Statement"]
    }

    arns = [arn(role) for role in trusted]
    assert trust["Principal"] == {"AWS": arns if len(arns) > 1 else arns[0]}
    stack_tenant = {"StringEquals": {"aws:RequestTag/TenantId": {"Ref": "TenantId"}}}
    assert trust["Condition"] == {
        **(stack_tenant if TENANCY == "silo" else {}),
        "Null": {"aws:RequestTag/TenantId": "false"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["TenantId"]},
    }
    tagged = {"Null": {"aws:PrincipalTag/TenantId": "false"}}
    others: Json = {
        #% if cookiecutter.fan_out == "yes"
        "OwnObjects": tagged,
        #% if cookiecutter.customer_managed_key == "yes"
        "EncryptObjects": {"StringEquals": via("s3")},
        #% endif
        #% endif
        "AnswerOwnExecutions": tagged,
        #% if cookiecutter.customer_managed_key == "yes"
        "DecryptRows": {"StringEquals": via("dynamodb")},
        "EncryptAnswers": {
            "StringEquals": via("lambda"),
            "StringLike": {
                "kms:EncryptionContext:aws:lambda:FunctionArn": [
                    {"Fn::Sub": WORKFLOW},
                    {"Fn::Sub": f"{WORKFLOW}:*"},
                ]
            },
        },
        #% endif
    }
    own_partition = {
        "ForAllValues:StringEquals": {
            "dynamodb:LeadingKeys": ["TENANT#${aws:PrincipalTag/TenantId}"]
        },
        "Null": {"dynamodb:LeadingKeys": "false", "aws:PrincipalTag/TenantId": "false"},
    }
    #% if cookiecutter.front_door == "http_api"
    others |= {
        "AnswerReadAndStopOwnExecutions": tagged,
        "SeeOwnObjects": tagged,
        #% if cookiecutter.fan_out == "yes" and cookiecutter.customer_managed_key == "yes"
        "DecryptObjects": {"StringEquals": via("s3")},
        #% endif
        "OwnPartition": own_partition,
        "ListOwnRows": own_partition,
    }
    #% endif
    assert conditions[on_items] == own_partition
    assert partition_key("") == "TENANT#"
    for sid in conditions.keys() - {on_items}:
        assert conditions[sid] == others[sid]


#% if cookiecutter.customer_managed_key == "yes"
def via(service: str) -> Json:
    return {"kms:ViaService": {"Fn::Sub": service + ".${AWS::Region}.amazonaws.com"}}


def test_everything_at_rest_has_the_key() -> None:
    key = arn("DataKey")
    assert properties("WorkflowFunction")["DurableConfig"]["KMSKeyArn"] == key
    for name in FUNCTIONS:
        assert properties(name)["KmsKeyArn"] == key, name
    for name in ("ApprovalTopic", "OperatorTopic", "DeadLetterQueue", "LostStatusEvents"):
        assert properties(name)["KmsMasterKeyId"] == key, name
    assert properties("LogGroup")["KmsKeyId"] == key
    #% if cookiecutter.fan_out == "yes"
    (rule,) = properties("ObjectBucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    encrypted = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    assert rule["ServerSideEncryptionByDefault"] == encrypted
    #% endif
    table = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    assert properties("TenantTable")["SSESpecification"] == table


def test_a_service_uses_the_key_for_this_stack_only() -> None:
    policy = properties("DataKey")["KeyPolicy"]["Statement"]
    services = [statement for statement in policy if "Service" in statement["Principal"]]

    assert len(services) == len(policy) - 1
    for statement in services:
        conditions = json.dumps(statement["Condition"])
        assert "${AWS::AccountId}" in conditions, statement["Sid"]
        assert "${AWS::StackName}" in conditions, statement["Sid"]


#% else
def test_what_can_be_is_encrypted_with_a_key_of_aws() -> None:
    for queue in ("DeadLetterQueue", "LostStatusEvents"):
        assert properties(queue)["SqsManagedSseEnabled"] is True
    assert properties("ApprovalTopic")["KmsMasterKeyId"] == "alias/aws/sns"
    assert properties("TenantTable")["SSESpecification"] == {"SSEEnabled": True}


#% endif
POLICIES = {
    "AWS::SNS::TopicPolicy": "Topics",
    "AWS::SQS::QueuePolicy": "Queues",
    "AWS::S3::BucketPolicy": "Bucket",
}
"""What they are the policies of."""


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("ApprovalTopic", "sns:Publish"),  # a topic's policy knows no sns:*
        ("OperatorTopic", "sns:Publish"),
        ("DeadLetterQueue", "sqs:*"),
        ("LostStatusEvents", "sqs:*"),
        #% if cookiecutter.fan_out == "yes"
        ("ObjectBucket", "s3:*"),
        #% endif
    ],
)
def test_transport_is_encrypted(name: str, action: str) -> None:
    (policy,) = (
        policy["PolicyDocument"]["Statement"]
        for kind, of in POLICIES.items()
        for policy in of_type(kind).values()
        if policy[of] in ({"Ref": name}, [{"Ref": name}])
    )
    (denied,) = (statement for statement in policy if statement["Effect"] == "Deny")

    assert (denied["Principal"], denied["Action"]) == ("*", action)
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    everything = {"Ref": name} if action == "sns:Publish" else arn(name)
    #% if cookiecutter.fan_out == "yes"
    if name == "ObjectBucket":
        everything = [everything, {"Fn::Sub": "${ObjectBucket.Arn}/*"}]  # type: ignore[assignment]
    #% endif
    assert denied["Resource"] == everything


def test_nobody_may_do_anything_to_everything() -> None:
    others = copy.deepcopy(transformed()["Resources"])
    for name, resource in transformed()["Resources"].items():
        if resource["Type"] == "AWS::KMS::Key":  # in its policy, "*" is the key itself
            del others[name]
        if resource["Type"] in POLICIES:
            statements = others[name]["Properties"]["PolicyDocument"]["Statement"]
            allowed = [statement for statement in statements if statement["Effect"] == "Allow"]
            others[name]["Properties"]["PolicyDocument"]["Statement"] = allowed
    text = json.dumps(others)

    assert not re.search(r'"(Resource|Action|Principal)": (\[[^]]*)?"\*"', text)
    assert not re.search(r'"Action": (\[[^]]*)?"[\w-]+:\*"', text)
    assert not [name for name, role in of_type("AWS::IAM::Role").items() if managed(role)]


def managed(role: Json) -> Any:
    """The policies of a role that somebody else may change."""
    return role.get("ManagedPolicyArns")


@pytest.mark.parametrize("queue", ["DeadLetterQueue", "LostStatusEvents"])
def test_someone_hears_of_what_failed_for_two_weeks(queue: str) -> None:
    (alarm,) = (
        alarm
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        if {"Fn::GetAtt": [queue, "QueueName"]}
        in [dimension["Value"] for dimension in alarm.get("Dimensions", [])]
    )

    assert alarm["AlarmActions"] == [{"Ref": "OperatorTopic"}]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")
    # What is new: a message that stays in the queue does not keep the alarm on.
    assert (alarm["MetricName"], alarm["Statistic"]) == ("NumberOfMessagesSent", "Sum")
    assert (alarm["DatapointsToAlarm"], alarm["TreatMissingData"]) == (1, "notBreaching")
    assert alarm["Period"] * alarm["EvaluationPeriods"] > 15 * 60  # how late the metric may be
    assert properties(queue)["MessageRetentionPeriod"] == 14 * 24 * 60 * 60


def test_what_holds_data_stays_when_the_stack_goes() -> None:
    kept = {
        "TenantTable",
        "DeadLetterQueue",
        #% if cookiecutter.fan_out == "yes"
        "ObjectBucket",
        #% endif
        #% if cookiecutter.customer_managed_key == "yes"
        "DataKey",
        #% endif
    }
    for name in kept:
        resource = transformed()["Resources"][name]
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain", name
    #% if cookiecutter.fan_out == "yes"
    (expiry,) = properties("ObjectBucket")["LifecycleConfiguration"]["Rules"]
    assert expiry["Status"] == "Enabled"
    assert expiry["ExpirationInDays"] == {"Ref": "ObjectRetentionDays"}
    #% endif
    logs = transformed()["Resources"]["LogGroup"]
    assert logs["DeletionPolicy"] == logs["UpdateReplacePolicy"] == "Delete"
    assert logs["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_the_reconciler_hears_of_every_end() -> None:
    rule = properties("ReconcilerFunctionExecutionEnded")
    (target,) = rule["Targets"]

    detail = rule["EventPattern"]["detail"]
    assert rule["EventPattern"] == {
        "source": ["aws.lambda"],
        "detail-type": ["Durable Execution Status Change"],
        "detail": {"status": detail["status"], "functionArn": detail["functionArn"]},
    }
    assert set(detail["status"]) == reconciler.ENDED - {
        "FORGOTTEN",
        "DELETING",  # which has ended before
    }
    assert detail["functionArn"] == [
        arn("WorkflowFunction"),
        {"prefix": {"Fn::Sub": "${WorkflowFunction.Arn}:"}},  # not workflow-pool2
    ]
    assert target["Arn"] == arn("ReconcilerFunction")
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 10}
    assert target["DeadLetterConfig"] == {"Arn": arn("LostStatusEvents")}
    assert may_keep_events(rule)


def may_keep_events(rule: Json) -> bool:
    """Whether what EventBridge could not deliver for a rule is taken by the queue."""
    kept, _ = properties("LostStatusEventsPolicy")["PolicyDocument"]["Statement"]
    sources = kept["Condition"]["ArnEquals"]["aws:SourceArn"]
    return any(source["Fn::Sub"].endswith(f":rule/{rule['Name']['Fn::Sub']}") for source in sources)


def test_the_sweep_looks_when_an_execution_is_due() -> None:
    sweep = properties("ReconcilerFunctionSweep")

    assert sweep["ScheduleExpression"] == "rate(15 minutes)"
    assert registry.LOOK_AFTER_SECONDS / 60 == 15
    (target,) = sweep["Targets"]
    assert target["Arn"] == arn("ReconcilerFunction")
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 15 * 60}  # then the next is due
    assert target["DeadLetterConfig"] == {"Arn": arn("LostStatusEvents")}
    assert may_keep_events(sweep)


def test_the_operators_hear_alarms_of_this_stack_only() -> None:
    told, _ = properties("OperatorTopicPolicy")["PolicyDocument"]["Statement"]

    assert told["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    source = told["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"]
    assert source.endswith(":${AWS::AccountId}:alarm:${AWS::StackName}-*")
    for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
        if {"Ref": "OperatorTopic"} in alarm.get("AlarmActions", []) and "AlarmName" in alarm:
            named = json.dumps(alarm["AlarmName"])
            assert "${AWS::StackName}-" in named, f"{name} could not tell the operators"


def test_a_function_has_time_to_say_that_aws_does_not_answer() -> None:
    config = credentials.CONFIG
    attempts = 3  # botocore's standard mode
    call = attempts * (config.connect_timeout + config.read_timeout)

    for name in FUNCTIONS:
        timeout = properties(name)["Timeout"]
        if name == "WorkflowFunction":
            timeout = template()["Parameters"][timeout["Ref"]]["MinValue"]
        assert timeout > call, name
    assert call < reconciler.MARGIN_MILLISECONDS / 1_000
    margins = properties("ReconcilerFunction")["Timeout"] * 1_000 / reconciler.MARGIN_MILLISECONDS
    assert margins >= 2, "a sweep would look at nothing"


def test_an_execution_is_remembered_longer_than_the_service_remembers_it() -> None:
    longest = template()["Parameters"]["HistoryRetentionDays"]["MaxValue"]

    assert longest * 24 * 60 * 60 < registry.REMEMBERED_SECONDS


def test_the_table_forgets_what_the_registry_says(table: Any, add: Add) -> None:
    forgets = properties("TenantTable")["TimeToLiveSpecification"]
    attribute = forgets["AttributeName"]
    acme = add("acme")
    admit(acme, "acme_ended")
    acme.release("acme_ended", "SUCCEEDED", now=7)
    admit(acme, "acme_running")
    ask(table, expires_at=9)

    expires = {
        row["sk"]["S"].partition("#")[0] + row.get("state", {}).get("S", ""): row.get(attribute)
        for row in table.scan(TableName=TABLE)["Items"]
    }
    assert expires == {
        "PROFILE": None,
        "RUNRUNNING": None,
        "RUNSUCCEEDED": {"N": str(7 + registry.REMEMBERED_SECONDS)},
        "APPROVALPENDING": {"N": str(9 + 400 * 24 * 60 * 60)},
    }
    assert forgets["Enabled"] is True


def test_the_index_is_the_one_that_the_reconciler_asks(
    table: Any, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = properties("TenantTable")["GlobalSecondaryIndexes"][0]
    keys = [key["AttributeName"] for key in index["KeySchema"]]
    asked: list[Json] = []

    def paginate(**request: Any) -> list[Json]:
        asked.append(request)
        return []

    client = SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=paginate))
    monkeypatch.setattr(reconciler, "_client", lambda _: client)
    acme = add("acme")
    admit(acme, "acme_1")
    ask(table, expires_at=9)
    list(reconciler.due())

    for request in asked:
        assert request["IndexName"] == index["IndexName"]
        condition = request["KeyConditionExpression"].replace(
            "#state", request["ExpressionAttributeNames"]["#state"]
        )
        assert re.findall(r"(?<!:)\b(?!AND\b)\w+", condition) == keys
    rows = table.scan(TableName=TABLE)["Items"]
    states = [row["state"] for row in rows if set(keys) <= row.keys()]
    assert states == [each["ExpressionAttributeValues"][":state"] for each in asked]
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}


def test_the_artefact_has_every_service_that_is_called() -> None:
    """The build leaves out what botocore knows of all others."""
    makefile = (SRC / "Makefile").read_text(encoding="utf-8")
    (kept,) = re.findall(r"^SERVICES := (.*)$", makefile, re.M)
    code = "".join(path.read_text(encoding="utf-8") for path in modules().values())
    called = set(re.findall(r'(?:client|resource)\(\s*"([\w-]+)"', code))

    missing, idle = called - set(kept.split()), set(kept.split()) - called
    assert not missing, f"add {', '.join(missing)} to SERVICES in src/Makefile"
    assert not idle, f"take {', '.join(idle)} out of SERVICES in src/Makefile: nobody calls it"


#% if cookiecutter.front_door == "http_api"
def test_a_stack_without_an_issuer_has_no_api() -> None:
    conditions = transformed()["Conditions"]
    assert conditions["HasIssuer"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "JwtIssuer"}, ""]}]}
    assert template()["Parameters"]["JwtIssuer"]["Default"] == ""
    of_the_api = {
        name: resource
        for name, resource in transformed()["Resources"].items()
        if "Api" in name or name == "ServeTenants"
    }
    assert len(of_the_api) > 10
    for name, resource in of_the_api.items():
        assert resource.get("Condition") == "HasIssuer", name


def routes() -> dict[str, Json]:
    """What the API has: each method and path, and its operation."""
    return {
        f"{method.upper()} {path}": operation["Fn::If"][1]
        for path, item in properties("HttpApi")["Body"]["paths"].items()
        for method, operation in item["Fn::If"][1].items()
    }


def test_every_call_needs_a_token_and_only_the_page_does_not() -> None:
    from samtranslator.yaml_helper import yaml_parse

    body = properties("HttpApi")["Body"]
    text = (ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8")
    document = yaml_parse(text)
    calls = {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in item.keys() & {"get", "post"}
    }
    files = {f"GET {path}" for path in (*page.FILES, page.CONFIG)}

    assert routes().keys() == calls | files
    for route, operation in routes().items():
        assert operation.get("security") == ([{"Token": []}] if route in calls else [{"NONE": []}])
    token = body["components"]["securitySchemes"]["Token"]["x-amazon-apigateway-authorizer"]
    assert token["type"] == "jwt"
    assert token["identitySource"] == "$request.header.Authorization"
    assert token["jwtConfiguration"] == {
        "issuer": {"Ref": "JwtIssuer"},
        "audience": [{"Ref": "JwtAudience"}],
    }
    (rule,) = transformed()["Rules"]["Audience"]["Assertions"]
    assert rule["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "JwtAudience"}, ""]}]}


def test_one_site_may_call_the_api_from_a_browser_if_it_is_named() -> None:
    cors = properties("HttpApi")["Body"]["x-amazon-apigateway-cors"]
    condition, named, otherwise = cors["Fn::If"]
    assert (condition, otherwise) == ("HasCorsOrigin", {"Ref": "AWS::NoValue"})
    assert named == {
        "allowOrigins": [""],  # the parameter, which has no default
        "allowMethods": ["GET", "POST"],
        "allowHeaders": ["authorization", "content-type", "idempotency-key"],
        "exposeHeaders": ["location", "retry-after"],
    }


def test_the_access_log_has_no_claim_and_no_token() -> None:
    (stage,) = of_type("AWS::ApiGatewayV2::Stage").values()

    written = json.loads(stage["AccessLogSettings"]["Format"])
    assert set(written.values()) == {
        f"$context.{name}"
        for name in ("requestId", "routeKey", "status", "responseLatency", "error.messageString")
    }
    assert [*stage["DefaultRouteSettings"].values()] == [200, 100]
    starts = {"ThrottlingBurstLimit": 100, "ThrottlingRateLimit": 50}
    assert stage["RouteSettings"]["POST /workflows"] == starts
    picture = stage["RouteSettings"]["GET /workflows/{id}/timeline"]
    looks = max(picture.values()) * MOST_EVENTS / PAGE
    assert looks <= 15, "the looks at a history that an account has in a second"


#% endif
def test_the_outputs_say_how_to_start_and_to_answer() -> None:
    outputs = json.dumps(transformed()["Outputs"])

    for words in ("make start TENANT=", "make approve TENANT=acme TOKEN="):
        assert words in outputs
