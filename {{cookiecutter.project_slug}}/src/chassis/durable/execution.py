"""One execution of a workflow, as its code sees it: the phases that it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
#% if cookiecutter.__invoke
from typing import Any, Generic

#% else
from typing import Generic

#% endif
from aws_durable_execution_sdk_python import DurableContext, StepError
from aws_durable_execution_sdk_python.lambda_service import ErrorObject

from chassis.durable import policies
from chassis.durable.approval import await_approval
from chassis.durable.checks import run_checks
#% if cookiecutter.fan_out == "yes"
from chassis.durable.fan_out import process_chunks
#% endif
#% if cookiecutter.__invoke
from chassis.durable.invocation import invoke
#% endif
from chassis.durable.items import process_items, require_tolerable
#% if cookiecutter.__invoke
from chassis.durable.metering import record_usage
#% endif
from chassis.model import (
    Approval,
    Check,
    CheckResult,
    Decision,
    Definition,
    InvalidInputError,
    ItemOutcomes,
    ParseAnswer,
    Plan,
    R,
)
#% if cookiecutter.fan_out == "yes"
from chassis.quotas import fit_output, fits
from chassis.steps import chunks, work
#% else
from chassis.quotas import fit_output, require_room
from chassis.steps import work
#% endif
from chassis.tenancy.approvals import approval_id
from chassis.tenancy.stores import Stores
from chassis.wire import JsonObject

INVALID_INPUT = ErrorObject.from_exception(InvalidInputError()).type
"""What the SDK calls this error when it has ended a step."""


@dataclass(frozen=True, kw_only=True)
class Execution(Generic[R]):
    """One execution, with what every phase needs.

    Attributes:
        request: the input.
        definition: the workflow's.
        stores: where rows and objects are.
        durable: what the chassis' own operations run in.
    """

    durable: DurableContext
    request: R
    definition: Definition[R]
    stores: Stores

    @property
    def context(self) -> DurableContext:
        """The SDK's own, for other operations of the workflow: ``step``, ``wait`` and so on."""
        return self.durable

    @property
    def arn(self) -> str:
        """The ARN of the execution."""
        return self.durable.execution_context.durable_execution_arn

    def identity(self) -> JsonObject:
        """What names the execution in a message: workflow id, tenant id and ARN."""
        return {**self.request.identity(), "executionArn": self.arn}

    def prepare_work(self) -> Plan:
        """Turn the input into work items, and fix the settings for the rest of the execution.

        Raises:
            InvalidInputError: there are more items than the tenant may have processed or than fit,
                or one of them cannot be read.
            StepError: the tenant may not run this; the message says why.
        """
        body = work.prepare_work(self.definition, self.stores, self.request, self.arn)
        try:
            plan = self.durable.step(body, name="prepare-work", config=policies.RETRY_TRANSIENT)
        except StepError as error:
            if error.error_type == INVALID_INPUT:
                raise InvalidInputError(error.message) from error
            raise
        #% if cookiecutter.fan_out == "no"
        require_room(plan["item_count"], len(self.definition.item_steps), plan["settings"])
        #% endif
        return plan

    def ask_for_approval(
        self, plan: Plan, name: str, evidence: JsonObject, parse_answer: ParseAnswer
    ) -> Approval:
        """Tell the approvers, and suspend until one of them answers or the time is up.

        Without any item nobody is asked: the decision is NOT_NEEDED, and nothing goes on.

        Args:
            plan: of this execution.
            name: of this approval, unlike any other of the workflow. It is in the message and in
                its attribute ``approval``, by which subscribers of the topic can filter.
            evidence: what the approvers are shown, such as ``plan["evidence"]``; it is cut to
                10,000 bytes of JSON.
            parse_answer: reads the answer.

        Raises:
            ApprovalNotRequestedError: the request could not be sent, even after retries.
            ApprovalTimedOutError: nobody answered, and the stack is set to fail then.
            InvalidAnswerError: the answer is malformed.
        """
        if not plan["item_count"]:
            return Approval(Decision.NOT_NEEDED, goes_on=False)
        body = work.request_approval(self.stores, self.request, plan, self.arn, name, evidence)
        settings = plan["settings"]
        answered = await_approval(self.durable, body, name, settings, parse_answer)
        self.durable.step(
            work.record_decision(
                self.stores,
                self.request.tenant_id,
                approval_id(self.arn, name),
                answered.approval,
                answered.identified_by,
            ),
            name=f"{name} recorded",
            config=policies.RETRY_TRANSIENT,
        )
        return answered.approval_or_error(settings)

    def run_checks(self, plan: Plan, checks: Mapping[str, Check]) -> list[CheckResult]:
        """Run every check over all items, each in a parallel branch that has its name.

        Raises:
            ChecksFailedError: more checks failed than the stack tolerates.
        """
        #% if cookiecutter.fan_out == "yes"
        if plan["stored"]:
            stored = chunks.StoredItems(self.definition, self.stores, self.request, plan["stored"])
            return run_checks(self.durable, checks, stored, plan["settings"])
        #% endif
        return run_checks(self.durable, checks, plan["items"], plan["settings"])

    def process_items(self, plan: Plan) -> ItemOutcomes:
        """Run the steps of every item, with bounded concurrency and a checkpoint for each step.

        #% if cookiecutter.__invoke
        What was processed is metered before it is judged, also where too much of it has failed.

        #% endif
        Raises:
            TooManyItemsFailedError: a larger share of the items failed than the stack tolerates.
        """
        #% if cookiecutter.fan_out == "yes"
        if plan["stored"]:
            return process_chunks(self.durable, self.request, plan, plan["stored"])
        #% endif
        outcomes = process_items(
            self.durable,
            plan["items"],
            self.definition.item_steps,
            plan["settings"],
            self.request.tenant_id,
            self.request.redrive_of or self.arn,
            #% if cookiecutter.front_door == "http_api"
            lambda share: self.stores.runs(self.request.tenant_id).count_done(self.arn, share),
            #% endif
        )
        #% if cookiecutter.__invoke
        source = {"executionArn": self.arn, "startedAt": plan["started_at"]}
        record_usage(self.durable, self.request, plan["settings"], source, outcomes)
        #% endif
        require_tolerable(outcomes, plan["settings"])
        return outcomes

    def aggregate_results(
        self,
        plan: Plan,
        checks: list[CheckResult],
        items: ItemOutcomes,
        aggregate: Callable[[ItemOutcomes, list[CheckResult]], JsonObject],
    ) -> JsonObject:
        """Count what has happened, in a step; return that with when it began and ended.

        Args:
            plan: of this execution.
            checks: their results.
            items: their outcomes.
            aggregate: makes the numbers of the workflow's own.
        """
        return self.durable.step(
            work.aggregate_results(plan, checks, items, aggregate),
            name="aggregate-results",
            config=policies.ONCE,
        )

    #% if cookiecutter.__invoke
    def invoke(self, function: str, payload: JsonObject, name: str) -> Any:
        """Invoke a function for the tenant of this execution, and once more if it fails.

        Args:
            function: its ARN; the role of the workflow has to allow it.
            payload: small; the tenant id is added to it.
            name: of the operation.

        Raises:
            InvokeError: it has failed again.
        """
        return invoke(self.durable, self.request.tenant_id, function, payload, name)

    #% endif
    def finish(self, output: JsonObject) -> JsonObject:
        """The output as it can be returned: one that is too large leaves out ``results``."""
        #% if cookiecutter.fan_out == "yes"
        items = output["mapResults"]
        if items["results"] and not fits(output):
            lines = items["results"] + items["failedItems"]
            items["resultsRef"] = self.durable.step(
                chunks.store_output(self.stores, self.request, self.arn, lines),
                name="store-output",
                config=policies.RETRY_TRANSIENT,
            )
        #% endif
        #% if cookiecutter.front_door == "http_api"
        output = fit_output(output)
        self.durable.step(
            work.record_result(self.stores, self.request.tenant_id, self.arn, output),
            name="record-result",
            config=policies.RETRY_TRANSIENT,
        )
        return output
        #% else
        return fit_output(output)
        #% endif
