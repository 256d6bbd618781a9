"""What the chassis has to know of this workflow, whichever function needs it."""

from __future__ import annotations

from pathlib import Path  # noqa: TID251 - names a file, reads none

from chassis import Definition
from workflow.callback_helper import evidence
from workflow.data_processor import process_item, work_item
from workflow.messages import parse_request

DEFINITION = Definition(
    parse_request=parse_request,
    work_item=work_item,
    item_steps=(process_item,),
    evidence=evidence,
    tiers=Path(__file__).with_name("tiers.toml"),
)
