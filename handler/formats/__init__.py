"""How XGBoost's releases have written models, each format a module: bytes in, one shape out."""


class FormatError(Exception):
    """What is wrong with the bytes, as the end of a sentence about the file."""
