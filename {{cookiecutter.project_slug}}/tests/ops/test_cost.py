"""The cost: counted in real runs, and what the limits say of them."""

from __future__ import annotations

import pytest

from ops import cost
from workflow import limits
from workflow.checks import CHECKS


@pytest.mark.parametrize("items", [0, 1, 7, 60])
def test_as_many_operations_as_the_limits_say(items: int) -> None:
    assert cost.measure(items).operations == limits.operations_needed(items, len(CHECKS))


def test_an_item_more_is_two_operations_and_some_bytes_more() -> None:
    few, many = cost.measure(10), cost.measure(20)

    assert many.operations - few.operations == 20
    assert 10 * 100 < many.written_bytes - few.written_bytes < 10 * 2_000


def test_the_report_says_what_a_thousand_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert cost.main(["--items", "5"]) == 0
    operations = limits.operations_needed(5, len(CHECKS))

    printed = capsys.readouterr().out
    dollars = operations / 1_000 * cost.PRICES["million_operations"]
    assert f"{operations} durable operations" in printed
    assert f"{dollars:.4f}" in printed
    assert cost.PRICES["read"] in printed


def test_more_items_than_there_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cost.main(["--items", "100000"])
    assert "expected 0 to" in capsys.readouterr().err
