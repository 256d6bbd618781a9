"""The rooms: who may import whom, what no function but the workflow loads, what the linter says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from ops.local import ROOT
from tests.chassis.source import SRC, imports, loaded, modules

SDK = "aws_durable_execution_sdk_python"
CHASSIS = {name for name in modules() if name.partition(".")[0] == "chassis"}
WORKFLOW = {name for name in modules() if name.partition(".")[0] == "workflow"}

FOR_THE_WORKFLOW = {
    "chassis",
    "chassis.durable",
    #% if cookiecutter.front_door == "http_api"
    "chassis.functions.api",
    #% endif
    "chassis.functions.approver",
    "chassis.functions.starter",
}
GROUND = {"model", "quotas", "settings", "wire", "chunking"}
BELOW = {
    "tenancy": GROUND,
    "steps": {"tenancy", *GROUND},
    "functions": {"tenancy", *GROUND},
    "durable": {"steps", "tenancy", *GROUND},
}
"""The floors of the chassis, and what each of them stands on."""

WITHOUT_THE_SDK = [
    "workflow.starter",
    "workflow.approver",
    "chassis.functions.reconciler",
    #% if cookiecutter.__invoke
    "chassis.functions.meter",
    #% endif
]


def test_every_module_is_in_one_of_the_rooms() -> None:
    assert {name.partition(".")[0] for name in modules()} == {"chassis", "workflow"}


@pytest.mark.parametrize("module", sorted(CHASSIS))
def test_the_chassis_imports_nothing_of_the_owners(module: str) -> None:
    rooms = {name.partition(".")[0] for name in imports(module)}

    assert not rooms & {"workflow", "ops", "tests"}


@pytest.mark.parametrize("module", sorted(WORKFLOW))
def test_the_workflow_imports_what_the_chassis_offers(module: str) -> None:
    of_chassis = {name for name in imports(module) if name in CHASSIS}
    others = {name.partition(".")[0] for name in imports(module)} & {"ops", "tests"}

    assert not (of_chassis - FOR_THE_WORKFLOW) | others, (
        f"{module} imports what may change in an update: import chassis and chassis.durable"
    )


def test_the_chassis_has_floors_and_no_circle() -> None:
    code = {name for name in CHASSIS if modules()[name].name != "__init__.py"}
    graph = {name: imports(name) & CHASSIS for name in code}

    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle
    assert {part_of(name) for name in code} <= BELOW.keys() | GROUND
    for name, others in graph.items():
        part = part_of(name)
        for other in others:
            assert other in code, f"{name} imports {other}, which is for the workflow"
            assert part_of(other) in {part, *BELOW.get(part, GROUND)}, f"{name} imports {other}"


def part_of(module: str) -> str:
    return module.split(".")[1]


def test_what_is_for_the_workflow_comes_from_one_floor() -> None:
    assert {part_of(name) for name in imports("chassis") & CHASSIS} <= GROUND
    assert {part_of(name) for name in imports("chassis.durable") & CHASSIS} == {"durable"}


def test_only_the_workflows_function_loads_the_durable_sdk() -> None:
    """The others start sooner without it."""
    later = {
        name for entry in WITHOUT_THE_SDK for module in loaded(entry) for name in imports(module)
    }
    code = (
        "import importlib, sys\n"
        f"sys.modules[{SDK!r}] = None\n"  # whoever imports it fails
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
    )

    def load(*names: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            [sys.executable, "-c", code, *names],
            cwd=SRC,
            capture_output=True,
            text=True,
            check=False,
        )

    assert not [name for name in later if name.partition(".")[0] == SDK]
    assert load(*WITHOUT_THE_SDK).stderr == ""
    assert f"import of {SDK} halted" in load("chassis.durable").stderr


@pytest.mark.parametrize(
    ("word", "rooms"),
    [
        ("ops", CHASSIS),  # the owner may well have a word like that
        ("REGISTRY_FILE", modules()),
        ("OBJECTS_FOLDER", modules()),
    ],
)
def test_what_is_deployed_knows_nothing_of_this_machine(word: str, rooms: Iterable[str]) -> None:
    spoken_of = {
        name
        for name in rooms
        if re.search(rf"\b{word}\b", modules()[name].read_text(encoding="utf-8"))
    }

    assert spoken_of == set()


REPLAYED = [
    "src/workflow/workflow.py",
    "src/workflow/messages.py",
    "src/workflow/callback_helper.py",
    "src/workflow/something_new.py",
    "src/chassis/durable/something_new.py",
    "src/chassis/model.py",
]
IN_A_STEP = [
    "src/workflow/data_processor.py",
    "src/workflow/checks.py",
    #% if cookiecutter.__wait_for_condition
    "src/workflow/readiness.py",
    #% endif
    "src/workflow/warehouse/client.py",
    "src/workflow/warehouse/parts/client.py",
    "src/chassis/steps/something_new.py",
    "src/chassis/tenancy/something_new.py",
    "src/chassis/functions/something_new.py",
]
ASKS = [
    "boto3",
    "datetime",
    "http.client",
    "io",
    "os",
    "pathlib",
    "random",
    "requests",
    "secrets",
    "socket",
    "subprocess",
    "time",
    "urllib.request",
    "urllib3",
    "uuid",
]


def banned(path: str) -> list[str]:
    """The lines of a file that imports all of them, in which the linter forbids it."""
    code = "".join(f"import {name}\n" for name in ASKS)
    ruff = str(Path(sys.executable).with_name("ruff"))
    found = subprocess.run(  # noqa: S603
        [ruff, "check", "--output-format=json", f"--stdin-filename={path}", "-"],
        cwd=ROOT,
        input=code,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [
        problem["location"]["row"]
        for problem in json.loads(found.stdout)
        if problem["code"] == "TID251"
    ]
    return [ASKS[line - 1] for line in lines]


@pytest.mark.parametrize("path", REPLAYED)
def test_what_is_replayed_may_not_ask_the_world(path: str) -> None:
    assert banned(path) == ASKS


@pytest.mark.parametrize("path", IN_A_STEP)
def test_what_runs_in_a_step_may(path: str) -> None:
    assert banned(path) == []
