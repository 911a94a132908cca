"""The control plane, asked by boto3 itself: tags, lists, and what is not its own."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.mme.local.plane import (
    ACCOUNT,
    NO_EMULATION,
    REGION,
    Plane,
    arn,
    container,
    make,
    refused,
)


def test_tags(sagemaker: Any) -> None:
    """Tags are added, replaced by key, listed and deleted, and go with their resource."""
    make(sagemaker)
    endpoint = arn("endpoint", "e")
    sagemaker.add_tags(ResourceArn=endpoint, Tags=[{"Key": "a", "Value": "1"}])
    sagemaker.add_tags(
        ResourceArn=endpoint, Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": ""}]
    )
    assert sagemaker.list_tags(ResourceArn=endpoint)["Tags"] == [
        {"Key": "a", "Value": "2"},
        {"Key": "b", "Value": ""},
    ]
    sagemaker.delete_tags(ResourceArn=endpoint, TagKeys=["a", "none"])
    assert sagemaker.list_tags(ResourceArn=endpoint)["Tags"] == [{"Key": "b", "Value": ""}]
    many = [{"Key": str(number), "Value": ""} for number in range(50)]
    with refused(f'A resource has at most 50 tags: "{endpoint}".'):
        sagemaker.add_tags(ResourceArn=endpoint, Tags=many)
    sagemaker.delete_endpoint(EndpointName="e")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="e")
    with refused(f'Could not find endpoint "{endpoint}".'):
        sagemaker.list_tags(ResourceArn=endpoint)
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="e")
    assert sagemaker.list_tags(ResourceArn=endpoint)["Tags"] == []


def test_lists(sagemaker: Any) -> None:
    """Lists have what is asked for, in the order asked for, the newest first by default."""
    names = [f"m-{number}" for number in range(25)]
    for name in names:
        sagemaker.create_model(ModelName=name, Containers=[container()])

    def listed(**asked: Any) -> list[str]:
        pages = sagemaker.get_paginator("list_models").paginate(**asked)
        return [one["ModelName"] for page in pages for one in page["Models"]]

    assert listed() == names[::-1]
    assert listed(SortOrder="Ascending", MaxResults=7) == names
    assert listed(SortBy="Name", SortOrder="Ascending") == sorted(names)
    assert listed(NameContains="-2") == ["m-24", "m-23", "m-22", "m-21", "m-20", "m-2"]
    middle = sagemaker.describe_model(ModelName="m-7")["CreationTime"]
    after = listed(CreationTimeAfter=middle)
    before = listed(CreationTimeBefore=middle)
    assert sorted(after + before) == sorted(names)
    assert "m-7" in after
    assert len(sagemaker.list_models()["Models"]) == 10
    with refused("Invalid NextToken: it is none of this list."):
        sagemaker.list_models(NextToken="any")


def test_pages_hold_still(sagemaker: Any) -> None:
    """What comes and goes between two pages makes no other resource appear twice or not at all."""
    for number in range(6):
        sagemaker.create_model(ModelName=f"m-{number}", Containers=[container()])
    first = sagemaker.list_models(MaxResults=3)
    sagemaker.create_model(ModelName="new", Containers=[container()])
    sagemaker.delete_model(ModelName="m-3")
    second = sagemaker.list_models(MaxResults=3, NextToken=first["NextToken"])
    shown = [one["ModelName"] for one in (*first["Models"], *second["Models"])]
    assert shown == ["m-5", "m-4", "m-3", "m-2", "m-1", "m-0"]
    assert "NextToken" not in second


def test_endpoints_by_status(plane: Plane, sagemaker: Any) -> None:
    """Endpoints are listed by their status, too."""
    make(sagemaker)
    make(sagemaker, name="f")
    plane.do(plane.endpoints.fail("f", "any"))

    def listed(**asked: Any) -> list[str]:
        return [one["EndpointName"] for one in sagemaker.list_endpoints(**asked)["Endpoints"]]

    assert listed(StatusEquals="Failed") == ["f"]
    assert listed(SortBy="Status", SortOrder="Descending") == ["e", "f"]
    assert listed(LastModifiedTimeBefore=datetime(2020, 1, 1, tzinfo=UTC)) == []
    assert listed(LastModifiedTimeAfter=datetime(2020, 1, 1, tzinfo=UTC)) == ["f", "e"]


def test_not_emulated(plane: Plane, sagemaker: Any) -> None:
    """What nobody here implements is refused at once: boto3 does not try it again."""
    with refused(f"ListInferenceComponents {NO_EMULATION}"):
        sagemaker.list_inference_components()
    assert plane.requests == 1


@pytest.mark.usefixtures("sagemaker")
def test_unreadable(plane: Plane) -> None:
    """What is no request of the operation is an answer, too."""
    for operation, body, kind in (
        ("Nope", b"{}", "UnknownOperationException"),
        ("CreateModel", b"{", "SerializationException"),
        ("CreateModel", b'{"ModelName": 1}', "SerializationException"),
        ("AddTags", b"[]", "SerializationException"),
    ):
        status, answered = plane.do(plane.control.call(operation, body, REGION))
        assert (status, json.loads(answered)["__type"]) == (400, kind)
        assert plane.control.owns(operation, body)


@pytest.mark.usefixtures("sagemaker")
def test_owns(plane: Plane) -> None:
    """Operations that moto implements are moto's, and so are tags of what is moto's."""
    ours = json.dumps({"ResourceArn": arn("endpoint-config", "any")}).encode()
    job = json.dumps({"ResourceArn": arn("transform-job", "any")}).encode()
    assert plane.control.owns("CreateModel", b"{}")
    assert plane.control.owns("CreateInferenceComponent", b"{}")
    assert not plane.control.owns("CreateTransformJob", b"{}")
    assert plane.control.owns("AddTags", ours)
    assert not plane.control.owns("AddTags", job)


def test_names_are_the_same_everywhere(plane: Plane, sagemaker: Any) -> None:
    """A resource keeps the ARN of the region that it was made in."""
    sagemaker.create_model(ModelName="m", Containers=[container()])
    body = b'{"ModelName": "m"}'
    _, described = plane.do(plane.control.call("DescribeModel", body, "eu-west-1"))
    assert json.loads(described)["ModelArn"] == arn("model", "m")
    _, missing = plane.do(plane.control.call("DescribeModel", b'{"ModelName": "n"}', "eu-west-1"))
    assert f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:model/n" in json.loads(missing)["message"]
