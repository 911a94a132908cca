"""The child that serves: every lane that MMS opens, on one event loop, over the same models."""

import asyncio
import os
import socket
import sys
import traceback
from typing import cast

import uvloop

from handler import frames
from handler.service import SERVICE, Service

_SWITCH_SECONDS = 0.0005  # a thread with long work lets the loop run after so long


def serve(listener: socket.socket) -> None:
    """Accept lanes on ``listener`` and answer them until the process is killed."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    uvloop.run(_serve(listener))


async def _serve(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: Lane(SERVICE), sock=listener)
    await server.serve_forever()


class Lane(asyncio.Protocol):
    """One connection of MMS: it sends one request and waits for its answer."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._received = bytearray()
        self._needed = 1  # bytes, before it is worth a look
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer each whole frame; a lane that sends anything else is closed."""
        frame: bytes | bytearray = data
        if self._received:
            self._received += data
            frame = self._received
        if len(frame) < self._needed:
            return
        try:
            message, _ = frames.read(frame)
        except frames.IncompleteError as incomplete:
            self._needed = incomplete.needed
            self._received = self._received or bytearray(data)
            return
        except frames.FrameError:
            traceback.print_exc()
            self._transport.abort()
            return
        # MMS waits for the answer before it sends the next request: nothing follows.
        self._received, self._needed = bytearray(), 1
        if isinstance(message, frames.Load):
            self._transport.write(frames.loaded(message.name, os.getpid()))
        elif not self._service.takes_long(message.headers, message.body):
            self._transport.write(self._answer(message))
        else:  # it leaves the loop to the other lanes
            work = self._loop.run_in_executor(None, self._answer, message)
            work.add_done_callback(lambda done: self._transport.write(done.result()))

    def _answer(self, message: frames.Invoke) -> bytes:
        answer = self._service.answer(message.headers, message.body)
        return frames.answered(message.request_id, answer.content_type, answer.for_gate())
