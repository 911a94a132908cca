"""The row that a model is tried with, and the line that is made of a model's error."""

import pytest

from mme.artifacts import pack
from mme.deploy import smoke
from mme.errors import CommandError
from tests.support import FEATURES, saved, train


@pytest.mark.parametrize("form", ["ubj", "json"])
def test_row(form: str) -> None:
    """It has as many zeros as the model has features."""
    name = {"ubj": "xgboost-model", "json": "model.json"}[form]
    archive = pack({name: saved(train(), form), "README": b"about it"})
    assert smoke.row(archive) == ",".join("0" * FEATURES)


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (b"\x1f\x8bno", "cannot be unpacked"),
        (pack({}), "no model file"),
        (pack({"xgboost-model": b"{}"}), "xgboost-model"),
        (pack({"a.json": b"[]", "b.json": b"[]"}), "a.json is not an XGBoost model"),
        (pack({"code/inference.py": b""}), "no model but a script"),
    ],
    ids=["damaged", "empty", "no model", "two", "script"],
)
def test_row_of_none(archive: bytes, why: str) -> None:
    """What the container would refuse is refused in its words, and one line."""
    with pytest.raises(CommandError, match=why) as error:
        smoke.row(archive)
    assert "\n" not in str(error.value)
    assert "mme-smoke" not in str(error.value)


def test_model_error() -> None:
    """The container's sentence is taken out of what it is wrapped in."""
    response = {
        "Error": {"Code": "ModelError", "Message": "Received client error (400) from primary"},
        "OriginalStatusCode": 400,
        "OriginalMessage": '{\n "code": 400,\n "message": "3 columns; the model has 6"\n}\n',
        "LogStreamArn": "arn:aws:logs:us-east-1:1:log-group:/aws/sagemaker/Endpoints/houses",
    }
    assert smoke.model_error(response) == (
        "3 columns; the model has 6 (400); "
        "more in the log group /aws/sagemaker/Endpoints/houses (mme logs)"
    )
    del response["LogStreamArn"]
    response["OriginalMessage"] = "plain\ntext"
    assert smoke.model_error(response) == "plain text (400)"
    assert smoke.model_error({"Error": response["Error"]}) == (
        "Received client error (400) from primary (no status)"
    )
