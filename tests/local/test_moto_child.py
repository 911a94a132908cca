"""The child as a process: it ends as it should, says nothing, and knows IAM's own policies."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.local.moto import MotoChild
from tests.support import SOON_SECONDS, alive, wait_until

WORDS = [sys.executable, "-m", "mme.local.aws.moto_child", "--state"]
PARENT = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)"


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """Whoever kills the parent has killed the child."""
    words = [sys.executable, "-c", PARENT, *WORDS, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert json.loads(parent.stdout.readline())["port"] > 0
        (child,) = map(
            int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        )
        assert alive([child])
        parent.kill()
    wait_until(lambda: not alive([child]), SOON_SECONDS, "the end of the child")


def test_it_is_quiet_and_ends_well(tmp_path: Path) -> None:
    """Requests, good and bad, leave no line; SIGINT is not for it, SIGTERM is."""
    child = MotoChild(tmp_path / "state", stderr=subprocess.PIPE)
    s3 = child.client("s3", retries={"max_attempts": 0})
    s3.create_bucket(Bucket="bucket")
    with pytest.raises(ClientError):
        s3.get_object(Bucket="bucket", Key="none")
    with pytest.raises(ClientError):
        child.client("sagemaker", retries={"max_attempts": 0}).list_inference_components()
    child.process.send_signal(signal.SIGINT)
    assert len(s3.list_buckets()["Buckets"]) == 1
    os.kill(child.process.pid, signal.SIGTERM)
    out, err = child.process.communicate(timeout=10)
    assert (child.process.returncode, out, err) == (0, "", "")


def test_managed_policies_can_be_attached(moto: MotoChild) -> None:
    """A role for SageMaker is made as its guides say."""
    iam = moto.client("iam")
    iam.create_role(RoleName="role", AssumeRolePolicyDocument="{}")
    arn = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
    iam.attach_role_policy(RoleName="role", PolicyArn=arn)
    (attached,) = iam.list_attached_role_policies(RoleName="role")["AttachedPolicies"]
    assert attached["PolicyArn"] == arn
    assert moto.client("sts").get_caller_identity()["Account"] == "123456789012"
