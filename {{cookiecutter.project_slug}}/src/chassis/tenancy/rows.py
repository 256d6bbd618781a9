"""The rows of a tenant, under its own partition key of the table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from chassis.model import InvalidInputError

AFTER = re.compile(r"[0-9TZ:.-]{24}~[0-9a-z_]{1,64}")
Values = Mapping[str, Mapping[str, Any]]
"""Attributes as DynamoDB has them: ``{"state": {"S": "PENDING"}}``."""


def partition_key(tenant_id: str) -> str:
    """The partition of a tenant; the tenant role's policy spells it, too."""
    return f"TENANT#{tenant_id}"


def row_key(tenant_id: str, sort_key: str) -> dict[str, Any]:
    """The key of a row of a tenant."""
    return {"pk": {"S": partition_key(tenant_id)}, "sk": {"S": sort_key}}


class Page(NamedTuple):
    """Some rows, and what the next page begins after; None if there is none."""

    rows: list[dict[str, Any]]
    after: str | None


class Rows:
    """Reads and writes the rows of one tenant."""

    def __init__(self, tenant_id: str, client: Any, table: str) -> None:
        """Take the tenant's own client and the name of the table."""
        self.tenant_id = tenant_id
        self._client = client
        self._table = table

    def key(self, sort_key: str) -> dict[str, Any]:
        """The key of a row."""
        return row_key(self.tenant_id, sort_key)

    def read(self, sort_key: str) -> dict[str, Any]:
        """A row as it is now; without attributes, if there is none."""
        row: dict[str, Any] = self._client.get_item(
            TableName=self._table, Key=self.key(sort_key), ConsistentRead=True
        ).get("Item", {})
        return row

    def put(self, sort_key: str, values: Values) -> None:
        """Write a row, or write it again."""
        self._client.put_item(TableName=self._table, Item={**self.key(sort_key), **values})

    def update(
        self,
        sort_key: str,
        values: Values,
        *,
        condition: str,
        given: Values,
        add: Values | None = None,
        remove: Iterable[str] = (),
    ) -> dict[str, Any] | None:
        """Change a row if the condition holds, and return it; None if it does not.

        Args:
            sort_key: of the row.
            values: what is set.
            condition: in which ``#state`` is the state of the row.
            given: the values that the condition names.
            add: what is added to numbers and sets.
            remove: names of attributes.
        """
        changed_names = [*values, *(add or {}), *remove]
        names = {f"#{name}": name for name in changed_names}
        if "#state" in condition:
            names["#state"] = "state"
        parts = {
            "SET": ", ".join(f"#{name} = :{name}" for name in values),
            "ADD": ", ".join(f"#{name} :{name}" for name in add or {}),
            "REMOVE": ", ".join(f"#{name}" for name in remove),
        }
        changed = {f":{name}": value for name, value in {**values, **(add or {})}.items()}
        try:
            row: dict[str, Any] = self._client.update_item(
                TableName=self._table,
                Key=self.key(sort_key),
                UpdateExpression=" ".join(f"{verb} {what}" for verb, what in parts.items() if what),
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={**changed, **given},
                ReturnValues="ALL_NEW",
            )["Attributes"]
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return row

    def keys_of(self, prefix: str, state: str) -> list[str]:
        """The sort keys that begin like this, of rows in a state: a few, which fit one answer."""
        found = self._client.query(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
            FilterExpression="#state = :state",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={**self._beginning(prefix), ":state": {"S": state}},
            ProjectionExpression="sk",
            ConsistentRead=True,
        )
        return [row["sk"]["S"] for row in found["Items"]]

    def _beginning(self, prefix: str) -> Values:
        return {":pk": {"S": partition_key(self.tenant_id)}, ":prefix": {"S": prefix}}

    def page(self, prefix: str, limit: int, after: str | None) -> Page:
        """Rows whose attribute ``listed`` begins like this: the newest, or those after others.

        Args:
            prefix: of the attribute; a time and the name of the row follow.
            limit: how many rows.
            after: what the page before has returned, or None.

        Raises:
            InvalidInputError: no page has returned this.
        """
        start = {} if after is None else {"ExclusiveStartKey": self._start(prefix, after)}
        found = self._client.query(
            TableName=self._table,
            IndexName="listed",
            KeyConditionExpression="pk = :pk AND begins_with(listed, :prefix)",
            ExpressionAttributeValues=self._beginning(prefix),
            ScanIndexForward=False,
            Limit=limit,
            **start,
        )
        last = found.get("LastEvaluatedKey")
        following = last and last["listed"]["S"].removeprefix(prefix).replace("#", "~")
        return Page(found["Items"], following)

    def _start(self, prefix: str, after: str) -> dict[str, Any]:
        """Where a page begins: in this tenant's partition, whatever it is asked for."""
        if not AFTER.fullmatch(after):
            raise InvalidInputError("next is not what a page of this list has returned")
        kind, name = prefix.partition("#")[0], after.partition("~")[2]
        return {**self.key(f"{kind}#{name}"), "listed": {"S": prefix + after.replace("~", "#")}}
