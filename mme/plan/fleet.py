"""What is to be planned: models, traffic, goals; each field with its unit, its limits, its flag."""

import argparse
import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mme.errors import CommandError
from mme.figures import short

_MOST = 1e9
_FLAGS = {"count": "models", "instance_types": "instance_type"}  # others are called as the field


def _field(
    section: str,
    default: Any,
    help_text: str,
    *,
    kind: type = float,
    least: float = 0.0,
    most: float = _MOST,
    above: bool = False,
) -> Any:
    metadata = {
        "section": section,
        "help": help_text,
        "kind": kind,
        "least": least,
        "most": most,
        "above": above,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The fields of a plan's file, by its sections, and the flags of ``mme plan``.

    MB are MiB. What says "measured" is from
    ``benchmarks/results/peers.json`` unless it says otherwise.
    """

    region: str = _field("", "us-east-1", "whose prices", kind=str)

    count: int = _field("models", 0, "models; with a trace, those in it", kind=int, most=10_000_000)
    memory_mb: float = _field("models", 0.0, "that one model takes in memory")
    archive_mb: float = _field(
        "models", 0.0, "of one model.tar.gz, packed; else the memory by 4.5, as measured"
    )
    sample: str = _field(
        "models", "", "a model.tar.gz to measure memory, load and answer with, here", kind=str
    )
    row: str = _field(
        "models", "", "a row of CSV for the sample; else zeros, as many as it takes", kind=str
    )

    rate: float = _field("traffic", 0.0, "requests a second; with a trace, played at that rate")
    zipf: float = _field(
        "traffic", 1.0, "exponent of Zipf's law: 0 asks for all models alike", most=5
    )
    trace: str = _field("traffic", "", "a CSV file with the columns time and model", kind=str)
    requests: int = _field(
        "traffic", 0, "to simulate; else ten a model, 100,000 at least and 1,000,000 at most",
        kind=int, most=100_000_000,
    )  # fmt: skip
    seed: int = _field("traffic", 2019, "of what is drawn by chance", kind=int)

    percentile: float = _field(
        "goal", 90.0, "of requests that the two latencies hold for", least=1, most=99.9
    )
    warm_ms: float = _field("goal", 10.0, "for a request whose model is loaded", above=True)
    cold_ms: float = _field("goal", 1000.0, "for a request whose model is not", above=True)
    hit_rate: float = _field(
        "goal", 0.9, "share of requests that find their model loaded, at least", most=1
    )

    instance_types: tuple[str, ...] = _field(
        "endpoint",
        (),
        "to consider; else c5, m5 and r5 of the sizes that the prices have",
        kind=tuple,
    )
    least_instances: int = _field(
        "endpoint", 2, "so that one can fail", kind=int, least=1, most=10_000
    )
    most_utilisation: float = _field(
        "endpoint", 0.7, "of the processors of the busiest instance", most=1, above=True
    )
    volume_gb: float = _field("endpoint", 30.0, "of an instance's disk", above=True)

    base_mb: float = _field(
        "container", 170.2, "without models; measured, of the run with the most models"
    )
    warm_median_ms: float = _field(
        "container", 0.198, "one row, one connection; measured", above=True
    )
    rate_a_cpu: float = _field(
        "container",
        7990.0,
        "warm requests/s a vCPU; measured: 15,980 on two, which the client shared",
        above=True,
    )
    load_ms: float = _field(
        "container", 0.0, "of a model on the disk; else 1.3 (measured) and 3.5 for each MB (below)"
    )
    download_ms: float = _field(
        "container", 0.0, "of an archive from S3; else 30 and 20 for each MB: assumed, not measured"
    )

    @classmethod
    def read(cls, table: Mapping[str, Any], flags: Mapping[str, Any], file: str = "") -> Self:
        """Take the file's fields, and the flags' before them.

        Args:
            table: the file's, parsed; sections that are none of ours must not be in it.
            flags: by field; None is one that was not given.
            file: for messages.

        Raises:
            CommandError: a field is unknown, of a wrong type or out of its limits.
        """
        values: dict[str, Any] = {}
        names = [one.name for one in dataclasses.fields(cls)]
        sections = {one.metadata["section"] for one in dataclasses.fields(cls)} - {""}
        for key, value in table.items():
            if key in sections and isinstance(value, Mapping):
                for name, inner in value.items():
                    values[cls._known(file, key, name)] = inner
            else:
                values[cls._known(file, "", key)] = value
        values |= {name: flags[name] for name in names if flags.get(name) is not None}
        for one in dataclasses.fields(cls):
            if one.name in values:
                given = flags.get(one.name) is not None
                where = flag(one.name) if given else f"{file}: {_path(one)}"
                values[one.name] = _checked(values[one.name], one, where)
        fleet = cls(**values)
        fleet._check_together(f"{file}: " if file else "")
        return fleet

    @classmethod
    def _known(cls, file: str, section: str, name: str) -> str:
        homes = {one.name: one.metadata["section"] for one in dataclasses.fields(cls)}
        there = [known for known, home in homes.items() if home == section]
        if name in there:
            return name
        path = f"{section}.{name}" if section else name
        raise CommandError(f"{file}: {path} is unknown: {_hint(homes, section, name, there)}")

    def _check_together(self, at: str) -> None:
        if not self.trace and not self.count:
            raise CommandError(f"{at}how many models? models.count, --models, or a trace")
        if not self.trace and not self.rate:
            raise CommandError(f"{at}how many requests/s? traffic.rate, --rate, or a trace")
        if not self.memory_mb and not self.sample:
            raise CommandError(
                f"{at}what does a model take? models.memory_mb, --memory-mb, or --sample "
                "MODEL.tar.gz to measure it"
            )


def _hint(homes: Mapping[str, str], section: str, name: str, there: list[str]) -> str:
    """What may have been meant by a name that is unknown in its section."""
    named = {flag(known)[2:].replace("-", "_"): known for known in homes}  # --models is count
    if name in homes:
        home = f"in [{homes[name]}]" if homes[name] else "outside of the sections"
        return f"it belongs {home}"
    if named.get(name) in there:
        return f"did you mean {named[name]}?"
    sections = [] if section else sorted({home for home in homes.values() if home})
    if name in sections:
        return f"write [{name}], and its fields below"
    near = difflib.get_close_matches(name, [*there, *sections], 1)
    if near:
        return f"did you mean {f'[{near[0]}]' if near[0] in sections else near[0]}?"
    if section:
        return f"[{section}] has {', '.join(there)}"
    return f"outside of sections there is {', '.join(there)}; sections are {', '.join(sections)}"


def flag(name: str) -> str:
    """The flag of a field."""
    said = _FLAGS.get(name, name)
    return f"--{said.replace('_', '-')}"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each field."""
    for one in dataclasses.fields(Fleet):
        kind, default = one.metadata["kind"], one.default
        said = f" (default: {default})" if default else ""
        options: dict[str, Any] = {"help": one.metadata["help"].replace("%", "%%") + said}
        if kind is tuple:
            options |= {"action": "append", "metavar": "TYPE"}
        else:
            options |= {"type": kind, "metavar": {str: "TEXT", int: "N"}.get(kind, "X")}
        parser.add_argument(flag(one.name), dest=one.name, **options)


def _path(one: "dataclasses.Field[Any]") -> str:
    section = one.metadata["section"]
    return f"{section}.{one.name}" if section else one.name


def _checked(value: Any, one: "dataclasses.Field[Any]", where: str) -> Any:
    kind = one.metadata["kind"]
    if kind is str:
        if not isinstance(value, str):
            raise CommandError(f"{where} is {value!r}: it must be a text")
        return value
    if kind is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise CommandError(f"{where} is {value!r}: it must be a list of instance types")
        return tuple(dict.fromkeys(value))
    wanted = int if kind is int else int | float
    if isinstance(value, bool) or not isinstance(value, wanted):
        what = "a whole number" if kind is int else "a number"
        raise CommandError(f"{where} is {value!r}: it must be {what}")
    least, most, above = (one.metadata[key] for key in ("least", "most", "above"))
    low = value <= least if above else value < least
    if low or not value <= most or not math.isfinite(value):
        limit = f"above {short(least)}" if above else f"{short(least)} or more"
        end = "" if most == _MOST else f", and {short(most)} at most"
        raise CommandError(f"{where} is {value}: it must be {limit}{end}")
    return kind(value)
