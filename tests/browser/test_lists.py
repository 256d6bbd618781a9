"""The lists, the runs, and who sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Visit
from driver import Driver
from playwright.sync_api import Page, Route, expect

Answer = Callable[..., None]


def links(page: Page) -> list[str]:
    return page.locator("tbody a").all_inner_texts()


def test_a_thousand_approvals_come_in_pages(driver: Driver, visit: Visit, tenant: str) -> None:
    driver.ask_many(tenant, 1000)
    page = visit()
    expect(page.locator("tbody tr")).to_have_count(50)
    assert links(page)[0] == "order-1000"
    for _ in range(19):
        first = links(page)[0]
        page.get_by_role("link", name="Older").click()
        expect(page.locator("tbody a").first).not_to_have_text(first)

    assert links(page)[-1] == "order-1"
    expect(page.get_by_role("link", name="Older")).to_be_hidden()
    page.go_back()
    expect(page.locator("tbody a").first).to_have_text("order-100")
    page.get_by_role("link", name="Newest").click()
    expect(page.locator("tbody a").first).to_have_text("order-1000")
    # A look asks for what is shown, however many there are.
    with page.expect_response("**/approvals?**") as looked:
        pass
    assert len(looked.value.json()["approvals"]) == 50


def test_a_look_keeps_the_place_and_the_focus(
    driver: Driver, visit: Visit, tenant: str, answer: Answer
) -> None:
    other = driver.ask(tenant, workflow_id="other")
    driver.ask(tenant, workflow_id="mine")
    page = visit()
    page.get_by_role("link", name="mine").focus()
    driver.ask(tenant, workflow_id="new")
    answer(other, "alan")

    expect(page.locator("tbody a")).to_have_text(["new", "mine"])
    expect(page.get_by_role("link", name="mine")).to_be_focused()


def test_nobody_looks_while_the_tab_is_hidden(driver: Driver, visit: Visit, tenant: str) -> None:
    page = visit("/runs/new")
    page.clock.install()
    page.goto(f"{driver.url}#/")
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    with page.expect_response("**/approvals?**"):
        page.clock.run_for(4_000)
    page.evaluate(
        """() => {
            window.hiding = true;
            Object.defineProperty(document, "hidden", { get: () => window.hiding });
        }"""
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    driver.ask(tenant)
    for _ in range(15):
        page.clock.run_for(4_000)
    assert asked == []

    page.evaluate(
        """() => {
            window.hiding = false;
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    expect(page.get_by_role("link", name="order-2026-0042")).to_be_visible()


def test_a_view_that_cannot_be_shown_comes_when_it_can(driver: Driver, visit: Visit) -> None:
    page = visit("/runs/new")
    refusal = {"status": 503, "title": "Refused", "detail": "the table is busy"}
    page.route("**/approvals?**", lambda route: route.fulfill(status=503, json=refusal), times=1)
    page.goto(f"{driver.url}#/")

    expect(page.get_by_text("it is safe to try again. The table is busy.")).to_be_visible()
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()


def test_another_token_shows_another_tenant(driver: Driver, visit: Visit, tenant: str) -> None:
    theirs = driver.tenant()
    approval = driver.ask(tenant, workflow_id="ours")
    driver.ask(theirs, workflow_id="theirs")
    page = visit(f"/approvals/{approval}")
    page.get_by_label("Comment").fill("ours")
    page.evaluate(f"location.hash = 'token={driver.token(theirs, 'eve')}'")

    expect(page.get_by_role("link", name="theirs")).to_be_visible()
    expect(page.get_by_text("ours")).to_have_count(0)
    assert "ours" not in page.evaluate("JSON.stringify(sessionStorage)")
    assert "token" not in page.url
    page.goto(f"{driver.url}#/approvals/{approval}")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()


def test_without_a_token_there_is_nothing(driver: Driver, visit: Visit, tenant: str) -> None:
    driver.ask(tenant)
    page = visit()
    expect(page.get_by_role("link", name="order-2026-0042")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
    page.goto(f"{driver.url}#token=wrong")

    expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
    expect(page.get_by_role("navigation", name="Views")).to_be_hidden()


def test_a_run_from_its_start_to_its_result(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    page.get_by_role("link", name="Start a run").click()
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"workflowId": "from-a-file", "inputData": {"items": [1, 2]}}))
    page.get_by_label("Or take it from a file").set_input_files(event)
    expect(page.get_by_label("Input")).to_have_value(re.compile("from-a-file"))
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("heading", name="from-a-file")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("Running")
    expect(page.get_by_text("0 of 2")).to_be_visible()
    expect(page.get_by_role("link", name="An answer")).to_be_visible()

    other = visit(person="alan")
    expect(other.get_by_role("link", name="Start a run")).to_be_hidden()
    other.get_by_role("link", name="from-a-file").click()
    other.get_by_role("button", name="Approve", exact=True).click()
    other.get_by_role("button", name="Yes, approve").click()

    expect(page.get_by_role("main")).to_contain_text("Succeeded")
    expect(page.get_by_role("region", name="Result")).to_contain_text("COMPLETED")
    for role, name in (("button", "Cancel the run"), ("link", "An answer")):
        expect(page.get_by_role(role, name=name)).to_be_hidden()  # type: ignore[arg-type]
    page.get_by_role("link", name="Runs").first.click()
    expect(page.get_by_role("row", name="from-a-file")).to_contain_text("Succeeded")


def test_cancelling_takes_a_second_click(driver: Driver, visit: Visit, tenant: str) -> None:
    driver.ask(tenant)
    page = visit("/runs")
    page.get_by_role("link", name="order-2026-0042").click()
    page.get_by_role("button", name="Cancel the run").click()
    page.get_by_role("button", name="Back", exact=True).click()
    expect(page.get_by_role("main")).to_contain_text("Running")
    page.get_by_role("button", name="Cancel the run").click()
    page.get_by_role("button", name="Yes, cancel it").click()

    expect(page.get_by_role("main")).to_contain_text("Stopped")


def test_a_timeline_is_drawn_when_it_is_asked_for(
    driver: Driver, visit: Visit, tenant: str
) -> None:
    driver.ask(tenant)
    page = visit("/runs")
    page.get_by_role("link", name="order-2026-0042").click()
    draw = page.get_by_role("button", name="Draw the timeline")
    # API Gateway refuses in words of its own.
    page.route(
        "**/timeline",
        lambda route: route.fulfill(status=429, json={"message": "Too Many Requests"}),
        times=1,
    )
    draw.click()
    expect(page.get_by_role("alert")).to_contain_text("There are too many at the moment.")
    draw.click()
    expect(page.get_by_role("img", name="RUNNING for")).to_be_visible()
    expect(page.locator("figcaption p")).to_contain_text("1 waiting: approval")
    expect(page.get_by_role("alert")).to_be_hidden()
    page.get_by_role("button", name="Draw it again").click()
    expect(page.get_by_role("button", name="Draw it again")).to_be_enabled()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"workflowId": ', "This is not JSON"),
        ('{"workflowId": "a b", "inputData": {"items": []}}', "does not accept this"),
    ],
)
def test_a_start_says_what_is_wrong(visit: Visit, written: str, said: str) -> None:
    page = visit("/runs/new")
    page.get_by_label("Input").fill(written)
    page.get_by_role("button", name="Start", exact=True).click()

    expect(page.get_by_role("alert").filter(has_text=said)).to_be_visible()
    expect(page.get_by_label("Input")).to_have_value(written)


def test_a_form_starts_one_run(visit: Visit) -> None:
    """Sent again after its answer was lost, even from a page that was reloaded."""
    page = visit("/runs/new")
    dropped: list[str] = []

    def drop(route: Route) -> None:
        if route.request.method == "POST" and not dropped:
            dropped.append(route.request.headers["idempotency-key"])
            route.fetch()
            route.abort()
        else:
            route.fallback()

    page.route("**/workflows", drop)
    page.get_by_label("Input").fill('{"workflowId": "once", "inputData": {"items": [1]}}')
    start = page.get_by_role("button", name="Start", exact=True)
    start.click()
    expect(page.get_by_role("alert").filter(has_text="safe to try again")).to_be_visible()
    page.reload()
    start.dblclick()
    expect(page.get_by_role("heading", name="once")).to_be_visible()
    page.get_by_role("link", name="Runs").first.click()
    expect(page.locator("tbody tr")).to_have_count(1)

    # The next form is another run.
    page.get_by_role("link", name="Start a run").click()
    page.get_by_label("Input").fill('{"workflowId": "twice", "inputData": {"items": [1]}}')
    start.click()
    expect(page.get_by_role("heading", name="twice")).to_be_visible()
    page.get_by_role("link", name="Runs").first.click()
    expect(page.locator("tbody tr")).to_have_count(2)


def test_other_content_of_the_same_form_is_asked_about(visit: Visit) -> None:
    page = visit("/runs/new")
    page.route(
        "**/workflows",
        lambda route: (route.fetch(), route.abort()) if route.request.method == "POST" else None,
        times=1,
    )
    start = page.get_by_role("button", name="Start", exact=True)
    start.click()
    expect(page.get_by_role("alert").filter(has_text="safe to try again")).to_be_visible()
    first = json.loads(page.get_by_label("Input").input_value())
    assert first["workflowId"] == "an-example"
    page.get_by_label("Input").fill(json.dumps({**first, "inputData": {"items": [1, 2]}}))
    start.click()
    page.get_by_role("button", name="Start another run").click()

    expect(page.get_by_role("heading", name=first["workflowId"])).to_be_visible()
    page.get_by_role("link", name="Runs").first.click()
    expect(page.locator("tbody tr")).to_have_count(2)
