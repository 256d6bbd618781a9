"""The Lambda API that the functions of the stack call: it notes what it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest

#% if cookiecutter.front_door == "http_api"
from chassis.functions import api, approver, reconciler, starter
#% else
from chassis.functions import approver, reconciler, starter
#% endif
from chassis.tenancy import credentials


class Lambda:
    """Notes what it is asked to do; ``error`` is the code that every call fails with.

    ``meanwhile`` happens once, after the next call has come and before it is answered.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.error: str | None = None
        self.status: str | None = None
        self.execution_id = "id"
        self.meanwhile: Callable[[], object] | None = None
        #% if cookiecutter.front_door == "http_api"
        self.history: list[dict[str, Any]] = []
        #% endif
        self.exceptions = boto3.client("lambda").exceptions

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self.calls.append((operation, request))
            meanwhile, self.meanwhile = self.meanwhile, None
            if meanwhile:
                meanwhile()
            if self.error:
                error = {"Error": {"Code": self.error, "Message": "no"}}
                raise self.exceptions.from_code(self.error)(error, operation)
            if operation == "get_durable_execution":
                return {"Status": self.status}
            #% if cookiecutter.front_door == "http_api"
            if operation == "get_durable_execution_history":
                start = int(request.get("Marker", 0))
                end = start + request["MaxItems"]
                more = {"NextMarker": str(end)} if end < len(self.history) else {}
                return {"Events": self.history[start:end], **more}
            #% endif
            name = request.get("DurableExecutionName", "")
            return {"DurableExecutionArn": arn_of(name, self.execution_id)}

        return call


@pytest.fixture
def lambda_(table: Any, monkeypatch: pytest.MonkeyPatch) -> Lambda:
    """The stand-in for the Lambda API, for every function of the stack."""
    stand_in = Lambda()
    tenant_client = credentials.tenant_client

    def client(service: str, tenant_id: str) -> Any:
        return stand_in if service == "lambda" else tenant_client(service, tenant_id)

    monkeypatch.setattr(approver, "tenant_client", client)
    #% if cookiecutter.front_door == "http_api"
    monkeypatch.setattr(api, "tenant_client", client)
    #% endif
    monkeypatch.setattr(starter, "_lambda", lambda: stand_in)
    monkeypatch.setattr(
        reconciler, "_client", lambda service: stand_in if service == "lambda" else table
    )
    return stand_in


def arn_of(name: str, execution_id: str = "id") -> str:
    """The ARN of an execution."""
    function = "arn:aws:lambda:us-east-1:123456789012:function:f:1"
    return f"{function}/durable-execution/{name}/{execution_id}"
