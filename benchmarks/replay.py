"""The CPU time of a handler that resumes with a long history, and where it jumps; as JSON.

``bench.py`` runs this in a rendered project, with its Python. The history is that of a real run on
the SDK's local runner, but for the last step, which is left to do. The handler gets it as Lambda
would send it, and a client that answers at once.
"""

from __future__ import annotations

import bisect
import gc
import json
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from aws_durable_execution_sdk_python.lambda_service import (
    CheckpointOutput,
    CheckpointUpdatedExecutionState,
    DurableServiceClient,
    LambdaClient,
    Operation,
    OperationUpdate,
)
from chassis import quotas
from ops import cost
from ops.client import WatchedClient, invoke
from workflow.definition import DEFINITION
from workflow.workflow import run

ITEMS = (10, 100, 500, 1000, 2500)
MOST_ITEMS = 2900  # more do not fit into the checkpoint of the first step
MAP, LAST_STEP = "process-items", "aggregate-results"
ROUNDS = 9
EVENT = {"workflowId": "bench", "inputData": {"items": [{"sku": 10}]}}


def main() -> None:
    """Measure, and print each number under its name."""
    quotas.MAX_OPERATIONS = 1_000_000  # the project keeps room for retries; there are none here
    cliff = bisect.bisect_left(range(MOST_ITEMS), True, key=lambda items: History(items).is_split)
    numbers: dict[str, float] = {}
    each: dict[int, float] = {}
    for items in sorted({*ITEMS, cliff - 1, cliff}):
        history = History(items)
        count = len(history.operations)
        each[items] = 1e6 * replay(history) / count
        name = f"replay with {items} items done, CPU in µs for each of {count} operations"
        numbers[name] = each[items]
    numbers["the same for 2500 items, against 500"] = each[2500] / each[500]
    numbers[f"the same for {cliff - 1} items, against 500"] = each[cliff - 1] / each[500]
    numbers[f"the same for {cliff} items, against {cliff - 1}"] = each[cliff] / each[cliff - 1]
    print(json.dumps(numbers))


class History:
    """What the last invocation of a run was given and has saved, but for the last step."""

    event: Any
    context: Any
    handler: Callable[..., Any]

    def __init__(self, items: int) -> None:
        """Run the workflow with so many items."""
        self.operations: dict[str, Operation] = {}
        with patch.object(cost, "invoke", self._invoke):
            cost.measure(DEFINITION, run, EVENT, items, cost.default_shape())
        del self.operations[self._named(LAST_STEP).operation_id]

    def save(self, operations: list[Operation]) -> None:
        """Keep the last state of each operation."""
        self.operations |= {operation.operation_id: operation for operation in operations}

    def to_json(self) -> str:
        """The event of the invocation that goes on from here."""
        operations = [operation.to_json_dict() for operation in self.operations.values()]
        state = {"Operations": operations}
        return json.dumps({**self.event.to_json_dict(), "InitialExecutionState": state})

    @property
    def is_split(self) -> bool:
        """Whether the results of the map were too large for one checkpoint.

        Then the SDK puts them together again at each resume, from every item's own.
        """
        details = self._named(MAP).context_details
        return details is not None and details.replay_children

    def _named(self, name: str) -> Operation:
        return next(each for each in self.operations.values() if each.name == name)

    def _invoke(self, handler: Callable[..., Any], event: Any, context: Any, client: Any) -> Any:
        self.handler, self.event, self.context = handler, event, context
        self.save(event.initial_execution_state.operations)
        return invoke(handler, event, context, _Recording(client, self))


class _Recording(WatchedClient):
    """Saves what the runner answers."""

    def __init__(self, client: DurableServiceClient, history: History) -> None:
        super().__init__(client)
        self._history = history

    def checkpoint(self, *args: Any, **kwargs: Any) -> CheckpointOutput:
        output = super().checkpoint(*args, **kwargs)
        self._history.save(output.new_execution_state.operations)
        return output


class _Instant:
    """Answers at once, and remembers the names of what it was sent."""

    def __init__(self) -> None:
        self.names: set[str | None] = set()

    def checkpoint(
        self, checkpoint_token: str, updates: list[OperationUpdate], **_: Any
    ) -> CheckpointOutput:
        self.names |= {update.name for update in updates}
        return CheckpointOutput(checkpoint_token, CheckpointUpdatedExecutionState())


def replay(history: History) -> float:
    """Seconds of CPU, of all threads, from the parsed event to the handler's answer: the median."""
    event = history.to_json()
    gc.collect()
    gc.freeze()  # the garbage collector of a Lambda function has no runner to look through
    return statistics.median(
        _replay_once(history.handler, json.loads(event), history.context) for _ in range(ROUNDS)
    )


def _replay_once(handler: Callable[..., Any], event: Any, context: Any) -> float:
    client = _Instant()
    with patch.object(LambdaClient, "initialize_client", return_value=client):
        started = time.process_time()
        output = handler(event, context)
        seconds = time.process_time() - started
    if output["Status"] != "SUCCEEDED" or client.names != {LAST_STEP}:
        raise RuntimeError(f"this was no replay: {output}, {client.names}")
    return seconds


if __name__ == "__main__":
    main()
