"""What is wanted, for CloudFormation and Terraform."""

import json
import re
from typing import Any

import cfnlint.api
import pytest
from cfnlint.config import ManualArgs

from mme import cli
from mme.deploy import cloudformation, terraform, wanted
from mme.deploy.names import Names
from mme.deploy.wanted import Image
from tests.unit.mme.deploy.conftest import URI


@pytest.mark.parametrize("own_image", [False, True])
def test_cloudformation(any_names: Names, own_image: bool) -> None:
    """The template is one that cfn-lint has nothing to say against."""
    goal = wanted.wanted(any_names, Image(uri=URI, local="x" if own_image else ""))
    text = json.dumps(cloudformation.template(any_names, goal))
    found = cfnlint.api.lint(text, config=ManualArgs(regions=["eu-west-1"]))
    assert [str(one) for one in found] == []


def test_cfn_lint_lints(any_names: Names) -> None:
    """The check can fail: a template with a wrong property does."""
    goal = wanted.wanted(any_names, Image(uri=URI))
    template = cloudformation.template(any_names, goal)
    template["Resources"]["Endpoint"]["Properties"]["Retain"] = "x"
    found = cfnlint.api.lint(json.dumps(template), config=ManualArgs(regions=["eu-west-1"]))
    assert "E3002" in {one.rule.id for one in found}


@pytest.mark.parametrize("own_image", [False, True])
def test_terraform(any_names: Names, own_image: bool) -> None:
    """Every reference leads to a resource that is there, and no value is read as one."""
    goal = wanted.wanted(any_names, Image(uri=URI, local="x" if own_image else ""))
    found = terraform.configuration(any_names, goal)
    resources = {f"{kind}.{name}" for kind, named in found["resource"].items() for name in named}
    text = json.dumps(found).replace("$${", "").replace("%%{", "")
    assert "%{" not in text
    for reference in re.findall(r"\$\{([^}]*)\}", text):
        kind, _, rest = reference.partition(".")
        target = f"{kind}.{re.split(r'[.[]', rest)[0]}"
        assert target in resources or reference == "var.ready ? 1 : 0"
    for _, needed in _found(found, "depends_on"):
        assert set(needed) <= resources
    assert ("variable" in found) == (goal.bucket is not None or own_image)


def _found(value: Any, name: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        here = [(name, value[name])] if name in value else []
        return here + [one for inner in value.values() for one in _found(inner, name)]
    return []


def test_the_same_in_both(any_names: Names) -> None:
    """Both have the same policy, the same versions and the same alarms."""
    goal = wanted.wanted(any_names, Image(uri=URI, local="x"))
    template = cloudformation.template(any_names, goal)["Resources"]
    resources = terraform.configuration(any_names, goal)["resource"]
    policy = resources["aws_iam_role_policy"]["endpoint"]["policy"]
    assert json.loads(policy) == template["Role"]["Properties"]["Policies"][0]["PolicyDocument"]
    model = resources["aws_sagemaker_model"]["endpoint"]
    assert model["name"] == template["Model"]["Properties"]["ModelName"] == goal.model["ModelName"]
    alarms = resources.get("aws_cloudwatch_metric_alarm", {})
    assert {one["alarm_name"] for one in alarms.values()} == set(goal.alarms)


def test_command(tmp_path: Any, monkeypatch: Any, capsys: Any) -> None:
    """With --account nothing on AWS is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    words = ["--name", "a", "--models", "m", "--instance-type", "ml.m5.large"]
    image = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/xgboost-mme:1"
    words += ["--instance-count", "1", "--image", image, "--region", "cn-north-1"]
    assert cli.main(["export", "--cloudformation", *words, "--account", "123456789012"]) == 0
    assert "arn:aws-cn:" in capsys.readouterr().out
    assert cli.main(["export", "--terraform", *words, "--account", "12"]) == 2
    assert capsys.readouterr().err == "mme export: --account: twelve digits\n"
