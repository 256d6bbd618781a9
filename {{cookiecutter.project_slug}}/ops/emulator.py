"""A local AWS: MiniStack, with the durable executions of the SDK's own emulator.

MiniStack runs the functions; the emulator keeps the executions and says when to run which. Whoever
speaks to Lambda speaks to the front between the two, which sends each request where it belongs, and
gives executions the names and ARNs that they have on AWS.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote, unquote

import boto3
import urllib3
#% if cookiecutter.__invoke or cookiecutter.fan_out == "yes"
from aws_durable_execution_sdk_python_testing.child_dispatcher import FunctionConfigs
#% endif
from aws_durable_execution_sdk_python_testing.invoker import INVOCATION_MARKER_HEADER
from aws_durable_execution_sdk_python_testing.runner import WebRunner, WebRunnerConfig
from aws_durable_execution_sdk_python_testing.web.server import WebServiceConfig
from botocore.exceptions import BotoCoreError, ClientError
from werkzeug import Request, Response
from werkzeug.serving import make_server

from chassis.wire import JsonObject
from ops import local, stack
from ops.stack import HOST, IDENTITY

ACCOUNT = "000000000000"  # MiniStack's
NAME_HEADER = "X-Amz-Durable-Execution-Name"
ARN_HEADER = "X-Amz-Durable-Execution-Arn"
HOP_BY_HOP = {"connection", "content-length", "date", "host", "server", "transfer-encoding"}


class Functions(Protocol):
    """Where the functions of the stack run."""

    def version(self, function: str, qualifier: str) -> str:
        """The version that an alias points at, or the qualifier itself."""

    def send(self, request: Request, path: str, body: bytes) -> Response:
        """Answer a request that is not about an execution, such as an invocation."""

    def publish(self, event: JsonObject) -> None:
        """Send a status event where the stack wants it."""


class Front:
    """The Lambda API, as a WSGI application."""

    def __init__(self, functions: Functions, emulator: str, region: str) -> None:
        """Take where the functions run, and the address of the emulator."""
        self._functions = functions
        self._emulator = emulator
        self._region = region
        workflow = local.template()["Resources"]["WorkflowFunction"]["Properties"]
        self._execution_timeout = workflow["DurableConfig"]["ExecutionTimeout"]
        self._http = urllib3.PoolManager(maxsize=20, retries=False, timeout=900)
        self._lock = threading.Lock()
        self._started: dict[str, tuple[str, bytes]] = {}
        self._to_emulator: dict[str, str] = {}
        self._to_aws: dict[str, str] = {}

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        path = environ["REQUEST_URI"]  # as it was sent: ARNs in it are quoted
        if path == IDENTITY:
            identity = {"project": str(local.ROOT), "process": os.getpid()}
            response = Response(json.dumps(identity))
        elif path.startswith("/2025-12-01/"):
            response = self._to_the_emulator(request, path)
        elif INVOCATION_MARKER_HEADER in request.headers:
            response = self._run_handler(request, path)
        elif NAME_HEADER in request.headers:
            response = self._start(request, path)
        else:
            response = self._functions.send(request, path, request.get_data())
        return response(environ, start_response)

    def _start(self, request: Request, path: str) -> Response:
        """Start an execution, once for each name."""
        name, payload = request.headers[NAME_HEADER], request.get_data()
        function, _, qualifier = unquote(path.split("/")[3]).split("function:")[-1].partition(":")
        with self._lock:
            if name not in self._started:
                self._started[name] = self._create(request, function, qualifier, name), payload
            arn, known = self._started[name]
        if known != payload:
            refusal = {"message": f"{name} has been started with another payload"}
            return Response(
                json.dumps(refusal),
                409,
                {"X-Amzn-ErrorType": "DurableExecutionAlreadyStartedException"},
            )
        return Response(status=202, headers={ARN_HEADER: arn})

    def _create(self, request: Request, function: str, qualifier: str, name: str) -> str:
        version = self._functions.version(function, qualifier)
        execution_id = str(uuid.uuid4())
        start = {
            "AccountId": ACCOUNT,
            "FunctionName": function,
            "FunctionQualifier": version,
            "ExecutionName": name,
            "ExecutionTimeoutSeconds": self._execution_timeout,
            "ExecutionRetentionPeriodDays": 1,
            "InvocationId": execution_id,
            "Input": request.get_data(as_text=True),
        }
        url = f"{self._emulator}/start-durable-execution"
        emulated: str = self._http.request("POST", url, json=start).json()["ExecutionArn"]
        arn = (
            f"arn:aws:lambda:{self._region}:{ACCOUNT}:function:{function}:{version}"
            f"/durable-execution/{name}/{execution_id}"
        )
        self._to_emulator[arn], self._to_aws[emulated] = emulated, arn
        return arn

    def _run_handler(self, request: Request, path: str) -> Response:
        """Run the handler once, and publish the status event if that was the end."""
        invocation = request.get_json(force=True)
        emulated = invocation["DurableExecutionArn"]
        with self._lock:  # a start that is not over yet knows the ARN
            # One that another execution has invoked was not started here.
            arn = self._to_aws.get(emulated, emulated)
        body = json.dumps(invocation | {"DurableExecutionArn": arn}).encode()
        response = self._functions.send(request, path, body)
        status = (response.get_json(force=True, silent=True) or {}).get("Status")
        if status in {"SUCCEEDED", "FAILED"}:
            self._publish(arn, status)
        return response

    def _publish(self, arn: str, status: str) -> None:
        if arn not in self._to_emulator:
            return  # invoked by another execution, which hears of it
        function, name = arn.partition("/")[0].rpartition(":")[0], arn.split("/")[-2]
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "source": "aws.lambda",
            "detail-type": "Durable Execution Status Change",
            "account": ACCOUNT,
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._region,
            "resources": [],
            "detail": {
                "durableExecutionArn": arn,
                "durableExecutionName": name,
                "functionArn": function,
                "status": status,
            },
        }
        try:
            self._functions.publish(event)
        except (BotoCoreError, ClientError):  # as on AWS: the execution has ended all the same
            logging.getLogger(__name__).exception("no status event")

    def _to_the_emulator(self, request: Request, path: str) -> Response:
        """Speak of an execution as the emulator does, and answer as AWS does."""
        parts = path.split("/")
        if parts[2] == "functions":
            return self._list(request, path)
        verb = "delete" if request.method == "DELETE" else parts[-1]
        if verb in {"pause", "resume", "delete"}:  # nor has the emulator such a status
            refusal = {"message": f"the local AWS cannot {verb} an execution"}
            kind = {"X-Amzn-ErrorType": "InvalidParameterValueException"}
            return Response(json.dumps(refusal), 400, kind)
        arn, _, query = parts[3].partition("?")
        emulated = self._to_emulator.get(unquote(arn))
        if emulated is None:
            return forward(self._http, self._emulator, request, path, request.get_data())
        parts[3] = quote(emulated, safe="") + (f"?{query}" if query else "")
        response = forward(self._http, self._emulator, request, "/".join(parts), request.get_data())
        if parts[4:] == ["stop"] and response.status_code == HTTPStatus.OK:
            self._publish(unquote(arn), "STOPPED")
        response.set_data(response.get_data().replace(emulated.encode(), unquote(arn).encode()))
        return response

    def _list(self, request: Request, path: str) -> Response:
        """List executions with their ARNs, the newest first: the emulator has the oldest first."""
        newest = f"{path}{'&' if '?' in path else '?'}ReverseOrder=true"
        response = forward(self._http, self._emulator, request, newest, request.get_data())
        body = response.get_data()
        for emulated, arn in list(self._to_aws.items()):
            body = body.replace(emulated.encode(), arn.encode())
        response.set_data(body)
        return response


def forward(
    http: urllib3.PoolManager, address: str, request: Request, path: str, body: bytes
) -> Response:
    """Send a request on, with another path and body; return the answer."""
    headers = {
        name: value
        for name, value in request.headers.items()
        if name.lower() not in HOP_BY_HOP | {INVOCATION_MARKER_HEADER.lower()}
    }
    found = http.request(request.method, address + path, body=body, headers=headers)
    kept = [(name, v) for name, v in found.headers.items() if name.lower() not in HOP_BY_HOP]
    return Response(found.data, found.status, kept)


class MiniStack:
    """The functions in MiniStack, and everything else that is not an execution."""

    def __init__(self, address: str, region: str) -> None:
        """Take its address."""
        self._address = address
        self._http = urllib3.PoolManager(maxsize=20, retries=False, timeout=900)
        self._events = boto3.client("events", endpoint_url=address, region_name=region)
        self._lambda = boto3.client("lambda", endpoint_url=address, region_name=region)

    def version(self, function: str, qualifier: str) -> str:
        """The version that an alias points at, or the qualifier itself."""
        alias = f"/2015-03-31/functions/{function}/aliases/{qualifier}"
        found = self._http.request("GET", self._address + alias)
        return str(found.json()["FunctionVersion"]) if found.status == 200 else qualifier

    def send(self, request: Request, path: str, body: bytes) -> Response:
        """Send a request on."""
        return forward(self._http, self._address, request, path, body)

    def publish(self, event: JsonObject) -> None:
        """Send a status event where the rules of the stack want it.

        EventBridge takes events of AWS's services from nobody else, so its part is done here.
        """
        text = json.dumps(event)
        for rule in self._events.list_rules()["Rules"]:
            pattern = rule.get("EventPattern")
            if not pattern:
                continue  # it has a schedule
            if not self._events.test_event_pattern(EventPattern=pattern, Event=text)["Result"]:
                continue
            for target in self._events.list_targets_by_rule(Rule=rule["Name"])["Targets"]:
                self._lambda.invoke(
                    FunctionName=target["Arn"], InvocationType="Event", Payload=text
                )


#% if cookiecutter.__invoke or cookiecutter.fan_out == "yes"
def invoked_functions() -> dict[str, Any]:
    """The functions that the workflow invokes, and how: by name, as the emulator wants it."""
    functions = local.template()["Resources"]
    configs: dict[str, Any] = {
        #% if cookiecutter.__invoke
        "MeterFunction": {},
        #% endif
        #% if cookiecutter.fan_out == "yes"
        "WorkflowFunction": {
            "DurableConfig": {
                "ExecutionTimeout": functions["WorkflowFunction"]["Properties"]["DurableConfig"][
                    "ExecutionTimeout"
                ],
                "RetentionPeriodInDays": 1,
            }
        },
        #% endif
    }
    stack_name = stack.parameters()["stack_name"]
    return {
        functions[name]["Properties"]["FunctionName"]["Fn::Sub"].replace(
            "${AWS::StackName}", stack_name
        ): config
        for name, config in configs.items()
    }


#% endif
def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def serve(program: str) -> None:
    """Run everything until it is told to stop: MiniStack at LOCAL_PORT, the front at the next.

    Args:
        program: the path of MiniStack.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # MiniStack has to be told, too
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it has one of its own: INFO
    port, region = stack.local_port(), stack.parameters()["region"]
    ministack, front, emulator = (
        f"http://{HOST}:{number}" for number in (port, port + 1, free_port())
    )
    os.environ.update(stack.local_environment())
    settings = {
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",  # it would take a port that is the same for everybody
        "MINISTACK_REGION": region,
    }
    config = WebRunnerConfig(
        web_service=WebServiceConfig(host=HOST, port=int(emulator.rpartition(":")[2])),
        lambda_endpoint=front,
        local_runner_endpoint=emulator,
        local_runner_region=region,
        #% if cookiecutter.__invoke or cookiecutter.fan_out == "yes"
        function_configs=FunctionConfigs.from_dict(invoked_functions()),
        #% endif
    )
    with ExitStack() as everything:
        process = everything.enter_context(
            subprocess.Popen([program], env=os.environ | settings)  # noqa: S603
        )
        everything.callback(process.terminate)
        runner = everything.enter_context(WebRunner(config))
        threading.Thread(target=runner.serve_forever, daemon=True).start()
        application = local.for_programs(Front(MiniStack(ministack, region), emulator, region))
        make_server(HOST, port + 1, application, threaded=True).serve_forever()
