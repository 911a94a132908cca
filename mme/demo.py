"""``mme demo``: the main job, for real, on this machine, within seconds."""

import argparse
import hashlib
import json
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

from mme import artifacts, cli
from mme.client import Client, Reply
from mme.errors import CommandError
from mme.process import ServeProcess

LATE_CITY = "NewYork_NY"  # the model that is added while the container serves
HOUSE = (1994, 3188, 5, 1.5, 1.62, 3)  # year, square feet, bedrooms, bathrooms, acres, garage
WARM_REQUESTS = 200
# What the 2019 story of multi-model endpoints printed, in milliseconds, network included.
STORY_COLD_MS = {"Houston_TX": 1375, "Chicago_IL": 850}
STORY_WARM_MS = 17


class Visit(NamedTuple):
    """What one city's model took, in milliseconds, and what it said, in dollars."""

    city: str
    load: float
    first: float
    warm_median: float
    warm_p90: float
    price: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the demo keeps its files."""
    parser.add_argument(
        "--work", type=Path, default=Path("build/demo"), help="made anew (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Make data, train, serve, invoke cold and warm, add a city, unload, stop; print the table."""
    begun = time.monotonic()
    work: Path = args.work
    shutil.rmtree(work, ignore_errors=True)
    data, models, root = work / "data", work / "models", work / "root"
    root.mkdir(parents=True)
    _command("houses", "--out", str(data))
    _command(
        *("train", str(data / "houses.csv"), "--by", "city", "--target", "PRICE"),
        *("--out", str(models)),
    )
    log = work / "serve.log"
    _say(f"$ MME_MODEL_ROOT={root} mme serve > {log} 2>&1")
    with log.open("wb") as written:
        container = ServeProcess(root.resolve(), log=written)
    try:
        container.wait_healthy()
        visits = _visit_all(container.client, models, root.resolve())
        _say(_table(visits))
        _unload_all(container.client)
    except RuntimeError as error:
        raise CommandError(f"{error}; its log: {log}", status=1) from None
    finally:
        status, _ = container.stop()
    if status != 0:
        raise CommandError(f"the container ended with {status}; its log: {log}", status=1)
    _say(f"The container has stopped cleanly. All of it took {time.monotonic() - begun:.1f} s.")
    return 0


def _visit_all(client: Client, models: Path, root: Path) -> list[Visit]:
    archives = sorted(models.glob("*.tar.gz"))
    late = models / f"{LATE_CITY}.tar.gz"
    visits = [_visit(client, archive, root) for archive in archives if archive != late]
    _say(f"{len(visits)} models serve; {LATE_CITY} comes now, with nothing restarted.")
    visits.append(_visit(client, late, root))
    return visits


def _visit(client: Client, archive: Path, root: Path) -> Visit:
    """Load one model as the platform does, under an opaque name, and ask it often."""
    city = archive.name.removesuffix(".tar.gz")
    name = hashlib.sha256(archive.name.encode()).hexdigest()[:32]
    directory = root / name / "model"
    artifacts.unpack(archive, directory)
    begun = time.perf_counter()
    _expect(client.load(name, str(directory)))
    loaded = time.perf_counter()
    house = ",".join(map(str, HOUSE)).encode()
    answer = _expect(client.invoke(name, house))
    first = time.perf_counter()
    warm = []
    for _ in range(WARM_REQUESTS):
        asked = time.perf_counter()
        again = _expect(client.invoke(name, house))
        warm.append(1000 * (time.perf_counter() - asked))
        if again != answer:
            raise CommandError(f"{city} gave two answers to one question", status=1)
    return Visit(
        city=city,
        load=1000 * (loaded - begun),
        first=1000 * (first - loaded),
        warm_median=statistics.median(warm),
        warm_p90=statistics.quantiles(warm, n=10)[-1],
        price=json.loads(answer)[0],
    )


def _unload_all(client: Client) -> None:
    names = [model["modelName"] for model in client.models()]
    for name in names:
        _expect(client.unload(name))
    _say(f"{len(names)} models unloaded; {len(list(client.models()))} left.")


def _expect(reply: Reply) -> bytes:
    if reply.status != 200:
        raise CommandError(f"the container answered {reply.status}: {reply.body!r}", status=1)
    return reply.body


def _table(visits: list[Visit]) -> str:
    house = ", ".join(map(str, HOUSE))
    lines = [
        f"One house, [{house}], asked of each city's model; milliseconds:",
        "",
        f"{'':<16}{'load':>8}{'first':>8}{'warm':>8}{'warm':>8}{'':>16}{'the 2019 story':>18}",
        f"{'model':<16}{'':>8}{'answer':>8}{'median':>8}{'p90':>8}{'price':>16}{'cold':>10}"
        f"{'warm':>8}",
    ]
    for visit in visits:
        cold = STORY_COLD_MS.get(visit.city)
        lines.append(
            f"{visit.city:<16}{visit.load:>8.2f}{visit.first:>8.2f}{visit.warm_median:>8.2f}"
            f"{visit.warm_p90:>8.2f}{f'${visit.price:,.2f}':>16}"
            f"{f'{cold:,}' if cold else '':>10}{STORY_WARM_MS if cold else '':>8}"
        )
    cold_median = statistics.median(visit.load + visit.first for visit in visits)
    warm_median = statistics.median(visit.warm_median for visit in visits)
    lines += [
        "",
        f"Cold (load and first answer), median: {cold_median:.1f} ms. Warm, median: "
        f"{warm_median:.2f} ms.",
        "The story's times were taken over a network, with the download from S3; these are the "
        "container's alone.",
    ]
    return "\n".join(lines)


def _command(*words: str) -> None:
    """Run one of our own commands as a user would, and show it."""
    _say(f"$ mme {' '.join(words)}")
    status = cli.main(words)
    if status != 0:
        raise CommandError(f"mme {words[0]} ended with {status}", status=status)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
