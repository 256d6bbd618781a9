"""Deployed: the built stack on a local AWS, its executions driven through its own functions."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import Bake, Project
from recipes import follow

pytestmark = pytest.mark.slow

# Every tenancy, with and without a key, with the other answers far from their defaults; all of them
# have a front door, if they are told who signs people in.
VARIANTS = {
    "pool": {},
    "isolated": {
        "tenancy": "isolated",
        "customer_managed_key": "yes",
        "parallel_branch_count": "10",
        "callback_timeout_action": "continue",
        "architecture": "x86_64",
    },
    "silo": {
        "tenancy": "silo",
        "parallel_branch_count": "1",
        "map_max_concurrency": "1",
        "callback_timeout_action": "fail",
        "aws_region": "eu-central-1",
        "extra_operations": "wait,wait_for_condition,invoke,child_context",
        "fan_out": "yes",
    },
}
ISSUER = ("JwtIssuer=https://issuer.example.com", "JwtAudience=page")


@dataclass
class Deployed:
    """A project whose stack runs on a local AWS of its own."""

    project: Project
    python: Path
    sam: Path
    env: dict[str, str] = field(default_factory=dict)

    def ops(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A verb of the project's, whatever comes of it."""
        return self.python_with("-m", "ops", *arguments)

    def done(self, *arguments: str) -> str:
        """What a verb prints that succeeds."""
        result = self.ops(*arguments)
        assert result.returncode == 0, f"{arguments}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def script(self, code: str) -> subprocess.CompletedProcess[str]:
        """Python whose clients speak to the local AWS, whatever comes of it."""
        return self.python_with("-c", f"{PRELUDE}\n{code}")

    def python_with(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The project's Python, whatever comes of it."""
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.project.path,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )

    def deploy(self, *parameters: str) -> None:
        """Deploy what has been built, with parameters of the template."""
        chosen = ("--parameters", " ".join(parameters)) if parameters else ()
        result = self.ops("local", "deploy", "--sam", str(self.sam), *chosen)
        assert result.returncode == 0, result.stdout + result.stderr

    def start(self, event: Any, tenant: str = "acme") -> subprocess.CompletedProcess[str]:
        """Start an execution of its own, and wait until it asks or is over."""
        path = self.project.path / "event.json"
        path.write_text(json.dumps({**event, "requestKey": str(time.time())}), encoding="utf-8")
        return self.ops("start", "--wait", "--tenant", tenant, "--event", str(path), "--json")

    def started(self, *items: Any) -> str:
        """Start one that asks for approval; return its ARN."""
        result = self.start({"workflowId": "w", "inputData": {"items": items}})
        assert result.returncode == 0, result.stdout + result.stderr
        execution = json.loads(result.stdout)
        assert execution["waitsFor"] == ["approval"]
        return str(execution["DurableExecutionArn"])

    def token(self) -> str:
        """The token of the approval that was asked for first."""
        return self.script("print(next(inbox.messages())[0]['token'])").stdout.strip()

    def answered(self, verb: str) -> Any:
        """Answer what was asked first; return what the workflow returns."""
        result = self.ops(verb, "--by", "ada")
        assert result.returncode == 0, result.stdout + result.stderr
        return json.loads(result.stdout)

    def running(self) -> int:
        """The executions that the registry counts for acme."""
        listed = json.loads(self.ops("tenant", "list", "--json").stdout)
        (running,) = (each["running"] for each in listed if each["tenantId"] == "acme")
        return int(running)


Deploy = Callable[..., AbstractContextManager[Deployed]]
PRELUDE = (
    "import json, time, boto3\nfrom ops import executions, inbox, stack; stack.use_local_aws()"
)


def two_free_ports() -> int:
    """A port that is free, as the next one is.

    Below those that the system gives away by itself, or somebody's connection could come first.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as first, socket.socket() as second, suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port


@pytest.fixture
def deploy(environments: Callable[[Project], Path], sam: Path, ministack: Path) -> Deploy:
    """Build a project and deploy it, with parameters of the template."""

    @contextmanager
    def local_aws(project: Project, *parameters: str) -> Iterator[Deployed]:
        env = {
            **os.environ,
            "LOCAL": "1",
            "LOCAL_PORT": str(two_free_ports()),
            "SAM_CLI_TELEMETRY": "0",
            "PATH": os.pathsep.join([str(sam.parent), os.environ["PATH"]]),
            **({"ENV": "acme"} if project.answers.get("tenancy") == "silo" else {}),
        }
        project.run(sam, "build", env=env)
        stack = Deployed(project, environments(project) / "python", sam, env)
        up = stack.ops("local", "up", "--ministack", str(ministack))
        try:
            assert up.returncode == 0, up.stdout + up.stderr
            again = stack.ops("local", "up", "--ministack", str(ministack))
            assert "is up already" in again.stderr
            stack.deploy(*parameters)
            yield stack
        finally:
            down = stack.ops("local", "down")
        assert down.returncode == 0, down.stderr

    return local_aws


def test_what_an_owner_has_changed_arrives_when_deployed(bake: Bake, deploy: Deploy) -> None:
    """A field of the input's own, and a second approval by other people."""
    project = bake()
    for change in ("3. A field of the input", "5. A second approval"):
        follow(project.path, change)
    with deploy(project) as deployed:
        event = {"workflowId": "w", "inputData": {"items": ["a"]}}
        refused = deployed.start({**event, "requestedBy": 7})
        assert refused.returncode == 1
        assert refused.stderr == (
            "requestedBy is of type number, expected a string of 1 to 1000 characters\n"
        )

        started = deployed.start({**event, "requestedBy": "grace"})
        assert json.loads(started.stdout)["waitsFor"] == ["approval"], started.stderr
        assert (
            '"requestedBy": "grace"'
            in deployed.script("print(json.dumps(next(inbox.messages())[0]))").stdout
        )
        assert "it waits for: budget-approval" in deployed.ops("approve").stdout
        output = deployed.answered("approve")
        assert output["requestedBy"] == "grace"
        assert [each["decision"] for each in output["approvals"]] == ["APPROVED", "APPROVED"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_stack_runs_as_deployed(variant: str, bake: Bake, deploy: Deploy) -> None:
    soon = ["CoolDownSeconds=1"] if variant == "silo" else []
    with deploy(bake(**VARIANTS[variant]), *ISSUER, *soon) as deployed:
        run_through(deployed)


def run_through(deployed: Deployed) -> None:
    """From its first execution to its deletion."""
    first = deployed.started("a", {}, {"sku": "x"})
    assert deployed.running() == 1
    # An unknown token, and one of another tenant's, answer nothing.
    stolen = deployed.token()
    for tenant, token in (("acme", "unknown"), ("demo", stolen)):
        refused = deployed.ops("approve", f"--tenant={tenant}", f"--token={token}")
        assert refused.returncode == 1
        expected = "different tenants" if "ENV" in deployed.env and tenant == "demo" else "no such"
        assert expected in refused.stderr

    output = deployed.answered("approve")

    assert output["status"] == "COMPLETED_WITH_FAILURES"
    assert output["callbackResult"]["decidedBy"] == "ada"
    checks = deployed.project.answers.get("parallel_branch_count", "3")
    assert len(output["parallelResults"]) == int(checks)
    assert (output["mapResults"]["succeeded"], output["mapResults"]["failed"]) == (2, 1)
    counted_down(deployed)
    front_door(deployed)
    look(deployed, first, output)
    steer(deployed, first)

    deployed.started("b")
    rejected = deployed.answered("reject")
    assert rejected["status"] == "REJECTED"
    assert rejected["mapResults"]["succeeded"] == 0

    suspended = deployed.start({"workflowId": "w", "inputData": {"items": []}}, tenant="globex")
    assert suspended.returncode == 1
    assert ("different tenants" if "ENV" in deployed.env else "suspended") in suspended.stderr

    time_out(deployed, update_while_one_waits(deployed))
    if deployed.project.answers.get("fan_out") == "yes":
        fan_out(deployed)
    delete(deployed)


def counted_down(deployed: Deployed) -> None:
    """The status event reaches the reconciler, some time after the end."""
    deadline = time.monotonic() + 60
    while deployed.running() != 0:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def look(deployed: Deployed, execution_arn: str, output: Any) -> None:
    """What an operator sees of an execution that is over, and replays of it."""
    svg, html, history = (str(deployed.project.path / name) for name in ("a.svg", "a.html", "a.l"))
    assert execution_arn in deployed.done("list", "--state", "succeeded", "--tenant", "acme")
    listed = json.loads(deployed.done("list", "--json"))
    assert execution_arn in [execution["DurableExecutionArn"] for execution in listed]
    deployed.done("show", execution_arn, "--svg", svg, "--html", html)
    assert "process-items" in "".join(ElementTree.parse(svg).getroot().itertext())
    assert "process-items" in Path(html).read_text(encoding="utf-8")
    deployed.done("export", execution_arn, history, "--payloads")
    for source in ([execution_arn], [execution_arn, "--history", history]):
        assert json.loads(deployed.done("replay", *source)) == output
        forked = deployed.ops("fork", *source, "--from", "process-items")
        assert forked.stderr.startswith(
            "again: process-items\nstops here without --live: step work-item-1\n"
        )
        assert forked.returncode == 1


def steer(deployed: Deployed, execution_arn: str) -> None:
    """What has failed is started again, could go on with this code, and is stopped."""
    redriven = json.loads(deployed.done("redrive", execution_arn, "--wait", "--json"))
    assert redriven["waitsFor"] == ["approval"]
    goes_on = f"{redriven['DurableExecutionName']}: goes on, callback approval create callback id\n"
    assert goes_on in deployed.done("check-running")
    deployed.done("stop", redriven["DurableExecutionArn"], "--yes")
    assert redriven["DurableExecutionArn"] in deployed.done("list", "--state", "stopped")
    counted_down(deployed)


OVER_HTTP = """
def api(method, path, body=None, tenant="acme", subject="ada"):
    claims = {"sub": subject, "tenant_id": tenant, "roles": "[starter approver]"}
    http, jwt = {"method": method, "path": path}, {"claims": claims, "scopes": None}
    context = {"http": http, "stage": "$default", "authorizer": {"jwt": jwt}}
    event = {"version": "2.0", "rawPath": path, "headers": {}, "requestContext": context}
    event["body"] = json.dumps(body) if body else None
    reply = stack.call(stack.parameters()["stack_name"] + "-api", event)
    return reply["statusCode"], json.loads(reply["body"])

def until(name, path):
    while not (found := api("GET", path)[1])[name]:
        time.sleep(0.3)
    return found

status, started = api("POST", "/workflows", {"workflowId": "w", "inputData": {"items": [1, 2]}})
(pending,) = until("approvals", "/approvals")["approvals"]
approval, answer = "/approvals/" + pending["id"], {"decision": "APPROVED"}
people = [("ada", "demo"), ("ada", "acme"), ("grace", "acme"), ("grace", "acme")]
answers = [api("POST", approval, answer, tenant, subject)[0] for subject, tenant in people]
run = until("endedAt", "/workflows/" + started["id"])
decided = api("GET", approval)[1]["decidedBy"]
result = run["result"]["status"], run["result"]["mapResults"]["succeeded"]
_, drawn = api("GET", "/workflows/" + started["id"] + "/timeline")
words = drawn["summary"].split()[0], "process-items" in drawn["svg"]
print(json.dumps([status, pending["evidence"]["items"], *answers, decided, *result, *words]))
"""


def front_door(deployed: Deployed) -> None:
    """The whole way, by the events that API Gateway would send."""
    done = deployed.script(OVER_HTTP)
    assert done.returncode == 0, done.stderr
    # Of another tenant, of who has started it, of somebody else, and a second time.
    answers = [403 if "ENV" in deployed.env else 404, 403, 200, 409]
    drawn = ["SUCCEEDED", True]
    assert json.loads(done.stdout) == [202, 2, *answers, "grace", "COMPLETED", 2, *drawn]


def update_while_one_waits(deployed: Deployed) -> str:
    """It goes on with the version and the settings that it was started on."""
    before = deployed.started("a", "b")
    deployed.deploy("CallbackTimeoutMinutes=1")
    assert deployed.answered("approve")["status"] == "COMPLETED"
    after = deployed.started("timed out")

    def version(arn: str) -> int:
        return int(arn.split("/")[0].rpartition(":")[2])

    assert version(after) == version(before) + 1
    return after


def time_out(deployed: Deployed, execution_arn: str) -> None:
    """Nobody answers, for the one minute that the stack now waits."""
    action = deployed.project.answers.get("callback_timeout_action", "reject")
    watched = deployed.ops("watch", execution_arn)
    assert watched.returncode == (1 if action == "fail" else 0), watched.stdout + watched.stderr
    assert " waiting: approval create callback id." in watched.stdout
    shown = deployed.ops("show", execution_arn)
    if action == "fail":
        assert "FAILED" in shown.stdout
        assert "ApprovalTimedOutError" in shown.stderr
    else:
        expected = {"reject": "TIMED_OUT", "continue": "COMPLETED"}[action]
        assert f'"status": "{expected}"' in shown.stdout


def fan_out(deployed: Deployed) -> None:
    """A large input in the bucket; what comes of it is there, too, and the usage in the table.

    Its last item is empty: that one fails, and is started again alone.
    """
    deployed.deploy("ChunkSize=3")
    put = deployed.script(
        "lines = b''.join(b'%d\\n' % n for n in range(10)) + b'\"\"'\n"
        "bucket = stack.output('ObjectBucketName')\n"
        "boto3.client('s3').put_object(Bucket=bucket, Key='tenants/acme/in.jsonl', Body=lines)"
    )
    assert put.returncode == 0, put.stderr
    started = deployed.start({"workflowId": "b", "inputData": {"inputRef": "in.jsonl"}})
    assert started.returncode == 0, started.stdout + started.stderr
    output = deployed.answered("approve")

    results = output["mapResults"]
    assert (results["succeeded"], results["failed"]) == (10, 1)
    assert output["announced"] is True
    chunked = json.loads(started.stdout)["DurableExecutionArn"]
    assert json.loads(deployed.done("replay", chunked)) == output
    stored = deployed.script(
        f"prefix = 'tenants/acme/{results['resultsRef']}'\n"
        "s3, bucket = boto3.client('s3'), stack.output('ObjectBucketName')\n"
        "found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)['Contents']\n"
        "bodies = [s3.get_object(Bucket=bucket, Key=entry['Key'])['Body'] for entry in found]\n"
        "rows = boto3.client('dynamodb').scan(TableName=stack.output('TenantTableName'))['Items']\n"
        "usage = [row for row in rows if '#chunk-0000' in row['sk']['S']]\n"
        "owners = {row['pk']['S'] for row in usage}\n"
        "counted = [int(row['itemsProcessed']['N']) for row in usage]\n"
        "lines = sum(len(body.read().splitlines()) for body in bodies)\n"
        "print(json.dumps([len(found), lines, list(owners), sorted(counted)]))"
    )
    assert json.loads(stored.stdout) == [4, 11, ["TENANT#acme"], [2, 3, 3, 3]], stored.stderr
    redriven = deployed.ops("redrive", chunked, "--wait")
    assert "1 of its items, after an approval" in redriven.stderr, redriven.stderr
    again = deployed.ops("approve", "--by", "ada")
    assert "1 of 1 items failed, 50 % tolerated" in again.stderr, again.stdout + again.stderr
    assert f"{results['failedItems'][0]['id']}: nothing to process" in again.stderr
    counted_down(deployed)


def delete(deployed: Deployed) -> None:
    """What runs is stopped; nothing stays but what the template retains."""
    deployed.started("x")
    deleted = deployed.ops("delete", "--yes", "--sam", str(deployed.sam))
    assert deleted.returncode == 0, deleted.stdout + deleted.stderr
    assert ": 0 executions run" not in deleted.stdout
    result = deployed.script(
        "cloud = boto3.client('cloudformation')\n"
        "name = stack.parameters()['stack_name']\n"
        "stacks = [entry['StackName'] for entry in cloud.describe_stacks()['Stacks']]\n"
        "functions = boto3.client('lambda').list_functions()['Functions']\n"
        "topics = boto3.client('sns').list_topics()['Topics']\n"
        "tables = boto3.client('dynamodb').list_tables()['TableNames']\n"
        "apis = boto3.client('apigatewayv2').get_apis()['Items']\n"
        "print(json.dumps([name in stacks, functions, topics, apis, len(tables)]))"
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == [False, [], [], [], 1]
