"""What a model's own settings may say, and how each mistake in them is told."""

import json
from typing import Any

import pytest

from handler.errors import Fault, HandlerError
from handler.model_settings import ModelSettings

ALL: dict[str, Any] = {
    "content_type": "text/csv",
    "accept": "application/jsonlines",
    "output": ["predicted_label", "Probability"],
    "threads": 4,
    "ensemble": "vote",
    "limits": {"max_rows": 100, "script_memory_mb": 512, "script_seconds": 5},
}


def test_all() -> None:
    """Each key is read, and comes through a disposable process as it is."""
    settings = ModelSettings.from_json(json.dumps(ALL).encode())
    assert settings == ModelSettings(
        content_type="text/csv",
        accept="application/jsonlines",
        output=("predicted_label", "probability"),
        threads=4,
        ensemble="vote",
        max_rows=100,
        script_memory_mb=512,
        script_seconds=5,
    )
    assert ModelSettings.from_text(settings.to_json()) == settings
    assert ModelSettings.from_json(b"{}") == ModelSettings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON"),
        ('{"threads": 1', "is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"thread": 1}', "the unknown key 'thread'; known are content_type, accept"),
        ('{"max_rows": 1}', "the unknown key 'max_rows'"),
        ('{"limits": 1}', "limits that are no JSON object"),
        ('{"limits": {"rows": 1}}', "the unknown limit 'rows'; known are max_rows"),
        ('{"limits": {"max_rows": 0}}', "max_rows 0: it must be 1 to"),
        ('{"limits": {"script_seconds": 1.5}}', "script_seconds 1.5: it must be 1 to 3600"),
        ('{"threads": 0}', "threads 0: it must be 1 to 1024"),
        ('{"threads": true}', "threads True"),
        ('{"threads": "2"}', "threads '2'"),
        ('{"accept": "text/html"}', "accept 'text/html': it must be application/json or"),
        ('{"accept": null}', "accept None: it must be a text"),
        ('{"content_type": ""}', "content_type '': it must be a text"),
        ('{"output": "probability"}', "output 'probability': it must be a list of texts"),
        ('{"output": []}', "output []"),
        ('{"output": ["chance"]}', "an output 'chance' is not known; select of predicted_label"),
        ('{"ensemble": "median"}', "ensemble 'median': it must be mean or vote or first"),
    ],
)
def test_mistakes(text: str, words: str) -> None:
    """Each is refused in one sentence that says what may be there."""
    with pytest.raises(HandlerError) as error:
        ModelSettings.from_json(text.encode())
    assert error.value.fault is Fault.BAD_MODEL
    assert error.value.message.startswith("mme.json ")
    assert words in error.value.message
    assert "\n" not in error.value.message
