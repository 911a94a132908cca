"""``mme status``: how an endpoint is, and what it has done in the last hour."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from mme.aws import Aws, explain, one_line
from mme.deploy import archives, config, metrics
from mme.deploy.names import VARIANT, Account, Names
from mme.errors import CommandError
from mme.local.aws.objects import split_url

_ACTIVITIES = 3  # the newest of the scaling
_SCALING = "application-autoscaling"
Status = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    config.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """Print it; status 1 when the endpoint is not there, or has failed."""
    wanted = config.given(args)
    aws = Aws(args.profile, args.region)
    with one_line():
        names = Names(Account.of(aws), wanted)
        status = look(aws, names)
    sys.stdout.write(json.dumps(status, indent=2) + "\n" if args.json else text(status))
    return 1 if "Failed" in status["status"] else 0


def look(aws: Aws, names: Names) -> Status:
    """All that is to be shown; None for what nobody can say, and ``notes`` say why.

    Raises:
        CommandError: there is no such endpoint.
    """
    sagemaker = aws.client("sagemaker")
    try:
        endpoint = sagemaker.describe_endpoint(EndpointName=names.endpoint)
    except ClientError as error:
        if "Could not find" not in str(error):
            raise
        raise CommandError(f"there is no endpoint {names.endpoint}: mme deploy", 1) from None
    notes: list[str] = []

    def ask(what: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (ClientError, BotoCoreError, CommandError) as error:
            reason = str(error) if isinstance(error, CommandError) else explain(error)
            notes.append(f"{what}: {reason}")
            return None

    running = ask("configuration", lambda: _running(sagemaker, endpoint)) or {}
    variants = _variants(endpoint, running.get("variants", []))
    variant = variants[0]["name"] if variants else VARIANT
    url = running.get("models") or names.models_url
    return {
        "endpoint": names.endpoint,
        "status": endpoint["EndpointStatus"],
        "reason": endpoint.get("FailureReason"),
        "since": endpoint["LastModifiedTime"].isoformat(timespec="seconds"),
        "configuration": endpoint.get("EndpointConfigName"),
        "variants": variants,
        "image": running.get("image"),
        "models": url,
        "archives": ask("models", lambda: len(archives.remote(aws, *split_url(url)))),
        "last_hour": ask("metrics", lambda: metrics.last_hour(aws, names.endpoint, variant)),
        "alarms": ask("alarms", lambda: _alarms(aws, names)),
        "scaling": ask("scaling", lambda: _scaling(aws, names)),
        "notes": notes,
    }


def _running(sagemaker: Any, endpoint: Mapping[str, Any]) -> Status:
    """The image and the models of the endpoint's configuration."""
    configured = sagemaker.describe_endpoint_config(
        EndpointConfigName=endpoint["EndpointConfigName"]
    )["ProductionVariants"]
    model = sagemaker.describe_model(ModelName=configured[0]["ModelName"])
    container = (model.get("Containers") or [model.get("PrimaryContainer", {})])[0]
    return {
        "image": container.get("Image"),
        "models": container.get("ModelDataUrl"),
        "variants": configured,
    }


def _variants(endpoint: Mapping[str, Any], configured: Sequence[Mapping[str, Any]]) -> list[Status]:
    """What runs, beside what the configuration says; AWS gives one or the other, or both."""
    types = {one["VariantName"]: one.get("InstanceType") for one in configured}
    running = endpoint.get("ProductionVariants") or configured
    return [
        {
            "name": one["VariantName"],
            "instance_type": types.get(one["VariantName"]),
            "instances": one.get("CurrentInstanceCount"),
            "wanted": one.get("DesiredInstanceCount", one.get("InitialInstanceCount")),
            "weight": one.get("CurrentWeight", one.get("InitialVariantWeight")),
        }
        for one in running
    ]


def _alarms(aws: Aws, names: Names) -> list[Status]:
    pages = aws.client("cloudwatch").get_paginator("describe_alarms")
    ours = {"Name": "EndpointName", "Value": names.endpoint}
    return [
        {"name": one["AlarmName"], "state": one["StateValue"], "reason": one.get("StateReason")}
        for page in pages.paginate(AlarmNamePrefix=names.alarm(""))
        for one in page["MetricAlarms"]
        if ours in one.get("Dimensions", ())  # another endpoint's name may begin as ours does
    ]


def _scaling(aws: Aws, names: Names) -> Status | None:
    """The limits and the newest activities; None where nothing scales it."""
    client = aws.client(_SCALING)
    targets = client.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[names.scaled]
    )["ScalableTargets"]
    if not targets:
        return None
    activities = client.describe_scaling_activities(
        ServiceNamespace="sagemaker", ResourceId=names.scaled, MaxResults=_ACTIVITIES
    )["ScalingActivities"]
    return {
        "min": targets[0]["MinCapacity"],
        "max": targets[0]["MaxCapacity"],
        "activities": [
            {
                "at": one["StartTime"].isoformat(timespec="seconds"),
                "status": one["StatusCode"],
                "what": one["Description"],
            }
            for one in activities
        ],
    }


def text(status: Status) -> str:
    """The same for people."""
    lines = [f"{status['endpoint']}  {status['status']}  since {status['since']}"]
    if status["reason"]:
        lines.append(_row("reason", status["reason"]))
    lines += [
        _row(
            "variant",
            f"{one['name']}: {_shown(one['instances'])} of {_shown(one['wanted'])} x "
            f"{_shown(one['instance_type'])}, weight {_shown(one['weight'])}",
        )
        for one in status["variants"]
    ]
    lines += [
        _row("image", _shown(status["image"])),
        _row("models", f"{_shown(status['archives'], ',')} archives at {status['models']}"),
        "last hour",
        *(_row(name, value) for name, value in _hour(status["last_hour"] or {}).items()),
        *_alarm_lines(status["alarms"]),
        *_scaling_lines(status["scaling"]),
        *(f"note: {note}" for note in status["notes"]),
    ]
    return "\n".join(lines) + "\n"


def _hour(found: Mapping[str, Any]) -> dict[str, str]:
    def of(name: str, form: str = ",.0f", unit: str = "") -> str:
        shown = _shown(found.get(name), form)
        return f"{shown}{unit}" if shown != "-" else shown

    return {
        "invocations": of("invocations"),
        "errors": f"{of('errors_4xx')} with 4xx, {of('errors_5xx')} with 5xx",
        "model latency": f"p50 {of('latency_p50_ms', ',.1f', ' ms')}, "
        f"p90 {of('latency_p90_ms', ',.1f', ' ms')}",
        "cold, waited": f"p90 {of('cold_wait_p90_ms', ',.0f', ' ms')}",
        "cache hits": of("cache_hit_percent", ".1f", " %"),
        "models loaded": f"{of('loaded')}, {of('loaded_per_instance', ',.4g')} an instance",
        "memory": of("memory_percent", ".1f", " % of the fullest instance"),
    }


def _alarm_lines(alarms: Sequence[Status] | None) -> list[str]:
    if not alarms:
        return [f"alarms: {'-' if alarms is None else 'none'}"]
    return ["alarms", *(_row(one["name"], one["state"]) for one in alarms)]


def _scaling_lines(scaling: Status | None) -> list[str]:
    if scaling is None:
        return ["scaling: -"]
    done = [_row(one["at"], f"{one['status']}: {one['what']}") for one in scaling["activities"]]
    return [f"scaling: {scaling['min']} to {scaling['max']} instances", *done]


def _row(name: str, value: str) -> str:
    return f"  {name:<15} {value}"


def _shown(value: Any, form: str = "") -> str:
    return "-" if value is None else format(value, form)
