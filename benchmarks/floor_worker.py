"""A worker for MMS that answers a constant: what MMS costs without any work done."""

import asyncio
import os
import socket
import sys
from typing import cast

import uvloop

from handler import frames


class Lane(asyncio.Protocol):
    """Answers each frame at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer; the small frames of this benchmark come whole."""
        message, _ = frames.read(data)
        if isinstance(message, frames.Load):
            self._transport.write(frames.loaded(message.name, os.getpid()))
        else:
            self._transport.write(frames.answered(message.request_id, "application/json", b"[1.0]"))


async def serve(path: str) -> None:
    """Listen where MMS looks for its worker."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    server = await asyncio.get_running_loop().create_unix_server(Lane, sock=listener)
    sys.stdout.write(f"[PID] {os.getpid()}\nMMS worker started.\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[sys.argv.index("--sock-name") + 1]))
