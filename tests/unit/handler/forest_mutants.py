"""Damages sound models in more ways, and tries them: the forest's reader first, then the others.

    python -m tests.unit.handler.forest_mutants MODEL FIRST LAST

tries the mutants of the seeds from FIRST to LAST - 1 and prints a line of JSON for each that the
reader took: the seed, what was changed, and the verdict: ``same`` bits as XGBoost's, ``differs``,
``prepare: …`` and ``xgboost: …`` with the words of who refused it. The last line counts all
verdicts, ``none`` among them. A seed is one mutant for ever. What kills XGBoost kills the process.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from handler import forest
from handler.booster import Booster, XgboostError
from handler.errors import HandlerError
from tests.unit.handler import forests, mutants, writing

_ROWS = 40
_NUMBER = re.compile(rb"(?<=[\[,:])-?\d[^,\]}\"]*(?=[,\]}])")
_PAIR = re.compile(rb"\"\w+\":(\[[^\[\]{}]*\]|\"[^\"]*\"|\d+)")
_TEXT = re.compile(rb"\"[^\"]*\"")
_LENGTH = re.compile(rb"L\0\0[\0-\xff]{6}")
_ODD = [
    *(
        b"1e400",
        b"-0",
        b"-0.0",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"1E+2",
        b"NaN",
        b"Infinity",
        b"1e-400",
    ),
    *(b"-Infinity", b"12345678901234567890", b"9223372036854775808", b"0x10", b"1e5", b"1.0"),
    *(b"true", b"false", b"null", b"1" * 600, b"2147483648", b"-2147483649", b"4294967295", b"nan"),
    *(
        b"0." + b"3" * 600,
        b"1000000000000000000",
        b"-999999999999999999",
        b"1e",
        b"--1",
        b"1 ",
        b"",
    ),
    *(b"123456789012345678901234567890", b"16777217", b"0.1000000014901161193847656", b"1e+38"),
]
_COUNTS = [0, 1, 2, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1]
_BYTES = [
    *(b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\0", b"\\u0041"),
    *(b"\\", b'\\"', b"\x1f", b"\xc3\xa9", b"\xf0\x9f\x98\x80", b"\\x", b"\\ud800", b"\n"),
]
_PUT = [
    *(b" ", b"\n", b",", b"}", b"]", b"{", b"[", b"\0", b"\xef\xbb\xbf", b":", b'"', b"N", b"//"),
    *(b"[" * 70 + b"]" * 70, b'{"a":' * 70 + b"1" + b"}" * 70, b"Z", b"T", b"[#L" + b"\0" * 8),
]


def _numbers(data: bytes, random: Random) -> tuple[str, bytes]:
    return _other(data, _NUMBER, random.choice(_ODD), random)


def _texts(data: bytes, random: Random) -> tuple[str, bytes]:
    found = random.choice(list(_TEXT.finditer(data)) or [None])
    if found is None:
        return "nothing", data
    at, new = random.randrange(found.start() + 1, found.end()), random.choice(_BYTES)
    return f"text {new!r} at {at}", data[:at] + new + data[at:]


def _pairs(data: bytes, random: Random) -> tuple[str, bytes]:
    """A key twice, or another's value for it."""
    found = list(_PAIR.finditer(data))
    if not found:
        return "nothing", data
    one, other = random.choice(found), random.choice(found)
    if random.random() < 0.5:
        other = random.choice([pair for pair in found if pair[0][:6] == one[0][:6]])
    name, value = one[0].partition(b":")[0], other[1]
    twice = random.random() < 0.5
    new = name + b":" + value + (b"," + one[0] if twice else b"")
    what = f"{name.decode()} {'twice' if twice else 'is'} {value[:20]!r}"
    return what, data[: one.start()] + new + data[one.end() :]


def _lengths(data: bytes, random: Random) -> tuple[str, bytes]:
    length = random.choice(_COUNTS).to_bytes(8, "big")
    return _other(data, _LENGTH, b"L" + length, random)


def _other(data: bytes, what: re.Pattern[bytes], new: bytes, random: Random) -> tuple[str, bytes]:
    found = random.choice(list(what.finditer(data)) or [None])
    if found is None:
        return "nothing", data
    return (
        f"{found[0][:20]!r} at {found.start()} is {new[:30]!r}",
        data[: found.start()] + new + data[found.end() :],
    )


def _cut(data: bytes, random: Random) -> tuple[str, bytes]:
    start = random.randrange(len(data))
    end = random.choice([len(data), start + 1, start + random.randrange(100)])
    return f"without {start} to {end}", data[:start] + data[end:]


def _put(data: bytes, random: Random) -> tuple[str, bytes]:
    at, new = random.choice([0, len(data), random.randrange(len(data))]), random.choice(_PUT)
    return f"{new[:20]!r} at {at}", data[:at] + new + data[at:]


def _children(data: bytes, random: Random) -> tuple[str, bytes]:
    """Ways that lead elsewhere, of which some are as good as those before."""
    document = forests.document_of(data)
    tree = random.choice(forests.inner(document)["trees"])
    left, right, parents = (
        list(map(int, tree[key])) for key in ("left_children", "right_children", "parents")
    )
    inner = [node for node, child in enumerate(left) if child != -1]
    if not inner:
        return "nothing", data
    one, other = random.choice(inner), random.choice(inner)
    how = random.choice(["swap", "cross", "steal", "cycle", "parent"])
    if how == "swap":
        left[one], right[one] = right[one], left[one]
    elif how == "cross":
        left[one], right[other] = right[other], left[one]
        parents[left[one]], parents[right[other]] = one, other
    elif how == "steal":
        left[one] = right[other]
    elif how == "cycle":
        left[one] = random.choice([0, one, other])
        parents[left[one]] = one
    else:
        parents[random.randrange(len(parents))] = random.choice([one, other, -1, 2**31 - 1])
    for key, items in {"left_children": left, "right_children": right, "parents": parents}.items():
        tree[key] = np.array(items, ">i4") if isinstance(tree[key], np.ndarray) else items
    return f"{how} {one} {other}", forests.written(document, _form(data))


def _parameters(data: bytes, random: Random) -> tuple[str, bytes]:
    """What is said of the whole model."""
    document = forests.document_of(data)
    learner, model = document["learner"], forests.inner(document)
    told = learner["learner_model_param"]
    key = random.choice(
        ["num_class", "num_target", "num_feature", "base_score", "objective", "info"]
    )
    value = random.choice(
        ["0", "1", "2", "3", "00", "4294967295", "1E0", "[1E0,2E0]", "[5E-1]", "-1"]
    )
    if key == "objective":
        value = random.choice(sorted(forests.OBJECTIVES))
        learner["objective"]["name"] = value
    elif key == "info":
        model["tree_info"] = np.array(model["tree_info"])[::-1].tolist()
    else:
        told[key] = value
    return f"{key} {value}", forests.written(document, _form(data))


def _form(data: bytes) -> str:
    return "ubj" if data.startswith(b"{L") else "json"


_OF_JSON: list[Callable[[bytes, Random], tuple[str, bytes]]] = [_numbers, _texts, _pairs]
_OF_BOTH: list[Callable[[bytes, Random], tuple[str, bytes]]] = [_cut, _put, _children, _parameters]


def mutant(sound: bytes, seed: int) -> tuple[str, bytes]:
    """What was changed in a sound model, and the model that it became."""
    random = Random(seed)  # noqa: S311  # to be the same again
    if seed % 2:
        return mutants.mutant(sound, seed)
    if random.random() < 0.4 and sound.startswith(b"{L"):
        sound = writing.as_json(forests.document_of(sound))
    own = [_lengths] if sound.startswith(b"{L") else _OF_JSON
    return random.choice([*own, *own, *_OF_BOTH])(sound, random)


def verdict(data: bytes) -> str:
    """What becomes of a model with each of its readers."""
    read = forest.read(data)
    if read is None:
        return "none"
    try:
        grown = forests.of_bytes(data)
    except HandlerError as error:
        return f"prepare: {error.message}"
    rows = forests.rows_for(np.random.default_rng(len(data)), forests.document_of(data), _ROWS)
    try:
        booster = Booster(grown.data, 1)
        for kind in forest.KINDS:
            expected = booster.predict(rows, kind)
            if not forests.same_bits(forest.Trees(read[0]).predict(rows, kind), expected):
                return "differs"
    except XgboostError as error:
        return f"xgboost: {str(error).splitlines()[0]}"
    if read[1].to_json() != grown.traits.to_json():
        return "other traits"
    return "same"


def main() -> None:
    """Try mutants, and say what became of them."""
    sound = Path(sys.argv[1]).read_bytes()
    verdicts: Counter[str] = Counter()
    for seed in range(int(sys.argv[2]), int(sys.argv[3])):
        what, data = mutant(sound, seed)
        found = verdict(data)
        verdicts[found.partition(":")[0]] += 1
        if found != "none":
            print(json.dumps([seed, what, found]), flush=True)  # noqa: T201  # a report
    print(json.dumps(verdicts))  # noqa: T201  # what the test reads


if __name__ == "__main__":
    main()
