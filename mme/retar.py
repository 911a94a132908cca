"""An archive copied with some of its files exchanged, and all its other members as they are."""

import copy
import gzip
import tarfile
from collections.abc import Mapping
from pathlib import Path

_COMPRESSION = 6
_OF_CONTENT, _OF_HOLES = ("path", "size"), "GNU.sparse."  # records beside a head


def retar(archive: Path, new: Path, names: Mapping[str, str], data: Mapping[str, Path]) -> None:
    """Copy a ``model.tar.gz``. The same input makes the same bytes.

    Args:
        archive: one that ``artifacts.unpack`` has unpacked, and so is sound.
        new: written; what is there is overwritten.
        names: of files at its top, and what each is called in the copy.
        data: what each of these holds in the copy, by its old name.
    """
    with (
        tarfile.open(archive, "r:gz") as old,
        new.open("wb") as file,
        gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tape,
    ):
        for member in old:
            top = member.name.removeprefix("./")
            if not member.isreg():
                tape.addfile(member)
                continue
            made = copy.copy(member)
            made.type = tarfile.REGTYPE  # also of one that was stored with holes
            made.pax_headers = {
                key: value
                for key, value in member.pax_headers.items()
                if key not in _OF_CONTENT and not key.startswith(_OF_HOLES)
            }
            content = old.extractfile(member)
            if top in names:
                made.name, made.size = names[top], data[top].stat().st_size
                content = data[top].open("rb")
            if content is not None:  # which it never is of a file
                with content:
                    tape.addfile(made, content)
