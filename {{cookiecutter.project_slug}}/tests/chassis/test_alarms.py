"""The alarms and the dashboard: on metrics that exist, and each alarm with a section for operators.

CloudWatch takes an alarm on a metric that nobody sends, and cfn-lint says nothing.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any, NamedTuple

import pytest

from ops.local import ROOT, template
from tests.chassis.source import modules, tree
from tests.chassis.test_template import FUNCTIONS

Json = dict[str, Any]


class Metric(NamedTuple):
    """A metric as it is documented: its dimension, if any, its statistics, its largest value."""

    dimension: str | None
    statistics: set[str]
    most: float | None = None


FUNCTION, QUEUE = "FunctionName", "QueueName"
COUNT, SIZE = {"Sum"}, {"Average", "Maximum"}
METRICS = {
    # Lambda developer guide, "Types of metrics for Lambda functions": view them with Sum; "Working
    # with Lambda function metrics": FunctionName is for all versions and aliases; read 2026-11-25.
    ("AWS/Lambda", "Errors"): Metric(FUNCTION, COUNT),
    ("AWS/Lambda", "Throttles"): Metric(FUNCTION, COUNT),
    # Lambda developer guide, "Monitoring durable functions": the metrics, their largest values, and
    # which are of the account. It names no dimension: that is from the alarms of an example of AWS,
    # aws-samples/sample-lambda-durable-functions, PaymentProcessing/template.yaml; read 2026-11-25.
    ("AWS/Lambda", "DurableExecutionStarted"): Metric(FUNCTION, COUNT),
    ("AWS/Lambda", "DurableExecutionSucceeded"): Metric(FUNCTION, COUNT),
    ("AWS/Lambda", "DurableExecutionFailed"): Metric(FUNCTION, COUNT),
    ("AWS/Lambda", "DurableExecutionTimedOut"): Metric(FUNCTION, COUNT),
    ("AWS/Lambda", "DurableExecutionStopped"): Metric(FUNCTION, COUNT),
    ("AWS/Lambda", "DurableExecutionDuration"): Metric(FUNCTION, SIZE),
    ("AWS/Lambda", "DurableExecutionOperations"): Metric(FUNCTION, SIZE, 3_000),
    ("AWS/Lambda", "DurableExecutionStorageWrittenBytes"): Metric(FUNCTION, SIZE, 100_000_000),
    ("AWS/Lambda", "ApproximateRunningDurableExecutions"): Metric(None, SIZE),
    ("AWS/Lambda", "ApproximateRunningDurableExecutionsUtilization"): Metric(None, SIZE, 100),
    # SQS developer guide, "Available CloudWatch metrics for Amazon SQS", read 2026-11-25.
    ("AWS/SQS", "NumberOfMessagesSent"): Metric(QUEUE, COUNT),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): Metric(QUEUE, SIZE),
}
"""A metric of an alarm or of the dashboard needs a line here, with its source."""

SECTION = re.compile(r"^### (`\w+Alarm`.*)\n((?:(?!^##).*\n)*)", re.M)


def of_type(kind: str) -> dict[str, Json]:
    """The properties of all resources of a type: SAM leaves those that are looked at here alone."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template()["Resources"].items()
        if resource["Type"] == kind
    }


ALARMS = of_type("AWS::CloudWatch::Alarm")


def known(namespace: Any, name: str) -> Metric:
    """What is documented of a metric, or what a filter of the template makes of the log."""
    counted = [
        (each["MetricNamespace"], each["MetricName"])
        for metric_filter in of_type("AWS::Logs::MetricFilter").values()
        for each in metric_filter["MetricTransformations"]
    ]
    if (namespace, name) in counted:
        return Metric(None, COUNT)
    assert isinstance(namespace, str), f"no filter makes {name}"
    assert (namespace, name) in METRICS, f"{namespace} {name}: add it here, with its source"
    return METRICS[namespace, name]


def resource_named_by(dimension: str, value: Any) -> str:
    """The resource whose name is the value of a dimension, which is one of its kind."""
    kind, attribute = {
        FUNCTION: ("AWS::Serverless::Function", ""),
        QUEUE: ("AWS::SQS::Queue", "QueueName"),
    }[dimension]
    found = [
        name
        for name in of_type(kind)
        if value in ([{"Fn::GetAtt": [name, attribute]}] if attribute else [{"Ref": name}])
    ]
    assert len(found) == 1, f"{value} is not the {dimension} of a resource of this stack"
    return found[0]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_on_a_metric_that_exists_and_tells_the_operators(name: str) -> None:
    alarm = ALARMS[name]
    metric = known(alarm["Namespace"], alarm["MetricName"])
    given = {each["Name"]: each["Value"] for each in alarm.get("Dimensions", [])}

    assert [*given] == [metric.dimension] * bool(metric.dimension)
    for dimension, value in given.items():
        assert resource_named_by(dimension, value)
    assert alarm["Statistic"] in metric.statistics
    (minutes,) = re.findall(r"^(?:In the last|For) (\d+) minutes", alarm["AlarmDescription"])
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 60 * int(minutes)
    if metric.most:
        assert alarm["Threshold"] == 0.8 * metric.most  # in time to do something
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    assert alarm["TreatMissingData"] == "notBreaching"
    assert alarm["AlarmActions"] == [{"Ref": "OperatorTopic"}]


def watched(metric: str) -> list[str]:
    """The resources that have an alarm on a metric of theirs."""
    return [
        resource_named_by(each["Name"], each["Value"])
        for alarm in ALARMS.values()
        if alarm["MetricName"] == metric
        for each in alarm["Dimensions"]
    ]


def test_every_function_and_every_end_is_watched() -> None:
    for metric in ("Errors", "Throttles"):
        assert {*watched(metric)} >= FUNCTIONS.keys()
        for function in FUNCTIONS:
            name = f"{function.removesuffix('Function')}{metric}Alarm"
            assert ALARMS[name]["Dimensions"] == [{"Name": FUNCTION, "Value": {"Ref": function}}]
            assert function in ALARMS[name]["AlarmDescription"]
    for metric in (
        "DurableExecutionFailed",
        "DurableExecutionTimedOut",
        "DurableExecutionStorageWrittenBytes",
    ):
        assert watched(metric) == ["WorkflowFunction"]
    assert {*watched("NumberOfMessagesSent")} == {"DeadLetterQueue", "LostStatusEvents"}


def test_every_alarm_has_a_section_and_every_section_an_alarm() -> None:
    """It says what the alarm means, what to look at, and what to do."""
    page = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    of_tenants = re.findall(r"addprefix (tenant-),([\w ]+)", makefile)
    verbs = {*re.findall(r"^([\w-]+):", makefile, re.M)}
    verbs |= {prefix + verb for prefix, names in of_tenants for verb in names.split()}
    explained: list[str] = []
    for heading, text in SECTION.findall(page):
        explained += re.findall(r"`(\w+)`", heading)
        parts = re.findall(r"^- \*\*([\w ]+)\*\*:", text, re.M)
        assert parts == ["Means", "Look at", "Do"], heading
        named = re.findall(r"`make ([\w-]+)", text.split("**Look at**")[1].split("**Do**")[0])
        assert named, f"{heading}: look with which verb?"
        assert {*named} <= verbs, heading

    missing, idle = ALARMS.keys() - {*explained}, {*explained} - ALARMS.keys()
    assert not missing, f"docs/operate.md has no section for {', '.join(sorted(missing))}"
    assert not idle, f"docs/operate.md has a section for {', '.join(sorted(idle))}, which is none"
    assert len(explained) == len(ALARMS)


def logged() -> set[str]:
    """The lines that the code writes to the log."""
    return {
        part.value
        for module in modules()
        for call in ast.walk(tree(module))
        if isinstance(call, ast.Call) and call.args
        if ast.unparse(call.func).rpartition(".")[2] in {"info", "warning", "log_request"}
        for part in ast.walk(call.args[0])
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def test_the_lines_that_are_counted_are_written_and_of_no_tenant() -> None:
    filters = of_type("AWS::Logs::MetricFilter")
    for name, metric_filter in filters.items():
        (line,) = re.findall(r'^{ \$\.message = "(.*)" }$', metric_filter["FilterPattern"])
        (made,) = metric_filter["MetricTransformations"]
        assert line in logged(), line
        assert metric_filter["LogGroupName"] == {"Ref": "LogGroup"}
        assert (made["MetricName"], made["MetricValue"]) == (name, "1")
        # A namespace of the stack's own, and no dimension: each value would be billed as a metric.
        assert made["MetricNamespace"] == {"Fn::Sub": "DurableWorkflow/${AWS::StackName}"}
        assert "Dimensions" not in made
    assert {*filters} == {"RefusedStarts", "ExpiringApprovals"}


def dashboard() -> tuple[list[Json], set[str]]:
    """The widgets, and what the text of them refers to."""
    (found,) = of_type("AWS::CloudWatch::Dashboard").values()
    text = found["DashboardBody"]["Fn::Sub"]
    widgets: list[Json] = json.loads(text)["widgets"]
    return widgets, set(re.findall(r"\$\{([\w:.]+)\}", text))


def shown_by(dimension: str, value: str) -> str:
    """The resource of a metric; one that may be missing is named as the template names it."""
    #% if cookiecutter.front_door == "http_api"
    if {"Fn::Sub": value} == template()["Resources"]["ApiFunction"]["Properties"]["FunctionName"]:
        return "ApiFunction"
    #% endif
    reference, _, attribute = value[2:-1].partition(".")
    by = {"Fn::GetAtt": [reference, attribute]} if attribute else {"Ref": reference}
    return resource_named_by(dimension, by)


def test_the_dashboard_is_one_screen_of_metrics_that_exist() -> None:
    widgets, references = dashboard()
    shown = list[tuple[str, str]]()

    # Three rows of three on a grid that is 24 wide (CloudWatch API reference, dashboard body).
    assert len(widgets) <= 9
    assert {(widget["width"], widget["height"]) for widget in widgets} == {(8, 6)}
    for widget in widgets:
        found = widget["properties"]
        assert found["region"] == "${AWS::Region}"
        for namespace, name, *rest in found.get("metrics", []):
            own = rest.pop() if rest and isinstance(rest[-1], dict) else {}
            metric = known(namespace, name)
            assert {**found, **own}["stat"] in metric.statistics, name
            assert rest[::2] == [metric.dimension] * bool(metric.dimension), name
            for dimension, value in zip(rest[::2], rest[1::2], strict=True):
                assert shown_by(dimension, value)
            shown.append((namespace, name))
    assert {*shown} == METRICS.keys()
    assert len(shown) <= 50  # of a dashboard that is free
    assert {each.partition(".")[0] for each in references} <= {
        *template()["Resources"],
        "AWS::Region",
        "AWS::StackName",
    }


def test_the_dashboard_shows_every_function_and_lines_that_are_written() -> None:
    widgets, _ = dashboard()
    queries = [each["properties"]["query"] for each in widgets if each["type"] == "log"]
    lines = [line for query in queries for line in re.findall(r'"([^"]+)"', query)]

    metrics = [metric for each in widgets for metric in each["properties"].get("metrics", [])]
    for name in ("Errors", "Throttles"):
        shown = {shown_by(*metric[2:]) for metric in metrics if metric[1] == name}
        assert shown == FUNCTIONS.keys()
    assert all(query.startswith("SOURCE '/aws/lambda/${AWS::StackName}' | ") for query in queries)
    group = {"Fn::Sub": "/aws/lambda/${AWS::StackName}"}
    assert of_type("AWS::Logs::LogGroup")["LogGroup"]["LogGroupName"] == group
    assert lines
    assert {*lines} <= logged()


def test_the_page_of_costs_knows_how_many_there_are() -> None:
    page = (ROOT / "docs" / "sizes-and-cost.md").read_text(encoding="utf-8")

    assert re.findall(r"^- (\d+) alarms", page, re.M) == [str(len(ALARMS))]
    counted = len(of_type("AWS::Logs::MetricFilter"))
    assert re.findall(r"(\d+) metrics of lines of the log", page) == [str(counted)]
