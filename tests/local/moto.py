"""The moto child as a process of its own, and real clients of it."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

START_SECONDS = 30
STOP_SECONDS = 10


class MotoChild:
    """A running child that keeps its state below a folder."""

    def __init__(self, state: Path, stderr: int | None = None) -> None:
        self.state = state
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mme.local.aws.moto_child", "--state", str(state)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(json.loads(self.process.stdout.readline())["port"])

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def s3(self) -> Path:
        """The folder of the buckets."""
        return self.state / "s3"

    def client(self, service: str, **config: Any) -> Any:
        """A client of boto3."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106  # moto asks for some, for none in particular
            config=Config(**config),
        )

    def memory_bytes(self) -> int:
        """What it holds now, and alone."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        private = [line.split() for line in lines if line.startswith(("Private_", "Swap:"))]
        return sum(int(words[1]) for words in private) * 1024

    def cpu_seconds(self) -> float:
        """What it has worked so far."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit status."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(STOP_SECONDS)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoChild]:
    """One child for all tests that leave each other's buckets, streams and metrics alone."""
    child = MotoChild(tmp_path_factory.mktemp("moto") / "state")
    yield child
    if child.process.poll() is None:
        assert child.stop() == 0


@pytest.fixture(scope="session")
def s3(moto: MotoChild) -> Any:
    """A client."""
    return moto.client("s3")


@pytest.fixture
def bucket(s3: Any) -> str:
    """A bucket of the test's own."""
    name = f"test-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def folder(moto: MotoChild, bucket: str) -> Path:
    """Where it lies."""
    return moto.s3 / bucket


@pytest.fixture
def own(tmp_path: Path) -> Iterator[MotoChild]:
    """A child of the test's own, which may end it."""
    child = MotoChild(tmp_path / "state")
    yield child
    if child.process.poll() is None:
        child.stop()


def keys(s3: Any, bucket: str, **words: Any) -> list[str]:
    """The keys of a bucket, page after page."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, **words)
    return [item["Key"] for page in pages for item in page.get("Contents", ())]


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    """What an error of boto3 is called."""
    return str(error.value.response["Error"]["Code"])
