"""Crashes: whenever an invocation is killed, the execution ends as if it had not been."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event
from typing import Any

import pytest
from aws_durable_execution_sdk_python.config import StepConfig, StepSemantics
from aws_durable_execution_sdk_python.exceptions import CheckpointError
from aws_durable_execution_sdk_python.retries import RetryPresets
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis import Attempt, JsonObject
from chassis.durable import Execution as Phases
from tests.chassis import sample
from tests.chassis.durable.test_replay import Suspension
from tests.crashes import MOMENTS, Crasher, Moment, start_crashing
from tests.execution import SECONDS, Execution, Start, make_event

ITEMS: tuple[Any, ...] = ("a", {}, "b")  # the second one fails
STEPS = {
    "prepare-work",
    "approval submitter",
    "approval recorded",
    *sample.CHECKS,
    *(f"item-{number}" for number in range(1, len(ITEMS) + 1)),
    *sample.ENDING,
}
MEASURED = {"startedAt", "finishedAt", "durationSeconds"}


def outcome(execution: Execution) -> tuple[JsonObject, list[Any]]:
    """Everything that two executions of one event have in common."""
    output = execution.output()
    metrics = {name: value for name, value in output["metrics"].items() if name not in MEASURED}
    return output | {"executionArn": None, "metrics": metrics}, execution.identities()


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_execution_survives_a_crash_at_any_moment(
    start: Start, bodies: Counter[str], moment: Moment
) -> None:
    """``pytest -s -k survives`` prints how many crashes there were."""

    def approved(*numbers: int) -> tuple[Execution, Crasher]:
        suspension = Suspension()
        execution, crasher = start_crashing(
            start, make_event(*ITEMS), moment, numbers, plugins=[suspension]
        )
        suspension.wait()
        execution.approve()
        return execution, crasher

    undisturbed, nothing = approved()
    expected = outcome(undisturbed)
    assert bodies == dict.fromkeys(STEPS, 1)
    assert nothing.saved == STEPS  # whatever does something is a step

    crashes = misses = 0
    for number in count(1):
        bodies.clear()
        execution, crasher = approved(number)

        assert outcome(execution) == expected
        assert bodies.keys() == STEPS
        assert {step: bodies[step] for step in crasher.saved} == dict.fromkeys(crasher.saved, 1)
        assert max(bodies.values()) <= 1 + crasher.crashed
        crashes += crasher.crashed
        misses += not crasher.crashed
        if misses == 3:  # checkpoints are batched: another run may have had one more
            break
    assert crashes >= (2 if moment == "return" else 8)
    print(f"survived {crashes} crashes out of {crashes}: {moment}")


def test_a_step_whose_effect_must_not_happen_twice_does_not(start: Start) -> None:
    """At most once, and no retry: the step fails where its outcome is not known."""
    effects: list[str] = []
    config = StepConfig(
        step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=RetryPresets.none()
    )

    def run(execution: Phases[Any]) -> JsonObject:
        execution.context.step(lambda _: effects.append("done"), name="charge", config=config)
        return {}

    for number in count(1):
        effects.clear()
        execution, crasher = start_crashing(start, make_event(), "before", {number}, run=run)
        failed = execution.ended.error is not None
        assert len(effects) == 1
        if not crasher.crashed:
            break
        assert failed == (number > 1)
    assert number > 2
    assert not failed


def refusal(code: str, status: int, message: str = "no") -> CheckpointError:
    """What the SDK makes of an answer of the service."""
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return CheckpointError.from_exception(ClientError(response, "CheckpointDurableExecution"))


STALE = "Invalid checkpoint token"
"""As when Lambda runs an invocation twice: the older one gives up, the newer one goes on."""


@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        pytest.param(range(3, 7), refusal("TooManyRequestsException", 429), id="throttled"),
        pytest.param(range(3, 7), refusal("ServiceException", 500), id="broken"),
        pytest.param({4}, refusal("InvalidParameterValueException", 400, STALE), id="stale"),
    ],
)
def test_an_execution_outlives_checkpoints_that_are_refused_for_a_while(
    start: Start, numbers: Any, error: CheckpointError
) -> None:
    execution, crasher = start_crashing(start, make_event("a"), "before", numbers, error)
    execution.approve()

    assert execution.output()["mapResults"]["succeeded"] == 1
    assert crasher.crashed == len(numbers)


def test_a_conflict_is_not_tried_again(start: Start) -> None:
    conflict = refusal("ResourceConflictException", 409)
    execution, crasher = start_crashing(
        start, make_event("a"), "before", {4}, conflict, approvals=()
    )

    assert execution.error()[0] == "CheckpointError"
    assert crasher.crashed == 1


def test_an_invocation_that_times_out_in_the_middle_of_the_map_loses_nothing(
    start: Start,
) -> None:
    calls, again = Counter[str](), Event()

    def slow_once(item: JsonObject, attempt: Attempt) -> JsonObject:
        calls[item["id"]] += 1
        if item["data"] == "slow" and calls[item["id"]] == 1:
            again.wait(SECONDS)
        elif item["data"] == "slow":
            again.set()
        return sample.process(item, attempt)

    execution = start(
        make_event("a", "slow", "b"),
        steps=(slow_once,),
        invocation_timeout=1,
        MAP_MAX_CONCURRENCY="1",
    )
    execution.approve()

    assert execution.output()["mapResults"]["succeeded"] == 3
    assert again.is_set()
    assert calls["item-1"] == 1


def test_an_answer_may_come_before_the_workflow_waits_for_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify = Execution.notify

    def answer_at_once(execution: Execution, *told: Any) -> None:
        notify(execution, *told)
        execution.approve()

    monkeypatch.setattr(Execution, "notify", answer_at_once)

    assert start(make_event("a")).output()["mapResults"]["succeeded"] == 1


def test_of_answers_that_race_one_is_taken(start: Start) -> None:
    execution = start(make_event("a"))
    callback_id = execution.question.callback_id

    def send(decision: str) -> str | None:
        answer = json.dumps({"decision": decision, "decidedBy": decision}).encode()
        try:
            execution.runner.send_callback_success(callback_id, answer)
        except Exception:  # noqa: BLE001 - the runner has a type of its own for each way to be late
            return None
        return decision

    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(send, ["APPROVED", "REJECTED"] * 4)
    (taken,) = {answer for answer in answers if answer}

    output = execution.output()
    assert [approval["decidedBy"] for approval in output["approvals"]] == [taken]
    assert output["mapResults"]["succeeded"] == (1 if taken == "APPROVED" else 0)
    assert send("APPROVED") is None  # late, and again


ANSWERS = {
    "APPROVED": '{"decision": "APPROVED"}',
    "REJECTED": '{"decision": "REJECTED"}',
    "malformed": '{"decision": "yes"}',
}


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    items=st.lists(st.sampled_from(["x", 7, ["deep"], {}, ""]), min_size=1, max_size=6),
    answer=st.sampled_from(list(ANSWERS)),
    moment=st.sampled_from(MOMENTS),
    numbers=st.sets(st.integers(1, 12), max_size=3),
    nesting=st.sampled_from(["FLAT", "NESTED"]),
    items_per_checkpoint=st.integers(1, 3),
)
def test_whatever_happens_it_ends_as_it_should(
    start: Start,
    items: list[Any],
    answer: str,
    moment: Moment,
    numbers: set[int],
    nesting: str,
    items_per_checkpoint: int,
) -> None:
    execution, _ = start_crashing(
        start,
        make_event(*items),
        moment,
        numbers,
        NESTING=nesting,
        ITEMS_PER_CHECKPOINT=str(items_per_checkpoint),
    )
    execution.answer_with(ANSWERS[answer])

    if answer == "malformed":
        assert execution.error()[0] == "InvalidAnswerError"
        return
    output = execution.output()
    processed = [
        (f"item-{number}", item not in ({}, ""))
        for number, item in enumerate(items, 1)
        if answer == "APPROVED"
    ]
    results, failed = output["mapResults"]["results"], output["mapResults"]["failedItems"]
    assert [item["id"] for item in results] == [name for name, is_good in processed if is_good]
    assert [item["id"] for item in failed] == [name for name, is_good in processed if not is_good]
    assert output["mapResults"]["succeeded"] == len(results)
    assert output["mapResults"]["failed"] == len(failed)
    assert [approval["decision"] for approval in output["approvals"]] == [answer]
