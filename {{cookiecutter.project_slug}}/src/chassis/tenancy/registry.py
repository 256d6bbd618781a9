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
from chassis.tenancy.profile import Profile

PROFILE = "PROFILE"
SAME_EXECUTION = "(attribute_not_exists(executionArn) OR executionArn = :arn)"
TRANSACTION_ATTEMPTS = 8
LOOK_AFTER_SECONDS = 15 * 60
"""How long after its start the reconciler looks at an execution that it has not heard of."""

LOOK_AGAIN_SECONDS = 60 * 60
"""How long after that it looks again, as long as the execution runs."""

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
    return "APPROVAL#" + hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


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
        item = self._client.get_item(
            TableName=self._table, Key=self._key(PROFILE), ConsistentRead=True
        ).get("Item")
        if not item:
            raise TenantRefusedError(f"tenant {self.tenant_id} is unknown")
        return Profile.from_row(self.tenant_id, item)

    def admit(self, name: str, limit: int, started_at: int) -> bool:
        """Count an execution that is about to start; False if it is running and counted already.

        Raises:
            TenantRefusedError: so many are running already, the tenant has been suspended, or the
                execution has ended, so that the service may have forgotten it.
        """
        look_at = {"N": str(started_at + LOOK_AFTER_SECONDS)}
        run = {"state": {"S": "RUNNING"}, "lookAt": look_at}
        put = {
            "Item": {**self._key(f"RUN#{name}"), **run},
            "ConditionExpression": "attribute_not_exists(pk) OR #state = :never",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {":never": {"S": "NOT_STARTED"}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        count = {
            "Key": self._key(PROFILE),
            "UpdateExpression": "ADD running :one",
            "ConditionExpression": "running < :limit AND #status = :active",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {
                ":one": {"N": "1"},
                ":limit": {"N": str(limit)},
                ":active": {"S": "ACTIVE"},
            },
        }
        failed_run, failed_count = self._transact({"Put": put}, {"Update": count})
        if failed_run:
            state = failed_run["Item"]["state"]["S"]
            if state == "RUNNING":
                return False
            raise TenantRefusedError(
                f"this request has been processed before ({state}): give it another requestKey"
            )
        if failed_count:
            raise TenantRefusedError(
                f"tenant {self.tenant_id} has {limit} running executions, as many as it may, "
                "or has been suspended"
            )
        return True

    def note_arn(self, execution_arn: str) -> None:
        """Remember an execution that has started, so that the reconciler can ask how it is.

        Raises:
            TenantRefusedError: it is not counted as running, or another of its name is.
        """
        name = execution_name_of(execution_arn)
        arn = {":arn": {"S": execution_arn}}
        if not self._update_run(name, "RUNNING", "executionArn = :arn", arn, SAME_EXECUTION):
            raise TenantRefusedError("this execution is not counted as running: use the starter")

    def look_again(self, name: str, look_at: int) -> None:
        """Let the reconciler look at a running execution later, and at others before."""
        self._update_run(name, "RUNNING", "lookAt = :at", {":at": {"N": str(look_at)}})

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
        item = self._client.get_item(
            TableName=self._table, Key=self._key(f"RUN#{name}"), ConsistentRead=True
        ).get("Item", {})
        return item["executionArn"]["S"] if "executionArn" in item else None

    def release(self, name: str, state: str, now: int, execution_arn: str | None = None) -> bool:
        """Count down when an execution has ended; False if that has been done before.

        Args:
            name: of the execution.
            state: how it has ended; NOT_STARTED for one that nobody has seen start.
            now: in seconds.
            execution_arn: of the execution; without it the one that is counted is meant.
        """
        condition, arn = "#state = :running", {}
        if state == "NOT_STARTED":
            condition += " AND attribute_not_exists(executionArn)"
        elif execution_arn:
            condition += f" AND {SAME_EXECUTION}"
            arn = {":arn": {"S": execution_arn}}
        end = {
            "Key": self._key(f"RUN#{name}"),
            "UpdateExpression": "SET #state = :state, expiresAt = :expires REMOVE lookAt",
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {
                ":state": {"S": state},
                ":running": {"S": "RUNNING"},
                ":expires": {"N": str(now + REMEMBERED_SECONDS)},
                **arn,
            },
        }
        count = {
            "Key": self._key(PROFILE),
            "UpdateExpression": "ADD running :minusOne",
            "ConditionExpression": "running > :zero",
            "ExpressionAttributeValues": {":minusOne": {"N": "-1"}, ":zero": {"N": "0"}},
        }
        failed_end, failed_count = self._transact({"Update": end}, {"Update": count})
        if failed_end:
            # One that was given up has started after all, and was refused: it has ended like that.
            self._update_run(name, "NOT_STARTED", "#state = :state", {":state": {"S": state}})
            return False
        if failed_count:  # nothing left to count down: the tenant is gone, or was set by hand
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
        self, token: str, callback_id: str, execution_arn: str, expires_at: int
    ) -> None:
        """Store a pending approval; DynamoDB deletes it some time after it has expired."""
        self._client.put_item(
            TableName=self._table,
            Item={
                **self._key(token_key(token)),
                "state": {"S": "PENDING"},
                "callbackId": {"S": callback_id},
                "executionArn": {"S": execution_arn},
                "expiresAt": {"N": str(expires_at)},
            },
        )

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
    def put_usage(self, execution_arn: str, finished_at: str, processed: int, failed: int) -> None:
        """Record what an execution has used; by time, to be queried for a month."""
        self._client.put_item(
            TableName=self._table,
            Item={
                **self._key(f"USAGE#{finished_at}#{execution_arn}"),
                "itemsProcessed": {"N": str(processed)},
                "itemsFailed": {"N": str(failed)},
            },
        )

    #% endif
    def find_approval(self, token: str, now: int) -> str:
        """Look up the callback id of a pending approval, a secret, and leave the approval as it is.

        Raises:
            ApprovalNotFoundError: there is none with this token under this tenant.
        """
        item = self._client.get_item(
            TableName=self._table, Key=self._key(token_key(token)), ConsistentRead=True
        ).get("Item")
        if not item or item["state"]["S"] != "PENDING" or int(item["expiresAt"]["N"]) < now:
            raise ApprovalNotFoundError("there is no such pending approval")
        return str(item["callbackId"]["S"])

    def close_approval(self, token: str) -> None:
        """Consume an approval; it is found no longer."""
        self._client.update_item(
            TableName=self._table,
            Key=self._key(token_key(token)),
            UpdateExpression="SET #state = :answered REMOVE callbackId",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":answered": {"S": "ANSWERED"}},
        )
