"""Approve and reject, and everything that can come between."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from conftest import Visit
from driver import Driver
from playwright.sync_api import Page, Request, Route, expect

Answer = Callable[..., None]


def answers_sent(page: Page) -> list[Request]:
    """The requests of the page that answer an approval, from now on."""
    sent: list[Request] = []
    page.on("request", lambda request: request.method == "POST" and sent.append(request))
    return sent


def button(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def outcome(page: Page, title: str) -> None:
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)


def test_a_redrive_leads_to_the_first_decision(driver: Driver, visit: Visit, tenant: str) -> None:
    """By an id, and by nothing else."""
    first = driver.ask(tenant, workflow_id="the-first")
    again = driver.ask(tenant, evidence={"firstApproval": first})
    page = visit(f"/approvals/{driver.ask(tenant, evidence={'firstApproval': f'{first}/'})}")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="First decision")).to_have_count(0)

    page.goto(f"{driver.url}#/approvals/{again}")
    page.get_by_role("link", name="First decision").click()
    expect(page.get_by_role("heading", name="the-first")).to_be_visible()


def open_without_looking(visit: Visit, path: str, **options: str) -> Page:
    """An approval whose page looks at the server once more, and then only as its clock is moved."""
    page = visit("/runs/new", **options)
    page.clock.install()
    page.goto(f"{page.url.split('#')[0]}#{path}")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_visible()
    with page.expect_response("**/approvals/*"):
        page.clock.pause_at(datetime.now() + timedelta(seconds=30))
    return page


@pytest.mark.parametrize(
    ("verb", "state", "kind"),
    [("Approve", "Approved", "APPROVED"), ("Reject", "Rejected", "REJECTED")],
)
def test_an_answer_takes_a_second_click(
    driver: Driver, visit: Visit, tenant: str, verb: str, state: str, kind: str
) -> None:
    driver.ask(tenant, evidence={"items": 5, "order": {"customer": "Lovelace", "total": 149.90}})
    page = visit()
    page.get_by_role("link", name="order-2026-0042").click()
    expect(page.get_by_role("region", name="Evidence")).to_contain_text("Lovelace")
    page.get_by_label("Comment").fill("as agreed")
    sent = answers_sent(page)

    button(page, verb)
    dialog = page.get_by_role("dialog", name=f"{verb} 5 items?")
    expect(dialog).to_contain_text("as agreed")
    button(page, "Back")
    expect(dialog).to_be_hidden()
    button(page, verb)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert sent == []
    button(page, verb)
    button(page, f"Yes, {verb.lower()}")

    outcome(page, state)
    decision = page.locator(".decide")
    for shown in ("grace", "Sign-in", "as agreed"):
        expect(decision).to_contain_text(shown)
    expect(page.get_by_role("status")).to_have_text(f"{state} by grace")
    assert [request.post_data_json for request in sent] == [
        {"decision": kind, "comment": "as agreed"}
    ]
    page.get_by_role("link", name="Decided").click()
    row = page.get_by_role("row", name="order-2026-0042")
    for shown in (state, "grace", "Sign-in", "as agreed"):
        expect(row).to_contain_text(shown)
    page.get_by_role("link", name="Inbox").click()
    expect(page.get_by_text("Nothing is waiting for an answer.").first).to_be_visible()


def test_looking_changes_nothing(driver: Driver, visit: Visit, tenant: str) -> None:
    approval = driver.ask(tenant)
    page = visit("/runs")
    sent = answers_sent(page)
    for path in (f"/approvals/{approval}", f"/approvals/{approval}?decision=APPROVED", "/decided"):
        page.goto(f"{driver.url}#{path}")
        expect(page.locator("h1")).to_be_visible()
    page.reload()

    assert sent == []
    page.goto(f"{driver.url}#/approvals/{approval}")
    expect(page.get_by_text("Pending")).to_be_visible()


def test_double_clicks_send_one_request(driver: Driver, visit: Visit, tenant: str) -> None:
    page = visit(f"/approvals/{driver.ask(tenant)}")
    sent = answers_sent(page)

    page.get_by_role("button", name="Approve", exact=True).dblclick()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert sent == []
    page.get_by_role("button", name="Yes, approve").dblclick()

    outcome(page, "Approved")
    assert len(sent) == 1


def test_a_double_click_where_the_second_button_appears_is_one_click(
    driver: Driver, visit: Visit, tenant: str
) -> None:
    page = visit(f"/approvals/{driver.ask(tenant)}")
    approve = page.get_by_role("button", name="Approve", exact=True)
    approve.click()
    where = page.get_by_role("button", name="Yes, approve").bounding_box()
    button(page, "Back")
    assert where

    sent = answers_sent(page)
    approve.evaluate(
        """(button, where) => {
            button.style.cssText = `position: fixed; left: ${where.x}px; top: ${where.y}px`;
        }""",
        where,
    )
    approve.dblclick()

    expect(page.get_by_role("dialog")).to_be_visible()
    assert sent == []


def test_an_open_page_notices_an_answer(
    driver: Driver, visit: Visit, tenant: str, answer: Answer
) -> None:
    approval = driver.ask(tenant)
    page, other = visit(f"/approvals/{approval}"), visit(person="alan")
    button(page, "Approve")
    expect(other.get_by_role("link", name="order-2026-0042")).to_be_visible()

    answer(approval, "katherine", "REJECTED", "too expensive")

    outcome(page, "Rejected")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("heading", name="Rejected")).to_be_focused()
    expect(page.locator(".decide")).to_contain_text("too expensive")
    expect(page.get_by_role("status")).to_have_text("Rejected by katherine")
    expect(other.get_by_text("Nothing is waiting for an answer.").first).to_be_visible()


def test_an_old_look_does_not_undo_an_answer(driver: Driver, visit: Visit, tenant: str) -> None:
    page = visit(f"/approvals/{driver.ask(tenant)}")
    old = []

    def hold(route: Route) -> None:
        if route.request.method == "GET" and not old:
            old.append((route, route.fetch()))
        else:
            route.fallback()

    page.route("**/approvals/*", hold)
    with page.expect_request("**/approvals/*"):
        pass
    button(page, "Approve")
    button(page, "Yes, approve")
    outcome(page, "Approved")
    page.locator(".head").evaluate(
        """(head) => {
            window.seen = [];
            const note = () => seen.push(head.querySelector(".badge").textContent);
            new MutationObserver(note).observe(head, { childList: true, subtree: true });
        }"""
    )
    ((route, response),) = old
    route.fulfill(response=response)
    page.get_by_role("link", name="Decided").click()
    expect(page.get_by_role("heading", name="Decided")).to_be_visible()

    assert page.evaluate("seen") == []


def test_two_approvers_at_once(driver: Driver, visit: Visit, tenant: str) -> None:
    path = f"/approvals/{driver.ask(tenant)}"
    first = open_without_looking(visit, path, person="grace")
    second = open_without_looking(visit, path, person="alan")
    for page, verb in ((first, "Approve"), (second, "Reject")):
        button(page, verb)
    button(first, "Yes, approve")
    outcome(first, "Approved")
    button(second, "Yes, reject")

    outcome(second, "Approved")
    expect(second.locator(".decide").get_by_role("alert")).to_contain_text("has changed")
    expect(second.locator(".decide dl")).to_contain_text("grace")


def test_two_tabs_of_one_approver(driver: Driver, visit: Visit, tenant: str) -> None:
    approval = driver.ask(tenant)
    first = visit(f"/approvals/{approval}")
    with first.context.expect_page() as opened:
        first.evaluate("open(location.href)")  # the tab takes its session along
    second = opened.value
    button(second, "Approve")
    button(second, "Yes, approve")
    outcome(second, "Approved")

    outcome(first, "Approved")


def test_it_expires_while_somebody_looks(driver: Driver, visit: Visit, tenant: str) -> None:
    approval = driver.ask(tenant)
    page = visit(f"/approvals/{approval}")
    expect(page.locator("dd time.soon")).to_have_count(0)
    expect(page.get_by_text(re.compile("5[89] min|1 h 0 min"))).to_be_visible()

    driver.expire(approval)

    outcome(page, "Timed out")
    page.goto(f"{driver.url}#/decided")
    expect(page.get_by_role("row", name="order-2026-0042")).to_contain_text("Timed out")


def test_it_has_expired_when_the_answer_comes(driver: Driver, visit: Visit, tenant: str) -> None:
    approval = driver.ask(tenant)
    page = open_without_looking(visit, f"/approvals/{approval}")
    driver.expire(approval)
    button(page, "Approve")
    button(page, "Yes, approve")

    outcome(page, "Timed out")
    expect(page.locator(".decide").get_by_role("alert")).to_contain_text("It has expired.")


def test_the_time_counts_down_and_ends(driver: Driver, visit: Visit, tenant: str) -> None:
    page = open_without_looking(visit, f"/approvals/{driver.ask(tenant)}")
    page.route("**/approvals/*", lambda route: route.abort())  # nothing corrects the clock
    left = page.locator("time[data-clock=left]")
    expect(left).to_have_text(re.compile(r"5[89] min"))
    page.clock.run_for("51:00")
    expect(left).to_have_text(re.compile(r"[78]:\d\d"))
    expect(left).to_have_class(re.compile("soon"))
    page.clock.run_for("09:00")

    expect(left).to_have_text("time is up")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_disabled()


def test_a_clock_that_is_wrong_does_not_matter(driver: Driver, visit: Visit, tenant: str) -> None:
    approval = driver.ask(tenant)
    page = visit("/runs/new")
    page.clock.set_system_time(datetime.now() + timedelta(hours=5))
    page.goto(f"{driver.url}#/approvals/{approval}")

    expect(page.locator("time[data-clock=left]")).to_have_text(re.compile("5[89] min|1 h 0 min"))
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_enabled()


def test_whoever_has_asked_does_not_approve(driver: Driver, visit: Visit, tenant: str) -> None:
    page = visit(f"/approvals/{driver.ask(tenant, started_by='grace')}", person="grace")
    page.get_by_label("Comment").fill("it is mine")
    button(page, "Approve")
    button(page, "Yes, approve")

    expect(page.get_by_role("alert")).to_contain_text("You may not do this.")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_focused()
    expect(page.get_by_label("Comment")).to_have_value("it is mine")


@pytest.mark.parametrize("arrives", [True, False])
def test_an_answer_on_a_bad_line_is_sent_again(
    driver: Driver, visit: Visit, tenant: str, arrives: bool
) -> None:
    page = visit(f"/approvals/{driver.ask(tenant)}")
    page.get_by_label("Comment").fill("fine")
    fail = []

    def drop(route: Route) -> None:
        if route.request.method == "POST" and not fail:
            fail.append(route.request)
            if arrives:
                route.fetch()
            route.abort()
        else:
            route.fallback()

    page.route("**/approvals/*", drop)
    button(page, "Approve")
    button(page, "Yes, approve")
    if not arrives:
        expect(page.get_by_role("alert")).to_contain_text("it is safe to try again")
        button(page, "Approve")
        button(page, "Yes, approve")

    outcome(page, "Approved")
    expect(page.locator(".decide dl")).to_contain_text("fine")


def test_an_approval_of_another_tenant_is_not_there(driver: Driver, visit: Visit) -> None:
    page = visit(f"/approvals/{driver.ask(driver.tenant())}")

    expect(page.get_by_role("heading", name="Not found")).to_be_visible()


def test_a_server_that_is_away_comes_back(driver: Driver, visit: Visit, tenant: str) -> None:
    driver.ask(tenant)
    page = visit()
    expect(page.get_by_role("link", name="order-2026-0042")).to_be_visible()
    page.context.set_offline(True)
    banner = page.get_by_role("alert").filter(has_text="cannot be reached")
    expect(banner).to_be_visible()
    expect(page.get_by_role("link", name="order-2026-0042")).to_be_visible()
    driver.ask(tenant, workflow_id="order-2026-0043")
    page.context.set_offline(False)

    expect(page.get_by_role("link", name="order-2026-0043")).to_be_visible(timeout=20_000)
    expect(banner).to_be_hidden()


def test_a_comment_survives_a_reload(driver: Driver, visit: Visit, tenant: str) -> None:
    page = visit(f"/approvals/{driver.ask(tenant)}")
    page.get_by_label("Comment").fill("half a thou")
    page.reload()

    expect(page.get_by_label("Comment")).to_have_value("half a thou")


def test_with_the_keyboard_alone(driver: Driver, visit: Visit, tenant: str) -> None:
    driver.ask(tenant)
    page = visit()
    expect(page.get_by_role("link", name="order-2026-0042")).to_be_visible()

    def press_until(role: str, name: str) -> None:
        """Tab to it; it can be seen to have the focus."""
        wanted = page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]
        for _ in range(15):
            page.keyboard.press("Tab")
            if wanted.evaluate("(element) => element === document.activeElement"):
                assert (
                    wanted.evaluate("(element) => getComputedStyle(element).outlineStyle") != "none"
                )
                return
        pytest.fail(f"Tab does not lead to {role} {name}")

    press_until("link", "Skip to the content")
    page.keyboard.press("Enter")
    press_until("link", "order-2026-0042")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_be_focused()
    expect(page).to_have_title(re.compile("^order-2026-0042"))
    press_until("textbox", "Comment (optional)")
    page.keyboard.type("by keyboard")
    press_until("button", "Approve")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Back", exact=True)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Yes, approve")).to_be_focused()
    page.keyboard.press("Space")

    outcome(page, "Approved")
    expect(page.get_by_role("heading", name="Approved")).to_be_focused()
    press_until("link", "Back to the inbox")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Inbox")).to_be_focused()
