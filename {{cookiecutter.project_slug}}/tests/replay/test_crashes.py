"""Crashes: whenever an invocation is killed, the execution ends as if it had not been."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.config import StepConfig, StepSemantics
from aws_durable_execution_sdk_python.exceptions import CheckpointError
from aws_durable_execution_sdk_python.retries import RetryPresets
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops import local
from tests.conftest import LOCAL_HANDLER
from tests.execution import Execution, Start, make_event
from tests.replay.crashes import MOMENTS, Crasher, Moment
from tests.replay.test_replay import identities
from workflow import data_processor, steps
from workflow.checks import CHECKS
from workflow.models import ItemResult, JsonObject, WorkItem

ITEMS: tuple[Any, ...] = ("a", {}, "b")  # the second one fails
STEPS = {
    "prepare-work",
    "approval submitter",
    #% if cookiecutter.__wait_for_condition
    "await-readiness",
    #% endif
    *CHECKS,
    *(f"work-item-{number}" for number in range(1, len(ITEMS) + 1)),
    #% if cookiecutter.__child_context
    "tell-approvers",
    "tell-operators",
    #% endif
    "aggregate-results",
}


def outcome(execution: Execution) -> tuple[JsonObject, list[Any]]:
    """Everything that two executions of one event have in common."""
    output = execution.output()
    metrics = {k: v for k, v in output["metrics"].items() if k not in MEASURED}
    rest = {k: v for k, v in output.items() if k not in {"executionArn", "metrics"}}
    return rest | {"metrics": metrics}, identities(execution)


MEASURED = {"startedAt", "finishedAt", "durationSeconds"}


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_execution_survives_a_crash_at_any_moment(
    start: Start, bodies: Counter[str], moment: Moment
) -> None:
    """Prints how many crashes there were: ``pytest tests/replay -s -k survives``."""
    nothing = Crasher(LOCAL_HANDLER, moment, ())
    undisturbed = start(make_event(*ITEMS), handler=nothing)
    undisturbed.approve()
    expected = outcome(undisturbed)
    assert bodies == dict.fromkeys(STEPS, 1)
    assert nothing.saved == STEPS  # whatever does something is a step

    crashes = misses = 0
    for number in itertools.count(1):
        bodies.clear()
        crasher = Crasher(LOCAL_HANDLER, moment, {number})
        execution = start(make_event(*ITEMS), handler=crasher)
        execution.approve()

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

    def handler(event: Any, context: DurableContext) -> Any:
        del event
        return context.step(lambda _: effects.append("done"), name="charge", config=config)

    for number in itertools.count(1):
        effects.clear()
        crasher = Crasher(durable_execution(handler), "before", {number})
        result = start({}, handler=crasher).result
        assert len(effects) == (0 if result.error and number == 1 else 1)
        if not crasher.crashed:
            break
        assert (result.error is None) == (number == 1)
    assert number > 2


@pytest.mark.parametrize(
    ("code", "status"),
    [("TooManyRequestsException", 429), ("ServiceException", 500)],
)
def test_checkpoints_that_fail_for_a_while(start: Start, code: str, status: int) -> None:
    crasher = Crasher(LOCAL_HANDLER, "before", range(3, 7), refusal(code, status))
    execution = start(make_event("a"), handler=crasher)
    execution.approve()

    assert execution.output()["status"] == "COMPLETED"
    assert crasher.crashed == 4


def test_a_checkpoint_token_that_has_been_replaced(start: Start) -> None:
    """As when Lambda runs an invocation twice: the older one gives up, the newer one goes on."""
    stale = refusal("InvalidParameterValueException", 400, "Invalid checkpoint token")
    execution = start(make_event("a"), handler=Crasher(LOCAL_HANDLER, "before", {4}, stale))
    execution.approve()

    assert execution.output()["status"] == "COMPLETED"


def test_a_conflict_is_not_tried_again(start: Start) -> None:
    conflict = refusal("ResourceConflictException", 409)
    execution = start(make_event("a"), handler=Crasher(LOCAL_HANDLER, "before", {4}, conflict))
    execution.approve()

    assert execution.error()[0] == "CheckpointError"


def refusal(code: str, status: int, message: str = "no") -> CheckpointError:
    """What the SDK makes of an answer of the service."""
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return CheckpointError.from_exception(ClientError(response, "CheckpointDurableExecution"))


def test_an_invocation_that_times_out_in_the_middle_of_the_map(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(make_event()).callback_id()  # sets the environment
    process, calls = data_processor.process_item, Counter[str]()

    def slow_once(item: WorkItem) -> ItemResult:
        calls[item["id"]] += 1
        if item["data"] == "slow" and calls[item["id"]] == 1:
            time.sleep(1.5)
        return process(item)

    monkeypatch.setattr(data_processor, "process_item", slow_once)
    event = json.dumps(make_event("a", "slow", "b"))
    with local.runner(LOCAL_HANDLER, poll_interval=0.005, invocation_timeout=1) as runner:
        execution = Execution(runner, runner.run_async(event, tenant_id="acme"))
        execution.approve()
        output = execution.output()

    assert output["mapResults"]["succeeded"] == 3
    assert calls["work-item-2"] == 2
    assert calls["work-item-1"] == 1


def test_an_answer_that_comes_before_the_workflow_waits_for_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, executions = steps.store_approval, list[Execution]()

    def answer_at_once(request: Any, callback_id: str, *rest: Any) -> str:
        while not executions:
            time.sleep(0.01)
        executions[0].runner.send_callback_success(callback_id, b'{"decision": "APPROVED"}')
        return store(request, callback_id, *rest)

    monkeypatch.setattr(steps, "store_approval", answer_at_once)
    executions.append(start(make_event("a")))

    assert executions[0].output()["status"] == "COMPLETED"


def test_of_answers_that_race_one_is_taken(start: Start) -> None:
    execution = start(make_event("a"))
    callback_id = execution.callback_id()

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
    assert output["callbackResult"]["decidedBy"] == taken
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
    items=st.lists(st.sampled_from(["x", 7, ["deep"], {}, ""]), max_size=6),
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
    execution = start(
        make_event(*items),
        handler=Crasher(LOCAL_HANDLER, moment, numbers),
        TOLERATED_ITEM_FAILURE_PERCENTAGE="100",
        NESTING=nesting,
        ITEMS_PER_CHECKPOINT=str(items_per_checkpoint),
    )
    execution.answer(ANSWERS[answer])

    if answer == "malformed":
        assert execution.error()[0] == "InvalidAnswerError"
        return
    output = execution.output()
    failing = sum(item in ({}, "") for item in items) if answer == "APPROVED" else 0
    processed = len(items) if answer == "APPROVED" else 0
    assert output["mapResults"]["failed"] == failing
    assert output["mapResults"]["succeeded"] == processed - failing
    assert [item["id"] for item in output["mapResults"]["results"]] == [
        f"work-item-{number}"
        for number, item in enumerate(items, 1)
        if answer == "APPROVED" and item not in ({}, "")
    ]
    assert output["callbackResult"]["decision"] == answer
