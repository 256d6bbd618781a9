"""The cost: counted in real runs, and what the limits say of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops import cost
from workflow import limits
from workflow.checks import CHECKS
from workflow.settings import Shape

FLAT = Shape(nesting="FLAT", items_per_checkpoint=1)
NESTED = Shape(nesting="NESTED", items_per_checkpoint=1)
BULK = Shape(nesting="FLAT", items_per_checkpoint=10)


@pytest.mark.parametrize("shape", [FLAT, NESTED, BULK])
@pytest.mark.parametrize(("items", "branches"), [(0, 1), (1, 3), (60, 3), (7, 10)])
def test_as_many_operations_as_the_limits_say(items: int, branches: int, shape: Shape) -> None:
    needed = limits.operations_needed(items, branches, shape)

    assert cost.measure(items, branches, shape).billed == needed


def test_an_item_more_is_an_operation_and_some_bytes_more() -> None:
    few, many = cost.measure(10, 1, FLAT), cost.measure(20, 1, FLAT)

    assert many.billed - few.billed == 10
    assert 10 * 100 < many.written_bytes - few.written_bytes < 10 * 2_000


@pytest.mark.parametrize("shape", [FLAT, NESTED, BULK])
def test_the_readme_says_what_a_hundred_items_take(shape: Shape) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")

    assert f"| {cost.measure(100, len(CHECKS), shape).billed} |" in readme


def test_the_report_says_what_a_thousand_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert cost.main(["--items", "5", "--branches", "2"]) == 0
    operations = limits.operations_needed(5, 2, FLAT)

    printed = capsys.readouterr().out
    dollars = operations / 1_000 * cost.PRICES["million_operations"]
    assert f"{operations} durable operations" in printed
    assert f"{dollars:.4f}" in printed
    assert cost.PRICES["read"] in printed


#% if cookiecutter.fan_out == "yes"
@pytest.mark.timeout(300)
@pytest.mark.parametrize("shape", [FLAT, NESTED, BULK])
def test_what_chunks_take_is_what_the_limits_say(shape: Shape) -> None:
    items = 2 * cost.chunk_size(3, shape) + 1

    usage, computed = cost.measure(items, 3, shape), cost.project(items, 3, shape)

    assert usage.billed == computed.billed
    assert len(usage.executions) == len(computed.executions) == 4
    assert computed.written_bytes == pytest.approx(usage.written_bytes, rel=0.6)


def test_ten_thousand_items_are_an_operation_each_and_little_more() -> None:
    usage = cost.project(10_000, 3, FLAT)

    assert 1 < usage.billed / 10_000 <= 1.01


#% endif
@pytest.mark.parametrize(
    "arguments",
    [["--items", "2000000"], ["--branches", "0"], ["--items-per-checkpoint", "0"]],
)
def test_what_there_cannot_be(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cost.main(arguments)
    assert arguments[0] in capsys.readouterr().err
