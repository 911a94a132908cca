def read_request(data: bytes) -> tuple[bytes, dict[bytes, bytes], bytes] | None:
    """Read a POST that is whole and plain.

    Returns:
        Target, headers by their lower-case names, body; None if it is anything else.
    """

def read_reply(data: bytes) -> tuple[bytes, bytes] | None:
    """Read an answer with status 200 that is whole and plain.

    Returns:
        Content type and body; None if it is anything else.
    """
