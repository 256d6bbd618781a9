"""What CI may do in AWS, against what the stack consists of.

The actions of a type are those of the handlers in its CloudFormation schema (describe-type; read
in August 2026), as far as they concern the properties that are set here. A type that is
new here needs a line, and deploy-role.yaml the same actions. A property that is new passes: look up
whether its type's handlers have actions for it, and if so, give it a line, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from ops.local import ROOT
from ops.stack import sections
from tests.chassis.test_template import transformed

Json = dict[str, Any]

OF_TYPE = {
    # Without s3:GetObject: the API is described in the template.
    "AWS::ApiGatewayV2::Api": "apigateway: DELETE GET PATCH POST PUT",
    "AWS::ApiGatewayV2::Stage": "apigateway: DELETE GET PATCH POST TagResource UntagResource",
    # Not in the schema (API Gateway developer guide, http-api-logging, read 2026-11-25).
    "AWS::ApiGatewayV2::Stage AccessLogSettings": (
        "logs: CreateLogDelivery DeleteLogDelivery DescribeLogGroups DescribeResourcePolicies "
        "GetLogDelivery ListLogDeliveries PutResourcePolicy UpdateLogDelivery"
    ),
    "AWS::CloudWatch::Alarm": (
        "cloudwatch: DeleteAlarms DescribeAlarms ListTagsForResource PutMetricAlarm TagResource "
        "UntagResource"
    ),
    "AWS::CloudWatch::Dashboard": "cloudwatch: DeleteDashboards GetDashboard PutDashboard",
    "AWS::DynamoDB::Table": (
        "dynamodb: CreateTable DescribeContinuousBackups DescribeContributorInsights "
        "DescribeKinesisStreamingDestination DescribeTable DescribeTimeToLive GetResourcePolicy "
        "ListTagsOfResource TagResource UntagResource UpdateContinuousBackups UpdateTable "
        "UpdateTimeToLive"
    ),
    "AWS::Events::Rule": (
        "events: DeleteRule DescribeRule ListTagsForResource ListTargetsByRule PutRule PutTargets "
        "RemoveTargets TagResource UntagResource"
    ),
    "AWS::IAM::Policy": "iam: DeleteRolePolicy GetRolePolicy PutRolePolicy",
    "AWS::IAM::Role": (
        "iam: CreateRole DeleteRole DeleteRolePolicy GetRole GetRolePolicy "
        "ListAttachedRolePolicies ListRolePolicies ListRoleTags PutRolePermissionsBoundary "
        "PutRolePolicy TagRole UntagRole UpdateAssumeRolePolicy UpdateRole UpdateRoleDescription"
    ),
    # With what Lambda, DynamoDB and CloudWatch Logs do for whoever gives it to a resource
    # (docs/operate.md).
    "AWS::KMS::Key": (
        "kms: CreateGrant CreateKey Decrypt DescribeKey EnableKeyRotation Encrypt GenerateDataKey* "
        "GetKeyPolicy GetKeyRotationStatus ListResourceTags PutKeyPolicy ReEncrypt* TagResource "
        "UntagResource UpdateKeyDescription"
    ),
    "AWS::Lambda::Alias": (
        "lambda: CreateAlias DeleteAlias GetAlias GetProvisionedConcurrencyConfig UpdateAlias"
    ),
    "AWS::Lambda::Function": (
        "iam: PassRole lambda: CreateFunction DeleteFunction GetFunction "
        "GetFunctionCodeSigningConfig GetFunctionRecursionConfig GetFunctionScalingConfig "
        "GetRuntimeManagementConfig ListTags TagResource UntagResource UpdateFunctionCode "
        "UpdateFunctionConfiguration s3: GetObject GetObjectVersion"
    ),
    "AWS::Lambda::Function ReservedConcurrentExecutions": (
        "lambda: DeleteFunctionConcurrency PutFunctionConcurrency"
    ),
    "AWS::Lambda::Permission": "lambda: AddPermission GetPolicy RemovePermission",
    "AWS::Lambda::Version": (
        "lambda: DeleteFunction GetFunctionConfiguration GetFunctionScalingConfig "
        "GetProvisionedConcurrencyConfig GetRuntimeManagementConfig ListVersionsByFunction "
        "PublishVersion"
    ),
    "AWS::Logs::LogGroup": (
        "logs: CreateLogGroup DeleteLogGroup DeleteRetentionPolicy DescribeIndexPolicies "
        "DescribeLogGroups DescribeResourcePolicies GetDataProtectionPolicy ListTagsForResource "
        "PutRetentionPolicy TagResource UntagResource"
    ),
    "AWS::Logs::LogGroup KmsKeyId": "logs: AssociateKmsKey DisassociateKmsKey",
    "AWS::Logs::MetricFilter": "logs: DeleteMetricFilter DescribeMetricFilters PutMetricFilter",
    # Everything about the bucket may be read, and of the objects nothing.
    "AWS::S3::Bucket": (
        "s3: CreateBucket Get*Configuration GetBucket* ListBucket ListTagsForResource "
        "PutBucketPublicAccessBlock PutBucketTagging PutEncryptionConfiguration "
        "PutLifecycleConfiguration TagResource UntagResource"
    ),
    "AWS::S3::Bucket VersioningConfiguration": "s3: PutBucketVersioning",
    "AWS::S3::BucketPolicy": "s3: DeleteBucketPolicy GetBucket* PutBucketPolicy",
    "AWS::SNS::Subscription": "sns: GetSubscriptionAttributes Subscribe Unsubscribe",
    "AWS::SNS::Topic": (
        "sns: CreateTopic DeleteTopic GetDataProtectionPolicy GetTopicAttributes "
        "ListSubscriptionsByTopic ListTagsForResource SetTopicAttributes Subscribe TagResource "
        "UntagResource"
    ),
    "AWS::SNS::TopicPolicy": "sns: SetTopicAttributes",
    "AWS::SQS::Queue": (
        "sqs: CreateQueue DeleteQueue GetQueueAttributes GetQueueUrl ListQueueTags "
        "SetQueueAttributes TagQueue UntagQueue"
    ),
    "AWS::SQS::QueuePolicy": "sqs: SetQueueAttributes",
}
SLUG = "{{ cookiecutter.project_slug }}"
#% if cookiecutter.tenancy == "silo"
STACK = f"{SLUG}-*"
#% else
STACK = SLUG
#% endif
# They delete what the template retains.
NEVER = {"dynamodb:DeleteTable", "s3:DeleteBucket", "s3:DeleteObject", "kms:ScheduleKeyDeletion"}


@cache
def resources() -> Json:
    """The resources of deploy-role.yaml; do not change them."""
    parsed = yaml_parse((ROOT / "deploy-role.yaml").read_text(encoding="utf-8"))
    found: Json = parsed["Resources"]
    return found


def statements(role: str) -> dict[str, Json]:
    (policy,) = resources()[role]["Properties"]["Policies"]
    return {statement["Sid"]: statement for statement in policy["PolicyDocument"]["Statement"]}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def actions(found: list[Json]) -> set[str]:
    return {action for statement in found for action in listed(statement["Action"])}


def names(text: str) -> Iterator[str]:
    """``"iam: GetRole sqs: TagQueue"``: iam:GetRole, sqs:TagQueue."""
    service = ""
    for word in text.split():
        if word.endswith(":"):
            service = word
        else:
            yield f"{service}{word}"


def test_cloudformation_may_make_every_resource_of_the_stack_and_no_other() -> None:
    needed = set()
    for name, resource in transformed()["Resources"].items():
        kind = resource["Type"]
        assert kind in OF_TYPE, f"{name} is a {kind}: add it here, and to deploy-role.yaml"
        for key in (kind, *(f"{kind} {each}" for each in resource.get("Properties", {}))):
            needed |= set(names(OF_TYPE.get(key, "")))
    allowed = actions(list(statements("StackRole").values()))

    assert not needed - allowed, f"add to deploy-role.yaml: {sorted(needed - allowed)}"
    assert not allowed - needed, f"take out of deploy-role.yaml: {sorted(allowed - needed)}"
    assert not allowed & NEVER


def test_cloudformation_may_touch_what_has_the_name_of_the_stack() -> None:
    every = statements("StackRole")
    for sid in every.keys() - {"Anything", "Api", "Key", "UseOfKey", "Code", "Logs", "LostEvents"}:
        (resource,) = (each["Fn::Sub"] for each in listed(every[sid]["Resource"]))
        assert resource.endswith((f":{SLUG}-*", f"/{SLUG}-*")), resource
    logs = [each["Fn::Sub"].partition(":log-group:")[2] for each in every["Logs"]["Resource"]]
    assert logs == [f"/aws/lambda/{STACK}", f"/aws/lambda/{STACK}:*"]
    assert every["Code"]["Resource"]["Fn::Sub"].endswith(f"-samclisourcebucket-*/{STACK}/*")
    # The other queue is retained.
    assert every["LostEvents"]["Action"] == "sqs:DeleteQueue"
    assert every["LostEvents"]["Resource"]["Fn::Sub"].endswith(f":{SLUG}-*LostStatusEvents-*")
    assert "sqs:DeleteQueue" not in every["Queues"]["Action"]
    #% if cookiecutter.front_door == "http_api"
    # Nothing below an API but its stages: a route could be put into another API. In a pattern of
    # IAM's, as in one of fnmatch's, * takes a slash.
    patterns = [each["Fn::Sub"].partition("::/")[2] for each in every["Api"]["Resource"]]
    tags = "tags/arn%3A${AWS::Partition}%3Aapigateway%3A${AWS::Region}%3A%3A%2F"
    for path, is_allowed in {
        "apis": True,  # where an API is imported
        "apis/a1b2c3d4e5": True,
        "apis/a1b2c3d4e5/stages": True,
        "apis/a1b2c3d4e5/stages/$default": True,
        f"{tags}v2%2Fapis%2Fa1b2c3d4e5": True,
        "apis/a1b2c3d4e5/routes": False,
        "apis/a1b2c3d4e5/integrations/a1b2c3d": False,
        "apis/a1b2c3d4e5/authorizers": False,
        f"{tags}restapis%2Fa1b2c3d4e5": False,
        "restapis": False,
        "domainnames/example.com": False,
    }.items():
        assert any(fnmatch(path, pattern) for pattern in patterns) == is_allowed, path
    #% endif
    #% if cookiecutter.customer_managed_key == "yes"
    via = every["UseOfKey"]["Condition"]["StringEquals"]["kms:ViaService"]
    assert [each["Fn::Sub"].split(".")[0] for each in via] == ["dynamodb", "lambda", "logs"]
    only_theirs = {"kms:Decrypt", "kms:Encrypt", "kms:CreateGrant"}
    assert only_theirs <= {*every["UseOfKey"]["Action"]} - {*every["Key"]["Action"]}
    #% endif
    assert all(fnmatch(section["stack_name"], STACK) for section in sections().values())


def test_nobody_rises_by_a_role_of_the_stack() -> None:
    """It is made with the boundary, it is for Lambda, and the boundary has what the stack asks."""
    every = statements("StackRole")
    bounded = {"ArnEquals": {"iam:PermissionsBoundary": {"Ref": "Boundary"}}}
    passed = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    reads = re.compile(r"iam:(Get|List|Tag|Untag)\w+")
    for sid, statement in every.items():
        of_roles = {each for each in actions([statement]) if each.startswith("iam:")}
        if of_roles == {"iam:PassRole"}:
            assert statement["Condition"] == passed
        elif not all(map(reads.fullmatch, of_roles)):
            assert statement["Condition"] == bounded, sid
    for name, role in transformed()["Resources"].items():
        if role["Type"] == "AWS::IAM::Role":
            assert role["Properties"]["PermissionsBoundary"] == {
                "Fn::If": ["HasBoundary", {"Ref": "PermissionsBoundary"}, {"Ref": "AWS::NoValue"}]
            }, f"{name} has no PermissionsBoundary: CI could not make it"
    for role in ("DeployRole", "CheckRole", "StackRole"):
        assert resources()[role]["Properties"]["RoleName"].startswith("deploy-")


def test_the_boundary_is_what_the_roles_of_the_stack_may_do() -> None:
    of_stack = actions(
        [
            statement
            for resource in transformed()["Resources"].values()
            for policy in (
                [resource["Properties"]]
                if resource["Type"] == "AWS::IAM::Policy"
                else resource.get("Properties", {}).get("Policies", [])
            )
            for statement in policy["PolicyDocument"]["Statement"]
        ]
    )
    document = resources()["Boundary"]["Properties"]["PolicyDocument"]
    boundary = actions(document["Statement"])

    assert not of_stack - boundary, f"add to Boundary: {sorted(of_stack - boundary)}"
    assert not boundary - of_stack, f"take out of Boundary: {sorted(boundary - of_stack)}"
    assert "*" not in [statement["Resource"] for statement in document["Statement"]]


def require_trust(role: str, subject: str) -> None:
    """It is for the jobs of the repository that GitHub names so, and for nobody else."""
    (trust,) = resources()[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    github = "token.actions.githubusercontent.com"
    of_ours = {"Fn::Sub": subject}
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Principal"]["Federated"]["Fn::Sub"].endswith(f":oidc-provider/{github}")
    assert trust["Condition"] == {
        "StringEquals": {f"{github}:aud": "sts.amazonaws.com", f"{github}:sub": of_ours}
    }


def test_what_runs_is_read_on_main_if_that_is_wanted_and_nothing_else() -> None:
    require_trust("CheckRole", "repo:${Repository}:ref:refs/heads/main")
    parsed = yaml_parse((ROOT / "deploy-role.yaml").read_text(encoding="utf-8"))
    assert resources()["CheckRole"]["Condition"] == "ChecksRunning"
    assert parsed["Conditions"]["ChecksRunning"] == {"Fn::Equals": [{"Ref": "CheckRunning"}, "yes"]}
    assert parsed["Parameters"]["CheckRunning"]["Default"] == "no"
    workflow = f":function:{STACK}-workflow-{{ cookiecutter.tenancy }}"
    assert {
        statement["Action"]: statement["Resource"]["Fn::Sub"].partition("${AWS::AccountId}")[2]
        for statement in statements("CheckRole").values()
    } == {
        "cloudformation:DescribeStackResources": f":stack/{STACK}/*",
        "lambda:ListDurableExecutionsByFunction": workflow,
        "lambda:GetDurableExecutionHistory": f"{workflow}:*/durable-execution/*",
        #% if cookiecutter.customer_managed_key == "yes"
        "kms:Decrypt": ":key/*",
        #% endif
    }


def test_the_job_is_of_one_repository_and_may_change_one_stack() -> None:
    require_trust("DeployRole", "repo:${Repository}:environment:production")
    every = statements("DeployRole")
    assert actions(list(every.values())) == set(
        names(
            "cloudformation: CreateChangeSet DescribeChangeSet DescribeStackEvents DescribeStacks "
            "ExecuteChangeSet GetTemplateSummary iam: PassRole s3: GetObject PutObject"
        )
    )
    for sid in ("PlanChanges", "MakeChanges"):
        assert every[sid]["Resource"]["Fn::Sub"].endswith(f":stack/{STACK}/*")
    role = {"Fn::GetAtt": ["StackRole", "Arn"]}
    assert every["PlanChanges"]["Condition"] == {
        "ArnEquals": {"cloudformation:RoleArn": role},
        "Null": {"cloudformation:ImportResourceTypes": "true"},
    }
    assert every["ChangeIt"]["Resource"] == role
    assert every["ChangeIt"]["Condition"] == {
        "StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}
    }


def test_the_policies_are_short_enough() -> None:
    """10,240 characters for those in a role, 6,144 for a managed one; IAM counts no white space."""
    for role, most in (("DeployRole", 10_240), ("StackRole", 10_240), ("Boundary", 6_144)):
        assert len(re.sub(r"\s", "", json.dumps(resources()[role]["Properties"]))) < most
