"""``mme inspect``: what a file is, whether it loads, and that nothing in it can do any harm."""

import gzip
import io
import json
import pickle
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from handler.booster import runtime_version
from handler.errors import HandlerError
from handler.service import Service
from handler.settings import Settings
from mme import apart, artifacts, cli
from mme.apart import Apart, RefusedError

CORPUS = Path(__file__).parent.parent.parent / "corpus"
MANIFEST = json.loads((CORPUS / "artifacts" / "manifest.json").read_text())
RUNTIME = ".".join(map(str, runtime_version()))
FORMATS = {"legacy binary": "old binary", "joblib": "pickle"}
NAMES = ["year", "square feet"]


def booster(
    objective: str = "reg:squarederror", rounds: int = 3, features: int = 2, **more: Any
) -> bytes:
    """A model as UBJ."""
    random = np.random.default_rng(len(objective))
    rows, labels = random.normal(size=(60, features)), random.integers(0, 2, 60)
    names = NAMES if features == len(NAMES) else None
    data = xgboost.DMatrix(rows, labels, feature_names=names)
    parameters = {"objective": objective, "max_depth": 2, "nthread": 1, **more}
    return bytes(xgboost.train(parameters, data, rounds).save_raw("ubj"))


def reports(capsys: pytest.CaptureFixture[str], *paths: Path, status: int = 0) -> list[Any]:
    """What ``--json`` says of each."""
    assert cli.main(["inspect", "--json", *map(str, paths)]) == status
    said = capsys.readouterr()
    assert said.err == ""
    return [json.loads(line) for line in said.out.splitlines()]


def text(capsys: pytest.CaptureFixture[str], *paths: Path, status: int = 0) -> str:
    """What it says for people."""
    assert cli.main(["inspect", *map(str, paths)]) == status
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def test_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An archive's report says what XGBoost itself says of the model in it."""
    data = booster()
    archive = tmp_path / "Houston_TX.tar.gz"
    archive.write_bytes(artifacts.pack({"xgboost-model": data}))
    (report,) = reports(capsys, archive)
    own = xgboost.Booster(model_file=bytearray(data))
    nodes = len(own.trees_to_dataframe())
    (model,) = report.pop("models")
    assert report == {
        "path": str(archive),
        "kind": "archive",
        "loads": True,
        "error": None,
        "runtime": RUNTIME,
        "ensemble": None,
        "settings": {},
        "script": None,
        "others": [],
    }
    assert 1000 < model.pop("memory_bytes") < 100_000
    assert model == {
        "name": "xgboost-model",
        "format": "UBJ",
        "bytes": len(data),
        "version": RUNTIME,
        "objective": "reg:squarederror",
        "features": 2,
        "names": NAMES,
        "classes": 1,
        "targets": 1,
        "booster": "gbtree",
        "trees": 3,
        "rounds": 3,
        "nodes": nodes,
        "best_iteration": None,
        "rounds_used": None,
        "missing": None,
        "labels": [],
        "wrapper": None,
        "repaired": False,
        "converted_from": None,
        "error": None,
    }
    lines = text(capsys, archive).splitlines()
    assert lines[0] == str(archive)
    assert f"    written by      XGBoost {RUNTIME}" in lines
    assert "    objective       reg:squarederror, one target" in lines
    assert "    features        2: year, square feet" in lines
    assert f"    booster         gbtree: 3 trees in 3 rounds, {nodes} nodes" in lines
    assert "    rounds used     all" in lines
    assert f"  loads here        yes, XGBoost {RUNTIME}" in lines


def test_the_corpus(capsys: pytest.CaptureFixture[str]) -> None:
    """Files of every release and format are told for what they are, and whether they load."""
    artifacts = MANIFEST["artifacts"]
    refused = [one["promise"][RUNTIME].startswith("refuse") for one in artifacts]
    paths = [CORPUS / "artifacts" / one["file"] for one in artifacts]
    told = {}
    found = reports(capsys, *paths, status=int(any(refused)))
    for one, report, no in zip(artifacts, found, refused, strict=True):
        (model,) = report["models"]
        assert report["loads"] is not no, (one["file"], report["error"])
        assert model["format"] == FORMATS.get(one["format"], one["format"])
        assert model["features"] == one["num_feature"]
        assert model["version"].split(".")[:2] == (
            ["before 1", "0"] if one["writer"] == "0.90" else one["writer"].split(".")[:2]
        )
        linear, dart = one["case"].startswith("gblin"), one["case"].startswith("dart")
        assert model["booster"] == ("gblinear" if linear else "dart" if dart else "gbtree")
        if not linear:
            assert 0 < model["rounds"] <= model["trees"] <= model["nodes"]
        wrapped = one["rule"].startswith("wrapper")
        assert (model["wrapper"] or "").startswith("XGB") == wrapped
        told[one["case"], wrapped] = model
    assert told["w_early", True]["rounds_used"] < told["w_early", True]["rounds"]
    assert told["w_early", False]["rounds_used"] is None
    assert told["w_early", False]["best_iteration"] + 1 < told["w_early", False]["rounds"]
    assert told["w_miss", True]["missing"] == -999
    assert told["rf", False]["rounds"] < told["rf", False]["trees"]
    assert told["softprob", False]["classes"] == 3
    assert told["multitgt", False]["targets"] == 2


def test_repairs_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That something had to be changed for this release is said."""
    raw = json.loads((CORPUS / "artifacts" / "1.3.3" / "logitraw.json").read_text())
    raw["version"] = [1, 2, 1]  # whose base score was the same, but meant otherwise
    (tmp_path / "raw.json").write_text(json.dumps(raw))
    paths = tmp_path / "raw.json", CORPUS / "artifacts" / "2.1.4" / "vecleaf.ubj"
    found = [report["models"][0] for report in reports(capsys, *paths)]
    assert [(model["version"], model["repaired"]) for model in found] == [
        ("1.2.1", True),
        ("2.1.4", True),
    ]
    assert "    repaired        yes" in text(capsys, paths[1])


def test_damaged_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged files are refused in the container's own sentence, sound ones are not."""
    monkeypatch.chdir(tmp_path)  # where the hostile pickle would make its folder
    paths = sorted(path for path in (CORPUS / "damaged").iterdir() if path.stem != "manifest")
    found = reports(capsys, *paths, status=1)
    for path, report in zip(paths, found, strict=True):
        verdict = path.name.partition("-")[0]
        assert report["loads"] == (report["error"] is None)
        assert "crashed" not in (report["error"] or "")
        if verdict != "any":
            assert report["loads"] == (verdict == "ok"), path.name
    assert not any(tmp_path.iterdir())
    for path, report in list(zip(paths, found, strict=True))[::5]:
        if not report["loads"]:
            place = tmp_path / path.name
            place.mkdir()
            (place / path.name).write_bytes(path.read_bytes())
            with pytest.raises(HandlerError) as refused:
                Service(Settings()).load("", place, 1e9)
            assert report["error"] == refused.value.message


def test_a_newer_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a file that is refused, what can be known is told all the same."""
    model = json.loads(bytes(xgboost.Booster(model_file=bytearray(booster())).save_raw("json")))
    model["version"] = [99, 0, 0]
    path = tmp_path / "new.json"
    path.write_text(json.dumps(model))
    said = text(capsys, path, status=1)
    assert "    written by      XGBoost 99.0.0\n" in said
    assert "    features        2: year, square feet\n" in said
    assert (
        f"  loads here        no: new.json was saved by XGBoost 99.0.0, this server runs {RUNTIME}"
        in said
    )


def hostile(**fields: Any) -> bytes:
    """An archive with a model, and a member of these fields."""
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w") as archive:
        for name, data in (("xgboost-model", booster()), ("x", b"evil")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if name == "x":
                for field, value in fields.items():
                    setattr(member, field, value)
            archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return gzip.compress(tape.getvalue())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "../evil"}, "outside the destination"),
        ({"name": "/tmp/evil-mme"}, "is an absolute path"),
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0}, "is a link or a device"),
        ({"type": tarfile.LNKTYPE, "linkname": "/etc/passwd", "size": 0}, "is a link or a device"),
    ],
)
def test_hostile_archives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], said: str
) -> None:
    """An archive that reaches outside is refused as everywhere, and nothing is left of it."""
    path = tmp_path / "x.tar.gz"
    path.write_bytes(hostile(**fields))
    (report,) = reports(capsys, path, status=1)
    assert said in report["error"]
    assert not report["loads"]
    assert report["models"] == []
    assert [file.name for file in tmp_path.iterdir()] == ["x.tar.gz"]


def test_a_bomb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive that unpacks to more than may be is refused while it unpacks."""
    monkeypatch.setattr(artifacts.unpack, "__defaults__", (1024**2,))
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(artifacts.pack({"xgboost-model": bytes(2 * 1024**2)}))
    (report,) = reports(capsys, path, status=1)
    assert report["error"] == "the archive is over 1048576 bytes unpacked"


def test_what_kills_its_process() -> None:
    """A model that ends the process is an answer; and the next job has a process again."""
    code = "import os, signal, sys; sys.stdin.readline(); os.kill(os.getpid(), signal.SIGSEGV)"
    with Apart((sys.executable, "-c", code)) as killed:
        for _ in range(2):
            with pytest.raises(RefusedError, match=r"^the model crashed \(SIGSEGV\); save it"):
                killed.ask("inspect", place="x")
    with (
        Apart((sys.executable, "-c", "import sys; sys.exit(7)")) as gone,
        pytest.raises(RefusedError, match=r"^the model crashed \(exit status 7\)"),
    ):
        gone.ask("inspect", place="x")


def test_what_never_ends() -> None:
    """A model that takes too long is refused, and its process is gone."""
    code = "import signal; signal.pause()"
    with Apart((sys.executable, "-c", code), seconds=0.3) as slow:
        with pytest.raises(RefusedError, match=r"^the model did not load in 0\.3 s$"):
            slow.ask("inspect", place="x")
        assert slow._process is None


def test_the_folder_is_not_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules beside a stranger's model are not run."""
    (tmp_path / "numpy.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    (tmp_path / "model.ubj").write_bytes(booster())
    monkeypatch.chdir(tmp_path)
    (report,) = reports(capsys, Path("model.ubj"))
    assert report["loads"]
    assert not Path("ran").exists()


def test_an_ensemble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several files are told of one by one, and how they answer together; also by mme.json."""
    for name, objective, settings, rule in (
        ("mean", "binary:logistic", None, "mean"),
        ("vote", "binary:hinge", None, "vote"),
        ("said", "binary:hinge", {"ensemble": "mean"}, "mean"),
        ("first", "binary:hinge", {"ensemble": "first"}, "first"),
    ):
        files = {f"xgboost-model-{n}": booster(objective, rounds=n + 1) for n in range(2)}
        if settings:
            files["mme.json"] = json.dumps(settings).encode()
        path = tmp_path / f"{name}.tar.gz"
        path.write_bytes(artifacts.pack(files))
        (report,) = reports(capsys, path)
        assert report["ensemble"] == rule
        assert [model["rounds"] for model in report["models"]] == [1, 2]
        assert report["settings"] == (settings or {})
    said = text(capsys, path)
    assert "  ensemble          the first alone of 2 files\n" in said
    assert '  mme.json          {"ensemble": "first"}\n' in said


def test_files_that_do_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each loads, but not all: the container's sentence says why."""
    for name, data in (("a.ubj", booster()), ("b.ubj", booster(features=3))):
        (tmp_path / name).write_bytes(data)
    (report,) = reports(capsys, tmp_path, status=1)
    assert [model["error"] for model in report["models"]] == [None, None]
    assert report["error"].startswith("several model files, and b.ubj does not go with a.ubj")


def test_a_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script is shown and never run; whether it would be is as the environment says."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "code" / "requirements.txt").write_text("")
    (tmp_path / "model.ubj").write_bytes(booster())
    (report,) = reports(capsys, tmp_path, status=1)
    assert report["script"] == "code/inference.py"
    assert report["others"] == ["code/inference.py", "code/requirements.txt"]
    assert "MME_ALLOW_SCRIPTS=1" in report["error"]
    assert report["models"][0]["error"] is None
    monkeypatch.setenv("MME_ALLOW_SCRIPTS", "1")
    assert reports(capsys, tmp_path)[0]["loads"]
    assert ", by its script\n" in text(capsys, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_names_are_only_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What names of a stranger's could do to a terminal, they do not; the JSON has them whole."""
    own = xgboost.Booster(model_file=bytearray(booster()))
    own.feature_names = ["\x1b[2Jgone", "b\nloads here  yes"]
    path = tmp_path / "names.ubj"
    path.write_bytes(bytes(own.save_raw("ubj")))
    assert "2: ?[2Jgone, b?loads here  yes\n" in text(capsys, path)
    assert reports(capsys, path)[0]["models"][0]["names"] == own.feature_names


def test_a_pickle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrapper's pickle says what it is of, its rounds and its labels."""
    own = xgboost.Booster(model_file=bytearray(booster("binary:logistic", rounds=9)))
    own.set_attr(best_iteration="3")
    wrapper = xgboost.XGBClassifier.__new__(xgboost.XGBClassifier)  # scikit-learn is not needed
    wrapper.__dict__ |= {"_Booster": own, "missing": -999.0, "classes_": np.array(["no", "yes"])}
    path = tmp_path / "xgboost-model"
    path.write_bytes(pickle.dumps(wrapper))
    said = text(capsys, path)
    assert "    format          pickle of XGBClassifier, " in said
    assert "    rounds used     the first 4, up to the best\n" in said
    assert "    missing value   NaN and -999\n" in said
    assert "    labels          no, yes\n" in said


def test_an_early_stop_that_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plain booster predicts with all rounds, also where an earlier one was the best."""
    own = xgboost.Booster(model_file=bytearray(booster(rounds=9)))
    own.set_attr(best_iteration="3")
    path = tmp_path / "m.ubj"
    path.write_bytes(bytes(own.save_raw("ubj")))
    assert "    rounds used     all, although the best was number 4\n" in text(capsys, path)


def test_compressed_joblib_is_no_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gzip that joblib made is a model's file; one of no tar at all is refused as a file."""
    own = xgboost.Booster(model_file=bytearray(booster()))
    for name, data in (("m.joblib", pickle.dumps(own)), ("t.ubj", b"text")):
        (tmp_path / name).write_bytes(gzip.compress(data))
    good, bad = reports(capsys, tmp_path / "m.joblib", tmp_path / "t.ubj", status=1)
    assert (good["kind"], good["loads"]) == ("file", True)
    assert (bad["kind"], bad["loads"]) == ("file", False)


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is not there is a mistake in the command; a folder without a model is not."""
    assert cli.main(["inspect", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert error == f"mme inspect: {tmp_path / 'x'} cannot be read: No such file or directory\n"
    (report,) = reports(capsys, tmp_path, status=1)
    assert report["error"].startswith("no model file: found nothing")


def test_the_command_imports_no_model_library() -> None:
    """The developer's own process never has the library that strangers' files can crash."""
    assert apart.COMMAND[0] == sys.executable
    import subprocess

    code = "import sys, mme.inspect, mme.convert; print({'xgboost', 'handler'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"
