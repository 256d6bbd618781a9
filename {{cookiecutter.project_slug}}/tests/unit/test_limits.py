"""What fits into one execution."""

from __future__ import annotations

import pytest

from tests.execution import make_event
from workflow.limits import MAX_OPERATIONS, max_items, operations_needed, require_room
from workflow.models import InvalidInputError, parse_request


@pytest.mark.parametrize("branches", [1, 3, 10])
def test_the_largest_request_fits_and_one_more_item_does_not(branches: int) -> None:
    most = max_items(branches)

    require_room(parse_request(make_event(*[1] * most)), branches)
    assert operations_needed(most, branches) <= MAX_OPERATIONS
    with pytest.raises(InvalidInputError, match=f"{most + 1} items.*send at most {most} items"):
        require_room(parse_request(make_event(*[1] * (most + 1))), branches)


def test_items_that_do_not_fit_into_a_checkpoint_are_refused() -> None:
    require_room(parse_request(make_event("x" * 240_000)), 3)
    with pytest.raises(InvalidInputError, match=r"inputData.items takes \d+ bytes"):
        require_room(parse_request(make_event("x" * 260_000)), 3)
