"""Files that joblib compressed, unpacked to a bound: a few kilobytes must not become gigabytes."""

import bz2
import lzma
import zlib
from collections.abc import Callable

from handler.formats import FormatError

# Models shrink to a quarter; those of stumps, which are much alike, to a twenty-fifth.
MAX_TIMES = 64
SMALL_BYTES = 16 * 1024**2  # what any file may become: models without a split shrink to a 300th
MAX_BYTES = 2 * 1024**3
_LZMA_BYTES = 128 * 1024**2  # of its dictionary; its highest preset takes 64 MiB

_Decompressor = Callable[[], "zlib._Decompress | bz2.BZ2Decompressor | lzma.LZMADecompressor"]


def _lzma() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_LZMA_BYTES)


# What a file begins with. No pickle begins so.
_KINDS: tuple[tuple[bytes, str, _Decompressor], ...] = (
    *((b"x" + level, "zlib", zlib.decompressobj) for level in (b"\x01", b"\x5e", b"\x9c", b"\xda")),
    (b"\x1f\x8b", "gzip", lambda: zlib.decompressobj(16 + zlib.MAX_WBITS)),
    (b"BZh", "bz2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", "xz", _lzma),
    (b"]\0\0", "lzma", _lzma),
)
_UNREAD = {b"\x04\x22\x4d\x18": "lz4", b"ZF0x": "joblib before 0.10"}


def is_packed(data: bytes) -> bool:
    """Whether ``data`` begins as a file that joblib compressed."""
    return data.startswith((*(magic for magic, _, _ in _KINDS), *_UNREAD))


def kind(data: bytes) -> str:
    """What ``data`` is compressed with, such as ``gzip``; empty for what is not."""
    return next((name for magic, name, _ in _KINDS if data.startswith(magic)), "")


def unpack(data: bytes) -> bytes:
    """Decompress ``data``; what is not compressed is returned as it is.

    Raises:
        FormatError: it is damaged, or grows beyond ``MAX_TIMES`` its size and ``SMALL_BYTES``, or
            beyond ``MAX_BYTES``.
    """
    for magic, name in _UNREAD.items():
        if data.startswith(magic):
            raise FormatError(
                f"compressed with {name}, which is not read here; save the booster with save_model"
            )
    for magic, name, decompressor in _KINDS:
        if data.startswith(magic):
            return _unpack(data, name, decompressor)
    return data


def _unpack(data: bytes, name: str, decompressor: _Decompressor) -> bytes:
    most = min(max(MAX_TIMES * len(data), SMALL_BYTES), MAX_BYTES)
    stream = decompressor()
    try:
        unpacked = stream.decompress(data, most + 1)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        raise FormatError(f"a damaged {name} file; upload it again") from None
    if len(unpacked) > most:
        raise FormatError(
            f"a {name} file that unpacks to more than {most} bytes; upload it uncompressed"
        )
    if not stream.eof:
        raise FormatError(f"a {name} file that ends early; upload it again")
    if stream.unused_data:
        raise FormatError(f"a {name} file that goes on after its end; upload it again")
    return unpacked
