"""Kills an invocation at a chosen moment; the runner goes on from what was saved, as Lambda does.

It works with any durable handler::

    for number in itertools.count(1):
        execution, crasher = start_crashing(start, event, "after", {number})
        ...  # drive the execution to its end, compare what comes of it
        if not crasher.crashed:
            break  # the execution was over before that moment

Killed means that nothing more is saved of the invocation. It all happens in one process, so bodies
of steps that run at that moment run to their end, where a real crash would stop them anywhere.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, Literal

from aws_durable_execution_sdk_python.exceptions import CheckpointError
from aws_durable_execution_sdk_python.lambda_service import (
    DurableServiceClient,
    OperationAction,
    OperationType,
    OperationUpdate,
)

from chassis.wire import JsonObject
from ops.client import WatchedClient, invoke
from tests.execution import Execution, Start

Moment = Literal["before", "after", "return"]
MOMENTS: tuple[Moment, ...] = ("before", "after", "return")
"""Right before or after a checkpoint is saved; when the handler returns, to suspend or for good."""

KILLED = CheckpointError("killed")
"""What the SDK makes of a lost connection: the invocation fails, and Lambda runs another."""


class Crasher:
    """A durable handler whose invocations are killed, or refused a checkpoint, at some moments.

    Attributes:
        crashed: how many invocations were killed.
        saved: the steps whose results had been saved before the first was; the step of a branch or
            an item goes by the name of the branch or the item.
    """

    def __init__(
        self,
        handler: Callable[[Any, Any], Any],
        moment: Moment,
        numbers: Collection[int],
        error: Exception = KILLED,
    ) -> None:
        """Kill at the checkpoints or returns of these numbers, counted from 1 in the execution.

        With another error the invocation lives on, and does what the SDK does about the error.
        """
        self.crashed = 0
        self.saved: set[str] = set()
        self._handler = handler
        self._moments = {(moment, number) for number in numbers}
        self._error = error
        self._seen: Counter[Moment] = Counter()
        self._contexts: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Any, context: Any) -> Any:
        """One invocation."""
        client = _MortalClient(event.service_client, self)
        result = invoke(self._handler, event, context, client)
        if client.error in {None, KILLED}:
            client.survive("return")
        return result

    def error_at(self, moment: Moment) -> Exception | None:
        """Count the moment; return the error if this is one to have it at."""
        with self._lock:
            self._seen[moment] += 1
            if (moment, self._seen[moment]) not in self._moments:
                return None
            self.crashed += 1
            return self._error

    def note(self, updates: list[OperationUpdate]) -> None:
        """Remember which steps have been saved, until the first crash."""
        with self._lock:
            for update in updates:
                if update.operation_type is OperationType.CONTEXT and update.parent_id:
                    self._contexts[update.operation_id] = update.name or ""
                if update.operation_type is OperationType.STEP and not self.crashed:
                    done = update.action in {OperationAction.SUCCEED, OperationAction.FAIL}
                    name = self._contexts.get(update.parent_id or "", update.name or "")
                    self.saved |= {name} if done else set()


def start_crashing(
    start: Start,
    event: JsonObject,
    moment: Moment,
    numbers: Collection[int],
    error: Exception = KILLED,
    **options: Any,
) -> tuple[Execution, Crasher]:
    """Start an execution whose handler is a ``Crasher``; return both."""
    crashers: list[Crasher] = []

    def wrap(handler: Callable[[Any, Any], Any]) -> Crasher:
        crashers.append(Crasher(handler, moment, numbers, error))
        return crashers[0]

    return start(event, wrap=wrap, **options), crashers[0]


class _MortalClient(WatchedClient):
    """One invocation's client: after an error it saves nothing more."""

    def __init__(self, client: DurableServiceClient, crasher: Crasher) -> None:
        super().__init__(client)
        self._crasher = crasher
        self.error: Exception | None = None

    def survive(self, moment: Moment) -> None:
        """Raise if there has been an error, or is one now."""
        self.error = self.error or self._crasher.error_at(moment)
        if self.error:
            raise self.error.with_traceback(None)  # one error is raised many times

    def before(self) -> None:
        self.survive("before")

    def after(self, updates: list[OperationUpdate]) -> None:
        self._crasher.note(updates)
        self.survive("after")
