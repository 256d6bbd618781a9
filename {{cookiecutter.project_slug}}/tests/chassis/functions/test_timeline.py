"""The timeline: of real histories, whole and cut off, and of some that no run here has."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from chassis import JsonObject, TransientError
from chassis.functions import history, timeline
from chassis.functions.history import SCREEN, read_history
from chassis.functions.timeline import LEFT, RIGHT, ROW, TOP, WIDTH
from tests.chassis.conftest import Failing
from tests.execution import Start, make_event

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"
STRANGE = "</title><script>alert('1')</script>&amp; \"日本\" \x00\x1b\ud800\uffff"


def events_of(*lines: str) -> list[JsonObject]:
    """Events of lines such as ``"12.5 StepStarted Step item-1"``: seconds, type, subtype, name.

    A name after ``<`` is that of the parent.
    """
    found = []
    for number, line in enumerate(lines, start=1):
        seconds, kind, *rest = line.split(" ")
        event: JsonObject = {
            "EventId": number,
            "EventType": kind,
            "EventTimestamp": NOON + timedelta(seconds=float(seconds)),
        }
        if rest:
            subtype, name, *parent = rest
            event |= {"SubType": subtype, "Name": name, "Id": name}
            event |= {"ParentId": parent[0][1:]} if parent else {}
        found.append(event)
    return found


def many(count: int, *failed: int) -> Iterator[str]:
    """A map of so many items, one after the other, of which these fail."""
    yield "0 ExecutionStarted"
    yield "0 ContextStarted Map items"
    for number in range(count):
        yield f"{number} StepStarted Step item-{number} <items"
        how = "Failed" if number in failed else "Succeeded"
        yield f"{number + 2} Step{how} Step item-{number} <items"
    yield f"{count + 2} ContextSucceeded Map items"
    yield f"{count + 2} InvocationCompleted"
    yield f"{count + 2} ExecutionSucceeded"


class Picture:
    """A picture, as a reader of XML has it."""

    def __init__(self, svg: str) -> None:
        self.root = ElementTree.fromstring(svg)  # noqa: S314 - made here
        groups = [group for group in self.root.iter(f"{SVG}g") if group.get("transform")]
        self.rows: dict[str, Any] = {self.label(group): group for group in groups}
        self.description = self.root.findtext(f"{SVG}desc") or ""

    @staticmethod
    def label(group: Any) -> str:
        return str(group.find(f"{SVG}text").text).strip()

    def title(self, name: str) -> str:
        return self.rows[name].findtext(f"{SVG}title") or ""

    def bars(self, name: str, kind: str) -> list[Any]:
        """The shapes in a row that are of a class."""
        return [shape for shape in self.rows[name] if kind in shape.get("class", "").split()]

    def texts(self) -> list[str]:
        return [text.text or "" for text in self.root.iter(f"{SVG}text")]


def picture_of(events: list[JsonObject], name: str = "", **how: Any) -> Picture:
    """Draw these events; ``how`` they are read."""
    return Picture(timeline.timeline(read_history(events, **how), name=name))


@pytest.fixture
def transient() -> Failing:
    return Failing(TransientError("not there yet"), "b", attempts=1)


def test_a_run_with_failures_and_retries(start: Start, transient: Failing) -> None:
    execution = start(make_event("a", "b", ""), steps=(transient,), skip_time=True)
    execution.approve()
    assert execution.output()
    events = list(execution.history())

    drawn = timeline.timeline(read_history(events))
    picture = Picture(drawn)

    rows = [
        *("invocations", "prepare-work"),
        *("approval", "approval create callback id", "approval submitter", "approval recorded"),
        *("run-checks", "count-items", "name-first"),
        *("process-items", "item-1", "item-2", "item-3", "aggregate-results"),
    ]
    assert [name for name in picture.rows if name in rows] == rows
    inside = {name for name, row in picture.rows.items() if row.find(f"{SVG}text").get("x") != "8"}
    assert inside == {name for name in picture.rows if re.match("approval [cs]|c|name|item", name)}
    assert len(picture.bars("invocations", "inv")) == execution.invocations
    assert [len(picture.bars("item-1", kind)) for kind in ("run", "bad", "try", "wait")] == [
        *(1, 0, 0, 0)
    ]
    assert [len(picture.bars("item-2", kind)) for kind in ("run", "bad", "try", "wait")] == [
        *(1, 1, 1, 1)
    ]
    assert len(picture.bars("item-3", "bad")) == 2  # the bar, and the word
    assert picture.bars("approval create callback id", "wait")
    assert "item-2 (Step): SUCCEEDED, 2 attempts" in picture.title("item-2")
    assert "attempt" not in picture.title("item-1")
    assert "chassis.model.ItemError: empty" in picture.title("item-3")
    assert picture.root.get("role") == "img"
    assert "1 failed: item-3." in picture.description
    assert '"size"' not in drawn
    assert '"size"' in picture_of(events, payloads=True).title("item-1")


def test_every_beginning_and_every_end_of_a_history_is_drawn(
    start: Start, transient: Failing
) -> None:
    execution = start(make_event("a", "b", ""), steps=(transient,), skip_time=True)
    execution.approve()
    assert execution.output()
    events = list(execution.history())

    for number in range(1, len(events)):
        begun, late = (
            picture_of(part, now=NOON + timedelta(days=9_999))
            for part in (events[:number], events[number:])
        )
        assert begun.description.startswith("RUNNING for ")
        assert late.rows
    with pytest.raises(ValueError, match="no events"):
        read_history([])


def test_what_has_not_ended_reaches_to_now() -> None:
    events = events_of(
        "0 ExecutionStarted",
        "1 StepStarted Step work",
        "1 CallbackStarted Callback answer",
        "2 StepFailed Step again",
    )
    events[3] |= {"StepFailedDetails": {"RetryDetails": {"NextAttemptDelaySeconds": 60}}}

    picture = picture_of(events, now=NOON + timedelta(seconds=5))

    for name, kind in (("work", "run"), ("answer", "wait")):
        assert picture.bars(name, kind)
        assert picture.bars(name, "on")
    assert picture.bars("invocations", "open")
    assert picture.description.startswith("RUNNING for 5 s, ")
    assert "1 running: work. 2 waiting: answer, again." in picture.description


def test_an_attempt_that_nobody_has_heard_of_again() -> None:
    """The function has crashed in it, and it was tried again."""
    events = events_of(
        "0 ExecutionStarted",
        "1 StepStarted Step work",
        "9 StepStarted Step work",
        "10 StepSucceeded Step work",
    )

    picture = picture_of(events)

    assert [len(picture.bars("work", kind)) for kind in ("run", "bad", "try")] == [1, 1, 1]
    assert "SUCCEEDED, 2 attempts" in picture.title("work")


@pytest.mark.parametrize(("failed", "end"), [(10, "item-9."), (12, "item-9 and 2 more.")])
def test_ten_names_are_enough(failed: int, end: str) -> None:
    picture = picture_of(events_of(*many(20, *range(failed))))

    (names,) = re.findall(rf"{failed} failed: (.*?\.)", picture.description)
    assert names.startswith("item-0, item-1, ")
    assert names.endswith(f", {end}")


def test_what_an_execution_leaves_behind_is_neither_open_nor_failed() -> None:
    events = events_of(
        "0 ExecutionStarted",
        "0 ContextStarted WaitForCallback approval",
        "1 CallbackStarted Callback answer <approval",
        "9 ExecutionStopped",
    )

    picture = picture_of(events, now=NOON + timedelta(days=1))

    assert picture.description.startswith("STOPPED after 9 s, ")
    assert "waiting" not in picture.description
    assert "failed" not in picture.description
    assert "UNFINISHED, 8 s" in picture.title("answer")
    assert picture.bars("answer", "wait")
    assert not picture.bars("answer", "on")


def test_days_are_folded_and_a_moment_is_seen() -> None:
    three_days = 3 * 86_400
    events = events_of(
        "0 ExecutionStarted",
        "0 CallbackStarted Callback answer",
        "0 StepStarted Step ask",
        "0.001 StepSucceeded Step ask",
        "1 InvocationCompleted",
        f"{three_days} CallbackSucceeded Callback answer",
        f"{three_days + 1} StepStarted Step work",
        f"{three_days + 3} StepSucceeded Step work",
        f"{three_days + 3} InvocationCompleted",
        f"{three_days + 3} ExecutionSucceeded",
    )
    picture = picture_of(events)

    assert "3 d" in picture.texts()
    (fold,) = (rect for rect in picture.root.iter(f"{SVG}rect") if rect.get("class") == "fold")
    (ask,), (work,) = picture.bars("ask", "run"), picture.bars("work", "run")
    start, width = float(fold.get("x", "")), float(fold.get("width", ""))
    assert float(ask.get("width")) == 2
    assert float(ask.get("x")) < start < start + width <= float(work.get("x"))
    # Both stretches in which something ran are to the same scale.
    first, second = (float(bar.get("width")) for bar in picture.bars("invocations", "inv"))
    assert second == pytest.approx(2 * first, abs=0.2)
    assert float(work.get("x")) + float(work.get("width")) == pytest.approx(WIDTH - RIGHT, abs=0.2)
    assert "after 3 d, 3 d of it idle" in picture.description


def test_an_invocation_that_says_when_it_started_and_a_pause() -> None:
    events = events_of(
        "0 ExecutionStarted",
        "5 InvocationCompleted",
        "5 ExecutionPaused",
        "7 ExecutionResumed",
        "9 StepSucceeded Step odd",
        "10 ExecutionSucceeded",
    )
    events[1]["InvocationCompletedDetails"] = {"StartTimestamp": NOON + timedelta(seconds=2)}
    assert [read_history(events[:number]).root.status for number in (3, 4)] == ["PAUSED", "RUNNING"]
    history = read_history(events)

    (invocation,), (paused,) = history.invocations, history.root.spans
    assert (invocation.start, invocation.end) == tuple(NOON + timedelta(seconds=s) for s in (2, 5))
    assert (paused.start, paused.end) == tuple(NOON + timedelta(seconds=s) for s in (5, 7))
    assert len(picture_of(events).bars("invocations", "wait")) == 1


def test_what_a_screen_does_not_hold_is_a_curve() -> None:
    failed = (7, 500, 799)
    picture = picture_of(events_of(*many(800, *failed)))

    assert len(picture.rows) <= SCREEN
    assert {f"item-{number}" for number in failed} <= set(picture.rows)
    (more,) = (name for name in picture.rows if name.endswith(" more"))
    hidden = 800 - (len(picture.rows) - 3)
    assert more == f"{hidden} more"
    assert picture.title(more) == f"{hidden} more: {hidden} succeeded"
    assert "items: 800 done." in picture.description
    (curve,) = picture.bars(more, "run")
    heights = [float(y) for y in re.findall(r"V([\d.]+)h", curve.get("d"))]
    assert min(heights) == 4  # where most of them ran at a time, and nothing is above that
    assert max(heights) <= 20


@pytest.mark.parametrize("inside", [True, False])
def test_thousands_of_operations_fit(inside: bool) -> None:
    lines = list(many(3_000, *range(0, 3_000, 3)))
    events = events_of(*(lines if inside else [line.partition(" <")[0] for line in lines]))

    drawn = timeline.timeline(read_history(events))

    assert len(Picture(drawn).rows) <= SCREEN + 3
    assert len(drawn) < 100_000
    assert len(timeline.page(read_history(events))) < 700_000


class Reader(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_no_name_is_markup() -> None:
    events = events_of("0 ExecutionStarted", "1 StepStarted Step x", "2 StepFailed Step x")
    for event in events[1:]:
        event["Name"] = STRANGE
    error = {"ErrorType": STRANGE, "ErrorMessage": STRANGE, "ErrorData": STRANGE}
    events[2]["StepFailedDetails"] = {"Error": {"Payload": error}, "Result": {"Payload": STRANGE}}

    picture = picture_of(events, name=STRANGE, payloads=True)
    page = timeline.page(read_history(events, payloads=True), name=STRANGE)

    said = STRANGE.translate(dict.fromkeys(map(ord, "\x00\x1b\ud800\uffff"), "\ufffd"))
    operation = read_history(events).root.children[0]  # as it comes to a terminal, too
    assert (operation.name, operation.error) == (said, f"{said}: {said}")
    (row,) = (title for title in map(picture.title, picture.rows) if "FAILED" in title)
    assert said in row
    assert said in (picture.root.findtext(f"{SVG}title") or "")
    tags = {tag for tag, _ in Reader(page).found}
    assert "script" not in tags
    page.encode()  # no half of a surrogate pair


def test_a_history_without_its_beginning_runs() -> None:
    read = read_history(events_of("1 StepSucceeded Step a", "2 StepStarted Step b"))

    assert [each.status for each in read.root.everything()] == ["RUNNING", "SUCCEEDED", "RUNNING"]


def test_what_is_long_is_cut() -> None:
    error = {"ErrorType": "Error", "ErrorMessage": "e" * 9_000}
    events = events_of(
        "0 ExecutionStarted", f"1 StepStarted Step {'n' * 99}", f"2 StepFailed Step {'n' * 99}"
    )
    events[2]["StepFailedDetails"] = {"Error": {"Payload": error}}

    picture, page = picture_of(events), timeline.page(read_history(events))

    (label,) = (name for name in picture.rows if name.startswith("n"))
    assert label.endswith("n…")
    assert len(label) < LEFT / 6  # pixels of a letter
    assert f"Error: {'e' * 400}" in picture.title(label)
    assert picture.title(label).count("e") < 600
    assert max(map(len, re.findall("Error: e+…", page))) == timeline.MOST_TEXT


def test_a_page_needs_nothing_beside_itself(start: Start) -> None:
    execution = start(make_event("a", ""))
    execution.approve()
    assert execution.output()
    events = list(execution.history())

    page = timeline.page(read_history(events), name="acme_1")

    reader = Reader(page)
    (policy,) = (
        element["content"]
        for tag, element in reader.found
        if tag == "meta" and element.get("http-equiv")
    )
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    allowed = {"http-equiv", "content", "name"}
    links = {"href", "src", "srcset", "data", "action", "poster", "background"}
    assert not [(tag, found) for tag, found in reader.found if links & (found.keys() - allowed)]
    assert not re.search(r"url\(|@import", page)
    assert {"acme_1", "item-2", ": chassis.model.ItemError: empty"} <= set(reader.words)
    rows = [found for tag, found in reader.found if tag == "tr"]
    inside = list(read_history(events).root.everything())
    assert len(rows) == len(inside)  # the heading instead of the execution
    assert sum("class" in row for row in rows) == 1
    assert '"size"' not in "".join(reader.words)
    assert '"size"' in "".join(Reader(timeline.page(read_history(events, payloads=True))).words)


def test_the_examples_of_durations_and_names() -> None:
    result = doctest.testmod(history)

    assert (result.failed, result.attempted) == (0, 2)


def test_rows_do_not_overlap() -> None:
    picture = picture_of(events_of(*many(3)))

    tops = [row.get("transform") for row in picture.rows.values()]
    assert tops == [f"translate(0 {TOP + ROW * number})" for number in range(len(tops))]
    for name in picture.rows:
        for bar in picture.bars(name, "run"):
            assert float(bar.get("x")) >= LEFT
            assert float(bar.get("x")) + float(bar.get("width")) <= WIDTH - RIGHT + 2
