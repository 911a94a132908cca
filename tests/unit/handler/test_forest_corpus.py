"""The forest of every model of the corpus, and of none of what is damaged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler import forest
from handler.artifact import Artifact
from handler.errors import HandlerError
from handler.formats.sniff import sniff
from handler.prepare import prepare
from tests.unit.handler import forests

pytestmark = forests.BUILT
CORPUS = Path(__file__).parent.parent.parent / "corpus"
MANIFEST = json.loads((CORPUS / "artifacts" / "manifest.json").read_text())
DAMAGED = sorted((CORPUS / "damaged").glob("*-*"))
COUNT = 300  # rows beside those of the corpus


def newer(case: dict[str, Any]) -> bool:
    """Whether the runtime is older than the writer."""
    return tuple(map(int, case["writer"].split(".")[:2])) > forest.RUNTIME[:2]


@pytest.mark.parametrize("case", MANIFEST["artifacts"], ids=lambda case: case["file"])
def test_artifacts(case: dict[str, Any]) -> None:
    """What any release wrote, in whatever format, is a forest with the bits of XGBoost."""
    data = (CORPUS / "artifacts" / case["file"]).read_bytes()
    form = sniff(data)
    assert form is not None
    if newer(case):
        assert forest.read(data) is None
        return
    prepared = prepare(Artifact(Path(case["file"]), form, data))
    trees = forest.grow(prepared.data, prepared.traits)
    if "gblin" in case["file"]:
        assert trees is None
        return
    grown = forests.Grown(prepared.data, prepared.traits)
    random = np.random.default_rng(1)
    of_corpus = np.array(MANIFEST["rows"][case["rows"]], dtype=np.float32)
    edges = forests.rows_for(random, forests.document_of(prepared.data), COUNT)
    forests.compare(grown, np.concatenate([of_corpus, edges]), (COUNT, 63, 1))


@pytest.mark.parametrize("file", DAMAGED, ids=lambda file: file.name)
def test_damaged(file: Path) -> None:
    """What ``prepare`` refuses has no forest; what has one has XGBoost's bits."""
    data = file.read_bytes()
    read = forest.read(data)
    if file.name.startswith("refuse-"):
        assert read is None
    elif file.name.startswith("ok-"):
        assert read is not None
    if read is not None:
        grown = forests.of_bytes(data)
        rows = forests.rows_for(np.random.default_rng(2), forests.document_of(data), COUNT)
        forests.compare(grown, rows, (COUNT, 1))


def test_versions() -> None:
    """What another release wrote is read only where it means what it says."""
    seen = set()
    for case in MANIFEST["artifacts"]:
        data = (CORPUS / "artifacts" / case["file"]).read_bytes()
        form = sniff(data)
        assert form is not None
        read = forest.read(data)
        if read is None:
            continue
        try:
            prepared = prepare(Artifact(Path(case["file"]), form, data))
        except HandlerError as error:
            pytest.fail(f"{case['file']}: {error.message}")
        assert prepared.data == data, case["file"]
        assert read[1].to_json() == prepared.traits.to_json()
        assert prepared.version >= (1, 3, 1)
        seen.add(prepared.version[:2])
    assert len(seen) > 3


@pytest.mark.parametrize("version", [(9, 0, 0), (1, 2, 9), (1, 3, 0), (0, 90, 0)])
def test_other_versions(version: tuple[int, int, int]) -> None:
    """Nor is a file whose version was changed."""
    data = (CORPUS / "artifacts" / "1.7.6" / "early.ubj").read_bytes()
    document = forests.document_of(data)
    assert forest.read(forests.written(document, "ubj")) is not None
    document["version"] = list(version)
    assert forest.read(forests.written(document, "ubj")) is None
    assert forest.read(forests.written(document, "json")) is None
