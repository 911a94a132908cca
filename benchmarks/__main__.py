"""Measures this container beside its peers, in one run, on the same models.

Writes ``results/peers.json``, and from it the tables of the README and of this folder's, and the
chart. With ``--resident N`` it only asks how many models one container holds.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import check, data, local, measures, models, path, report, wrk
from benchmarks.measures import Figures
from benchmarks.systems import (
    DirectWorker,
    MlServer,
    MmsFloor,
    OneShard,
    Ours,
    StockMms,
    System,
    UntunedFloor,
    missing_parts,
)
from benchmarks.wrk import Load
from mme.client import Client

LARGE = "large"


class LocalPlan(NamedTuple):
    """How much of ``mme local``: models in the catalogue, memory for them, requests, rounds."""

    models: int
    memory_mb: int
    requests: int
    rounds: int


class Plan(NamedTuple):
    """How much is measured."""

    ours: tuple[int, ...]
    stock: tuple[int, ...]
    mlserver: tuple[int, ...]
    mlserver_at_start: int
    samples: int
    few_samples: int
    warm_models: int
    zipf_models: int
    rounds: int
    seconds: int
    beside: int
    local: LocalPlan


FULL = Plan(
    ours=(0, 100, 1000, 10_000, 100_000),
    stock=(0, 100),
    mlserver=(0, 100),
    mlserver_at_start=1000,
    samples=200,
    few_samples=20,
    warm_models=100,
    zipf_models=10_000,
    rounds=5,
    seconds=3,
    beside=2000,
    local=LocalPlan(models=100_000, memory_mb=14, requests=60_000, rounds=12),
)
QUICK = Plan(
    ours=(0, 100, 1000),
    stock=(0, 20),
    mlserver=(0, 20),
    mlserver_at_start=100,
    samples=100,
    few_samples=5,
    warm_models=20,
    zipf_models=1000,
    rounds=2,
    seconds=1,
    beside=300,
    local=LocalPlan(models=2000, memory_mb=2, requests=2000, rounds=4),
)


@contextlib.contextmanager
def started(system: System) -> Iterator[float]:
    """A system that serves; the seconds that it took to."""
    try:
        yield system.start()
    finally:
        system.stop()


class Run:
    """One run: the same model for all, each system in a directory of its own."""

    def __init__(self, plan: Plan, home: Path) -> None:
        self._plan = plan
        self._home = home
        self._model = models.house_model(home)
        self._expected = models.expected(self._model)

    def _directory(self, name: str) -> Path:
        directory = self._home / name.replace(" ", "-")
        directory.mkdir()
        return directory

    def cold(self) -> dict[str, Figures]:
        """Start, loads and memory: one system after another, each alone on the machine."""
        plan, data = self._plan, self._model
        results: dict[str, Figures] = {}
        systems: list[tuple[System, tuple[int, ...], int]] = []
        for kind, counts, samples in (
            (Ours, plan.ours, plan.samples),
            (StockMms, plan.stock, plan.few_samples),
            (MlServer, plan.mlserver, plan.few_samples),
        ):
            home = self._directory(f"cold {kind.name}")
            systems.append((kind(home, counts[-1] + samples, data), counts, samples))
        for system, counts, samples in systems:
            with started(system) as seconds:
                figures = measures.cold(system, counts, samples, self._expected)
                figures["start_s"] = seconds
                if isinstance(system, Ours):
                    measures.all_answer(system, figures["loaded"], self._expected)
                figures["unload"] = measures.unload(system, 0, samples)
                results[system.name] = figures
        results[MlServer.name]["at"].append(self._cold_from_start())
        return results

    def _cold_from_start(self) -> Figures:
        """MLServer with many models: it loads them at its start, as it is quicker at."""
        count, samples = self._plan.mlserver_at_start, self._plan.few_samples
        home = self._directory("cold MLServer from start")
        system = MlServer(home, count + samples, self._model, at_start=count)
        base = MlServer(self._directory("cold MLServer alone"), 0, self._model)
        with started(base):
            base_bytes = base.memory_bytes()
        with started(system):
            memory = system.memory_bytes()
            times = []
            for number in range(count, count + samples):
                begun = time.perf_counter()
                system.load(f"m{number}")
                answer = system.ask(f"m{number}")
                times.append(1000 * (time.perf_counter() - begun))
                measures.same(system, answer, self._expected)
        return {
            "loaded": count,
            "total_mb": memory / measures.MIB,
            "model_mb": (memory - base_bytes) / count / measures.MIB,
            **measures.spread(times),
        }

    def warm(self) -> dict[str, dict[str, Figures]]:
        """Latency and throughput: all systems up, asked in turns."""
        plan = self._plan
        count, large = plan.warm_models, models.large_model()
        ours = Ours(self._directory("warm ours"), plan.zipf_models, self._model)
        stock = StockMms(self._directory("warm stock"), count, self._model)
        mlserver = MlServer(self._directory("warm MLServer"), count, self._model)
        floor = MmsFloor(self._directory("warm floor"), 1, self._model)
        untuned = UntunedFloor(self._directory("warm untuned floor"), 1, self._model)
        floors = (floor, untuned)
        peers: tuple[System, ...] = (ours, stock, mlserver)
        for system in peers:
            models.lay(system.store, 1, large, LARGE)
        with contextlib.ExitStack() as stack:
            for system in (*peers, *floors):
                stack.enter_context(started(system))
            for system, loaded in ((ours, plan.zipf_models), (stock, count), (mlserver, count)):
                for number in range(loaded):
                    system.load(f"m{number}")
                system.load(f"{LARGE}0")
            for system in floors:
                system.load("m0")
            for system in peers:
                measures.same(system, system.ask("m1", 3), self._expected * 3)
                measures.same(system, system.ask(f"{LARGE}0"), models.expected(large))
            loads = {
                "1 connection": Load(1, count),
                "8 connections": Load(8, count),
                "32 connections": Load(32, count),
                "zipf": Load(8, count, "zipf"),
                "one hot model": Load(8, 1),
                "one hot model, 1 connection": Load(1, 1),
                "1,000 rows": Load(1, 1, rows=1000),
                "large model": Load(1, 1, prefix=LARGE),
                "large model, 1,000 rows": Load(1, 1, rows=1000, prefix=LARGE),
            }
            asked: list[tuple[str, System, Load]] = []
            for what, load in loads.items():
                for system in peers:
                    mine = load
                    if what == "zipf" and system is ours:
                        mine = load._replace(models=plan.zipf_models)
                    asked.append((f"{what}|{system.name}", system, mine))
                if what.endswith(("connection", "connections")) and "hot" not in what:
                    one = load._replace(models=1)
                    asked.extend((f"{what}|{system.name}", system, one) for system in floors)
            for system in (*peers, *floors):  # until Java has compiled what it will
                for _ in range(2):
                    mine = Load(8, 1 if system in floors else count)
                    wrk.run(system, mine, plan.seconds)
            flat = measures.in_turns(asked, plan.rounds, plan.seconds)
        results: dict[str, dict[str, Figures]] = {}
        for key, figures in flat.items():
            what, _, name = key.partition("|")
            results.setdefault(what, {})[name] = figures
        alone = {f"{rows}": measures.xgboost_alone(self._model, rows) for rows in (1, 1000)}
        alone |= {f"large {rows}": measures.xgboost_alone(large, rows) for rows in (1, 1000)}
        results["XGBoost alone"] = alone
        grown = {f"{rows}": measures.forest_alone(self._model, rows) for rows in (1, 1000)}
        grown |= {f"large {rows}": measures.forest_alone(large, rows) for rows in (1, 1000)}
        results["forest alone"] = grown
        return results

    def beside(self) -> dict[str, Figures]:
        """One row of one model, while the same shard has long work with another."""
        system = OneShard(self._directory("beside"), 2, self._model)
        models.lay(system.store, 1, models.large_model(), LARGE)
        with started(system), Client("127.0.0.1", system.port) as other:

            def ask(rows: int) -> None:
                reply = other.invoke("m1", system.body(rows))
                system.check(reply)

            def load_large() -> None:
                system.check(other.load(f"{LARGE}0", str(system.store / f"{LARGE}0")))
                system.check(other.unload(f"{LARGE}0"))

            for number in range(2):
                system.load(f"m{number}")
            measures.beside(system, None, self._plan.beside)  # Java compiles
            work: dict[str, Callable[[], None] | None] = {
                "nothing else": None,
                "requests of 10,000 rows": lambda: ask(10_000),
                "requests of 20 MB": lambda: ask(20_000_000 // (len(models.ROW) + 1)),
                "loads of 500 trees of depth 8": load_large,
            }
            return {
                what: measures.beside(system, long_work, self._plan.beside)
                for what, long_work in work.items()
            }

    def path(self) -> Figures:
        """Where the time of one warm row goes."""
        ours = Ours(self._directory("path ours"), 1, self._model)
        direct = DirectWorker(self._directory("path direct"), 1, self._model)
        floor = MmsFloor(self._directory("path floor"), 1, self._model)
        with contextlib.ExitStack() as stack:
            for system in (ours, direct, floor):
                stack.enter_context(started(system))
                system.load("m0")
            stages = path.stages(ours, direct, floor, self._plan.rounds, self._plan.seconds)
        worker = path.worker(self._model, self._directory("path worker"))
        checked = check.milliseconds(self._model, self._directory("path check"))
        return {"stages": stages, "worker_us": worker, "check": checked}

    def local(self) -> Figures:
        """What the local endpoint's front costs, and a catalogue that does not fit in memory."""
        return local.measure(self._directory("local"), self._model, *self._plan.local)

    def resident(self, count: int) -> Figures:
        """How so many models live in one container: each loaded, and each answering."""
        system = Ours(self._directory("resident"), count + self._plan.samples, self._model)
        with started(system):
            counts = (0, count)
            figures = measures.cold(system, counts, self._plan.samples, self._expected)
            measures.all_answer(system, figures["loaded"], self._expected)
        return figures


def main() -> int:
    """Run, show what was seen, and write it unless it was a quick run."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of all; writes nothing")
    parts = ("cold", "warm", "beside", "path", "local")
    parser.add_argument("--only", choices=parts, help="one part of it")
    parser.add_argument("--resident", type=int, metavar="N", help="only: N models in one container")
    parser.add_argument("--report", action="store_true", help="only: write the tables again")
    args = parser.parse_args()
    if args.report:
        report.write()
        return 0
    # The local endpoint is measured beside its own container alone.
    if args.only != "local" and (missing := [*wrk.missing(), *missing_parts()]):
        sys.stderr.write("\n".join(missing) + "\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        run = Run(QUICK if args.quick else FULL, Path(directory))
        try:
            if args.resident:
                results = {"resident": run.resident(args.resident)}
            else:
                chosen = [args.only] if args.only else parts
                results = {part: getattr(run, part)() for part in chosen}
                results["machine"] = data.machine()
        except RuntimeError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    if args.quick:
        sys.stdout.write(report.as_text(results))
        return 0
    data.save(results)
    report.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
