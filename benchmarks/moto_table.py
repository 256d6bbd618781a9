"""moto's DynamoDB for many rows, in a rendered project; alone, it prints its port and serves.

Before a transaction moto copies the whole table, and it keeps every copy of every row. Here a
transaction copies the rows that it names, which are all that it changes, and nothing is kept.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import defaultdict
from typing import Any

from moto.core.model_instances import reset_model_data
from moto.dynamodb.models import DynamoDBBackend, DynamoType, Table
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


def prepare() -> None:
    """Change moto in this process."""
    write, named = DynamoDBBackend.transact_write_items, set[tuple[DynamoType, DynamoType]]()

    def transact(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
        named.clear()  # one request at a time
        for item in transact_items:
            ((_, operation),) = item.items()
            key = operation.get("Key") or operation["Item"]
            named.add((DynamoType(key["pk"]), DynamoType(key["sk"])))
        write(self, transact_items)

    def copied(self: Table, _: dict[int, Any]) -> Table:
        other = copy.copy(self)
        other.items = defaultdict(dict, {pk: {**rows} for pk, rows in self.items.items()})
        for pk, sk in named:
            if sk in other.items[pk]:
                other.items[pk][sk] = copy.deepcopy(other.items[pk][sk])
        return other

    def forget() -> None:
        while True:
            time.sleep(1)
            reset_model_data()

    DynamoDBBackend.transact_write_items = transact
    Table.__deepcopy__ = copied
    threading.Thread(target=forget, daemon=True).start()


if __name__ == "__main__":
    prepare()
    WSGIRequestHandler.log = lambda *_: None
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app))
    print(server.server_port, flush=True)
    server.serve_forever()
