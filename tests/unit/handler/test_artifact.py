"""What is known of an artifact from its bytes, before XGBoost sees them."""

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from handler import artifact
from handler.artifact import Artifact, Format
from handler.errors import Fault, HandlerError
from tests.support import saved, train

UBJ, JSON = saved(train()), saved(train(), "json")
RUNTIME = artifact.RUNTIME


def tar(data: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as file:
        member = tarfile.TarInfo("model.ubj")
        member.size = len(data)
        file.addfile(member, io.BytesIO(data))
    return archive.getvalue()


def put(directory: Path, **files: bytes) -> Path:
    """Write files whose names have their last underscore for a dot."""
    for name, data in files.items():
        (directory / ".".join(name.rsplit("_", 1))).write_bytes(data)
    return directory


def found(directory: Path) -> Artifact:
    """The model in a directory, with all checks of its version."""
    one = artifact.find(directory)
    if one.version is None:
        artifact.check_rewritten(one)
    return one


def refusal(directory: Path) -> str:
    with pytest.raises(HandlerError) as error:
        found(directory)
    assert error.value.fault is Fault.BAD_MODEL
    return error.value.message


@pytest.mark.parametrize("data", [UBJ, JSON], ids=["ubj", "json"])
@pytest.mark.parametrize("name", ["m.json", "m.ubj", "xgboost-model"])
def test_the_bytes_decide(tmp_path: Path, name: str, data: bytes) -> None:
    """Whatever its name, a model is read as what its bytes are."""
    (tmp_path / name).write_bytes(data)
    one = found(tmp_path)
    assert one.format is (Format.UBJ if data is UBJ else Format.JSON)
    assert (one.version, one.data, one.path) == (RUNTIME, data, tmp_path / name)


def test_json_written_again(tmp_path: Path) -> None:
    """JSON that another program has written, keys and blanks as it likes, is a model still."""
    model = json.loads(JSON)
    text = json.dumps({"version": model["version"], "learner": model["learner"]}, indent=1)
    assert found(put(tmp_path, m_json=text.encode())).version is None


def test_what_lies_beside(tmp_path: Path) -> None:
    """Hidden files, folders, other files and MMS's manifest are not models."""
    put(tmp_path, m_ubj=UBJ, readme_txt=b"x", MANIFEST_json=JSON, _json=JSON)
    (tmp_path / "code.json").mkdir()
    assert artifact.find(tmp_path).path.name == "m.ubj"


def test_json_that_is_no_model(tmp_path: Path) -> None:
    """Beside the model, JSON of another kind does not count."""
    put(tmp_path, m_ubj=UBJ, metrics_json=b'{"rmse": 1}')
    assert artifact.find(tmp_path).path.name == "m.ubj"


def test_several(tmp_path: Path) -> None:
    """Of several models none is guessed."""
    assert "several model files: a.ubj, b.json" in refusal(put(tmp_path, a_ubj=UBJ, b_json=JSON))


def test_none(tmp_path: Path) -> None:
    """Without a model the names that were found are named, but not thousands of them."""
    for number in range(50):
        (tmp_path / f"{number}.txt").touch()
    message = refusal(tmp_path)
    assert "no model file: found 0.txt" in message
    assert "and 40 more" in message


def test_no_directory(tmp_path: Path) -> None:
    """A directory that is not there is absent, not broken."""
    for path in (str(tmp_path / "missing"), tmp_path / "a\0b"):
        with pytest.raises(HandlerError, match="no such directory") as error:
            artifact.find(path)
        assert error.value.fault is Fault.MODEL_NOT_FOUND


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (UBJ[:-1], "damaged"),
        (UBJ[: len(UBJ) // 2], "damaged"),
        (JSON[:-1], "damaged"),
        (JSON[: len(JSON) // 2], "damaged"),
        (b"[1]", "not an XGBoost model"),
        (b"hello", "not an XGBoost model"),
        (b'{"a": 1}', "no learner"),
        (b'{"learner": {}, "version": "3.2"}', "no version"),
        (b"\x80\x04\x95", "pickle"),
        (b"binf" + bytes(200), "old binary format"),
        (gzip.compress(UBJ), "gzip archive"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (tar(UBJ), "tar archive"),
    ],
)
def test_refusals(tmp_path: Path, data: bytes, words: str) -> None:
    """What is not a whole model is refused in words that say what it is."""
    assert words in refusal(put(tmp_path, m_ubj=data))


@pytest.mark.parametrize("data", [UBJ, JSON], ids=["ubj", "json"])
def test_a_newer_writer(tmp_path: Path, data: bytes) -> None:
    """A model of a newer minor release is refused, one of a newer patch is not."""
    put(tmp_path, m_ubj=data)
    major, minor, patch = RUNTIME
    with pytest.raises(HandlerError, match="was saved by XGBoost"):
        artifact.find(tmp_path, runtime=(major, minor - 1, 99))
    assert artifact.find(tmp_path, runtime=(major, minor, patch - 1)).version == RUNTIME


@pytest.mark.parametrize(("version", "served"), [("1,2,1", 0), ("1,3,0", 0), ("1,3,1", 1)])
def test_logitraw(tmp_path: Path, version: str, served: bool) -> None:
    """Where the base score of binary:logitraw would be misread, the way to set it right is told."""
    model = json.loads(JSON.replace(b"reg:squarederror", b"binary:logitraw"))
    model["version"] = [int(number) for number in version.split(",")]
    put(tmp_path, m_json=json.dumps(model).encode())
    if served:
        found(tmp_path)
    else:
        assert "set_param('base_score', log(p / (1 - p)))" in refusal(tmp_path)


def test_links(tmp_path: Path) -> None:
    """A link within the directory is followed, one that leaves it is not."""
    outside, inside = tmp_path / "outside.ubj", tmp_path / "model"
    outside.write_bytes(UBJ)
    (inside / "versions").mkdir(parents=True)
    (inside / "versions" / "1").write_bytes(UBJ)
    (inside / "m.ubj").symlink_to("versions/1")
    assert artifact.find(inside).data == UBJ
    (inside / "m.ubj").unlink()
    (inside / "m.ubj").symlink_to(outside)
    assert "link that leaves the model directory" in refusal(inside)


def test_pipes(tmp_path: Path) -> None:
    """A named pipe does not hold the loader."""
    os.mkfifo(tmp_path / "m.ubj")
    assert "not a regular file" in refusal(tmp_path)
