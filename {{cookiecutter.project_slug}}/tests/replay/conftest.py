"""Fixtures: count what the bodies of the steps do."""

from __future__ import annotations

from collections import Counter
#% if cookiecutter.__wait_for_condition
from importlib import import_module
#% endif
from typing import Any

import pytest

from workflow import data_processor, steps
#% if cookiecutter.__child_context
from workflow.announcement import tell
#% endif
from workflow.checks import CHECKS


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often the body of each step runs."""
    counter: Counter[str] = Counter()

    def count(module: Any, attribute: str, label: str | None = None) -> None:
        function = getattr(module, attribute)

        def counted(*arguments: Any, **keywords: Any) -> Any:
            counter[label or arguments[0]["id"]] += 1
            return function(*arguments, **keywords)

        monkeypatch.setattr(module, attribute, counted)

    #% if cookiecutter.__child_context
    def counted_tell(audience: str, *rest: Any) -> Any:
        body = tell(audience, *rest)

        def counted(context: Any) -> None:
            counter[f"tell-{audience}"] += 1
            body(context)

        return counted

    monkeypatch.setattr("workflow.announcement.tell", counted_tell)
    #% endif
    #% if cookiecutter.__wait_for_condition
    count(import_module("workflow.readiness"), "ask", "await-readiness")
    #% endif
    count(steps, "load", "prepare-work")
    count(steps, "store_approval", "approval submitter")
    count(data_processor, "aggregate", "aggregate-results")
    count(data_processor, "process_item")
    for name, check in CHECKS.items():

        def counted_check(items: Any, name: str = name, check: Any = check) -> Any:
            counter[name] += 1
            return check(items)

        monkeypatch.setitem(CHECKS, name, counted_check)
    return counter
