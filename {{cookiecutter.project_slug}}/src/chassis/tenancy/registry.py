"""What is stored of a tenant: its profile, its running executions, its pending approvals.

Everything is an item under the tenant's own partition key, reached with credentials that can reach
that partition alone (``credentials.py``).
"""

from __future__ import annotations

import hashlib
import random
import time
from typing import Any

from chassis.model import TenantRefusedError
from chassis.tenancy.guard import execution_name_of
from chassis.tenancy.profile import LimitReachedError, Limits, Profile

PROFILE = "PROFILE"
APPROVAL = "APPROVAL#"
SAME_EXECUTION = "(attribute_not_exists(executionArn) OR executionArn = :arn)"
TRANSACTION_ATTEMPTS = 8
LOOK_AFTER_SECONDS = 15 * 60
"""How long after its start the reconciler looks at an execution that it has not heard of."""

LOOK_AGAIN_SECONDS = 60 * 60
"""How long after that it looks again, as long as the execution runs."""

ANSWERED = "this approval has been answered already"
REMEMBERED_SECONDS = 100 * 24 * 60 * 60
"""How long an execution that has ended is remembered: longer than the service can.

That is 90 days (Lambda API reference, DurableConfig, RetentionPeriodInDays, read 2026-11-22).
"""


class ApprovalNotFoundError(Exception):
    """The tenant has no such pending approval: unknown, expired, answered, or another tenant's."""


def partition_key(tenant_id: str) -> str:
    """The partition of a tenant; the tenant role's policy spells it, too."""
    return f"TENANT#{tenant_id}"


def row_key(tenant_id: str, sort_key: str) -> dict[str, Any]:
    """The key of an item of a tenant."""
    return {"pk": {"S": partition_key(tenant_id)}, "sk": {"S": sort_key}}


def token_key(token: str) -> str:
    """The sort key of an approval: a hash, so that reading the table is not enough to answer."""
    return APPROVAL + hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


class TablePartition:
    """A tenant's partition of the DynamoDB table."""

    def __init__(self, tenant_id: str, client: Any, table: str) -> None:
        """Take the tenant's own client and the name of the table."""
        self.tenant_id = tenant_id
        self._client = client
        self._table = table

    def _key(self, sort_key: str) -> dict[str, Any]:
        return row_key(self.tenant_id, sort_key)

    def profile(self) -> Profile:
        """Read the tenant's row.

        Raises:
            TenantRefusedError: the registry does not know the tenant.
        """
        return self._profile(self._read(PROFILE))

    def _profile(self, row: Any) -> Profile:
        if not row:
            raise TenantRefusedError(f"tenant {self.tenant_id} is unknown")
        return Profile.from_row(self.tenant_id, row)

    def _read(self, sort_key: str) -> dict[str, Any]:
        """An item as it is now; without attributes, if there is none."""
        item: dict[str, Any] = self._client.get_item(
            TableName=self._table, Key=self._key(sort_key), ConsistentRead=True
        ).get("Item", {})
        return item

    def _run(self, name: str | None) -> dict[str, Any]:
        return self._read(f"RUN#{name}")

    def admit(self, name: str, profile: Profile, limits: Limits, now: int) -> bool:
        """Count an execution that is about to start; False if it is running and counted already.

        Either way the reconciler does not look at it for the next 15 minutes, nor give up what it
        has looked at before. A refusal that the profile shows writes nothing.

        Args:
            name: of the execution.
            profile: as it has been read.
            limits: that hold for the tenant.
            now: in seconds.

        Raises:
            LimitReachedError: so many are running, or have been started in this minute.
            TenantRefusedError: the tenant is suspended or gone, or the execution has ended, so that
                the service may have forgotten it.
        """
        run = {"state": {"S": "RUNNING"}, "lookAt": {"N": str(now + LOOK_AFTER_SECONDS)}}
        put = {
            "Item": {**self._key(f"RUN#{name}"), **run},
            "ConditionExpression": "attribute_not_exists(pk) OR #state = :never",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {":never": {"S": "NOT_STARTED"}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        while True:  # what has changed since it was read is looked at again
            try:
                minute = profile.require_active().minute_of_start(limits, now)
            except LimitReachedError:
                if self._run(name).get("state") == {"S": "RUNNING"} and self._renew(name, now):
                    return False
                raise
            count = self._count(minute, limits, is_new=minute > profile.minute)
            failed_run, failed_count = self._transact({"Put": put}, {"Update": count})
            if failed_run:
                state = failed_run["Item"]["state"]["S"]
                if state != "RUNNING":
                    raise TenantRefusedError(
                        f"this request has been processed before ({state}): "
                        "give it another requestKey"
                    )
                if self._renew(name, now):
                    return False
            elif failed_count:
                profile = self._profile(failed_count.get("Item"))
            else:
                return True

    def _renew(self, name: str, now: int) -> bool:
        """Keep the admission of a start that is tried again; False if it is not running now."""
        return self.look_again(name, now + LOOK_AFTER_SECONDS)

    def _count(self, minute: int, limits: Limits, *, is_new: bool) -> dict[str, Any]:
        """Count a start, the first one of its minute or another one."""
        change = "SET startsMinute = :minute, starts = :one ADD running :one"
        room = "(attribute_not_exists(startsMinute) OR startsMinute < :minute)"
        values = {
            ":one": {"N": "1"},
            ":active": {"S": "ACTIVE"},
            ":running": {"N": str(limits["running_executions"])},
            ":minute": {"N": str(minute)},
        }
        if not is_new:
            change = "ADD running :one, starts :one"
            room = "startsMinute = :minute AND starts < :starts"
            values[":starts"] = {"N": str(limits["starts_per_minute"])}
        return {
            "Key": self._key(PROFILE),
            "UpdateExpression": change,
            "ConditionExpression": f"#status = :active AND running < :running AND {room}",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def note_arn(self, execution_arn: str) -> None:
        """Remember an execution that has started, so that the reconciler can ask how it is.

        One that had been given up, and is refused here, has failed: it is not started again.

        Raises:
            TenantRefusedError: it is not counted as running, or another of its name is.
        """
        name = execution_name_of(execution_arn)
        arn, failed = {":arn": {"S": execution_arn}}, {":state": {"S": "FAILED"}}
        for _ in range(2):  # it may be counted again in between
            if self._update_run(name, "RUNNING", "executionArn = :arn", arn, SAME_EXECUTION):
                return
            if self._update_run(name, "NOT_STARTED", "#state = :state", failed):
                break
        raise TenantRefusedError("this execution is not counted as running: use the starter")

    def look_again(self, name: str, look_at: int) -> bool:
        """Let the reconciler look at a running execution later; False if it is not running."""
        return self._update_run(name, "RUNNING", "lookAt = :at", {":at": {"N": str(look_at)}})

    def _update_run(
        self, name: str | None, state: str, change: str, values: Any, condition: str = ""
    ) -> bool:
        """Change a run that is in a state, if the condition holds; False if not."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key=self._key(f"RUN#{name}"),
                UpdateExpression=f"SET {change}",
                ConditionExpression=" AND ".join(filter(None, ["#state = :expected", condition])),
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={**values, ":expected": {"S": state}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def arn_of(self, name: str) -> str | None:
        """The ARN of an execution that was counted, or None if nobody has seen it start."""
        run = self._run(name)
        return run["executionArn"]["S"] if "executionArn" in run else None

    def release(self, name: str, state: str, now: int, execution_arn: str | None = None) -> bool:
        """Count down when an execution has ended; False if that has been done before.

        Args:
            name: of the execution.
            state: how it has ended.
            now: in seconds.
            execution_arn: of the execution; without it the one that is counted is meant.
        """
        if execution_arn is None:
            released = self._end(name, state, now)
        else:
            arn = {":arn": {"S": execution_arn}}
            released = self._end(name, state, now, SAME_EXECUTION, ", executionArn = :arn", arn)
        if not released:
            # One that was given up has started after all, and was refused: it has ended like that.
            self._update_run(name, "NOT_STARTED", "#state = :state", {":state": {"S": state}})
        return released

    def give_up(self, name: str, look_at: int, now: int) -> bool:
        """Count down when nobody has seen an execution start; False if it has been admitted since.

        Args:
            name: of the execution.
            look_at: when it was due to be looked at: an index is late, a start is tried again.
            now: in seconds.
        """
        unchanged = "attribute_not_exists(executionArn) AND lookAt = :at"
        return self._end(name, "NOT_STARTED", now, unchanged, "", {":at": {"N": str(look_at)}})

    def _end(
        self,
        name: str,
        state: str,
        now: int,
        condition: str = "",
        change: str = "",
        values: dict[str, Any] | None = None,
    ) -> bool:
        """Count a running execution down, if the condition holds."""
        end = {
            "Key": self._key(f"RUN#{name}"),
            "UpdateExpression": f"SET #state = :state, expiresAt = :expires{change} REMOVE lookAt",
            "ConditionExpression": " AND ".join(filter(None, ["#state = :running", condition])),
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {
                ":state": {"S": state},
                ":running": {"S": "RUNNING"},
                ":expires": {"N": str(now + REMEMBERED_SECONDS)},
                **(values or {}),
            },
        }
        count = {
            "Key": self._key(PROFILE),
            "UpdateExpression": "ADD running :minusOne",
            "ConditionExpression": "running > :zero",
            "ExpressionAttributeValues": {":minusOne": {"N": "-1"}, ":zero": {"N": "0"}},
        }
        failed_end, failed_count = self._transact({"Update": end}, {"Update": count})
        # Nothing left to count down: the tenant is gone, or was set by hand.
        if failed_count and not failed_end:
            failed_end, _ = self._transact({"Update": end}, None)
        return not failed_end

    def _transact(self, first: Any, second: Any) -> tuple[Any, Any]:
        """Write both or none; return the reason for each whose condition did not hold."""
        operations = [operation for operation in (first, second) if operation]
        for operation in operations:
            for request in operation.values():
                request["TableName"] = self._table
        for attempt in range(1, TRANSACTION_ATTEMPTS + 1):
            try:
                self._client.transact_write_items(TransactItems=operations)
            except self._client.exceptions.TransactionCanceledException as error:
                reasons = error.response["CancellationReasons"]
                failed = [
                    reason if reason["Code"] == "ConditionalCheckFailed" else None
                    for reason in reasons
                ]
                if any(failed):
                    return failed[0], failed[1] if len(failed) > 1 else None
                if attempt == TRANSACTION_ATTEMPTS:
                    raise
                # Another start or end of the same tenant: boto3 does not try this again by itself.
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311
            else:
                break
        return None, None

    def put_approval(
        self, token: str, callback_id: str, execution_arn: str, *, now: int, timeout: int
    ) -> None:
        """Store a pending approval; DynamoDB deletes it some time after it has expired.

        The reconciler looks at it when a quarter of its time is left, and two sweeps at least.
        """
        expires_at = now + timeout
        look_at = expires_at - max(timeout // 4, 2 * LOOK_AFTER_SECONDS)
        self._client.put_item(
            TableName=self._table,
            Item={
                **self._key(token_key(token)),
                "state": {"S": "PENDING"},
                "callbackId": {"S": callback_id},
                "executionArn": {"S": execution_arn},
                "expiresAt": {"N": str(expires_at)},
                "lookAt": {"N": str(look_at)},
            },
        )

    def note_warned(self, sort_key: str, now: int) -> str | None:
        """Look at an approval no more; the ARN of its execution, or None if it is not pending."""
        try:
            row = self._client.update_item(
                TableName=self._table,
                Key=self._key(sort_key),
                UpdateExpression="REMOVE lookAt",
                ConditionExpression="#state = :pending",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":pending": {"S": "PENDING"}},
                ReturnValues="ALL_OLD",
            )["Attributes"]
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return str(row["executionArn"]["S"]) if int(row["expiresAt"]["N"]) > now else None

    #% if cookiecutter.fan_out == "yes"
    def require_running(self, execution_arn: str) -> None:
        """Check that an execution runs.

        Raises:
            TenantRefusedError: it is not counted as running under this tenant.
        """
        item = self._client.get_item(
            TableName=self._table,
            Key=self._key(f"RUN#{execution_name_of(execution_arn)}"),
            ConsistentRead=True,
        ).get("Item", {})
        running = {"state": {"S": "RUNNING"}, "executionArn": {"S": execution_arn}}
        if not running.items() <= item.items():
            raise TenantRefusedError("the execution that has cut the input does not run")

    #% endif
    #% if cookiecutter.__invoke
    def put_usage(self, source: str, started_at: str, processed: int, failed: int) -> None:
        """Record what an execution{% if cookiecutter.fan_out == "yes" %} or a chunk{% endif %} has used; by time, to be queried for a month."""
        self._client.put_item(
            TableName=self._table,
            Item={
                **self._key(f"USAGE#{started_at}#{source}"),
                "itemsProcessed": {"N": str(processed)},
                "itemsFailed": {"N": str(failed)},
            },
        )

    #% endif
    def find_approval(self, token: str, now: int) -> str:
        """Look up the callback id of a pending approval, a secret, and leave the approval as it is.

        Raises:
            ApprovalNotFoundError: there is none with this token under this tenant, or not any more.
        """
        item = self._client.get_item(
            TableName=self._table, Key=self._key(token_key(token)), ConsistentRead=True
        ).get("Item")
        if item and item["state"]["S"] == "ANSWERED":
            raise ApprovalNotFoundError(ANSWERED)
        if not item or int(item["expiresAt"]["N"]) < now:
            raise ApprovalNotFoundError("there is no such pending approval")
        return str(item["callbackId"]["S"])

    def close_approval(self, token: str) -> None:
        """Consume an approval; it is found no longer."""
        self._client.update_item(
            TableName=self._table,
            Key=self._key(token_key(token)),
            UpdateExpression="SET #state = :answered REMOVE callbackId, lookAt",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":answered": {"S": "ANSWERED"}},
        )
