"""What goes wrong around an approval never tells the callback id, which is the right to answer."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    ParamValidationError,
)

from chassis.functions.approver import AnswerNotSentError, approver
from tests.chassis import sample
from tests.chassis.aws import Add
from tests.chassis.functions.conftest import Lambda

CALLBACK_ID = "the-callback-id"
SENT = {"tenantId": "acme", "token": "the-token"}
OPERATIONS = {"APPROVED": "success", "REJECTED": "failure", None: "heartbeat"}


def errors() -> list[Exception]:
    """What botocore raises, with the callback id wherever a text can have it."""
    quoted = {"Error": {"Code": "ValidationException", "Message": f"CallbackId {CALLBACK_ID}"}}
    return [
        ClientError(quoted, "SendDurableExecutionCallbackSuccess"),
        ParamValidationError(report=f"Invalid length for CallbackId, value: {CALLBACK_ID}"),
        EndpointConnectionError(endpoint_url=f"https://lambda/callbacks/{CALLBACK_ID}/succeed"),
        HTTPClientError(error=f"/callbacks/{CALLBACK_ID}/succeed"),
    ]


@pytest.mark.parametrize("error", errors(), ids=lambda error: type(error).__name__)
def test_an_answer_that_cannot_be_sent_tells_no_secret(
    add: Add,
    lambda_: Lambda,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    add("acme").put_approval(SENT["token"], CALLBACK_ID, "arn", now=0, timeout=2**40)

    def refuse(**_: Any) -> None:
        raise error

    for decision, operation in OPERATIONS.items():
        answer = {"answer": {"decision": decision}} if decision else {}
        setattr(lambda_, f"send_durable_execution_callback_{operation}", refuse)
        with caplog.at_level(logging.DEBUG), pytest.raises(AnswerNotSentError) as raised:
            approver(sample.parse_answer)(SENT | answer, None)

        # As Lambda logs it: with whatever it was raised from.
        told = "".join(traceback.format_exception(raised.value)) + caplog.text
        assert type(error).__name__ in told or "ValidationException" in told
        assert CALLBACK_ID not in told
        assert SENT["token"] not in told
