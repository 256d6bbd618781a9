"""What the chassis is told of the workflow."""

from __future__ import annotations

from chassis import quotas
from chassis.settings import load
from chassis.tenancy.profile import read_tiers
from ops.local import environment
from workflow.definition import DEFINITION


def test_what_every_tier_allows_fits_into_one_execution() -> None:
    settings = load(environment())
    most = quotas.max_items(len(DEFINITION.item_steps), settings)
    #% if cookiecutter.fan_out == "yes"
    most = quotas.MAX_CHUNKS * min(settings["chunk_size"], most)
    #% endif

    for name, tier in read_tiers(DEFINITION.tiers).items():
        assert tier["items_per_execution"] <= most, f"{name}: at most {most} items_per_execution"


def test_the_items_of_an_input_have_ids_of_their_own() -> None:
    items = [DEFINITION.work_item(number, "same") for number in range(1, 100)]

    assert len({item["id"] for item in items}) == 99
    assert DEFINITION.work_item(7, "same") == items[6]
