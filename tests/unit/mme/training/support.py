"""What the platform lays out for a training container, for tests to fill."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mme.houses import make_houses

CITIES = ("Chicago_IL", "Houston_TX", "Dallas_TX", "Phoenix_AZ")


def houses(cities: Sequence[str] = CITIES, rows: int = 40) -> pd.DataFrame:
    """Some cities' houses."""
    return make_houses(cities, houses=rows)


def lay_out(
    root: Path,
    files: Mapping[str, pd.DataFrame | bytes],
    host: int = 1,
    hosts: int = 1,
    sharded: bool = False,
    **hyperparameters: str,
) -> Path:
    """The folder ``/opt/ml`` of one host; the hyperparameters beside the columns' are given."""
    config, data = root / "input" / "config", root / "input" / "data" / "train"
    for folder in (config, data, root / "model", root / "checkpoints", root / "output"):
        folder.mkdir(parents=True, exist_ok=True)
    names = [f"algo-{number + 1}" for number in range(hosts)]
    kind = "ShardedByS3Key" if sharded else "FullyReplicated"
    contents = {
        "hyperparameters": {"by": "city", "target": "PRICE", "rounds": "5"} | hyperparameters,
        "inputdataconfig": {"train": {"TrainingInputMode": "File", "S3DistributionType": kind}},
        "resourceconfig": {"current_host": f"algo-{host}", "hosts": names},
    }
    for name, content in contents.items():
        (config / f"{name}.json").write_text(json.dumps(content))
    for name, content in files.items():
        data_file = data / name
        data_file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            data_file.write_bytes(content)
        else:
            content.to_csv(data_file, index=False)
    return root


def archives(root: Path) -> dict[str, bytes]:
    """The archives of a host, by group."""
    found = (root / "model").glob("*.tar.gz")
    return {path.name.removesuffix(".tar.gz"): path.read_bytes() for path in found}


def metrics(root: Path, host: int = 1) -> pd.DataFrame:
    """A host's table, by model."""
    table = pd.read_csv(root / "model" / f"metrics-algo-{host}.csv", keep_default_na=False)
    return table.set_index("model")
