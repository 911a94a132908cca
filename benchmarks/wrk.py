"""``wrk`` against one system: the same client, and the same requests, for all."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.systems import System

SCRIPT = Path(__file__).with_name("requests.lua")
MARK = "RESULT "


class Load(NamedTuple):
    """What wrk is to do: so many models in turns or by Zipf's law, rows a request."""

    connections: int = 1
    models: int = 1
    pick: str = "turns"
    rows: int = 1
    prefix: str = "m"


class Seen(NamedTuple):
    """What it saw: requests a second, and milliseconds."""

    rate: float
    median: float
    p90: float
    p99: float


def missing() -> list[str]:
    """A line that says how to get wrk, where it is not there."""
    return [] if shutil.which("wrk") else ["wrk is missing: apt-get install wrk"]


def run(system: System, load: Load, seconds: int) -> Seen:
    """Ask a system for so long.

    Raises:
        RuntimeError: an answer was missing or not 2xx; such figures would mean nothing.
    """
    headers = {"Content-Type": system.content_type, **system.headers}
    with tempfile.NamedTemporaryFile() as body:
        body.write(system.body(load.rows))
        body.flush()
        done = subprocess.run(
            [
                *("wrk", "--threads", "1", "--connections", str(load.connections)),
                *("--duration", f"{seconds}s", "--timeout", "20s", "--script", str(SCRIPT)),
                f"http://127.0.0.1:{system.port}",
            ],
            env={
                **os.environ,
                "BENCH_PATH": system.path,
                "BENCH_MODELS": str(load.models),
                "BENCH_PREFIX": load.prefix,
                "BENCH_PICK": load.pick,
                "BENCH_BODY": body.name,
                "BENCH_HEADERS": "\n".join(f"{k}: {v}" for k, v in headers.items()),
            },
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=True,
        )
    return read(done.stdout, system.name)


def read(output: str, name: str) -> Seen:
    """What wrk's script wrote at the end.

    Raises:
        RuntimeError: as ``run``.
    """
    line = next((line for line in output.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise RuntimeError(f"wrk did not finish with {name}: {output}")
    result = json.loads(line.removeprefix(MARK))
    if result["errors"] or not result["requests"]:
        raise RuntimeError(f"{name}: {result['errors']} of {result['requests']} requests failed")
    rate = result["requests"] / result["seconds"]
    return Seen(rate, result["median"], result["p90"], result["p99"])
