"""The inbox of the approvers on the local AWS: a queue that their topic sends to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial

from chassis.wire import JsonObject
from ops import stack


def url() -> str:
    """The queue; made if it is not there."""
    name = f"{stack.parameters()['stack_name']}-approvals"
    return str(stack.client("sqs").create_queue(QueueName=name)["QueueUrl"])


def subscribe() -> None:
    """Have the approvers' topic send to the inbox."""
    attributes = stack.client("sqs").get_queue_attributes(
        QueueUrl=url(), AttributeNames=["QueueArn"]
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


def messages() -> Iterator[tuple[JsonObject, Callable[[], None]]]:
    """What was asked, the first first, each with what removes it from the inbox.

    One that is not removed comes again.
    """
    queue, inbox = stack.client("sqs"), url()
    while found := queue.receive_message(QueueUrl=inbox, VisibilityTimeout=0).get("Messages"):
        body: JsonObject = json.loads(found[0]["Body"])
        handle = found[0]["ReceiptHandle"]
        remove = partial(queue.delete_message, QueueUrl=inbox, ReceiptHandle=handle)
        if "token" in body:
            yield body, remove
        else:
            remove()
