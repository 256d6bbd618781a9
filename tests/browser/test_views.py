"""Every view in light, in dark and on a phone: for axe, within the window, and for the eye."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import Visit
from driver import Driver
from playwright.sync_api import Page, expect

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1200, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1200, "height": 800}},
    "narrow": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}},
}
EVIDENCE = {
    "items": [
        {"sku": "KB-104", "name": "Keyboard, Swiss layout", "quantity": 2, "unitPrice": 49.9},
        {"sku": "MS-220", "name": "Mouse", "quantity": 1, "unitPrice": 25},
        {"sku": "GW-001", "name": "Gift wrapping", "quantity": 1, "unitPrice": None},
    ],
    "customer": {"name": "Analytical Engines Ltd", "since": 1843, "address": {"city": "London"}},
    "rush": True,
    "note": "The customer asks for delivery before Friday.\nThe warehouse has confirmed the stock.",
}


@pytest.mark.parametrize("look", LOOKS)
def test_every_view_can_be_read_by_everybody(
    driver: Driver,
    visit: Visit,
    tenant: str,
    answer: Callable[..., None],
    request: pytest.FixtureRequest,
    look: str,
) -> None:
    shots: Path | None = request.config.getoption("--shots")

    def check(page: Page, name: str) -> None:
        """Nothing serious for axe, nothing beyond the edge; a picture if they are asked for."""
        if shots:
            page.screenshot(path=shots / f"{name}-{look}.png", full_page=True)
        found = Axe().run(page).response["violations"]
        told = [(entry["id"], [node["html"] for node in entry["nodes"]]) for entry in found]
        assert told == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name

    def go(page: Page, path: str, title: str) -> None:
        page.goto(f"{driver.url}#{path}")
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()

    page = visit(**LOOKS[look])
    expect(page.get_by_text("Nothing is waiting for an answer.").first).to_be_visible()
    check(page, "inbox-empty")
    go(page, "/runs", "Runs")
    check(page, "runs-empty")

    ids = {
        person: driver.ask(
            tenant, started_by=person, evidence=EVIDENCE, workflow_id=f"order-2026-{number:04}"
        )
        for number, person in enumerate(["grace", "ada", "alan", "katherine", "hedy"], start=39)
    }
    driver.ask_many(tenant, 60)
    approval = driver.ask(tenant, evidence=EVIDENCE, workflow_id="order-2026-0044")
    go(page, "/", "Inbox")
    check(page, "inbox")
    go(page, f"/approvals/{approval}", "order-2026-0044")
    check(page, "approval")
    page.get_by_label("Comment").fill("Agreed on the phone with the customer.")
    page.get_by_role("button", name="Approve", exact=True).click()
    check(page, "approval-confirm")
    page.get_by_role("button", name="Yes, approve").click()
    expect(page.get_by_role("heading", name="Approved")).to_be_visible()
    check(page, "approval-approved")

    answer(ids["ada"], "katherine", "REJECTED", "The price is last year's.")
    driver.expire(ids["alan"])
    for person, number, title in (("ada", 40, "Rejected"), ("alan", 41, "Timed out")):
        go(page, f"/approvals/{ids[person]}", f"order-2026-{number:04}")
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
        check(page, f"approval-{title.lower().replace(' ', '-')}")
    go(page, f"/approvals/{ids['grace']}", "order-2026-0039")
    page.get_by_role("button", name="Reject", exact=True).click()
    check(page, "approval-reject")
    page.get_by_role("button", name="Yes, reject").click()
    expect(page.get_by_role("alert").filter(has_text="You may not do this.")).to_be_visible()
    check(page, "approval-own")

    go(page, "/decided", "Decided")
    check(page, "decided")
    go(page, "/runs", "Runs")
    check(page, "runs")
    page.get_by_role("link", name="order-2026-0044").click()
    expect(page.get_by_role("region", name="Result")).to_be_visible()
    check(page, "run")
    page.get_by_role("button", name="Draw the timeline").click()
    picture = page.get_by_role("img", name="SUCCEEDED after")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") == 1000  # it is an SVG that is one
    check(page, "run-timeline")
    page.get_by_text("In words").click()
    check(page, "run-timeline-words")
    rows = page.locator("figcaption li").all_text_contents()
    scale = picture.evaluate("image => image.clientHeight / image.naturalHeight")
    for number, text in enumerate(rows):  # the pointer is on each of them
        picture.hover(position={"x": 9, "y": (46 + 24 * number + 12) * scale})
        expect(picture).to_have_attribute("title", text)
    assert {"prepare-work (Step)", "approval (WaitForCallback)"} <= {
        text.partition(":")[0] for text in rows
    }
    page.go_back()
    page.get_by_role("link", name="order-2026-0043", exact=True).click()
    page.get_by_role("button", name="Cancel the run").click()
    check(page, "run-cancel")
    page.get_by_role("button", name="Back", exact=True).click()

    go(page, "/runs/new", "Start a run")
    check(page, "start")
    page.get_by_label("Input").fill('{"workflowId": ')
    page.get_by_role("button", name="Start", exact=True).click()
    check(page, "start-wrong")
    go(page, "/nowhere", "Not found")
    check(page, "not-found")
    go(page, "/", "Inbox")
    page.context.set_offline(True)
    expect(page.get_by_role("alert").filter(has_text="cannot be reached")).to_be_visible()
    check(page, "offline")
    page.context.set_offline(False)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
    check(page, "signed-out")
