"""``mme train --on sagemaker``: training jobs of this image, and their archives in one prefix."""

import argparse
import sys
import threading

from mme.aws import Aws, one_line
from mme.errors import CommandError
from mme.training.bucket import Bucket, Place
from mme.training.each_job import EachJob
from mme.training.fit import Recipe
from mme.training.one_job import OneJob
from mme.training.request import Fleet
from mme.training.split import read_rows
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
    output = Place.parse(args.output, "--output")
    rows = read_rows(args.data, args.by, args.target) if args.data else None
    fleet = Fleet(
        role=args.role,
        image=args.image,
        instance_type=args.instance_type,
        volume_gb=args.volume_gb,
        max_run_seconds=args.max_run,
        spot=args.spot,
    )
    work = Work(args, recipe, fleet, output, output.beside("-training"))
    with one_line():
        here = Aws(args.profile, args.region)
        bucket = Bucket(here.client("s3"))
        leave = threading.Event()
        try:
            if args.one_job_a_model and rows is not None:
                return EachJob(work, rows, bucket, here, leave).run()
            return OneJob(work, rows, bucket, here, leave).run()
        except KeyboardInterrupt:
            leave.set()
            sys.stderr.write("mme train: jobs go on; the same command again goes on with them\n")
            raise
