"""A browser, people who look at the page, and what they must never see."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import pytest
from driver import Driver
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

expect.set_options(timeout=30_000)

Visit = Callable[..., Page]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shots", type=Path, help="a folder for pictures of every view")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The Chromium of this machine, or else Playwright's own."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def tenant(driver: Driver) -> str:
    """A tenant of the test's own."""
    return driver.tenant()


@pytest.fixture
def new_page(driver: Driver, browser: Browser) -> Iterator[Visit]:
    """Make pages, each of somebody who has never been here.

    Nothing may go wrong in them, whatever a test does: no exception, nothing against the
    Content-Security-Policy, no dialog of the browser's, no request to anybody else.
    """
    wrong: list[str] = []
    contexts = []

    def note_console(message: ConsoleMessage) -> None:
        is_request = message.text.startswith("Failed to load resource")
        if message.type in {"error", "warning"} and not is_request:
            wrong.append(f"console: {message.text}")

    def note_request(request: Request) -> None:
        if not request.url.startswith((driver.url, "https://issuer.example/")):
            wrong.append(f"request: {request.url}")

    def make(**options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.on("weberror", lambda error: wrong.append(f"exception: {error.error}"))
        context.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        context.on("console", note_console)
        context.on("request", note_request)
        return context.new_page()

    yield make
    for context in contexts:
        for page in context.pages:
            page.unroute_all(behavior="ignoreErrors")  # what it still asks for nobody answers
        context.close()
    assert wrong == []


@pytest.fixture
def visit(driver: Driver, new_page: Visit, tenant: str) -> Visit:
    """Open the page as somebody: ``visit("/runs", person="grace")``."""

    def open_page(path: str = "/", person: str = "grace", **options: Any) -> Page:
        page = new_page(**options)
        page.goto(f"{driver.url}#token={driver.token(tenant, person)}{path}")
        page.locator("main > *").wait_for()
        return page

    return open_page


@pytest.fixture
def answer(driver: Driver, tenant: str) -> Callable[..., None]:
    """Answer an approval past the page."""

    def send(approval_id: str, person: str, decision: str = "APPROVED", comment: str = "") -> None:
        request = HttpRequest(
            f"{driver.url}approvals/{approval_id}",
            data=json.dumps({"decision": decision, "comment": comment}).encode(),
            headers={
                "Authorization": f"Bearer {driver.token(tenant, person)}",
                "Content-Type": "application/json",
            },
        )
        with urlopen(request) as response:
            assert response.status == 200

    return send
