"""Makes the picture of the page for the docs: ``python -m tests.local.picture FILE``."""

import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tests.local import browser
from tests.local.support import ROW, Local
from tests.support import saved, train

MODELS, SECONDS, THREADS = 1500, 75, 4
_ENDPOINT, _BUCKET = "house-prices", "my-bucket"


def main(file: Path) -> None:
    """Traffic by Zipf's law over more models than fit, and what the page shows of it."""
    with tempfile.TemporaryDirectory() as state:
        local = Local(Path(state))
        local.wait_ready()
        data = [saved(train(seed=seed)) for seed in range(5)]
        models = {f"shop-{number:04}.tar.gz": data[number % 5] for number in range(MODELS)}
        local.bucket(_BUCKET, models)
        local.create(
            _ENDPOINT,
            _BUCKET,
            environment={"MME_MODEL_MEMORY_MB": "10"},
            InitialInstanceCount=2,
        )
        end = threading.Event()
        with ThreadPoolExecutor(THREADS) as threads:
            for seed in range(THREADS):
                threads.submit(_ask, local, list(models), seed, end)
            time.sleep(SECONDS)  # so that there are minutes to show
            runtime = local.client("sagemaker-runtime")
            for target, body in (("shop-0001.tar.gz", b"words"), ("shop-9999.tar.gz", ROW)):
                try:
                    local.invoke(_ENDPOINT, target, body=body)
                except runtime.exceptions.ClientError as error:
                    sys.stdout.write(f"{error}\n")
            browser.picture(local.url, file)
            end.set()
        local.stop()
        local.close()


def _ask(local: Local, targets: list[str], seed: int, end: threading.Event) -> None:
    shares = 1 / np.arange(1, len(targets) + 1)
    for number in np.random.default_rng(seed).choice(len(targets), 10**5, p=shares / shares.sum()):
        if end.wait(0.01):
            return
        local.invoke(_ENDPOINT, targets[number])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
