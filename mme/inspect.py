"""``mme inspect``: what a model is, and whether the container would load it."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mme import opened
from mme.apart import Apart, RefusedError
from mme.artifacts import ArtifactError
from mme.figures import short

Report = dict[str, Any]

_LISTED = 10  # names in a line
_KIB = 1024
_WIDTH = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The paths, and how they are told of."""
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="PATH",
        help="a model's file, a model.tar.gz, or a directory as one unpacks to",
    )
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each path")


def run(args: argparse.Namespace) -> int:
    """Print a report of each path; status 1 where one would not load.

    Raises:
        CommandError: a path is not there.
    """
    kinds = [opened.kind(path) for path in args.paths]
    loads = True
    with Apart() as apart:
        for path, kind in zip(args.paths, kinds, strict=True):
            report = examine(path, kind, apart)
            loads = loads and report["loads"]
            line = json.dumps(report, allow_nan=False) if args.json else text(report)
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    return 0 if loads else 1


def examine(path: Path, kind: str, apart: Apart) -> Report:
    """Look at one path.

    Args:
        path: that is there.
        kind: of ``opened.kind``.
        apart: the process that opens models.

    Returns:
        What ``--json`` prints: ``loads``, ``error`` (the sentence that the container would answer,
        or None), what is beside the models, and a dict for each of ``models``.
    """
    report: Report = {
        "path": str(path),
        "kind": kind,
        "loads": False,
        "error": None,
        "runtime": None,
        "ensemble": None,
        "settings": {},
        "script": None,
        "others": [],
        "models": [],
    }
    try:
        with opened.opened(path, kind) as place:
            report["others"] = opened.others(place, [])
            report |= apart.ask("inspect", place=str(place))
            names = [model["name"] for model in report["models"]]
            report["others"] = opened.others(place, names)
    except (ArtifactError, RefusedError) as error:
        report["error"] = str(error)
    except OSError as error:
        report["error"] = f"{path} cannot be read: {error.strerror}"
    report["loads"] = report["error"] is None
    return report


def text(report: Report) -> str:
    """The report for people: a line what it is, then one for each thing that is known."""
    lines = [report["path"]]
    for model in report["models"]:
        lines += [f"  {model['name']}"] + [
            f"    {name:<{_WIDTH}}{said}" for name, said in _lines(model) if said
        ]
    about = []
    if report["ensemble"]:
        about.append(("ensemble", _ensemble(report)))
        memory = sum(model.get("memory_bytes", 0) for model in report["models"])
        about.append(("memory", f"{short(memory / _KIB)} KiB together"))
    if report["settings"]:
        about.append(("mme.json", json.dumps(report["settings"])))
    if report["script"]:
        about.append(("script", f"{report['script']}, not run here"))
    if report["others"]:
        about.append(("also there", _listed(report["others"])))
    about.append(("loads here", _verdict(report)))
    lines += [f"  {name:<{_WIDTH + 2}}{said}" for name, said in about]
    return "\n".join(opened.printable(line) for line in lines)


def _lines(model: Report) -> list[tuple[str, str]]:
    wrapper = f" of {model['wrapper']}" if model.get("wrapper") else ""
    lines = [("format", f"{model['format']}{wrapper}, {short(model['bytes'] / _KIB)} KiB")]
    if "booster" not in model:
        return [*lines, ("cannot load", model["error"])]
    origin = f", converted from {model['converted_from']}" if model["converted_from"] else ""
    features = f"{model['features']:,}" + (f": {_listed(model['names'])}" if model["names"] else "")
    missing, labels = model["missing"], model["labels"]
    lines += [
        ("written by", f"XGBoost {model['version']}{origin}"),
        ("objective", f"{model['objective'] or 'not known'}, {_predicts(model)}"),
        ("features", features),
        ("booster", _booster(model)),
        ("rounds used", _rounds(model)),
        ("missing value", f"NaN and {missing:g}" if missing is not None else "NaN"),
        ("labels", _listed(labels) if labels else ""),
    ]
    if model["error"]:
        return [*lines, ("cannot load", model["error"])]
    return [
        *lines,
        ("memory", f"{short(model['memory_bytes'] / _KIB)} KiB"),
        (
            "repaired",
            "yes: this release reads some of it otherwise" if model["repaired"] else "",
        ),
    ]


def _predicts(model: Report) -> str:
    if model["classes"] > 1:
        return f"{model['classes']:,} classes"
    return f"{model['targets']:,} targets" if model["targets"] > 1 else "one target"


def _booster(model: Report) -> str:
    if model["booster"] == "gblinear":
        return "gblinear"
    trees, rounds, nodes = (f"{model[key]:,}" for key in ("trees", "rounds", "nodes"))
    return f"{model['booster']}: {trees} trees in {rounds} rounds, {nodes} nodes"


def _rounds(model: Report) -> str:
    used, best = model["rounds_used"], model["best_iteration"]
    if used:
        return f"the first {used:,}, up to the best"
    early = best is not None and best + 1 < model["rounds"]
    return f"all, although the best was number {best + 1:,}" if early else "all"


def _ensemble(report: Report) -> str:
    rule = report["ensemble"]
    names = {"mean": "the mean", "vote": "the vote of most", "first": "the first alone"}
    return f"{names[rule]} of {len(report['models'])} files"


def _verdict(report: Report) -> str:
    if report["error"]:
        return f"no: {report['error']}"
    by = ", by its script" if report["script"] else ""
    return f"yes, XGBoost {report['runtime']}{by}"


def _listed(names: list[Any]) -> str:
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(str(name) for name in names[:_LISTED]) + more
