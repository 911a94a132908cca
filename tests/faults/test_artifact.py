"""A. Artifacts that cannot be served, each row of the fault table by its id."""

import json
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from tests.faults.conftest import BUSY_SECONDS, LOAD_SECONDS, ROW, Site, edited, injected, tree
from tests.support import saved, train

CORPUS = Path(__file__).parent.parent / "corpus" / "damaged"
MANIFEST = json.loads((CORPUS.parent / "artifacts" / "manifest.json").read_text())


def test_f01_missing_directory(site: Site) -> None:
    """The directory is missing: 404, "no such directory"."""
    name = site.new_name()
    site.refused_load(404, name, str(site.server.root / "absent" / "model"), "no such directory")


def test_f02_empty_directory(site: Site) -> None:
    """The directory is empty: 500, "no model file"."""
    with site.nothing_left():
        site.refused(500, {}, "no model file")


def test_f03_no_model_in_directory(site: Site) -> None:
    """There is only a readme.txt: 500, with the names found and accepted."""
    site.refused(
        500, {"readme.txt": b"x"}, "found readme.txt", "such as model.ubj or xgboost-model"
    )


def test_f04_several_models(site: Site) -> None:
    """Two models that do not go together: 500, with their names; two that do: their mean."""
    files = {"a.ubj": site.sound, "b.json": saved(train("rank:pairwise"), "json")}
    site.refused(500, files, "several model files", "a.ubj", "b.json")
    boosters = [train(seed=seed) for seed in range(2)]
    url = site.put({f"{n}.ubj": saved(booster) for n, booster in enumerate(boosters)})
    name = site.new_name()
    assert site.client.load(name, url).status == 200
    row = xgboost.DMatrix([[1.0, 2, 3, 4, 5, 6]])
    mean = np.mean([booster.predict(row) for booster in boosters], axis=0)
    assert json.loads(site.client.invoke(name, ROW).body) == mean.tolist()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_f05_json_cut(site: Site, share: float) -> None:
    """JSON that is cut: 500, "damaged: it ends early", and nobody notices."""
    data = saved(train(), "json")
    with site.watched():
        site.refused(500, {"m.json": data[: int(len(data) * share)]}, "damaged: it ends early")


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*.ubj")), ids=lambda path: path.name)
def test_f06_ubj_damaged(site: Site, file: Path) -> None:
    """UBJ that is cut or damaged: 500, "damaged", found out before XGBoost sees it."""
    with site.watched(), site.nothing_left():
        if file.name.startswith("ok-"):
            url = site.put({"m.ubj": file.read_bytes()})
            assert site.client.load(name := site.new_name(), url).status == 200
            assert site.client.unload(name).status == 200
        else:
            site.refused(500, {"m.ubj": file.read_bytes()})


def test_f07_empty_file(site: Site) -> None:
    """The file has no bytes: 500, "empty"; XGBoost would end the process."""
    with site.watched():
        site.refused(500, {"m.ubj": b""}, "is empty")


def test_f08_one_bit_of_json(site: Site) -> None:
    """One bit of JSON is flipped: 500 when a check sees it; else it is as F15."""
    data = saved(train(), "json")
    at = data.index(b'"left_children":[1') + len(b'"left_children":[')
    flipped = data[:at] + bytes([data[at] ^ 0b100]) + data[at + 1 :]
    site.refused(500, {"m.json": flipped}, "damaged")


@pytest.mark.parametrize("child", [10**8, 1000, -2])
def test_f09_child_out_of_range(site: Site, child: int) -> None:
    """A child's index leads nowhere: 500 at the load, "a child is out of range"."""
    bad = edited(lambda model: tree(model)["left_children"].__setitem__(0, child))
    with site.watched():
        site.refused(500, {"m.json": bad}, "a child is out of range")


@pytest.mark.parametrize("node", [1, 2])
def test_f10_cycle(site: Site, node: int) -> None:
    """A child is its own ancestor: 500 at the load, "a cycle"."""

    def change(model: dict[str, Any]) -> None:
        tree(model)["left_children"][node] = 0 if node == 1 else node
        tree(model)["right_children"][node] = 2

    begun = time.monotonic()
    with site.watched():
        site.refused(500, {"m.json": edited(change)}, "cycle")
    assert time.monotonic() - begun < LOAD_SECONDS + BUSY_SECONDS


@pytest.mark.parametrize("index", [10**6, -1])
def test_f11_split_out_of_range(site: Site, index: int) -> None:
    """A split is of a feature that there is not: 500 at the load."""
    bad = edited(lambda model: tree(model)["split_indices"].__setitem__(0, index))
    with site.watched():
        site.refused(500, {"m.json": bad}, "out of range")


F12: dict[str, Callable[[dict[str, Any]], object]] = {
    "split": lambda model: tree(model)["split_indices"].__setitem__(0, 6),
    "threshold": lambda model: tree(model)["split_conditions"].__setitem__(0, float("inf")),
    "tree_info": lambda model: model["learner"]["gradient_booster"]["model"][
        "tree_info"
    ].__setitem__(0, 99),
    "num_class": lambda model: model["learner"]["learner_model_param"].update(num_class="1000000"),
    "num_target": lambda model: model["learner"]["learner_model_param"].update(num_target="1000"),
}


@pytest.mark.parametrize("what", F12)
def test_f12_inconsistent(site: Site, what: str) -> None:
    """Indices one past the end, endless thresholds, wrong counts: 500, "inconsistent"."""
    site.refused(500, {"m.json": edited(F12[what])}, "inconsistent")


@pytest.mark.parametrize("what", ["array", "leaf", "nested"])
def test_f13_lengths_beyond_the_file(site: Site, what: str) -> None:
    """Lengths beyond the file, absurd leaf sizes, endless nesting: 500, refused before XGBoost."""
    sound = site.sound
    if what == "array":
        data = (CORPUS / "refuse-array-length-2p28.ubj").read_bytes()
    elif what == "leaf":
        at = sound.index(b"size_leaf_vectorSL") + len(b"size_leaf_vectorSL") + 8
        data = sound[:at] + b"9" + sound[at + 1 :]
    else:
        data = b"{L" + (1).to_bytes(8, "big") + b"a" + b"[" * 10**6 + sound[-40:]
    with site.watched(), site.nothing_left():
        site.refused(500, {"m.ubj": data}, "damaged")


@pytest.mark.parametrize(("what", "value"), [("num_feature", "0"), ("num_feature", "1")])
def test_f14_no_prediction(site: Site, what: str, value: str) -> None:
    """A model that could never predict: 500 at the load."""
    bad = edited(lambda model: model["learner"]["learner_model_param"].update({what: value}))
    site.refused(500, {"m.json": bad}, "damaged")


def test_f14_base_score(site: Site) -> None:
    """A base score that the objective cannot have: 500 at the load."""
    model = json.loads(saved(train("binary:logistic"), "json"))
    model["learner"]["learner_model_param"]["base_score"] = "[7E0]"
    site.refused(500, {"m.json": json.dumps(model, separators=(",", ":")).encode()}, "m.json")


def test_f15_flipped_leaf(site: Site) -> None:
    """A bit of a leaf is flipped: no structure shows it; it is served as the file says."""
    changed = edited(lambda model: tree(model)["split_conditions"].__setitem__(-1, 0.125))
    url = site.put({"m.json": changed})
    name = site.new_name()
    assert site.client.load(name, url).status == 200
    expected = xgboost.Booster(model_file=bytearray(changed))
    predicted = expected.predict(xgboost.DMatrix([[1.0, 2, 3, 4, 5, 6]]))
    assert json.loads(site.client.invoke(name, ROW).body) == predicted.tolist()


@pytest.mark.parametrize("minor", ["next", "9.9.9"])
def test_f16_newer_release(site: Site, minor: str) -> None:
    """Saved by a newer XGBoost: 500, "saved by X, this server runs Y"."""
    here = [int(part) for part in xgboost.__version__.split(".")]
    version = [here[0], here[1] + 1, 0] if minor == "next" else [9, 9, 9]
    bad = edited(lambda model: model.update(version=version))
    words = f"saved by XGBoost {'.'.join(map(str, version))}", f"runs {xgboost.__version__}"
    site.refused(500, {"m.json": bad}, *words)


def test_f17_no_version(site: Site) -> None:
    """There is no version in the file: 500, "no version"."""
    site.refused(500, {"m.json": edited(lambda model: model.pop("version"))}, "no version")


def answers_as_its_writer(site: Site, file: str) -> None:
    case = next(one for one in MANIFEST["artifacts"] if one["file"] == file)
    name = site.new_name()
    url = site.put({"xgboost-model": (CORPUS.parent / "artifacts" / file).read_bytes()})
    assert site.client.load(name, url).status == 200
    rows = [
        ["" if cell is None else repr(cell) for cell in row]
        for row in MANIFEST["rows"][case["rows"]]
    ]
    answer = site.client.invoke(name, "\n".join(map(",".join, rows)).encode())
    np.testing.assert_array_equal(np.float32(json.loads(answer.body)), np.float32(case["expected"]))


@pytest.mark.parametrize("file", ["0.90/logit.model", "1.2.1/sq.deprecated", "1.7.6/logit.model"])
def test_f18_old_binary(site: Site, file: str) -> None:
    """XGBoost's old binary format, with and without its magic: served; damaged: 500."""
    answers_as_its_writer(site, file)
    data = (CORPUS.parent / "artifacts" / file).read_bytes()
    site.refused(500, {"xgboost-model": data[:-100]}, "xgboost-model is damaged: it ends early")
    site.refused(500, {"xgboost-model": b"binf\0\0\0\0" + bytes(200)}, "damaged")


@pytest.mark.parametrize("file", ["0.90/gblin.pkl", "0.90/w_early.joblib", "1.2.1/logit.pkl"])
def test_f19_old_pickle(site: Site, file: str) -> None:
    """A pickled Booster or wrapper, of any release: its booster is taken out and served."""
    answers_as_its_writer(site, file)


class _Hostile:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("name", ["xgboost-model", "m.ubj", "m.json"])
def test_f20_hostile_pickle(site: Site, tmp_path: Path, name: str) -> None:
    """A pickle that runs a command: 500, and nothing runs, whatever the file is called."""
    canary = tmp_path / "canary"
    site.refused(500, {name: pickle.dumps(_Hostile(canary))}, "pickle")
    assert not canary.exists()


@pytest.mark.parametrize("kind", ["nested", "class", "claim"])
def test_f21_damaged_pickle(site: Site, kind: str) -> None:
    """A pickle that nests, names what is not there or claims 2^40 bytes: 500 at once."""
    data = {
        "nested": b"\x80\x04" + b"]" * 10**6 + b".",
        "class": b"\x80\x04cno.such\nThing\n.",
        "claim": b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x.",
    }[kind]
    begun = time.monotonic()
    with site.watched():
        site.refused(500, {"xgboost-model": data}, "pickle")
    assert time.monotonic() - begun < LOAD_SECONDS + BUSY_SECONDS


def test_f22_link_out_of_the_directory(site: Site, tmp_path: Path) -> None:
    """The model is a symbolic link to a file outside: 500; a hard link is a file like any other."""
    outside = tmp_path / "outside.ubj"
    outside.write_bytes(site.sound)
    name = site.new_name()
    url = site.server.put(name, {})
    (Path(url) / "m.ubj").symlink_to(outside)
    site.refused_load(500, name, url, "is a link that leaves the model directory")
    (Path(url) / "m.ubj").unlink()
    twin = site.server.root / f"{name}.ubj"
    twin.write_bytes(site.sound)
    os.link(twin, Path(url) / "m.ubj")
    assert site.client.load(name, url).status == 200
    site.ask_again(name)


def test_f23_directory_is_a_link(site: Site) -> None:
    """The directory is a link to /etc: 400, as all that is outside the model root."""
    link = site.server.root / site.new_name()
    link.symlink_to("/etc")
    site.refused_load(400, site.new_name(), str(link), "below the model root")


@pytest.mark.parametrize("row", ["f24", "f25"])
def test_f24_f25_manifest(site: Site, tmp_path: Path, row: str) -> None:
    """A MANIFEST.json with a handler of its own: ignored; the model serves, the code never runs."""
    canary = tmp_path / "canary"
    manifest = {"model": {"handler": "evil:handle"}, "runtime": "python"}
    url = Path(site.put({"m.ubj": site.sound, "evil.py": f"open({str(canary)!r},'w')".encode()}))
    home = url / "MAR-INF" if row == "f24" else url
    home.mkdir(exist_ok=True)
    (home / "MANIFEST.json").write_text(json.dumps(manifest))
    name = site.new_name()
    assert site.client.load(name, str(url)).status == 200
    site.ask_again(name)
    assert not canary.exists()


@pytest.mark.parametrize("fault", ["segv", "exit", "exit_0"])
def test_f06_load_crashes(site: Site, fault: str) -> None:
    """XGBoost crashes in the load of a file that no check objects to: 500, "crashed"."""
    with site.nothing_left(), site.watched():
        site.refused(500, {"m.ubj": injected(train(), fault)}, "the model crashed")
