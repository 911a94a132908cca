"""The command line itself."""

import ast
import os
import subprocess
import sys

import pytest

from mme import cli


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """``mme --help`` has a line a command."""
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, command in cli.COMMANDS.items():
        assert f"{name:<10}{command.what}" in shown


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """``mme`` alone shows the same, as a mistake."""
    assert cli.main([]) == 2
    assert "usage: mme COMMAND" in capsys.readouterr().out


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that there is not gets one line with those that there are."""
    assert cli.main(["fly"]) == 2
    assert capsys.readouterr().err == (
        f"mme: no command 'fly'; there are {', '.join(cli.COMMANDS)}\n"
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``mme --version`` says which one this is."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mme 0.")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_each_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command says what it takes."""
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: mme {command}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["houses", "--help"]])
def test_a_reader_that_leaves(words: list[str]) -> None:
    """When nobody reads the output any more, the command ends without a complaint."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mme", *words],
            env=os.environ | {"PYTHONUNBUFFERED": ""},  # the pipe is noticed when it is flushed
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (130, "")


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends a command without a traceback, also while its module is imported."""

    def interrupt(name: str) -> None:
        raise KeyboardInterrupt(name)

    monkeypatch.setattr("importlib.import_module", interrupt)
    assert cli.main(["houses", "--out", "x"]) == 130
    assert capsys.readouterr().err == ""


def test_help_is_light() -> None:
    """The list of commands is printed without a module of any of them, and without numpy."""
    code = "import sys; from mme import cli; cli.main(['--help']); print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(ast.literal_eval(done.stdout.splitlines()[-1]))
    commands = {command.module for command in cli.COMMANDS.values()}
    assert not loaded & (commands | {"numpy", "pandas", "xgboost", "joblib", "tqdm"})
