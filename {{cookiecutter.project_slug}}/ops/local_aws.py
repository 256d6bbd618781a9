"""The deployed stack on this machine: a local AWS, without an account and without Docker.

The template is built and deployed as for AWS; ``ops/emulator.py`` is the AWS. What it cannot show
is in README.md, "The whole stack on this machine".
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import urllib3

from ops import callback, emulator, local, stack, start, tenant

ROOT = Path(__file__).parent.parent
STATE = ROOT / ".local-aws"
BUILT = ROOT / ".aws-sam" / "build"
START_SECONDS = 30
IDENTITY_SECONDS = 2
"""How long whoever is at the port may take to say whose it is."""

NOT_UP = "the local AWS is not up: make local-up"


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
        verb.add_argument("--by", default="", help="who decides")
        verb.add_argument("--comment", default="", help="why")
    verbs.add_parser("down", help="stop the local AWS; it keeps nothing")
    options = parser.parse_args(arguments)
    if options.verb == "up" and not 1024 <= options.port <= 65_534:
        parser.error(f"--port is {options.port}, expected 1024 to 65534")
    try:
        return stack.report(lambda: run(options))
    except LocalAwsError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped waiting", file=sys.stderr)
        return 130


def run(options: argparse.Namespace) -> int:
    """Do what the command line says."""
    if options.verb == "up":
        return up(options.ministack, options.port)
    if options.verb == "down":
        return down()
    use_local_aws()
    if options.verb == "deploy":
        return deploy(options.sam, options.parameters.split())
    if options.verb == "start":
        return start_execution(options.tenant, options.event)
    return answer(options.verb, options.by, options.comment)


def up(ministack: str, port: int) -> int:
    """Start the emulator in the background, and wait until it answers.

    Raises:
        LocalAwsError: it runs already, a port is taken, or it did not start.
    """
    if is_ours(read("process")):
        raise LocalAwsError("the local AWS is up already: make local-down stops it")
    chosen_region = region()
    for taken in (port, port + 1):
        if listens(taken):
            other = port + 1000 if port < 60_000 else port - 1000
            raise LocalAwsError(
                f"port {taken} is taken: stop what listens there, or choose two others, "
                f"{other} and the next: make local-up LOCAL_PORT={other}"
            )
    identity = uuid.uuid4().hex
    command = [sys.executable, "-m", "ops.emulator", "--ministack", ministack]
    command += ["--port", str(port), "--region", chosen_region, "--identity", identity]
    forget()
    STATE.mkdir(exist_ok=True)
    with (STATE / "log.txt").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=ROOT,
            env=emulator.environment(port, chosen_region),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    ours = {"pid": process.pid, "port": port, "identity": identity}
    write("process", ours)
    deadline = time.monotonic() + START_SECONDS
    try:
        while not (is_ours(ours) and listens(port)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise LocalAwsError(
                    f"the local AWS did not start: {last_line(STATE / 'log.txt')} "
                    f"(all of it: {STATE / 'log.txt'})"
                )
            time.sleep(0.1)
    except (LocalAwsError, KeyboardInterrupt):
        process.terminate()
        forget()
        raise
    print(f"The local AWS is up at http://{emulator.HOST}:{port}, Lambda at the next port.")
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
    url = inbox()
    listen(url)
    print(f"The stack {stack.parameters()['stack_name']} is deployed; its inbox is {url}.")
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
    """The queue that gets what the approvers are told; made if it is not there."""
    name = f"{stack.parameters()['stack_name']}-approvals"
    return str(stack.client("sqs").create_queue(QueueName=name)["QueueUrl"])


def listen(inbox_url: str) -> None:
    """Have the approvers' topic send to the inbox."""
    attributes = stack.client("sqs").get_queue_attributes(
        QueueUrl=inbox_url, AttributeNames=["QueueArn"]
    )
    topic = stack.client("cloudformation").describe_stack_resource(
        StackName=stack.parameters()["stack_name"], LogicalResourceId="ApprovalTopic"
    )["StackResourceDetail"]["PhysicalResourceId"]
    stack.client("sns").subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=attributes["Attributes"]["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
    )


def start_execution(tenant_id: str, event: str) -> int:
    """Start an execution; print how to answer when it asks, or how it has ended."""
    answer = start.start(tenant_id, start.read_event(event))
    print(json.dumps(answer, indent=2))
    if not answer["started"]:
        return 1
    arn, queue, url = answer["executionArn"], stack.client("sqs"), inbox()
    while status_of(arn)["Status"] == "RUNNING":
        for message in queue.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", []):
            asked = json.loads(message["Body"])
            write("approvals", read("approvals") | {asked["executionArn"]: asked})
            queue.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        if arn in read("approvals"):
            write("last", {"executionArn": arn})
            print("It waits for its approval: make local-approve, or make local-reject")
            return 0
    return report(arn)


def answer(verb: str, by: str, comment: str) -> int:
    """Answer what was started last, wait until it is over, and print what came of it."""
    arn, approvals = read("last").get("executionArn"), read("approvals")
    if arn not in approvals:
        raise LocalAwsError("nothing waits for an approval: make local-start starts something")
    asked = approvals[arn]
    arguments = [verb, f"--tenant={asked['tenantId']}", f"--token={asked['token']}"]
    if code := callback.main([*arguments, f"--by={by}", f"--comment={comment}"]):
        return code
    write("approvals", {other: asked for other, asked in approvals.items() if other != arn})
    while status_of(arn)["Status"] == "RUNNING":
        time.sleep(0.2)
    return report(arn)


def down() -> int:
    """Stop it; whatever it held is gone.

    Raises:
        LocalAwsError: it does not run, or does not stop.
    """
    process = read("process")
    if not process:
        raise LocalAwsError(NOT_UP)
    if not is_ours(process):
        forget()
        print("The local AWS had stopped by itself.")
        return 0
    os.kill(process["pid"], signal.SIGTERM)
    deadline = time.monotonic() + START_SECONDS
    while listens(process["port"]) or listens(process["port"] + 1):
        if time.monotonic() > deadline:
            raise LocalAwsError(f"process {process['pid']} does not stop")
        time.sleep(0.1)
    forget()
    print("The local AWS is down.")
    return 0


def use_local_aws() -> None:
    """Let every client of this process speak to it, and to nothing else.

    Raises:
        LocalAwsError: it does not run.
    """
    process = read("process")
    if not process:
        raise LocalAwsError(NOT_UP)
    if not is_ours(process):
        raise LocalAwsError("the local AWS has stopped: make local-down local-up")
    clean = emulator.environment(process["port"], region())
    os.environ.clear()
    os.environ.update(clean, SAM_CLI_POLL_DELAY="1", SAM_CLI_TELEMETRY="0")


def region() -> str:
    """The Region that samconfig.toml names."""
    return str(stack.parameters()["region"])


def is_ours(process: dict[str, Any]) -> bool:
    """Whether this project's local AWS answers, and not somebody else at its port."""
    if not process:
        return False
    url = f"http://{emulator.HOST}:{process['port'] + 1}{emulator.IDENTITY}"
    try:
        said = urllib3.request("GET", url, timeout=IDENTITY_SECONDS, retries=False).data
    except urllib3.exceptions.HTTPError:
        return False
    return bool(said == process["identity"].encode())


def read(name: str) -> dict[str, Any]:
    """What an earlier command has left; nothing if there is nothing."""
    try:
        content: dict[str, Any] = json.loads((STATE / f"{name}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content


def write(name: str, content: dict[str, Any]) -> None:
    """Leave something for the next command, whole or not at all."""
    path = STATE / f"{name}.json"
    path.with_suffix(".new").write_text(json.dumps(content), encoding="utf-8")
    path.with_suffix(".new").replace(path)


def forget() -> None:
    """Leave nothing; the log stays."""
    for path in STATE.glob("*.json"):
        path.unlink()


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
        return probe.connect_ex((emulator.HOST, port)) == 0


def last_line(path: Path) -> str:
    """The last line of a log."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[-1] if lines else "it said nothing"


if __name__ == "__main__":
    sys.exit(main())
