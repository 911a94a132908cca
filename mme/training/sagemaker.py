"""``mme train --on sagemaker``: training jobs of this image, and their archives in one prefix."""

import argparse
import sys
import tempfile
import threading
from pathlib import Path

from mme.aws import Aws, one_line
from mme.errors import CommandError
from mme.training.bucket import Place
from mme.training.each_job import EachJob
from mme.training.fit import Recipe
from mme.training.one_job import OneJob, check_instances
from mme.training.request import Fleet
from mme.training.split import survey
from mme.training.work import Work


def run(args: argparse.Namespace, recipe: Recipe) -> int:
    """Train there; status 1 when a model failed."""
    if args.data and args.prefix:
        raise CommandError("give a file, or --data S3, not both")
    if args.one_job_a_model and args.prefix:
        raise CommandError(
            "--one-job-a-model takes a file, not --data: each model's rows are apart"
        )
    if args.instances < 1 or args.concurrency < 1:
        raise CommandError("--instances and --concurrency must be 1 or more")
    if bool(args.subnets) != bool(args.security_groups):
        raise CommandError("--subnets and --security-groups go together")
    output = Place.parse(args.output, "--output")
    found = survey(args.data, args.by, args.target) if args.data else None
    if found and not args.one_job_a_model:
        check_instances(args.instances, len(found.sizes), "groups that can be trained")
    fleet = Fleet(
        role=args.role,
        image=args.image,
        instance_type=args.instance_type,
        volume_gb=args.volume_gb,
        max_run_seconds=args.max_run,
        spot=args.spot,
        subnets=args.subnets,
        security_groups=args.security_groups,
        kms_key=args.kms_key,
        tags=dict(args.tags),
    )
    work = Work(args, recipe, fleet, output, output.beside("-training"))
    with one_line(), tempfile.TemporaryDirectory() as folder:
        here = Aws(args.profile, args.region)
        leave = threading.Event()
        try:
            if args.one_job_a_model and found is not None:
                return EachJob(work, found, Path(folder), here, leave).run()
            return OneJob(work, found, Path(folder), here, leave).run()
        except KeyboardInterrupt:
            leave.set()
            sys.stderr.write("mme train: jobs go on; the same command again goes on with them\n")
            raise
