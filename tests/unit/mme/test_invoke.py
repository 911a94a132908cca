"""``mme invoke``: what is refused is one line, with the container's words first."""

import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import Session

from mme import cli, invoke


def refused(code: str, message: str, **more: Any) -> str:
    """What is said of an error of InvokeEndpoint."""
    response: Any = {"Error": {"Code": code, "Message": message}, **more}
    return invoke.refused(ClientError(response, "InvokeEndpoint"), "houses", "eu-west-1")


def test_model_error() -> None:
    """The container's status and sentence, and none of what AWS puts around them."""
    wrapped = 'Received client error (400) from primary with message "…". See https://console.…'
    body = json.dumps({"code": 400, "message": "row 1 has 2 columns, the model has 6"})
    said = refused("ModelError", wrapped, OriginalStatusCode=400, OriginalMessage=body)
    assert said == "400: row 1 has 2 columns, the model has 6"
    said = refused("ModelError", wrapped, OriginalStatusCode=500, OriginalMessage="it\nbroke")
    assert said == "500: it broke (more: mme logs)"
    assert refused("ModelError", "no more").startswith("no status: no more")


def test_model_error_has_these_members() -> None:
    """What is read of a ModelError is in AWS's own description of it."""
    model = Session().get_service_model("sagemaker-runtime")
    assert {"OriginalStatusCode", "OriginalMessage"} <= set(model.shape_for("ModelError").members)


@pytest.mark.parametrize(
    ("code", "message", "says"),
    [
        (
            "ValidationError",
            "Endpoint houses of account 123456789012 not found.",
            "there is no endpoint houses in eu-west-1: mme status, or mme deploy",
        ),
        (
            "ValidationError",
            "Failed to download model data(bucket: b, key: p/c.tar.gz). Please ensure that …",
            "s3://b/p/c.tar.gz is not there, or the endpoint's role may not read it: "
            "mme models list",
        ),
        (
            "ValidationError",
            "Inference Component Name header is … is missing a target model header in the request",
            "which model? --target-model NAME, one of mme models list",
        ),
        ("ValidationError", "something\n else", "something else"),
        ("ModelNotReadyException", "…", "the model is still being loaded: ask again"),
        ("ExpiredToken", "…", "the credentials have expired: log in anew: aws sso login, or new"),
    ],
)
def test_refused(code: str, message: str, says: str) -> None:
    """Each answer that is none is said with its cure."""
    assert refused(code, message).startswith(says)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of AWS's from outside."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")


@pytest.mark.usefixtures("bare")
def test_no_region(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a region nothing is read and nothing is asked."""
    assert cli.main(["invoke", "houses"]) == 2
    assert capsys.readouterr().err == "mme invoke: no region: give --region, or set AWS_REGION\n"


class Terminal(io.TextIOWrapper):
    """Standard input, with somebody at it who has nothing to say."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.usefixtures("bare")
def test_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Who types the command alone is told that it waits for rows; who pipes them in is not."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    monkeypatch.setattr("sys.stdin", Terminal(io.BytesIO()))
    words = ["invoke", "houses", "--region", "eu-west-1"]
    assert cli.main(words) == 2
    assert capsys.readouterr().err.startswith("reading rows from the terminal, until Ctrl-D")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    assert cli.main(words) == 2
    assert "reading" not in capsys.readouterr().err
