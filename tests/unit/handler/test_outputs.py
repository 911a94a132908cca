"""Selectable output: each figure of each objective, as XGBoost's own package has it."""

import json
import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from numpy.typing import NDArray
from xgboost.sklearn import XGBClassifier

from handler import outputs
from handler.errors import Fault, HandlerError
from handler.resident import Resident, predict
from handler.settings import Settings
from tests.support import FEATURES, saved
from tests.unit.handler import reading
from tests.unit.handler.loading import loaded

CORPUS = Path(__file__).parent.parent.parent / "corpus" / "artifacts"
MANIFEST = json.loads((CORPUS / "manifest.json").read_text())
KEYS = (  # as the managed container has them, and two more
    *("predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores"),
    *("predicted_score", "contributions", "leaf_indices"),
)
OBJECTIVES = [
    *("reg:squarederror", "reg:logistic", "reg:gamma", "reg:absoluteerror", "reg:tweedie"),
    *("count:poisson", "binary:logistic", "binary:logitraw", "binary:hinge", "multi:softmax"),
    *("multi:softprob", "rank:pairwise", "survival:cox", "several targets"),
]
CLASSES = 3
COMPUTED = {  # not by XGBoost itself, so not to the last bit
    ("binary:logitraw", "probability"),
    ("binary:logitraw", "probabilities"),
    ("multi:softmax", "probability"),
    ("multi:softmax", "probabilities"),
}

Array = NDArray[Any]


def table(count: int = 200, seed: int = 0) -> Array:
    """Rows of which some values are missing."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, FEATURES)).astype(np.float32)
    rows[random.random(rows.shape) < 0.15] = np.nan
    return rows


ROWS = table(30, seed=7)
BODY = "".join(",".join("" if v != v else repr(v) for v in row) + "\n" for row in ROWS.tolist())


def targets(objective: str, rows: Array) -> Array:
    """What such a model learns."""
    score = np.nansum(rows, axis=1)
    positive = np.exp(score / 4)
    match objective.partition(":"):
        case ("binary", _, _):
            return score > 0
        case (("multi" | "rank"), _, _):
            return np.digitize(score, [-1, 1])
        case ("reg", _, "logistic"):
            return 1 / (1 + np.exp(-score))
        case ("reg", _, ("gamma" | "tweedie")):
            return positive
        case ("count", _, _):
            return np.floor(positive)
        case ("survival", _, _):
            return np.where(score > 1, -positive, positive)
        case ("several targets", _, _):
            return np.stack([score, 1 - 2 * score], axis=1)
    return score


def trained(objective: str, seed: int = 0, rounds: int = 5, **parameters: Any) -> xgboost.Booster:
    """A real model."""
    rows = table(seed=seed)
    matrix = xgboost.DMatrix(rows, label=targets(objective, rows))
    if objective.startswith("rank:"):
        matrix.set_group([50] * 4)
    settings = {"objective": objective, "max_depth": 3, "nthread": 1, "seed": seed, **parameters}
    if objective.startswith("multi:"):
        settings["num_class"] = CLASSES
    if objective == "several targets":
        settings["objective"] = "reg:squarederror"
    return xgboost.train(settings, matrix, rounds)


def figures(objective: str, booster: xgboost.Booster, rows: Array = ROWS) -> dict[str, Array]:
    """What each key should give, of those that have a meaning."""
    matrix, count = xgboost.DMatrix(rows), len(rows)
    value = booster.predict(matrix)
    margin = booster.predict(matrix, output_margin=True)
    found: dict[str, Array] = {
        "contributions": booster.predict(matrix, pred_contribs=True),
        "leaf_indices": booster.predict(matrix, pred_leaf=True).astype(int).reshape(count, -1),
    }

    def pairs(first: Array, second: Array) -> Array:
        return np.column_stack([first, second])

    match objective:
        case "binary:logistic":
            both = pairs(1 - value, value)
            found |= {"predicted_label": np.where(value > 0.5, 1, 0)}
            found |= {"probability": value, "probabilities": both}
            found |= {"raw_score": value, "raw_scores": both}
        case "binary:logitraw":
            chance = 1 / (1 + np.exp(-value.astype(np.float64)))
            found |= {"predicted_label": np.where(value > 0, 1, 0)}
            found |= {"probability": chance, "probabilities": pairs(1 - chance, chance)}
            found |= {"raw_score": value, "raw_scores": pairs(-value, value)}
        case "binary:hinge":
            found |= {"predicted_label": value.astype(int)}
            found |= {"raw_score": value, "raw_scores": pairs(1 - value, value)}
        case "multi:softmax":
            twin = xgboost.Booster({"nthread": 1}, model_file=bytearray(saved(booster)))
            twin.set_param({"objective": "multi:softprob"})
            chances = twin.predict(matrix)
            found |= {"predicted_label": value.astype(int)}
            found |= {"probability": chances.max(axis=1), "probabilities": chances}
            found |= {"raw_score": margin.max(axis=1), "raw_scores": margin}
        case "multi:softprob":
            found |= {"predicted_label": value.argmax(axis=1)}
            found |= {"probability": value.max(axis=1), "probabilities": value}
            found |= {"raw_score": value.max(axis=1), "raw_scores": value}
        case _:
            found |= {"predicted_score": value}
    if "predicted_label" in found:
        names = list(range(CLASSES if objective.startswith("multi:") else 2))
        found["labels"] = np.array([names] * count)
    return found


def check(objective: str, key: str, cells: list[Any], expected: dict[str, Array]) -> None:
    """The figures of a key are the expected ones, or null where there are none."""
    if key not in expected:
        assert cells == [None] * len(cells)
        return
    whole = key in ("predicted_label", "labels", "leaf_indices")
    flat = np.array(cells, dtype=object).ravel()
    assert {type(cell) for cell in flat} == {int if whole else float}
    assert np.shape(cells) == expected[key].shape
    if (objective, key) in COMPUTED:
        np.testing.assert_allclose(np.array(cells), expected[key], rtol=2e-6)
        assert all(np.float32(cell) == cell for cell in flat)
    elif whole:
        np.testing.assert_array_equal(np.array(cells), expected[key])
    else:  # to the bit, and written so that float32 is what it was
        assert np.array(cells, dtype=np.float32).tobytes() == expected[key].tobytes()


def placed(place: Path, *boosters: xgboost.Booster, **own: Any) -> Path:
    """A model's directory of so many files, with settings of its own."""
    for number, booster in enumerate(boosters):
        (place / f"xgboost-model-{number}").write_bytes(saved(booster))
    if own:
        (place / "mme.json").write_text(json.dumps(own))
    return place


@lru_cache
def model(objective: str, place: Path) -> tuple[xgboost.Booster, Resident]:
    """A model of the objective, and what serves it."""
    booster = trained(objective)
    place.mkdir()
    return booster, loaded(placed(place, booster))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def served(
    asked: Resident, output: str | None = None, body: str = BODY, settings: Settings | None = None
) -> list[dict[str, Any]]:
    """The rows of an answer in JSON to a request that selects by its custom attributes."""
    headers = {"mme-content-type": "text/csv", "accept": "application/json"}
    if output is not None:
        headers["mme-attributes"] = f"output={output}"
    answer = predict(asked, headers, body.encode(), settings or Settings())
    assert (answer.status, answer.content_type) == (200, "application/json")
    document = reading.strict(answer.body)
    assert list(document) == ["predictions"]
    rows: list[dict[str, Any]] = document["predictions"]
    assert len(rows) == body.count("\n")
    return rows


def column(rows: list[dict[str, Any]], key: str) -> list[Any]:
    """One key's figures."""
    return [row[key] for row in rows]


def text_of(rows: Array) -> str:
    """CSV."""
    return "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist())


def test_keys() -> None:
    """The keys are those of the managed container and two more."""
    assert outputs.KEYS == KEYS


# Each key of each objective


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_key(objective: str, key: str, home: Path) -> None:
    """A figure that is asked for alone is XGBoost's own, or null where it has no meaning."""
    booster, asked = model(objective, home / objective)
    rows = served(asked, key)
    assert all(list(row) == [key] for row in rows)
    check(objective, key, column(rows, key), figures(objective, booster))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_all_keys(objective: str, home: Path) -> None:
    """All at once are the same, in the order in which they are asked for."""
    booster, asked = model(objective, home / objective)
    keys = KEYS[::-1]
    rows = served(asked, ",".join(keys))
    expected = figures(objective, booster)
    for key in keys:
        check(objective, key, column(rows, key), expected)
    assert all(list(row) == list(keys) for row in rows)
    one = served(asked, ",".join(keys), BODY[: BODY.index("\n") + 1])
    for key in keys:
        first = {name: figure[:1] for name, figure in expected.items()}
        check(objective, key, column(one, key), first)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_contributions_sum_to_the_margin(objective: str, home: Path) -> None:
    """The contributions of the features and the bias, which is the last, are the margin."""
    booster, asked = model(objective, home / objective)
    found = np.array(column(served(asked, "contributions"), "contributions"))
    margin = booster.predict(xgboost.DMatrix(ROWS), output_margin=True)
    assert found.shape == (*margin.shape, FEATURES + 1)
    np.testing.assert_allclose(found.sum(axis=-1), margin, rtol=1e-4, atol=1e-5)


def test_what_is_between_the_classes(tmp_path: Path) -> None:
    """A chance of exactly a half, and a margin of exactly nothing, are the first class."""
    for objective, base in (("binary:logistic", 0.5), ("binary:logitraw", 0.0)):
        # Every leaf is nothing, so all rows are at the base score.
        booster = trained(objective, reg_alpha=1e9, base_score=base)
        place = tmp_path / objective
        place.mkdir()
        asked = loaded(placed(place, booster))
        rows = served(asked, "predicted_label,probability")
        assert column(rows, "probability") == [0.5] * len(ROWS)
        assert column(rows, "predicted_label") == [0] * len(ROWS)


@pytest.mark.parametrize("objective", ["reg:squarederror", "multi:softprob"])
def test_leaves_of_one_round(objective: str, tmp_path: Path) -> None:
    """One tree is a list of one too, though XGBoost gives no list for it."""
    booster = trained(objective, rounds=1)
    rows = served(loaded(placed(tmp_path, booster)), "leaf_indices")
    expected = booster.predict(xgboost.DMatrix(ROWS), pred_leaf=True).reshape(len(ROWS), -1)
    assert column(rows, "leaf_indices") == expected.astype(int).tolist()
    assert expected.shape[1] == (CLASSES if objective.startswith("multi:") else 1)


def test_forest_and_dart(tmp_path: Path) -> None:
    """Boosters of other kinds have contributions and leaves as well."""
    for name, parameters in {
        "forest": {"num_parallel_tree": 3},
        "dart": {"booster": "dart", "rate_drop": 0.5},
    }.items():
        booster = trained("binary:logistic", **parameters)
        place = tmp_path / name
        place.mkdir()
        rows = served(loaded(placed(place, booster)), ",".join(KEYS))
        expected = figures("binary:logistic", booster)
        for key in KEYS:
            check("binary:logistic", key, column(rows, key), expected)


@pytest.mark.filterwarnings("ignore:.*gblinear.*:UserWarning")
def test_linear(tmp_path: Path) -> None:
    """A linear model has contributions, and no trees whose leaves could be told."""
    booster = trained("reg:squarederror", booster="gblinear", verbosity=0)
    asked = loaded(placed(tmp_path, booster))
    found = column(served(asked, "contributions"), "contributions")
    expected = booster.predict(xgboost.DMatrix(ROWS), pred_contribs=True)
    np.testing.assert_array_equal(np.array(found, np.float32), expected)
    with pytest.raises(HandlerError, match="a linear model has no leaf indices") as error:
        served(asked, "leaf_indices")
    assert error.value.fault is Fault.BAD_REQUEST


@pytest.mark.parametrize("file", ["1.2.1/sq.json", "1.2.1/logit.json", "1.3.3/sq.json"])
def test_leaves_of_an_old_file(file: str, tmp_path: Path) -> None:
    """An old release's file has a number a tree of its own, and contributions of all its margin."""
    case = next(case for case in MANIFEST["artifacts"] if case["file"] == file)
    data = (CORPUS / file).read_bytes()
    (tmp_path / "model.json").write_bytes(data)
    trees = json.loads(data)["learner"]["gradient_booster"]["model"]["trees"]
    rows = np.array(MANIFEST["rows"][case["rows"]], np.float32)
    found = served(loaded(tmp_path), "leaf_indices,contributions", text_of(rows))
    booster = xgboost.Booster({"nthread": 1, "verbosity": 0}, model_file=bytearray(data))
    matrix = xgboost.DMatrix(rows)
    leaves = column(found, "leaf_indices")
    assert {len(row) for row in leaves} == {len(trees)}
    assert leaves == booster.predict(matrix, pred_leaf=True).astype(int).tolist()
    contributions = np.array(column(found, "contributions"))
    margin = booster.predict(matrix, output_margin=True)
    np.testing.assert_allclose(contributions.sum(axis=1), margin, rtol=1e-5, atol=1e-5)
    expected = booster.predict(matrix, pred_contribs=True)
    np.testing.assert_allclose(contributions, expected, rtol=1e-4, atol=1e-5)


# Labels that the file knows


def wrapped(booster: xgboost.Booster, classes: Array, **state: Any) -> bytes:
    """A pickled wrapper; without scikit-learn it can be made in no other way."""
    wrapper = object.__new__(XGBClassifier)
    wrapper.__dict__.update(_Booster=booster, classes_=classes, **state)
    return pickle.dumps(wrapper)


@pytest.mark.parametrize(
    ("objective", "names"),
    [
        ("binary:logistic", ["no", "yes"]),
        ("binary:logitraw", [-1, 1]),
        ("binary:hinge", [2.5, 7.0]),
        ("multi:softmax", ["a,b", 'c"d', "é"]),
        ("multi:softprob", ["low", "middle", "high"]),
        ("multi:softprob", [10, 20, 40]),
    ],
)
def test_labels(objective: str, names: list[Any], tmp_path: Path) -> None:
    """Labels are the names that a wrapper's pickle has for its classes."""
    booster = trained(objective)
    data = wrapped(booster, np.array(names, object))
    (tmp_path / "model.pkl").write_bytes(data)
    rows = served(loaded(tmp_path), "labels,predicted_label")
    assert column(rows, "labels") == [names] * len(ROWS)
    numbers = figures(objective, booster)["predicted_label"]
    assert len(set(numbers.tolist())) == len(names)
    assert column(rows, "predicted_label") == [names[number] for number in numbers]


def test_labels_and_best_rounds(tmp_path: Path) -> None:
    """A wrapper's figures are all of its best rounds, and of its own missing value."""
    booster = trained("multi:softprob", rounds=6)
    booster.set_attr(best_iteration="1")
    data = wrapped(booster, np.array(["x", "y", "z"]), best_iteration=1, missing=-9.0)
    (tmp_path / "model.pkl").write_bytes(data)
    rows = served(loaded(tmp_path), "predicted_label,probabilities,leaf_indices,contributions")
    expected = figures("multi:softprob", booster[:2])
    for key in ("probabilities", "leaf_indices", "contributions"):
        check("multi:softprob", key, column(rows, key), expected)
    assert column(rows, "predicted_label") == ["xyz"[i] for i in expected["predicted_label"]]
    filled = text_of(np.where(np.isnan(ROWS), np.float32(-9), ROWS))
    asked = loaded(tmp_path)
    assert served(asked, "probabilities,contributions", filled) == served(
        asked, "probabilities,contributions"
    )


@pytest.mark.parametrize("file", ["0.90/w_multi.pkl", "1.0.2/w_multi.joblib", "0.90/w_bin.pkl"])
def test_labels_of_old_wrappers(file: str, tmp_path: Path) -> None:
    """A wrapper of an old release has its labels, and the writer's own choice among them."""
    case = next(case for case in MANIFEST["artifacts"] if case["file"] == file)
    (tmp_path / Path(file).name).write_bytes((CORPUS / file).read_bytes())
    rows = np.array(MANIFEST["rows"][case["rows"]], np.float32)
    found = served(loaded(tmp_path), "predicted_label,labels,probabilities", text_of(rows))
    chances = np.array(case["expected"])
    if chances.ndim == 1:
        chances = np.stack([1 - chances, chances], axis=1)
    assert column(found, "labels") == [list(range(chances.shape[1]))] * len(rows)
    assert column(found, "predicted_label") == chances.argmax(axis=1).tolist()
    np.testing.assert_allclose(column(found, "probabilities"), chances, rtol=1e-5, atol=1e-7)


# Who selects


def test_precedence(tmp_path: Path) -> None:
    """The request's keys count before the model's, and those before the container's."""
    booster = trained("binary:logistic")
    for name, said in {"plain": {}, "own": {"output": ["Labels", " probability "]}}.items():
        (tmp_path / name).mkdir()
        placed(tmp_path / name, booster, **said)
    plain, own = loaded(tmp_path / "plain"), loaded(tmp_path / "own")

    def keys(asked: Resident, wish: str | None = None, output: tuple[str, ...] = ()) -> list[str]:
        return list(served(asked, wish, settings=Settings(output=output))[0])

    container = ("raw_score",)
    assert keys(plain, output=container) == ["raw_score"]
    assert keys(own) == ["labels", "probability"]
    assert keys(own, output=container) == ["labels", "probability"]
    assert keys(own, "predicted_label", container) == ["predicted_label"]
    assert keys(plain, "predicted_label", container) == ["predicted_label"]
    for nothing in ("", " , "):  # selects nothing, so what would be without it counts
        assert keys(own, nothing, container) == ["labels", "probability"]
        assert keys(plain, nothing, container) == ["raw_score"]


def test_nothing_selected(tmp_path: Path) -> None:
    """Who selects nothing gets the predictions alone."""
    booster = trained("binary:logistic")
    asked = loaded(placed(tmp_path, booster))
    headers = {"mme-content-type": "text/csv"}
    expected = booster.predict(xgboost.DMatrix(ROWS)).tolist()
    for attributes in (None, "", "output=", "trace=7;x", "outputs=labels"):
        more = {} if attributes is None else {"mme-attributes": attributes}
        answer = predict(asked, headers | more, BODY.encode(), Settings())
        assert reading.strict(answer.body) == expected


@pytest.mark.parametrize(
    "attributes",
    [
        "output=predicted_label,probability",
        "OUTPUT = Predicted_Label , PROBABILITY,",
        "trace=output;output=predicted_label,probability;x=y",
        ";output=predicted_label,probability,predicted_label",
    ],
)
def test_attributes(attributes: str, home: Path) -> None:
    """Custom attributes are read loosely, and those of the client's own are left alone."""
    _, asked = model("binary:logistic", home / "binary:logistic")
    headers = {"mme-content-type": "text/csv", "mme-attributes": attributes}
    answer = predict(asked, headers, BODY.encode(), Settings())
    (row, *_) = reading.strict(answer.body)["predictions"]
    assert list(row) == ["predicted_label", "probability"]


@pytest.mark.parametrize("output", ["score", "predicted_label,prob", "x" * 5000, "probability="])
def test_unknown_key(output: str, home: Path) -> None:
    """A key that is not known is the client's mistake, and the answer lists those that are."""
    _, asked = model("binary:logistic", home / "binary:logistic")
    with pytest.raises(HandlerError, match="is not known") as error:
        served(asked, output)
    assert error.value.fault is Fault.BAD_REQUEST
    assert all(key in error.value.message for key in KEYS)
    assert len(error.value.message) < 300


def test_most_rows(tmp_path: Path) -> None:
    """A model's own limit of rows counts whatever is selected."""
    count = len(ROWS)
    booster = trained("binary:logistic")
    asked = loaded(placed(tmp_path, booster, limits={"max_rows": count}))
    assert len(served(asked, "labels")) == count
    more = BODY + BODY[: BODY.index("\n") + 1]
    words = f"{count + 1} rows; this model takes at most {count}"
    for output in ("labels", ""):
        with pytest.raises(HandlerError, match=words) as error:
            served(asked, output, more)
        assert error.value.fault is Fault.BAD_REQUEST


def test_answer_too_long(home: Path) -> None:
    """A selection that makes the answer too long is refused, where the predictions are not."""
    _, asked = model("binary:logistic", home / "binary:logistic")
    settings = Settings(max_response_bytes=2000)
    served(asked, "probability", settings=settings)
    with pytest.raises(HandlerError, match="bytes, at most are 2000") as error:
        served(asked, "contributions", settings=settings)
    assert error.value.fault is Fault.BAD_REQUEST


# Several files


def together(boosters: list[xgboost.Booster], **how: bool) -> Array:
    """What each of them predicts, and all together on the average."""
    each = [booster.predict(xgboost.DMatrix(ROWS), **how) for booster in boosters]
    return np.mean(each, axis=0, dtype=np.float32)


def test_mean(tmp_path: Path) -> None:
    """The figures of several models are made of the mean of their predictions."""
    boosters = [trained("binary:logistic", seed) for seed in (1, 2)]
    asked = loaded(placed(tmp_path, *boosters))
    chance, expected = together(boosters), together(boosters, pred_contribs=True)
    rows = served(asked, "probability,predicted_label,probabilities,contributions")
    assert np.array(column(rows, "probability"), np.float32).tobytes() == chance.tobytes()
    assert column(rows, "predicted_label") == np.where(chance > 0.5, 1, 0).tolist()
    pairs = np.stack([1 - chance, chance], axis=1)
    assert np.array(column(rows, "probabilities"), np.float32).tobytes() == pairs.tobytes()
    np.testing.assert_array_equal(column(rows, "contributions"), expected)


def test_mean_of_classes(tmp_path: Path) -> None:
    """Classes' chances have a mean each, and the largest of those is chosen."""
    boosters = [trained("multi:softprob", seed) for seed in (1, 2, 3)]
    chances = together(boosters)
    rows = served(loaded(placed(tmp_path, *boosters)), "predicted_label,probabilities")
    assert np.array(column(rows, "probabilities"), np.float32).tobytes() == chances.tobytes()
    assert column(rows, "predicted_label") == chances.argmax(axis=1).tolist()


@pytest.mark.parametrize("objective", ["multi:softmax", "binary:hinge"])
@pytest.mark.parametrize("own", [{}, {"ensemble": "vote"}])
@pytest.mark.parametrize("count", [2, 3])
def test_vote(objective: str, own: dict[str, str], count: int, tmp_path: Path) -> None:
    """Classes are voted for; of several with as many votes the lowest is chosen."""
    boosters = [trained(objective, seed, rounds=2) for seed in range(count)]
    each = [booster.predict(xgboost.DMatrix(ROWS)).astype(int) for booster in boosters]
    expected = [int(np.bincount(votes).argmax()) for votes in np.transpose(each)]
    assert any(len(set(votes)) > 1 for votes in np.transpose(each).tolist())
    rows = served(loaded(placed(tmp_path, *boosters, **own)), "predicted_label")
    assert column(rows, "predicted_label") == expected


@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob"])
def test_no_vote_without_classes(objective: str, tmp_path: Path) -> None:
    """Models whose predictions are no classes cannot vote; that is said at the load."""
    boosters = [trained(objective, seed) for seed in (1, 2)]
    with pytest.raises(HandlerError, match=objective) as error:
        loaded(placed(tmp_path, *boosters, ensemble="vote"))
    assert error.value.fault is Fault.BAD_MODEL
    (tmp_path / "xgboost-model-1").unlink()
    served(loaded(tmp_path), "labels")  # one has nobody to vote against


@pytest.mark.parametrize("own", [{"ensemble": "first"}, {}])
def test_first(own: dict[str, str], tmp_path: Path) -> None:
    """The first file alone answers, by the model's settings or by the container's."""
    boosters = [trained("binary:logistic", seed) for seed in (1, 2)]
    settings = {} if own else {"ensemble": False}
    asked = loaded(placed(tmp_path, *boosters, **own), **settings)
    rows = served(asked, ",".join(KEYS))  # leaves too: it is no ensemble
    expected = figures("binary:logistic", boosters[0])
    for key in KEYS:
        check("binary:logistic", key, column(rows, key), expected)


def test_own_rule_before_the_containers(tmp_path: Path) -> None:
    """A model that says how its files go together is obeyed, whatever the container says."""
    boosters = [trained("binary:logistic", seed) for seed in (1, 2)]
    asked = loaded(placed(tmp_path, *boosters, ensemble="mean"), ensemble=False)
    found = np.array(column(served(asked, "probability"), "probability"), np.float32)
    assert found.tobytes() == together(boosters).tobytes()


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softmax"])
def test_no_leaves_of_several(objective: str, tmp_path: Path) -> None:
    """An ensemble has no leaves, and who asks for them is told so."""
    boosters = [trained(objective, seed) for seed in (1, 2)]
    asked = loaded(placed(tmp_path, *boosters))
    for output in ("leaf_indices", "predicted_label,leaf_indices"):
        with pytest.raises(HandlerError, match="an ensemble has no leaf indices") as error:
            served(asked, output)
        assert error.value.fault is Fault.BAD_REQUEST
