"""From what there is of an endpoint to the steps that leave nothing of it; pure."""

from collections.abc import Iterator, Mapping

from mme.deploy import wanted
from mme.deploy.found import Found
from mme.deploy.names import Names
from mme.deploy.steps import Clear, Plan, Remove, Step, Wait, call, sagemaker


def plan(
    names: Names,
    found: Found,
    uploads: Mapping[str, int],
    has_logs: bool = False,
    with_logs: bool = False,
) -> Plan:
    """The steps; only what carries the endpoint's tag goes.

    Args:
        names: of the resources.
        found: what there is, of an endpoint that is not changing.
        uploads: how many archives are where a folder is uploaded to, by bucket.
        has_logs: there is SageMaker's log group of the endpoint.
        with_logs: it goes, too.
    """
    steps = [
        *_endpoint(names, found),
        *_around_it(names, found),
        *_models(names, found, uploads),
        *_role(names, found),
        *_repository(names, found),
    ]
    group = f"log group {names.log_group}"
    if has_logs and with_logs:
        gone = {"logGroupName": names.log_group}
        steps.append(call("-", group, "logs", "delete_log_group", **gone))
    notes = [f"{group}, which is SageMaker's, stays: --logs"] if has_logs and not with_logs else []
    return Plan(steps, notes)


def _endpoint(names: Names, found: Found) -> Iterator[Step]:
    name = names.endpoint
    if found.target is not None and found.endpoint is not None:
        where = {one: found.target[one] for one in wanted.SCALED}
        service = "application-autoscaling"
        yield call("-", f"scaling of {name}", service, "deregister_scalable_target", **where)
    if found.endpoint is not None:
        if found.status != "Deleting":
            yield sagemaker("-", f"endpoint {name}", "delete_endpoint", EndpointName=name)
        yield Wait(what="until it is gone", endpoint=name, config="")
    for config in sorted(found.configs):
        what = f"endpoint configuration {config}"
        yield sagemaker("-", what, "delete_endpoint_config", EndpointConfigName=config)
    for model in sorted(found.models):
        yield sagemaker("-", f"model {model}", "delete_model", ModelName=model)


def _around_it(names: Names, found: Found) -> Iterator[Step]:
    if alarms := sorted(found.alarms):
        what = f"alarms {', '.join(alarms)}"
        yield call("-", what, "cloudwatch", "delete_alarms", AlarmNames=alarms)
    if found.dashboard is not None:
        what, boards = f"dashboard {names.dashboard}", [names.dashboard]
        yield call("-", what, "cloudwatch", "delete_dashboards", DashboardNames=boards)


def _models(names: Names, found: Found, uploads: Mapping[str, int]) -> Iterator[Step]:
    for bucket, count in sorted(uploads.items()):
        if count:
            where = f"s3://{bucket}/{names.uploads}"
            what = f"those of the {count} archives at {where} that carry its tag"
            yield Clear(what=what, bucket=bucket, prefix=names.uploads, endpoint=names.endpoint)
    if found.bucket:
        yield Remove(what=f"bucket {names.made_bucket}", bucket=names.made_bucket)


def _role(names: Names, found: Found) -> Iterator[Step]:
    if found.role is None:
        return
    if found.permissions is not None:
        what, kept = f"permissions of {names.role}", {"PolicyName": wanted.POLICY}
        yield call("-", what, "iam", "delete_role_policy", RoleName=names.role, **kept)
    yield call("-", f"execution role {names.role}", "iam", "delete_role", RoleName=names.role)


def _repository(names: Names, found: Found) -> Iterator[Step]:
    if found.repository is not None:
        name = names.repository
        what = f"ECR repository {name} and its images"
        yield call("-", what, "ecr", "delete_repository", repositoryName=name, force=True)
