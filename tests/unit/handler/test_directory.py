"""What of a model's directory is a model, and what is refused by its first bytes or its name."""

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from handler import directory, prepare
from handler.directory import Found
from handler.errors import Fault, HandlerError
from handler.formats import Format
from tests.support import saved, train

UBJ, JSON = saved(train()), saved(train(), "json")


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


def names(found: Found) -> list[str]:
    return [model.path.name for model in found.models]


def refusal(place: Path) -> str:
    """Why nothing in it is served, be it told by its directory or by the file as a whole."""
    with pytest.raises(HandlerError) as error:
        list(map(prepare.prepare, directory.find(place).models))
    assert error.value.fault is Fault.BAD_MODEL
    assert "\n" not in error.value.message
    return error.value.message


@pytest.mark.parametrize("data", [UBJ, JSON], ids=["ubj", "json"])
@pytest.mark.parametrize("name", ["m.json", "m.ubj", "xgboost-model", "m.pkl", "model", "m.txt"])
def test_the_bytes_decide(tmp_path: Path, name: str, data: bytes) -> None:
    """Whatever its name, a model is read as what its bytes are."""
    (tmp_path / name).write_bytes(data)
    (one,) = directory.find(tmp_path).models
    assert one.format is (Format.UBJ if data is UBJ else Format.JSON)
    assert (one.data, one.path) == (data, tmp_path / name)
    assert prepare.prepare(one).version == prepare.RUNTIME


def test_json_written_again(tmp_path: Path) -> None:
    """JSON that another program has written, keys and blanks as it likes, is a model still."""
    model = json.loads(JSON)
    text = json.dumps({"version": model["version"], "learner": model["learner"]}, indent=1)
    (one,) = directory.find(put(tmp_path, m_json=text.encode())).models
    assert prepare.prepare(one).data == text.encode()


def test_what_lies_beside(tmp_path: Path) -> None:
    """Hidden files, folders, other files and MMS's manifest are not models."""
    put(tmp_path, m_ubj=UBJ, readme_txt=b"x", MANIFEST_json=JSON, _json=JSON, table_csv=b"1,2\n")
    (tmp_path / "code.json").mkdir()
    assert names(directory.find(tmp_path)) == ["m.ubj"]


def test_json_that_is_no_model(tmp_path: Path) -> None:
    """Beside the model, JSON of another kind does not count."""
    put(tmp_path, m_ubj=UBJ, metrics_json=b'{"rmse": 1}')
    assert names(directory.find(tmp_path)) == ["m.ubj"]


def test_several(tmp_path: Path) -> None:
    """All models count, in the order of their names."""
    put(tmp_path, b_json=JSON, a_ubj=UBJ, c_pkl=UBJ)
    assert names(directory.find(tmp_path)) == ["a.ubj", "b.json", "c.pkl"]


def test_one_of_several_is_none(tmp_path: Path) -> None:
    """A file that says by its name that it is a model, and is none, is not passed over."""
    put(tmp_path, a_ubj=UBJ, b_ubj=b"hello")
    assert "b.ubj is not an XGBoost model" in refusal(tmp_path)
    (tmp_path / "b.ubj").rename(tmp_path / "b.txt")
    assert names(directory.find(tmp_path)) == ["a.ubj"]
    (tmp_path / "b.txt").rename(tmp_path / "xgboost-model-1")
    assert "xgboost-model-1 is not an XGBoost model" in refusal(tmp_path)


def test_too_many(tmp_path: Path) -> None:
    """There is an end to how many models one is made of."""
    for number in range(51):
        (tmp_path / f"{number}.ubj").write_bytes(UBJ)
    assert "more than 50 model files" in refusal(tmp_path)


def test_script(tmp_path: Path) -> None:
    """A script is found in its folder alone, under the name that it has to have."""
    put(tmp_path, m_ubj=UBJ, inference_py=b"")
    assert directory.find(tmp_path).script is None
    (tmp_path / "code").mkdir()
    put(tmp_path / "code", other_py=b"")
    assert directory.find(tmp_path).script is None
    assert directory.find(tmp_path, "other.py").script == tmp_path / "code" / "other.py"
    (tmp_path / "m.ubj").unlink()
    assert directory.find(tmp_path, "other.py").models == ()
    assert "no model file" in refusal(tmp_path)


def test_settings(tmp_path: Path) -> None:
    """The settings are read, and are no model."""
    put(tmp_path, m_ubj=UBJ, mme_json=b'{"threads": 2}')
    found = directory.find(tmp_path)
    assert (names(found), found.settings.threads) == (["m.ubj"], 2)
    put(tmp_path, mme_json=b'{"thread": 2}')
    assert "mme.json has the unknown key 'thread'" in refusal(tmp_path)
    put(tmp_path, mme_json=b" " * 2**16 + b"{}")
    assert "mme.json has 65538 bytes" in refusal(tmp_path)


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
            directory.find(path)
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
        (b"binf" + bytes(200), "damaged"),
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
    (one,) = directory.find(put(tmp_path, m_ubj=data)).models
    major, minor, patch = prepare.RUNTIME
    with pytest.raises(HandlerError, match="was saved by XGBoost"):
        prepare.prepare(one, runtime=(major, minor - 1, 99))
    again = prepare.prepare(one, runtime=(major, minor, patch - 1))
    assert again.version == prepare.RUNTIME


def test_links(tmp_path: Path) -> None:
    """A link within the directory is followed, one that leaves it is not."""
    outside, inside = tmp_path / "outside.ubj", tmp_path / "model"
    outside.write_bytes(UBJ)
    (inside / "versions").mkdir(parents=True)
    (inside / "versions" / "1").write_bytes(UBJ)
    (inside / "m.ubj").symlink_to("versions/1")
    assert directory.find(inside).models[0].data == UBJ
    (inside / "m.ubj").unlink()
    (inside / "m.ubj").symlink_to(outside)
    assert "link that leaves the model directory" in refusal(inside)


def test_pipes(tmp_path: Path) -> None:
    """A named pipe does not hold the loader."""
    os.mkfifo(tmp_path / "m.ubj")
    assert "not a regular file" in refusal(tmp_path)
