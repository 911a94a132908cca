"""CloudWatch by boto3 against the real child: statistics, percentiles, metric math."""

import datetime
import math
import time
import urllib.parse
import urllib.request
import uuid
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from mme.local.aws.cloudwatch import Metric
from mme.local.aws.histogram import Histogram
from mme.local.aws.metric_math import MathError, evaluate
from tests.local.moto import MotoChild

UNIT = "Microseconds"
ALL = ["Average", "Sum", "Minimum", "Maximum", "SampleCount"]
NOW = int(time.time()) // 300 * 300  # a whole period, whichever


@pytest.fixture(scope="session")
def cloudwatch(moto: MotoChild) -> Any:
    """A client."""
    return moto.client("cloudwatch")


@pytest.fixture
def name() -> str:
    """An endpoint's name, and so metrics of the test's own."""
    return f"endpoint-{uuid.uuid4().hex}"


def dimensions(name: str, *more: str) -> list[dict[str, str]]:
    values = (name, *more)
    return [{"Name": f"Name{n}", "Value": value} for n, value in enumerate(values)]


def put(client: Any, name: str, *data: dict[str, Any], at: int = NOW) -> None:
    """Values of metric M of a namespace, one datum each."""
    base = {"MetricName": "M", "Dimensions": dimensions(name), "Timestamp": at, "Unit": UNIT}
    client.put_metric_data(Namespace="N", MetricData=[base | datum for datum in data])


def points(client: Any, name: str, period: int = 60, **words: Any) -> list[dict[str, Any]]:
    given = {
        "Namespace": "N",
        "MetricName": "M",
        "Dimensions": dimensions(name),
        "StartTime": NOW - 600,
        "EndTime": NOW + 600,
        "Period": period,
        "Statistics": ALL,
    }
    answer = client.get_metric_statistics(**given | words)
    return sorted(answer["Datapoints"], key=lambda point: float(point["Timestamp"].timestamp()))


def data(client: Any, queries: list[dict[str, Any]], **words: Any) -> dict[str, dict[float, float]]:
    answer = client.get_metric_data(
        MetricDataQueries=queries, StartTime=NOW - 600, EndTime=NOW + 600, **words
    )
    return {
        one["Id"]: {
            moment.timestamp(): value
            for moment, value in zip(one["Timestamps"], one["Values"], strict=True)
        }
        for one in answer["MetricDataResults"]
    }


def query(name: str, stat: str, period: int = 60, identity: str = "m") -> dict[str, Any]:
    metric = {"Namespace": "N", "MetricName": "M", "Dimensions": dimensions(name)}
    return {"Id": identity, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}}


def test_all_forms_of_data_are_one(cloudwatch: Any, name: str) -> None:
    """A value, values with counts and a statistic set come together in one datapoint."""
    put(cloudwatch, name, {"Value": 4.0}, {"Values": [1.0, 2.0], "Counts": [3.0, 1.0]})
    put(cloudwatch, name, {"Values": [5.0, 5.0]})
    sets = {"SampleCount": 2.0, "Sum": 30.0, "Minimum": 10.0, "Maximum": 20.0}
    put(cloudwatch, name, {"StatisticValues": sets})
    (point,) = points(cloudwatch, name)
    assert point.pop("Timestamp").timestamp() == NOW
    assert point == {
        "Unit": UNIT,
        "SampleCount": 9,
        "Sum": 49,
        "Average": 49 / 9,
        "Minimum": 1,
        "Maximum": 20,
    }


@pytest.mark.parametrize("size", [1, 2, 100, 20_000])
def test_percentiles_are_numpys(cloudwatch: Any, name: str, size: int) -> None:
    """Percentiles are exact where values are few, and within 1 % where they are many."""
    values = np.random.default_rng(size).lognormal(8, 1.5, size)
    for part in np.array_split(values, -(-size // 150)):
        put(cloudwatch, name, {"Values": part.tolist()})
    asked = ["p0", "p10", "p50", "p90", "p99", "p99.9", "p100"]
    (point,) = points(cloudwatch, name, ExtendedStatistics=asked)
    exact = size <= 300
    for stat in asked:
        expected = float(np.percentile(values, float(stat[1:])))
        assert math.isclose(
            point["ExtendedStatistics"][stat], expected, rel_tol=1e-9 if exact else 0.01
        )
        (got,) = data(cloudwatch, [query(name, stat)])["m"].values()
        assert got == point["ExtendedStatistics"][stat]
    assert math.isclose(point["Sum"], values.sum())
    assert point["Maximum"] == values.max()
    assert point["Minimum"] == values.min()


def test_counts_are_taken_back(cloudwatch: Any, name: str) -> None:
    """A count below zero undoes one; a bin without any value is no datapoint."""
    put(cloudwatch, name, {"Values": [3.0, 7.0], "Counts": [1.0, 1.0]})
    put(cloudwatch, name, {"Values": [9.0, 7.0], "Counts": [1.0, -1.0]})
    (point,) = points(cloudwatch, name)
    assert [point[stat] for stat in ALL] == [6, 12, 3, 9, 2]
    put(cloudwatch, name, {"Values": [9.0, 3.0], "Counts": [-1.0, -1.0]})
    assert points(cloudwatch, name) == []
    known = cloudwatch.list_metrics(Namespace="N", Dimensions=dimensions(name))["Metrics"]
    assert known == []


def test_periods(cloudwatch: Any, name: str) -> None:
    """Data with a resolution of a second can be asked by the second; all periods start whole."""
    for second in (1, 2, 12, 61, 119, 299):
        put(cloudwatch, name, {"Value": 1.0, "StorageResolution": 1}, at=NOW + second)
    put(cloudwatch, name, {"Value": 1.0}, at=NOW + 75)  # it counts for the whole minute

    def starts(period: int, **words: Any) -> dict[float, float]:
        found = points(cloudwatch, name, period, **words)
        return {point["Timestamp"].timestamp() - NOW: point["Sum"] for point in found}

    assert starts(1) == {1: 1, 2: 1, 12: 1, 60: 1, 61: 1, 119: 1, 299: 1}
    assert starts(10) == {0: 2, 10: 1, 60: 2, 110: 1, 290: 1}
    assert starts(60) == {0: 3, 60: 3, 240: 1}
    assert starts(300) == {0: 7}
    assert starts(60, StartTime=NOW + 90, EndTime=NOW + 180) == {60: 3}
    with pytest.raises(ClientError, match="StartTime must be less"):
        starts(60, StartTime=NOW + 90, EndTime=NOW + 90)


def test_dimensions_match_exactly(cloudwatch: Any, name: str) -> None:
    """A metric is its namespace, name and all its dimensions, in any order."""
    full = dimensions(name, "variant")
    put(cloudwatch, name, {"Value": 1.0, "Dimensions": full})
    assert points(cloudwatch, name) == []
    assert len(points(cloudwatch, name, Dimensions=full[::-1])) == 1
    assert points(cloudwatch, name, Dimensions=full, Namespace="Other") == []
    listed = cloudwatch.list_metrics(Dimensions=[{"Name": "Name0", "Value": name}])["Metrics"]
    assert listed == [{"Namespace": "N", "MetricName": "M", "Dimensions": full}]
    assert cloudwatch.list_metrics(Namespace="Other")["Metrics"] == []


def test_units_stay_apart(cloudwatch: Any, name: str) -> None:
    """Each unit is a datapoint of its own, and can be asked for alone."""
    put(cloudwatch, name, {"Value": 1.0}, {"Value": 2.0, "Unit": "Count"})
    both = points(cloudwatch, name)
    assert {point["Unit"]: point["Sum"] for point in both} == {UNIT: 1, "Count": 2}
    (one,) = points(cloudwatch, name, Unit="Count")
    assert one["Sum"] == 2
    wanted = query(name, "Sum")
    wanted["MetricStat"]["Unit"] = UNIT
    assert data(cloudwatch, [wanted])["m"] == {NOW: 1}


def test_order_and_math(cloudwatch: Any, name: str) -> None:
    """Expressions are of other queries, in the order that is asked for."""
    for minute, value in enumerate((2.0, 4.0, 6.0)):
        put(cloudwatch, name, {"Values": [value, 0.0]}, at=NOW + 60 * minute)
    queries = [
        query(name, "Maximum", identity="most") | {"ReturnData": False},
        query(name, "SampleCount", identity="count"),
        {"Id": "e1", "Expression": "(most + 1) * 2 - most / count", "Label": "mine"},
        {"Id": "e2", "Expression": "SUM(METRICS())"},
        {"Id": "e3", "Expression": "most / MAX(most)"},
        {"Id": "e4", "Expression": "-AVG([e1, MIN([most, count])])"},
    ]
    found = data(cloudwatch, queries, ScanBy="TimestampAscending")
    assert list(found) == ["count", "e1", "e2", "e3", "e4"]
    assert list(found["e1"].values()) == [5, 8, 11]
    assert list(found["e2"].values()) == [4, 6, 8]
    assert list(found["e3"].values()) == [2 / 6, 4 / 6, 1]
    assert list(found["e4"].values()) == [-3.5, -5, -6.5]
    assert list(found["e1"]) == [NOW, NOW + 60, NOW + 120]
    assert list(data(cloudwatch, queries)["e1"]) == [NOW + 120, NOW + 60, NOW]


@pytest.mark.parametrize(
    "expression",
    [
        "m ^ 2",
        "IF(m, 1)",
        "nobody",
        "SUM(m)",
        "m +",
        "e",
        "SELECT m",
        "METRICS()",
        "1 / 0",
        "m.real",
    ],
)
def test_other_expressions_are_refused(cloudwatch: Any, name: str, expression: str) -> None:
    """What is no metric math, or not done here, is an error that says which."""
    with pytest.raises(ClientError, match="Error in expression 'e'") as error:
        data(cloudwatch, [query(name, "Sum"), {"Id": "e", "Expression": expression}])
    assert error.value.response["Error"]["Code"] == "ValidationError"
    nothing: dict[str, dict[int, float]] = {}
    with pytest.raises(MathError):
        evaluate("lambda: m", nothing.__getitem__, nothing)


@pytest.mark.parametrize("stat", ["tm99", "p101", "p", "IQM", "average"])
def test_other_statistics_are_refused(cloudwatch: Any, name: str, stat: str) -> None:
    """A statistic that is not computed here is an error, not a wrong figure."""
    with pytest.raises(ClientError, match="is not supported here"):
        data(cloudwatch, [query(name, stat)])


def test_bad_data_are_refused_whole(cloudwatch: Any, name: str) -> None:
    """Of a call with one bad datum, nothing is kept."""
    with pytest.raises(ClientError, match="not finite"):
        put(cloudwatch, name, {"Value": 1.0}, {"Value": math.inf})
    with pytest.raises(ClientError, match="same size"):
        put(cloudwatch, name, {"Value": 1.0}, {"Values": [1.0], "Counts": [1.0, 2.0]})
    assert points(cloudwatch, name) == []


def test_the_query_protocol(moto: MotoChild, cloudwatch: Any, name: str) -> None:
    """Older clients, which send forms and read XML, get the same."""
    put(cloudwatch, name, {"Values": [1.0, 3.0]})
    form = {
        "Action": "GetMetricStatistics",
        "Version": "2010-08-01",
        "Namespace": "N",
        "MetricName": "M",
        "Dimensions.member.1.Name": "Name0",
        "Dimensions.member.1.Value": name,
        "StartTime": datetime.datetime.fromtimestamp(NOW - 60, datetime.UTC).isoformat(),
        "EndTime": datetime.datetime.fromtimestamp(NOW + 60, datetime.UTC).isoformat(),
        "Period": "60",
        "Statistics.member.1": "Sum",
        "ExtendedStatistics.member.1": "p50",
    }
    scope = "Credential=a/20260101/us-east-1/monitoring/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    request = urllib.request.Request(moto.url, urllib.parse.urlencode(form).encode(), headers)  # noqa: S310  # it is ours
    with urllib.request.urlopen(request) as answer:  # noqa: S310  # our own
        text = answer.read().decode()
    assert "<Sum>4.0</Sum>" in text
    assert "<key>p50</key><value>2.0</value>" in text


def test_alarms_and_dashboards_are_motos(cloudwatch: Any, name: str) -> None:
    """What is not metrics still works."""
    cloudwatch.put_dashboard(DashboardName=name, DashboardBody="{}")
    assert cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"] == "{}"
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        MetricName="M",
        Namespace="N",
        Period=60,
        Statistic="Sum",
        Threshold=1.0,
    )
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert alarm["MetricName"] == "M"


def test_a_histogram_stays_small() -> None:
    """However many values there are, some hundreds are kept, and the sum is exact."""
    values = np.random.default_rng(1).lognormal(8, 1, 50_000)
    histogram = Histogram()
    for value in values:
        histogram.add(float(value), 1.0)
    assert len(histogram) <= 700
    assert math.isclose(histogram.statistic("Sum") or 0, values.sum())
    histogram.thin()
    assert len(histogram) <= 100
    median = histogram.statistic("p50")
    assert median is not None
    assert math.isclose(median, float(np.median(values)), rel_tol=0.1)
    assert histogram.statistic("Maximum") == values.max()


def test_statistic_sets_have_no_percentiles() -> None:
    """Of values that nobody has told, no percentile is made up."""
    histogram = Histogram()
    histogram.add_set(2, 6, 3, 3)
    assert histogram.statistic("p50") == 3
    histogram.add_set(3, 6, 1, 4)
    assert histogram.statistic("p50") is None
    assert histogram.statistic("Average") == 12 / 5


def test_old_data_get_coarse_and_go() -> None:
    """After three hours seconds become minutes, after 15 days they are gone; sums hold."""
    metric, now = Metric(), 1_800_000_000
    for second in range(0, 7200, 10):
        metric.add(now - second, UNIT, lambda values: values.add(1.0, 1.0))
    assert len(metric) == 720
    metric.sweep(now + 4 * 3600)
    assert len(metric) == 121
    found = metric.within(now - 86400, now + 60, 86400, None)
    assert sum(values.total for values in found.values()) == 720
    metric.sweep(now + 16 * 86400)
    assert not metric
