"""What ``mme plan`` expects, beside what the local endpoint does with the same requests."""

import datetime
import json
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest
import xgboost

from mme import artifacts
from mme.plan import measure, simulate, trace
from mme.process import ServeProcess
from tests.local.support import MODEL_FILE, Local
from tests.support import FEATURES, saved, train, wait_until

MODELS, REQUESTS = 100, 900
MEMORY_MB = 6  # for models, of all instances: about half of them
POINTS = 0.02


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that all models of these tests are copies of."""
    file = tmp_path_factory.mktemp("sample") / "sample.tar.gz"
    booster = train(max_depth=6)
    random = np.random.default_rng(1)
    rows = random.normal(size=(800, FEATURES)).astype(np.float32)
    matrix = xgboost.DMatrix(rows, label=random.normal(size=len(rows)))
    settings = {"max_depth": 6, "nthread": 1, "seed": 1}
    booster = xgboost.train(settings, matrix, num_boost_round=300, xgb_model=booster)
    file.write_bytes(artifacts.pack({MODEL_FILE: saved(booster)}))
    return file


@pytest.fixture(scope="module")
def measured(sample: Path) -> measure.Measured:
    """What the planner measures of it."""
    return measure.measure(sample)


@pytest.fixture(scope="module")
def fit(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many of the sample a container takes that may take so much memory for models."""
    root = tmp_path_factory.mktemp("fit")
    container = ServeProcess(root, {"MME_MODEL_MEMORY_MB": str(MEMORY_MB)})
    try:
        container.wait_healthy()
        for number in range(MODELS):
            directory = root / f"m{number}" / "model"
            artifacts.unpack(sample, directory)
            reply = container.client.load(f"m{number}", str(directory))
            if reply.status != HTTPStatus.OK:
                assert reply.status == HTTPStatus.INSUFFICIENT_STORAGE
                return number
    finally:
        container.stop()
    pytest.fail("all models fit")


def test_measured(sample: Path, measured: measure.Measured, fit: int, tmp_path: Path) -> None:
    """The planner measures one model in the real container: memory, base, load, answer."""
    assert measured.archive_mb == sample.stat().st_size / measure.MIB
    folder = tmp_path / "unpacked"
    artifacts.unpack(sample, folder)
    file_mb = (folder / MODEL_FILE).stat().st_size / measure.MIB
    assert 0.1 * file_mb < measured.memory_mb < file_mb  # as a forest
    # The container's limit counts what malloc gave; processes grow by some more, and by what
    # else happens in them meanwhile.
    assert 0.75 < measured.memory_mb / (MEMORY_MB / fit) < 1.6
    assert 50 < measured.base_mb < 400
    assert 0 < measured.warm_ms < 1000
    assert 0 < measured.load_ms < 10_000


def hits(local: Local, endpoint: str) -> tuple[float, float]:
    """Requests that found their model, and all, as CloudWatch has them."""
    now = datetime.datetime.now(datetime.UTC)
    points = local.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="ModelCacheHit",
        Dimensions=[
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        StartTime=now - datetime.timedelta(hours=1),
        EndTime=now + datetime.timedelta(minutes=1),
        Period=60,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    return sum(one["Sum"] for one in points), sum(one["SampleCount"] for one in points)


@pytest.mark.parametrize("instances", [1, 2])
def test_hit_rate(local: Local, sample: Path, fit: int, instances: int) -> None:
    """A trace hits as often on the local endpoint as planned, within two points."""
    name = f"planned-{instances}"
    folder = local.bucket(name, {})
    for number in range(MODELS):
        (folder / f"{number}.tar.gz").write_bytes(sample.read_bytes())
    memory_mb = MEMORY_MB // instances
    local.create(
        name, name, {"MME_MODEL_MEMORY_MB": str(memory_mb)}, InitialInstanceCount=instances
    )
    asked = trace.draw(MODELS, REQUESTS, rate=1.0, zipf=1.0, seed=7)
    runtime = local.client("sagemaker-runtime")

    def ask(model: int) -> None:
        answer = runtime.invoke_endpoint(
            EndpointName=name,
            TargetModel=f"{model}.tar.gz",
            ContentType="text/csv",
            Body=b"1,2,3,4,5,6",
        )
        assert json.loads(answer["Body"].read())

    counted_from = int(REQUESTS * simulate.WARM_UP)
    for model in reversed(range(MODELS)):  # as an endpoint that has been up for long
        ask(model)
    for model in asked.models[:counted_from].tolist():
        ask(model)
    before = wait_until(
        lambda: (seen := hits(local, name))[1] == MODELS + counted_from and seen, 20, "metrics"
    )
    for model in asked.models[counted_from:].tolist():
        ask(model)
    after = wait_until(
        lambda: (seen := hits(local, name))[1] == MODELS + REQUESTS and seen, 20, "metrics"
    )
    real = (after[0] - before[0]) / (after[1] - before[1])

    one = simulate.Sizes(memory=1, disk=1, load_seconds=0.01, download_seconds=0.0)
    planned = simulate.replay(asked, instances, fit // instances, one)
    loaded = sum(instance["loaded"] for instance in local.instances(name)) / instances
    found = f"loaded {loaded}, planned {planned.resident}"
    assert 0.5 < real < 0.95, found  # some fit, some do not
    assert planned.hit_rate == pytest.approx(real, abs=POINTS), found
    assert planned.resident == pytest.approx(loaded, rel=0.05)
