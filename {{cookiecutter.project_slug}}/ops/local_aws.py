"""The deployed stack on this machine: a local AWS, without an account and without Docker.

The template is built and deployed as for AWS; ``ops/emulator.py`` is the AWS. What it cannot show
is in README.md, "The whole stack on this machine".
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ops import callback, emulator, local, stack, start, tenant

ROOT = Path(__file__).parent.parent
STATE = ROOT / ".local-aws"
BUILT = ROOT / ".aws-sam" / "build"
START_SECONDS = 30


class LocalAwsError(Exception):
    """It cannot be done; the message says why."""


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do it; 0 if it is done, 1 if not, 2 if misused."""
    parser = argparse.ArgumentParser(prog="ops.local_aws", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("up", help="start the local AWS")
    verb.add_argument("--ministack", default="ministack", help="path of the program")
    verb.add_argument("--port", type=int, default=4566, help="it takes this one and the next")
    verb = verbs.add_parser("deploy", help="deploy what has been built")
    verb.add_argument("--sam", default="sam", help="path of the SAM CLI")
    verb.add_argument("--parameters", default="", help="Name=value ... of the template")
    verb = verbs.add_parser("start", help="start an execution, wait until it asks for approval")
    verb.add_argument("--tenant", default="acme", help="tenant id")
    verb.add_argument("--event", default="events/order.json", help="input, a JSON file")
    for name in callback.DECISIONS:
        verb = verbs.add_parser(name, help=f"{name} what was started last, wait for the result")
        verb.add_argument("--by", help="who decides")
        verb.add_argument("--comment", help="why")
    verbs.add_parser("down", help="stop the local AWS; it keeps nothing")
    options = parser.parse_args(arguments)
    try:
        if options.verb == "up":
            return up(options.ministack, options.port)
        if options.verb == "down":
            return down()
        use_local_aws()
        if options.verb == "deploy":
            return stack.report(lambda: deploy(options.sam, options.parameters.split()))
        if options.verb == "start":
            return stack.report(lambda: start_execution(options.tenant, options.event))
        return stack.report(lambda: answer(options.verb, options.by, options.comment))
    except LocalAwsError as error:
        print(error, file=sys.stderr)
        return 1


def up(ministack: str, port: int) -> int:
    """Start the emulator in the background, and wait until it answers.

    Raises:
        LocalAwsError: it runs already, a port is taken, or it did not start.
    """
    if (STATE / "process.json").exists():
        raise LocalAwsError("the local AWS is up already: make local-down stops it")
    for taken in (port, port + 1):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", taken)) == 0:
                raise LocalAwsError(
                    f"port {taken} is taken: stop what listens there, or choose two others, "
                    f"{port + 1000} and the next: make local-up PORT={port + 1000}"
                )
    STATE.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "ops.emulator", "--ministack", ministack]
    command += ["--port", str(port), "--region", region()]
    with (STATE / "log.txt").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(  # noqa: S603
            command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + START_SECONDS
    while not all(listens(number) for number in (port, port + 1)):
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            raise LocalAwsError(
                f"the local AWS did not start: {last_line(STATE / 'log.txt')} "
                f"(all of it: {STATE / 'log.txt'})"
            )
        time.sleep(0.1)
    write_state("process", {"pid": process.pid, "port": port})
    print(f"The local AWS is up at http://127.0.0.1:{port}, Lambda at the next port.")
    return 0


def deploy(sam: str, parameters: list[str]) -> int:
    """Deploy the built template, add the tenants of ``ops/tenants.json``, listen for approvals."""
    built = BUILT / "template.yaml"
    if not built.exists():
        raise LocalAwsError("nothing has been built: make build, or sam build")
    # Tenant isolation is Lambda's own: here the function runs as one that all tenants share.
    template = built.with_name("local.yaml")
    text = built.read_text(encoding="utf-8")
    template.write_text(text.replace("TENANCY: isolated", "TENANCY: pool"), encoding="utf-8")
    command = [sam, "deploy", "--template-file", str(template), "--no-progressbar"]
    command += ["--config-file", str(stack.SAMCONFIG)]
    if section := os.environ.get("ENV"):
        command += ["--config-env", section]
        parameters = [f"TenantId={section}", *parameters] if parameters else []
    if parameters:
        command += ["--parameter-overrides", *parameters]
    try:
        deployed = subprocess.run(  # noqa: S603
            command, cwd=ROOT, check=False, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise LocalAwsError(f"there is no SAM CLI {sam!r}: make local-deploy fetches it") from None
    if deployed.returncode:
        raise LocalAwsError(f"sam deploy failed:\n{deployed.stdout}{deployed.stderr}")
    add_tenants()
    print(f"The stack {stack.parameters()['stack_name']} is deployed; its inbox is {inbox()}.")
    return 0


def add_tenants() -> None:
    """Give the registry the tenants that the local run has, too."""
    client, table = stack.client("dynamodb"), stack.output("TenantTableName")
    for name, entry in json.loads(local.TENANTS.read_text(encoding="utf-8")).items():
        try:
            tenant.add(client, table, name, entry["tier"], entry.get("overrides"))
        except tenant.NotDoneError:
            continue  # by an earlier deployment
        tenant.set_status(client, table, name, entry["status"])


def inbox() -> str:
    """The queue that gets what the approvers are told; made and subscribed if it is not there."""
    queue = stack.client("sqs")
    name = f"{stack.parameters()['stack_name']}-approvals"
    url = str(queue.create_queue(QueueName=name)["QueueUrl"])
    attributes = queue.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    topic = stack.client("cloudformation").describe_stack_resource(
        StackName=stack.parameters()["stack_name"], LogicalResourceId="ApprovalTopic"
    )["StackResourceDetail"]["PhysicalResourceId"]
    stack.client("sns").subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=attributes["Attributes"]["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
    )
    return url


def start_execution(tenant_id: str, event: str) -> int:
    """Start an execution; print how to answer when it asks, or how it has ended."""
    answer = start.start(tenant_id, start.read_event(event))
    print(json.dumps(answer, indent=2))
    if not answer["started"]:
        return 1
    arn, queue, url = answer["executionArn"], stack.client("sqs"), inbox()
    while status_of(arn)["Status"] == "RUNNING":
        found = queue.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", [])
        for message in found:
            queue.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            asked = json.loads(message["Body"])
            if asked["executionArn"] == arn:
                write_state("approval", asked)
                print("It waits for its approval: make local-approve, or make local-reject")
                return 0
    return report(arn)


def answer(verb: str, by: str | None, comment: str | None) -> int:
    """Answer what was started last, wait until it is over, and print what came of it."""
    path = STATE / "approval.json"
    if not path.exists():
        raise LocalAwsError("nothing waits for an approval: make local-start starts something")
    asked = json.loads(path.read_text(encoding="utf-8"))
    arguments = [verb, "--tenant", asked["tenantId"], "--token", asked["token"]]
    arguments += ["--by", by] if by else []
    arguments += ["--comment", comment] if comment else []
    if code := callback.main(arguments):
        return code
    path.unlink()
    while status_of(asked["executionArn"])["Status"] == "RUNNING":
        time.sleep(0.2)
    return report(asked["executionArn"])


def down() -> int:
    """Stop it; whatever it held is gone.

    Raises:
        LocalAwsError: it does not run.
    """
    process = read_process()
    deadline = time.monotonic() + START_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.kill(process["pid"], signal.SIGTERM)
        while time.monotonic() < deadline:
            os.kill(process["pid"], 0)  # asks whether there is such a process
            time.sleep(0.1)
        raise LocalAwsError(f"process {process['pid']} does not stop")
    for name in ("process.json", "approval.json"):
        (STATE / name).unlink(missing_ok=True)
    print("The local AWS is down.")
    return 0


def use_local_aws() -> None:
    """Let every client of this process speak to it, and to nothing else.

    Raises:
        LocalAwsError: it does not run.
    """
    port = read_process()["port"]
    if not listens(port):
        raise LocalAwsError("the local AWS has stopped: make local-down local-up")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]  # a profile, a session or an endpoint of yours
    os.environ.update(emulator.environment(port, region()))
    os.environ.update(SAM_CLI_POLL_DELAY="1", SAM_CLI_TELEMETRY="0")


def region() -> str:
    """The Region that samconfig.toml names."""
    return str(stack.parameters()["region"])


def read_process() -> dict[str, Any]:
    """What is known of the running local AWS.

    Raises:
        LocalAwsError: it does not run.
    """
    path = STATE / "process.json"
    if not path.exists():
        raise LocalAwsError("the local AWS is not up: make local-up")
    process: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return process


def write_state(name: str, content: Any) -> None:
    """Remember something until the next command."""
    (STATE / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def status_of(execution_arn: str) -> dict[str, Any]:
    """The execution as the API describes it."""
    execution: dict[str, Any] = stack.client("lambda").get_durable_execution(
        DurableExecutionArn=execution_arn, IncludeExecutionData=True
    )
    return execution


def report(execution_arn: str) -> int:
    """Print what came of an execution; 0 if it succeeded."""
    execution = status_of(execution_arn)
    if execution["Status"] == "SUCCEEDED":
        print(json.dumps(json.loads(execution["Result"]), indent=2))
        return 0
    error = execution.get("Error", {})
    message = f"{execution['Status']} {error.get('ErrorType', '')}: {error.get('ErrorMessage', '')}"
    print(message, file=sys.stderr)
    return 1


def listens(port: int) -> bool:
    """Whether somebody answers at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def last_line(path: Path) -> str:
    """The last line of a log."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[-1] if lines else "it said nothing"


if __name__ == "__main__":
    sys.exit(main())
