"""Whatever people and systems write is text, and numbers are what was sent."""

from __future__ import annotations

import json
from typing import Any

from conftest import Visit
from driver import Driver
from playwright.sync_api import Page, Route, expect

ATTACKS = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    '"><svg onload=alert(3)>',
    "javascript:alert(4)",
    "</textarea><iframe srcdoc='<script>parent.alert(5)</script>'></iframe>",
    "${alert(6)} {" + "{7*7}" + "}",
]
ATTACK = " ".join(ATTACKS)
ELEMENTS = "main :is(img, script, svg, iframe, object, embed, style, link, base)"


def harmless(page: Page) -> None:
    """Nothing was made of it; ``visit`` sees to dialogs, requests and exceptions."""
    expect(page.locator("h1").first).to_be_visible()
    expect(page.locator(ELEMENTS)).to_have_count(0)
    assert page.evaluate("[...document.links].every((link) => link.origin === location.origin)")


def test_what_people_write_is_text(driver: Driver, visit: Visit, tenant: str) -> None:
    evidence: dict[str, Any] = {
        ATTACK: ATTACK,
        "list": ATTACKS,
        "rows": [{ATTACK: ATTACK, "b": attack} for attack in ATTACKS],
        "tree": {ATTACK: {ATTACK: {ATTACK: [ATTACK, {ATTACK: ATTACK}]}}},
    }
    approval = driver.ask(tenant, started_by=f"ada {ATTACK}", evidence=evidence)
    page = visit(f"/approvals/{approval}", person=f"grace {ATTACK}")
    for attack in ATTACKS:
        expect(page.get_by_role("region", name="Evidence")).to_contain_text(attack)
    harmless(page)
    page.get_by_label("Comment").fill(ATTACK)
    page.get_by_role("button", name="Reject", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text(ATTACK)
    page.get_by_role("button", name="Yes, reject").click()
    expect(page.locator(".decide dl")).to_contain_text(f"grace {ATTACK}")
    harmless(page)
    for path in ("/decided", "/runs", "/"):
        page.goto(f"{driver.url}#{path}")
        harmless(page)


def poisoned(value: Any, name: str = "") -> Any:
    """The answer of a server that has been taken over: the attack in every text but the ids."""
    if isinstance(value, dict):
        return {key: poisoned(entry, key) for key, entry in value.items()}
    if isinstance(value, list):
        return [poisoned(entry) for entry in value]
    if name in {"id", "next", "issuer"} or value is None:
        return value
    return ATTACK if isinstance(value, str) else value


def test_what_the_server_says_is_text_too(driver: Driver, visit: Visit, tenant: str) -> None:
    approval = driver.ask(tenant)
    page = visit("/runs/new")

    def poison(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=json.dumps(poisoned(response.json())))

    page.route("**/approvals**", poison)
    page.route("**/workflows**", poison)
    page.route("**/config.json", poison)
    page.reload()
    expect(page.locator("#project")).to_have_text(ATTACK)
    page.get_by_role("link", name="Runs").first.click()
    expect(page.get_by_role("row", name=ATTACKS[0])).to_be_visible()
    harmless(page)
    for path in ("/", f"/approvals/{approval}", "/approvals/" + "0" * 32):
        page.goto(f"{driver.url}#{path}")
        expect(page.locator("main")).to_contain_text(ATTACKS[0])
        harmless(page)


def test_a_picture_is_no_more_than_a_picture(driver: Driver, visit: Visit, tenant: str) -> None:
    """Not even one of a server that has been taken over; ``visit`` sees to what it may not do."""
    driver.ask(tenant)
    page = visit("/runs")
    page.get_by_role("link", name="order-2026-0042").click()
    picture = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="alert(1)">'
        '<script>alert(1)</script><image href="https://evil.example/"/></svg>'
    )
    drawn = json.dumps({"svg": picture, "summary": ATTACK, "rows": [{"top": 0, "text": ATTACK}]})
    page.route("**/timeline", lambda route: route.fulfill(body=drawn))
    page.get_by_role("button", name="Draw the timeline").click()
    page.get_by_role("img").hover()
    expect(page.get_by_role("img")).to_have_attribute("title", ATTACK)
    expect(page.locator("figcaption p")).to_have_text(ATTACK)
    expect(page.locator("figcaption li")).to_have_text(ATTACK)
    expect(page.locator(ELEMENTS)).to_have_count(1)  # the image


def test_an_address_makes_nothing(driver: Driver, visit: Visit) -> None:
    page = visit()
    for path in (
        "/approvals/<img src=x onerror=alert(1)>",
        "javascript:alert(1)",
        "/%",
        "/?next=%3Cimg%20src=x%20onerror=alert(1)%3E",
    ):
        page.goto(f"{driver.url}#{path}")
        harmless(page)


def test_characters_that_deceive_are_named(driver: Driver, visit: Visit, tenant: str) -> None:
    evidence = {"to": "pay \u202e001 rue\u202c", "bell": "a\u0007b", "fine": "注文 🚀 שלום\nline 2"}
    page = visit(f"/approvals/{driver.ask(tenant, evidence=evidence)}")

    shown = page.get_by_role("region", name="Evidence")
    for text in ("pay ⟨U+202E⟩001 rue⟨U+202C⟩", "a⟨U+0007⟩b", "注文 🚀 שלום"):
        expect(shown).to_contain_text(text)


def test_numbers_are_not_rounded(driver: Driver, visit: Visit, tenant: str) -> None:
    approval = driver.ask(tenant)
    page = visit("/runs/new")

    def with_numbers(route: Route) -> None:
        response = route.fetch()
        body = json.dumps({**response.json(), "evidence": {"marker": 0}})
        numbers = '{"account": 12345678901234567890, "price": 49.90, "small": 1e-9, "items": 3}'
        route.fulfill(response=response, body=body.replace('{"marker": 0}', numbers))

    page.route("**/approvals/*", with_numbers)
    page.goto(f"{driver.url}#/approvals/{approval}")

    shown = page.get_by_role("region", name="Evidence")
    for number in ("12345678901234567890", "49.90", "1e-9"):
        expect(shown).to_contain_text(number)
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("dialog", name="Approve 3 items?")).to_be_visible()


def test_large_evidence_is_all_there(driver: Driver, visit: Visit, tenant: str) -> None:
    deep: Any = "the bottom"
    for _ in range(20):
        deep = {"d": deep}
    evidence = {"items": [{"sku": f"KB-{index}", "quantity": index} for index in range(2500)]}
    page = visit(f"/approvals/{driver.ask(tenant, evidence={**evidence, 'deep': deep})}")

    for count in (100, 1100, 2100):
        expect(page.locator(".grid tbody tr")).to_have_count(count + 1)
        page.get_by_role("button", name="Show more of 2500").click()
    expect(page.locator(".grid tbody tr")).to_have_count(2500)
    expect(page.locator(".grid tbody tr").last).to_contain_text("KB-2499")
    for level in range(16):
        page.locator("summary").nth(level).click()
    expect(page.get_by_text("the bottom")).to_be_visible()
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.get_by_role("dialog", name="Approve 2500 items?")).to_be_visible()
