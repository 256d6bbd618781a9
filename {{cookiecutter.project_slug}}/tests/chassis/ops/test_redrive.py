"""Executions started again with what has no result: read from the emulator, started by hand."""

from __future__ import annotations

import json
from argparse import Namespace
#% if cookiecutter.fan_out == "yes"
from collections import Counter
#% endif
from collections.abc import Callable, Iterator
from contextlib import ExitStack
#% if cookiecutter.fan_out == "yes"
from pathlib import Path
#% endif
from typing import Any

import pytest

from chassis import Attempt, ItemError, JsonObject
#% if cookiecutter.fan_out == "yes"
from chassis.steps import chunks
from chassis.tenancy.stores import Stores
from ops import executions, redrive, stack
#% else
from ops import redrive, stack
#% endif
from tests.chassis import sample
from tests.chassis.ops.lambda_api import lambda_api
from tests.execution import Execution, Start, make_event

#% if cookiecutter.fan_out == "yes"
ALL_AT_ONCE = {"FAN_OUT_WIDTH": "100"}  # the local runner stalls now and then when it has to wait
#% endif
Again = Callable[..., JsonObject]


class Steps:
    """Two steps of an item, the second of which fails for some data; it notes its attempts."""

    def __init__(self, *broken: str) -> None:
        self.broken = set(broken)
        self.attempts: dict[str, list[Attempt]] = {}

    def all(self, number: int) -> tuple[Any, ...]:
        def look_up(item: JsonObject, attempt: Attempt) -> JsonObject:
            del attempt
            return {"data": item["data"]}

        def process(item: JsonObject, attempt: Attempt) -> JsonObject:
            self.attempts.setdefault(item["id"], []).append(attempt)
            if item["data"] in self.broken:
                raise ItemError("broken")
            return {"done": True}

        return (look_up, process)[-number:]


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> Iterator[Again]:
    """What the starter is sent for a redrive of an execution of the sample."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setattr(stack, "output", lambda name: name)
    with ExitStack() as served:

        def redrive_it(execution: Execution, *steps: Any, is_all: bool = False) -> JsonObject:
            sent: list[JsonObject] = []

            def call(function: str, event: JsonObject) -> JsonObject:
                assert function == "StarterFunctionName"
                sent.append(json.loads(json.dumps(event)))
                return {"started": True, "executionArn": "arn"}

            address = served.enter_context(lambda_api(execution))
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", address)
            monkeypatch.setattr(stack, "call", call)
            options = Namespace(execution=execution.arn, all=is_all, wait=False, json=False)
            assert redrive.redrive(options, sample.definition(*steps)) == 0
            (event,) = sent
            return event

        yield redrive_it


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    "settings", [{}, {"NESTING": "NESTED"}, {"ITEMS_PER_CHECKPOINT": "3"}], ids=str
)
def test_the_items_that_failed_are_started_again_with_the_keys_that_they_had(
    start: Start,
    again: Again,
    settings: dict[str, str],
    number: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The approvers see what it is a redrive of; a redrive of it is one of the first, too."""
    steps = Steps("b", "d")
    fields = {"items": [*"abcd"], "note": "an owner's"}
    first = start(make_event() | {"inputData": fields}, steps=steps.all(number), **settings)
    first.approve()
    assert first.output()["mapResults"]["failed"] == 2

    event = again(first, *steps.all(number))
    of_first = {"executionArn": first.arn, "items": [2, 4]}
    assert capsys.readouterr() == ("started arn\n", "2 of its 4 items, after an approval\n")
    assert event == make_event() | {
        "inputData": {**fields, "items": ["b", "d"]},
        "requestKey": "redrive of " + "/".join(first.arn.split("/")[-2:]),
        "redriveOf": of_first,
    }
    assert again(first, *steps.all(number)) == event
    steps.broken = {"d"}
    second = start(event, steps=steps.all(number))
    asked = second.question.message
    assert (asked["redriveOf"], asked["evidence"]["count"]) == (first.arn, 2)
    second.approve()
    output = second.output()
    assert output["redriveOf"] == first.arn
    assert [item["id"] for item in output["mapResults"]["results"]] == ["item-2"]
    assert len(steps.attempts["item-1"]) == 1
    for name in ("item-2", "item-4"):
        before, after = steps.attempts[name]
        assert (after.idempotency_key, after.execution_arn) == (before.idempotency_key, first.arn)

    third = again(second, *steps.all(number))
    assert third["redriveOf"] == of_first | {"items": [4]}
    assert third["inputData"] == {**fields, "items": ["d"]}
    assert third["requestKey"] == "redrive of " + "/".join(second.arn.split("/")[-2:])


def test_what_was_not_begun_is_started_again_too(start: Start, again: Again) -> None:
    """Of one that has failed, or that nobody has approved; and all, if that is asked for."""
    steps = Steps("b").all(1)
    strict = {"TOLERATED_ITEM_FAILURE_PERCENTAGE": "0", "MAP_MAX_CONCURRENCY": "1"}
    failed = start(make_event(*"abcd"), steps=steps, **strict)
    failed.approve()
    assert failed.error()[0] == "TooManyItemsFailedError"
    rejected = start(make_event(*"abcd"), steps=steps)
    rejected.reject()
    assert rejected.output()
    refused = start(make_event("a") | {"tenantId": "globex"}, steps=steps)
    assert refused.ended.error

    assert again(failed, *steps)["redriveOf"]["items"] == [2, 3, 4]
    assert again(failed, *steps, is_all=True)["redriveOf"]["items"] == [1, 2, 3, 4]
    assert again(rejected, *steps)["redriveOf"]["items"] == [1, 2, 3, 4]
    assert again(refused, *steps)["inputData"]["items"] == ["a"]


def test_what_cannot_be_started_again(
    start: Start, again: Again, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = start(make_event("a"))
    assert execution.question
    with pytest.raises(stack.StackError, match=r"^it is RUNNING: wait for its end, or stop it$"):
        again(execution)
    execution.approve()
    assert execution.output()
    with pytest.raises(stack.StackError, match=r"^each of its items has a result: --all"):
        again(execution)
    invalid = start(make_event() | {"inputData": {}})
    assert invalid.refusal()
    with pytest.raises(stack.StackError, match=r"^its input was refused, so repair it, .*items is"):
        again(invalid)

    assert again(execution, is_all=True)
    monkeypatch.setattr(stack, "call", lambda *_: {"started": False, "reason": "suspended"})
    options = Namespace(execution=execution.arn, all=True, wait=False, json=False)
    assert redrive.redrive(options, sample.definition()) == 1
    assert capsys.readouterr().err.endswith(
        "suspended\nif it was redriven before, that execution can be redriven\n"
    )


#% if cookiecutter.fan_out == "yes"
@pytest.mark.parametrize("is_stored", [False, True], ids=["items", "inputRef"])
def test_what_has_failed_in_chunks_is_started_again_with_the_keys_that_it_had(
    start: Start, again: Again, tmp_path: Path, is_stored: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it is cut then; a redrive of it has no more than it had."""
    steps, sent = Steps("b", "c", "e"), make_event(*"abcdefg")
    if is_stored:
        sent["inputData"] = {"inputRef": "in.jsonl"}
        (tmp_path / "tenants/acme").mkdir(parents=True)
        (tmp_path / "tenants/acme/in.jsonl").write_text("\n".join(map(json.dumps, "abcdefg")))
    first = start(sent, steps=steps.all(2), CHUNK_SIZE="2", **ALL_AT_ONCE)
    first.approve()
    folder = first.output()["mapResults"]["resultsRef"]

    event = again(first, *steps.all(2))
    assert capsys.readouterr().err == "3 of its items, after an approval\n"
    ref = "in.jsonl" if is_stored else f"{folder}input.jsonl"
    assert event["inputData"] == {"inputRef": ref}
    of_first = event["redriveOf"]
    assert of_first | {"sha256": ""} == {
        "executionArn": first.arn,
        "items": [],
        "lines": [[2, 3], [5, 5]],
        "sha256": "",
    }
    every = again(first, *steps.all(2), is_all=True)
    assert capsys.readouterr().err == "all of its items, after an approval\n"
    assert every["redriveOf"] | {"lines": of_first["lines"]} == of_first
    assert "lines" not in every["redriveOf"]

    steps.broken = {"e"}
    second = start(event, steps=steps.all(2), CHUNK_SIZE="1", **ALL_AT_ONCE)
    assert second.question.message["evidence"]["count"] == 3
    second.approve()
    output = second.output()
    assert (output["redriveOf"], output["mapResults"]["succeeded"]) == (first.arn, 2)
    assert output["mapResults"]["failedItems"] == [{"id": "item-5", "error": "broken"}]
    operations = second.ended.get_context("process-chunks").child_operations
    names = sorted(str(operation.name) for operation in operations)
    assert names == ["chunk-1", "chunk-2", "chunk-3"]  # the lines that follow are in none
    tries = [len(steps.attempts[f"item-{number}"]) for number in range(1, 8)]
    assert tries == [1, 2, 2, 1, 2, 1, 1]
    for number in (2, 3, 5):
        before, after = steps.attempts[f"item-{number}"]
        assert (after.idempotency_key, after.execution_arn) == (before.idempotency_key, first.arn)
    third = again(second, *steps.all(2))
    assert third["redriveOf"] == of_first | {"lines": [[5, 5]]}
    assert third["requestKey"] == "redrive of " + "/".join(second.arn.split("/")[-2:])
    assert again(second, *steps.all(2), is_all=True)["redriveOf"] == of_first

    (tmp_path / "tenants/acme" / ref).write_text("1\n2\n3\n4\n5\n6\n7\n")
    changed = start(third, steps=steps.all(2))
    assert changed.refusal() == f"{ref} has changed since it was cut: put another input elsewhere"
    fourth = again(changed, *steps.all(2))
    assert fourth["redriveOf"] == third["redriveOf"]
    fourth["redriveOf"]["sha256"] = []
    assert start(fourth, steps=steps.all(2)).refusal() == changed.refusal()


def test_a_chunk_that_has_not_come_to_its_end_is_started_again_as_a_whole(
    start: Start, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has stored what came of its items, or it was never begun; the last try counts."""
    steps, store, tried = Steps("a").all(1), chunks.store, Counter[str]()

    def fail(stores: Stores, tenant_id: str, ref: str, lines: list[JsonObject]) -> None:
        number = ref[-7:-6]
        tried[number] += 1
        if number in {"2", "3"} or (number, tried[number]) == ("1", 1):
            raise RuntimeError("broken")
        store(stores, tenant_id, ref, lines)

    rejected = start(make_event(*"abcde"), steps=steps, CHUNK_SIZE="2")
    rejected.reject()
    assert rejected.output()
    with monkeypatch.context() as patch:
        patch.setattr(chunks, "store", fail)
        failed = start(make_event(*"abcdefg"), steps=steps, CHUNK_SIZE="2", **ALL_AT_ONCE)
        failed.approve()
        assert failed.output()["mapResults"]["failed"] == 5
    done = start(make_event(*"bcd"), steps=steps, CHUNK_SIZE="2", **ALL_AT_ONCE)
    done.approve()
    assert done.output()["mapResults"]["failed"] == 0

    assert again(rejected, *steps)["redriveOf"]["lines"] == [[1, 5]]
    assert again(failed, *steps)["redriveOf"]["lines"] == [[1, 1], [3, 6]]
    with pytest.raises(stack.StackError, match=r"^each of its items has a result: --all"):
        again(done, *steps)
    told = executions.describe

    def describe(arn: str) -> JsonObject:
        return told(arn) | ({} if arn == failed.arn else {"Status": "RUNNING"})

    monkeypatch.setattr(executions, "describe", describe)
    with pytest.raises(stack.StackError, match=r"^chunk-2 of it still runs: wait for its end$"):
        again(failed, *steps)


def test_where_parts_would_be_too_many_what_is_between_comes_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [1, 3, 9, 10, 13, 25]
    parts = {}
    for most in (5, 4, 3, 2, 1):
        monkeypatch.setattr(redrive, "MAX_PARTS", most)
        parts[most] = redrive.in_parts(lines)

    assert parts == {
        5: [[1, 1], [3, 3], [9, 10], [13, 13], [25, 25]],
        4: [[1, 3], [9, 10], [13, 13], [25, 25]],
        3: [[1, 3], [9, 13], [25, 25]],
        2: [[1, 13], [25, 25]],
        1: [[1, 25]],
    }


def test_a_part_of_the_items_is_not_cut_into_chunks(start: Start) -> None:
    """Their numbers would be others."""
    of_first = {"redriveOf": {"executionArn": "arn", "items": [2, 3]}}
    redriven = start(make_event("a", "b") | of_first, CHUNK_SIZE="1")
    assert redriven.refusal().startswith("a redrive of 2 items, and one execution processes 1 ")


#% endif
def test_the_workflow_of_this_project_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    from workflow.definition import DEFINITION

    monkeypatch.setattr(redrive, "redrive", lambda *arguments: arguments)
    options = Namespace()

    assert redrive.main(options) == (options, DEFINITION)  # type: ignore[comparison-overlap]
