def open_invocation(data: bytes, /) -> tuple[bytes, float, str, str, str, bytes] | None:
    """Take one whole invocation of the gate out of a frame of MMS.

    Args:
        data: what was received, and all of it.

    Returns:
        The request's id, until when (CLOCK_MONOTONIC), the model, the content types that are sent
        and accepted (empty: none), the client's body. None for all that is seldom: a part of a
        frame, more than one, another operation, attributes; and where it is no such frame.
    """
