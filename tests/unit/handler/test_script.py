"""Users' scripts in their own processes: hooks, limits, and whatever a script can do wrong."""

import contextlib
import io
import json
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import time
from ast import literal_eval
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from handler.errors import Fault, HandlerError
from handler.model_settings import ModelSettings
from handler.script import ScriptModel
from handler.settings import Settings

ROOT = Path(__file__).parent.parent.parent.parent
SECONDS = 30.0  # that anything here may take
SHORT_SECONDS = 0.7  # for what hangs
MIB = 1024**2
CSV, JSON, NPY, NPZ = "text/csv", "application/json", "application/x-npy", "application/x-npz"

LOADS = "def model_fn(model_dir):\n    return 7\n"
RUNS = f"""
import ctypes, json, os, signal, sys
import numpy as np
from sagemaker_inference import decoder, encoder, errors
{LOADS}
def transform_fn(model, body, content_type, accept, context):
    return eval(body)
"""  # does what a request says


class Starter:
    """Makes artifacts and starts their scripts; all is over when the test is."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._models: list[ScriptModel] = []

    def artifact(self, script: str | None, **files: str) -> Path:
        """An artifact's directory, with the script and other modules beside it."""
        place = self._place / f"m{len(list(self._place.iterdir()))}"
        (place / "code").mkdir(parents=True)
        if script is not None:
            (place / "code" / "inference.py").write_text(script)
        for name, text in files.items():
            (place / "code" / f"{name}.py").write_text(text)
        return place

    def __call__(
        self,
        script: str | Path | None,
        own: ModelSettings | None = None,
        seconds: float = SECONDS,
        settings: Settings | None = None,
    ) -> ScriptModel:
        """Start the script of an artifact, or one in an artifact of its own."""
        place = script if isinstance(script, Path) else self.artifact(script)
        until = time.monotonic() + seconds
        model = ScriptModel.start(
            place, "m.tar.gz", settings or Settings(), own or ModelSettings(), until
        )
        self._models.append(model)
        return model

    def end(self) -> None:
        """Close all that were started."""
        for model in self._models:
            model.close()
            assert model.dead


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Start scripts; nothing of them is left afterwards, no process, no zombie, no descriptor."""
    before, running, starter = descriptors(), processes(), Starter(tmp_path)
    try:
        yield starter
    finally:
        starter.end()
    assert descriptors() - before == set()
    assert processes() - running == set()


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptModel]:
    """One that does what requests say, for those that leave it as it was."""
    starter = Starter(tmp_path_factory.mktemp("runner"))
    yield starter(RUNS)
    starter.end()


@pytest.fixture(scope="module")
def booster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the columns rooms and area."""
    rng = np.random.default_rng(1)
    x = rng.random((50, 2))
    data = xgboost.DMatrix(x, x.sum(axis=1), feature_names=["rooms", "area"])
    path = tmp_path_factory.mktemp("booster") / "model.ubj"
    xgboost.train({"nthread": 1}, data, 3).save_model(path)
    return path


def processes() -> set[int]:
    """Ours that we have started and not reaped, zombies among them."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended
            found.update(map(int, (task / "children").read_text().split()))
    return found


def descriptors() -> set[tuple[str, str]]:
    """Ours, each with what it is of; other tests' may go meanwhile."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of this very look
            found.add((one.name, str(one.readlink())))
    return found


def comm(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def ask(
    model: ScriptModel,
    body: str | bytes = b"1,2",
    content_type: str | None = CSV,
    accept: str | None = JSON,
    seconds: float = SECONDS,
) -> tuple[int, str, bytes]:
    body = body.encode() if isinstance(body, str) else body
    return model.answer(content_type, accept, body, time.monotonic() + seconds)


def said(answer: tuple[int, str, bytes], status: int) -> str:
    """The message of an error, which has the usual form."""
    assert answer[:2] == (status, JSON), answer
    error = json.loads(answer[2])
    assert error["code"] == status
    assert re.fullmatch(r"\w+Exception", error["type"])
    assert "Traceback" not in error["message"]
    return str(error["message"])


def crash(model: ScriptModel, **asked: Any) -> str:
    """The sentence for a request that costs the process; which is gone then, and reaped."""
    pid = model._process.pid
    with pytest.raises(HandlerError) as caught:
        ask(model, **asked)
    assert caught.value.fault is Fault.MODEL_CRASHED
    assert model.dead
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(HandlerError):  # and it says so again, at once
        ask(model, seconds=SECONDS)
    return caught.value.message


def refused(start: Starter, script: str | Path | None, fault: Fault, **more: Any) -> str:
    with pytest.raises(HandlerError) as caught:
        start(script, **more)
    assert caught.value.fault is fault
    assert "\n" not in caught.value.message
    return caught.value.message


# Hooks.


def test_every_hook_gets_what_the_toolkit_says(start: Starter) -> None:
    model = start("""
seen = []
def pre_model_fn(model_dir): seen.append(["pre", model_dir])
def model_fn(model_dir, context): return [context.system_properties["model_dir"]]
def model_warmup_fn(model_dir, model): model.append("warm")
def input_fn(body, content_type, context): return [repr(body), content_type]
def predict_fn(data, model): return data + model
def output_fn(prediction, accept, context):
    context.set_response_content_type(0, "lost/anyway")
    header = context.get_request_header(0, "Content-Type")
    return repr([seen, prediction, accept, header]), "text/x-mine"
""")
    status, kind, body = ask(model, "1,2", CSV, "text/csv, */*")
    assert (status, kind) == (200, "text/x-mine")
    seen, (text, content_type, directory, warm), accept, header = literal_eval(body.decode())
    assert seen == [["pre", directory]]
    assert (Path(directory) / "code" / "inference.py").exists()
    assert (text, content_type, warm) == ("'1,2'", CSV, "warm")
    assert (accept, header) == ("text/csv, */*", CSV)
    assert literal_eval(ask(model, '"\xe9"', JSON)[2].decode())[1][0] == repr('"\xe9"')
    assert literal_eval(ask(model, b"\xff", "image/png")[2].decode())[1][:2] == [
        repr(b"\xff"),
        "image/png",
    ]
    assert literal_eval(ask(model, b"1", None)[2].decode())[1][:2] == [repr(b"1"), None]


@pytest.mark.parametrize(
    ("returned", "kind", "body"),
    [
        ("'\xe9'", JSON, "\xe9".encode()),
        ("bytearray(b'12')", JSON, b"12"),
        ("(b'\\xff', 'image/png')", "image/png", b"\xff"),
        ("{'a': [1]}", JSON, json.dumps({"a": [1]}, indent=2).encode()),
        ("[body, content_type]", JSON, b'[\n  "[body, content_type]",\n  "text/csv"\n]'),
    ],
)
def test_an_answer_is_what_a_hook_returns(
    runner: ScriptModel, returned: str, kind: str, body: bytes
) -> None:
    assert ask(runner, returned) == (200, kind, body)


@pytest.mark.parametrize(
    ("accept", "seen", "kind"),
    [
        (None, "text/csv", "text/csv"),
        ("", "text/csv", "text/csv"),
        ("*/*", "text/csv", "text/csv"),
        ("*/*;q=0.8", "*/*;q=0.8", "text/csv"),
        ("text/csv;q=0.5, */*", "text/csv;q=0.5, */*", "text/csv"),
        ("a/b", "a/b", "a/b"),
    ],
)
def test_accept_is_the_clients_or_the_usual(
    start: Starter, accept: str | None, seen: str, kind: str
) -> None:
    own = ModelSettings(accept="text/csv", content_type="text/x-own")
    model = start(f"{LOADS}def transform_fn(m, b, c, a): return a + ' ' + c", own)
    assert ask(model, b"", None, accept) == (200, kind, f"{seen} text/x-own".encode())
    assert ask(model, b"", "c/d", accept)[2].decode() == f"{seen} c/d"


def test_the_containers_accept_is_the_default(start: Starter) -> None:
    settings = Settings(default_accept="application/jsonlines")
    model = start(f"{LOADS}def transform_fn(m, b, c, a): return a", settings=settings)
    assert ask(model, accept=None)[1:] == ("application/jsonlines", b"application/jsonlines")


DEFAULTS = """
import os, xgboost
def model_fn(model_dir):
    return xgboost.Booster(model_file=os.environ["SUITE_MODEL"])
"""


@pytest.fixture
def defaults(
    start: Starter, booster: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[ScriptModel, Callable[[Any], list[float]]]:
    """A script of a ``model_fn`` alone, and what its model predicts."""
    monkeypatch.setenv("SUITE_MODEL", str(booster))
    own = xgboost.Booster(model_file=booster)
    own.set_param({"nthread": 1})
    names = ["rooms", "area"]
    return start(DEFAULTS), lambda rows: own.predict(
        xgboost.DMatrix(np.array(rows), feature_names=names)
    ).tolist()


def test_the_hooks_that_are_left_out(
    defaults: tuple[ScriptModel, Callable[[Any], list[float]]],
) -> None:
    model, predict = defaults
    rows = [[0.25, 1.0], [0.5, 0.75]]
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, np.array(rows))
    import scipy.sparse

    scipy.sparse.save_npz(npz, scipy.sparse.csr_matrix(np.array(rows)))
    bodies: list[tuple[str, bytes]] = [
        (CSV, b"0.25,1\n0.5,0.75\n"),  # the second column is of numbers, the first one too
        ("Text/CSV; charset=utf-8", b"0.25,1\n0.5,0.75\n"),
        (JSON, json.dumps(rows).encode()),
        (NPY, npy.getvalue()),
        (NPZ, npz.getvalue()),
    ]
    for content_type, body in bodies:
        status, kind, answer = ask(model, body, content_type)
        assert (status, kind) == (200, JSON), answer
        assert json.loads(answer) == pytest.approx(predict(rows))
    assert json.loads(ask(model, b"0.25,1")[2]) == pytest.approx(predict(rows[:1]))
    # Whole numbers in one column only: the toolkit reads a structured array.
    whole = [[1, 0.5], [0, 0.25]]
    assert json.loads(ask(model, b"1,0.5\n0,0.25")[2]) == pytest.approx(predict(whole))
    status, kind, answer = ask(model, b"0.25,1\n0.5,0.75", CSV, "image/png, text/csv;q=0.9")
    assert (status, kind) == (200, CSV)
    assert [float(line) for line in answer.split()] == pytest.approx(predict(rows))
    status, kind, answer = ask(model, b"0.25,1", CSV, NPY)
    assert (status, kind) == (200, NPY)
    assert np.load(io.BytesIO(answer)).tolist() == pytest.approx(predict(rows[:1]))


def test_what_the_hooks_that_are_left_out_refuse(
    defaults: tuple[ScriptModel, Callable[[Any], list[float]]], tmp_path: Path
) -> None:
    model, _ = defaults
    pickled = io.BytesIO()
    np.save(pickled, np.array([Opens(tmp_path / "opened")], object), allow_pickle=True)
    assert "allow_pickle=False" in said(ask(model, pickled.getvalue(), NPY), 400)
    assert not (tmp_path / "opened").exists()
    assert "not text/csv" in said(ask(model, b"1,2\n3"), 400)
    assert "not application/json" in said(ask(model, b"[1,", JSON), 400)
    assert "not application/x-npy" in said(ask(model, b"1,2", NPY), 400)
    assert "not UTF-8" in said(ask(model, b"\xff,1"), 400)
    assert "not a number" in said(ask(model, b"a,b"), 400)
    assert "not a number" in said(ask(model, b'{"a": 1}', JSON), 400)
    assert said(ask(model, b"1,2,3"), 400) == "rows have 3 columns; the model takes 2"
    message = said(ask(model, b"1 2", "text/x-other"), 415)
    assert message.startswith("text/x-other is not read without an input_fn; ")
    assert "text/csv" in message
    assert said(ask(model, b"1,2", None), 415).startswith("None is not read")
    message = said(ask(model, b"1,2", CSV, "image/png, text/*"), 406)
    assert message.startswith("image/png, text/* cannot be given without an output_fn; ")
    assert ask(model)[0] == 200


class Opens:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self._path), "w")


def test_a_model_of_one_column_and_one_that_is_no_booster(start: Starter) -> None:
    model = start("""
class Sums:
    n_features_in_ = 1
    def predict(self, rows): return rows.sum(axis=1)
def model_fn(model_dir): return Sums()
""")
    assert ask(model, b"1\n2\n3") == (200, JSON, b"[1, 2, 3]")


def test_the_toolkits_own_decoder_takes_no_pickles_from_a_script_either(
    runner: ScriptModel, tmp_path: Path
) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, np.array([Opens(tmp_path / "opened")], object), allow_pickle=True)
    code = f"str(decoder.decode(open({str(tmp_path / 'a.npy')!r}, 'rb').read(), '{NPY}'))"
    assert said(ask(runner, code), 500).startswith("ValueError: Object arrays cannot be loaded")
    assert not (tmp_path / "opened").exists()
    pickle.loads(pickle.dumps(Opens(tmp_path / "opened"))).close()  # noqa: S301  # our own
    assert (tmp_path / "opened").exists()  # it would have been


# Where it runs.


def test_a_script_is_alone_with_its_modules(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    code = f"import helper\n{LOADS}def transform_fn(m, b, c, a): return helper.NAME"
    one = start.artifact(code, helper="NAME = 'one'")
    two = start.artifact(code, helper="NAME = 'two'")
    models = [start(one), start(two)]
    assert [ask(model)[2] for model in models] == [b"one", b"two"]
    assert not [path for path in one.rglob("*") if "pycache" in path.name]
    three = start.artifact(code)
    assert "No module named 'helper'" in refused(start, three, Fault.BAD_MODEL)


def test_where_a_script_runs(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_VALUE", "inherited")
    place = start.artifact(RUNS)
    for name in ("handler", "json"):  # must not be taken for ours, or Python's
        (place / f"{name}.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(place)
    model = start(place, ModelSettings(threads=3))
    code = """json.dumps({
        "cwd": os.getcwd(), "path": sys.path[0], "pid": os.getpid(), "group": os.getpgid(0),
        "environ": dict(os.environ), "oom": open("/proc/self/oom_score_adj").read().strip(),
        "core": __import__("resource").getrlimit(__import__("resource").RLIMIT_CORE),
        "fds": len(os.listdir("/proc/self/fd")), "argv": sys.argv, "parent": os.getppid(),
        "inherited": [fd for fd in range(3, 100) if fd_is_inherited(fd)],
    })""".replace(
        "fd_is_inherited",
        "(lambda fd: os.path.exists(f'/proc/self/fd/{fd}') and os.get_inheritable(fd))",
    )
    seen = json.loads(ask(model, " ".join(code.split()))[2])
    assert seen["cwd"] == str(place)
    assert seen["path"] == str(place / "code")
    assert seen["argv"] == [str(place / "code" / "inference.py")]
    assert seen["parent"] == os.getpid() != seen["pid"] == seen["group"]
    assert seen["oom"] == "1000"
    assert seen["core"] == [0, 0]
    assert seen["fds"] == 5  # standard ones, the connection, and that of the look
    assert seen["inherited"] == []
    environ = seen["environ"]
    assert environ["SAGEMAKER_PROGRAM"] == "inference.py"
    assert environ["SAGEMAKER_SUBMIT_DIRECTORY"] == str(place / "code")
    assert environ["SUITE_VALUE"] == "inherited"
    assert environ["OMP_NUM_THREADS"] == "3"
    assert comm(seen["pid"]) == "mme-script"


def test_another_program_may_be_named(start: Starter) -> None:
    place = start.artifact(
        None, **{"my-own": f"{LOADS}def transform_fn(m, b, c, a): return 'mine'"}
    )
    assert ask(start(place, settings=Settings(program="my-own.py")))[2] == b"mine"
    assert "no script code/inference.py" in refused(start, place, Fault.BAD_MODEL)
    place = start.artifact(None, json=LOADS)
    message = refused(start, place, Fault.BAD_MODEL, settings=Settings(program="json.py"))
    assert "code/json.py has the name of a module" in message


def test_what_a_script_prints_goes_to_the_log(
    start: Starter, capfd: pytest.CaptureFixture[str]
) -> None:
    model = start(
        f"import logging, os\nprint('import {{')\n{LOADS}"
        """
def transform_fn(m, b, c, a):
    os.write(1, b'mme1 garbage ' * 1000)
    print('print')
    logging.info('info')
    return b
"""
    )
    assert ask(model, b"1,2")[2] == b"1,2"
    assert ask(model, b"3,4")[2] == b"3,4"
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("import {\n")
    assert err.count("mme1 garbage") == 2000
    assert "print\ninfo\n" in err


def test_large_bodies_and_answers(runner: ScriptModel) -> None:
    data = b"'" + b"x" * 8 * MIB + b"'"
    status, _, body = ask(runner, data)
    assert (status, len(body)) == (200, 8 * MIB)


# What goes wrong in a load.


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (None, "there is no script code/inference.py"),
        ("x = 1", "code/inference.py has no model_fn, which every script needs to load its model"),
        (
            "def transform_fn(m, b, c, a): return b",
            "code/inference.py has no model_fn, which every script needs to load its model",
        ),
        ("def f(:", "code/inference.py does not load: SyntaxError: invalid syntax"),
        ("import no_such", "code/inference.py does not load: ModuleNotFoundError: No module named"),
        (
            f"{LOADS}def transform_fn(m, b, c, a): pass\ndef input_fn(b, c): pass",
            "code/inference.py does not load: ValueError: Cannot use transform_fn",
        ),
        (
            "def model_fn(d): raise ValueError('bad\\nmodel')",
            "model_fn of code/inference.py failed: ValueError: bad",
        ),
        (
            "def model_fn(a, b, c): pass",
            "model_fn of code/inference.py failed: TypeError: model_fn",
        ),
        (
            f"{LOADS}def pre_model_fn(d): raise KeyError(1)",
            "pre_model_fn of code/inference.py failed: KeyError: 1",
        ),
        (
            f"{LOADS}def model_warmup_fn(d, m): assert False",
            "model_warmup_fn of code/inference.py failed: AssertionError",
        ),
        ("import sys; sys.exit(3)", "did not load, its process ended: exit status 3"),
        ("import os; os.kill(os.getpid(), 11)", "did not load, its process ended: SIGSEGV"),
    ],
)
def test_what_cannot_be_loaded_is_refused(
    start: Starter, capfd: pytest.CaptureFixture[str], script: str | None, sentence: str
) -> None:
    assert sentence in refused(start, script, Fault.BAD_MODEL)
    if "failed" in sentence:
        assert "Traceback" in capfd.readouterr().err


def test_a_load_that_hangs_is_killed(start: Starter) -> None:
    begun = time.monotonic()
    script = "import os\nprint(os.getpid())\nwhile True: pass"
    message = refused(start, script, Fault.BAD_MODEL, seconds=2.0)
    assert re.fullmatch(r"code/inference.py did not load in [\d.]+ s", message)
    assert time.monotonic() - begun < SECONDS / 2


def test_a_load_that_wants_too_much_memory(start: Starter) -> None:
    script = f"hog = bytearray(100 * {MIB})\n{LOADS}"
    settings = Settings(script_memory_mb=64)
    message = refused(start, script, Fault.BAD_MODEL, settings=settings)
    assert "code/inference.py wants more memory to load than its 64 MB" in message
    assert start(script, ModelSettings(script_memory_mb=200), settings=settings).size > 100 * MIB


def test_the_size_is_what_the_process_takes(start: Starter) -> None:
    small = start(LOADS).size
    assert 5 * MIB < small < 100 * MIB
    large = start(f"{LOADS}hog = bytearray(b'x') * (40 * {MIB})").size
    assert large - small == pytest.approx(40 * MIB, rel=0.2)


# What goes wrong in a request.


def test_what_a_hook_raises_is_told_in_one_line(
    start: Starter, capfd: pytest.CaptureFixture[str]
) -> None:
    runner = start(RUNS)
    assert said(ask(runner, "int('x')"), 500).startswith("ValueError: invalid literal for int()")
    err = capfd.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert "ValueError: invalid literal" in err
    long = "(_ for _ in ()).throw(ValueError('a' * 9999 + chr(10) + 'b'))"
    assert said(ask(runner, long), 500) == "ValueError: " + "a" * 488
    assert said(ask(runner, "(_ for _ in ()).throw(KeyError())"), 500) == "KeyError"
    assert said(ask(runner, "None"), 500).startswith("TypeError: transform_fn returned NoneType; ")
    assert said(ask(runner, "{1, 2}"), 500).startswith("TypeError: transform_fn returned set; ")
    assert "as the content type" in said(ask(runner, "('x', None)"), 500)
    assert "as the content type" in said(ask(runner, "('x', 'a/b\\r\\nSet-Cookie: c')"), 500)
    assert said(ask(runner, "()"), 500).startswith("IndexError: ")
    assert said(ask(runner, "'\\ud800'"), 500).startswith("UnicodeEncodeError: ")
    assert ask(runner, "'well'") == (200, JSON, b"well")


def test_a_users_input_fn_answers_for_itself(start: Starter) -> None:
    model = start(
        f"import json\n{LOADS}"
        """
def input_fn(body, content_type): return json.loads(body)
def predict_fn(data, model): return data[model]
def output_fn(prediction, accept): raise OSError(5, 'no such wish')
"""
    )
    assert said(ask(model, b"[1,"), 500).startswith("JSONDecodeError: ")
    assert said(ask(model, b"[1]"), 500) == "IndexError: list index out of range"
    assert said(ask(model, b"[1,2,3,4,5,6,7,8]"), 500) == "OSError: [Errno 5] no such wish"


def test_a_script_chooses_its_status(runner: ScriptModel) -> None:
    def raised(status: str) -> str:
        error = f"errors.BaseInferenceToolkitError({status}, 'no rooms', 'phrase')"
        return f"(_ for _ in ()).throw({error})"

    for status, answered in ("422", 422), ("400", 400), ("503", 503), ("598", 598):
        assert said(ask(runner, raised(status)), answered) == "no rooms"
    for status in "200", "599", "302", "'x'", "None", "1000":
        assert said(ask(runner, raised(status)), 500) == "no rooms"
    kinds = [json.loads(ask(runner, raised(status))[2])["type"] for status in ("400", "404", "598")]
    assert kinds == ["BadRequestException", "NotFoundException", "ScriptException"]
    chosen = "(context.set_response_status(%s, 'phrase'), ('why', 'text/plain'))[1]"
    assert ask(runner, chosen % 422) == (422, "text/plain", b"why")
    assert ask(runner, chosen % 599) == (200, "text/plain", b"why")
    assert ask(runner, "'next'") == (200, JSON, b"next")


def test_the_toolkits_own_error_for_types(start: Starter) -> None:
    model = start(
        f"from sagemaker_inference.errors import UnsupportedFormatError as No\n{LOADS}"
        """
def input_fn(body, content_type):
    if content_type != 'a/b': raise No(content_type)
def predict_fn(data, model): return 1
def output_fn(prediction, accept): raise No(accept)
"""
    )
    sentence = "Content type %s is not supported by this framework."
    assert said(ask(model, b"", "c/d"), 415) == sentence % "c/d"
    assert said(ask(model, b"", "a/b", "e/f"), 406) == sentence % "e/f"


def test_an_answer_may_be_too_large(start: Starter) -> None:
    model = start(RUNS, settings=Settings(max_response_bytes=1000))
    message = said(ask(model, "'x' * 1001"), 400)
    assert message == "the answer has 1001 bytes, at most are 1000; send fewer rows"
    assert ask(model, "'x' * 1000")[0] == 200


def test_a_request_that_wants_too_much_memory(start: Starter) -> None:
    model = start(RUNS, ModelSettings(script_memory_mb=64))
    for body in f"'x' * (100 * {MIB})", f"np.ones(100 * {MIB})", "'std::bad_alloc' / 1":
        if "bad_alloc" in body:
            body = "(_ for _ in ()).throw(RuntimeError('std::bad_alloc'))"
        message = said(ask(model, body), 500)
        assert "code/inference.py wants more memory for this request than its 64 MB" in message
        assert "MME_SCRIPT_MEMORY_MB" in message
    assert ask(model, f"str(len('x' * (30 * {MIB})))")[0] == 200


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("sys.exit(3)", "exit status 3"),
        ("sys.exit()", "exit status 0"),
        ("os._exit(4)", "exit status 4"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("os.kill(os.getpid(), 40)", "signal 40"),
        ("os.abort()", "SIGABRT"),
        ("ctypes.string_at(0)", "SIGSEGV"),
        ("os.closerange(0, 4096) or 'x'", "it closed its connection to the server"),
        (
            "[os.write(fd, b'x' * 100) for fd in range(3, 4096) if os.path.exists(f'/dev/fd/{fd}') "
            "and os.readlink(f'/dev/fd/{fd}').startswith('socket')] and 'x'",
            "it wrote into its connection to the server",
        ),
    ],
)
def test_a_process_that_ends_costs_one_request(start: Starter, code: str, how: str) -> None:
    model = start(RUNS)
    assert not model.dead
    assert crash(model, body=code) == f"the process of code/inference.py ended: {how}"


def test_a_process_that_ends_between_requests(start: Starter) -> None:
    model = start(RUNS)
    pid = int(ask(model, "str(os.getpid())")[2])
    ends = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    assert select.select([ends], [], [], SECONDS)[0]
    os.close(ends)
    assert crash(model).endswith("ended: SIGTERM")


def test_a_process_that_ends_while_its_fork_lives(start: Starter) -> None:
    model = start(RUNS)
    code = "os.fork() and os._exit(5) or signal.pause()"
    begun = time.monotonic()
    assert crash(model, body=code).endswith("ended: exit status 5")
    assert time.monotonic() - begun < SECONDS / 2  # not only when the time was over


def test_a_fork_that_returns_from_a_hook_too(start: Starter) -> None:
    model = start(RUNS)

    def asked() -> None:
        ask(model, "'parent' if os.fork() else 'child'")
        until, number = time.monotonic() + SECONDS, 0
        while time.monotonic() < until:  # what is left of the first may come after another answer
            number += 1
            assert ask(model, f"'{number}'")[2].decode() == str(number)

    with pytest.raises(HandlerError) as caught:
        asked()
    assert "it answered twice" in caught.value.message
    assert model.dead


def test_what_takes_too_long_is_killed(start: Starter) -> None:
    loop = "[0 for _ in iter(int, 1)]"
    model = start(RUNS)
    begun = time.monotonic()
    message = crash(model, body=loop, seconds=SHORT_SECONDS)
    assert time.monotonic() - begun < SECONDS / 2
    assert re.fullmatch(
        r"no answer in (0\.[6-9]|[1-9])[\d.]* s: code/inference.py hangs, or needs more time",
        message,
    )
    model = start(RUNS, ModelSettings(script_seconds=1))
    begun = time.monotonic()
    assert re.match(r"no answer in [1-9][\d.]* s", crash(model, body=loop, seconds=SECONDS))
    assert time.monotonic() - begun < SECONDS / 2


WAITS = f"""
import os
{LOADS}
def transform_fn(model, body, content_type, accept):
    if body == 'wait':
        with open(os.path.join(os.getcwd(), 'here'), 'w'): pass
        with open(os.path.join(os.getcwd(), 'go')) as go: return go.read()
    return body
"""


@pytest.fixture
def waiting(start: Starter) -> tuple[ScriptModel, Path]:
    """A script that says that it is inside a request, and waits to be told to go on."""
    place = start.artifact(WAITS)
    for name in "here", "go":
        os.mkfifo(place / name)
    return start(place), place


def test_requests_wait_for_each_other(waiting: tuple[ScriptModel, Path]) -> None:
    model, place = waiting
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(ask, model, "wait")
        (place / "here").read_text()  # it is inside
        begun = time.monotonic()
        message = said(ask(model, "late", seconds=0.3), 503)
        assert time.monotonic() - begun < SECONDS / 2
        assert re.fullmatch(r"no answer in [\d.]+ s: the script was busy .*", message)
        second = threads.submit(ask, model, "second")
        (place / "go").write_text("gone on")
        assert first.result(SECONDS) == (200, JSON, b"gone on")
        assert second.result(SECONDS) == (200, JSON, b"second")
    assert not model.dead


def test_a_model_is_closed_with_a_request_in_it(waiting: tuple[ScriptModel, Path]) -> None:
    model, place = waiting
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(ask, model, "wait")
        (place / "here").read_text()
        second = threads.submit(ask, model, "second")
        begun = time.monotonic()
        model.close()
        assert time.monotonic() - begun < SECONDS / 2
        for waits in first, second:
            error = waits.exception(SECONDS)
            assert isinstance(error, HandlerError)
            assert error.message.endswith("ended: the model was unloaded")
    assert model.dead
    model.close()  # nothing, the second time


def end_by(descriptor: int) -> None:
    """Kill the process of a descriptor, where it has not ended as it should, and close that."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)


def test_what_a_script_forked_ends_with_it(start: Starter) -> None:
    model = start(RUNS)
    child = int(ask(model, "(lambda pid: str(pid) if pid else signal.pause())(os.fork())")[2])
    ends = os.pidfd_open(child)
    try:
        assert not select.select([ends], [], [], 0)[0]
        model.close()
        assert select.select([ends], [], [], SECONDS)[0]
    finally:
        end_by(ends)


SERVER = """
import sys, time
from pathlib import Path
from handler.model_settings import ModelSettings
from handler.script import ScriptModel
from handler.settings import Settings
until = time.monotonic() + 60
model = ScriptModel.start(Path(sys.argv[1]), "m", Settings(), ModelSettings(), until)
model.answer(None, None, b"", until)
"""


def test_an_endless_loop_ends_with_the_server(start: Starter) -> None:
    loop = "def transform_fn(m, b, c, a):\n    print(os.getpid())\n    while True: pass"
    place = start.artifact(f"import os\n{LOADS}{loop}")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(place)], cwd=ROOT, stderr=subprocess.PIPE
    )
    assert server.stderr is not None
    script = None
    try:
        assert select.select([server.stderr], [], [], SECONDS)[0]
        pid = int(server.stderr.readline())  # the script is in its loop
        script = os.pidfd_open(pid)
        assert not select.select([script], [], [], 0)[0]
        server.kill()
        assert select.select([script], [], [], SECONDS)[0]
    finally:
        server.kill()
        server.wait(SECONDS)
        server.stderr.close()
        if script is not None:
            end_by(script)


# The page.


def test_the_example_of_the_page(start: Starter, booster: Path) -> None:
    page = (ROOT / "docs" / "21-scripts.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    place = start.artifact(example)
    (place / "model.ubj").write_bytes(booster.read_bytes())
    # The example knows its columns by place.
    plain = xgboost.Booster(model_file=booster)
    plain.feature_names = None
    plain.save_model(place / "model.ubj")
    model = start(place)
    houses = {"houses": [{"rooms": 0.5, "area": 0.25}, {"rooms": 0.1, "area": 0.9}]}
    status, kind, body = ask(model, json.dumps(houses), JSON, JSON)
    rows = xgboost.DMatrix(np.array([[0.5, 0.25], [0.1, 0.9]]))
    expected = [round(float(price), 2) for price in plain.predict(rows)]
    assert (status, kind, json.loads(body)) == (200, JSON, {"prices": expected})
    assert said(ask(model, b"1,2", CSV), 500) == "ValueError: text/csv is not JSON"
