"""Plain HTTP messages, read in one call; with all that is not plain httptools has to do.

Without a compiler at the time of installation there is no such reader, and nothing is plain.
"""

try:
    from container._http import read_reply, read_request
except ImportError:

    def read_request(data: bytes) -> tuple[bytes, dict[bytes, bytes], bytes] | None:
        """No request is plain."""

    def read_reply(data: bytes) -> tuple[bytes, bytes] | None:
        """No answer is plain."""


__all__ = ["read_reply", "read_request"]
