"""What tests of ``mme deploy`` share: its files, its commands, and what it leaves on AWS."""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mme import artifacts, cli
from mme.aws import Aws
from mme.deploy.config import Config
from mme.deploy.names import Account, Names
from tests.local.support import MODEL_FILE, ROW, Local
from tests.support import saved, train

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost-mme:1"


class Project:
    """A folder with ``mme.toml`` and models, and a shell in it whose AWS is ``mme local``.

    Args:
        folder: of the project.
        name: of the endpoint.
        local: the AWS.
        patch: sets variables and the working folder.
        shown: what commands print.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        local: Local,
        patch: pytest.MonkeyPatch,
        shown: pytest.CaptureFixture[str],
    ) -> None:
        self.folder, self.name, self.local, self._shown = folder, name, local, shown
        self.config: dict[str, Any] = {
            "name": name,
            "models": "models",
            "instance_type": "ml.m5.large",
            "instance_count": 1,
            "image": IMAGE,
        }
        self._patch = patch
        patch.chdir(folder)
        self.use(local.url)
        (folder / "models").mkdir()

    def use(self, url: str) -> None:
        """Let the shell's AWS be at a URL."""
        for variable, value in (self.local.environ | {"AWS_ENDPOINT_URL": url}).items():
            self._patch.setenv(variable, value)

    def put(self, target: str, seed: int = 0) -> None:
        """A model of the folder; another seed is another model."""
        path = self.folder / "models" / f"{target}.tar.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(artifacts.pack({MODEL_FILE: saved(train(seed=seed))}))

    def mme(self, *words: str) -> tuple[int, str, str]:
        """Run a command; its status, and what it printed, without errors and with."""
        lines = [
            f"{key} = {json.dumps(value)}"
            for key, value in self.config.items()
            if not isinstance(value, Mapping)
        ]
        for key, table in self.config.items():
            if isinstance(table, Mapping):
                lines += [f"[{key}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
        (self.folder / "mme.toml").write_text("\n".join(lines) + "\n")
        self._shown.readouterr()
        status = cli.main(list(words))
        out, err = self._shown.readouterr()
        return status, out, err

    def well(self, *words: str) -> str:
        """Run a command that must end well; what it printed."""
        status, out, err = self.mme(*words)
        assert status == 0, f"{out}\n{err}"
        return out

    def fails(self, *words: str) -> str:
        """Run a command that must fail with one line; that line."""
        status, out, err = self.mme(*words)
        assert status != 0, out
        assert err.count("\n") == 1, err
        return err.strip()

    def names(self) -> Names:
        """Of the resources."""
        return Names(Account.of(Aws()), Config.from_document(self.config))

    def predict(self, target: str) -> float:
        """What the endpoint says."""
        return float(self.local.invoke(self.name, f"{target}.tar.gz", ROW)[0])

    def left(self) -> dict[str, Any]:
        """What there is on AWS of the endpoint, by kind; nothing of a kind is no key."""
        return {kind: found for kind, found in _left(self.local, self.name) if found}


def _left(local: Local, name: str) -> Iterator[tuple[str, Any]]:
    sagemaker = local.client("sagemaker")
    for kind in ("Endpoint", "EndpointConfig", "Model"):
        listed = getattr(sagemaker, f"list_{_snake(kind)}s")(NameContains=name)[f"{kind}s"]
        yield kind, [one[f"{kind}Name"] for one in listed]
    buckets = [one["Name"] for one in local.client("s3").list_buckets()["Buckets"]]
    yield "Bucket", [one for one in buckets if one.startswith(name)]
    roles = local.client("iam").list_roles()["Roles"]
    yield "Role", [one["RoleName"] for one in roles if name in one["RoleName"]]
    repositories = local.client("ecr").describe_repositories()["repositories"]
    yield (
        "Repository",
        [
            one["repositoryName"]
            for one in repositories
            if one["repositoryName"].endswith(f"/{name}")
        ],
    )
    watch = local.client("cloudwatch")
    alarms = watch.describe_alarms(AlarmNamePrefix=f"xgboost-mme-{name}-")["MetricAlarms"]
    yield "Alarm", [one["AlarmName"] for one in alarms]
    boards = watch.list_dashboards()["DashboardEntries"]
    yield "Dashboard", [one["DashboardName"] for one in boards if name in one["DashboardName"]]
    scaling = local.client("application-autoscaling")
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    yield "Target", [one["ResourceId"] for one in targets if f"/{name}/" in one["ResourceId"]]


def _snake(name: str) -> str:
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in name).strip("_")


@contextlib.contextmanager
def asked_all_the_while(local: Local, name: str, target: str) -> Iterator[list[Any]]:
    """Somebody asks an endpoint again and again; what it answered, errors too."""
    answers: list[Any] = []
    over = threading.Event()
    runtime = local.client("sagemaker-runtime")

    def ask() -> None:
        while not over.is_set():
            try:
                answer = runtime.invoke_endpoint(
                    EndpointName=name, TargetModel=target, ContentType="text/csv", Body=ROW
                )
                answers.append(json.loads(answer["Body"].read())[0])
            except ClientError as error:
                answers.append(error)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in asking:
            thread.join()
