"""Requests are checked by the service's model, and refused in AWS's words."""

import json
import subprocess
import sys
from typing import Any

import pytest

from mme.local.control.errors import RequestError
from mme.local.control.validation import check, message, parse, service

NAME = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
MODEL_NAME = r"[a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?"
TAG = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"


def refusal(operation: str, asked: Any) -> tuple[str, str]:
    """The code and the message that a request is refused with."""
    body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    with pytest.raises(RequestError) as raised:
        parse(operation, body)
    status, answer = raised.value.answer()
    assert status == 400
    fields = json.loads(answer)
    return fields["__type"], fields.get("message", "")


# As AWS has worded them to somebody; of the last three, the parts that the source shows.
VIOLATIONS: list[tuple[str, Any, list[str]]] = [
    (
        "CreateModel",
        {"ModelName": "bad_name!"},
        [
            "Value 'bad_name!' at 'modelName' failed to satisfy constraint: Member must satisfy "
            f"regular expression pattern: {MODEL_NAME}"
        ],
    ),
    (
        "CreateModel",
        {"ModelName": "_" * 64},
        [
            f"Value '{'_' * 64}' at 'modelName' failed to satisfy constraint: Member must have "
            "length less than or equal to 63",
            f"Value '{'_' * 64}' at 'modelName' failed to satisfy constraint: Member must satisfy "
            f"regular expression pattern: {MODEL_NAME}",
        ],
    ),
    (
        "DescribeEndpoint",
        {"EndpointName": None},
        ["Value null at 'endpointName' failed to satisfy constraint: Member must not be null"],
    ),
    (
        "CreateEndpointConfig",
        {
            "EndpointConfigName": "c",
            "ProductionVariants": [
                {"VariantName": "a"},
                {"VariantName": "b_", "VolumeSizeInGB": 513, "InitialInstanceCount": 0},
            ],
        },
        [
            "Value 'b_' at 'productionVariants.2.member.variantName' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {NAME}",
            "Value '0' at 'productionVariants.2.member.initialInstanceCount' failed to satisfy "
            "constraint: Member must have value greater than or equal to 1",
            "Value '513' at 'productionVariants.2.member.volumeSizeInGB' failed to satisfy "
            "constraint: Member must have value less than or equal to 512",
        ],
    ),
    (
        "CreateEndpointConfig",
        {"EndpointConfigName": "c", "ProductionVariants": []},
        [
            "Value '[]' at 'productionVariants' failed to satisfy constraint: Member must have "
            "length greater than or equal to 1"
        ],
    ),
    (
        "CreateModel",
        {"ModelName": "m", "PrimaryContainer": {"Mode": "Nope"}},
        [
            "Value 'Nope' at 'primaryContainer.mode' failed to satisfy constraint: Member must "
            "satisfy enum value set: [SingleModel, MultiModel]"
        ],
    ),
    (
        "CreateModel",
        {"ModelName": "m", "PrimaryContainer": {"Environment": {"1": "a", "B": "c"}}},
        [
            "Value '{1=a, B=c}' at 'primaryContainer.environment' failed to satisfy constraint: "
            "Map keys must satisfy constraint: [Member must have length less than or equal to "
            "1024, Member must satisfy regular expression pattern: [a-zA-Z_][a-zA-Z0-9_]*]"
        ],
    ),
    (
        "CreateModel",
        {"ModelName": "m", "PrimaryContainer": {"Environment": {"A": "b" * 1025}}},
        [
            f"Value '{{A={'b' * 1025}}}' at 'primaryContainer.environment' failed to satisfy "
            "constraint: Map value must satisfy constraint: [Member must have length less than or "
            r"equal to 1024, Member must satisfy regular expression pattern: [\S\s]*]"
        ],
    ),
    (
        "DeleteTags",
        {"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:model/m", "TagKeys": ["a", "!"]},
        [
            "Value '[a, !]' at 'tagKeys' failed to satisfy constraint: Member must satisfy "
            "constraint: [Member must have length less than or equal to 128, Member must have "
            f"length greater than or equal to 1, Member must satisfy regular expression pattern: "
            f"{TAG}]"
        ],
    ),
]


@pytest.mark.parametrize(("operation", "asked", "found"), VIOLATIONS)
def test_violations(operation: str, asked: Any, found: list[str]) -> None:
    """All that is wrong is said, in AWS's words."""
    assert refusal(operation, asked) == ("ValidationException", message(found))


def test_message() -> None:
    """The message counts what is wrong."""
    assert message(["a"]) == "1 validation error detected: a"
    assert message(["a", "b"]) == "2 validation errors detected: a; b"


# As AWS has been measured to answer; without a message where it gives none.
WRONG_TYPES: list[tuple[Any, str]] = [
    ({"MaxResults": "1"}, "STRING_VALUE can not be converted to an Integer"),
    ({"MaxResults": True}, "TRUE_VALUE can not be converted to an Integer"),
    ({"MaxResults": [1]}, "Start of list found where not expected"),
    ({"MaxResults": {"a": 1}}, "Start of structure or map found where not expected."),
    ({"NextToken": 1}, "NUMBER_VALUE can not be converted to a String"),
    ({"CreationTimeAfter": "x"}, "STRING_VALUE can not be converted to milliseconds since epoch"),
    ({"MaxResults": 1.5}, "NUMBER_VALUE can not be converted to an Integer"),
    ({"MaxResults": "1", "NameContains": "!"}, "STRING_VALUE can not be converted to an Integer"),
    (b"[]", "Start of list found where not expected"),
    (b"{", ""),
    (b"", ""),
    (b"null", ""),
    (b'"x"', ""),
    (b'{"MaxResults": 1,}', ""),
    (b'{"CreationTimeAfter": NaN}', ""),
    (b'{"CreationTimeAfter": 1e400}', ""),
    (b'{"CreationTimeAfter": 1' + b"0" * 400 + b"}", ""),
    (b'{"MaxResults": 1' + b"0" * 5000 + b"}", ""),
    (b'{"NextToken": "\\ud800"}', ""),
    (b"\xff", ""),
    (b"[" * 100_000, ""),
]


@pytest.mark.parametrize(("asked", "said"), WRONG_TYPES, ids=range(len(WRONG_TYPES)))
def test_wrong_types(asked: Any, said: str) -> None:
    """A value of another type than its field is a SerializationException, before all else."""
    assert refusal("ListModels", asked) == ("SerializationException", said)


def test_wrong_structures() -> None:
    """So is what is no list, no structure and no map where one must be."""
    for asked, said in (
        ({"Containers": "x"}, "Expected list or null"),
        ({"Containers": {}}, "Start of structure or map found where not expected."),
        ({"PrimaryContainer": "x"}, "Expected null"),
        ({"PrimaryContainer": []}, "Start of list found where not expected"),
        ({"PrimaryContainer": {"Environment": 1}}, "Expected null"),
        ({"PrimaryContainer": {"Environment": {"A": None}}}, ""),
        ({"EnableNetworkIsolation": 1}, "NUMBER_VALUE can not be converted to a Boolean"),
    ):
        assert refusal("CreateModel", {"ModelName": "m", **asked}) == (
            "SerializationException",
            said,
        )


def test_what_is_ignored() -> None:
    """Null is nothing, and what AWS does not know is not there."""
    asked: dict[str, Any] = {
        "ModelName": "m",
        "Tags": None,
        "Unknown": [{}],
        "PrimaryContainer": {"Image": "i", "More": 1},
    }
    assert parse("CreateModel", json.dumps(asked).encode()) == {
        "ModelName": "m",
        "PrimaryContainer": {"Image": "i"},
    }


def test_numbers() -> None:
    """Numbers come as their field has them."""
    asked = b'{"MaxResults": 3.0, "CreationTimeAfter": 5}'
    parsed = parse("ListModels", asked)
    assert [type(value) for value in parsed.values()] == [int, float]


def test_letters_of_all_languages() -> None:
    """Tags may have letters of any language, but no signs."""
    tags = [{"Key": "Größe 東京", "Value": "ß"}]
    asked = {"ModelName": "m", "Tags": tags}
    assert parse("CreateModel", json.dumps(asked).encode())["Tags"] == tags
    tags[0]["Value"] = "a\tb"
    kind, said = refusal("CreateModel", asked)
    assert kind == "ValidationException"
    assert "'tags.1.member.value'" in said


def test_long_values_take_no_time() -> None:
    """A value of megabytes is refused by its length, whatever its pattern would take to match."""
    url = "s3://" + "a" * 3_000_000 + "/\n"
    kind, said = refusal(
        "CreateModel", {"ModelName": "m", "PrimaryContainer": {"ModelDataUrl": url}}
    )
    assert kind == "ValidationException"
    assert "length less than or equal to 1024" in said


def test_unknown_operation() -> None:
    """What SageMaker cannot do is an UnknownOperationException."""
    assert refusal("CreateNothing", {}) == ("UnknownOperationException", "")


def test_every_operation_is_checked() -> None:
    """Every operation of SageMaker can be checked, patterns that only Java has included."""
    for operation in service().operation_names:
        _, found = check("sagemaker", operation, {})
        shape = service().operation_model(operation).input_shape
        assert len(found) == (len(shape.required_members) if shape is not None else 0)


def test_runtime() -> None:
    """The names and the headers of an invocation are checked by the runtime's model."""
    right = {"EndpointName": "e-1", "TargetModel": "a b.tar.gz", "Body": b"1"}
    assert check("sagemaker-runtime", "InvokeEndpoint", right) == (right, [])
    wrong = {"EndpointName": "e_1", "TargetModel": " a", "Accept": "ä", "Body": b""}
    _, found = check("sagemaker-runtime", "InvokeEndpoint", wrong)
    assert [one.split(" at ")[1].split(" ")[0] for one in found] == [
        "'endpointName'",
        "'accept'",
        "'targetModel'",
    ]


def test_models_load_lazily() -> None:
    """Importing the control plane reads no model of a service, which takes a while."""
    code = (
        "import mme.local.control.control, mme.local.control.validation as v;"
        "print(v.service.cache_info().misses)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "0\n"
