"""``mme convert``: what is written predicts the same, and nothing else on the disk is harmed."""

import gzip
import io
import json
import os
import pickle
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from handler import directory
from handler.artifact import Artifact
from handler.booster import runtime_version
from handler.formats import Format, ubj
from handler.model import Model, Part, load_model
from handler.prepare import prepare
from handler.traits import Traits
from mme import artifacts, cli, opened, rewrite
from mme.apart import Apart, RefusedError
from mme.facts import ORIGIN

CORPUS = Path(__file__).parent.parent.parent / "corpus" / "artifacts"
MANIFEST = json.loads((CORPUS / "manifest.json").read_text())
RUNTIME = ".".join(map(str, runtime_version()))
READERS = {"ubj": ubj.loads, "json": json.loads}
SERVED = [one for one in MANIFEST["artifacts"] if one["promise"][RUNTIME] in ("bits", "1e-6")]


def booster(rounds: int = 3, seed: int = 1, **more: Any) -> xgboost.Booster:
    """A model of two features."""
    random = np.random.default_rng(seed)
    data = xgboost.DMatrix(random.normal(size=(60, 2)), random.integers(0, 2, 60))
    return xgboost.train({"max_depth": 2, "nthread": 1, **more}, data, rounds)


def old_pickle(**state: Any) -> bytes:
    """A classifier's pickle, as scikit-learn's users have them; early stopping at round 4 of 9."""
    own = booster(9, objective="binary:logistic")
    own.set_attr(best_iteration="3")
    wrapper = xgboost.XGBClassifier.__new__(xgboost.XGBClassifier)  # scikit-learn is not needed
    wrapper.__dict__ |= {"_Booster": own, "missing": np.nan, "n_classes_": 2, **state}
    return pickle.dumps(wrapper)


def served(place: Path) -> tuple[Model, Traits]:
    """What the container would make of a directory's files."""
    parts = [(one.path.name, prepare(one)) for one in directory.find(place).models]
    model = load_model([Part(name, ready.data, ready.traits) for name, ready in parts], 1)
    return model, parts[0][1].traits


def served_file(path: Path) -> tuple[Model, Traits]:
    """What the container would make of one file, or of an archive."""
    with opened.opened(path, opened.kind(path)) as place:
        return served(place)


def rows_of(one: dict[str, Any], missing: float | None) -> Any:
    """The manifest's rows for a file; NaN where its wrapper took another number for that."""
    rows = np.array(MANIFEST["rows"][one["rows"]], dtype=np.float32)
    if missing is not None:
        rows[rows == np.float32(missing)] = np.nan
    return rows


def as_promised(one: dict[str, Any], got: Any) -> bool:
    """Whether predictions are those of the file's writer, as the manifest promises."""
    want = np.array(one["expected"], dtype=np.float32).reshape(got.shape)
    if one["sorted_ok"]:
        want, got = np.sort(want, axis=1), np.sort(got, axis=1)
    if one["promise"][RUNTIME] == "bits":
        return bool(got.tobytes() == want.tobytes())
    return bool(np.allclose(got, want, rtol=1e-6, atol=0))


def convert(*words: str | Path) -> int:
    """Run the command."""
    return cli.main(["convert", *map(str, words)])


@pytest.mark.parametrize("form", ["ubj", "json"])
def test_the_corpus(tmp_path: Path, form: str) -> None:
    """Every file that is served becomes a modern one that predicts what its writer predicted.

    The process that the command asks is asked here without the command, to be quick; JSON of
    every sixth.
    """
    new = tmp_path / f"new.{form}"
    with Apart() as apart:
        for one in SERVED[:: 1 if form == "ubj" else 6]:
            place = tmp_path / one["file"].replace("/", "-")
            place.mkdir()
            name = Path(one["file"]).name
            (place / name).write_bytes((CORPUS / one["file"]).read_bytes())
            job = {"place": str(place), "name": name, "form": form, "out": str(new)}
            said = apart.ask("convert", **job)
            model, traits = served_file(new)
            assert traits.rounds == 0
            assert as_promised(one, model.predict(rows_of(one, said["missing"]))), one["file"]
            document = READERS[form](new.read_bytes())
            assert document["version"][:2] == [*runtime_version()][:2]
            origin = document["learner"]["attributes"].get(ORIGIN)
            assert origin == (None if said["same"] else said["origin"])


def first(**about: str) -> dict[str, Any]:
    """The first file of the corpus that is so."""
    return next(one for one in SERVED if about.items() <= one.items())


@pytest.mark.parametrize(
    "about",
    [
        {"format": "legacy binary", "writer": "0.90"},
        {"format": "pickle", "case": "w_early"},
        {"format": "joblib", "case": "w_early"},
        {"format": "JSON", "case": "vecleaf"},
    ],
    ids=str,
)
def test_the_command(
    about: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way: one line what was done, the file, and no other."""
    one = first(**about)
    new = tmp_path / "new.ubj"
    assert convert(CORPUS / one["file"], new) == 0
    said = capsys.readouterr()
    head, line = said.out.splitlines()
    assert head == f"{CORPUS / one['file']} -> {new}"
    assert line.endswith(f" -> UBJ, XGBoost {RUNTIME}: same bits on 100 rows")
    assert [path.name for path in tmp_path.iterdir()] == ["new.ubj"]
    assert new.read_bytes().startswith(b"{L")
    model, _ = served_file(new)
    assert as_promised(one, model.predict(rows_of(one, None)))


def test_a_real_process(tmp_path: Path) -> None:
    """``python -m mme convert`` in a process of its own; a mistake in the command is 2."""
    (tmp_path / "old.ubj").write_bytes(old_pickle())
    words = [sys.executable, "-m", "mme", "convert", "old.ubj", "new.json"]
    for status, error in ((0, ""), (2, "mme convert: new.json is there already: --force")):
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(CORPUS.parent.parent.parent)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr[: len(error)]) == (status, error), done.stderr
    assert json.loads((tmp_path / "new.json").read_text())["version"] == [*runtime_version()]


def test_a_wrapper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrapper predicts up to its best round, a file with all of its rounds: it has no others."""
    old, new = tmp_path / "old.pkl", tmp_path / "new.ubj"
    old.write_bytes(old_pickle())
    assert convert(old, new) == 0
    assert "pickle of XGBClassifier, XGBoost" in (said := capsys.readouterr().out)
    assert ", 4 of 9 rounds -> UBJ" in said
    rows = np.random.default_rng(3).normal(size=(50, 2)).astype(np.float32)
    own = booster(9, objective="binary:logistic")
    expected = own.predict(xgboost.DMatrix(rows), iteration_range=(0, 4))
    assert expected.tobytes() != own.predict(xgboost.DMatrix(rows)).tobytes()
    again = xgboost.Booster(model_file=str(new))
    assert again.num_boosted_rounds() == 4
    assert again.predict(xgboost.DMatrix(rows)).tobytes() == expected.tobytes()
    assert served_file(new)[0].predict(rows).tobytes() == expected.tobytes()
    assert str(again.attr(ORIGIN)).startswith("pickle of XGBClassifier, XGBoost ")


def test_a_plain_booster(tmp_path: Path) -> None:
    """A plain booster keeps all rounds and what it notes of the best: that is how it predicts."""
    own = booster(9)
    own.set_attr(best_iteration="3", mine="yes")
    (tmp_path / "old.pkl").write_bytes(pickle.dumps(own))
    assert convert(tmp_path / "old.pkl", tmp_path / "new.ubj") == 0
    again = xgboost.Booster(model_file=str(tmp_path / "new.ubj"))
    assert again.num_boosted_rounds() == 9
    assert (again.attr("best_iteration"), again.attr("mine")) == ("3", "yes")


def test_missing_and_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A number that stands for a missing value is not dropped silently; labels are said."""
    old, new = tmp_path / "old.pkl", tmp_path / "new.ubj"
    old.write_bytes(old_pickle(missing=-999.0, classes_=np.array(["no", "yes"])))
    assert convert(old, new) == 1
    assert capsys.readouterr().err == (
        f"mme convert: {old}: in old.pkl -999 stands for a missing value, which no such file can "
        "say: serve it as it is; or --drop that, and send empty cells instead\n"
    )
    assert not new.exists()
    assert convert("--drop", old, new) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"mme convert: {old}: not kept: old.pkl: that -999 stands for a missing value",
        f"mme convert: {old}: not kept: old.pkl: the labels no, yes: predicted_label is now "
        "their number",
    ]
    numbered = tmp_path / "numbered.pkl"
    numbered.write_bytes(old_pickle(classes_=np.array([0, 1])))
    assert convert(numbered, tmp_path / "n.ubj") == 0
    assert capsys.readouterr().err == ""


def test_what_is_modern_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is already so is copied to the byte; one that was converted keeps its origin."""
    data = bytes(booster().save_raw("ubj"))
    (tmp_path / "a.ubj").write_bytes(data)
    assert convert(tmp_path / "a.ubj", tmp_path / "b.ubj") == 0
    assert "kept as it is" in capsys.readouterr().out
    assert (tmp_path / "b.ubj").read_bytes() == data
    (tmp_path / "old").write_bytes(old_pickle())
    for old, new in (("old", "c.ubj"), ("c.ubj", "d.json"), ("d.json", "e.ubj")):
        assert convert(tmp_path / old, tmp_path / new) == 0
    origin = xgboost.Booster(model_file=str(tmp_path / "e.ubj")).attr(ORIGIN)
    assert str(origin).startswith("pickle of XGBClassifier")
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        *("a.ubj", "b.ubj", "c.ubj", "d.json", "e.ubj", "old")
    ]
    assert (tmp_path / "d.json").read_bytes().startswith(b'{"')


def archive(path: Path, **files: bytes) -> Path:
    """A model.tar.gz as ``tar`` makes it: ./ before names, folders, times, modes."""
    with tarfile.open(path, "w:gz") as tape:
        folder = tarfile.TarInfo("./code")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tape.addfile(folder)
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mtime, member.mode = len(data), 1_500_000_000, 0o640
            tape.addfile(member, io.BytesIO(data))
    return path


def contents(path: Path) -> dict[str, tuple[bytes, float, int]]:
    """What is in an archive, by name: bytes, time and mode."""
    with tarfile.open(path) as tape:
        files = {member: tape.extractfile(member) for member in tape}
        return {
            member.name: (file.read() if file else b"", member.mtime, member.mode)
            for member, file in files.items()
        }


def test_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An archive's models are converted under their names, all else in it is as it was."""
    others = {
        "mme.json": b'{"ensemble": "mean", "threads": 2}',
        "code/inference.py": b"raise SystemExit('never run here')\n",
        "notes.txt": b"mine",
        "n" * 150: b"a name that tar needs a head of its own for",
    }
    models = {
        "a.json": booster(4, 1).save_raw("json"),
        "b.pkl": pickle.dumps(booster(5, 2)),
        "xgboost-model": bytes(booster(6, 3).save_raw("ubj")),
    }
    old = archive(tmp_path / "old.tar.gz", **others, **{n: bytes(d) for n, d in models.items()})
    new = tmp_path / "new.tar.gz"
    assert convert(old, new) == 0
    said = capsys.readouterr()
    assert said.err == (
        f"mme convert: {old}: not kept: code/inference.py: it is as it was, and may open the model "
        "in its old format\n"
    )
    assert len(said.out.splitlines()) == 4
    before, after = contents(old), contents(new)
    assert list(before) == list(after)
    assert {name for name in before if before[name] != after[name]} == {"./b.pkl"}
    assert after["./b.pkl"][0].startswith(b"{L")
    assert after["./b.pkl"][1:] == before["./b.pkl"][1:]
    rows = np.random.default_rng(3).normal(size=(50, 2)).astype(np.float32)
    one, two = (served_file(path)[0].predict(rows) for path in (old, new))
    assert one.tobytes() == two.tobytes()
    first = new.read_bytes()
    assert convert("--force", old, new) == 0
    assert new.read_bytes() == first


def test_a_name_that_leads_back(tmp_path: Path) -> None:
    """A member whose name goes through a folder and back is that file all the same."""
    old = archive(tmp_path / "old.tar.gz", **{"code/../xgboost-model": old_pickle()})
    new = tmp_path / "new.tar.gz"
    assert convert(old, new) == 0
    (path,) = (name for name in contents(new) if name.endswith("xgboost-model"))
    assert contents(new)[path][0].startswith(b"{L")


def test_a_file_with_holes(tmp_path: Path) -> None:
    """A sparse file in an archive comes out whole."""
    sparse = tmp_path / "holes"
    with sparse.open("wb") as file:
        file.write(b"begin")
        file.truncate(1024 * 1024)
        file.seek(0, os.SEEK_END)
        file.write(b"end")
    (tmp_path / "xgboost-model").write_bytes(old_pickle())
    old, new = tmp_path / "old.tar.gz", tmp_path / "new.tar.gz"
    subprocess.run(
        ["tar", "--sparse", "-czf", old, "-C", tmp_path, "holes", "xgboost-model"], check=True
    )
    assert convert(old, new) == 0
    assert contents(new)["holes"][0] == sparse.read_bytes()


def test_a_file_becomes_an_archive(tmp_path: Path) -> None:
    """A lone file with an archive's name to go to becomes what an endpoint takes."""
    (tmp_path / "old.pkl").write_bytes(old_pickle())
    new = tmp_path / "Houston_TX.tar.gz"
    assert convert(tmp_path / "old.pkl", new) == 0
    ((name, (data, _, _)),) = contents(new).items()
    assert (name, data[:2]) == ("xgboost-model", b"{L")


def test_what_is_there_is_safe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is overwritten that should not be, and what is, is by a whole file."""
    old = tmp_path / "old.pkl"
    old.write_bytes(old_pickle())
    (tmp_path / "link.ubj").symlink_to(old)
    os.link(old, tmp_path / "hard.ubj")
    (tmp_path / "there.ubj").write_bytes(b"mine")
    (tmp_path / "pipe.ubj").symlink_to("/dev/null")
    (tmp_path / "folder").mkdir()
    for out, force, said in (
        ("old.pkl", True, "is the file itself, which is never overwritten"),
        ("link.ubj", True, "is the file itself, which is never overwritten"),
        ("hard.ubj", True, "is the file itself, which is never overwritten"),
        ("there.ubj", False, "is there already: --force overwrites it"),
        ("pipe.ubj", True, "is not a regular file: name the file to write"),
        ("folder", True, "is not a regular file: name the file to write"),
    ):
        words = ["--force"] if force else []
        assert convert(*words, old, tmp_path / out) == 2
        assert capsys.readouterr().err == f"mme convert: {tmp_path / out} {said}\n"
    assert old.read_bytes() == old_pickle()
    assert (tmp_path / "there.ubj").read_bytes() == b"mine"
    assert convert(old, tmp_path / "no" / "new.ubj") == 1
    assert capsys.readouterr().err.endswith("cannot be written: No such file or directory\n")
    assert convert("--force", old, tmp_path / "there.ubj") == 0
    assert (tmp_path / "there.ubj").read_bytes().startswith(b"{L")
    mask = os.umask(0o022)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "there.ubj").stat().st_mode) == 0o666 & ~mask
    assert not list(tmp_path.glob(".*"))


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be converted is one sentence, and leaves nothing."""
    (tmp_path / "text.ubj").write_bytes(b"no model")
    (tmp_path / "m.tar.gz").write_bytes(artifacts.pack({"xgboost-model": b"\x80\x04bad"}))
    archive(tmp_path / "script.tar.gz", **{"code/inference.py": b""})
    (tmp_path / "escape.tar.gz").write_bytes(escaping())
    names = {path.name for path in tmp_path.iterdir()}
    for file, out, status, said in (
        ("x", "new.ubj", 2, "x cannot be read: No such file or directory"),
        (".", "new.ubj", 2, "is a directory: give the model's file, or the model.tar.gz"),
        ("m.tar.gz", "new.ubj", 2, "new.ubj: an archive becomes an archive: name it .tar.gz"),
        ("text.ubj", "new.ubj", 1, "text.ubj is not an XGBoost model"),
        ("m.tar.gz", "new.tar.gz", 1, "xgboost-model is "),
        ("script.tar.gz", "new.tar.gz", 1, "no model beside code/inference.py: nothing to convert"),
        ("escape.tar.gz", "new.tar.gz", 1, "outside the destination"),
    ):
        assert convert(tmp_path / file, tmp_path / out) == status
        error = capsys.readouterr().err
        assert error.startswith("mme convert: ")
        assert said in error
        assert error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == names
    with pytest.raises(SystemExit) as ended:
        convert(tmp_path / "text.ubj")
    assert ended.value.code == 2


def escaping() -> bytes:
    """An archive that would write beside its folder."""
    return artifacts.pack({"xgboost-model": old_pickle(), "../evil": b""})


def test_a_newer_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What this runtime could misread is not converted."""
    document = json.loads(bytes(booster().save_raw("json")))
    document["version"] = [99, 0, 0]
    (tmp_path / "new.json").write_text(json.dumps(document))
    assert convert(tmp_path / "new.json", tmp_path / "out.ubj") == 1
    assert "new.json was saved by XGBoost 99.0.0, this server runs" in capsys.readouterr().err


def test_what_predicts_otherwise_is_refused(tmp_path: Path) -> None:
    """The proof can fail: another model's predictions, or names, are not taken for the same."""

    def prepared(own: xgboost.Booster) -> Any:
        return prepare(Artifact(tmp_path / "m.ubj", Format.UBJ, bytes(own.save_raw("ubj"))))

    one, other, named = booster(3), booster(4), booster(3)
    named.feature_names = ["a", "b"]
    asked = np.random.default_rng(3).normal(size=(50, 2)).astype(np.float32)
    rewrite.check_same("m", prepared(one), prepared(one), asked)
    for two, said in ((other, "a value of it is no longer the same"), (named, "what is known")):
        with pytest.raises(Exception, match=said):
            rewrite.check_same("m", prepared(one), prepared(two), asked)


def test_hostile_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle that would run something is not run by a conversion either."""
    monkeypatch.chdir(tmp_path)  # where it would make its folder
    hostile = CORPUS.parent / "damaged" / "refuse-hostile.pkl"
    assert convert(hostile, tmp_path / "new.ubj") == 1
    assert not any(tmp_path.iterdir())


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that unpacks to too much is refused while it does."""
    monkeypatch.setattr(artifacts.unpack, "__defaults__", (1024**2,))
    (tmp_path / "b.tar.gz").write_bytes(artifacts.pack({"xgboost-model": bytes(2 * 1024**2)}))
    assert convert(tmp_path / "b.tar.gz", tmp_path / "c.tar.gz") == 1
    assert not (tmp_path / "c.tar.gz").exists()


def test_compressed_joblib(tmp_path: Path) -> None:
    """A gzip that joblib made is a model's file, not an archive."""
    (tmp_path / "m.joblib").write_bytes(gzip.compress(old_pickle()))
    assert convert(tmp_path / "m.joblib", tmp_path / "m.ubj") == 0


def test_a_job_that_fails_ends_the_process(tmp_path: Path) -> None:
    """After a file that was refused, the next has a process that saw nothing of it."""
    (tmp_path / "x.ubj").write_bytes(b"{L" + bytes(100))
    with Apart() as apart:
        with pytest.raises(RefusedError, match=r"x\.ubj"):
            apart.ask("convert", place=str(tmp_path), name="x.ubj", form="ubj", out="new")
        assert apart._process is None
