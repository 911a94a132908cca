"""The child process that answers all of AWS but SageMaker: moto, with backends of ours."""

import argparse
import ctypes
import json
import os
import signal
import sys
from pathlib import Path

_ENVIRONMENT = {  # read by moto when it is imported
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true",  # the bucket is in the path, whatever the host
}
_PR_SET_PDEATHSIG = 1
_BACKLOG = 128


def main() -> None:
    """Serve until SIGTERM, or until the parent ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.update(_ENVIRONMENT)
    serve(options.state, options.port)


def serve(state: Path, port: int) -> None:
    """Put our backends into moto and serve."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    from mme.local import s3

    class Handler(MotoRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *_: object) -> None:
            """Say nothing."""

    state.mkdir(parents=True, exist_ok=True)
    s3.install(state)
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Handler)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout.write(json.dumps({"port": server.port}) + "\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
