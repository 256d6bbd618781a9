"""The operations of an execution, as the events of its history tell them.

The events are those of GetDurableExecutionHistory, or of the SDK's runner (``to_dict``), oldest
first. A history may be incomplete: what has not ended, or not begun, is left open.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from chassis.wire import JsonObject

_EVENT = re.compile(r"(Execution|Context|Step|Wait|Callback|ChainedInvoke)([A-Z]\w+)")
_OUTSIDE = re.compile(r"Execution.*|(Wait|Callback|ChainedInvoke)(Succ|Fail|TimedOut|Stop|Canc).*")
"""What happens while nothing has to run."""

PAGE = 1_000
"""Events that are asked for at once: as many as there can be (Lambda API, read 2026-11-25)."""

SCREEN = 40
"""Rows of a picture or a tree that the operations inside one other may take."""


class Span(NamedTuple):
    """A stretch of time; open, as long as ``end`` is None.

    Attributes:
        runs: whether code runs; otherwise somebody is waited for.
        failed: whether the attempt failed.
    """

    start: datetime
    end: datetime | None
    runs: bool
    failed: bool = False


@dataclass
class Operation:
    """One durable operation, or the execution itself.

    Attributes:
        name: given by the workflow; the identifier, if it has given none.
        kind: the subtype, such as ``Map``; the type, if there is none.
        status: RUNNING, WAITING, PAUSED, SUCCEEDED, FAILED, TIMED_OUT, STOPPED,
            CANCELLED, or UNFINISHED when its execution ended.
        error: type and message of the last one.
        spans: when it ran and when it waited; none for what only has others inside.
        payload: what came of it, if that was asked for.
    """

    name: str
    kind: str
    start: datetime
    end: datetime | None = None
    status: str = "RUNNING"
    error: str = ""
    spans: list[Span] = field(default_factory=list)
    children: list[Operation] = field(default_factory=list)
    payload: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.status in {"RUNNING", "WAITING", "PAUSED"}

    @property
    def attempts(self) -> int:
        """How often it was tried, or has polled."""
        return sum(span.runs for span in self.spans)

    @property
    def has_failed(self) -> bool:
        """Whether it has ended, and not well."""
        return not self.is_open and self.status not in {"SUCCEEDED", "UNFINISHED"}

    def everything(self) -> Iterator[Operation]:
        """It, and the operations inside it."""
        yield self
        for child in self.children:
            yield from child.everything()

    def shown(self) -> tuple[list[Operation], list[Operation]]:
        """Children that fit on a screen, and those that do not: what needs a look comes first."""
        if len(self.children) <= SCREEN:
            return self.children, []
        kept = [o for o in self.children if o.has_failed][: SCREEN // 2]
        kept += [o for o in self.children if o.is_open or o.attempts > 1][: SCREEN - len(kept)]
        chosen = set(map(id, [*kept, *self.children[: max(SCREEN // 8 - len(kept), 2)]]))
        sides: tuple[list[Operation], list[Operation]] = ([], [])
        for child in self.children:
            sides[id(child) not in chosen].append(child)
        return sides


@dataclass(frozen=True)
class History:
    """An execution with its operations and its invocations.

    Attributes:
        end: when it ended; while it is open, now, or when something was last heard of it.
    """

    root: Operation
    invocations: list[Span]
    end: datetime

    def took(self, operation: Operation) -> str:
        """How long an operation took, or takes already."""
        return duration(((operation.end or self.end) - operation.start).total_seconds())

    def idle(self) -> list[tuple[datetime, datetime]]:
        """The stretches in which no code ran."""
        running = [span for o in self.root.everything() for span in o.spans if span.runs]
        spans = sorted((span.start, span.end or self.end) for span in running + self.invocations)
        gaps, at = [], self.root.start
        for start, end in [*spans, (self.end, self.end)]:
            if start > at:
                gaps.append((at, start))
            at = max(at, end)
        return gaps

    def summary(self, rows: int | None = None) -> Iterator[str]:
        """How the execution is, in sentences; ``rows`` are those of its map, if they are known."""
        root, inside = self.root, list(self.root.everything())[1:]
        idle = duration(sum((b - a).total_seconds() for a, b in self.idle()))
        for_ = "for" if root.is_open else "after"
        yield f"{root.status} {for_} {self.took(root)}, {idle} of it idle."
        yield f"Operations: {len(inside):,}, invocations: {len(self.invocations):,}."
        for o in inside:
            if o.kind == "Map":
                done = sum(not child.is_open for child in o.children)
                of_all = f" of {rows:,}" if rows and rows >= len(o.children) else ""
                yield f"{o.name}: {done:,}{of_all} done."
        leaves = [o for o in inside if not o.children]
        for word, names in {
            "failed": [o.name for o in leaves if o.has_failed],
            "running": [o.name for o in leaves if o.status == "RUNNING"],
            "waiting": [o.name for o in leaves if o.status == "WAITING"],
        }.items():
            more = f" and {len(names) - 10:,} more" if names[10:] else ""
            if names:
                yield f"{len(names):,} {word}: {', '.join(names[:10])}{more}."


def events_of(client: Any, execution_arn: str, *, payloads: bool = False) -> Iterator[JsonObject]:
    """Every event of an execution, page by page, perhaps with inputs, results and errors.

    Args:
        client: boto3's, of Lambda.
        execution_arn: the durable execution.
        payloads: whether to ask for its data as well.
    """
    page: JsonObject = {"DurableExecutionArn": execution_arn, "IncludeExecutionData": payloads}
    while True:
        response = client.get_durable_execution_history(**page, MaxItems=PAGE)
        yield from response["Events"]
        if not response.get("NextMarker"):
            return
        page["Marker"] = response["NextMarker"]


def read_history(
    events: Iterable[JsonObject], *, now: datetime | None = None, payloads: bool = False
) -> History:
    """Read the events.

    Args:
        events: oldest first; the execution need not have ended.
        now: the end of what has not ended, if it is not where something was last heard of it.
        payloads: whether to keep what came of each operation.

    Raises:
        ValueError: there are no events.
    """
    events = list(events)
    if not events:
        raise ValueError("the history has no events")
    root = Operation("", "Execution", events[0]["EventTimestamp"])
    known: dict[str, Operation] = {}
    invocations, began = list[Span](), None
    for event in events:
        when, what = event["EventTimestamp"], event["EventType"]
        if what == "InvocationCompleted":  # not all histories say when it started
            started = event.get("InvocationCompletedDetails", {}).get("StartTimestamp", began)
            invocations.append(Span(started or when, when, runs=True))
            began = None
            continue
        if not began and not _OUTSIDE.fullmatch(what):
            began = when
        matched = _EVENT.fullmatch(what)
        if not matched:
            continue  # of a type that came after this was written
        kind, change = matched.groups()
        operation = root
        if kind != "Execution":
            identifier = event["Id"]
            if identifier not in known:
                name = printable(event.get("Name") or identifier[:8])
                known[identifier] = Operation(name, event.get("SubType") or kind, when)
                known.get(event.get("ParentId", ""), root).children.append(known[identifier])
            operation = known[identifier]
        elif change == "Started":
            operation.name = printable(event.get("Name") or "")
        details = event.get(f"{what}Details", {})
        _apply(operation, kind, change, when, details)
        if payloads:
            operation.payload = str((details.get("Result") or {}).get("Payload") or "")
    if began and root.is_open:
        invocations.append(Span(began, None, runs=True))
    for operation in root.everything():
        if root.end and operation.is_open:
            operation.status, operation.end = "UNFINISHED", root.end
            operation.spans[-1:] = [span._replace(end=root.end) for span in operation.spans[-1:]]
    spans = [*invocations, *(span for o in root.everything() for span in o.spans)]
    heard = [time for span in spans for time in span[:2] if time] + ([now] if now else [])
    return History(root, invocations, root.end or max([root.start, *heard]))


def _apply(
    operation: Operation, kind: str, change: str, when: datetime, details: dict[str, Any]
) -> None:
    """What an event changes in its operation."""
    last = operation.spans[-1] if operation.spans else None
    if change == "Started":
        if last and last.end is None:  # nobody has heard of the end of that attempt
            operation.spans[-1] = last._replace(end=when, failed=True)
        elif last and last.end and last.end < when:
            operation.spans.append(Span(last.end, when, runs=False))
        if kind not in {"Context", "Execution"}:
            operation.spans.append(Span(when, None, runs=kind == "Step"))
        operation.status = "RUNNING" if kind in {"Step", "Context", "Execution"} else "WAITING"
        return
    if change == "Paused":
        operation.status = "PAUSED"
        operation.spans.append(Span(when, None, runs=False))
        return
    if last and last.end is None:
        operation.spans[-1] = last._replace(end=when, failed=change not in {"Succeeded", "Resumed"})
    if change == "Resumed":
        operation.status = "RUNNING"
        return
    error = (details.get("Error") or {}).get("Payload") or {}
    if error:
        said = [str(error[name]) for name in ("ErrorType", "ErrorMessage") if error.get(name)]
        operation.error = printable(": ".join(said))
    if (details.get("RetryDetails") or {}).get("NextAttemptDelaySeconds"):
        operation.status = "WAITING"
        return
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", change)
    operation.status, operation.end = words.upper(), when


def counted(operations: list[Operation]) -> str:
    """How many there are of each status."""
    counts = Counter(operation.status.lower() for operation in operations)
    return ", ".join(f"{number:,} {status}" for status, number in counts.most_common())


def printable(text: str) -> str:
    """Text that moves no cursor and fits into XML; what an item makes an error say may do neither.

    >>> printable(f"a{chr(27)}[2Jb{chr(0xD800)} ü")
    'a�[2Jb� ü'
    """
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)


def duration(seconds: float) -> str:
    """A duration, as short as it can be said.

    >>> [duration(seconds) for seconds in (0, 0.0123, 1.25, 59.97, 62, 266400)]
    ['<1 ms', '12 ms', '1.2 s', '1 min', '1 min 2 s', '3 d 2 h']
    """
    if seconds < 0.0005:
        return "<1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    units = [(86400, "d"), (3600, "h"), (60, "min"), (1, "s")]
    for (size, unit), (smaller, part) in pairwise(units):
        if round(seconds) >= size:
            whole, rest = divmod(round(seconds), size)
            return f"{whole} {unit}" + (f" {rest // smaller} {part}" if rest // smaller else "")
    return ""
