"""The folder: what is read, what is said of bad files; and many things done at once."""

import hashlib
import os
import time
import types
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3 import transfer
from botocore.stub import Stubber

from mme.deploy import archives, parallel
from mme.deploy.archives import PART_BYTES
from mme.deploy.parallel import GoOn
from mme.errors import CommandError

GZIP = b"\x1f\x8b"


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_local(tmp_path: Path) -> None:
    """Archives at any depth, by key; nothing else that lies there, and nothing that is hidden."""
    for name in ("b.tar.gz", "a/z.tar.gz", "a/b/c.tar.gz"):
        put(tmp_path / name, GZIP + name.encode())
    for name in ("metrics.csv", ".b.tar.gz", ".git/x.tar.gz", "a.tar.gz.part"):
        put(tmp_path / name, b"")
    found = archives.local(tmp_path)
    assert [one.key for one in found] == ["a/b/c.tar.gz", "a/z.tar.gz", "b.tar.gz"]
    assert [one.size for one in found] == [14, 12, 10]
    assert found[2].etag == found[2].md5 == hashlib.md5(GZIP + b"b.tar.gz").hexdigest()  # noqa: S324  # as S3's ETags


def test_bad_files_are_named(tmp_path: Path) -> None:
    """All that are wrong come in one line, the first few by name."""
    put(tmp_path / "good.tar.gz", GZIP)
    put(tmp_path / "empty.tar.gz", b"")
    put(tmp_path / "plain.tar.gz", b"plain")
    os.mkfifo(tmp_path / "pipe.tar.gz")
    (tmp_path / "gone.tar.gz").symlink_to(tmp_path / "nothing")
    (tmp_path / os.fsdecode(b"\xff.tar.gz")).write_bytes(GZIP)
    with pytest.raises(CommandError) as error:
        archives.local(tmp_path)
    message = str(error.value)
    for words in (
        *("empty.tar.gz: is empty", "plain.tar.gz: is not gzip", "pipe.tar.gz: is empty"),
        *("gone.tar.gz: No such file or directory", "is no Unicode text"),
    ):
        assert words in message
    assert "good" not in message
    message.encode()
    for number in range(9):
        put(tmp_path / f"more-{number}.tar.gz", b"plain")
    with pytest.raises(CommandError, match="and 9 more"):
        archives.local(tmp_path)


def test_no_archives(tmp_path: Path) -> None:
    """A folder without any, and one that is not there, are mistakes."""
    with pytest.raises(CommandError, match=r"holds no \*\.tar\.gz"):
        archives.local(tmp_path)
    with pytest.raises(CommandError, match="there is no folder"):
        archives.local(tmp_path / "none")


@pytest.mark.parametrize(
    ("size", "parts"), [(PART_BYTES, 0), (PART_BYTES + 1, 2), (2 * PART_BYTES, 2)]
)
def test_etag(tmp_path: Path, size: int, parts: int) -> None:
    """It is the MD5, or that of the parts' MD5s, as S3 has it."""
    data = GZIP + os.urandom(size - 2)
    one = archives.archive(put(tmp_path / "a.tar.gz", data), "a.tar.gz")
    if not parts:
        assert one.etag == hashlib.md5(data).hexdigest()  # noqa: S324  # as S3's ETags
        return
    split = [data[begin : begin + PART_BYTES] for begin in range(0, size, PART_BYTES)]
    whole = b"".join(hashlib.md5(part).digest() for part in split)  # noqa: S324  # as S3's ETags
    assert one.etag == f"{hashlib.md5(whole).hexdigest()}-{parts}"  # noqa: S324  # as S3's ETags


def test_delete_errors() -> None:
    """An answer that lists what was not deleted is an error, in AWS's own shape of it."""
    client = boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"  # noqa: S106  # nobody's
    )  # fmt: skip

    class Stubbed:
        def client(self, _: str) -> Any:
            return client

    refused = {"Key": "p/a", "Code": "AccessDenied", "Message": "Access Denied"}
    with Stubber(client) as stub:
        stub.add_response("delete_objects", {"Errors": [refused, refused | {"Key": "p/b"}]})
        with pytest.raises(
            CommandError, match="2 objects could not be deleted, first s3://b/p/a: "
        ):
            archives.delete(Stubbed(), "b", ["p/a", "p/b", "p/c"])  # type: ignore[arg-type]  # a part
    client.close()


def test_each() -> None:
    """All are done, in whatever order; errors of the user's and of AWS come back in theirs."""
    done: list[int] = []

    def act(number: int, go_on: GoOn) -> None:
        go_on(1)
        if number % 10 == 3:
            raise OSError(number)

    failed = parallel.each(act, range(1000), lambda: done.append(1))
    assert [number for number, _ in failed] == list(range(3, 1000, 10))
    assert len(done) == 900
    with pytest.raises(ZeroDivisionError):  # a mistake of ours is no archive's failure
        parallel.each(lambda number, _: number / 0 and None, [1])  # type: ignore[func-returns-value]  # it raises


def test_each_interrupted() -> None:
    """After Ctrl-C no more are begun, and those that run are told to end."""
    begun: list[int] = []

    def act(number: int, go_on: GoOn) -> None:
        begun.append(number)
        if number == 0:
            return
        while True:  # an upload that would never end, unless it is told to
            go_on(1)
            time.sleep(0.001)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parallel.each(act, range(100_000), interrupt)
    assert len(begun) < 1000


def test_quiet_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal there is a line at the end, and now and then, of how far it is."""
    with parallel.Progress(3, "archives uploaded") as progress:
        progress.advance()
        progress.advance()
    assert capsys.readouterr().out.startswith("  2 of 3 archives uploaded, ")
    with parallel.Progress(3, "archives uploaded"):
        pass
    with parallel.Progress(1, "archives compared", brief=True) as progress:
        progress.advance()
    assert not capsys.readouterr().out
    monkeypatch.setattr(parallel, "_QUIET_SECONDS", 0.0)
    with parallel.Progress(2, "archives compared", brief=True) as progress:
        progress.advance()
        progress.advance()
    assert [line[:30] for line in capsys.readouterr().out.splitlines()] == [
        *("  1 of 2 archives compared, 0.", "  2 of 2 archives compared, 0."),
        "  2 of 2 archives compared, 0.",
    ]


def test_parts_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where awscrt is installed, and boto3 would take its parts, ours are kept."""
    crt = types.SimpleNamespace(s3=types.SimpleNamespace(is_optimized_for_system=lambda: True))
    monkeypatch.setattr(transfer, "HAS_CRT", True)
    monkeypatch.setattr(transfer, "awscrt", crt, raising=False)
    monkeypatch.setattr(transfer, "has_minimum_crt_version", lambda _: True)
    assert transfer._should_use_crt(transfer.TransferConfig())
    assert not transfer._should_use_crt(archives._TRANSFER)
