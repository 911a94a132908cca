"""Which format a file is of, by its bytes: its name says nothing."""

import re

from handler.formats import Format, binary, pickles

# Somewhere in the first sixteen bytes of every other format is a zero; JSON has none.
_JSON_HEAD = re.compile(rb'\s*\{\s*"')
_UBJ_HEAD = b"{L"
_HEAD_BYTES, _LENGTH_BYTES = 16, 8


def sniff(data: bytes) -> Format | None:
    """Tell a file's format.

    A binary without magic (0.90 to 1.0) begins with its base score, which can be any bytes, those
    of the other formats among them; so its header is looked at, too.

    Args:
        data: the file, whole or at least its first kilobyte.

    Returns:
        The format that it begins as, sound or not; None for what is no model.
    """
    if data.startswith(_UBJ_HEAD):
        start = len(_UBJ_HEAD)
        size = int.from_bytes(data[start : start + _LENGTH_BYTES], "big")
        is_binary = size > len(data) and binary.looks(data)
        return Format.BINARY if is_binary else Format.UBJ
    if _JSON_HEAD.match(data) and b"\0" not in data[:_HEAD_BYTES]:
        return Format.JSON
    if binary.looks(data):
        return Format.BINARY
    return Format.PICKLE if pickles.is_pickle(data) else None
