"""An upload in parts: which of them an object is made of, and the checksum that it gets."""

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from moto.s3 import exceptions
from moto.s3.models import FakeMultipart
from moto.s3.utils import compute_checksum
from moto.settings import S3_UPLOAD_PART_MIN_SIZE

from mme.local.aws.file_key import FileKey


def chosen(upload: FakeMultipart, body: Iterable[tuple[int, str]]) -> list[FileKey]:
    """The parts that an object is to be made of, in order."""
    parts: list[FileKey] = []
    for number, etag in body:
        part = upload.parts.get(number)
        if not isinstance(part, FileKey) or part.etag.strip('"') != etag.strip('"'):
            raise exceptions.InvalidPart
        if parts and parts[-1].contentsize < S3_UPLOAD_PART_MIN_SIZE:
            raise exceptions.EntityTooSmall
        parts.append(part)
    if not parts:
        raise exceptions.MalformedXML
    return parts


def checksum(upload: FakeMultipart, parts: Sequence[FileKey]) -> dict[str, Any]:
    """What is kept of the checksum of checksums, if that is the kind that was asked for."""
    algorithm = upload.metadata.get("x-amz-checksum-algorithm")
    if not algorithm or upload.metadata.get("x-amz-checksum-type") == "FULL_OBJECT":
        return {}
    sums = b"".join(base64.b64decode(part.checksum_value or "") for part in parts)
    return {
        "checksum_algorithm": algorithm,
        "checksum_type": "COMPOSITE",
        "checksum_value": compute_checksum(sums, algorithm).decode(),
        "checksum_parts": len(parts),
    }
