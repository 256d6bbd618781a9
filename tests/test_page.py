"""The files of the page: what a browser is sent needs no trust beyond them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Bake, Project, tool

FOLDER = "src/chassis/functions"


def test_the_vendored_module_is_the_published_one(bake: Bake) -> None:
    header, module = bake().read(f"{FOLDER}/oauth4webapi.js").split("*/\n", 1)

    (digest,) = re.findall(r"sha256 .*: ([0-9a-f]{64})$", header, re.M)
    assert hashlib.sha256(module.removesuffix("\n").encode()).hexdigest() == digest
    assert "Permission is hereby granted" in header


def test_the_page_makes_no_markup_of_text(bake: Bake) -> None:
    script = bake().read(f"{FOLDER}/page.js")

    makers = (
        r"(inner|outer)HTML|insertAdjacentHTML|document\.write|srcdoc|DOMParser|\beval\b|Function\("
    )
    assert not re.search(makers, script)


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere(bake: Bake) -> None:
    project = bake()
    markup = project.read(f"{FOLDER}/page.html")

    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", markup)
    for name in ("page.html", "page.css", "page.js"):
        assert not re.search(r"//\w+\.|url\(|@import", project.read(f"{FOLDER}/{name}")), name


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium: .ci/run installs it")
def test_the_page_in_a_browser(
    bake: Bake, environments: Callable[[Project], Path], tmp_path: Path
) -> None:
    """The tests of ``tests/browser``, with the page as ``make run UI=1`` serves it."""
    project = bake()
    (project.path / ".venv").symlink_to(environments(project).parent)
    tests = ROOT / "tests" / "browser"
    command = ["-m", "pytest", tests, "-q", "-p", "local_driver", "-p", "no:cacheprovider"]
    project.run(
        tool(tmp_path / "browser", ROOT / "requirements-browser.lock") / "python",
        *command,
        "--numprocesses",
        "2",
        env={**os.environ, "PYTHONPATH": str(tests), "PROJECT": str(project.path)},
    )
