"""The original post's code, unchanged, on both kinds of containers; and a foreign container."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mme import artifacts
from tests.image.support import BUILD_SECONDS, build
from tests.local.conftest import Start
from tests.local.images import REGISTRY, build_stock_mms
from tests.local.support import ROLE, ROW, Local

STORY = Path(__file__).with_name("story.py")
SECONDS = 120
DOCKER = [pytest.mark.docker, pytest.mark.timeout(BUILD_SECONDS + 300)]


@pytest.fixture(scope="session")
def cities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The story's models, as ``mme train`` leaves them."""
    home = tmp_path_factory.mktemp("cities")
    mme = [sys.executable, "-m", "mme"]
    subprocess.run([*mme, "houses", "--out", home], check=True, capture_output=True)
    options = ["--by", "city", "--target", "PRICE", "--out", home / "models"]
    subprocess.run([*mme, "train", home / "houses.csv", *options], check=True, capture_output=True)
    return home / "models"


@pytest.mark.parametrize(
    "words", [pytest.param((), id="serve"), pytest.param(("--docker",), id="docker", marks=DOCKER)]
)
def test_story(start_local: Start, cities: Path, words: tuple[str, ...]) -> None:
    """The post's script, given nothing but environment variables, prints predictions."""
    if words:
        build()
    local = start_local(*words)
    done = subprocess.run(
        [sys.executable, STORY, cities],
        env=os.environ | local.environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    prices = re.findall(r"^\$([\d,]+\.\d\d), took [\d,]+ ms$", done.stdout, flags=re.MULTILINE)
    assert len(prices) == 5
    assert prices[0] == prices[1]
    assert prices[2] == prices[3]
    assert len(set(prices)) == 3
    assert [one["status"] for one in local.instances("house-prices")] == ["InService"] * 2
    assert local.stop() == 0


@pytest.mark.docker
@pytest.mark.timeout(BUILD_SECONDS + 300)
def test_foreign_container(start_local: Start) -> None:
    """An unmodified Multi Model Server with a handler of its own runs behind it as it is."""
    build()
    image = build_stock_mms()
    local = start_local("--docker")
    folder = local.bucket("foreign", {})
    for number in range(3):
        weights = json.dumps([float(number)] * 6).encode()
        (folder / f"m{number}.tar.gz").write_bytes(artifacts.pack({"weights.json": weights}))
    (folder / "damaged.tar.gz").write_bytes(artifacts.pack({"other": b""}))
    sagemaker = local.client("sagemaker")
    sagemaker.create_model(
        ModelName="foreign",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={
            "Image": f"{REGISTRY}/{image}:latest",
            "Mode": "MultiModel",
            "ModelDataUrl": "s3://foreign/",
        },
    )
    local.configure("foreign", "foreign")
    sagemaker.create_endpoint(EndpointName="foreign", EndpointConfigName="foreign")
    local.in_service("foreign")
    for _ in range(2):
        for number in range(3):
            assert local.invoke("foreign", f"m{number}.tar.gz", ROW) == [21.0 * number]
    runtime = local.client("sagemaker-runtime")
    for _ in range(2):
        with pytest.raises(runtime.exceptions.ModelError):
            local.invoke("foreign", "damaged.tar.gz")
    (instance,) = local.instances("foreign")
    assert (instance["loaded"], instance["loads"]) == (3, 3)
    assert local.stop() == 0


def test_models_folder(start_local: Start, cities: Path) -> None:
    """One command has an endpoint in service over a folder, and files dropped there are models."""
    folder = cities.parent / "dropped"
    folder.mkdir()
    (folder / "a.tar.gz").write_bytes((cities / "Houston_TX.tar.gz").read_bytes())
    local = start_local("--models", str(folder), "--endpoint", "desk")
    first = _invoke(local, "a.tar.gz")
    (folder / "b.tar.gz").write_bytes((cities / "Dallas_TX.tar.gz").read_bytes())
    second = _invoke(local, "b.tar.gz", "--time")
    assert first.returncode == second.returncode == 0
    assert json.loads(first.stdout) != json.loads(second.stdout)
    assert re.fullmatch(r"[\d.]+ ms, AllTraffic\n", second.stderr)
    absent = _invoke(local, "c.tar.gz")
    assert absent.returncode == 1
    assert re.fullmatch(
        r"mme invoke: s3://[\w-]+/c\.tar\.gz is not there, .*: mme models list\n", absent.stderr
    )
    assert local.stop() == 0


def _invoke(local: Local, target: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """``mme invoke``, told where to go by environment variables alone."""
    return subprocess.run(
        [sys.executable, "-m", "mme", "invoke", "desk", "--target-model", target, *words],
        env=os.environ | local.environ,
        input="1994,3188,5,1.5,1.62,3",
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
