"""A look at the checkpoints of a durable handler that runs on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from aws_durable_execution_sdk_python.lambda_service import (
    CheckpointOutput,
    DurableServiceClient,
    OperationUpdate,
    StateOutput,
)


class WatchedClient(DurableServiceClient):
    """One invocation's client, which passes everything on; a subclass says what it does beside."""

    def __init__(self, client: DurableServiceClient) -> None:
        """Take the client that does the work."""
        self._client = client

    def before(self) -> None:
        """Called before a checkpoint is saved."""

    def after(self, updates: list[OperationUpdate]) -> None:
        """Called when these have been saved."""

    def checkpoint(
        self,
        durable_execution_arn: str,
        checkpoint_token: str,
        updates: list[OperationUpdate],
        client_token: str | None,
    ) -> CheckpointOutput:
        """Save a checkpoint."""
        self.before()
        output = self._client.checkpoint(
            durable_execution_arn, checkpoint_token, updates, client_token
        )
        self.after(updates)
        return output

    def get_execution_state(
        self,
        durable_execution_arn: str,
        checkpoint_token: str,
        next_marker: str,
        max_items: int = 1000,
    ) -> StateOutput:
        """Read more of what has been saved."""
        return self._client.get_execution_state(
            durable_execution_arn, checkpoint_token, next_marker, max_items
        )


def invoke(handler: Callable[[Any, Any], Any], event: Any, context: Any, client: Any) -> Any:
    """Run one invocation of a durable handler with another client."""
    return handler(dataclasses.replace(event, service_client=client), context)
