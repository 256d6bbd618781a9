"""What a tenant may use."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypedDict, cast

from chassis.model import TenantRefusedError
from chassis.quotas import require_items
from chassis.settings import Settings


class Limits(TypedDict):
    """What a tenant may use; the keys are those of ``tiers.toml``, the units are in their names.

    ``running_executions`` are counted from the start to the end, also while they wait;
    ``starts_per_minute`` are of a minute of the clock.
    """

    items_per_execution: int
    #% if cookiecutter.fan_out == "yes"
    fan_out_width: int
    #% endif
    map_concurrency: int
    callback_timeout_minutes: int
    running_executions: int
    starts_per_minute: int


class LimitReachedError(TenantRefusedError):
    """The tenant may start nothing just now; ``retry_after`` is in seconds, 1 to 60."""

    def __init__(self, message: str, retry_after: int) -> None:
        """Take the message without the time."""
        super().__init__(f"{message}: try again in {retry_after} s")
        self.retry_after = retry_after


Tiers = Mapping[str, Limits]
COUNTS = ("running", "startsMinute", "starts")
"""What the starter counts in a tenant's row, which is written before there is anything to count."""


@cache
def read_tiers(path: Path) -> Tiers:
    """Read ``tiers.toml``."""
    return cast("Tiers", tomllib.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Profile:
    """A tenant's row in the registry.

    Attributes:
        tenant_id: 3 to 24 of ``a-z 0-9``.
        status: ACTIVE or SUSPENDED.
        tier: one of ``tiers.toml``.
        overrides: limits of the tenant's own.
        running: executions that are counted.
        minute: in which the last one was started, since 1970.
        starts: in that minute.
    """

    tenant_id: str
    status: str
    tier: str
    overrides: Mapping[str, int]
    running: int = 0
    minute: int = 0
    starts: int = 0

    def to_row(self) -> dict[str, Any]:
        """The attributes of the row, without its key."""
        return {
            "status": {"S": self.status},
            "tier": {"S": self.tier},
            "overrides": {"M": {name: {"N": str(n)} for name, n in self.overrides.items()}},
            "running": {"N": str(self.running)},
            "startsMinute": {"N": str(self.minute)},
            "starts": {"N": str(self.starts)},
        }

    @classmethod
    def from_row(cls, tenant_id: str, row: Mapping[str, Any]) -> Profile:
        """Read what ``to_row`` has made."""
        overrides = {name: int(value["N"]) for name, value in row["overrides"]["M"].items()}
        counts = [int(row.get(name, {"N": "0"})["N"]) for name in COUNTS]
        return cls(tenant_id, row["status"]["S"], row["tier"]["S"], overrides, *counts)

    def require_active(self) -> Profile:
        """Return the profile itself.

        Raises:
            TenantRefusedError: the tenant is suspended.
        """
        if self.status != "ACTIVE":
            raise TenantRefusedError(f"tenant {self.tenant_id} is {self.status.lower()}")
        return self

    def minute_of_start(self, limits: Limits, now: int) -> int:
        """The minute that a start counts in; never one before the last start's, by whatever clock.

        Raises:
            LimitReachedError: so many are running, or have been started in this minute.
        """
        if self.running >= limits["running_executions"]:
            raise LimitReachedError(
                f"tenant {self.tenant_id} has {self.running} running executions, as many as it may",
                60,
            )
        minute = max(now // 60, self.minute)
        if minute == self.minute and self.starts >= limits["starts_per_minute"]:
            raise LimitReachedError(
                f"tenant {self.tenant_id} has started {self.starts} executions in this minute, "
                "as many as it may",
                min(60, (minute + 1) * 60 - now),
            )
        return minute

    def limits(self, tiers: Tiers) -> Limits:
        """The numbers of the tier, with the tenant's own instead of some of them.

        Raises:
            TenantRefusedError: the tier is not in ``tiers.toml``; or one of the tenant's own is no
                limit, or less than 1, which would mean none.
        """
        if self.tier not in tiers:
            raise TenantRefusedError(
                f"tenant {self.tenant_id} has the tier {self.tier!r}, expected {', '.join(tiers)}"
            )
        limits = dict(tiers[self.tier])
        for name, value in self.overrides.items():
            if name not in limits or value < 1:
                raise TenantRefusedError(
                    f"tenant {self.tenant_id} has the override {name}={value}, "
                    f"expected 1 or more for one of {', '.join(limits)}"
                )
        return cast("Limits", limits | dict(self.overrides))


def require_allowed(count: int, limits: Limits) -> None:
    """Refuse more items than the tenant may have processed in one execution.

    Raises:
        InvalidInputError: too many items.
    """
    require_items(count, limits["items_per_execution"], "more than the tenant's tier allows")


def concurrent_invocations(limits: Limits) -> int:
    """Invocations of the workflow that all running executions of a tenant can have at a time."""
    #% if cookiecutter.fan_out == "yes"
    # And itself, which goes on whenever a chunk ends.
    return limits["running_executions"] * (limits["fan_out_width"] + 1)


    #% else
    return limits["running_executions"]


    #% endif
def narrow(settings: Settings, limits: Limits) -> Settings:
    """The stack's settings, lowered to what the tenant may use; never raised."""
    narrowed = settings.copy()
    narrowed["map_max_concurrency"] = min(
        settings["map_max_concurrency"], limits["map_concurrency"]
    )
    #% if cookiecutter.fan_out == "yes"
    narrowed["fan_out_width"] = min(settings["fan_out_width"], limits["fan_out_width"])
    #% endif
    narrowed["callback_timeout"] = min(
        settings["callback_timeout"], limits["callback_timeout_minutes"] * 60
    )
    return narrowed
