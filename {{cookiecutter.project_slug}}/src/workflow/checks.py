"""The parallel checks: each looks at all items of an execution in a branch of its own.

A check is a function that goes through the work items once and returns a small JSON object. To add
one, write the function and name it in ``CHECKS``; the name is part of the execution's history.
There may be many items: keep a total, or a few of them, never all. A check runs in a durable step,
so it may call other systems.
"""

from __future__ import annotations

#% if cookiecutter.parallel_branch_count | int >= 2
import hashlib
#% endif
#% if cookiecutter.parallel_branch_count | int >= 7
import re
#% endif
#% if cookiecutter.parallel_branch_count | int >= 8
import unicodedata
#% endif
from collections import Counter
from collections.abc import Iterable

#% if cookiecutter.parallel_branch_count | int >= 2
from chassis import Check, JsonObject, canonical_json, json_type
#% else
from chassis import Check, JsonObject, json_type
#% endif
#% if cookiecutter.parallel_branch_count | int >= 5
from workflow.data_processor import WorkItem, is_empty


#% else
from workflow.data_processor import WorkItem


#% endif
def summarize_types(items: Iterable[WorkItem]) -> JsonObject:
    """Count the items of each JSON type.

    >>> summarize_types([WorkItem(id="w-1", data="a", priority=1, status="pending")])
    {'string': 1}
    """
    return dict(sorted(Counter(json_type(item["data"]) for item in items).items()))


#% if cookiecutter.parallel_branch_count | int >= 2
NAMED = 100
"""Items that the result of a check names; it has the number of all."""


def _named(ids: Iterable[str]) -> JsonObject:
    count, first = 0, list[str]()
    for item_id in ids:
        count += 1
        if len(first) < NAMED:
            first.append(item_id)
    return {"count": count, "items": first}


def find_duplicates(items: Iterable[WorkItem]) -> JsonObject:
    """Name the items that have the same content as one before them.

    >>> a = WorkItem(id="w-1", data={"x": 1, "y": 2}, priority=1, status="pending")
    >>> b = WorkItem(id="w-2", data={"y": 2, "x": 1}, priority=2, status="pending")
    >>> find_duplicates([a, b])
    {'count': 1, 'items': ['w-2']}
    """
    seen: set[bytes] = set()

    def is_known(item: WorkItem) -> bool:
        digest = hashlib.blake2b(canonical_json(item["data"]), digest_size=16).digest()
        known = digest in seen
        seen.add(digest)
        return known

    return _named(item["id"] for item in items if is_known(item))


#% endif
#% if cookiecutter.parallel_branch_count | int >= 3
def measure_sizes(items: Iterable[WorkItem]) -> JsonObject:
    """Measure the content in bytes of JSON, and name the largest item.

    >>> measure_sizes([WorkItem(id="w-1", data="abc", priority=1, status="pending")])
    {'totalBytes': 5, 'largestBytes': 5, 'largestItem': 'w-1'}
    """
    total, largest, largest_item = 0, 0, None
    for item in items:
        size = len(canonical_json(item["data"]))
        total += size
        if size > largest:
            largest, largest_item = size, item["id"]
    return {"totalBytes": total, "largestBytes": largest, "largestItem": largest_item}


#% endif
#% if cookiecutter.parallel_branch_count | int >= 4
def count_priorities(items: Iterable[WorkItem]) -> JsonObject:
    """Count the items of each priority.

    >>> count_priorities([WorkItem(id="w-1", data="a", priority=2, status="pending")])
    {'1': 0, '2': 1, '3': 0}
    """
    counts = Counter(item["priority"] for item in items)
    return {str(priority): counts[priority] for priority in (1, 2, 3)}


#% endif
#% if cookiecutter.parallel_branch_count | int >= 5
def find_empty_items(items: Iterable[WorkItem]) -> JsonObject:
    """Name the items without content: null, blank text, an empty list or object.

    >>> find_empty_items([WorkItem(id="w-1", data="  ", priority=1, status="pending")])
    {'count': 1, 'items': ['w-1']}
    """
    return _named(item["id"] for item in items if is_empty(item["data"]))


#% endif
#% if cookiecutter.parallel_branch_count | int >= 6
def fingerprint_content(items: Iterable[WorkItem]) -> JsonObject:
    """One digest over all items in their order, to compare two executions by.

    >>> item = WorkItem(id="w-1", data="a", priority=1, status="pending")
    >>> fingerprint_content([item])["sha256"][:12]
    'ee195db0cd14'
    """
    digest = hashlib.sha256()
    for item in items:
        digest.update(canonical_json(item["data"]) + b"\n")
    return {"sha256": digest.hexdigest()}


#% endif
#% if cookiecutter.parallel_branch_count | int >= 7
_EMAIL = re.compile(rb"[\w.+-]+@[\w-]+(\.[\w-]+)+")


def find_email_addresses(items: Iterable[WorkItem]) -> JsonObject:
    """Name the items that hold an e-mail address; the address itself is not repeated.

    >>> item = WorkItem(id="w-1", data={"to": "ada@example.com"}, priority=1, status="pending")
    >>> find_email_addresses([item])
    {'count': 1, 'items': ['w-1']}
    """
    return _named(item["id"] for item in items if _EMAIL.search(canonical_json(item["data"])))


#% endif
#% if cookiecutter.parallel_branch_count | int >= 8
def find_control_characters(items: Iterable[WorkItem]) -> JsonObject:
    r"""Name the text items with characters that do not print, such as NUL or a lone surrogate.

    >>> item = WorkItem(id="w-1", data="a\x00b", priority=1, status="pending")
    >>> find_control_characters([item])
    {'count': 1, 'items': ['w-1']}
    """

    def is_unprintable(character: str) -> bool:
        return unicodedata.category(character) in {"Cc", "Cs"} and character not in "\t\n\r"

    return _named(
        item["id"]
        for item in items
        if isinstance(item["data"], str) and any(map(is_unprintable, item["data"]))
    )


#% endif
#% if cookiecutter.parallel_branch_count | int >= 9
def measure_depth(items: Iterable[WorkItem]) -> JsonObject:
    """Measure how deep the content is nested, and name the deepest item.

    >>> measure_depth([WorkItem(id="w-1", data={"a": [1]}, priority=1, status="pending")])
    {'depth': 2, 'deepestItem': 'w-1'}
    >>> measure_depth([])
    {'depth': 0, 'deepestItem': None}
    """

    def depth(data: object) -> int:
        if isinstance(data, dict):
            return 1 + max(map(depth, data.values()), default=0)
        if isinstance(data, list):
            return 1 + max(map(depth, data), default=0)
        return 0

    depths = ((depth(item["data"]), item["id"]) for item in items)
    deepest, item_id = max(depths, key=lambda pair: pair[0], default=(0, None))
    return {"depth": deepest, "deepestItem": item_id}


#% endif
#% if cookiecutter.parallel_branch_count | int >= 10
def summarize_numbers(items: Iterable[WorkItem]) -> JsonObject:
    """Count the items that are numbers, with the smallest and the largest.

    >>> items = [WorkItem(id="w", data=data, priority=1, status="pending") for data in (3, 2, 5)]
    >>> summarize_numbers(items)
    {'count': 3, 'min': 2, 'max': 5}
    """
    count, least, most = 0, None, None
    for item in items:
        number = item["data"]
        if json_type(number) == "number":
            count += 1
            least = number if least is None else min(least, number)
            most = number if most is None else max(most, number)
    return {"count": count, "min": least, "max": most}


#% endif
CHECKS: dict[str, Check] = {
    "summarize-types": summarize_types,
    #% if cookiecutter.parallel_branch_count | int >= 2
    "find-duplicates": find_duplicates,
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 3
    "measure-sizes": measure_sizes,
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 4
    "count-priorities": count_priorities,
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 5
    "find-empty-items": find_empty_items,
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 6
    "fingerprint-content": fingerprint_content,
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 7
    "find-email-addresses": find_email_addresses,
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 8
    "find-control-characters": find_control_characters,
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 9
    "measure-depth": measure_depth,
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 10
    "summarize-numbers": summarize_numbers,
    #% endif
}
"""The branches of the workflow, in their order."""
