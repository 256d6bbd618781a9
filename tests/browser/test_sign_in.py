"""Signing in: the authorization code flow with PKCE, at an issuer that is made of answers here."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from conftest import Visit
from driver import Driver
from playwright.sync_api import Page, Route, expect

ISSUER = "https://issuer.example/pool"
CLIENT = "the-page"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """An OpenID provider that signs everybody in as Grace, without asking.

    Attributes:
        token: the access token that it gives.
        seen: the parameters of each request, by endpoint.
        refuse: answers this error instead of a code.
        answer: put over what it sends back with the code.
        claims: put over those of the ID token.
    """

    def __init__(self, driver: Driver, tenant: str) -> None:
        self.driver, self.tenant = driver, tenant
        self.token = driver.token(tenant, "grace")
        self.seen: dict[str, list[dict[str, str]]] = {"authorize": [], "token": [], "logout": []}
        self.refuse = ""
        self.answer: dict[str, str] = {}
        self.claims: dict[str, Any] = {}

    def serve(self, page: Page) -> Page:
        """Let the page sign in here; its policy names the issuer, as the server would have it."""
        page.route("https://issuer.example/**", self._handle)
        page.route(self.driver.url, self._page)
        page.route(f"{self.driver.url}?**", self._page)
        sign_in = {"issuer": ISSUER, "clientId": CLIENT, "scope": "openid"}
        config = {"project": "Order Approvals", "signIn": sign_in}
        page.route("**/config.json", lambda route: route.fulfill(json=config))
        return page

    def _page(self, route: Route) -> None:
        response = route.fetch()
        policy = response.headers["content-security-policy"]
        allowed = policy.replace("connect-src 'self'", "connect-src 'self' https://issuer.example")
        assert allowed != policy
        headers = {**response.headers, "content-security-policy": allowed}
        route.fulfill(response=response, headers=headers)

    def _handle(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        endpoint = address.path.rsplit("/", 1)[1]
        sent = route.request.post_data or address.query
        parameters = {name: values[0] for name, values in parse_qs(sent).items()}
        if endpoint == "openid-configuration":
            route.fulfill(
                headers={"Access-Control-Allow-Origin": "*"},
                json={
                    "issuer": ISSUER,
                    "authorization_endpoint": f"{ISSUER}/authorize",
                    "token_endpoint": f"{ISSUER}/token",
                    "end_session_endpoint": f"{ISSUER}/logout",
                },
            )
            return
        self.seen[endpoint].append(parameters)
        getattr(self, f"_{endpoint}")(route, parameters)

    def _authorize(self, route: Route, parameters: dict[str, str]) -> None:
        code = {"error": self.refuse} if self.refuse else {"code": "a-code"}
        answer = {**code, "state": parameters["state"], **self.answer}
        self._send_to(route, f"{parameters['redirect_uri']}?{urlencode(answer)}")

    def _token(self, route: Route, parameters: dict[str, str]) -> None:
        asked = self.seen["authorize"][-1]
        digest = hashlib.sha256(parameters["code_verifier"].encode()).digest()
        assert base64url(digest) == asked["code_challenge"]
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": CLIENT,
            "sub": "grace",
            "email": "grace@example.com",
            "iat": now,
            "exp": now + 3600,
            "nonce": asked["nonce"],
            **self.claims,
        }
        parts = [base64url(json.dumps(part).encode()) for part in ({"alg": "RS256"}, claims)]
        route.fulfill(
            headers={"Access-Control-Allow-Origin": "*"},
            json={
                "access_token": self.token,
                "token_type": "Bearer",
                "id_token": f"{'.'.join(parts)}.{base64url(b'x' * 256)}",
            },
        )

    def _logout(self, route: Route, parameters: dict[str, str]) -> None:
        self._send_to(route, parameters["logout_uri"])

    def _send_to(self, route: Route, address: str) -> None:
        # Not by a redirect: what follows one does not come through the routes of a page.
        script = f"<script>location.replace({json.dumps(address)})</script>"
        route.fulfill(content_type="text/html", body=script)


@pytest.fixture
def issuer(driver: Driver, tenant: str) -> Issuer:
    return Issuer(driver, tenant)


@pytest.fixture
def page(issuer: Issuer, new_page: Visit) -> Page:
    return issuer.serve(new_page())


def test_signing_in_leads_to_the_place_of_the_link(
    driver: Driver, tenant: str, issuer: Issuer, page: Page
) -> None:
    place = f"{driver.url}#/approvals/{driver.ask(tenant)}"
    page.goto(place)

    expect(page.get_by_role("heading", name="order-2026-0042")).to_be_visible()
    expect(page.get_by_text("grace@example.com")).to_be_visible()
    assert page.url == place
    (asked,), (exchanged,) = issuer.seen["authorize"], issuer.seen["token"]
    assert {**asked, "state": "", "nonce": "", "code_challenge": ""} == {
        "client_id": CLIENT,
        "redirect_uri": driver.url,
        "response_type": "code",
        "scope": "openid",
        "code_challenge": "",
        "code_challenge_method": "S256",
        "state": "",
        "nonce": "",
    }
    assert len({asked["state"], asked["nonce"], exchanged["code_verifier"]}) == 3
    assert all(len(asked[name]) == 43 for name in ("state", "nonce", "code_challenge"))
    assert exchanged["redirect_uri"] == driver.url
    assert page.context.cookies() == []
    assert page.evaluate("localStorage.length") == 0
    assert "a-code" not in page.evaluate("JSON.stringify([sessionStorage, history.state])")

    page.reload()
    expect(page.get_by_role("heading", name="order-2026-0042")).to_be_visible()
    assert len(issuer.seen["authorize"]) == 1


@pytest.mark.parametrize(
    ("answer", "claims", "exchanges"),
    [
        ({"state": "of-somebody-else"}, {}, 0),
        ({"iss": "https://other.example"}, {}, 0),
        ({}, {"nonce": "of-another-sign-in"}, 1),
        ({}, {"aud": "another-client"}, 1),
        ({}, {"iss": "https://other.example"}, 1),
        ({}, {"exp": 1}, 1),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(
    driver: Driver,
    issuer: Issuer,
    page: Page,
    answer: dict[str, str],
    claims: dict[str, Any],
    exchanges: int,
) -> None:
    issuer.answer, issuer.claims = answer, claims
    page.goto(driver.url)

    expect(page.get_by_text("The sign-in has failed")).to_be_visible()
    assert len(issuer.seen["token"]) == exchanges
    assert page.evaluate("sessionStorage.getItem('token')") is None
    issuer.answer, issuer.claims = {}, {}
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()


def test_a_code_that_nobody_asked_for_is_refused(
    driver: Driver, issuer: Issuer, page: Page
) -> None:
    page.goto(f"{driver.url}?code=of-somebody-else&state=none")

    expect(page.get_by_text("it did not begin in this tab")).to_be_visible()
    assert issuer.seen["token"] == []


def test_a_refusal_of_the_issuer_is_shown(driver: Driver, issuer: Issuer, page: Page) -> None:
    issuer.refuse = "access_denied"
    page.goto(f"{driver.url}#/decided")

    expect(page.get_by_text("The sign-in has failed: access_denied")).to_be_visible()
    assert len(issuer.seen["authorize"]) == 1
    assert page.url == f"{driver.url}#/decided"


def test_a_token_that_has_expired_is_replaced(
    driver: Driver, tenant: str, issuer: Issuer, page: Page
) -> None:
    place = f"{driver.url}#/approvals/{driver.ask(tenant)}"
    page.goto(place)
    page.get_by_label("Comment").fill("half a thou")
    page.evaluate("sessionStorage.token = 'expired'; sessionStorage.since = '0'")
    issuer.token = driver.token(tenant, "grace")
    page.get_by_role("button", name="Approve", exact=True).click()
    with page.expect_request("**/token"):
        page.get_by_role("button", name="Yes, approve").click()

    expect(page.get_by_label("Comment")).to_have_value("half a thou")
    assert page.url == place
    assert len(issuer.seen["authorize"]) == 2


def test_a_server_that_refuses_new_tokens_is_not_asked_in_a_circle(
    driver: Driver, issuer: Issuer, page: Page
) -> None:
    issuer.token = "nobody knows it"
    page.goto(driver.url)

    expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert len(issuer.seen["authorize"]) == 1


def test_signing_out_leaves_nothing(driver: Driver, issuer: Issuer, page: Page) -> None:
    page.goto(driver.url)
    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
    (parameters,) = issuer.seen["logout"]
    assert parameters["client_id"] == CLIENT
    assert parameters["logout_uri"] == parameters["post_logout_redirect_uri"] == driver.url
    assert page.evaluate("Object.keys(sessionStorage)") == ["signedOut"]
    page.reload()
    expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()


def test_an_address_cannot_sign_anybody_in(
    driver: Driver, tenant: str, issuer: Issuer, page: Page
) -> None:
    page.goto(f"{driver.url}#token={driver.token(tenant, 'eve')}")

    expect(page.get_by_text("grace@example.com")).to_be_visible()
    assert page.evaluate("sessionStorage.token") == issuer.token
