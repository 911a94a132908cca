"""Models that an interrupted job has left: an archive each, and beside it what it was made from."""

import hashlib
import json
from pathlib import Path

from mme.training.fit import SUFFIX, Trained

_ABOUT = ".json"


class Checkpoints:
    """The folder ``checkpoints``, which the platform copies to S3 while the job runs, and back.

    Args:
        folder: where the job has one; nothing is kept otherwise.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder if folder.is_dir() else None
        for left in folder.glob(".*"):  # what a killed job has left of an earlier version
            left.unlink(missing_ok=True)

    def keep(self, result: Trained, digest: str) -> None:
        """Keep a model; what it was made from is written last, so half of it is none."""
        if self._folder is None:
            return
        about = {
            "digest": digest,
            "rows": result.rows,
            "rmse": result.rmse,
            "seconds": result.seconds,
            "sha256": hashlib.sha256(result.archive).hexdigest(),
        }
        # Under their names at once: the platform would copy, and keep, files on their way there.
        (self._folder / f"{result.name}{SUFFIX}").write_bytes(result.archive)
        (self._folder / f"{result.name}{_ABOUT}").write_text(json.dumps(about))

    def find(self, name: str, digest: str) -> Trained | None:
        """The model of that name, if it is whole and made from the same data in the same way."""
        if self._folder is None or not name or "/" in name:
            return None
        try:
            about = json.loads((self._folder / f"{name}{_ABOUT}").read_bytes())
            archive = (self._folder / f"{name}{SUFFIX}").read_bytes()
            same = about["digest"] == digest
            if not same or about["sha256"] != hashlib.sha256(archive).hexdigest():
                return None
            return Trained(name, about["rows"], about["rmse"], about["seconds"], archive)
        except (OSError, ValueError, KeyError, TypeError):
            return None
