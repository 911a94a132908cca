"""Pickles made to do harm, and damaged ones: a sentence, soon, and nothing ever runs."""

import functools
import gc
import json
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import handler
from handler.formats import FormatError
from handler.formats.pickle_machine import MAX_STEPS
from handler.formats.pickles import Pickled, read

CORPUS = Path(__file__).parent.parent.parent / "corpus"
ARTIFACTS = CORPUS / "artifacts"
SMALL = (ARTIFACTS / "0.90" / "gblin.pkl").read_bytes()
SEEDS = [
    SMALL,
    *(
        (ARTIFACTS / name).read_bytes()
        for name in (
            *("0.90/w_bin.pkl", "0.90/w_early.joblib", "1.0.2/w_multi.joblib", "1.2.1/w_rf.joblib"),
            *("1.3.3/w_earlymulti.pkl", "1.7.6/w_early.pkl", "3.4.1/w_early.joblib"),
        )
    ),
    *(path.read_bytes() for path in sorted((CORPUS / "pickles").iterdir())),
]
# What reading may take: of a file of a few bytes, and for each of more. In time, as a multiple of
# what a stream of plain steps takes on this machine: tuples within tuples are seen at 6 times that.
SECONDS, TIMES_PLAIN = 2.0, 40
BYTES, TIMES = 4 * 1024**2, 120


def taken(data: bytes) -> tuple[Pickled | str, float]:
    """What is read, or the sentence that refuses it; and the processor's seconds."""
    gc.disable()  # it takes the longer, the more other tests have left
    began = time.thread_time()
    try:
        found: Pickled | str = read(data)
    except FormatError as error:
        found = str(error)
    finally:
        seconds = time.thread_time() - began
        gc.enable()
    return found, seconds


@functools.cache
def plain_seconds() -> float:
    """The processor's seconds that a megabyte of plain steps takes."""
    return max(taken(PROTO + b"N0" * 100_000 + b"N.")[1] for _ in range(3)) * 5


def attempt(data: bytes) -> Pickled | str:
    """What is read, or the sentence that refuses it: within bounds that the file's size sets."""
    found, seconds = taken(data)
    assert seconds < SECONDS + TIMES_PLAIN * plain_seconds() * len(data) / 1e6
    tracemalloc.start()
    taken(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < BYTES + TIMES * len(data)
    if isinstance(found, str):
        assert found.isascii()
        assert found.isprintable()
        assert len(found) < 240
        assert "; " in found  # before the cure
    return found


def short(text: bytes | str) -> bytes:
    """A short text as a pickle has it."""
    text = text.encode() if isinstance(text, str) else text
    return b"\x8c" + bytes([len(text)]) + text


def name(module: str, attribute: str) -> bytes:
    """A name as a pickle has it."""
    return short(module) + short(attribute) + b"\x93"


PROTO = b"\x80\x04"
BOOSTER = name("xgboost.core", "Booster") + b")\x81"
CLASSIFIER = name("xgboost.sklearn", "XGBClassifier") + b")\x81"
HANDLE = short("handle") + b"C\x01x"
SOUND = PROTO + BOOSTER + b"}(" + HANDLE + b"ub."


def classifier(*state: bytes) -> bytes:
    """A fitted classifier with more in its state."""
    booster = short("_Booster") + BOOSTER + b"}(" + HANDLE + b"ub"
    return PROTO + CLASSIFIER + b"}(" + booster + b"".join(state) + b"ub."


def array(shape: bytes, spelled: str, content: bytes) -> bytes:
    """A numpy array."""
    dtype = name("numpy", "dtype") + short(spelled) + b"\x85R"
    rebuilt = name("numpy.core.multiarray", "_reconstruct") + b")R"
    return rebuilt + b"(K\x01" + shape + dtype + b"\x89" + content + b"tb"


def wrapped(shape: bytes, spelled: str, after: bytes, alignment: bytes = b"N") -> bytes:
    """An array as joblib writes it."""
    dtype = name("numpy", "dtype") + short(spelled) + b"\x85R"
    state = short("shape") + shape + short("dtype") + dtype
    state += short("numpy_array_alignment_bytes") + alignment
    return name("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81}(" + state + b"ub" + after


def test_the_sound_ones_are_read() -> None:
    """What the hostile ones are made of is read, so that they are refused for their harm."""
    found = attempt(SOUND)
    assert isinstance(found, Pickled)
    assert (found.handle, found.wrapper) == (b"x", "")
    found = attempt(classifier(short("classes_"), array(b"K\x02\x85", "i1", b"C\x02\1\2")))
    assert isinstance(found, Pickled)
    assert (found.handle, found.labels) == (b"x", (1, 2))
    found = attempt(
        classifier(short("classes_"), wrapped(b"K\x02\x85", "i1", b"\x01\xff\1\2", b"K\x10"))
    )
    assert isinstance(found, Pickled)
    assert found.labels == (1, 2)


# Code


class Reduced:
    """Pickles as a call."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.reduced


CALLS = [
    (Reduced(os.system, ("mkdir canary",)), "os.system"),
    (Reduced(os.mkdir, ("canary",)), "os.mkdir"),
    (Reduced(eval, ("__import__('os').mkdir('canary')",)), "builtins.eval"),
    (Reduced(getattr, ("", "upper")), "builtins.getattr"),
    (Reduced(shutil.rmtree, ("canary",)), "shutil.rmtree"),
    (Reduced(np.load, ("canary",)), "numpy.load"),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(("call", "named"), CALLS, ids=[named for _, named in CALLS])
def test_calls(call: Reduced, named: str, protocol: int) -> None:
    """A call is refused by the name of what it would call, wherever it stands."""
    for value in (call, [1, {"a": (call,)}]):
        if isinstance(value, list) and protocol < 2:
            continue  # they begin as no pickle of a model does
        words = attempt(pickle.dumps(value, protocol))
        assert words == (
            f"not a pickled XGBoost model: it names {named}; save the booster with save_model"
        )


@pytest.mark.parametrize(
    ("stream", "named"),
    [
        (b"(" + short("x") + b"ios\nsystem\n.", "os.system"),
        (b"cos\nsystem\n(" + short("x") + b"tR.", "os.system"),
        (b"(cos\nsystem\n" + short("x") + b"o.", "os.system"),
        (name("xgboost.core", "os.system") + b".", "xgboost.core.os.system"),
        (name("xgboost.core", "Booster.__init__") + b".", "xgboost.core.Booster.__init__"),
        (name("xgboost", "core.Booster") + b")\x81}(" + HANDLE + b"ub.", ""),
        (name("builtins", "\x1b[2J\n") + b".", "builtins.?[2J?"),
        (name("x\u0416", "a" * 200) + b".", "x?." + "a" * 77),
        (b"cno such\nthing here\n.", "no such.thing here"),
        (
            name("joblib.numpy_pickle", "NDArrayWrapper") + b".",
            "joblib.numpy_pickle.NDArrayWrapper",
        ),
    ],
)
def test_names(stream: bytes, named: str) -> None:
    """Each step that names is held to the list; a dotted name is a name like others."""
    words = attempt(PROTO + stream)
    if not named:
        assert isinstance(words, Pickled)
        return
    assert words == (
        f"not a pickled XGBoost model: it names {named}; save the booster with save_model"
    )


def test_hostile_files_of_the_corpus() -> None:
    """Each says what it is."""
    for path in sorted((CORPUS / "damaged").glob("*.pkl")):
        words = attempt(path.read_bytes())
        assert isinstance(words, str)
        expected = {
            "refuse-hostile.pkl": "not a pickled XGBoost model: it names os.mkdir",
            "refuse-pickle-dict.pkl": "not a pickled XGBoost model: it holds an object of type",
            "refuse-pickle-cut.pkl": "a damaged pickle: it ends early",
        }
        assert words.startswith(expected[path.name])


WATCHED = """
import json, sys
from pathlib import Path
import handler
from handler.formats import FormatError
from handler.formats.pickles import read
blobs = [bytes.fromhex(line) for line in sys.stdin]
seen = []
def read_all():
    for blob in blobs:
        try:
            read(blob)
        except FormatError:
            pass
read_all()  # codecs are loaded when they are first used
before = set(sys.modules)
sys.addaudithook(lambda event, args: seen.append(event))
read_all()
audited, imported = sorted(set(seen)), sorted(set(sys.modules) - before)
eval("1")
print(json.dumps([audited, imported, "exec" in seen, sorted(sys.modules)]))
"""


def test_nothing_runs_and_nothing_is_imported(tmp_path: Path) -> None:
    """A process that reads all files and all attacks does nothing that Python can audit."""
    files = [*ARTIFACTS.glob("*/*.pkl"), *ARTIFACTS.glob("*/*.joblib")]
    blobs = [path.read_bytes() for path in (*files, *(CORPUS / "damaged").glob("*.pkl"))]
    blobs += SEEDS
    for call, _ in CALLS:
        blobs += [pickle.dumps(call, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    home = Path(handler.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", WATCHED],
        input="\n".join(blob.hex() for blob in blobs),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(home)},
        timeout=120,
        check=True,
    )
    audited, imported, watched, modules = json.loads(done.stdout)
    assert watched
    assert audited == []
    assert imported == []
    assert not {"xgboost", "joblib", "sklearn"} & set(modules)
    assert list(tmp_path.iterdir()) == []


# Bombs

MEGA = 1_000_000
BIG = struct.pack("<I", MEGA) + b"a" * MEGA


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        # Nesting.
        (b"]" * 200_000 + b"a" * 199_999 + b".", "object of type list"),
        (b"]" * MEGA + b"a" * (MEGA - 1) + b".", "more than 1000000 steps"),
        (b")" + b"\x85" * 400_000 + b".", "object of type tuple"),
        (BOOSTER + b"}" * 200_000 + b"b" * 200_000 + b".", "holds no model"),
        (
            BOOSTER + (b"}" + short("handle")) * 50_000 + b"N" + b"s" * 50_000 + b"b.",
            "bytes should",
        ),
        (
            (name("builtins", "bytes") + b"0") * 1000 + name("builtins", "bytes") + b")R.",
            "type bytes",
        ),
        (b"(" * 400_000 + b"t" * 400_000 + b".", "object of type tuple"),
        # Laughs: through the memo, and through copies.
        (b")\x94" + b"h\x00h\x00\x86\x94" * 3 + b"22\x87" * 30 + b".", "object of type tuple"),
        (b"]\x94" + b"h\x00a" * 100_000 + b".", "object of type list"),
        (b"]\x94h\x00h\x00h\x00h\x00\x87\x94a" + b"2a" * 10_000 + b".", "object of type list"),
        # The memo.
        (b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.", "object of type NoneType"),
        (b"Np99999999999999999999\n.", "object of type NoneType"),
        (b"Np-1\n.", "negative place"),
        (b"h\x07.", "place 7 of its memo"),
        (b"N" + b"\x94" * 300_000 + b".", "object of type NoneType"),
        # Claims.
        (b"B\xff\xff\xff\x7fx.", "ends early"),
        (b"B\xff\xff\xff\xffx.", "ends early"),
        (b"\x8e" + (2**40).to_bytes(8, "little") + b"x.", "ends early"),
        (b"\x8e" + b"\xff" * 8 + b"x.", "cannot be read"),
        (b"\x8d" + (2**40).to_bytes(8, "little") + b"x.", "ends early"),
        (b"\x8d" + b"\xff" * 8 + b"x.", "cannot be read"),
        (b"\x96" + (2**40).to_bytes(8, "little") + b"x.", "ends early"),
        (b"\x96" + b"\xff" * 8 + b"x.", "cannot be read"),
        (b"X\xff\xff\xff\xffx.", "ends early"),
        (b"T\xff\xff\xff\xffx.", "cannot be read"),
        (b"T\xff\xff\xff\x7fx.", "ends early"),
        (b"\x8b\xff\xff\xff\xffx.", "cannot be read"),
        (b"\x8b\xff\xff\xff\x7fx.", "ends early"),
        (b"\x95" + (2**40).to_bytes(8, "little") + b"N.", "ends early"),
        (b"\x95" + b"\xff" * 8 + b"N.", "ends early"),
        # Numbers as texts.
        (b"L" + b"9" * MEGA + b"L\n.", "cannot be read"),
        (b"I" + b"9" * MEGA + b"\n.", "cannot be read"),
        (b"Fnope\n.", "cannot be read"),
        (b"I1", "ends early"),
        (b"S'\\q'\n.", "cannot be read"),
        (b"S'\n.", "cannot be read"),
        (b"S'a\"\n.", "cannot be read"),
        (b"V\\ud8\n.", "cannot be read"),
        (b"\x8c\x01\xff.", "cannot be read"),
        (b"c\xff\nx\n.", "cannot be read"),
        # Outside.
        (b"Pid\n.", "outside of it"),
        (b"NQ.", "outside of it"),
        (b"\x82\x01.", "outside of it"),
        (b"\x83\x01\x01.", "outside of it"),
        (b"\x84\x01\x01\x01\x01.", "outside of it"),
        (b"\x97.", "outside of it"),
        (b"N\x98.", "outside of it"),
        (b"\x80\x06N.", "protocol 6, newer than 5"),
        (b"\x80\xffN.", "protocol 255"),
        # The stack.
        (b".", "more from the stack"),
        (b"(.", "more from the stack"),
        (b"N(.", "more from the stack"),
        (b"0.", "more from the stack"),
        (b"2.", "more from the stack"),
        (b"\x94.", "more from the stack"),
        (b"N\x87.", "more from the stack"),
        (b"t.", "mark is missing"),
        (b"(1N1.", "mark is missing"),
        (b"(Nd.", "no value"),
        (b"NNa.", "no list"),
        (b"]NNs.", "items of what has none"),
        (b"NNb.", "state of what has none"),
        (b"N)R.", "no name"),
        (b"N)\x81.", "no name"),
        (b"(o.", "no name"),
        (BOOSTER[:-2] + b"NR.", "no tuple"),
        (name("copyreg", "_reconstructor") + b")R.", "no name"),
        (name("copyreg", "_reconstructor") + b"N\x85R.", "no name"),
        (b"NN\x93.", "name in it is no text"),
        (b"\xff.", "byte 2 begins no step"),
        (b"", "ends early"),
        (b"N", "ends early"),
        (b"N.N", "1 bytes follow its end"),
        # States.
        (BOOSTER + b".", "Booster in it has no state"),
        (BOOSTER + b"]b.", "Booster in it has no state"),
        (BOOSTER + b"}b.", "holds no model"),
        (BOOSTER + b"}" + short("__class__") + name("builtins", "list") + b"sb.", "holds no model"),
        (BOOSTER + b"}" + short("__dict__") + b"}sb.", "holds no model"),
        (BOOSTER + b"N}" + short("handle") + b"Ns\x86b.", "no state"),
        (BOOSTER + b"}" + short("handle") + b"}sb.", "bytes should"),
        (BOOSTER + b"}" + short("handle") + b"K\x01sb.", "bytes should"),
        (BOOSTER + b"}" + short("handle") + short("\u0416") + b"sb.", "bytes are a text"),
        (BOOSTER + b"}" + short("handle") + name("_codecs", "encode") + b")Rsb.", "bytes should"),
        (CLASSIFIER + b"}" + short("_Booster") + CLASSIFIER + b"sb.", "has no Booster"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else "",
)
def test_bombs(stream: bytes, words: str) -> None:
    """Each is a sentence, for the time and the memory that the file's size explains."""
    found = attempt(PROTO + stream)
    assert isinstance(found, str)
    assert words in found


def test_equal_hashes() -> None:
    """Keys that collide cost no more than others: nothing is hashed."""
    keys = b"".join(
        b"\x8a\x0c" + (index * (2**61 - 1)).to_bytes(12, "little") + b"N"
        for index in range(1, 60_000)
    )
    assert "object of type dict" in str(attempt(PROTO + b"}(" + keys + b"u."))


def test_the_handle_is_not_copied_for_each_call() -> None:
    """A long text that is said again and again, and made into bytes each time, is there once."""
    once = b"X" + BIG + b"\x940"
    call = name("_codecs", "encode") + b"\x94" + b"0"
    stream = PROTO + once + call + b"]" + b"h\x01h\x00\x85Ra" * 100_000 + b"."
    assert "object of type list" in str(attempt(stream))


@pytest.mark.parametrize(
    "item",
    [
        b"h\x00",
        # A number of numpy's, whose bytes are the text: it would be decoded each time.
        name("numpy.core.multiarray", "scalar")
        + name("numpy", "dtype") + short("S1000000") + b"\x85R"
        + b"h\x00\x86R\x94",
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["classes_", "feature_names", "feature_types"])
def test_long_labels_many_times(item: bytes, field: str) -> None:
    """Labels and names are bounded by all that they come to, not by what the file takes."""
    first = b"X" + BIG + b"\x940"
    items = b"](" + item + b"h\x00" * 100 + b"e"
    if field == "classes_":
        data = classifier(short(field), items).replace(PROTO, PROTO + first, 1)
    else:
        data = PROTO + first + BOOSTER + b"}(" + HANDLE + short(field) + items + b"ub."
    assert "more than 16777216 bytes of labels or names" in str(attempt(data))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (array(b"K\x02\x85", "i8", b"C\x02\1\2"), "other bytes than its shape"),
        (array(b"K\x02\x85", "U0", b"C\x00"), "other bytes than its shape"),
        (array(b"\x8a\x06\0\0\0\0\0\x01\x85", "S0", b"C\x00"), "other bytes than its shape"),
        (array(b"\x8a\x06\0\0\0\0\0\x01\x85", "O", b"]"), "other items than its shape"),
        (array(b"\x8a\x02\xff\xff\x85", "i1", b"C\x00"), "no shape"),
        (array(b"(" + b"K\xff" * 100 + b"t", "i1", b"C\x00"), "no shape"),
        (array(b"N\x85", "i1", b"C\x00"), "no shape"),
        (array(b"N", "i1", b"C\x00"), "no shape"),
        (array(b"K\x01\x85", "i3", b"C\x03abc"), "cannot be of type =i3"),
        (array(b"K\x01\x85", "U1", b"C\x04\xff\xff\xff\xff"), "cannot be of type =U1"),
        (array(b"K\x01\x85", "O,O", b"C\x01x"), "no type"),
        (array(b"K\x01\x85", "(9,9)i8", b"C\x01x"), "no type"),
        (array(b"K\x01\x85", "i8", b"]"), "bytes should"),
        (array(b"K\x01\x85", "O", b"]" + array(b"K\x01\x85", "O", b"]") + b"a"), "answer can show"),
        (name("numpy.core.multiarray", "_reconstruct") + b")R", "no array"),
        (name("numpy.core.multiarray", "_reconstruct") + b")R)b", "no shape"),
        (name("numpy.core.numeric", "_frombuffer") + b")R", "no array"),
        (name("numpy.core.multiarray", "scalar") + b")R", "no array"),
        (wrapped(b"K\x09\x85", "i8", b""), "ends early"),
        (wrapped(b"\x8a\x06\0\0\0\0\0\x01\x85", "i8", b""), "ends early"),
        (wrapped(b"(" + b"M\xff\xff" * 60 + b"t", "i8", b""), "ends early"),
        (wrapped(b"K\x01\x85", "i8", b"\xff" + b"x" * 3, b"K\x10"), "ends early"),
        (wrapped(b"K\x01\x85", "O", b"N."), "array in it is none"),
        (wrapped(b"K\x01\x85", "O", b"cos\nsystem\n."), "it names os.system"),
        (wrapped(b"K\x01\x85", "O", b"("), "stack"),
        (wrapped(b"K\x01\x85", "O", b"]" * MEGA), "1000000 steps"),
        (wrapped(b"K\x01\x85", "O", wrapped(b"K\x01\x85", "i1", b"") + b"."), "in it is none"),
        (name("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81Nb", "no shape"),
        (name("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81}b", "no shape"),
        (name("joblib.numpy_pickle", "NumpyArrayWrapper") + b")R", "no array"),
    ],
    ids=lambda value: repr(value)[-50:] if isinstance(value, bytes) else "",
)  # fmt: skip
def test_arrays(value: bytes, words: str) -> None:
    """An array is what its type and shape say, or damage."""
    found = attempt(classifier(short("classes_"), value))
    assert isinstance(found, str)
    assert words in found


def test_many_arrays_of_objects_in_a_long_file() -> None:
    """What is read within joblib's file does not make a copy of it each time."""
    inner = b"\x80\x02" + array(b"K\x00\x85", "O", b"]") + b"."
    one = wrapped(b"K\x00\x85", "O", inner)
    data = classifier(short("a"), b"]" + (one + b"a") * 3000, short("b"), b"X" + BIG)
    assert isinstance(attempt(data), Pickled)


def test_steps_are_counted() -> None:
    """As many steps as are allowed are taken, and not one more."""
    # Of these, what is around the pairs takes four: the protocol, the list, the end and one more.
    pairs = (MAX_STEPS - 4) // 2
    stream = PROTO + b"]" + b"N0" * pairs + b"%s."
    assert "object of type list" in str(attempt(stream % b""))
    assert "steps" in str(attempt(stream % b"N0N0"))


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is not there is a sentence too, as is a depth that Python does not follow."""
    for error, words in (
        (MemoryError(), "takes more memory than there is"),
        (RecursionError(), "makes no sense"),
        (TypeError("x"), "makes no sense"),
    ):

        def fails(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("handler.formats.pickles._read", fails)
        assert words in str(attempt(SMALL))


def test_json_nested_without_end() -> None:
    """The attributes of a handle of JSON may be nested beyond what a parser follows."""
    handle = b'{"Config":{},"attributes":{"a":' + b"[" * 200_000
    state = short("handle") + b"B" + struct.pack("<I", len(handle)) + handle
    data = classifier().replace(HANDLE, state)
    assert "a damaged pickle" in str(attempt(data))


# Damage


def mutant(seed: bytes, dice: random.Random) -> bytes:
    """A file with some damage: bytes changed, cut, doubled, moved, or of another file."""
    data = bytearray(seed)
    for _ in range(dice.choice((1, 1, 1, 2, 4, 16))):
        at = min(int(dice.expovariate(1 / 400)), len(data) - 1)
        at = dice.choice((at, len(data) - 1 - at, dice.randrange(len(data))))
        size = dice.choice((1, 2, 8, 100))
        match dice.randrange(6):
            case 0:
                data[at] ^= 1 << dice.randrange(8)
            case 1:
                data[at] = dice.choice(
                    b"(.012FGIJKLMNPQRSTUVXabcdeghijloprstu}])\x80\x81\x82\x85\x8b\x8e\x93\x95"
                )
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = data[at : at + size]
            case 4:
                data[at:at] = dice.choice(SEEDS)[at : at + size]
            case _:
                data[at : at + 8] = dice.choice((b"\xff" * 8, bytes(8), b"\x7f" * 8))
        if not data:
            return b""
    return bytes(data)


def test_mutants() -> None:
    """Of damaged files each gives a model or a sentence."""
    dice = random.Random(8)  # noqa: S311  # to be the same again
    found = [attempt(mutant(dice.choice(SEEDS), dice)) for _ in range(1500)]
    refusals = [one for one in found if isinstance(one, str)]
    assert 300 < len(refusals) < 1400  # both happen, so that the damage is neither none nor all


def test_cut_anywhere() -> None:
    """A file that ends early is refused, wherever it ends."""
    for seed in SEEDS:
        ends = range(len(seed)) if len(seed) < 1000 else range(0, len(seed), len(seed) // 200)
        for end in ends:
            assert isinstance(attempt(seed[:end]), str)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=60), st.sampled_from([b"\x80\x04", BOOSTER, SOUND[:-1], b"(", b"]("]))
def test_any_steps(steps: bytes, before: bytes) -> None:
    """Any bytes after a sound beginning."""
    attempt(PROTO + before + steps)


def test_compressed_mutants() -> None:
    """The same, of files that are compressed."""
    dice = random.Random(9)  # noqa: S311  # to be the same again
    for _ in range(200):
        attempt(zlib.compress(mutant(dice.choice(SEEDS), dice)))
        attempt(mutant(zlib.compress(dice.choice(SEEDS)), dice))
