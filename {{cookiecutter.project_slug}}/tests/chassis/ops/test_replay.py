"""Histories of real executions, replayed with the code that they ran on and with other code."""

from __future__ import annotations

import dataclasses
import json
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Any

import boto3
import pytest
from aws_durable_execution_sdk_python import StepError
from aws_durable_execution_sdk_python.config import Duration
from aws_durable_execution_sdk_python.waits import WaitForConditionConfig, WaitForConditionDecision

from chassis import Attempt, ItemError, JsonObject, TransientError
from chassis.durable import RETRY_TRANSIENT
from chassis.durable import Execution as Phases
from chassis.model import Approval, Decision, InvalidInputError
from chassis.steps import work
from ops import deletion, executions, operations, replay, stack
from tests.chassis import sample
from tests.chassis.ops.lambda_api import lambda_api
from tests.execution import Execution, Start, make_event

HISTORY = Path(__file__).with_name("history.json")
AT_THE_END = {
    "aggregate-results": 1,
    #% if cookiecutter.front_door == "http_api"
    "record-result": 1,
    #% endif
}


def options(execution: str | None = None, **others: Any) -> Namespace:
    """The command line."""
    given = {"history": None, "save": None, "debug": False, "start": None, "live": False}
    return Namespace(execution=execution, **{**given, **others})


@contextmanager
def served(execution: Execution, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The Lambda API of an execution, where the verbs look for AWS."""
    with lambda_api(execution) as address, monkeypatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL_LAMBDA": address,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
        }.items():
            patch.setenv(name, value)
        yield


def large(item: JsonObject, attempt: Attempt) -> JsonObject:
    """Together, the results of 260 items do not fit into the checkpoint of a map."""
    if item["data"] == 7 and attempt.number == 1:
        raise TransientError("busy")
    if item["data"] == 9:
        raise ItemError("out of stock")
    return {"text": "x" * 1200}


ran = Counter[str]()
"""Bodies of ``everything``, below."""


def everything(execution: Phases[Any]) -> JsonObject:
    """Every kind of operation that there is, with retries, polls and what is too large."""
    plan, context = execution.prepare_work(), execution.context

    def note(name: str, result: Any) -> Any:
        ran[name] += 1
        return result

    def fail_once(step: Any) -> int:
        ran["retried"] += 1
        if step.attempt == 1:
            raise TransientError("later")
        return int(step.attempt)

    def inside(group: Any) -> str:
        parts = [
            group.step(lambda _: note("part", "y" * 200_000), name=f"part {number}")
            for number in range(2)
        ]
        return "".join(parts)

    def fail(_: Any) -> None:
        ran["failed"] += 1
        raise KeyError("no")

    poll: WaitForConditionConfig[int] = WaitForConditionConfig(
        lambda state, _: (
            WaitForConditionDecision.stop_polling()
            if state == 2
            else WaitForConditionDecision.continue_waiting(Duration(seconds=1))
        ),
        0,
    )
    approval = execution.ask_for_approval(plan, "approval", {}, sample.parse_answer)
    context.wait(Duration(seconds=2), name="pause")
    polled = context.wait_for_condition(lambda n, _: note("poll", n + 1), poll, name="poll")
    retried = context.step(fail_once, name="retried", config=RETRY_TRANSIENT)
    try:
        context.step(fail, name="failed", config=RETRY_TRANSIENT)
    except StepError as error:
        failed = error.message
    nothing = context.run_in_child_context(lambda _: None, name="nothing")
    group = context.run_in_child_context(inside, name="group")
    invoked: Any = context.invoke("other", {"a": 1}, name="invoked")
    items = execution.process_items(plan)
    return {
        "approval": approval.to_wire(),
        "values": [polled, retried, failed, nothing, len(group), invoked],
        "succeeded": items.succeeded,
        "failed": items.failed_items,
    }


def start_everything(start: Start, items: int, **options: Any) -> Execution:
    """An execution of ``everything``."""
    execution = start(
        make_event(*range(items)), run=everything, steps=(large,), skip_time=True, **options
    )
    execution.runner.register_function("other", lambda event, _: {"b": event["a"]})
    execution.approve()
    assert execution.output()["values"] == [2, 2, "'no'", None, 400_000, {"b": 1}]
    return execution


def events_of(execution: Execution) -> list[JsonObject]:
    """The history, as far as it has come."""
    found = execution.runner.get_execution_history(execution.arn, include_execution_data=True)
    return [event.to_dict() for event in found.events]


@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
def test_every_kind_of_operation(
    start: Start, nesting: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with results that the SDK has not kept, and in more events than a page has."""
    execution = start_everything(start, 260, NESTING=nesting, MAP_MAX_CONCURRENCY="50")
    before = ran.copy()
    with served(execution, monkeypatch):
        events = list(executions.history(execution.arn, payloads=True))
        assert replay.replay_it(options(execution.arn), sample.definition(large), everything) == 0
    printed = capsys.readouterr()

    assert printed.out == json.dumps(execution.output(), indent=2) + "\n"
    assert printed.err == "as the execution, which is SUCCEEDED\n"
    assert ran == before
    history = replay.read(events, execution.arn)
    made_again = [
        each.name
        for each in history.operations.values()
        if each.context_details and each.context_details.replay_children
    ]
    assert made_again == ["group", "process-items"]
    assert len(events) > (1000 if nesting == "NESTED" else 500)


def test_at_every_moment_of_a_history(start: Start) -> None:
    """Whatever has happened so far, it goes on, and nothing runs."""
    events = events_of(start_everything(start, 12))
    before, stops = ran.copy(), set[str]()

    for number in range(1, len(events)):
        history = replay.read(events[:number], "arn/1")
        outcome = replay.play(history, sample.definition(large), everything)
        stops.update(outcome.stops)
        assert (outcome.status != "FAILED", outcome.skipped) == (True, [])
        assert bool(outcome.stops) == (outcome.status == "PENDING")
    assert stops >= {
        "step prepare-work",
        "callback approval create callback id",
        "step approval submitter",
        "wait pause",
        "step poll",
        "step retried",
        "step failed",
        "step part 1",
        "chained invoke invoked",
        "step item-8",
        "step item-12",
    }
    assert ran == before


def failing(start: Start, **options: Any) -> Execution:
    """An execution that has failed: the last two of its four items are empty."""
    settings = {"TOLERATED_ITEM_FAILURE_PERCENTAGE": "49", "MAP_MAX_CONCURRENCY": "1"}
    execution = start(make_event("a", "b", {}, {}), **settings, **options)
    execution.approve()
    assert execution.error()[0] == "TooManyItemsFailedError"
    return execution


def saved(execution: Execution, path: Path) -> str:
    """Its history in a file, as ``--save`` writes it."""
    found = {"DurableExecutionArn": execution.arn, "Events": events_of(execution)}
    path.write_text(json.dumps(found, default=str), encoding="utf-8")
    return str(path)


def test_the_error_of_an_execution_is_raised_again(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bodies: Counter[str],
) -> None:
    execution = failing(start)
    before, frames = bodies.copy(), list[str]()

    def look(traceback: TracebackType) -> None:
        last = list(walk_tb(traceback))[-1][0]
        frames.append(f"{last.f_code.co_name}: {last.f_locals['outcomes'].failed}")

    monkeypatch.setattr("pdb.post_mortem", look)
    with served(execution, monkeypatch):
        verb = options(execution.arn, debug=True)
        assert replay.replay_it(verb, sample.definition(), sample.phases()) == 0

    kind, message = execution.error()
    error, *_, where, end = capsys.readouterr().err.splitlines()
    assert error == f"FAILED chassis.model.{kind}: {message}"
    assert where.startswith("  in require_tolerable, src/chassis/durable/items.py:")
    assert end == "as the execution, which is FAILED"
    assert frames == ["require_tolerable: 2"]
    assert bodies == before


def test_other_code_comes_to_something_else(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verb = options(history=saved(failing(start), tmp_path / "history.json"))

    def renamed(execution: Phases[Any]) -> JsonObject:
        execution.prepare_work()
        return execution.context.step(lambda _: {}, name="new-step")

    def shorter(execution: Phases[Any]) -> JsonObject:
        return {"items": execution.prepare_work()["item_count"]}

    assert replay.replay_it(verb, sample.definition(), renamed) == 1
    assert "'Step'" in (printed := capsys.readouterr().err)
    assert "NonDeterministicExecutionError" in printed
    assert "current='new-step'" in printed
    assert replay.replay_it(verb, sample.definition(), shorter) == 1
    printed = capsys.readouterr().err
    assert "the code does not ask for context process-items of the history\n" in printed
    assert printed.endswith("unlike the execution, which is FAILED\n")


@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
def test_a_fork_runs_what_has_failed(
    start: Start,
    nesting: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bodies: Counter[str],
) -> None:
    """With the key that the call had in the execution, and only if it may."""
    execution = failing(start, NESTING=nesting)
    history, before = saved(execution, tmp_path / "history.json"), bodies.copy()
    ran = list[tuple[str, int, str]]()

    def fixed(item: JsonObject, attempt: Attempt) -> JsonObject:
        ran.append((item["id"], attempt.number, attempt.idempotency_key))
        if len(ran) == 1:
            raise TransientError("busy")
        return {"size": 0}

    fixed.__name__ = "process"
    definition = sample.definition(fixed)
    assert replay.fork(options(history=history), definition, sample.phases()) == 1
    assert capsys.readouterr().err.splitlines() == [
        "again: item-3, item-4",
        "stops here without --live: step item-3",
    ]
    assert ran == []
    looked = list[TracebackType]()
    monkeypatch.setattr("pdb.post_mortem", looked.append)
    verb = options(history=history, live=True, debug=True)
    assert replay.fork(verb, sample.definition(), sample.phases()) == 1
    assert list(walk_tb(looked[0]))[-1][0].f_code.co_name == "require_tolerable"
    assert capsys.readouterr().err.startswith("again: item-3, item-4\nFAILED ")

    bodies.subtract(bodies - before)
    assert replay.fork(options(history=history, live=True), definition, sample.phases()) == 0
    printed = capsys.readouterr()
    output = json.loads(printed.out)
    assert (output["mapResults"]["succeeded"], output["mapResults"]["failed"]) == (4, 0)
    assert output["executionArn"] == execution.arn
    assert sorted(number for _, number, _ in ran) == [1, 1, 2]
    assert {item for item, _, _ in ran} == {"item-3", "item-4"}
    key = work._key(execution.arn, "item-3", "process")
    assert {each for item, _, each in ran if item == "item-3"} == {key}
    assert bodies - before == AT_THE_END


def test_a_fork_goes_on_from_any_operation(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str], bodies: Counter[str]
) -> None:
    def ship(item: JsonObject, attempt: Attempt) -> JsonObject:
        bodies[f"{item['id']} ship"] += 1
        return dict(attempt.previous)

    execution = start(make_event("a", "b"), steps=(sample.process, ship))
    execution.approve()
    execution.output()
    history = saved(execution, tmp_path / "history.json")
    definition = sample.definition(sample.process, ship)

    def forked(name: str, **others: Any) -> tuple[int, Counter[str]]:
        before = bodies.copy()
        verb = options(history=history, start=name, **others)
        return replay.fork(verb, definition, sample.phases()), bodies - before

    of_item = {"item-1": 1, "item-1 ship": 1}
    items = {**of_item, "item-2": 1, "item-2 ship": 1}
    assert forked("item-1", live=True) == (0, {**of_item, **AT_THE_END})
    assert forked("item-1 ship", live=True) == (0, {"item-1 ship": 1, **AT_THE_END})
    assert forked("count-items", live=True) == (0, {"count-items": 1, **items, **AT_THE_END})
    assert forked("aggregate-results") == (0, AT_THE_END)
    capsys.readouterr()
    assert forked("prepare-work") == (1, {"prepare-work": 1})
    assert capsys.readouterr().err.splitlines() == [
        "again: prepare-work",
        "not sent: Approval wanted: wf-1",
        "stops here without --live: callback approval create callback id",
    ]
    with pytest.raises(stack.UsageError, match="--from is nothing, expected one of prepare-work, "):
        forked("nothing")


def test_an_event_that_is_no_object_is_refused_again(start: Start) -> None:
    execution = start(["no", "object"])
    assert execution.output()["status"] == "REFUSED"
    history = replay.read(events_of(execution), execution.arn)

    outcome = replay.play(history, sample.definition(), sample.phases())

    assert (outcome.status, outcome.value) == ("SUCCEEDED", execution.output())


def test_what_waits_is_waited_for_no_longer(start: Start) -> None:
    """A fork lets no time pass, and tries again what asks for it."""
    execution = start_everything(start, 12)
    history = replay.read(events_of(execution), execution.arn)
    before = ran.copy()

    forked, names = replay.without(history, "pause")
    outcome = replay.play(forked, sample.definition(large), everything, lambda _: True)

    assert names == ["pause"]
    assert outcome.stops == ["chained invoke invoked"]
    assert ran - before == {"poll": 2, "retried": 2, "failed": 1, "part": 2}

    events = events_of(execution)
    names_begun = [event["Name"] for event in events if event["EventType"] == "StepStarted"]
    assert names_begun.count("retried") == 2
    last = max(
        number
        for number, event in enumerate(events)
        if (event["EventType"], event.get("Name")) == ("StepStarted", "retried")
    )
    before = ran.copy()
    history = replay.read(events[: last + 1], execution.arn)
    replay.play(history, sample.definition(large), everything, lambda name: name == "retried")
    assert ran - before == {"retried": 1}  # it is its second attempt


def test_files(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the service gives a history, as JSON Lines, and as it was saved."""
    execution = failing(start)
    paths = [tmp_path / name for name in ("saved.json", "service.json", "lines.jsonl")]
    with served(execution, monkeypatch):
        replay.load(options(execution.arn, save=str(paths[0])))
    events = json.loads(paths[0].read_text(encoding="utf-8"))["Events"]
    paths[1].write_text(json.dumps({"Events": events}, indent=2), encoding="utf-8")
    paths[2].write_text("\n".join(map(json.dumps, events)), encoding="utf-8")

    for path, arn in zip(paths, (None, execution.arn, execution.arn), strict=True):
        verb = options(arn, history=str(path))
        assert replay.load(verb).arn == execution.arn
        assert replay.replay_it(verb, sample.definition(), sample.phases()) == 0
        assert execution.question.callback_id not in path.read_text(encoding="utf-8")
    for path in paths[1:]:  # the keys of calls would be others
        with pytest.raises(stack.UsageError, match="the file has no ARN"):
            replay.load(options(history=str(path)))
    paths[0].write_text("nothing", encoding="utf-8")
    for path, why in ((paths[0], "cannot read the history"), (tmp_path / "x", "cannot read")):
        with pytest.raises(stack.StackError, match=why):
            replay.load(options(history=str(path)))
    with pytest.raises(stack.UsageError, match="give the ARN of an execution, or --history FILE"):
        replay.load(options())
    with served(execution, monkeypatch):
        without_data = list(executions.history(execution.arn))
    with pytest.raises(stack.StackError, match="the history has no payload of "):
        replay.read(without_data, execution.arn)
    with pytest.raises(stack.StackError, match="this is no history"):
        replay.read([], "arn")


@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
def test_the_operations_are_listed_in_their_order(
    start: Start,
    nesting: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Branches and items in the order that they have, however they were started."""

    def ship(_: JsonObject, attempt: Attempt) -> JsonObject:
        return dict(attempt.previous)

    execution = start(make_event(*"abc"), steps=(sample.process, ship), NESTING=nesting)
    execution.approve()
    deep = "  " if nesting == "FLAT" else "    "
    found = "".join(line for each in execution.ended.operations for line in operations.lines(each))

    listed = [line for line in found.splitlines() if line.startswith(deep)]
    assert [line.strip() for line in listed if "approval" not in line] == [
        *sample.CHECKS,
        *(f"item-{number}{step}" for number in (1, 2, 3) for step in ("", " ship")),
    ]
    monkeypatch.setattr(operations, "FILE", tmp_path / "operations.txt")
    monkeypatch.setattr(operations, "outline", lambda: found)
    operations.main(Namespace(write=False))
    assert capsys.readouterr().out == found
    assert not operations.FILE.exists()
    operations.main(Namespace(write=True))
    assert operations.FILE.read_text(encoding="utf-8") == found


def test_what_the_local_runner_never_says() -> None:
    """Kinds of events that the service has, beside those."""
    kinds = {
        "ExecutionPaused": None,
        "ExecutionResumed": None,
        "ChainedInvokeTimedOut": "TIMED_OUT",
        "ChainedInvokeStopped": "STOPPED",
        "WaitCancelled": "CANCELLED",
        "CallbackTimedOut": "TIMED_OUT",
    }
    model = boto3.client("lambda", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    known = set(model.meta.service_model.shape_for("EventType").enum)
    begun = {
        "EventType": "ExecutionStarted",
        "ExecutionStartedDetails": {"Input": {"Payload": "{}"}},
    }

    for kind, status in kinds.items():
        error = {"Error": {"Payload": {"ErrorType": "E", "ErrorMessage": "m"}}}
        event = {"EventType": kind, "Id": "1", "Name": "one", f"{kind}Details": error}
        operations = replay.read([begun, event], "arn").operations
        assert [each.status.value for each in operations.values()] == ([status] if status else [])
    assert kinds.keys() <= known
    assert {kind for kind in known if not replay.EVENT.fullmatch(kind)} == {
        *("ExecutionPaused", "ExecutionResumed", "InvocationCompleted")
    }


def test_executions_that_run_are_checked(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    execution = start(make_event("a"))
    assert execution.question
    monkeypatch.setattr(deletion, "resources_of", lambda _: {"WorkflowFunction": "test-function"})

    def check(run: Any, **definition: Any) -> tuple[int, str]:
        changed = dataclasses.replace(sample.definition(), **definition)
        status = replay.check_running(options(), changed, run)
        line, count = capsys.readouterr().out.splitlines()
        assert count == f"{status} executions could not go on with this code, 0 could not be read"
        return status, line.partition(": ")[2]

    def inserted(execution: Phases[Any]) -> JsonObject:
        execution.context.step(lambda _: None, name="new-step")
        return {}

    def refuse(_: Any) -> Any:
        raise InvalidInputError("no orderId")

    with served(execution, monkeypatch):
        waits = "goes on, callback approval create callback id"
        assert check(sample.phases()) == (0, waits)
        assert check(sample.phases(approvals=("approval", "second"))) == (0, waits)
        status, problem = check(inserted)
        assert status == 1
        assert problem.startswith("step prepare-work, aws_durable")
        assert "NonDeterministicExecutionError" in problem
        assert problem.endswith("name checkpoint='prepare-work' current='new-step'")
        assert check(lambda execution: {"plan": len(execution.prepare_work())}) == (
            *(1, "the code does not ask for context approval"),
        )
        assert check(sample.phases(), parse_request=refuse) == (1, "REFUSED: no orderId")
        execution.approve()
        execution.output()
        assert replay.check_running(options(), sample.definition(), inserted) == 0
        assert capsys.readouterr().out.startswith("0 executions could not go on with this code, ")


def test_an_execution_that_cannot_be_read_does_not_end_the_check(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that are gone or over since they were listed are nothing wrong."""
    failed, waits = failing(start), start(make_event("a"))
    assert waits.question
    arns = {"gone": "arn/gone/1", "over": failed.arn, "cut": "arn/cut/2", "waits": waits.arn}
    monkeypatch.setattr(deletion, "resources_of", lambda _: {"WorkflowFunction": "test-function"})

    def active(_: str) -> list[JsonObject]:
        return [{"DurableExecutionArn": arns[name], "DurableExecutionName": name} for name in arns]

    def history(arn: str, *, payloads: bool) -> Iterator[JsonObject]:
        if arn == failed.arn:
            return iter(events_of(failed))  # of another runner
        is_cut = arn == arns.get("cut")
        return read_history(waits.arn if is_cut else arn, payloads=payloads and not is_cut)

    read_history = executions.history
    monkeypatch.setattr(deletion, "active", active)
    monkeypatch.setattr(executions, "history", history)
    with served(waits, monkeypatch):
        assert replay.check_running(options(), sample.definition(), sample.phases()) == 1
        assert capsys.readouterr().out.splitlines() == [
            "gone: is gone",
            "over: is over",
            "cut: could not be read: the history has no payload of execution-name: "
            "it has to be read with --include-execution-data",
            "waits: goes on, callback approval create callback id",
            "0 executions could not go on with this code, 1 could not be read",
        ]
        del arns["cut"]
        assert replay.check_running(options(), sample.definition(), sample.phases()) == 0


#% if cookiecutter.fan_out == "yes"
def test_a_chunk_has_a_history_of_its_own(start: Start) -> None:
    execution = start(
        make_event("a", {}, "c", "d"),
        CHUNK_SIZE="2",
        FAN_OUT_WIDTH="100",
        TOLERATED_ITEM_FAILURE_PERCENTAGE="0",
    )
    execution.approve()
    kind, message = execution.error()
    history = replay.read(events_of(execution), execution.arn)
    outcome = replay.play(history, sample.definition(), sample.phases())
    assert outcome.value == [f"chassis.model.{kind}", message]

    results = []
    for arn in history.invoked.values():
        found = execution.runner.get_execution_history(arn, include_execution_data=True)
        of_chunk = replay.read([event.to_dict() for event in found.events], arn)
        replayed = replay.play(of_chunk, sample.definition(), sample.phases())
        assert (replayed.status, replayed.value) == of_chunk.end
        results.append((replayed.value["succeeded"], replayed.value["failed"]))
        forked, names = replay.without(of_chunk, None)
        assert names == ["item-2"] * replayed.value["failed"]
        stops = replay.play(forked, sample.definition(), sample.phases()).stops
        assert stops == [f"step {name}" for name in names]
    assert sorted(results) == [(1, 1), (2, 0)]

    forked, names = replay.without(history, "chunk-1")
    assert names == ["chunk-1"]
    (stop,) = replay.play(forked, sample.definition(), sample.phases()).stops
    assert stop.partition(", ")[0] == "chained invoke chunk-1"
    assert stop.partition(", ")[2] in history.invoked.values()


#% endif
def test_a_history_of_a_failure_that_is_fixed(capsys: pytest.CaptureFixture[str]) -> None:
    """The one of docs/operate.md: an answer that did not come through the approver."""
    verb = options(history=str(HISTORY))
    replay.replay_it(verb, sample.definition(), sample.phases())
    printed = capsys.readouterr().err
    assert printed.startswith("FAILED chassis.model.InvalidAnswerError: ")
    assert "  in await_approval, src/chassis/durable/approval.py:" in printed

    def fixed(execution: Phases[Any]) -> JsonObject:
        plan = execution.prepare_work()
        approval = execution.ask_for_approval(
            plan, "approval", {}, lambda _: Approval(Decision.APPROVED, goes_on=True)
        )
        items = execution.process_items(plan)
        return {"approved": approval.goes_on, "items": items.to_wire()}

    assert replay.replay_it(verb, sample.definition(), fixed) == 1
    assert "the history ends here: step approval recorded" in capsys.readouterr().err
    assert replay.fork(options(history=str(HISTORY), live=True), sample.definition(), fixed) == 0
    assert json.loads(capsys.readouterr().out)["approved"]
