"""The folder against the prefix: what is compared by content, and what that takes."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from mme.aws import CONNECTIONS
from mme.deploy import archives
from mme.deploy.archives import DIGEST, Archive, Remote
from mme.deploy.compare import difference
from mme.errors import CommandError

KMS = Remote("0123456789abcdef0123456789abcdef", 2 + len("a.tar.gz"), 0.0)


class Account:
    """One whose S3 is a stub: it answers in AWS's own shapes, in the order that was given."""

    def __init__(self) -> None:
        self.s3 = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"  # noqa: S106  # nobody's
        )  # fmt: skip
        self.stub = Stubber(self.s3)

    def client(self, service: str) -> Any:
        """The one."""
        assert service == "s3"
        return self.s3


@pytest.fixture
def account() -> Iterator[Any]:
    """All answers must have been asked for."""
    made = Account()
    with made.stub:
        yield made
        made.stub.assert_no_pending_responses()
    made.s3.close()


def make(folder: Path, *names: str) -> list[Archive]:
    for name in names:
        (folder / name).write_bytes(b"\x1f\x8b" + name.encode())
    return [archives.archive(folder / name, name) for name in names]


def test_difference(account: Any, tmp_path: Path) -> None:
    """New, of another size, of other content, and the same; in the folder's own order."""
    new, text, size, same = here = make(
        tmp_path, "new.tar.gz", "text.tar.gz", "size.tar.gz", "same.tar.gz"
    )
    there = {
        size.key: Remote(size.etag, size.size + 1, 0.0),
        text.key: Remote("0" * 32, text.size, 0.0),
        same.key: Remote(same.etag, same.size, 0.0),
        "only there.tar.gz": Remote("", 1, 0.0),
    }
    account.stub.add_response(
        "head_object", {"Metadata": {}}, {"Bucket": "b", "Key": f"p/{text.key}"}
    )
    assert difference(account, "b", "p/", here, there) == ([new], [text, size], [same])
    assert difference(account, "b", "p/", [], there) == ([], [], [])


@pytest.mark.parametrize(
    ("metadata", "changed"),
    [({DIGEST: "its own"}, False), ({DIGEST: "0" * 32}, True), ({"theirs": "1"}, True)],
    ids=["same", "another", "none of ours"],
)
def test_where_etags_say_nothing(
    metadata: dict[str, str], changed: bool, account: Any, tmp_path: Path
) -> None:
    """What was noted at the upload decides, and nothing noted is another."""
    (one,) = here = make(tmp_path, "a.tar.gz")
    noted = {key: one.etag if value == "its own" else value for key, value in metadata.items()}
    account.stub.add_response("head_object", {"ServerSideEncryption": "aws:kms", "Metadata": noted})
    found = difference(account, "b", "", here, {one.key: KMS})
    assert (found.changed, found.same) == ((here, []) if changed else ([], here))


def test_denied(account: Any, tmp_path: Path) -> None:
    """Metadata that nobody may read is no change, but one line with the permission."""
    here = make(tmp_path, "a.tar.gz")
    account.stub.add_client_error("head_object", "403", "Forbidden", 403)
    with pytest.raises(CommandError) as error:
        difference(account, "b", "p/", here, {"a.tar.gz": KMS})
    assert str(error.value) == (
        "nobody can say whether a.tar.gz has changed: access denied: whoever calls needs the "
        "permission s3:GetObject"
    )


def test_gone_meanwhile(account: Any, tmp_path: Path) -> None:
    """An object that was listed and is gone is uploaded; a file that is gone is one line."""
    here = make(tmp_path, "a.tar.gz")
    account.stub.add_client_error("head_object", "404", "Not Found", 404)
    assert difference(account, "b", "", here, {"a.tar.gz": KMS}).changed == here
    here = make(tmp_path, "a.tar.gz", "b.tar.gz")
    for one in here:
        one.path.unlink()
    there = {one.key: Remote("0", one.size, 0.0) for one in here}
    with pytest.raises(CommandError, match=r"a\.tar\.gz \(and 1 more\) .*a\.tar\.gz: No such file"):
        difference(account, "b", "", here, there)


def test_of_many(account: Any) -> None:
    """100,000 archives are compared at once, and where sizes differ none is read."""
    here = [Archive(f"{n}.tar.gz", Path("/nowhere"), n) for n in range(100_000)]
    there = {one.key: Remote("", one.size + 1, 1.0) for one in here[:50_000]}
    begun = time.process_time()
    found = difference(account, "b", "", here, there)
    assert time.process_time() - begun < 10
    assert [len(some) for some in found] == [50_000, 50_000, 0]


def test_in_parallel(account: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many are read at once as there are connections."""
    together = threading.Barrier(CONNECTIONS, timeout=30)
    read = archives.one_file

    def meet(path: Path) -> Any:
        together.wait()
        return read(path)

    monkeypatch.setattr(archives, "one_file", meet)
    here = make(tmp_path, *(f"{number}.tar.gz" for number in range(CONNECTIONS)))
    etags = {one.key: Archive(one.key, one.path, one.size) for one in here}
    monkeypatch.undo()
    there = {key: Remote(one.etag, one.size, 0.0) for key, one in etags.items()}
    monkeypatch.setattr(archives, "one_file", meet)
    assert difference(account, "b", "", here, there).same == here
