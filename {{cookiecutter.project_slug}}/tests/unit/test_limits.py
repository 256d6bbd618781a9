"""What fits into one execution."""

from __future__ import annotations

import pytest

from ops.local import environment
from tests.execution import make_event
from workflow.checks import CHECKS
from workflow.data_processor import generate_work_items, process_item
from workflow.items import sort_out
from workflow.limits import (
    MAX_CHECKPOINT_BYTES,
    MAX_FAILURES_NAMED,
    MAX_OPERATIONS,
    #% if cookiecutter.fan_out == "yes"
    chunk_size,
    #% endif
    fit_output,
    json_size,
    #% if cookiecutter.fan_out == "yes"
    max_chunks,
    #% endif
    max_items,
    operations_at_most,
    require_fit,
    require_room,
)
from workflow.models import InvalidInputError, ItemOutcome, JsonObject, parse_request
from workflow.settings import Nesting, Shape, load_shape
from workflow.tenants import TIERS


@pytest.mark.parametrize("branches", [1, 3, 10])
@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
@pytest.mark.parametrize("items_per_checkpoint", [1, 3])
def test_the_largest_request_fits_and_one_more_item_does_not(
    branches: int, nesting: Nesting, items_per_checkpoint: int
) -> None:
    shape = Shape(nesting=nesting, items_per_checkpoint=items_per_checkpoint)
    most = max_items(branches, shape)

    require_room(most, branches, shape)
    assert operations_at_most(most, branches, shape) <= MAX_OPERATIONS
    assert operations_at_most(most + 1, branches, shape) > MAX_OPERATIONS
    with pytest.raises(InvalidInputError, match=f"{most + 1} items.*send at most {most} items"):
        require_room(most + 1, branches, shape)


def test_every_tier_fits_into_one_execution() -> None:
    shape = load_shape(environment())
    #% if cookiecutter.fan_out == "yes"
    size = chunk_size(int(environment()["CHUNK_SIZE"]), len(CHECKS), shape)
    most = max_chunks(len(CHECKS), shape) * size
    #% else
    most = max_items(len(CHECKS), shape)
    #% endif

    assert all(tier["items_per_execution"] <= most for tier in TIERS.values())


def test_items_that_do_not_fit_into_a_checkpoint_are_refused() -> None:
    require_fit(parse_request(make_event("x" * 240_000)))
    with pytest.raises(InvalidInputError, match=r"inputData.items takes \d+ bytes"):
        require_fit(parse_request(make_event("x" * 260_000)))


def output_of(succeeded: int, failed: int) -> JsonObject:
    """What matters of an output: the results and the failed items."""
    items = generate_work_items(["some content"] * (succeeded + failed))
    results = [ItemOutcome(result=process_item(item)) for item in items[:succeeded]]
    errors = [ItemOutcome(error="\U0001f4a5" * 1_000)] * failed
    outcomes = sort_out(list(zip(items, results + errors, strict=True)))
    return {"mapResults": {"results": outcomes.results, "failedItems": outcomes.failed_items}}


@pytest.mark.parametrize("failed", [0, 1, 700, 3_000])
def test_the_largest_output_fits(failed: int) -> None:
    output = fit_output(output_of(3_000 - failed, failed))

    assert json_size(output) <= MAX_CHECKPOINT_BYTES
    assert len(output["mapResults"]["failedItems"]) == min(failed, MAX_FAILURES_NAMED)


def test_an_output_that_fits_keeps_its_results() -> None:
    assert len(fit_output(output_of(100, 10))["mapResults"]["results"]) == 100
