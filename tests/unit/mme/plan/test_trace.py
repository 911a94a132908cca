"""Traffic: drawn by Zipf's law, and read from files of others."""

from pathlib import Path

import numpy as np
import pytest

from mme.errors import CommandError
from mme.plan import trace


def test_zipf() -> None:
    """Shares fall as the law says, draws follow them, and the same seed gives the same requests."""
    drawn = trace.draw(100, 50_000, 20.0, 1.0, 5)
    assert drawn.shares[0] == pytest.approx(2 * drawn.shares[1])
    seen = np.bincount(drawn.models, minlength=100) / 50_000
    assert seen == pytest.approx(drawn.shares, abs=0.01)
    assert drawn.times[-1] == pytest.approx(50_000 / 20, rel=0.05)
    assert (np.diff(drawn.times) >= 0).all()
    assert (trace.draw(100, 50_000, 20.0, 1.0, 5).models == drawn.models).all()
    assert np.ptp(trace.draw(100, 10, 1.0, 0.0, 1).shares) == pytest.approx(0)


def test_file(tmp_path: Path) -> None:
    """Rows come in any order, beside other columns; the rate is the file's, or the one given."""
    file = tmp_path / "trace.csv"
    file.write_text("model,who,time\nb,x,12.0\na,y,10\n\na,z,14\n")
    read = trace.read(file)
    assert read.times.tolist() == [0, 2, 4]
    assert read.models.tolist() == [0, 1, 0]
    assert read.shares.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert read.rate == 0.5
    assert read.notes == (
        "In trace.csv a row was earlier than the one before: it was sorted by time.",
    )
    faster = trace.read(file, rate=5.0)
    assert faster.rate == 5.0
    assert faster.times.tolist() == pytest.approx([0, 0.2, 0.4])


def test_dates(tmp_path: Path) -> None:
    """Times may be dates."""
    file = tmp_path / "trace.csv"
    file.write_text("time,model\n2024-01-01T00:00:00+00:00,a\n2024-01-01T00:01:00+00:00,b\n")
    assert trace.read(file).times.tolist() == [0, 60]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty: its first line must be time,model"),
        ("when,model\n1,a\n", "header that has time,model"),
        (
            "time,model\n1,a\nsoon,b\n",
            "line 3: 'soon' is no time: write seconds, such as 12.5, or a date",
        ),
        ("time,model\n1,a\n2\n", "line 3: '2' has 1 columns, and the header 2"),
        ("time,model\n1,a\n2,  \n", "line 3: the model's name is empty"),
        ("time,model\nnan,a\n2,b\n", "line 2"),
        ("time,model\n1,a\n", "no two requests at different times"),
        ("time,model\n1,a\n1,b\n", "no two requests at different times"),
    ],
)
def test_bad_file(tmp_path: Path, text: str, says: str) -> None:
    """A file that is no trace is refused in one line that names the place."""
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(CommandError, match=says) as refused:
        trace.read(file)
    assert "\n" not in str(refused.value)


def test_byte_order_mark(tmp_path: Path) -> None:
    """A spreadsheet's mark before the header is none of the column's name."""
    file = tmp_path / "trace.csv"
    file.write_bytes(b"\xef\xbb\xbftime,model\r\n1,a\r\n3,b\r\n")
    read = trace.read(file)
    assert (read.times.tolist(), read.notes) == ([0, 2], ())


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is refused."""
    with pytest.raises(CommandError, match="No such file"):
        trace.read(tmp_path / "none.csv")
