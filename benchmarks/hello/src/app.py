"""Two steps."""

from aws_durable_execution_sdk_python import durable_execution


@durable_execution
def handler(event, context):
    name = context.step(lambda _: event.get("name", "world"), name="read-name")
    return context.step(lambda _: f"Hello, {name}", name="greet")
