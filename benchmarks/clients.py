"""Clients that start executions all at once, of a service that fails; what came of it as JSON.

``load.py`` runs this in a rendered project, with its Python. The starter, the reconciler and the
registry are the project's, the table is moto's, in a process of its own; the service is a stand-in
for Lambda's durable executions, whose clock goes on with every request. It is asked for three times
what the tenants may start, it refuses, does start and says that it has not, or says nothing, starts
late, and loses its status events or sends them twice. Whatever it does, this has to hold:

- no tenant runs more executions than it may, or starts more in a minute;
- what was said to have started has run;
- in the end nothing is counted as running.
"""

from __future__ import annotations

import heapq
import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError
from chassis.functions import reconciler, starter
from chassis.model import TenantRefusedError
from chassis.tenancy import credentials
from chassis.tenancy.guard import tenant_of_name
from chassis.tenancy.profile import Profile
from chassis.tenancy.registry import LOOK_AFTER_SECONDS, LOOK_AGAIN_SECONDS, TablePartition
from chassis.tenancy.stores import table_partition
from ops import local, tenants
from workflow.definition import DEFINITION

CLIENTS, STARTS, SEED = (int(argument) for argument in sys.argv[1:])
LIMITS = {"running_executions": 20, "starts_per_minute": 25}
TENANTS = [f"tenant{number}" for number in range(5)]
BEGIN = 1_800_000_000
SECONDS_PER_REQUEST = 0.15
REQUESTS_PER_PAUSE = 300
"""Of all clients, on average; it takes until the reconciler looks at what has been started."""

SERVER = Path(__file__).with_name("moto_table.py")
START = starter.starter(DEFINITION)


@dataclass
class Execution:
    """One execution of the service."""

    name: str
    arn: str
    payload: bytes
    has_run: bool = False
    is_refused: bool = False
    is_over: bool = False


class Service:
    """Lambda's durable executions, their queue, and EventBridge."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.random = random.Random(SEED)
        self.now = float(BEGIN)
        self.counts = Counter[str]()
        self.by_arn: dict[str, Execution] = {}
        self.by_name: dict[str, Execution] = {}
        self.running = Counter[str]()
        self.most_running = 0
        self.starts = Counter[tuple[str, int]]()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._next_sweep: float = BEGIN + LOOK_AFTER_SECONDS
        self._is_sweeping = threading.Lock()

    def time(self) -> float:
        """The time for the starter and the reconciler."""
        return self.now

    def invoke(self, *, DurableExecutionName: str, Payload: bytes, **_: Any) -> Any:  # noqa: N803
        """Start an execution, once for each name, or fail before or after that."""
        with self.lock:
            fault = self.random.choices(
                ["", "refused", "started, says no", "started, says nothing"], [85, 5, 5, 5]
            )[0]
            self.counts[f"invocations {fault or 'answered'}"] += 1
            if fault == "refused":
                raise failure("TooManyRequestsException")
            execution = self.by_name.get(DurableExecutionName)
            if execution is None:
                execution = self._start(DurableExecutionName, Payload)
        if fault == "started, says no":
            raise failure("ServiceException")
        if fault:
            raise ReadTimeoutError(endpoint_url="lambda")
        if execution.payload != Payload:
            raise failure("DurableExecutionAlreadyStartedException")
        return {"DurableExecutionArn": execution.arn}

    def get_durable_execution(self, *, DurableExecutionArn: str, **_: Any) -> Any:  # noqa: N803
        """How an execution is; it fails now and then."""
        with self.lock:
            if self.random.random() < 0.05:
                raise failure("TooManyRequestsException")
            is_over = self.by_arn[DurableExecutionArn].is_over
        return {"Status": "SUCCEEDED" if is_over else "RUNNING"}

    def _start(self, name: str, payload: bytes) -> Execution:
        arn = f"arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/{name}/"
        execution = Execution(name, arn + str(uuid.UUID(int=len(self.by_arn))), payload)
        self.by_arn[execution.arn] = self.by_name[name] = execution
        is_late = self.random.random() < 0.02  # the reconciler may have given it up by then
        delay = self.random.uniform(0, 2 * LOOK_AFTER_SECONDS if is_late else 3)
        self._later(delay, lambda: self._first_step(execution))
        return execution

    def _later(self, delay: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + delay, next(self._numbers), happens))

    def _first_step(self, execution: Execution) -> None:
        tenant_id = str(tenant_of_name(execution.name))
        try:
            table_partition(tenant_id).note_arn(execution.arn)
        except TenantRefusedError:
            execution.is_refused = True
            self.counts["executions refused by the first step"] += 1
            self._end(execution)
            return
        with self.lock:
            execution.has_run = True
            self.running[tenant_id] += 1
            self.most_running = max(self.most_running, self.running[tenant_id])
            slow = 3 if tenant_id in TENANTS[::2] else 1  # the others meet the other limit
            duration = self.random.uniform(5, 60) * slow
            self._later(duration, lambda: self._end(execution))

    def _end(self, execution: Execution) -> None:
        with self.lock:
            if execution.has_run:
                self.running[str(tenant_of_name(execution.name))] -= 1
            execution.is_over = True
            events = self.random.choices([1, 0, 2], [80, 10, 10])[0]
            self.counts[f"status events {['lost', 'once', 'twice'][events]}"] += 1
        detail = {
            "durableExecutionName": execution.name,
            "durableExecutionArn": execution.arn,
            "status": "FAILED" if execution.is_refused else "SUCCEEDED",
        }
        for _ in range(events):
            reconciler.handler({"detail": detail}, None)

    def go_on(self, seconds: float) -> None:
        """Let time pass, and what is due happen: in whichever thread comes by."""
        with self.lock:
            self.now += seconds
        while True:
            with self.lock:
                if not self._due or self._due[0][0] > self.now:
                    break
                happens = heapq.heappop(self._due)[2]
            happens()
        if self.now >= self._next_sweep and self._is_sweeping.acquire(blocking=False):
            try:
                self._next_sweep = int(self.now) + LOOK_AFTER_SECONDS
                self.sweep()
            finally:
                self._is_sweeping.release()

    def sweep(self) -> int:
        """Let the reconciler sweep; return how many executions were looked at."""
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: 300_000)
        self.counts["sweeps"] += 1
        try:
            return int(reconciler.handler({}, context)["looked"])
        except reconciler.NotSweptError:
            self.counts["sweeps that failed for a tenant"] += 1
            return 1

    def drain(self) -> None:
        """Let everything end, and the reconciler look until there is nothing to look at."""
        self._next_sweep = float("inf")
        for _ in range(100):
            self.go_on(LOOK_AGAIN_SECONDS)
            if not self._due and not self.sweep():
                return

    def note_start(self, operations: tuple[Any, Any]) -> None:
        """Count what has been written, by the minute that it was counted in."""
        first, second = operations
        if "Put" in first:
            tenant_id = first["Put"]["Item"]["pk"]["S"]
            minute = int(second["Update"]["ExpressionAttributeValues"][":minute"]["N"])
            with self.lock:
                self.starts[tenant_id, minute] += 1


def failure(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "a fault of this test"}}, "Invoke")


class Client:
    """One client: it starts, starts again what has failed, and what others have started."""

    sent: list[Any] = []  # noqa: RUF012 - of all clients

    def __init__(self, service: Service, number: int) -> None:
        self.service = service
        self.number = number
        self.random = random.Random(SEED * 1_000 + number)
        self.failed: list[Any] = []
        self.replies = Counter[str]()
        self.started: list[str] = []
        self.wrong: list[Any] = []

    def run(self) -> None:
        """Send all requests."""
        for number in range(STARTS):
            pauses = self.random.random() < 1 / REQUESTS_PER_PAUSE
            self.service.go_on(LOOK_AFTER_SECONDS if pauses else SECONDS_PER_REQUEST)
            event = self._event(number)
            try:
                reply = START(event, None)
            except (ClientError, ReadTimeoutError):
                self.replies["failed"] += 1
                self.failed.append(event)
                continue
            if reply["started"]:
                self.replies["started"] += 1
                self.started.append(reply["executionArn"])
            elif "retryAfter" in reply:
                self.replies["a limit was reached"] += 1
                if not 1 <= reply["retryAfter"] <= 60:
                    self.wrong.append(reply)
            else:
                self.replies["ended before, or started with other content"] += 1

    def _event(self, number: int) -> Any:
        choice = self.random.random()
        if self.failed and choice < 0.3:  # now, or long after
            return self.failed.pop(self.random.randrange(len(self.failed)))
        if self.sent and choice < 0.4:
            return self.random.choice(self.sent[-200:])
        event = {
            "workflowId": "load",
            "tenantId": TENANTS[self.number % len(TENANTS)],
            "inputData": {"items": [self.random.randrange(10)]},
            "requestKey": f"{self.number}-{number}",
        }
        self.sent.append(event)
        if choice > 0.99:
            return event | {"inputData": {"items": ["other content"]}}
        return event


@contextmanager
def moto() -> Iterator[str]:
    """The address of a server that takes one request at a time: its transactions are atomic."""
    with subprocess.Popen([sys.executable, SERVER], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def prepare(address: str, service: Service) -> Any:
    """The environment, the table and the tenants; the functions of the stack get the service."""
    os.environ.update(
        AWS_ENDPOINT_URL=address,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="x",
        TENANT_TABLE="tenants",
        TENANT_ROLE_ARN="arn:aws:iam::123456789012:role/tenant",
        WORKFLOW_ALIAS_ARN="arn:aws:lambda:us-east-1:123456789012:function:f:live",
        TENANCY="pool",
        TENANT_ID="",
        NESTING="FLAT",
        ITEMS_PER_CHECKPOINT="1",
    )
    # All clients wait for one server.
    credentials.CONFIG = Config(read_timeout=120, max_pool_connections=CLIENTS)
    logging.getLogger("workflow").disabled = True  # each failure of a sweep, as it should
    client = boto3.client("dynamodb")
    properties = local.template()["Resources"]["TenantTable"]["Properties"]
    wanted = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    client.create_table(TableName="tenants", **{name: properties[name] for name in wanted})
    registry = tenants.Registry(client, "tenants")
    for tenant_id in TENANTS:
        registry.add(Profile(tenant_id, "ACTIVE", next(iter(tenants.tiers())), LIMITS))
    starter.time = reconciler.time = service
    starter._lambda = lambda: service
    reconciler._client = lambda name: service if name == "lambda" else client
    transact = TablePartition._transact

    def noted(partition: TablePartition, *operations: Any) -> Any:
        failed = transact(partition, *operations)
        if failed == (None, None):
            service.note_start(operations)
        return failed

    TablePartition._transact = noted  # type: ignore[method-assign]
    return registry


def main() -> None:
    """Run all clients; print what came of it, and what is wrong."""
    service = Service()
    with moto() as address:
        registry = prepare(address, service)
        clients = [Client(service, number) for number in range(CLIENTS)]
        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(Client.run, clients))
        seconds = time.perf_counter() - began
        service.drain()
        left = {profile.tenant_id: profile.running for profile in registry.every()}
    replies = sum((client.replies for client in clients), Counter[str]())
    started = {arn for client in clients for arn in client.started}
    executions = service.by_arn.values()
    most_starts = max(service.starts.values())
    wrong = {
        "counted as running in the end": {name: n for name, n in left.items() if n},
        "said to have started, and did not run": sum(
            not service.by_arn[arn].has_run for arn in started
        ),
        "executions that never came to their end": sum(not each.is_over for each in executions),
        "running at a time above the limit": max(
            0, service.most_running - LIMITS["running_executions"]
        ),
        "starts in a minute above the limit": max(0, most_starts - LIMITS["starts_per_minute"]),
        "retryAfter out of range": [reply for client in clients for reply in client.wrong],
    }
    print(
        json.dumps(
            {
                "requests": sum(replies.values()),
                "seconds": round(seconds),
                "simulated minutes": round((service.now - BEGIN) / 60),
                "replies": replies,
                "executions": len(service.by_arn),
                "most running at a time": service.most_running,
                "most starts in a minute": most_starts,
                "service": dict(sorted(service.counts.items())),
                "wrong": {name: value for name, value in wrong.items() if value},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
