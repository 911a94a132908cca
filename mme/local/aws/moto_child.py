"""The child process that answers all of AWS but SageMaker: moto, with backends of ours."""

import argparse
import ctypes
import gc
import json
import logging
import os
import signal
import sqlite3
import sys
from pathlib import Path

_ENVIRONMENT = {  # read by moto and boto3 when they are imported
    "AWS_EC2_METADATA_DISABLED": "true",
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true",  # the bucket is in the path, whatever the host
}
_PR_SET_PDEATHSIG = 1
_M_MMAP_THRESHOLD, _LARGE_BYTES = -3, 1 << 20


def main() -> None:
    """Serve until SIGTERM, or until the parent ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if hasattr(libc, "mallopt"):  # glibc: what a large body took goes back at once
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    os.environ.update(_ENVIRONMENT)
    try:
        serve(options.state, options.port)
    except (OSError, sqlite3.DatabaseError) as error:
        sys.stderr.write(f"mme local: moto cannot use {options.state}: {error}\n")
        sys.exit(1)


def serve(state: Path, port: int) -> None:
    """Put our backends into moto and serve."""
    # Imported here, for moto reads the environment when it is imported.
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    from mme.local.aws import cloudwatch, logs, s3

    class Handler(MotoRequestHandler):
        protocol_version = "HTTP/1.1"

        def run_wsgi(self) -> None:
            """Answer; the large body of a request, which objects in a circle hold, goes at once."""
            super().run_wsgi()
            if int(self.headers.get("Content-Length") or 0) > _LARGE_BYTES:
                gc.collect()

        def log(self, *_: object) -> None:
            """Say nothing."""

    state.mkdir(parents=True, exist_ok=True)
    s3.install(state)
    cloudwatch.install()
    logs.install()
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Handler)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)  # the client is told of errors
    gc.freeze()  # what is here now stays, and is not looked at when large bodies go
    sys.stdout.write(json.dumps({"port": server.port}) + "\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
