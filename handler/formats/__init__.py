"""How XGBoost's releases have written models, each format a module: bytes in, one shape out."""

import enum


class Format(enum.Enum):
    """How a file is written."""

    JSON = "json"
    UBJ = "ubj"
    BINARY = "binary"
    PICKLE = "pickle"


class FormatError(Exception):
    """What is wrong with the bytes, as the end of a sentence: the file's name, "is", and this."""
