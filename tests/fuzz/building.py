"""The forest's C, built with what notices its mistakes; and what to try it with."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
FOREST = ROOT / "handler" / "forest"
CORPUS = ROOT / "tests" / "corpus"
KEPT = CORPUS / "forest"  # small files that reach what others do not, in a folder for each target

SOURCES = {
    "model": ("source.c", "number.c", "model.c", "objective.c", "tree.c", "grow.c", "walk.c"),
    "text": ("text.c",),
}
_FLAGS = ["-g", "-O1", "-std=c11", "-ffp-contract=off", "-fno-omit-frame-pointer"]
_NOTICED = "address,undefined"
_SECONDS = 120


class BuildError(Exception):
    """There is no compiler, or it does not build this; the message says why."""


def build(target: str, place: Path, compiler: str) -> Path:
    """Build one target.

    Args:
        target: a key of ``SOURCES``.
        place: the folder in which the program is put.
        compiler: ``clang`` builds a fuzzer, any other a program that tries files.

    Raises:
        BuildError: it cannot be built here.
    """
    if shutil.which(compiler) is None:
        raise BuildError(f"there is no {compiler}")
    program = place / f"{target}-{compiler}"
    fuzzer = compiler == "clang"
    noticed = f"{_NOTICED},fuzzer" if fuzzer else _NOTICED
    sources = [HERE / f"{target}.c", *(FOREST / name for name in SOURCES[target])]
    if not fuzzer:
        sources.append(HERE / "driver.c")
    command = [compiler, *_FLAGS, f"-fsanitize={noticed}", "-fno-sanitize-recover=all"]
    command += [f"-I{FOREST}", *map(str, sources), "-lm", "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode and fuzzer and (other := _other_resources(place)):
        command.insert(1, f"-resource-dir={other}")
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        raise BuildError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return program


def _other_resources(place: Path) -> Path | None:
    """Clang's own headers with the fuzzer of another release, if this one came without."""
    asked = ["clang", "-print-resource-dir"]
    own = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    fuzzers = sorted(Path("/usr/lib").glob("llvm-*/lib/clang/*/lib/*/libclang_rt.fuzzer-*.a"))
    if not fuzzers:
        return None
    resources = place / "resources"
    resources.mkdir(exist_ok=True)
    for name, leads_to in {"include": own / "include", "lib": fuzzers[-1].parent.parent}.items():
        if not (resources / name).exists():
            (resources / name).symlink_to(leads_to)
    return resources


def seeds(target: str) -> Iterator[tuple[str, bytes]]:
    """What to begin with: the corpus, and what was kept."""
    if target == "model":
        for path in sorted(CORPUS.glob("artifacts/*/*")) + sorted(CORPUS.glob("damaged/*")):
            if path.suffix in (".ubj", ".json"):
                yield path.name, path.read_bytes()
    else:
        for path in sorted(CORPUS.glob("decode/csv/*")) + sorted(CORPUS.glob("decode/libsvm/*")):
            for base in (0, 1) if path.parent.name == "libsvm" else (0,):
                columns = 3
                first = (columns - 1) * 4 + base * 2 + (path.parent.name == "libsvm")
                yield f"{path.name}-{base}", bytes([first]) + path.read_bytes()
    for path in sorted((KEPT / target).glob("*")):
        yield path.name, path.read_bytes()


def lay_seeds(target: str, place: Path, most_bytes: int | None = None) -> list[Path]:
    """The seeds as files in a folder; of one content, one."""
    place.mkdir(parents=True, exist_ok=True)
    contents = dict.fromkeys(data for _, data in seeds(target))
    paths = []
    for number, data in enumerate(contents):
        if most_bytes is None or len(data) <= most_bytes:
            path = place / f"{number:04}"
            path.write_bytes(data)
            paths.append(path)
    return paths
