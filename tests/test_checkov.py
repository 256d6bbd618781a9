"""checkov finds nothing in a rendered project but what ``.checkov.yaml`` skips, with a reason."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, Bake, tool

import durable_workflow_answers as rules

pytestmark = pytest.mark.slow

LOCK = "requirements-checkov.lock"
EVERY_OPTION = {"fan_out": "yes", "extra_operations": ",".join(rules.EXTRA_OPERATIONS)}
# Which resources there are depends on the options, what they have on the key; no other answer adds
# one, and the two other tenancies are among these.
VARIANTS = {
    "default": {},
    "key": {"customer_managed_key": "yes", "tenancy": "silo", "front_door": "none"},
    "options": EVERY_OPTION,
    "key-and-options": {"customer_managed_key": "yes", "tenancy": "isolated", **EVERY_OPTION},
}


@pytest.fixture(scope="session")
def checkov(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkov, in an environment of its own."""
    return tool(tmp_path_factory.mktemp("checkov"), ROOT / LOCK) / "checkov"


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_found_is_what_is_skipped(
    bake: Bake, checkov: Path, tmp_path: Path, variant: str
) -> None:
    project = bake(**VARIANTS[variant])
    here = {**os.environ, "HOME": str(tmp_path)}  # no configuration but the project's
    reported = project.run(checkov, env=here)
    # From another folder: without the file.
    everything = subprocess.run(
        [checkov, "--skip-download", "--output", "json", "--file", project.path / "template.yaml"],
        cwd=tmp_path,
        env=here,
        capture_output=True,
        text=True,
        check=False,
    )
    results = json.loads(everything.stdout)["results"]
    skipped = re.findall(r"^  - (CKV\w+)$", project.read(".checkov.yaml"), re.M)

    assert "Failed checks: 0, Skipped checks: 0" in reported.stdout
    assert results["passed_checks"]
    assert not results["parsing_errors"]
    assert sorted({found["check_id"] for found in results["failed_checks"]}) == sorted(skipped)


def test_nothing_is_found_in_the_roles_of_ci(bake: Bake, checkov: Path, tmp_path: Path) -> None:
    project = bake(**VARIANTS["key-and-options"])
    reported = project.run(
        checkov,
        *("--skip-download", "--compact", "--file", "deploy-role.yaml"),
        env={**os.environ, "HOME": str(tmp_path)},
    )

    assert "Failed checks: 0, Skipped checks: 0" in reported.stdout


def test_each_skip_has_a_reason_and_the_command_a_version(bake: Bake) -> None:
    project = bake(**EVERY_OPTION)
    lines = project.read(".checkov.yaml").splitlines()
    skips = [number for number, line in enumerate(lines) if line.startswith("  - ")]
    (version,) = re.findall(r"^checkov==([\d.]+) ", (ROOT / LOCK).read_text("utf-8"), re.M)

    assert skips
    assert all(lines[number - 1].startswith("  # ") for number in skips)
    for page in (".checkov.yaml", "docs/operate.md"):
        assert set(re.findall(r"checkov@([\d.]+\d)", project.read(page))) == {version}
