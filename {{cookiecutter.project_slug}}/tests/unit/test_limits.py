"""What fits into one execution."""

from __future__ import annotations

import pytest

from tests.execution import make_event
from workflow.data_processor import failed_items, generate_work_items, process_item
from workflow.limits import (
    MAX_CHECKPOINT_BYTES,
    MAX_OPERATIONS,
    fit_output,
    json_size,
    max_items,
    operations_at_most,
    require_room,
)
from workflow.models import InvalidInputError, JsonObject, parse_request


@pytest.mark.parametrize("branches", [1, 3, 10])
def test_the_largest_request_fits_and_one_more_item_does_not(branches: int) -> None:
    most = max_items(branches)

    require_room(parse_request(make_event(*[1] * most)), branches)
    assert operations_at_most(most, branches) <= MAX_OPERATIONS
    assert operations_at_most(most + 1, branches) > MAX_OPERATIONS
    with pytest.raises(InvalidInputError, match=f"{most + 1} items.*send at most {most} items"):
        require_room(parse_request(make_event(*[1] * (most + 1))), branches)


def test_items_that_do_not_fit_into_a_checkpoint_are_refused() -> None:
    require_room(parse_request(make_event("x" * 240_000)), 3)
    with pytest.raises(InvalidInputError, match=r"inputData.items takes \d+ bytes"):
        require_room(parse_request(make_event("x" * 260_000)), 3)


def output_of(succeeded: int, failed: int) -> JsonObject:
    """What matters of an output: the results and the failed items."""
    items = generate_work_items(["some content"] * (succeeded + failed))
    return {
        "mapResults": {
            "results": [process_item(item) for item in items[:succeeded]],
            "failedItems": failed_items([(item, "x" * 1_000) for item in items[succeeded:]]),
        }
    }


@pytest.mark.parametrize("failed", [0, 1, 700, 1_400])
def test_the_largest_output_fits(failed: int) -> None:
    output = fit_output(output_of(1_400 - failed, failed))

    assert json_size(output) <= MAX_CHECKPOINT_BYTES
    assert len(output["mapResults"]["failedItems"]) == failed


def test_an_output_that_fits_keeps_its_results() -> None:
    assert len(fit_output(output_of(100, 10))["mapResults"]["results"]) == 100
