"""Fuzz the forest's C: ``python -m tests.fuzz --seconds 60`` tries any bytes as models and rows.

It needs clang with its fuzzer. What is found is said, with the file that shows it, and the status
is 1. With ``--keep``, what reaches more than the corpus does, if it is small, is put beside it.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import building

MOST_BYTES = 16 * 1024  # of an input
KEPT_BYTES = {"model": 4096, "text": 256}  # of a file that is kept
TOGETHER = {"model": 120 * 1024, "text": 30 * 1024}  # of all that are kept
LIMITS = ["-rss_limit_mb=2048", "-malloc_limit_mb=64", "-timeout=10", f"-max_len={MOST_BYTES}"]
WORDS = (
    *(
        "learner",
        "learner_model_param",
        "gradient_booster",
        "objective",
        "feature_names",
        "version",
    ),
    *("num_feature", "num_class", "num_target", "base_score", "name", "model", "gbtree", "dart"),
    *("gbtree_model_param", "num_trees", "num_parallel_tree", "trees", "tree_info", "weight_drop"),
    *("iteration_indptr", "tree_param", "num_nodes", "num_deleted", "size_leaf_vector", "id"),
    *("left_children", "right_children", "parents", "split_indices", "split_conditions"),
    *("default_left", "base_weights", "loss_changes", "sum_hessian", "split_type", "leaf_weights"),
    *("categories", "categories_nodes", "categories_segments", "categories_sizes", "feature_types"),
    *("softmax_multiclass_param", "multi:softprob", "binary:logistic", "reg:squarederror"),
    *("[$d#L", "[$l#L", "[$U#L", "[#L", "2147483647", "5E-1", "NaN", "true", "false", "null"),
)


def main() -> int:
    """Run both fuzzers, half of the time each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--only", choices=building.SOURCES)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    targets = [given.only] if given.only else list(building.SOURCES)
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        for target in targets:
            status |= _fuzz(target, Path(folder), given.seconds // len(targets), given.keep)
    return status


def _fuzz(target: str, place: Path, seconds: int, keep: bool) -> int:
    fuzzer = building.build(target, place, "clang")
    seeds, found, words = place / f"{target}-seeds", place / f"{target}-found", place / "words"
    building.lay_seeds(target, seeds, MOST_BYTES)
    found.mkdir()
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    command = [str(fuzzer), *LIMITS, f"-max_total_time={max(1, seconds)}", f"-dict={words}"]
    command += [
        "-print_final_stats=1",
        f"-artifact_prefix={place}/{target}-",
        str(found),
        str(seeds),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 300)
    executed = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    reached = re.findall(r"cov: (\d+)", done.stderr)
    _say(
        f"{target}: {executed[1] if executed else '?'} executions in {seconds} s, "
        f"{reached[-1] if reached else '?'} places reached, status {done.returncode}"
    )
    if done.returncode:
        _say(done.stderr[-6000:])
        for path in place.glob(f"{target}-*-*"):
            _say(f"{path.name}: {path.read_bytes()[:MOST_BYTES]!r}")
        return 1
    if keep:
        _keep(target, fuzzer, place, [found, seeds])
    return 0


def _keep(target: str, fuzzer: Path, place: Path, folders: list[Path]) -> None:
    """The smallest files that together reach what all do, as far as they are small."""
    merged, kept = place / f"{target}-merged", building.KEPT / target
    merged.mkdir()
    command = [str(fuzzer), *LIMITS, "-merge=1", str(merged), *map(str, folders)]
    subprocess.run(command, capture_output=True, check=True, timeout=600)
    of_corpus = {data for name, data in building.seeds(target) if not (kept / name).exists()}
    room = TOGETHER[target]
    kept.mkdir(parents=True, exist_ok=True)
    for path in kept.iterdir():
        path.unlink()
    for data in sorted((path.read_bytes() for path in merged.iterdir()), key=len):
        room -= len(data)
        if data not in of_corpus and len(data) <= KEPT_BYTES[target] and room >= 0:
            (kept / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    _say(f"{target}: {len(list(kept.iterdir()))} files are kept")


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
