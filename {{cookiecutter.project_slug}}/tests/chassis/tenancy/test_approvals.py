"""The record of an approval: found by its tenant, answered once, and the same ever after."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chassis.functions import reconciler
from chassis.model import Approval, Decision, InvalidInputError
from chassis.tenancy.approvals import (
    ApprovalClosedError,
    ApprovalNotFoundError,
    Approvals,
    new_token,
)
from chassis.tenancy.registry import TablePartition
from chassis.tenancy.rows import row_key
from tests.chassis.aws import TABLE, TOKEN, Add, admit, ask

APPROVED = Approval(Decision.APPROVED, goes_on=True, decided_by="ada", comment="fine")
REJECTED = Approval(Decision.REJECTED, goes_on=False, decided_by="bob")
CALLBACK = "the-callback"
A_DAY = 24 * 60 * 60


@pytest.fixture
def acme(table: Any) -> Approvals:
    """The approvals of a tenant."""
    return Approvals("acme", table, TABLE)


def everything(table: Any) -> str:
    return str(table.scan(TableName=TABLE)["Items"])


def test_it_is_found_under_its_own_tenant_and_by_its_token_only(
    table: Any, acme: Approvals
) -> None:
    asked = ask(table)

    assert acme.get(asked.id) == acme.find(TOKEN)
    assert acme.find(TOKEN).callback_id == CALLBACK
    for approvals, token in (
        (Approvals("globex", table, TABLE), TOKEN),
        (acme, new_token(asked.id)),
        (acme, asked.id),
        (acme, "0" + TOKEN[1:]),
        (acme, ""),
        (acme, "\ud800"),
    ):
        with pytest.raises(ApprovalNotFoundError):
            approvals.find(token)
    assert TOKEN not in everything(table)
    assert TOKEN[32:] not in everything(table)


def test_a_token_cannot_be_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert new_token("id") != new_token("id")
    monkeypatch.setattr("secrets.token_hex", lambda size: f"{size} random bytes")
    assert new_token("id") == "id16 random bytes"


def test_a_record_is_kept_from_the_end_of_its_time(table: Any) -> None:
    asked = ask(table, asked_at=0, expires_at=7 * A_DAY)
    row = table.get_item(TableName=TABLE, Key=row_key("acme", f"APPROVAL#{asked.id}"))["Item"]

    assert int(row["expiresAt"]["N"]) == (7 + 400) * A_DAY


def test_each_message_that_was_sent_answers(table: Any, acme: Approvals) -> None:
    """A step that is tried again asks again, and has forgotten what it had sent."""
    for secret in ("1" * 32, "2" * 32):
        asked = ask(table, secret=secret)

    assert [acme.find(asked.id + digit * 32).state for digit in "12"] == ["PENDING", "PENDING"]
    (row,) = table.scan(TableName=TABLE)["Items"]
    assert len(row["tokens"]["SS"]) == 2


def test_what_has_been_answered_never_changes(table: Any, acme: Approvals) -> None:
    asked = ask(table)
    assert acme.close(asked.id, APPROVED, "claim", 7)
    answered = everything(table)

    assert not acme.close(asked.id, REJECTED, "operator", 8)
    assert not acme.ask(asked, "another-callback", new_token(asked.id), kept_days=1)
    acme.withdraw("arn", 9)

    assert everything(table) == answered
    assert CALLBACK not in answered
    record = acme.get(asked.id)
    assert (record.state, record.decided_by, record.comment) == ("APPROVED", "ada", "fine")
    assert (record.identified_by, record.decided_at) == ("claim", 7)
    assert acme.find(TOKEN) == record  # whoever answers again hears that there was an answer


def test_nothing_is_recorded_of_what_nobody_was_asked(table: Any, acme: Approvals) -> None:
    assert not acme.close("0" * 32, APPROVED, "claim", 7)
    assert table.scan(TableName=TABLE)["Items"] == []


@pytest.mark.parametrize(
    ("state", "now", "message", "is_expired"),
    [
        (None, 99, None, None),
        (None, 100, "the time for this approval is up", True),
        (Decision.APPROVED, 1, "this approval has been answered already", False),
        (Decision.TIMED_OUT, 1, "the time for this approval is up", True),
        (Decision.HEARTBEAT_LOST, 1, "the time for this approval is up", True),
        (Decision.WITHDRAWN, 1, "the execution has ended without an answer", True),
    ],
)
def test_until_when_it_can_be_answered(
    table: Any,
    acme: Approvals,
    state: Decision | None,
    now: int,
    message: str | None,
    is_expired: bool | None,
) -> None:
    asked = ask(table, expires_at=100)
    if state:
        acme.close(asked.id, Approval(state, goes_on=False), None, 0)
    record = acme.get(asked.id)

    if message is None:
        record.require_open(now)
        return
    with pytest.raises(ApprovalClosedError, match=message) as error:
        record.require_open(now)
    assert error.value.is_expired is is_expired
    assert record.to_wire(now)["state"] == (state or "TIMED_OUT")


def test_what_an_ended_execution_has_asked_is_withdrawn(
    table: Any, add: Add, acme: Approvals
) -> None:
    """Nobody answers any more, and the right to answer is gone; other executions go on waiting."""
    arn = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/{}/id"
    name = "acme_" + 32 * "0"
    admit(add("acme"), name)
    ended, other = arn.format(name), arn.format("acme_" + 32 * "1")
    one, two = (ask(table, execution_arn=ended, approval=name) for name in ("one", "two"))
    waiting = ask(table, execution_arn=other)
    acme.close(one.id, APPROVED, "service", 1)
    detail = {"durableExecutionName": name, "durableExecutionArn": ended, "status": "STOPPED"}

    assert reconciler.handler({"detail": detail}, None) == {"released": 1}

    states = [acme.get(asked.id).state for asked in (one, two, waiting)]
    assert states == ["APPROVED", "WITHDRAWN", "PENDING"]
    assert acme.get(two.id).callback_id is None


def test_the_newest_come_first_page_by_page(table: Any, acme: Approvals) -> None:
    asked = [ask(table, approval=str(second), asked_at=second) for second in range(5)]
    ask(table, "globex", approval="another tenant's", asked_at=9)
    acme.close(asked[1].id, APPROVED, "claim", 60)
    acme.close(asked[3].id, REJECTED, "claim", 50)

    def pages(state: str) -> list[list[str]]:
        found, after = list[list[str]](), None
        while True:
            records, after = acme.in_state(state, 2, after)
            found.append([record.asked.approval for record in records])
            if after is None:
                return found

    assert pages("pending") == [["4", "2"], ["0"]]
    assert pages("closed")[0] == ["1", "3"]


def test_a_page_begins_where_one_has_ended(table: Any, acme: Approvals) -> None:
    """And in the tenant's own partition, wherever that was."""
    globex = Approvals("globex", table, TABLE)
    for second in range(4):
        ask(table, approval=str(second), asked_at=second)
        ask(table, "globex", approval=f"globex {second}", asked_at=second)
    _, after = globex.in_state("pending", 2, None)
    assert after is not None

    records, _ = acme.in_state("pending", 9, after)
    assert {record.asked.approval for record in records} <= {"0", "1", "2", "3"}
    for wrong in ("", "~", f"{after}#", after.replace("~", "#"), after[1:], after + 2_000 * "a"):
        with pytest.raises(InvalidInputError, match="next is not what a page"):
            acme.in_state("pending", 9, wrong)


def test_what_people_see_has_no_right_to_answer_in_it(table: Any, acme: Approvals) -> None:
    asked = ask(table, started_by="grace", evidence={"items": 2})
    shown = acme.get(asked.id).to_wire(now=1)

    assert shown == {
        "id": asked.id,
        "workflow": None,
        "workflowId": "wf-1",
        "approval": "approval",
        "state": "PENDING",
        "askedAt": "1970-01-01T00:00:00.000Z",
        "expiresAt": shown["expiresAt"],
        "startedBy": "grace",
        "evidence": {"items": 2},
        "decidedAt": None,
        "decidedBy": None,
        "identifiedBy": None,
        "comment": None,
    }
    acme.close(asked.id, APPROVED, "claim", 7)
    closed = acme.get(asked.id).to_wire(now=8)
    assert (closed["state"], closed["decidedBy"], closed["identifiedBy"]) == (
        "APPROVED",
        "ada",
        "claim",
    )
    assert closed["decidedAt"] == "1970-01-01T00:00:07.000Z"


def test_every_key_that_is_asked_for_is_the_tenants_own(table: Any, acme: Approvals) -> None:
    """IAM compares it with the tag of the session: dynamodb:LeadingKeys."""
    asked = ask(table)
    keys: list[str] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        keys.extend(part.split('"')[0] for part in json.dumps(params).split("TENANT#")[1:])

    table.meta.events.register("before-parameter-build.dynamodb", note)
    acme.get(asked.id)
    acme.find(TOKEN)
    acme.in_state("pending", 1, None)
    acme.close(asked.id, APPROVED, "claim", 7)
    acme.withdraw("arn", 8)

    assert len(keys) == 5
    assert set(keys) == {"acme"}


def test_the_index_has_what_people_look_at_and_nothing_else(table: Any, add: Add) -> None:
    partition: TablePartition = add("acme")
    admit(partition, "acme_1")
    ask(table)

    listed = table.scan(TableName=TABLE, IndexName="listed")["Items"]
    assert sorted(row["sk"]["S"].partition("#")[0] for row in listed) == ["APPROVAL", "RUN"]
