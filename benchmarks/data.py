"""The results of a run, as data: what is in them, and where they are kept."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent / "results" / "peers.json"
OURS, STOCK, MLSERVER = "xgboost-mme", "stock MMS", "MLServer"
FLOOR, UNTUNED, WITHOUT_GATE = "MMS floor", "MMS floor, untuned", "without the gate"
PEERS = (OURS, STOCK, MLSERVER)
THROUGHPUTS = ("8 connections", "32 connections")

Results = dict[str, Any]


def machine() -> dict[str, object]:
    """What it ran on."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(gib, 1),
        "python": platform.python_version(),
        "xgboost": version("xgboost-cpu"),
    }


def save(results: Results) -> None:
    """Keep results as data; those of a part replace that part."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(load() | rounded(results), indent=1) + "\n")


def load() -> Results:
    """What was kept; nothing before the first run."""
    results: Results = json.loads(PATH.read_text()) if PATH.exists() else {}
    return results


def rounded(value: Any) -> Any:
    """Four digits: no more was measured."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def at(results: Results, name: str, loaded: int) -> dict[str, float]:
    """The measurement of a system at a count, or at its largest below that."""
    measured: list[dict[str, float]] = results["cold"][name]["at"]
    return max((one for one in measured if one["loaded"] <= loaded), key=lambda one: one["loaded"])
