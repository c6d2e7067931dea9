"""infected.sh, the shipped handler: called with any words, it keeps all of them.

A process, and some twenty that it starts, for each execution: so this one is slow.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from email import message_from_bytes
from functools import cache
from hashlib import sha256
from pathlib import Path

from avcheck.admin.commands import release
from avcheck.admin.quarantine_store import Quarantine
from avcheck.directory import Directory
from tests.campaigns.fuzz.letter import directory
from tests.campaigns.fuzz.notation import FIELD, fields, mark, quoted, text
from tests.support.tree import ROOT

SCRIPT = ROOT / "scripts" / "infected.sh"

REPORT = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
}


@cache
def place() -> Path:
    """Where it runs, with the program that takes its report."""
    path = Path(os.fsdecode(directory().path)) / "handler"
    path.mkdir(mode=0o700)
    mailer = path / "mailer"
    mailer.write_text(f'cat >"{path}/report"\n')
    return path


def handler(data: bytes) -> None:
    """QUEUE ID/SENDER/RECIPIENT/NAME/MESSAGE: all of it is kept, and the report is one mail."""
    parts = [text(part) for part in fields(data, 5)]
    queue_id, sender, recipient, name = (part.replace(b"\0", b"") for part in parts[:4])
    content = parts[4]
    where = place()
    shutil.rmtree(where / "quarantine", ignore_errors=True)
    (where / "report").unlink(missing_ok=True)
    (where / "message").write_bytes(content)
    environment = {
        b"PATH": os.environb.get(b"PATH", b"/bin:/usr/bin"),
        b"SENDMAIL": b"/bin/sh " + os.fsencode(where / "mailer"),
        b"AVCHECK_VERDICT": b"infected",
        b"AVCHECK_VIRUS": name,
        b"AVCHECK_SCANNER": b"clamd",
        b"AVCHECK_QUEUE_ID": queue_id,
        b"AVCHECK_SHA256": sha256(content).hexdigest().encode(),
    }
    done = subprocess.run(
        [b"/bin/sh", os.fsencode(SCRIPT), os.fsencode(where / "message"), name, sender, recipient],
        cwd=where,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (where / "message").exists()
    with Directory(os.fsencode(where / "quarantine"), "quarantine", 0o007) as kept:
        store = Quarantine(kept)
        (entry,) = store.entries()
        fd = store.message(entry)
        stored = os.read(fd, 1 << 20)
        os.close(fd)
    assert stored == content
    assert not entry.error, entry.error
    assert release.text(entry.sender) == sender
    assert tuple(map(release.text, entry.recipients)) == (recipient,)
    assert release.text(entry.virus) == name
    assert release.text(entry.queue_id) == queue_id
    report = (where / "report").read_bytes()
    assert re.fullmatch(rb"(?:[ -~]*\n)*", report), report
    assert set(message_from_bytes(report).keys()) == REPORT


def calls() -> Iterator[bytes]:
    for words in (
        (b"4X", b"a@b", b"c@d", b"Eicar", b"Subject: x\n\nbody\n"),
        (b"", b"", b"\xff\xfe@x", b"a\x1b\xf5\xf5", b"\0\xff\n\nX: y"),
        (b"$(id)`id`", b"-n", b"%s%n\\", b"a\nSubject: b\n\nc", b"\n\n"),
        (
            b"'\"\\u0041",
            b"\xed\xa0\x80@x",
            b'"a b"@\xc3\xbc',
            b"\xf0\x9f\xa6\xa0" * 40,
            b"A: b\n\n",
        ),
        (b"\x01\x7f", b"\xc3", b"\xe2\x82", b"  x  ", b"A: b\r\n\x1b[0m\r\n\r\n"),
    ):
        yield mark(FIELD).join(quoted(word) for word in words)
