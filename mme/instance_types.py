"""What an instance type has: CPUs and memory, by the rules that its name follows."""

import re

GIB = 1024**3
_SHAPE = re.compile(r"(?:ml\.)?([a-z]+)\d+[a-z0-9-]*\.(?:(\d*)(x)?large|medium)")
_MEDIUM_CPUS, _LARGE_CPUS, _XLARGE_CPUS = 1, 2, 4
# GiB a CPU: computing, general, memory. Those with accelerators differ among themselves; none of
# them has less than the general ones, whose share they get here.
_GIB_A_CPU = {"c": 2.0, "m": 4.0, "r": 8.0}
_GENERAL = 4.0
_EXCEPTIONS = {  # CPUs, GiB
    "ml.t2.medium": (2, 4.0),
    "ml.c4.large": (2, 3.75),
    "ml.c4.xlarge": (4, 7.5),
    "ml.c4.2xlarge": (8, 15.0),
    "ml.c4.4xlarge": (16, 30.0),
    "ml.c4.8xlarge": (36, 60.0),
    "ml.t2.xlarge": (4, 16.0),
}


def shape(instance_type: str) -> tuple[int, int]:
    """CPUs, and bytes of memory.

    Raises:
        ValueError: the name is none of an instance type.
    """
    if instance_type in _EXCEPTIONS:
        cpus, gib = _EXCEPTIONS[instance_type]
        return cpus, int(gib * GIB)
    parts = _SHAPE.fullmatch(instance_type)
    if parts is None:
        raise ValueError(f"{instance_type!r} is no instance type")
    family, times, extra = parts[1], parts[2], parts[3]
    if times is None:
        cpus = _MEDIUM_CPUS
    elif extra:
        cpus = _XLARGE_CPUS * int(times or 1)
    else:
        cpus = _LARGE_CPUS
    return cpus, int(cpus * _GIB_A_CPU.get(family[0], _GENERAL) * GIB)
