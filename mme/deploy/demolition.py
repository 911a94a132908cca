"""From what there is of an endpoint to the steps that leave nothing of it; pure."""

from collections.abc import Iterator

from mme.deploy import wanted
from mme.deploy.found import Found
from mme.deploy.names import Names
from mme.deploy.steps import Clear, Plan, Remove, Step, Wait, call, sagemaker


def plan(names: Names, found: Found, objects: int) -> Plan:
    """The steps; only what carries the endpoint's tag goes.

    Args:
        names: of the resources.
        found: what there is, of an endpoint that is not changing.
        objects: below the prefix that a folder is uploaded to.
    """
    steps = [
        *_endpoint(names, found),
        *_around_it(names, found),
        *_models(names, found, objects),
        *_role(names, found),
        *_repository(names, found),
    ]
    notes = []
    if found.endpoint:
        notes.append(f"the log group {names.log_group} stays, for who asks what happened")
    return Plan(steps, notes if steps else [])


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


def _models(names: Names, found: Found, objects: int) -> Iterator[Step]:
    bucket, prefix = names.prefix
    if objects:
        what = f"those of the {objects} archives at {names.models_url} that carry its tag"
        yield Clear(what=what, bucket=bucket, prefix=prefix, endpoint=names.endpoint)
    if found.bucket:
        yield Remove(what=f"bucket {bucket}", bucket=bucket)


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
