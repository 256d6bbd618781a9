"""What a tenant may use: the numbers of its tier or its own, and never more than the stack."""

from __future__ import annotations

import pytest

from chassis.model import TenantRefusedError
from chassis.settings import load
from chassis.tenancy.profile import Profile, concurrent_invocations, narrow, read_tiers
from tests.chassis import sample

TIERS = read_tiers(sample.definition().tiers)


def profile(tier: str, overrides: dict[str, int]) -> Profile:
    return Profile("acme", "ACTIVE", tier, overrides)


def test_a_row_is_read_as_it_was_written() -> None:
    written = Profile("acme", "SUSPENDED", "large", {"map_concurrency": 3}, 2, 7, 1)

    assert Profile.from_row("acme", written.to_row()) == written


def test_a_row_may_override_a_number_of_its_tier() -> None:
    limits = profile("small", {"running_executions": 7}).limits(TIERS)

    assert (limits["running_executions"], limits["map_concurrency"]) == (7, 2)
    assert TIERS["small"]["running_executions"] == 2


@pytest.mark.parametrize(
    ("name", "number"),
    [("callback_timeout_minutes", 0), ("callback_timeout_minutes", -1), ("concurrency", 5)],
)
def test_an_override_that_would_limit_nothing_is_refused(name: str, number: int) -> None:
    with pytest.raises(TenantRefusedError, match=f"the override {name}={number}, expected 1"):
        profile("small", {name: number}).limits(TIERS)


def test_an_unknown_tier_is_refused() -> None:
    with pytest.raises(TenantRefusedError, match="the tier 'gold', expected small, large"):
        profile("gold", {}).limits(TIERS)


def test_a_suspended_tenant_is_refused() -> None:
    with pytest.raises(TenantRefusedError, match="tenant acme is suspended"):
        Profile("acme", "SUSPENDED", "small", {}).require_active()
    active = profile("small", {})
    assert active.require_active() == active


def test_a_tenant_has_so_many_invocations_at_a_time() -> None:
    #% if cookiecutter.fan_out == "yes"
    limits = profile("small", {"running_executions": 7, "fan_out_width": 3}).limits(TIERS)
    assert concurrent_invocations(limits) == 28


    #% else
    assert concurrent_invocations(profile("small", {"running_executions": 7}).limits(TIERS)) == 7


    #% endif
def test_limits_only_narrow_what_the_stack_allows() -> None:
    settings = load(sample.SETTINGS | {"MAP_MAX_CONCURRENCY": "5", "CALLBACK_TIMEOUT": "90m"})

    small, large = (narrow(settings, TIERS[tier]) for tier in ("small", "large"))

    assert (small["map_max_concurrency"], small["callback_timeout"]) == (2, 3_600)
    assert (large["map_max_concurrency"], large["callback_timeout"]) == (5, 5_400)
    #% if cookiecutter.fan_out == "yes"
    assert (small["fan_out_width"], large["fan_out_width"]) == (1, settings["fan_out_width"])
    #% endif
