"""What we use of moto's inside is there: a new moto must be looked at before it is taken."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.base_backend import BackendDict, BaseBackend
from moto.logs.models import LogEvent, LogsBackend, LogStream, logs_backends
from moto.moto_server import werkzeug_app
from moto.s3.models import FakeBucket, FakeKey, FakeMultipart, S3Backend, s3_backends

METHODS: dict[Callable[..., Any], str] = {
    S3Backend.get_bucket: "bucket_name",
    S3Backend.create_bucket: "bucket_name region_name bucket_namespace",
    S3Backend.list_buckets: "prefix bucket_region max_buckets",
    S3Backend.delete_bucket: "bucket_name",
    S3Backend.put_bucket_versioning: "bucket_name status",
    S3Backend.get_object: "bucket_name key_name version_id part_number return_delete_marker",
    S3Backend.head_object: "bucket_name key_name version_id part_number",
    S3Backend.put_object: (
        "bucket_name key_name value storage etag multipart encryption kms_key_id "
        "bucket_key_enabled lock_mode lock_legal_status lock_until checksum_value "
        "request_method disable_notification"
    ),
    S3Backend.put_object_tagging: "key tags",
    S3Backend.delete_object: "bucket_name key_name version_id bypass",
    S3Backend.delete_objects: "bucket_name objects bypass_retention",
    S3Backend.create_multipart_upload: (
        "bucket_name key_name metadata storage_type tags acl sse_encryption kms_key_id"
    ),
    S3Backend.upload_part: "bucket_name multipart_id part_id value",
    S3Backend.upload_part_copy: (
        "dest_bucket_name multipart_id part_id src_bucket_name src_key_name src_version_id "
        "start_byte end_byte"
    ),
    S3Backend.complete_multipart_upload: "bucket_name multipart_id body",
    S3Backend.abort_multipart_upload: "bucket_name multipart_id",
    S3Backend.list_objects: "bucket prefix delimiter marker max_keys",
    S3Backend.list_objects_v2: ("bucket prefix delimiter continuation_token start_after max_keys"),
    S3Backend.list_object_versions: (
        "bucket_name delimiter key_marker max_keys prefix version_id_marker"
    ),
    FakeKey.set_metadata: "metadata replace",
    FakeKey.dispose: "garbage",
    CloudWatchBackend.put_metric_data: "namespace metric_data",
    CloudWatchBackend.get_metric_data: "queries start_time end_time scan_by",
    CloudWatchBackend.list_metrics: "next_token namespace metric_name dimensions",
    CloudWatchBackend._validate_parameters_put_metric_data: "metric query_num",
    CloudWatchResponse.get_metric_statistics: "",
    LogsBackend.put_log_events: "log_group_name log_stream_name log_events",
    LogsBackend.get_log_events: (
        "log_group_name log_group_id log_stream_name start_time end_time limit next_token "
        "start_from_head"
    ),
    LogsBackend._find_log_group: "log_group_id log_group_name",
    BaseBackend.__init__: "region_name account_id",
    FakeBucket.__init__: "name account_id region_name bucket_namespace",
}
ADVICE = "moto has changed; read mme/local/{s3,file_key,cloudwatch,logs}.py against the new one"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__qualname__)
def test_methods_are_as_they_were(method: Callable[..., Any]) -> None:
    """A method that we override or call takes what it took."""
    taken = [name for name in inspect.signature(method).parameters if name != "self"]
    assert taken == METHODS[method].split(), ADVICE


def test_seams_are_there() -> None:
    """Backends can be replaced before their first use, and find their URLs as ours do."""
    for backends in (s3_backends, cloudwatch_backends, logs_backends):
        assert isinstance(backends, BackendDict), ADVICE
        assert issubclass(backends.backend, BaseBackend), ADVICE
    assert isinstance(inspect.getattr_static(BaseBackend, "_url_module"), property), ADVICE
    tracking: tuple[Any, ...] = (FakeMultipart, LogEvent)
    for tracked in tracking:
        assert isinstance(tracked.instances_tracked, list), ADVICE
    for name in ("DomainDispatcherApplication", "MotoRequestHandler", "create_backend_app"):
        assert hasattr(werkzeug_app, name), ADVICE
    for name in ("value", "etag", "metadata", "size", "response_dict"):
        assert isinstance(inspect.getattr_static(FakeKey, name), property), ADVICE
    assert LogStream.__init__.__code__.co_varnames[:3] == ("self", "log_group", "name"), ADVICE
