"""Writes the pages of docs/ that are made from the code; a test compares them.

03-settings.md is made from the settings of all sides and from mme.toml's, 08-faults.md from the tests of the faults,
11-level-of-support.md from the table that the local endpoint's control plane refuses by.
"""

import ast
import dataclasses
import itertools
import re
import typing
from collections.abc import Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, NamedTuple

from container.settings import Settings as Container
from handler.model_settings import LIMITS, ModelSettings
from handler.settings import Settings as Handler
from mme.deploy import config
from mme.local.control import support
from mme.local.control.support import Level
from mme.local.settings import Settings as Local
from mme.training.settings import Settings as Training

DOCS = Path(__file__).parent
TESTS = [DOCS.parent / "tests" / folder for folder in ("faults", "image")]
DEFAULTS = {
    "jobs": "one for each CPU",
    "multi_model": "see there",
    "output": "none",
    "safe_port_range": "none",
    "shards": "one for two CPUs",
}
SETTINGS_HEAD = """# 3. Settings

Environment variables of the container. On SageMaker they are `Environment` of `create_model`, but
for those that the platform sets itself (`SAGEMAKER_BIND_TO_PORT`, `SAGEMAKER_MULTI_MODEL`,
`SAGEMAKER_SAFE_PORT_RANGE`). A value that makes no sense ends the start with one line that says so.

This page is made from `container/settings.py` and `handler/settings.py` by `make docs`.

| variable | default | meaning |
|---|---|---|
"""
MODEL_HEAD = """
## `mme.json`

A model's own settings: a JSON object in this file at the top of its archive, which goes before the
container's settings, and behind what a request asks for itself. Another key, or a value that may not
be, is refused at the load. The table is made from `handler/model_settings.py`.

`{"output": ["predicted_label", "probability"], "limits": {"max_rows": 1000}}`

| key | value | meaning |
|---|---|---|
"""
TRAINING_HEAD = """
## `mme train` as a container

Of the image as [a training container](05-training.md#the-image-as-a-training-container):
`Environment` of CreateTrainingJob. The table is made from `mme/training/settings.py`.

| variable | default | meaning |
|---|---|---|
"""
LOCAL_HEAD = """
## `mme local`

The limits of the [local endpoint](10-local.md). They are the platform's unless somebody wants to
see what happens at one without waiting for it. These are variables of `mme local` itself, not of
the containers that it starts, and the table is made from `mme/local/settings.py`.

| variable | default | meaning |
|---|---|---|
"""
CONFIG_HEAD = """
## `mme.toml`

What [`mme deploy`](13-first-deployment.md) reads; the table is made from `mme/deploy/config.py`.
Text, whole numbers and those four that are required may also be flags, such as `--instance-count`.

| key | default | meaning |
|---|---|---|
"""
FAULTS_HEAD = """# 8. Faults

What can go wrong, and what is answered then: each row is a test that does it to the real container,
with real processes and signals, and looks at the answer, at a bystander model, at `/ping`, and at
what is left afterwards. This page is made from those tests by `make docs`.

An error's body is `{"code", "type", "message"}`. 4xx is the client's or the caller's mistake; 500
a fault of the model or its file; 503 with `Retry-After` passes: overload, restarting, draining; 507
is memory, so that the platform unloads other models and tries again.

`make soak` does it all at once for ten minutes: traffic over 500 models with loads and evictions
while processes are killed at random.
"""
SUPPORT_TABLE = "| operation | real | kept | refused |\n|---|---|---|---|\n"
FAULTS_TABLE = "| id | what happens: what is answered | test |\n|---|---|---|\n"
SUPPORT_HEAD = """# 11. Level of support

What of AWS `mme local` has. **Real** has its effect here; **kept** is stored and described, without
effect; what **moto** answers is emulated as far as [moto](https://docs.getmoto.org) does it, and no
endpoint notices; **refused** is a `ValidationException` (of the runtime, a `ValidationError`) that
names it. Nothing is ignored silently. The tables of SageMaker are made from
`mme/local/control/support.py` by `make docs`, which is also what requests are checked against; a test
drives each field.

Requests are checked by the service's own model, as botocore carries it: names, patterns, lengths,
ranges, enumerations, with AWS's messages.
"""
SUPPORT_TAIL = """
## Other services, at the same URL

| service | |
|---|---|
| S3 | **real**: buckets are plain folders; multipart uploads, ranges, copies, conditions, presigned URLs, metadata. Kept: ACLs. Moto: tags, policies. Refused: versioning |
| CloudWatch metrics | **real** for those of SageMaker and for your own: Average, Sum, Minimum, Maximum, SampleCount, percentiles, exact dimensions, any period from 1 s; of metric math `+ - * /`, `SUM AVG MIN MAX METRICS`. Refused: trimmed statistics, other functions |
| CloudWatch dashboards, alarms | moto: stored, never evaluated |
| CloudWatch Logs | **real** for containers, those of training too: the newest 10,000 lines of each instance; else moto |
| Application Auto Scaling | registered with moto; **real**: target tracking on `SageMakerVariantInvocationsPerInstance`, limits, cooldowns, `DisableScaleIn`, DescribeScalingActivities. Moto does not check what is registered |
| IAM, STS, ECR and others | moto: stored; no permission is checked, no image pushed |

## Where the platform differs

| | AWS | here |
|---|---|---|
| credentials and permissions | checked | any key opens everything |
| `ExecutionRoleArn`, `VpcConfig`, `KmsKeyId` | obeyed | kept |
| regions | apart | one set of endpoints for all; ARNs name the region that made them |
| metrics | after a minute or two | at once |
| a request whose instance dies with it | an error | asked of another instance, twice at most; then 503 |
| an instance's memory | the type's | the type's, as a limit: Docker's, or models' (`MME_MODEL_MEMORY_MB`) |
| which model is evicted | not documented | the least recently used |
| an endpoint after a restart | | `SystemUpdating` until it is in service again; requests wait |
| `DeploymentConfig` | canary, linear, alarms roll back | kept: all at once, undone when an instance does not start |
| `ModelNotReadyException` | raised at 60 s; who tries again is [a matter of boto3's retry mode](10-local.md#modelnotreadyexception-and-retries) | likewise |
| a training job | the image that it names, on instances of its own | `mme train` in processes of this machine, which share its CPUs, whatever the image; refused with `--docker`; with no capacity to wait for, and never interrupted |
| a training job when we end | | Failed; checkpoints are kept |
| a stream from a multi-model endpoint | not in the API: the call has no `TargetModel` | likewise |
"""
PARTS = {1: "Loading", 45: "Invoking", 74: "Processes and the machine", 94: "Attacks"}
LAST = 103


class Fault(NamedTuple):
    """One test of a fault."""

    numbers: list[int]
    what: str
    test: str


def settings_page() -> str:
    """The text of 03-settings.md."""
    rows = [_row(setting) for side in (Container, Handler) for setting in fields(side)]
    training = [_row(setting) for setting in fields(Training)]
    local = [_row(setting) for setting in fields(Local)]
    own = [_of_model(key) for key in fields(ModelSettings)]
    page = SETTINGS_HEAD + "".join(rows) + MODEL_HEAD + "".join(own)
    page += TRAINING_HEAD + "".join(training)
    page += LOCAL_HEAD + "".join(local)
    return page + CONFIG_HEAD + "".join(_keys(config.Config, ""))


def _of_model(key: "Field[Any]") -> str:
    name = f"limits.{key.name}" if key.name in LIMITS else key.name
    return f"| `{name}` | {key.metadata['value']} | {key.metadata['help']} |\n"


def _keys(table: type[Any], at: str) -> Iterator[str]:
    hints = typing.get_type_hints(table)
    for one in fields(table):
        kinds = (hints[one.name], *typing.get_args(hints[one.name]))
        below = next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)
        if below is not None:
            yield from _keys(typing.cast("type[Any]", below), f"{at}{one.name}.")
            continue
        default = "none" if one.default is None else f"`{str(one.default).lower()}`"
        if one.default_factory is not dataclasses.MISSING or one.default == "":
            default = "none"
        elif one.default is dataclasses.MISSING:
            default = "**required**"
        yield f"| `{at}{one.name}` | {default} | {one.metadata['help']} |\n"


def _row(setting: "Field[Any]") -> str:
    value = str(setting.default)
    if isinstance(setting.default, bool):
        value = value.lower()
    default = DEFAULTS.get(setting.name, f"`{value}`")
    return f"| `{setting.metadata['variable']}` | {default} | {setting.metadata['help']} |\n"


def faults() -> list[Fault]:
    """Every test whose name begins with the id of a fault."""
    return sorted(fault for folder in TESTS for fault in _of_folder(folder))


def _of_folder(folder: Path) -> Iterator[Fault]:
    for module in folder.glob("test_*.py"):
        for node in ast.parse(module.read_text()).body:
            name = getattr(node, "name", "")
            if isinstance(node, ast.FunctionDef) and (ids := re.match(r"test((_f\d+)+)_", name)):
                numbers = [int(number) for number in re.findall(r"\d+", ids[1])]
                summary = (ast.get_docstring(node) or "").partition("\n\n")[0]
                yield Fault(numbers, " ".join(summary.split()), f"{folder.name}/{module.name}")


def faults_page() -> str:
    """The text of 08-faults.md."""
    page = FAULTS_HEAD
    for first, beyond in itertools.pairwise([*PARTS, LAST + 1]):
        page += f"\n## {PARTS[first]}\n\n{FAULTS_TABLE}"
        for fault in faults():
            if first <= fault.numbers[0] < beyond:
                ids = ", ".join(f"F{number:02}" for number in fault.numbers)
                page += f"| {ids} | {fault.what.replace('|', '/')} | `{fault.test}` |\n"
    return page


def support_page() -> str:
    """The text of 11-level-of-support.md."""
    page = SUPPORT_HEAD + "\n## SageMaker runtime\n\n" + SUPPORT_TABLE
    for operation, found in support.runtime().items():
        page += _support_row(operation, found) if found else f"| {operation} | | | **refused** |\n"
    page += "\n## SageMaker\n\n" + SUPPORT_TABLE
    for operation in support.OURS:
        page += _support_row(operation, support.fields(operation))
    others = support.operations()
    moto = sorted(name for name, level in others.items() if level is Level.MOTO)
    refused = sum(level is Level.REFUSED for level in others.values())
    listed = ", ".join(moto)
    page += f"\nMoto answers {len(moto)} more, of which no endpoint knows: {listed}.\n"
    page += f"\nThe other {refused} operations of SageMaker are refused.\n"
    return page + SUPPORT_TAIL


def _support_row(operation: str, found: dict[str, Level]) -> str:
    def named(level: Level) -> str:
        return ", ".join(f"`{field}`" for field, one in found.items() if one is level)

    columns = (named(level) for level in (Level.REAL, Level.KEPT, Level.REFUSED))
    return f"| {operation} | {' | '.join(columns)} |\n"


PAGES = {
    "03-settings.md": settings_page,
    "08-faults.md": faults_page,
    "11-level-of-support.md": support_page,
}

if __name__ == "__main__":
    for name, text in PAGES.items():
        (DOCS / name).write_text(text())
