"""The workflow: what happens, in which order. Nothing here may depend on anything but its input.

The code runs again from the top whenever the execution resumes, and takes what has already
happened from the checkpoints. So there is no clock, no randomness, no I/O and no environment in
this file; the linter holds it to that. They belong in a step, such as those of data_processor.py.
"""

from __future__ import annotations

from chassis import CheckResult, ItemOutcomes, JsonObject, Request
from chassis.durable import Execution
#% if cookiecutter.__child_context
from workflow.announcement import announce
#% endif
from workflow.callback_helper import parse_answer
from workflow.checks import CHECKS
#% if cookiecutter.__wait
from workflow.cool_down import cool_down
#% endif
from workflow.data_processor import aggregate
#% if cookiecutter.__wait_for_condition
from workflow.messages import build_output
from workflow.readiness import await_readiness


#% else
from workflow.messages import build_output


#% endif
def run(execution: Execution[Request]) -> JsonObject:
    """Prepare, ask, check, process, aggregate."""
    plan = execution.prepare_work()
    approval = execution.ask_for_approval(plan, "approval", plan["evidence"], parse_answer)
    checks, items = list[CheckResult](), ItemOutcomes()
    if approval.goes_on:
        #% if cookiecutter.__wait
        cool_down(execution, plan)
        #% endif
        #% if cookiecutter.__wait_for_condition
        await_readiness(execution)
        #% endif
        checks = execution.run_checks(plan, CHECKS)
        items = execution.process_items(plan)
    metrics = execution.aggregate_results(plan, checks, items, aggregate)
    output = build_output(execution.identity(), approval, checks, items, metrics)
    #% if cookiecutter.__child_context
    output["announced"] = announce(execution, plan, output)
    #% endif
    return execution.finish(output)
