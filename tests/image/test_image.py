"""The real image: built, run as SageMaker runs it, and driven over its published port."""

import json
import urllib.request
import uuid
from pathlib import Path

import pytest
import xgboost

from mme.client import Client
from mme.process import free_port
from tests.image.conftest import Run
from tests.image.support import BUILD_SECONDS, START_SECONDS, docker
from tests.support import train, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(BUILD_SECONDS + 300)]


def test_labels_and_entry_point(image: str) -> None:
    """The image tells SageMaker what it can, and starts `mme` without a shell, as no root."""
    config = json.loads(docker("image", "inspect", image))[0]["Config"]
    assert config["Labels"]["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"
    assert config["Labels"]["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert config["Entrypoint"] == ["mme"]
    assert config["User"] not in ("", "0", "root")


def test_weight(image: str) -> None:
    """The image weighs less than 500 MB."""
    assert int(docker("image", "inspect", "--format", "{{.Size}}", image)) < 500_000_000


def test_nothing_left_over(image: str) -> None:
    """There is no compiler, package manager cache or pip in the image."""
    found = docker(
        *("run", "--rm", "--entrypoint", "sh", image, "-c"),
        "for tool in gcc ld strip pip; do command -v $tool; done; find /var/lib/apt/lists -type f",
    )
    assert found == ""


def test_runtime(image: str) -> None:
    """The image has Python 3.13 and XGBoost 3.4.1."""
    code = (
        "import sys; from handler.booster import runtime_version; "
        "print(sys.version_info[:2], runtime_version())"
    )
    shown = docker("run", "--rm", "--entrypoint", "python3", image, "-c", code)
    assert shown == "(3, 13) (3, 4, 1)"


def test_java_cache(image: str) -> None:
    """The image's Java takes the image's cache of classes and profiles: it would fail if not."""
    code = (
        "import subprocess; from pathlib import Path; from container import mms; "
        "from container.settings import Settings; "
        "call = mms.command(Settings.from_environ({}), Path('/tmp')); "
        "options = call[1 : call.index('com.amazonaws.ml.mms.ModelServer')]; "
        "subprocess.run([call[0], '-XX:AOTMode=on', *options, '-version'], check=True)"
    )
    docker("run", "--rm", "--read-only", "--entrypoint", "python3", image, "-c", code)


def test_the_whole_api(container: tuple[str, Client]) -> None:
    """Load, list, describe, invoke and unload work over the published port."""
    name, client = container
    row = b"1,2,3,4,5,6"
    for seed in range(3):
        assert client.load(f"m{seed}", f"/opt/ml/models/m{seed}/model").status == 200
    assert [model["modelName"] for model in client.models()] == ["m0", "m1", "m2"]
    assert client.describe("m0").status == 200
    for seed in range(3):
        reply = client.invoke(f"m{seed}", row)
        expected = train(seed=seed).predict(
            xgboost.DMatrix([[float(field) for field in row.split(b",")]])
        )
        assert json.loads(reply.body) == expected.tolist()
        assert client.invoke(f"m{seed}", row, accept="text/csv").status == 200
    assert client.invoke("m0", b"1,2").status == 400
    assert client.load("m0", "/etc").status == 400
    for seed in range(3):
        assert client.unload(f"m{seed}").status == 200
    assert list(client.models()) == []
    assert docker("exec", name, "id", "-u") == "65534"


def test_stop(container: tuple[str, Client]) -> None:
    """``docker stop`` ends the container with status 0, well within its grace."""
    name, _ = container
    docker("stop", "--time", "30", name)
    state = json.loads(docker("inspect", name))[0]["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


def test_bind_to_port(image: str) -> None:
    """The platform may choose the port."""
    name, port = f"mme-test-{uuid.uuid4().hex[:8]}", free_port()
    docker(
        *("run", "--detach", "--name", name, "--publish", f"127.0.0.1:{port}:55555"),
        *("--env", "SAGEMAKER_BIND_TO_PORT=55555", image, "serve"),
    )
    try:
        with Client("127.0.0.1", port) as client:
            wait_until(client.healthy, START_SECONDS, "a healthy container")
    finally:
        docker("rm", "--force", name)


SCRIPT = """
import numpy, xgboost

def model_fn(model_dir):
    return xgboost.Booster(model_file=f"{model_dir}/xgboost-model")

def predict_fn(data, model):
    return model.predict(xgboost.DMatrix(numpy.atleast_2d(data)))
"""


def test_script(run: Run, models: Path) -> None:
    """A script of an artifact finds XGBoost's Python package and what it needs in the image."""
    code = models / "m0" / "model" / "code"
    code.mkdir()
    (code / "inference.py").write_text(SCRIPT)
    _, client = run("--env", "MME_ALLOW_SCRIPTS=1")
    for name in ("m0", "m1"):
        assert client.load(name, f"/opt/ml/models/{name}/model").status == 200
        seed = int(name[1:])
        expected = train(seed=seed).predict(xgboost.DMatrix([[1.0, 2, 3, 4, 5, 6]]))
        assert json.loads(client.invoke(name, b"1,2,3,4,5,6").body) == expected.tolist()


def test_one_model(image: str, models: Path) -> None:
    """Where a model is in ``/opt/ml/model`` and nothing else is said, the image serves that one."""
    name, port = f"mme-test-{uuid.uuid4().hex[:8]}", free_port()
    docker(
        *("run", "--detach", "--name", name, "--publish", f"127.0.0.1:{port}:8080"),
        *("--volume", f"{models / 'm0' / 'model'}:/opt/ml/model:ro", image, "serve"),
    )
    try:
        with Client("127.0.0.1", port) as client:
            wait_until(client.healthy, START_SECONDS, "a healthy container")
        url = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{url}/execution-parameters", timeout=10) as reply:  # noqa: S310  # ours
            assert json.load(reply)["BatchStrategy"] == "MULTI_RECORD"
        asked = urllib.request.Request(  # noqa: S310  # of our own container
            f"{url}/invocations", b"1,2,3,4,5,6", {"Content-Type": "text/csv"}
        )
        expected = train(seed=0).predict(xgboost.DMatrix([[1.0, 2, 3, 4, 5, 6]]))
        with urllib.request.urlopen(asked, timeout=10) as reply:  # noqa: S310  # ours
            assert json.load(reply) == expected.tolist()
    finally:
        docker("rm", "--force", name)
