"""Teaches the JVM what MMS will need: a start takes half the time, and the code is sooner fast.

``python -m container.aot`` starts MMS and one shard, sends requests through them and ends the JVM,
which then writes its cache of loaded classes and profiles. The image and ``make setup`` do it once;
a server that finds no cache, or one of another Java, starts without it.
"""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from container import mms
from container.messages import Request
from container.settings import Settings
from container.shards import Shard

_REQUESTS = 300
_BODY = b"1,2,3,4,5,6"
_SECONDS = 120


async def _teach(settings: Settings, run: Path) -> None:
    """Register a shard and send it what the gate sends."""
    shard = Shard(0, mms.socket_path(run), settings)
    async with asyncio.timeout(_SECONDS):
        keeping = asyncio.ensure_future(shard.keep(mms.shard_home(run)))
        await asyncio.wait(
            [keeping, asyncio.ensure_future(shard.serving.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        if keeping.done():
            await keeping
        request = Request(headers={b"content-type": b"text/csv"}, body=_BODY)
        for _ in range(_REQUESTS):
            answer = await shard.invoke("absent", request)
            if answer.status != 404:
                raise RuntimeError(f"the shard answered {answer.status} for a model it has not")
        keeping.cancel()


def main() -> int:
    """Write the cache, and say how large it is."""
    settings = Settings.from_environ({})
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory)
        mms.lay(settings, run)
        with (run / "said").open("w+") as said:
            java = subprocess.Popen(
                mms.command(settings, run, cache="AOTCacheOutput"),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=run,
                env=mms.environment(),
            )
            try:
                asyncio.run(_teach(settings, run))
                java.terminate()
                java.wait(_SECONDS)
            except Exception:
                said.seek(0)
                sys.stderr.write(said.read())
                raise
            finally:
                java.kill()
                java.wait()
    size = mms.cache_path().stat().st_size
    sys.stdout.write(f"{mms.cache_path()}: {size / 1e6:.0f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
