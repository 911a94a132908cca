"""The process of one user's script, and what it and the server say to each other.

The server starts it as a program, so nothing of a server with threads, locks and connections is in
it, and has one connection to it: a request, its answer, and so on. What the script prints goes to
the log. It ends with the thread that started it, whatever the script is doing.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

HEAD = struct.Struct(">4sIQ")  # a mark, the length of a JSON object, the length of a body
MARK = b"mme1"
MAX_OBJECT_BYTES = 64 * 1024
MIB = 1024**2
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


def packed(head: Mapping[str, Any], length: int) -> bytes:
    """The beginning of a message, which a body of so many bytes follows."""
    text = json.dumps(head).encode()
    return HEAD.pack(MARK, len(text), length) + text


def fault_body(status: int, kind: str, message: str) -> bytes:
    """The body of an answer that is a fault, in the form that all of them have."""
    fault = {"code": status, "type": kind, "message": message}
    return json.dumps(fault, indent=2).encode() + b"\n"


def main() -> int:
    """Load a script and answer for it until the server closes the connection, or goes."""
    descriptor, server = int(sys.argv[1]), int(sys.argv[2])
    _belong_to(server)
    os.set_inheritable(descriptor, False)  # programs that the script starts have no part in it
    # Closed when a hook exits, though its threads may go on for long.
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rb") as reader:
        _serve(channel, reader)
    return 0


def _belong_to(server: int) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # it went before the line above
        os._exit(1)
    libc.prctl(_PR_SET_NAME, b"mme-script")
    with contextlib.suppress(OSError):  # the kernel, too, is to take this one first
        Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve(channel: socket.socket, reader: BinaryIO) -> None:
    # With it come numpy and the toolkit: not before this process is sure to end.
    from handler.script_hooks import Script

    script: Script | None = None
    while begun := reader.read(HEAD.size):
        _, head_length, length = HEAD.unpack(begun)
        asked, body = json.loads(reader.read(head_length)), reader.read(length)
        said: dict[str, Any] = {"number": asked["number"]}
        answer = b""
        if script is None:
            script = Script(asked)
            _bound_memory(asked["memory_mb"] * MIB)
            said["failed"] = script.load()
        else:
            status, kind, answer = script.answer(asked, body)
            said |= {"status": status, "content_type": kind}
        del body
        try:
            channel.sendall(packed(said, len(answer)))
            channel.sendall(answer)
        except OSError:
            with contextlib.suppress(Exception):
                traceback.print_exc()
            os._exit(os.EX_PROTOCOL)  # which is how the server knows


def _bound_memory(allowed: int) -> None:
    """Bound what this process allocates from now on; code and files that it maps do not count."""
    status = Path("/proc/self/status").read_text()
    used = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:"))
    most = used * 1024 + allowed
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    sys.exit(main())
