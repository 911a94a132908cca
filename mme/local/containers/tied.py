"""Runs a command that is told to stop when the process that started it ends, however that ends.

Run as a file, not imported: ``python tied.py PARENT COMMAND …``. Between a fork and the command,
in a process with threads, no Python of ours may run; so this is the command.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def command(*words: str) -> list[str]:
    """The words of a command that ends with this process.

    It must be started by the main thread: the kernel looks at the thread that started it.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *words]


def _run(parent: int, words: list[str]) -> None:
    # SIGTERM, so that `mme serve` still stops its processes and removes its files.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # else it had ended before
        os.execvp(words[0], words)  # noqa: S606  # there is no shell


if __name__ == "__main__":
    _run(int(sys.argv[1]), sys.argv[2:])
