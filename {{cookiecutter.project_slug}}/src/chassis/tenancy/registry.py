"""What is stored of a tenant: its profile, and its executions.

Everything is an item under the tenant's own partition key, reached with credentials that can reach
that partition alone (``credentials.py``).
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

from chassis.model import TenantRefusedError
from chassis.tenancy.guard import execution_name_of
from chassis.tenancy.profile import LimitReachedError, Limits, Profile
from chassis.tenancy.rows import Rows, Values
from chassis.wire import wire_time

PROFILE = "PROFILE"
SAME_EXECUTION = "(attribute_not_exists(executionArn) OR executionArn = :executionArn)"
TRANSACTION_ATTEMPTS = 8
LOOK_AFTER_SECONDS = 15 * 60
"""How long after its start the reconciler looks at an execution that it has not heard of."""

LOOK_AGAIN_SECONDS = 60 * 60
"""How long after that it looks again, as long as the execution runs."""

REMEMBERED_SECONDS = 100 * 24 * 60 * 60
"""How long an execution that has ended is remembered: longer than the service can.

That is 90 days (Lambda API reference, DurableConfig, RetentionPeriodInDays, read 2026-11-22).
"""


class RequestUsedError(TenantRefusedError):
    """The key of a request has been used with other content."""


class RequestProcessedError(TenantRefusedError):
    """The request has been processed before, by the execution ``name``, which has ended."""

    def __init__(self, name: str, state: str) -> None:
        """Take the name of the execution, and how it has ended."""
        super().__init__(
            f"this request has been processed before ({state}): give it another requestKey"
        )
        self.name = name


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """An execution that is about to start.

    Attributes:
        name: of the execution.
        workflow_id: of the request.
        content: a digest of the request: the same name stands for the same content.
        started_by: who starts it, if that is known.
    """

    name: str
    workflow_id: str
    content: str
    started_by: str | None = None

    def to_row(self, now: int) -> dict[str, Any]:
        """The attributes of its row, without its key."""
        known = {"startedBy": {"S": self.started_by}} if self.started_by else {}
        return {
            "state": {"S": "RUNNING"},
            "lookAt": {"N": str(now + LOOK_AFTER_SECONDS)},
            "listed": {"S": f"RUN#{wire_time(now)}#{self.name}"},
            "startedAt": {"N": str(now)},
            "workflowId": {"S": self.workflow_id},
            "content": {"S": self.content},
            **known,
        }


class TablePartition(Rows):
    """What the table has of a tenant and its executions."""

    def profile(self) -> Profile:
        """Read the tenant's row.

        Raises:
            TenantRefusedError: the registry does not know the tenant.
        """
        return self._profile(self.read(PROFILE))

    def _profile(self, row: Any) -> Profile:
        if not row:
            raise TenantRefusedError(f"tenant {self.tenant_id} is unknown")
        return Profile.from_row(self.tenant_id, row)

    def _run(self, name: str | None) -> dict[str, Any]:
        return self.read(f"RUN#{name}")

    def admit(self, run: NewRun, profile: Profile, limits: Limits, now: int) -> bool:
        """Count an execution that is about to start; False if it is running and counted already.

        Either way the reconciler does not look at it for the next 15 minutes, nor give up what it
        has looked at before. A refusal that the profile shows writes nothing.

        Args:
            run: what is started.
            profile: as it has been read.
            limits: that hold for the tenant.
            now: in seconds.

        Raises:
            LimitReachedError: so many are running, or have been started in this minute.
            TenantRefusedError: the tenant is suspended or gone.
            RequestUsedError: there is a run of this name with other content.
            RequestProcessedError: it has ended, so that the service may have forgotten it.
        """
        name = run.name
        put = {
            "Item": {**self.key(f"RUN#{name}"), **run.to_row(now)},
            "ConditionExpression": "attribute_not_exists(pk) OR #state = :never",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {":never": {"S": "NOT_STARTED"}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        # What has changed since it was read is looked at again.
        for _ in range(TRANSACTION_ATTEMPTS):
            try:
                minute = profile.require_active().minute_of_start(limits, now)
            except LimitReachedError:
                if self._is_running(run, self._run(name), now):
                    return False
                raise
            count = self._count(minute, limits, is_new=minute > profile.minute)
            failed_run, failed_count = self._transact({"Put": put}, {"Update": count})
            if failed_run:
                if self._is_running(run, failed_run["Item"], now):
                    return False
            elif failed_count:
                profile = self._profile(failed_count.get("Item"))
            else:
                return True
        raise LimitReachedError("the tenant has too many starts at the same moment", 1)

    def _is_running(self, run: NewRun, found: dict[str, Any], now: int) -> bool:
        """Keep the admission of a start that is tried again; False if it has not been started.

        Raises:
            RequestUsedError: what was found has other content.
            RequestProcessedError: it has ended.
        """
        if not found or found["state"] == {"S": "NOT_STARTED"}:
            return False
        if found["content"] != {"S": run.content}:
            raise RequestUsedError("this requestKey has been used with other content")
        if found["state"] != {"S": "RUNNING"}:
            raise RequestProcessedError(run.name, found["state"]["S"])
        return self.look_again(run.name, now + LOOK_AFTER_SECONDS)

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
            "Key": self.key(PROFILE),
            "UpdateExpression": change,
            "ConditionExpression": f"#status = :active AND running < :running AND {room}",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": values,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def note_arn(self, execution_arn: str) -> str | None:
        """Remember an execution that has started, so that the reconciler can ask how it is.

        Returns who has started it, if that is known.

        One that had been given up, and is refused here, has failed: it is not started again.

        Raises:
            TenantRefusedError: it is not counted as running, or another of its name is.
        """
        name = execution_name_of(execution_arn)
        arn, failed = {"executionArn": {"S": execution_arn}}, {"state": {"S": "FAILED"}}
        for _ in range(2):  # it may be counted again in between
            if run := self._update_run(name, "RUNNING", arn, SAME_EXECUTION):
                started_by: str | None = run.get("startedBy", {}).get("S")
                return started_by
            if self._update_run(name, "NOT_STARTED", failed):
                break
        raise TenantRefusedError("this execution is not counted as running: use the starter")

    def look_again(self, name: str, look_at: int) -> bool:
        """Let the reconciler look at a running execution later; False if it is not running."""
        return bool(self._update_run(name, "RUNNING", {"lookAt": {"N": str(look_at)}}))

    def _update_run(
        self, name: str | None, state: str, values: Values, condition: str = ""
    ) -> dict[str, Any] | None:
        """Change a run that is in a state, if the condition holds, and return it; None if not."""
        return self.update(
            f"RUN#{name}",
            values,
            condition=" AND ".join(filter(None, ["#state = :expected", condition])),
            given={":expected": {"S": state}},
        )

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
            arn = {":executionArn": {"S": execution_arn}}
            change = ", executionArn = :executionArn"
            released = self._end(name, state, now, SAME_EXECUTION, change, arn)
        if not released:
            # One that was given up has started after all, and was refused: it has ended like that.
            self._update_run(name, "NOT_STARTED", {"state": {"S": state}})
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

    #% if cookiecutter.fan_out == "yes"
    def require_running(self, execution_arn: str) -> None:
        """Check that an execution runs.

        Raises:
            TenantRefusedError: it is not counted as running under this tenant.
        """
        running = {"state": {"S": "RUNNING"}, "executionArn": {"S": execution_arn}}
        if not running.items() <= self._run(execution_name_of(execution_arn)).items():
            raise TenantRefusedError("the execution that has cut the input does not run")

    #% endif
    #% if cookiecutter.__invoke
    def put_usage(self, source: str, started_at: str, processed: int, failed: int) -> None:
        """Record what an execution{% if cookiecutter.fan_out == "yes" %} or a chunk{% endif %} has used; by time, to be queried for a month."""
        counts = {"itemsProcessed": {"N": str(processed)}, "itemsFailed": {"N": str(failed)}}
        self.put(f"USAGE#{started_at}#{source}", counts)

    #% if cookiecutter.front_door == "http_api"
    def put_missing_usage(self, name: str, execution_arn: str) -> int:
        """Record the progress of an execution as its usage, unless it is metered; return that."""
        run = self._run(name)
        if "preparedAt" not in run or run["executionArn"] != {"S": execution_arn}:
            return 0
        processed = min(int(run[field]["N"]) if field in run else 0 for field in ("items", "done"))
        missing = processed and self.update(
            f"USAGE#{run['preparedAt']['S']}#{execution_arn}",
            {"itemsProcessed": {"N": str(processed)}},
            condition="attribute_not_exists(pk)",
            given={},
        )
        return processed if missing else 0

    #% endif
    #% endif
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
            "Key": self.key(f"RUN#{name}"),
            "UpdateExpression": "SET #state = :state, endedAt = :now, expiresAt = :expires"
            f"{change} REMOVE lookAt",
            "ConditionExpression": " AND ".join(filter(None, ["#state = :running", condition])),
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {
                ":state": {"S": state},
                ":running": {"S": "RUNNING"},
                ":now": {"N": str(now)},
                ":expires": {"N": str(now + REMEMBERED_SECONDS)},
                **(values or {}),
            },
        }
        count = {
            "Key": self.key(PROFILE),
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
                # Another start or end of the same tenant: boto3 does not try this again by itself
                # (botocore 1.44.5, retries/standard.py: TransactionCanceledException is not there).
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311
            else:
                break
        return None, None
