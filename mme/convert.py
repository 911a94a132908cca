"""``mme convert``: a model of any release written again, by the XGBoost that runs here."""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mme import artifacts, opened
from mme.apart import Apart, RefusedError
from mme.artifacts import ArtifactError
from mme.errors import CommandError

_MANAGED_NAME = "xgboost-model"  # what a lone file is called in an archive
_LISTED = 5  # labels in a line

Done = Mapping[str, Mapping[str, Any]]  # what the examiner said of each model, by name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is converted, and where to."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a model's file, or model.tar.gz")
    parser.add_argument(
        "out",
        type=Path,
        metavar="OUT",
        help="the file to write: UBJ, or JSON if its name ends so; of an archive an archive, with "
        "all else that is in it",
    )
    parser.add_argument("--force", action="store_true", help="overwrite what is there")
    parser.add_argument(
        "--drop",
        action="store_true",
        help="convert also where a number stands for a missing value, which no such file can say",
    )


def run(args: argparse.Namespace) -> int:
    """Convert a file, put in place whole or not at all.

    Raises:
        CommandError: status 2 for what may not be, 1 for what could not.
    """
    kind = opened.kind(args.file)
    _check(args.file, kind, args.out, force=args.force)
    try:
        sys.stdout.write(_convert(args.file, kind, args.out, drop=args.drop))
    except (ArtifactError, RefusedError) as error:
        raise CommandError(opened.printable(f"{args.file}: {error}"), status=1) from None
    except OSError as error:
        raise CommandError(f"{args.out} cannot be written: {error.strerror}", status=1) from None
    return 0


def _check(file: Path, kind: str, out: Path, *, force: bool) -> None:
    if kind == opened.DIRECTORY:
        raise CommandError(f"{file} is a directory: give the model's file, or the model.tar.gz")
    if kind == opened.ARCHIVE and not out.name.endswith(opened.ARCHIVE_SUFFIXES):
        raise CommandError(f"{out}: an archive becomes an archive: name it .tar.gz")
    if not out.exists():
        return
    if out.samefile(file):
        raise CommandError(f"{out} is the file itself, which is never overwritten")
    if not out.is_file():
        raise CommandError(f"{out} is not a regular file: name the file to write")
    if not force:
        raise CommandError(f"{out} is there already: --force overwrites it")


def _convert(file: Path, kind: str, out: Path, *, drop: bool) -> str:
    """Convert a file or archive, and say what was done."""
    with opened.opened(file, kind) as place, Apart() as apart:
        seen = apart.ask("inspect", place=str(place))
        if not seen["models"]:
            raise RefusedError(f"there is no model beside {seen['script']}: nothing to convert")
        done, data = {}, {}
        made = place.with_name("converted")
        for model in seen["models"]:
            name = model["name"]
            # A file of an archive keeps its name: mme.json, a script and the order of an ensemble
            # go by it.
            form = _form(name if kind == opened.ARCHIVE else out.name)
            job = {"place": str(place), "name": name, "form": form, "out": str(made)}
            done[name] = apart.ask("convert", **job)
            data[name] = made.read_bytes()
    _check_missing(done, drop=drop)
    with tempfile.TemporaryDirectory(prefix=".mme-", dir=out.parent) as folder:
        whole = Path(folder) / "whole"  # beside its place, which a rename does not leave half done
        if kind == opened.ARCHIVE:
            opened.repack(file, whole, data)
        else:
            (content,) = data.values()
            if out.name.endswith(opened.ARCHIVE_SUFFIXES):
                content = artifacts.pack({_MANAGED_NAME: content})
            whole.write_bytes(content)
        whole.replace(out)
    _warn(file, done, seen["script"])
    return _said(file, out, done)


def _form(name: str) -> str:
    """XGBoost's own reader goes by the name, too."""
    return "json" if name.endswith(".json") else "ubj"


def _check_missing(done: Done, *, drop: bool) -> None:
    for name, one in done.items():
        if one["missing"] is not None and not drop:
            raise RefusedError(
                f"in {name} {one['missing']:g} stands for a missing value, which no such file can "
                "say: serve it as it is; or --drop that, and send empty cells instead"
            )


def _warn(file: Path, done: Done, script: str | None) -> None:
    """Say what the new file has no place for."""
    lost = []
    for name, one in done.items():
        if one["missing"] is not None:
            lost.append(f"{name}: that {one['missing']:g} stands for a missing value")
        if labels := one["labels"]:
            shown = ", ".join(map(str, labels[:_LISTED])) + (", …" if labels[_LISTED:] else "")
            lost.append(f"{name}: the labels {shown}: predicted_label is now their number")
        if one["added"]:
            lost.append(
                f"{name}: leaf_indices without the last {one['added']}, which are of the base "
                "score: that release added it last"
            )
    if script and not all(one["same"] for one in done.values()):
        lost.append(f"{script}: it is as it was, and may open the model in its old format")
    for sentence in lost:
        sys.stderr.write(opened.printable(f"mme convert: {file}: not kept: {sentence}") + "\n")


def _said(file: Path, out: Path, done: Done) -> str:
    lines = [f"{file} -> {out}"]
    for name, one in done.items():
        rounds, used = one["rounds"], one["rounds_used"]
        cut = f", {used:,} of {rounds:,} rounds" if used else ""
        new = "kept as it is" if one["same"] else f"{one['form']}, XGBoost {one['runtime']}"
        lines.append(f"  {name}: {one['origin']}{cut} -> {new}: same bits on {one['rows']} rows")
    return "".join(f"{opened.printable(line)}\n" for line in lines)
