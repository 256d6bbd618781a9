"""The Lambda API: the SDK's own emulator, over HTTP, and what the emulator cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Thread
from typing import Any

import boto3
from aws_durable_execution_sdk_python_testing.web.server import WebServer, WebServiceConfig
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from chassis.tenancy.guard import execution_name
from chassis.wire import JsonObject
from ops.executions import ACTIVE
from ops.local import LocalExecution

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:workflow"


@contextmanager
def lambda_api(execution: LocalExecution) -> Iterator[str]:
    """Serve it; the address is what ``AWS_ENDPOINT_URL_LAMBDA`` takes."""
    config = WebServiceConfig(host="127.0.0.1", port=0)
    with WebServer(config, execution.runner._executor) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@cache
def client(service: str) -> Any:
    """A client that is given its answers; to make one takes a while."""
    return boto3.Session("x", "x").client(service, region_name="us-east-1")


class Service:
    """Executions that can be paused and deleted: botocore checks what is sent and answered.

    Attributes:
        status: of each execution, by its ARN.
        reason: of each pause.
        invoked: executions that another one has invoked, by its ARN.
        calls: what has been changed: the operation, and the execution.
        errors: codes that the next changes fail with; an empty one does not fail.
        is_slow: whether nothing that has been asked for happens.
    """

    def __init__(self) -> None:
        self.status: dict[str, str] = {}
        self.reason: dict[str, str] = {}
        self.invoked: dict[str, list[str]] = {}
        self.calls: list[tuple[str, str]] = []
        self.errors: list[str] = []
        self.is_slow = False

    def has(self, tenant_id: str, key: str, status: str, *, invoked_by: str = "") -> str:
        """It has this execution; one that another has invoked is named by the service."""
        name = f"named-{key}" if invoked_by else execution_name(tenant_id, "wf", key)
        arn = f"{FUNCTION}:1/durable-execution/{name}/{key}"
        self.status[arn] = status
        if invoked_by:
            self.invoked.setdefault(invoked_by, []).append(arn)
        return arn

    def call(self, operation: str, request: JsonObject) -> Any:
        """Take the place of ``_make_api_call`` of a client."""
        model = client("lambda").meta.service_model.operation_model(operation)
        arn = request.get("DurableExecutionArn", "")
        is_change = not operation.startswith(("Get", "List"))
        if is_change:
            self.calls.append((operation.removesuffix("DurableExecution"), arn))
        if is_change and self.errors and (code := self.errors.pop(0)):
            raise ClientError({"Error": {"Code": code}}, operation)
        answer = getattr(self, xform_name(operation))(request, arn)
        for given, shape in ((request, model.input_shape), (answer, model.output_shape)):
            report = ParamValidator().validate(given, shape)
            assert not report.has_errors(), report.generate_report()
        return answer

    def list_durable_executions_by_function(self, request: JsonObject, _: str) -> JsonObject:
        """List those that nobody has invoked; whoever looks again sees what was asked for."""
        assert request["FunctionName"] == "workflow"
        inner = [arn for arns in self.invoked.values() for arn in arns]
        wanted = request.get("Statuses", set(self.status.values()))
        listed = [
            self._summary(arn)
            for arn, status in self.status.items()
            if status in wanted and arn not in inner
        ]
        if not self.is_slow:
            self.status = {
                arn: "PAUSED" if status == "PAUSING" else status
                for arn, status in self.status.items()
                if status != "DELETING"
            }
        return {"DurableExecutions": listed}

    def _summary(self, arn: str) -> JsonObject:
        return {
            "DurableExecutionArn": arn,
            "DurableExecutionName": arn.split("/")[-2],
            "FunctionArn": f"{FUNCTION}:1",
            "Status": self.status[arn],
            "StartTimestamp": 0,
        }

    def get_durable_execution(self, request: JsonObject, arn: str) -> JsonObject:
        """Describe one."""
        self._require(arn, arn in self.status, "ResourceNotFoundException")
        details: JsonObject = {"PauseRequestTimestamp": 0, "ExecutionTimeoutPaused": True}
        if request["IncludeExecutionData"]:
            details["Reason"] = self.reason.get(arn, "")
        is_paused = self.status[arn] in {"PAUSING", "PAUSED"}
        return self._summary(arn) | ({"PauseDetails": details} if is_paused else {})

    def get_durable_execution_history(self, _: JsonObject, arn: str) -> JsonObject:
        """What it has invoked: a function that is not durable, and executions."""
        is_there = self.status.get(arn, "DELETING") != "DELETING"
        self._require(arn, is_there, "ResourceNotFoundException")
        details: list[JsonObject] = [{"FunctionName": "other"}]
        details += [
            {"FunctionName": "workflow", "DurableExecutionArn": each}
            for each in self.invoked.get(arn, [])
        ]
        events = [
            {"EventType": "ChainedInvokeStarted", "ChainedInvokeStartedDetails": each}
            for each in details
        ]
        return {"Events": events}

    def pause_durable_execution(self, request: JsonObject, arn: str) -> JsonObject:
        """Only what runs."""
        self._require(arn, self.status[arn] == "RUNNING")
        self.status[arn], self.reason[arn] = "PAUSING", request["Reason"]
        return {}

    def resume_durable_execution(self, _: JsonObject, arn: str) -> JsonObject:
        """Only what is paused."""
        self._require(arn, self.status[arn] in {"PAUSING", "PAUSED"})
        self.status[arn] = "RUNNING"
        return {}

    def stop_durable_execution(self, _: JsonObject, arn: str) -> JsonObject:
        """Whatever is not over."""
        self._require(arn, self.status[arn] in ACTIVE, "ResourceNotFoundException")
        self.status[arn] = self.status[arn] if self.is_slow else "STOPPED"
        return {"StopTimestamp": 0}

    def delete_durable_execution(self, _: JsonObject, arn: str) -> JsonObject:
        """Only what is over."""
        self._require(arn, self.status[arn] not in {*ACTIVE, "DELETING"})
        self.status[arn] = "DELETING"
        return {"DeletionRequestTimestamp": 0}

    def _require(self, arn: str, holds: bool, code: str = "ResourceConflictException") -> None:
        if not holds:
            kind = client("lambda").exceptions.from_code(code)
            raise kind({"Error": {"Code": code, "Message": arn}}, "operation")
