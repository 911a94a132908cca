"""Training jobs as plain data: who gets which key, and the document from state to state."""

import itertools
from typing import Any

from mme.local.training import document as documents
from mme.local.training.plan import shared_out


def test_replicated() -> None:
    """Every host gets every key."""
    assert shared_out(["a", "b"], 2, sharded=False) == [["a", "b"], ["a", "b"]]


def test_sharded() -> None:
    """Each key goes to one host; hosts have about as many, and may have none."""
    keys = [f"k{number}" for number in range(7)]
    shares = shared_out(keys, 3, sharded=True)
    assert sorted(itertools.chain.from_iterable(shares)) == keys
    assert [len(share) for share in shares] == [3, 2, 2]
    assert shared_out(["a"], 3, sharded=True) == [["a"], [], []]


def test_transitions() -> None:
    """Each state ends when the next begins; the last one has an end of its own."""
    document: dict[str, Any] = {"TrainingJobName": "j"}
    for status, secondary in (
        ("InProgress", "Starting"),
        ("InProgress", "Training"),
        ("Stopping", "Stopping"),
        ("Stopped", "Stopped"),
    ):
        document = documents.moved(document, status, secondary)
        assert (document["TrainingJobStatus"], document["SecondaryStatus"]) == (status, secondary)
    steps = document["SecondaryStatusTransitions"]
    assert [step["Status"] for step in steps] == ["Starting", "Training", "Stopping", "Stopped"]
    for step, following in itertools.pairwise(steps):
        assert step["EndTime"] <= following["StartTime"]
    assert steps[-1]["EndTime"] == document["TrainingEndTime"]
    assert document["TrainingStartTime"] == steps[1]["StartTime"]


def test_failed() -> None:
    """A failure has its reason, of which 1024 characters are kept; it need not have begun."""
    document = documents.failed({"TrainingJobName": "j"}, "x" * 2000)
    assert document["FailureReason"] == "x" * 1024
    assert document["TrainingJobStatus"] == document["SecondaryStatus"] == "Failed"
    assert document["TrainingTimeInSeconds"] == 0
