"""The Lambda API of one execution: the SDK's own emulator, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from aws_durable_execution_sdk_python_testing.web.server import WebServer, WebServiceConfig

from ops.local import LocalExecution


@contextmanager
def lambda_api(execution: LocalExecution) -> Iterator[str]:
    """Serve it; the address is what ``AWS_ENDPOINT_URL_LAMBDA`` takes."""
    config = WebServiceConfig(host="127.0.0.1", port=0)
    with WebServer(config, execution.runner._executor) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
