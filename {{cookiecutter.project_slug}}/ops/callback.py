"""Answer the approval that an execution waits for, or tell it that the approver is still there.

Works against AWS, and with AWS_ENDPOINT_URL_LAMBDA set against a local emulator of it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ops import stack
from workflow.callback_helper import CALLBACK_NAME, InvalidAnswerError, parse_answer

DECISIONS = {"approve": "APPROVED", "reject": "REJECTED"}

# Source: Lambda API reference, SendDurableExecutionCallbackSuccess, read 2026-11-22.
_EXPIRED = "the approval has expired or has already been answered"
_NOT_FOUND = "there is no such execution or callback here, or it is over"
MEANINGS = {
    "CallbackTimeoutException": _EXPIRED,
    "ResourceNotFoundException": _NOT_FOUND,
    "404": _NOT_FOUND,  # the local emulator names no exception
    "AccessDeniedException": "these credentials may not do that",
    "TooManyRequestsException": "throttled: try again in a moment",
}

OUTCOMES = {
    "CallbackSucceeded": "has been answered",
    "CallbackFailed": "has been rejected",
    "CallbackTimedOut": "has timed out",
}


class NoPendingApprovalError(Exception):
    """The execution does not wait for an answer; the message says why."""


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and send; 0 if it was accepted, 1 if refused, 2 if misused."""
    parser = argparse.ArgumentParser(prog="ops.callback", description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=[*DECISIONS, "heartbeat"])
    parser.add_argument("--tenant", default="", help="the tenant, with --token")
    parser.add_argument("--token", default="", help="from the message that asks for the approval")
    parser.add_argument("--execution", default="", help="the DurableExecutionArn, for operators")
    parser.add_argument("--by", help="who decides; you, if it is left out")
    parser.add_argument("--comment", help="why")
    parser.add_argument("--answer", help="the whole answer as JSON, instead of --by and --comment")
    options = parser.parse_args(arguments)
    is_arn = options.execution.startswith("arn:") or os.environ.get("AWS_ENDPOINT_URL_LAMBDA")
    if not options.token and not is_arn:
        parser.error(
            "give --tenant and --token, or as --execution the DurableExecutionArn "
            "(make: TENANT= and TOKEN=, or EXECUTION=arn:...)"
        )
    try:
        answer = build_answer(options) if options.action in DECISIONS else ""
    except InvalidAnswerError as error:
        parser.error(f"nothing was sent: {error}")
    if options.token:
        return stack.report(lambda: answer_by_token(options, answer))
    callback_id = ""
    try:
        client = boto3.client("lambda", region_name=region_of(options.execution))
        callback_id = pending_callback(client, options.execution)
        send(client, options.action, callback_id, answer)
    except NoPendingApprovalError as error:
        print(error, file=sys.stderr)
        return 1
    except ClientError as error:
        meaning = MEANINGS.get(error.response["Error"]["Code"], "the service refused")
        print(f"{meaning} ({without(callback_id, str(error))})", file=sys.stderr)
        return 1
    except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no address
        print(f"cannot reach AWS: {without(callback_id, str(error))}", file=sys.stderr)
        return 1
    print(f"{options.action}: accepted", file=sys.stderr)
    return 0


def answer_by_token(options: argparse.Namespace, answer: str) -> int:
    """Answer through the stack's approver, as the services of the tenant do."""
    event = {"tenantId": options.tenant, "token": options.token}
    if answer:
        event["answer"] = json.loads(answer)
    reply = stack.call(stack.output("ApproverFunctionName"), event)
    print(f"{options.action}: {reply.get('reason', 'accepted')}", file=sys.stderr)
    return 0 if reply["accepted"] else 1


def without(callback_id: str, text: str) -> str:
    """The text without the callback id, which errors quote as it is and as part of an address."""
    for secret in filter(None, (callback_id, quote(callback_id, safe=""))):
        text = text.replace(secret, "...")
    return text


def build_answer(options: argparse.Namespace) -> str:
    """The answer as JSON, checked by the same rules that the workflow reads it with.

    Raises:
        InvalidAnswerError: the workflow would refuse it, or it contradicts the command.
    """
    fields = {"decision": DECISIONS[options.action]}
    given = {"decidedBy": options.by or os.environ.get("USER"), "comment": options.comment}
    answer: str = options.answer or json.dumps(fields | {k: v for k, v in given.items() if v})
    if parse_answer(answer).decision != fields["decision"]:
        raise InvalidAnswerError(f"the answer's decision is not {fields['decision']}")
    return json.dumps(json.loads(answer))  # in ASCII, whatever the terminal has put in


def region_of(execution_arn: str) -> str | None:
    """The Region in the ARN, or None for boto3's own choice if it is no ARN of AWS."""
    parts = execution_arn.split(":")
    return parts[3] or None if parts[0] == "arn" and len(parts) > 3 else None


def pending_callback(client: Any, execution_arn: str) -> str:
    """The id of the approval that the execution waits for; treat it as a secret.

    Raises:
        NoPendingApprovalError: the execution does not wait for one.
    """
    started: dict[str, str] = {}
    ended: dict[str, str] = {}
    for event in history(client, execution_arn):
        if event.get("Name") == f"{CALLBACK_NAME} create callback id":
            if event["EventType"] == "CallbackStarted":
                started[event["Id"]] = event["CallbackStartedDetails"].get("CallbackId", "")
            else:
                ended[event["Id"]] = OUTCOMES.get(event["EventType"], event["EventType"])
    for operation_id, callback_id in started.items():
        if operation_id not in ended:
            return callback_id
    if ended:
        raise NoPendingApprovalError(
            f"nothing was sent: this approval {' and '.join(ended.values())}"
        )
    raise NoPendingApprovalError("this execution has not asked for an approval yet, or never will")


def history(client: Any, execution_arn: str) -> Iterator[dict[str, Any]]:
    """Every event of the execution, page by page."""
    page = {"DurableExecutionArn": execution_arn, "IncludeExecutionData": True}
    while True:
        response = client.get_durable_execution_history(**page)
        yield from response["Events"]
        if not response.get("NextMarker"):
            return
        page["Marker"] = response["NextMarker"]


def send(client: Any, action: str, callback_id: str, answer: str) -> None:
    """Call the API for the action."""
    if action == "heartbeat":
        client.send_durable_execution_callback_heartbeat(CallbackId=callback_id)
    elif action == "approve":
        client.send_durable_execution_callback_success(
            CallbackId=callback_id, Result=answer.encode()
        )
    else:
        error = {
            "ErrorType": "Rejected",
            "ErrorMessage": json.loads(answer).get("comment") or "rejected",
            "ErrorData": answer,
        }
        client.send_durable_execution_callback_failure(CallbackId=callback_id, Error=error)


if __name__ == "__main__":
    sys.exit(main())
