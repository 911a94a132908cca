"""``mme convert``: models of any release written again, as UBJ of the XGBoost that runs here."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mme import artifacts, opened
from mme.apart import Apart, RefusedError
from mme.artifacts import ArtifactError
from mme.errors import CommandError
from mme.retar import retar

_MANAGED_NAME = "xgboost-model"  # which a file in an archive keeps: its bytes say what it is
_SUFFIX = ".ubj"
_OLD_SUFFIXES = (
    *(".json", ".ubj", ".ubjson", ".model", ".bst", ".xgb", ".bin", ".deprecated", ".rawdep"),
    *(".pkl", ".pickle", ".joblib"),
)
_READ_AS_JSON = ".json"  # XGBoost's own reader goes by this name
_Write = Callable[[Path], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is converted, and where to."""
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="a model's file, or a model.tar.gz"
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="NEW",
        help="the file to write; or a folder, with a / at the end: for several it must be one",
    )
    parser.add_argument("--force", action="store_true", help="overwrite what is there")


def run(args: argparse.Namespace) -> int:
    """Convert each; status 1 where one could not be, and the others are.

    Raises:
        CommandError: a file is not there, or the output is there already or cannot be one.
    """
    pairs = _pairs(args.files, args.output)
    if not args.force and (there := [new for _, new in pairs if new.exists()]):
        raise CommandError(f"{there[0]} is there already: --force overwrites it")
    failed = 0
    with Apart() as apart:
        for file, new in pairs:
            try:
                sys.stdout.write(convert(file, new, apart) + "\n")
                sys.stdout.flush()
            except (ArtifactError, RefusedError) as error:
                failed += 1
                sys.stderr.write(f"mme convert: {file}: {_shown(str(error))}\n")
    return 1 if failed else 0


def _pairs(files: Sequence[Path], output: str) -> list[tuple[Path, Path]]:
    """Each file and what it becomes."""
    kinds = [opened.kind(file) for file in files]
    folder = output.endswith("/") or Path(output).is_dir()
    if opened.DIRECTORY in kinds:
        where = files[kinds.index(opened.DIRECTORY)]
        raise CommandError(f"{where} is a directory: give the model's file, or the model.tar.gz")
    if len(files) > 1 and not folder:
        raise CommandError(f"several files need a folder: --output {output}/")
    news = [
        Path(output) / (file.name if kind == opened.ARCHIVE else _renamed(file.name))
        if folder
        else Path(output)
        for file, kind in zip(files, kinds, strict=True)
    ]
    for new, kind in zip(news, kinds, strict=True):
        if news.count(new) > 1:
            raise CommandError(f"two files would become {new}: give them other names")
        if kind == opened.ARCHIVE and not new.name.endswith(opened.ARCHIVE_SUFFIXES):
            raise CommandError(f"{new}: an archive becomes an archive: name it .tar.gz")
        if new.name.endswith(_READ_AS_JSON):
            raise CommandError(f"{new}: what is written is UBJ: name it {_SUFFIX}")
    return list(zip(files, news, strict=True))


def convert(file: Path, new: Path, apart: Apart) -> str:
    """Convert one file or archive.

    Args:
        file: that is there.
        new: what it becomes: put in place whole, or not at all.
        apart: the process that opens models.

    Returns:
        What was done, in a line. What the new file cannot keep is said on standard error.

    Raises:
        ArtifactError: the archive may not be unpacked.
        CommandError: the new file cannot be written.
        RefusedError: the container would not load it, or the new file would predict otherwise.
    """
    kind = opened.kind(file)
    with opened.opened(file, kind) as place, tempfile.TemporaryDirectory(prefix="mme-") as folder:
        made = Path(folder) / "model"
        made.mkdir()
        seen = apart.ask("look", place=str(place))
        names = [model["name"] for model in seen["models"]]
        if not names:
            raise RefusedError(f"there is no model beside {seen['script']}: nothing to convert")
        became = _became(names, opened.others(place, names)) if kind == opened.ARCHIVE else names
        done = {}
        for old, name in zip(names, became, strict=True):
            done[old] = apart.ask("convert", place=str(place), name=old, out=str(made / name))
        if len(names) > 1:
            _compare(place, made, apart)
        data = {old: made / name for old, name in zip(names, became, strict=True)}
        if kind == opened.ARCHIVE:
            renamed = dict(zip(names, became, strict=True))
            _write(new, lambda path: retar(file, path, renamed, data))
        elif new.name.endswith(opened.ARCHIVE_SUFFIXES):
            packed = artifacts.pack({_MANAGED_NAME: data[names[0]].read_bytes()})
            _write(new, lambda path: _put(path, packed))
        else:
            content = data[names[0]].read_bytes()
            _write(new, lambda path: _put(path, content))
    for old in names:
        _warn(file, old if len(names) > 1 else "", done[old]["lost"])
    if seen["script"]:
        _warn(file, seen["script"], ["the name or format of the model that it may open itself"])
    return _said(file, new, done)


def _compare(place: Path, made: Path, apart: Apart) -> None:
    """Compare what the files predict together."""
    settings = place / "mme.json"
    if settings.is_file():  # it can say how they do
        (made / settings.name).write_bytes(settings.read_bytes())
    apart.ask("compare", place=str(place), other=str(made))


def _renamed(name: str) -> str:
    return next((name.removesuffix(old) for old in _OLD_SUFFIXES if name.endswith(old)), name) + (
        _SUFFIX
    )


def _became(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """What an archive's models are called now, in the same order: it is that of an ensemble."""
    for rename in (_renamed, lambda name: name + _SUFFIX):
        new = [name if name.startswith(_MANAGED_NAME) else rename(name) for name in names]
        if sorted(set(new)) == new and not set(new) & set(others):
            return new
    return list(names)


def _write(new: Path, write: _Write) -> None:
    """Put a file in place whole."""
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{new.name}.", dir=new.parent)
        path = Path(name)
        try:
            os.close(descriptor)
            write(path)
            path.chmod(0o666 & ~_umask())
            path.replace(new)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CommandError(f"{new} cannot be written: {error.strerror}", status=1) from None


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _said(file: Path, new: Path, done: Mapping[str, Mapping[str, Any]]) -> str:
    first = next(iter(done.values()))
    parts = []
    for name, one in done.items():
        used = one["rounds_used"]
        rounds = f", {used:,} of {one['rounds']:,} rounds" if used and used < one["rounds"] else ""
        wrapper = f" ({one['wrapper']})" if one["wrapper"] else ""
        was = "as it was" if one["same"] else f"{one['origin']}{wrapper}{rounds}"
        parts.append((f"{name}: " if len(done) > 1 else "") + was)
    return _shown(
        f"{file}: {'; '.join(parts)} -> {new}: UBJ of XGBoost {first['version']}, "
        f"the same bits on {first['rows']} rows"
    )


def _warn(file: Path, name: str, sentences: Sequence[str]) -> None:
    for sentence in sentences:
        where = f"{file}: {name}" if name else str(file)
        sys.stderr.write(f"mme convert: {_shown(where)}: not kept: {_shown(sentence)}\n")


def _shown(text: str) -> str:
    """Without what a stranger's names could do to a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
