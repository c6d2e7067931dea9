"""What clamd says of a file above its limits in an archive, as docs/postfix.md tells it."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.test_clamd import Desk
from tests.support.letters import EICAR, with_attachment
from tests.support.servers.clamd import Clamd

MIB = 1024 * 1024

CLEAN, INFECTED, UNSCANNABLE = "clean", "infected", "unscannable"


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as files:
        files.writestr("a.bin", content)
    return packed.getvalue()


FIRST = EICAR + bytes(3 * MIB)
LAST = bytes(3 * MIB) + EICAR

# The archive, and the verdict: without AlertExceedsMax, with it, and with it where no more is
# scanned in all than of one file.
CASES = {
    "zip, virus first": (zipped(FIRST), (INFECTED, INFECTED, UNSCANNABLE)),
    "zip, virus behind the limit": (zipped(LAST), (CLEAN, CLEAN, UNSCANNABLE)),
    "gzip, virus first": (gzip.compress(FIRST), (CLEAN, UNSCANNABLE, UNSCANNABLE)),
    "bzip2, virus first": (bz2.compress(FIRST), (CLEAN, UNSCANNABLE, UNSCANNABLE)),
}

SETTINGS = (
    {"MaxFileSize": "2M", "MaxScanSize": "40M"},
    {"MaxFileSize": "2M", "MaxScanSize": "40M", "AlertExceedsMax": "yes"},
    {"MaxFileSize": "2M", "MaxScanSize": "2M", "AlertExceedsMax": "yes"},
)


@pytest.fixture(scope="module", params=range(len(SETTINGS)))
def limited(open_directory: Path, request: pytest.FixtureRequest) -> Iterator[tuple[int, Clamd]]:
    number: int = request.param
    with Clamd(open_directory / f"limited-{number}", settings=SETTINGS[number]) as daemon:
        yield number, daemon


@pytest.mark.parametrize("case", CASES)
def test_a_file_in_an_archive_above_the_limit(
    avcheck: Path, tmp_path: Path, limited: tuple[int, Clamd], case: str
) -> None:
    number, daemon = limited
    archive, verdicts = CASES[case]
    desk = Desk(avcheck, tmp_path)
    ended = desk.check(with_attachment(archive), desk.words(f"clamd:{daemon.socket}"))
    assert ended.said.partition(":")[0] == verdicts[number], ended
