"""How the results of the map are written."""

from __future__ import annotations

from aws_durable_execution_sdk_python import BatchResult
from aws_durable_execution_sdk_python.concurrency.models import BatchItem, CompletionReason
from aws_durable_execution_sdk_python.config import BatchItemStatus
from aws_durable_execution_sdk_python.lambda_service import ErrorObject
from aws_durable_execution_sdk_python.serdes import SerDesContext

from ops.local import environment
from workflow import policies
from workflow.data_processor import generate_work_items, process_item
from workflow.policies import BatchSerDes
from workflow.settings import load

CONTEXT = SerDesContext("1", "arn")


def test_the_checks_and_the_items_are_written_like_this() -> None:
    settings = load(environment())

    for config in (policies.checks(settings), policies.items(settings)):
        assert isinstance(config.serdes, BatchSerDes)


def test_the_results_of_2500_items_fit_into_a_checkpoint() -> None:
    """With more than 256 KB the SDK would run the code of every item again at each resume."""
    items = generate_work_items(["some content"] * 2_500)
    results = [
        BatchItem(index, BatchItemStatus.SUCCEEDED, [{"result": process_item(item)}])
        for index, item in enumerate(items)
    ]
    batch = BatchResult(results, CompletionReason.ALL_COMPLETED)

    written = BatchSerDes().serialize(batch, CONTEXT)

    assert len(written) <= 256 * 1024
    assert BatchSerDes().deserialize(written, CONTEXT) == batch


def test_what_has_not_succeeded_is_read_as_it_was() -> None:
    failed = ErrorObject(message="SUCCEEDED", type="ItemError", data=None, stack_trace=None)
    batch: BatchResult[str] = BatchResult(
        [
            BatchItem(0, BatchItemStatus.FAILED, error=failed),
            BatchItem(1, BatchItemStatus.STARTED),
            BatchItem(2, BatchItemStatus.SUCCEEDED, "SUCCEEDED"),
        ],
        CompletionReason.FAILURE_TOLERANCE_EXCEEDED,
    )

    assert BatchSerDes().deserialize(BatchSerDes().serialize(batch, CONTEXT), CONTEXT) == batch
