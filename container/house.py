"""What all clients' connections share, and what they leave to others."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from container.budget import Budget
from container.keeper import Guest
from container.messages import Request, Response

if TYPE_CHECKING:
    from container.connection import Connection

App = Callable[[Request], Awaitable[Response]]


class Ride(Protocol):
    """A quicker way for one request at a time."""

    def begin(self, data: bytes) -> bool:
        """Take the data, if it is such a request; then call ``finish`` or ``go_on``."""


@dataclass(slots=True)
class House:
    """What all connections share.

    Attributes:
        app: answers requests.
        max_body_bytes: of one request.
        bodies: bytes of all bodies at once.
        guest: the gate as the supervisor's guest; None where there is none.
        connections: that are open.
        quick: gives a connection its quicker way; None where there is none.
    """

    app: App
    max_body_bytes: int
    bodies: Budget
    guest: Guest | None
    connections: set["Connection"]
    quick: Callable[["Connection"], Ride] | None = None
