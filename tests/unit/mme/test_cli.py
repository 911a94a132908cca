"""The command line itself."""

import subprocess
import sys

import pytest

from mme import cli


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """``mme --help`` has a line a command."""
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, what in cli.COMMANDS.items():
        assert f"{name:<10}{what}" in shown


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """``mme`` alone shows the same, as a mistake."""
    assert cli.main([]) == 2
    assert "usage: mme COMMAND" in capsys.readouterr().out


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that there is not gets one line with those that there are."""
    assert cli.main(["fly"]) == 2
    assert capsys.readouterr().err == (
        "mme: no command 'fly'; there are serve, houses, train, demo\n"
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


def test_a_reader_that_leaves() -> None:
    """When nobody reads the output any more, the command ends without a complaint."""
    command = f"{sys.executable} -m mme houses --out /dev/null/x 2>&1 | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
