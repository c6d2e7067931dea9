"""What a daemon of another account, in the spool directory's group, can do with a file there."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import packages
from tests.support.wire import MESSAGE, spooled

NOBODY = 65534

# Run as that account, with the name of the file: how many bytes it reads, and what else it can do.
TRIES = """
wc -c <"$1"
other="$(dirname "$1")/other"
(: >>"$1") && echo append
truncate -s 0 "$1" && echo truncate
rm -f "$1" && echo remove
mv -f "$1" "$other" && echo rename
ln "$1" "$other" && echo link
chmod 0666 "$1" && echo chmod
(: >"$other") && echo create
ls "$(dirname "$1")" && echo list
exit 0
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A spool directory as docs/security.md has it, where other accounts can get to."""
    packages.need_root("files of several accounts are made by root only")
    place = Path(tempfile.mkdtemp(prefix="avcheck-other-", dir="/var/tmp"))
    os.chown(place, -1, NOBODY)
    place.chmod(0o710)
    yield place
    shutil.rmtree(place)


def test_a_scanner_of_the_group_can_read_the_file_and_do_nothing_else(directory: Path) -> None:
    with spooled(directory, named=True) as message:
        done = subprocess.run(
            ["/bin/sh", "-c", TRIES, "sh", os.fsdecode(message.path)],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=True,
        )
        assert b"".join(message.pieces()) == MESSAGE
        assert done.stdout.split() == [b"%d" % (message.seen)]
