"""What an owner does first to a project, as its docs/change.md says, and that nothing breaks."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.request import Request, urlopen

import pytest
from conftest import Bake, Project
from recipes import CHANGES, follow, recipes
from variants import EVERYTHING

pytestmark = pytest.mark.slow

PROJECTS = {"default": {}, "everything": EVERYTHING}
# What a change may touch, beside its tests.
ROOM = {
    "1": {"src/workflow/data_processor.py"},
    "2": {"src/workflow/data_processor.py"},
    "3": {"src/workflow/messages.py", "events/order.json", "events/demo.json"},
    "One more": {"src/workflow/checks.py"},
    "One less": {"src/workflow/checks.py"},
    "None at all": {"src/workflow/checks.py", "src/workflow/workflow.py"},
    "5": {"src/workflow/workflow.py"},
    "6": {"template.yaml", "src/workflow/data_processor.py"},
    "7": {
        "src/workflow/data_processor.py",
        "src/workflow/definition.py",
        "src/workflow/tiers.toml",
    },
}
WAREHOUSE = "https://warehouse.example.com/reservations"


@pytest.fixture(params=PROJECTS)
def fresh(request: pytest.FixtureRequest, bake: Bake) -> Project:
    """A project as it is rendered."""
    return bake(**PROJECTS[request.param])


def check(project: Project, python: Any) -> None:
    """What docs/change.md says to do after a change."""
    project.run(python, "-m", "ruff", "format", "--quiet", ".")
    project.run(python, "-m", "ruff", "check", "--quiet", "--fix", ".")
    project.run(python, "-m", "ruff", "check", ".")
    project.run(python, "-m", "mypy")
    project.run(python, "-m", "pytest", "-q")


def run(project: Project, python: Any, *arguments: str) -> dict[str, Any]:
    """The output of the workflow, run on this machine."""
    printed = project.run(python, "-m", "ops", "run", "--answer", "approve", *arguments)
    output: dict[str, Any] = json.loads(printed.stdout)
    return output


def test_every_recipe_is_one_of_these(fresh: Project) -> None:
    assert [heading for heading in recipes(fresh.path) if heading.startswith(tuple(ROOM))] == (
        CHANGES
    )
    assert len(CHANGES) == len(ROOM)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_touches_the_owners_room_and_breaks_nothing(
    fresh: Project, environments: Callable[[Project], Any], change: str
) -> None:
    python = environments(fresh) / "python"
    touched = follow(fresh.path, change)
    (allowed,) = (files for key, files in ROOM.items() if change.startswith(key))
    assert {name for name in touched if not name.startswith("tests/workflow/")} == allowed
    check(fresh, python)
    SHOWN[change[:8]](fresh, python)


def calls_the_warehouse(project: Project, python: Any) -> None:
    """Once for each item and execution, with a key of its own; again when it is not available."""
    with warehouse() as (address, calls):
        path = project.path / "src" / "workflow" / "data_processor.py"
        text = path.read_text(encoding="utf-8")
        assert text.count(WAREHOUSE) == 1
        path.write_text(text.replace(WAREHOUSE, address), encoding="utf-8")
        output = run(project, python)
        again = run(project, python)

    assert output["mapResults"]["succeeded"] == again["mapResults"]["succeeded"] == 4
    keys = [key for key, _ in calls]
    assert len(set(keys)) == 8  # four items of two executions
    accepted = [key for key, status in calls if status == 200]
    assert sorted(accepted) == sorted(set(keys))
    assert len(keys) == 9  # the first one was tried again, with the same key
    assert keys.count(keys[0]) == 2


@contextmanager
def warehouse() -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """An HTTP server that is not available at its first call; it notes key and answer."""
    calls: list[tuple[str, int]] = []
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with lock:
                status = 200 if calls else 503
                calls.append((self.headers["Idempotency-Key"], status))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", calls
        server.shutdown()


def has_other_results(project: Project, python: Any) -> None:
    """Two of the five items are no order lines."""
    output = run(project, python)
    assert [set(item) for item in output["mapResults"]["results"]] == [{"id", "sku", "amount"}] * 3


@contextmanager
def page(project: Project, python: Any) -> Iterator[Callable[..., Any]]:
    """What ``make run UI=1`` serves; its calls return JSON."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [python, "-m", "ops", "run", "--ui", "--no-open"],
        cwd=project.path,
        env={**os.environ, "UI_PORT": str(port)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        line = next(line for line in process.stdout if "#token=" in line)
        address, token = line.strip().split("#token=")

        def call(path: str, body: Any = None) -> Any:
            data = None if body is None else json.dumps(body).encode()
            request = Request(address + path, data, {"Authorization": f"Bearer {token}"})
            with urlopen(request) as response:
                return json.load(response)

        try:
            yield call
        finally:
            process.terminate()


def asked(call: Callable[..., Any]) -> Any:
    """The approval that waits for an answer, once one does."""
    end = time.monotonic() + 60
    while not (found := call("approvals")["approvals"]):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found[0]


def shows_who_asks(project: Project, python: Any) -> None:
    """In the output, to the approver, also on the page, and a wrong one is named."""
    assert run(project, python)["requestedBy"] == "grace"
    with page(project, python) as call:
        call("workflows", json.loads(call("config.json")["example"]))
        assert asked(call)["evidence"]["requestedBy"] == "grace"
    path = project.path / "events" / "order.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"grace"', "7"), encoding="utf-8")
    command = [python, "-m", "ops", "run", "--answer", "approve"]
    refused = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    line = "REFUSED: requestedBy is of type number, expected a string of 1 to 1000"
    assert line in refused.stderr


def has_checks(difference: int) -> Callable[[Project, Any], None]:
    """So many more than the project was made with; nobody has corrected a number."""

    def shown(project: Project, python: Any) -> None:
        count = int(project.answers.get("parallel_branch_count", "3")) + difference
        output = run(project, python)
        assert len(output["parallelResults"]) == output["metrics"]["checksRun"] == max(0, count)

    return shown


def asks_twice(project: Project, python: Any) -> None:
    """At the terminal and on the page; the output has both decisions, and the cost knows it."""
    with page(project, python) as call:
        call("workflows", json.loads(call("config.json")["example"]))
        first = asked(call)
        call(f"approvals/{first['id']}", {"decision": "APPROVED"})
        second = asked(call)
        assert [each["approval"] for each in (first, second)] == ["approval", "budget-approval"]
        assert second["evidence"]["approvedBy"] == first["startedBy"]
    ours, theirs = os.openpty()
    os.write(ours, b"y\ny\n")
    ran = subprocess.run(
        [python, "-m", "ops", "run"],
        cwd=project.path,
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(ours)
    os.close(theirs)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("Approve it? [y/n]") == 2
    assert [each["decision"] for each in json.loads(ran.stdout)["approvals"]] == ["APPROVED"] * 2
    follows = cost(project, python)
    project_before = project.path / "src" / "workflow" / "workflow.py"
    text = project_before.read_text(encoding="utf-8")
    project_before.write_text(
        text.replace("if approvals[0].goes_on:", "if not approvals[0].goes_on:"), encoding="utf-8"
    )
    before = cost(project, python)
    assert follows["operations"] - before["operations"] == 4
    assert follows["messages"] - before["messages"] == 1


def cost(project: Project, python: Any) -> dict[str, float]:
    """What ``make cost`` counts for ten items."""
    printed = project.run(python, "-m", "ops", "cost", "--items", "10", "--json")
    counted: dict[str, float] = json.loads(printed.stdout)
    return counted


def names_the_missing_half(project: Project, python: Any) -> None:
    """Whichever part of a setting is forgotten, a test says which."""
    template = project.path / "template.yaml"
    processor = project.path / "src" / "workflow" / "data_processor.py"
    for path, part, said in (
        (template, "        ${LargestItemBytes}\n", r"LargestItemBytes.*VersionDescr"),
        (
            template,
            "          LARGEST_ITEM_BYTES: !Ref LargestItemBytes\n",
            r"LARGEST_ITEM_BYTES is read by .*data_processor\.py and not set in template\.yaml",
        ),
        (
            processor,
            'int(os.environ["LARGEST_ITEM_BYTES"])',
            r"LARGEST_ITEM_BYTES is set in template\.yaml and read by nobody",
        ),
    ):
        text = path.read_text(encoding="utf-8")
        assert part in text
        path.write_text(text.replace(part, "10_000" if path == processor else ""), encoding="utf-8")
        tested = subprocess.run(
            [python, "-m", "pytest", "-q", "tests/chassis/test_template.py"],
            cwd=project.path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert tested.returncode == 1
        assert re.search(said, tested.stdout), tested.stdout
        path.write_text(text, encoding="utf-8")


def has_two_steps(project: Project, python: Any) -> None:
    """Each of them has its checkpoint; the cost and the limit know it."""
    output = run(project, python)
    assert all("shipment" in item for item in output["mapResults"]["results"])
    definition = project.path / "src" / "workflow" / "definition.py"
    two = cost(project, python)
    text = definition.read_text(encoding="utf-8")
    one_step = text.replace("(process_item, ship_item)", "(process_item,)")
    definition.write_text(one_step.replace("process_item, ship_item, work", "process_item, work"))
    assert two["operations"] - cost(project, python)["operations"] == 10


SHOWN = {
    "1. Call ": calls_the_warehouse,
    "2. Other": has_other_results,
    "3. A fie": shows_who_asks,
    "One more": has_checks(1),
    "One less": has_checks(-1),
    "None at ": has_checks(-100),
    "5. A sec": asks_twice,
    "6. A set": names_the_missing_half,
    "7. A sec": has_two_steps,
}
