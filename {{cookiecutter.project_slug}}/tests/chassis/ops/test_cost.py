"""The cost: what is counted is what a real execution takes, and nothing of the workflow is done."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock
from typing import Any

import boto3
import pytest
from aws_durable_execution_sdk_python import ParallelBranch
from aws_durable_execution_sdk_python.lambda_service import (
    CheckpointOutput,
    DurableServiceClient,
    OperationUpdate,
    StateOutput,
)
from aws_durable_execution_sdk_python.waits import WaitForConditionConfig, WaitForConditionDecision

from chassis import Attempt, Definition, ItemOutcomes, JsonObject, quotas
#% if cookiecutter.__invoke
from chassis.functions import meter, reconciler, starter
#% else
from chassis.functions import reconciler, starter
#% endif
from chassis.functions.approver import approver
from chassis.settings import Shape
#% if cookiecutter.fan_out == "yes"
from chassis.steps import chunks as chunk_steps
#% endif
from chassis.tenancy import credentials, stores
from chassis.tenancy.guard import Stack
from ops import cost, local, stack
from ops.client import WatchedClient, invoke
from tests.chassis import sample
from tests.chassis.aws import Add
from tests.chassis.ops.lambda_api import lambda_api
from tests.execution import Start, make_event

FLAT = Shape(nesting="FLAT", items_per_checkpoint=1)
NESTED = Shape(nesting="NESTED", items_per_checkpoint=1)
BULK = Shape(nesting="FLAT", items_per_checkpoint=10)
EVENT = make_event("a", "b")
PARAMETERS = {"Nesting": "FLAT", "ItemsPerCheckpoint": 1, "HistoryRetentionDays": 15}


@pytest.fixture(autouse=True)
def _template_of_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured is the sample, as it would be deployed."""
    parameters = {name: {"Default": value} for name, value in PARAMETERS.items()}
    template = {**local.template(), "Parameters": parameters}
    monkeypatch.setattr(local, "environment", lambda: sample.SETTINGS)
    monkeypatch.setattr(local, "template", lambda: template)


def measure(items: int, shape: Shape, **options: Any) -> cost.Usage:
    return cost.measure(sample.definition(), sample.phases(**options), EVENT, items, shape)


def check(item: JsonObject, attempt: Attempt) -> JsonObject:
    """A second step for each item."""
    return sample.process(item, attempt)


@pytest.mark.parametrize("shape", [FLAT, NESTED, BULK], ids=["flat", "nested", "bulk"])
@pytest.mark.parametrize("items", [0, 7])
def test_as_many_operations_as_a_real_execution_has(start: Start, items: int, shape: Shape) -> None:
    settings = {name.upper(): str(value) for name, value in shape.items()}
    execution = start(make_event(*range(items)), steps=(sample.process, check), **settings)
    execution.approve_all()
    two_steps = sample.definition(sample.process, check)

    usage = cost.measure(two_steps, sample.phases(), EVENT, items, shape)

    assert usage.billed == len(execution.ended.get_all_operations()) + 1
    assert usage.counts["approval"] == min(items, 1)
    assert usage.counts["invocation"] >= 1  # as often as the runner happens to
    checkpoints = -(-items // shape["items_per_checkpoint"])
    assert usage.billed - measure(items, shape).billed == checkpoints


def test_an_item_more_is_an_operation_and_some_bytes_more() -> None:
    few, many = measure(10, FLAT), measure(20, FLAT)

    assert many.billed - few.billed == 10
    assert 10 * 100 < many.written_bytes - few.written_bytes < 10 * 2_000


def test_a_second_approval_is_noticed() -> None:
    one, two = measure(1, FLAT), measure(1, FLAT, approvals=("one", "two"))

    assert (one.counts["approval"], two.counts["approval"]) == (1, 2)
    assert two.billed - one.billed == 4
    more = two.counts - one.counts
    del more["invocation"]
    assert more == {"approval": 1, "kilobyte of evidence": 1}


def test_every_byte_that_is_written_is_counted() -> None:
    """The event, what operations return, and what the execution does."""

    def phases(execution: Any) -> JsonObject:
        execution.context.create_callback(name="callback")  # writes nothing
        return {"returned": execution.context.step(explode, name="step")}

    usage = cost.measure(sample.definition(), phases, EVENT, 1, FLAT)

    event = {**EVENT, "tenantId": cost.TENANT, "inputData": {"items": ["a"]}}
    assert (usage.counts["execution"], usage.counts["invocation"]) == (1, 1)
    assert usage.billed == 3  # the execution is one, too
    assert usage.written_bytes == len(json.dumps(event)) + len("null") + len('{"returned": null}')


def test_every_kilobyte_of_a_row_is_counted() -> None:
    large = "x" * 3_000

    def phases(execution: Any) -> JsonObject:
        plan = execution.prepare_work()
        execution.ask_for_approval(plan, "approval", plan["evidence"], sample.parse_answer)
        output = {"text": large, "mapResults": ItemOutcomes().to_wire()}
        return dict(execution.finish(output))

    shown = replace(sample.definition(), evidence=lambda _: {"text": large})
    counts = cost.measure(shown, phases, EVENT, 1, FLAT).counts

    #% if cookiecutter.front_door == "http_api"
    assert counts["kilobyte of a result"] == cost.kilobytes(cost.KEY_BYTES + 3_000) == 4
    #% endif
    assert counts["kilobyte of evidence"] == cost.kilobytes(cost.ROW_BYTES + 3_000) == 4


def explode(*_: Any) -> Any:
    """The body of a step that must not be run."""
    raise AssertionError("it was run")


def own(body: Callable[..., Any], run: Callable[[Any], JsonObject]) -> Callable[..., JsonObject]:
    """A workflow with operations of its own, all of which have this body."""
    until = WaitForConditionConfig(lambda *_: WaitForConditionDecision.stop_polling(), None)

    def step(context: Any, *_: Any) -> Any:
        return context.step(body, name="inside")

    def phases(execution: Any) -> JsonObject:
        context = execution.context
        context.step(body, name="own-step")
        context.run_in_child_context(step, name="own-context")
        context.wait_for_condition(body, until, name="own-condition")
        context.map([1, 2], step, name="own-map")
        context.parallel([step, ParallelBranch(func=step, name="b")], name="own-parallel")
        return run(execution)

    return phases


def test_nothing_of_the_workflow_is_run(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def process(item: JsonObject, attempt: Attempt) -> JsonObject:
        raise AssertionError((item, attempt))

    execution = start(make_event("a"), run=own(lambda *_: None, sample.phases()))
    execution.approve_all()
    operations = len(execution.ended.get_all_operations())
    assert execution.output()["mapResults"]["succeeded"] == 1

    monkeypatch.setattr(sample, "aggregate", explode)
    phases = own(explode, sample.phases(dict.fromkeys(sample.CHECKS, explode)))
    usage = cost.measure(sample.definition(process), phases, EVENT, 1, FLAT)

    assert usage.attempts == 1  # to see that the condition holds
    assert usage.billed == operations + 1 + usage.attempts


def test_a_workflow_that_needs_what_its_steps_return_is_not_counted() -> None:
    def phases(execution: Any) -> JsonObject:
        number: int = execution.context.step(lambda _: 1, name="number")
        return {"next": number + 1}

    with pytest.raises(stack.StackError, match="fails where its own steps return null"):
        cost.measure(sample.definition(), phases, EVENT, 1, FLAT)


def test_what_a_thousand_executions_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    prices = {
        "million_operations": 8,
        "gigabyte_written": 0.25,
        "gigabyte_month_retained": 0.15,
        "million_lambda_requests": 0.2,
        "million_write_units": 0.6,
        "million_read_units": 0.1,
        "million_messages": 0.5,
    }
    monkeypatch.setattr(cost, "PRICES", prices)
    of_an_execution = {"lambda_requests": 2, "read_units": 3, "write_units": 14}
    monkeypatch.setitem(cost.REQUESTS, "execution", of_an_execution)
    counts = Counter(execution=1, invocation=3, approval=2)
    usage = cost.Usage({"e"}, {("e", "a"), ("e", "b")}, 2, 2_000_000, counts)

    assert cost.price(usage, retention_days=60) == {
        "5 durable operations": pytest.approx(0.04),
        "2,000,000 bytes written": pytest.approx(0.5),
        "kept for 60 days": pytest.approx(0.6),
        "7 lambda requests": pytest.approx(0.0014),
        "5 read units": pytest.approx(0.0005),
        "18 write units": pytest.approx(0.0108),
        "2 messages": pytest.approx(0.001),
    }


def report(tmp_path: Path, event: Any = EVENT, **given: Any) -> int:
    """Run the command on the sample."""
    path = tmp_path / "event.json"
    path.write_text(json.dumps(event), encoding="utf-8")
    options = {"items": 5, "nesting": None, "items_per_checkpoint": None, "json": False}
    arguments = Namespace(event=str(path), **{**options, **given})
    return stack.report(lambda: cost.cost(arguments, sample.definition(), sample.phases()))


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(tmp_path) == 0

    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading == "5 items; 1,000 executions, in US dollars:"
    rows = dict(line.strip().rsplit(maxsplit=1) for line in lines if line[0] == " ")
    operations = measure(5, FLAT).billed
    dollars = operations / 1_000 * cost.PRICES["million_operations"]
    assert rows[f"{operations} durable operations"] == f"{dollars:.4f}"
    together = float(rows.pop("together"))
    assert together == pytest.approx(sum(map(float, rows.values())), abs=0.001)
    said = " ".join(lines)
    #% if cookiecutter.fan_out == "yes"
    assert "Executions each: 1; an account starts 300 in a second. " in said
    #% endif
    assert f"Prices of {cost.PRICES['read']}: ops/prices.toml." in said
    (retries,) = re.findall(r"an invocation that crashes or times out: at most (\d+)\.", said)
    assert int(retries) % (quotas.INVOCATION_ATTEMPTS - 1) == 0 < int(retries)
    assert "Compute comes on top: GB-seconds of the functions" in said


@pytest.mark.parametrize("given", [{}, {"nesting": "NESTED", "items_per_checkpoint": 2}])
def test_the_report_for_scripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: JsonObject
) -> None:
    assert report(tmp_path, json=True, **given) == 0

    said = json.loads(capsys.readouterr().out)
    shape = Shape(nesting="NESTED", items_per_checkpoint=2) if given else FLAT
    assert said["operations"] == measure(5, shape).billed
    gigabytes = said["writtenBytes"] / 1e6
    dollars = said["operations"] / 1e3 * cost.PRICES["million_operations"]
    dollars += gigabytes * cost.PRICES["gigabyte_written"]
    dollars += gigabytes / 2 * cost.PRICES["gigabyte_month_retained"]
    for name in ("lambda_requests", "read_units", "write_units", "messages"):
        dollars += said[name] / 1e3 * cost.PRICES[f"million_{name}"]
    assert said["dollarsPerThousand"] == pytest.approx(dollars)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"items": 2_000_000}, "--items is 2000000, expected 0 to "),
        ({"items": -1}, "--items is -1, expected 0 to "),
        ({"items_per_checkpoint": 0}, "--items-per-checkpoint is 0, expected 1 to 100"),
        ({"items_per_checkpoint": 101}, "--items-per-checkpoint is 101, expected 1 to 100"),
        ({"event": {"inputData": {"items": []}}}, "the event is refused: workflowId is missing"),
        ({"event": make_event("x" * 60_000)}, "the event is refused: inputData.items takes 300"),
    ],
)
def test_what_there_cannot_be(
    tmp_path: Path, given: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(tmp_path, **given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(message)


#% if cookiecutter.fan_out == "yes"
@pytest.mark.parametrize("shape", [FLAT, BULK], ids=["flat", "bulk"])
def test_what_chunks_take_is_projected(monkeypatch: pytest.MonkeyPatch, shape: Shape) -> None:
    settings = {**sample.SETTINGS, "CHUNK_SIZE": "20"}
    monkeypatch.setattr(local, "environment", lambda: settings)
    work = sample.definition(), sample.phases(), EVENT, 100, shape

    usage, computed = cost.measure(*work), cost.project(*work)

    assert usage.billed == computed.billed
    assert len(usage.executions) == len(computed.executions) == 6
    for counts in (computed.counts, usage.counts):
        assert counts.pop("invocation") > 5  # as often as the runner happens to
    assert computed.counts == usage.counts
    assert usage.counts["object written"] == 1 + 5  # the input, and what came of each chunk
    # The starter and the first step look at it; the first step reads it, twice, as do the checks
    # and the chunks.
    assert usage.counts["object read"] == 2 + 2 + len(sample.CHECKS) + 5
    assert computed.written_bytes == pytest.approx(usage.written_bytes, rel=0.1)


def test_ten_thousand_items_are_an_operation_each_and_little_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From chunks that take no time: what comes on top depends on how many there are."""

    def on_top(size: int) -> int:
        settings = {**sample.SETTINGS, "CHUNK_SIZE": str(size)}
        monkeypatch.setattr(local, "environment", lambda: settings)
        work = sample.definition(), sample.phases(), EVENT, 10_000, FLAT
        return cost.project(*work).billed - 10_000

    of_500, of_250 = on_top(20), on_top(40)
    of_one = (of_500 - of_250) / 250
    chunks = -(-10_000 // int(sample.SETTINGS["CHUNK_SIZE"]))

    assert of_one >= 1
    assert of_250 - (250 - chunks) * of_one <= 100


#% endif
class Renamed(WatchedClient):
    """The client of an execution that goes by its AWS name in the workflow."""

    def __init__(self, client: DurableServiceClient, emulated: str) -> None:
        super().__init__(client)
        self._emulated = emulated

    def checkpoint(
        self,
        durable_execution_arn: str,
        checkpoint_token: str,
        updates: list[OperationUpdate],
        client_token: str | None,
    ) -> CheckpointOutput:
        del durable_execution_arn
        return super().checkpoint(self._emulated, checkpoint_token, updates, client_token)

    def get_execution_state(
        self,
        durable_execution_arn: str,
        checkpoint_token: str,
        next_marker: str,
        max_items: int = 1000,
    ) -> StateOutput:
        del durable_execution_arn
        return super().get_execution_state(self._emulated, checkpoint_token, next_marker, max_items)


def kilobytes(row: JsonObject) -> int:
    """What DynamoDB bills for a row."""
    size = sum(len(name) + len(str(*value.values())) for name, value in row.items())
    return max(1, -(-size // 1_024))


class Spending:
    """What the requests of a session cost, in DynamoDB's units and in messages."""

    def __init__(self, table: Any) -> None:
        self.session = boto3.Session()
        self.found: dict[str, float] = {"read_units": 0, "write_units": 0, "messages": 0}
        self._lock = Lock()
        self._table = table
        self._indexed = self._index()
        self.session.events.register("before-parameter-build.dynamodb", self._request)
        self.session.events.register("after-call.dynamodb", self._answered)
        self.session.events.register("before-parameter-build.sns.Publish", self._publish)

    def _index(self) -> dict[tuple[str, ...], JsonObject]:
        """The rows of the indexes, each by the index and its own key."""
        return {
            (name, row["sk"]["S"], *row[sorted_by].values()): row
            for name, sorted_by in (("running", "lookAt"), ("listed", "listed"))
            for row in self._table.scan(TableName="tenants", IndexName=name)["Items"]
        }

    def _request(self, params: Any, model: Any, context: Any, **_: Any) -> None:
        self._lock.acquire()  # until it is answered, so that each sees what it has changed itself
        if model.name in {"GetItem", "Query"}:
            self.found["read_units"] += 1 if params.get("ConsistentRead") else 0.5
        else:
            operations = params.get("TransactItems", [{"Update": params}])
            context["written"] = [each for operation in operations for each in operation.values()]

    def _answered(self, context: Any, **_: Any) -> None:
        """A write for each row, and for each row of an index that has changed, to move it two.

        In a transaction each of them counts twice.
        """
        written = context.get("written", [])
        before, self._indexed = self._indexed, self._index()
        changed = [
            max(kilobytes(before.get(key, {})), kilobytes(self._indexed.get(key, {})))
            for key in before.keys() | self._indexed.keys()
            if before.get(key) != self._indexed.get(key)
        ]
        for request in written:
            key = request.get("Key") or {name: request["Item"][name] for name in ("pk", "sk")}
            row = self._table.get_item(TableName="tenants", Key=key).get("Item", {})
            changed.append(kilobytes(row))
        self.found["write_units"] += sum(changed) * min(2, len(written))
        self._lock.release()

    def _publish(self, **_: Any) -> None:
        self.found["messages"] += 1


#% if cookiecutter.__invoke
@pytest.mark.usefixtures("new_clients")
def test_a_usage_record_is_counted(table: Any, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    add("acme")
    spending = Spending(table)
    monkeypatch.setattr(credentials, "_session", lambda: spending.session)
    usage = {"startedAt": "t", "itemsProcessed": 1, "itemsFailed": 0}
    meter.handler({"tenantId": "acme", "executionArn": "arn", **usage}, None)

    spent = {name: number for name, number in spending.found.items() if number}
    assert {"lambda_requests": 1, **spent} == cost.REQUESTS["record"]
    assert measure(1, FLAT).counts["record"] == 1


#% endif
class Lambda:
    """Starts an execution where the starter asks AWS to."""

    def __init__(self, run: Callable[[str, JsonObject], str]) -> None:
        self._run = run

    def invoke(self, DurableExecutionName: str, Payload: bytes, **_: Any) -> Any:  # noqa: N803
        return {"DurableExecutionArn": self._run(DurableExecutionName, json.loads(Payload))}


def arn_on_aws(name: str, emulated: str) -> str:
    """The ARN that an execution of the emulator would have on AWS."""
    function = "arn:aws:lambda:us-east-1:123456789012:function:workflow:1"
    return f"{function}/durable-execution/{name}/{emulated.rpartition('/')[2]}"


@pytest.mark.parametrize(
    ("approvals", "chunks"),
    [
        ((), 0),
        (("one", "two"), 0),
        #% if cookiecutter.fan_out == "yes"
        ((), 3),
        #% endif
    ],
)
@pytest.mark.usefixtures("new_clients")
def test_the_requests_are_those_of_a_real_execution(
    aws: str,
    table: Any,
    add: Add,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    approvals: tuple[str, ...],
    chunks: int,
) -> None:
    """From the starter to the reconciler, with the table, the topic and the approver of a stack."""
    add("acme")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", aws)
    spending = Spending(table)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", spending.session)
    monkeypatch.setattr(credentials, "_session", lambda: spending.session)
    topic = boto3.client("sns").create_topic(Name="approvals")["TopicArn"]
    tokens, executions = SimpleQueue[str](), list[Any]()
    emulated, begun = list[str](), Event()

    def notify(topic_arn: str, subject: str, message: JsonObject) -> None:
        stores.publish(topic_arn, subject, message)
        tokens.put(message["token"])

    def run(name: str, event: JsonObject) -> str:
        def wrap(handler: local.Handler) -> local.Handler:
            def run_once(event: Any, context: Any) -> Any:
                own = event.durable_execution_arn
                emulated[:] = emulated or [own]
                begun.set()
                if own != emulated[0]:  # of a chunk
                    return handler(event, context)
                named = replace(event, durable_execution_arn=arn_on_aws(name, own))
                return invoke(handler, named, context, Renamed(event.service_client, own))

            return run_once

        own = replace(stores.AWS, notify=notify)
        #% if cookiecutter.fan_out == "yes"
        own = replace(own, objects=lambda tenant: local.FileObjects(local.OBJECTS, tenant))
        settings = {"CHUNK_SIZE": "2"} if chunks else {}
        monkeypatch.setattr(chunk_steps, "LOOK_SECONDS", 3600)  # however long it takes here
        #% else
        settings = dict[str, str]()
        #% endif
        options = {"stores": own, "wrap": wrap, "APPROVAL_TOPIC_ARN": topic, **settings}
        executions.append(start(event, approvals=approvals, stack=Stack("pool"), **options))
        assert begun.wait(20)
        return arn_on_aws(name, emulated[0])

    monkeypatch.setattr(starter, "_lambda", lambda: Lambda(run))
    definition: Definition[Any] = sample.definition()
    started = starter.starter(definition)(make_event(*range(2 * max(1, chunks))), None)
    assert started["started"], started
    functions = 1
    (execution,) = executions
    with lambda_api(execution) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", address)
        for _ in approvals:
            asked = {"tenantId": "acme", "token": tokens.get(timeout=20)}
            answer = {**asked, "answer": {"decision": "APPROVED"}}
            assert approver(sample.parse_answer)(answer, None) == {"accepted": True}
            functions += 1
        result = execution.runner.wait_for_result(emulated[0], timeout=30)
    assert result.error is None
    assert len(json.loads(result.result)["approvals"]) == len(approvals)
    status = {
        "durableExecutionName": started["executionName"],
        "durableExecutionArn": started["executionArn"],
        "status": "SUCCEEDED",
    }
    assert reconciler.handler({"detail": status}, None) == {"released": 1}
    functions += 1

    #% if cookiecutter.fan_out == "yes"
    if chunks:
        monkeypatch.setattr(local, "environment", lambda: {**sample.SETTINGS, "CHUNK_SIZE": "2"})
    #% endif
    counts = measure(2 * max(1, chunks), FLAT, approvals=approvals).counts
    for other in counts.keys() - {"execution", "approval", "progress", "chunk"}:
        if not other.startswith("kilobyte"):
            del counts[other]
    counted = cost.Usage(counts=counts)
    spent = {**spending.found, "lambda_requests": functions}
    assert {"messages": 0, **counted.requests()} == spent
