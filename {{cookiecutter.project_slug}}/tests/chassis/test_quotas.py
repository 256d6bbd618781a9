"""What fits into one execution."""

from __future__ import annotations

import pytest

from chassis.durable.items import sort_out
from chassis.model import InvalidInputError, ItemError, ItemOutcome, TransientError
from chassis.quotas import (
    INVOCATION_ATTEMPTS,
    #% if cookiecutter.fan_out == "yes"
    INVOKE_ATTEMPTS,
    #% endif
    MAX_ATTEMPTS,
    MAX_CHECKPOINT_BYTES,
    #% if cookiecutter.fan_out == "yes"
    MAX_CHUNKS,
    #% endif
    MAX_ERROR_BYTES,
    MAX_FAILURES_NAMED,
    MAX_OPERATIONS,
    RESERVED_OPERATIONS,
    fit_output,
    max_items,
    require_fit,
    #% if cookiecutter.fan_out == "no"
    require_room,
    #% endif
    require_size,
    short_errors,
)
from chassis.settings import Nesting, Shape
from chassis.wire import JsonObject, json_size
from tests.chassis import sample
from tests.execution import make_event

FLAT = Shape(nesting="FLAT", items_per_checkpoint=1)


def test_the_numbers_are_those_of_lambda() -> None:
    """Their sources are beside them."""
    assert (MAX_OPERATIONS, INVOCATION_ATTEMPTS) == (3_000, 9)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
@pytest.mark.parametrize("items_per_checkpoint", [1, 3])
def test_the_largest_request_fits_and_one_more_item_does_not(
    steps: int, nesting: Nesting, items_per_checkpoint: int
) -> None:
    shape = Shape(nesting=nesting, items_per_checkpoint=items_per_checkpoint)
    most = max_items(steps, shape)
    # Every step of every checkpoint in its last attempt, and the context of a nested one.
    of_a_checkpoint = steps * MAX_ATTEMPTS + (nesting == "NESTED")

    def operations(items: int) -> int:
        return RESERVED_OPERATIONS + -(-items // items_per_checkpoint) * of_a_checkpoint

    #% if cookiecutter.fan_out == "no"
    require_room(most, steps, shape)
    with pytest.raises(InvalidInputError, match=f"{most + 1} items.*send at most {most} items"):
        require_room(most + 1, steps, shape)
    #% endif
    assert operations(most) <= MAX_OPERATIONS
    assert operations(most + 1) > MAX_OPERATIONS


def test_a_second_step_halves_the_number_of_items() -> None:
    assert (max_items(1, FLAT), max_items(2, FLAT)) == (900, 450)


#% if cookiecutter.fan_out == "yes"
def test_every_chunk_can_be_tried_again() -> None:
    assert RESERVED_OPERATIONS + MAX_CHUNKS * INVOKE_ATTEMPTS <= MAX_OPERATIONS
    assert RESERVED_OPERATIONS + (MAX_CHUNKS + 1) * INVOKE_ATTEMPTS > MAX_OPERATIONS


#% endif
def test_items_that_do_not_fit_into_a_checkpoint_are_refused() -> None:
    definition = sample.definition()
    (item,) = require_fit(sample.parse_request(make_event("x" * 240_000)), definition)
    assert item == sample.work_item(1, "x" * 240_000)
    with pytest.raises(InvalidInputError, match=r"inputData.items takes \d+ bytes"):
        require_fit(sample.parse_request(make_event("x" * 260_000)), definition)


def test_a_size_is_that_of_the_json_which_the_sdk_writes() -> None:
    """In ASCII: this letter takes six bytes."""
    require_size("ä", "it", ItemError, most=8)
    with pytest.raises(ItemError, match="it takes 8 bytes as JSON, and may take 7: pass ref"):
        require_size("ä", "it", ItemError, most=7)


def output_of(succeeded: int, failed: int) -> JsonObject:
    """What matters of an output: the results and the failed items."""
    items = [sample.work_item(number, "content") for number in range(1, succeeded + failed + 1)]
    results = [ItemOutcome(result={"content": "x" * 80})] * succeeded
    errors = [ItemOutcome(error="\U0001f4a5" * 1_000)] * failed
    outcomes = sort_out(list(zip(items, results + errors, strict=True)))
    assert (outcomes.succeeded, outcomes.failed) == (succeeded, failed)
    return {"mapResults": {"results": outcomes.results, "failedItems": outcomes.failed_items}}


@pytest.mark.parametrize("failed", [0, 1, 700, 3_000])
def test_the_largest_output_fits(failed: int) -> None:
    output = fit_output(output_of(3_000 - failed, failed))

    assert json_size(output) <= MAX_CHECKPOINT_BYTES
    assert (output["mapResults"]["results"] is None) == (failed < 3_000)
    assert len(output["mapResults"]["failedItems"]) == min(failed, MAX_FAILURES_NAMED)


def test_an_output_that_fits_keeps_its_results() -> None:
    assert len(fit_output(output_of(100, 10))["mapResults"]["results"]) == 100


def test_an_output_without_items_stays_as_it_is() -> None:
    assert fit_output({"status": "REJECTED"}) == {"status": "REJECTED"}


def test_the_message_of_an_error_is_cut_and_its_type_stays() -> None:
    with pytest.raises(TransientError) as error, short_errors():
        raise TransientError("x" * 300_000)

    assert str(error.value) == "x" * (MAX_ERROR_BYTES - 2)


def test_an_error_that_makes_its_own_message_becomes_an_item_error() -> None:
    class OwnMessageError(Exception):
        def __str__(self) -> str:
            return "x" * 300_000

    with pytest.raises(ItemError, match=r"^OwnMessageError: xxx") as error, short_errors():
        raise OwnMessageError

    assert len(str(error.value)) < MAX_ERROR_BYTES + 20


def test_a_short_error_is_raised_as_it_is() -> None:
    original = KeyError("sku", 7)

    with pytest.raises(KeyError) as error, short_errors():
        raise original

    assert error.value is original
    assert original.args == ("sku", 7)
