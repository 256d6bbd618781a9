"""The JavaScript workflow that the template's own follows: its structure, to count what it costs.

andmoredev/durable-functions, ``workflows/durable-function-example/index.mjs``: the same durable
operations in the same order, nested as the JavaScript SDK nests them. The steps do nothing.
"""

from __future__ import annotations

from typing import Any

from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.config import Duration, MapConfig, NestingType, ParallelConfig
from aws_durable_execution_sdk_python.waits import (
    WaitForConditionConfig,
    WaitForConditionDecision,
)
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner

POLLS = 3
OTHER_FUNCTION = "hello-world"


def nothing(*_: Any) -> None:
    """The body of a step, of the submitter and of the other function."""


def count(items: int) -> int:
    """Billed operations of one execution that has run to its end on this machine.

    The runner does not list the execution itself, nor the polls of the condition, which are billed
    as retries are; the handler returns how many there were.
    """
    with DurableFunctionTestRunner(handler, poll_interval=0.05) as runner:
        runner.register_function(OTHER_FUNCTION, nothing)
        arn = runner.run_async(str(items))
        runner.send_callback_success(runner.wait_for_callback(arn))
        result = runner.wait_for_result(arn)
    return 1 + len(result.get_all_operations()) + int(result.result or "")


@durable_execution
def handler(items: int, context: DurableContext) -> int:
    """Nine operations, most of them with others inside."""
    context.step(nothing, name="process-input")
    context.wait_for_callback(nothing, name="callback")
    context.wait(Duration(seconds=5))
    context.parallel([step] * 3, config=ParallelConfig(nesting_type=NestingType.NESTED))
    context.map(range(items), step, config=MapConfig(nesting_type=NestingType.NESTED))
    polls = context.wait_for_condition(
        lambda polls, _: polls + 1,
        WaitForConditionConfig(wait_strategy=keep_polling, initial_state=0),
    )
    context.invoke(OTHER_FUNCTION, None)
    context.run_in_child_context(two_steps, name="isolated")
    context.step(nothing, name="aggregate")
    return polls


def step(context: DurableContext, *_: Any) -> None:
    """A branch, or an item."""
    context.step(nothing, name="step")


def two_steps(context: DurableContext) -> None:
    """What the child context has in it."""
    step(context)
    step(context)


def keep_polling(polls: int, _attempts: int) -> WaitForConditionDecision:
    """Until the condition has been polled often enough."""
    if polls < POLLS:
        return WaitForConditionDecision.continue_waiting(Duration(seconds=3))
    return WaitForConditionDecision.stop_polling()
