"""The quarantine: what is stored is read back, and what cannot be read is not believed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from hashlib import sha256

from avcheck import quarantine, report
from avcheck.admin import listing, output, quarantine_records
from avcheck.admin.commands import quarantine_change as commands
from avcheck.admin.commands import release
from avcheck.admin.quarantine_records import Act, Entry
from avcheck.admin.quarantine_store import Quarantine
from avcheck.directory import Directory
from avcheck.run import Run
from avcheck.verdict import VERDICTS, Answer, Finding
from tests.campaigns.fuzz.letter import directory
from tests.campaigns.fuzz.notation import FIELD, fields, mark, pieces, quoted, text
from tests.campaigns.fuzz.on_smtp import received
from tests.support.wire import settings

NAME = "20260102T030405Z-0123456789ab"


@cache
def place() -> Directory:
    """A quarantine with one entry, of which the sidecar is to be written."""
    path = os.path.dirname(directory().path) + b"/quarantine"
    os.mkdir(path, 0o700)
    os.mkdir(path + b"/" + NAME.encode(), 0o700)
    with open(path + b"/" + NAME.encode() + b"/message", "wb") as file:
        file.write(b"Subject: x\n\n")
    return Directory(path, "quarantine", 0o007)


def _write(name: str, data: bytes) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=place().fd)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def sidecar(data: bytes) -> None:
    """Whatever a sidecar is, the entry can be listed, shown and released, or is called wrong."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(quarantine_records.LOG, dir_fd=place().fd)
    _write(f"{NAME}/about.json", data)
    (entry,) = Quarantine(place()).entries()
    is_usable(entry)
    if not entry.error:
        facts = json.loads(data)
        assert list(entry.recipients) == facts["recipients"], "to somebody else"
        assert entry.sender == facts.get("sender", "")


def is_usable(entry: Entry) -> None:
    """It can be shown, printed, filtered, and its addresses are bytes again."""
    for address in (entry.sender, *entry.recipients):
        assert isinstance(release.text(address), bytes)
    for cell in listing.row(entry):
        words = cell if isinstance(cell, str) else cell.text
        assert words.isascii()
        assert words.isprintable()
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        output.table(listing.details(entry))
    assert re.fullmatch(r"(?:[ -~]*\n)*", shown.getvalue()), shown.getvalue()
    assert json.loads(json.dumps(listing.facts(entry)))["entry"] == entry.name
    listing.matches(entry, "x")
    assert entry.released() is None or isinstance(entry.sent_to(), set)
    assert commands.chosen([entry], 1.0, 1) in ([], [entry])


def sidecars() -> Iterator[bytes]:
    good = {
        "entry": NAME,
        "time": "2026-01-02T03:04:05Z",
        "host": "mx",
        "queue_id": "4X",
        "verdict": "infected",
        "virus": "Eicar",
        "scanner": "clamd",
        "text": "x FOUND",
        "sha256": "0" * 64,
        "sender": "s@\udcff",
        "recipients": ["a@b", "c@d"],
        "size": 12,
    }
    whole = json.dumps(good, indent=2).encode()
    yield whole
    yield whole[: len(whole) // 2]
    yield from (
        b"",
        b"{}",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"\xff",
        b"{" * 50,
        b"[" * 100_000,
        b"9" * 5000,
        b'{"time": 1}',
    )
    for key, value in (
        ("time", 5),
        ("time", "9999-99-99T00:00:00Z"),
        ("recipients", "a@b"),
        ("recipients", [1]),
        ("recipients", [None]),
        ("recipients", []),
        ("sender", None),
        ("sender", "\ud800"),
        ("recipients", ["\ud800"]),
        ("virus", ["a"]),
        ("verdict", {"a": 1}),
        ("text", "\x1b[31m\n\u202e"),
        ("sendmail", "x; y"),
        ("time", "0001-01-01T00:00:00Z"),
    ):
        yield json.dumps({**good, key: value}).encode()
    for key in good:
        yield json.dumps({name: value for name, value in good.items() if name != key}).encode()


def log(data: bytes) -> None:
    """Whatever the log is, lines that make no sense are left out, and a new one is found again."""
    _write(f"{NAME}/about.json", b"{}")
    _write(quarantine_records.LOG, data)
    store = Quarantine(place())
    for act in store.acts():
        assert all(
            isinstance(words, str) for words in (act.time, act.what, act.entry, act.by, act.said)
        )
        assert all(isinstance(address, str) for address in act.to)
        assert all(isinstance(value, str | tuple) for value in asdict(act).values())
    (entry,) = store.entries()
    is_usable(entry)
    release.recorded(store)
    before = report.log
    report.log = lambda line, priority: None
    try:
        act = Act(
            release.now(),
            quarantine_records.BEGUN,
            NAME,
            "root",
            ("a@\udcff", "b"),
            "/usr/sbin/sendmail -i",
            "",
        )
        store.note(act)
    finally:
        report.log = before
    assert store.acts()[-1] == act
    (entry,) = Quarantine(place()).entries()
    assert entry.acts[-1] == act
    assert entry.sent_to() >= {"a@\udcff", "b"}
    is_usable(entry)


def _line(time: str, what: str) -> bytes:
    """The line of the log for such an act."""
    return json.dumps(vars(Act(time, what, NAME, "root", ("a@b",), "mx:25"))).encode()


def logs() -> Iterator[bytes]:
    begun = _line("2026-01-02T03:04:05+00:00", quarantine_records.BEGUN)
    done = _line("2026-01-02T03:04:06+00:00", quarantine_records.RELEASED)
    yield begun + b"\n" + done + b"\n"
    yield begun + b"\n" + done[:40]
    yield begun + b"\r" + done
    yield from (
        b"",
        b"\n\n",
        b"{",
        b"[]\n",
        b"1\n",
        b'{"to": 1}\n',
        b"\xff\n",
        b"[" * 100_000 + b"\n",
        b"9" * 5000 + b"\n",
    )
    for key, value in (
        ("to", "abc"),
        ("to", [1]),
        ("to", [["a"]]),
        ("entry", []),
        ("time", 5),
        ("what", None),
        ("by", {}),
        ("said", "\x1b\n"),
        ("more", 1),
    ):
        yield json.dumps({**json.loads(begun), key: value}).encode() + b"\n"


def stored(data: bytes) -> None:
    """QUEUE ID/SENDER/RECIPIENT/NAME/MESSAGE: all of it is read back, byte by byte."""
    parts = fields(data, 5)
    queue_id, sender, recipient, name = (
        re.sub(rb"[\r\n\0]", b"", text(part)) for part in parts[:4]
    )
    options = settings(b"--queue-id", queue_id, b"-f", sender, b"--", recipient or b"x")
    finding = Finding(VERDICTS[len(data) % len(VERDICTS)], (name,) if name else (), name)
    answer = Answer("", "", finding)
    path = os.path.dirname(directory().path) + b"/stored"
    shutil.rmtree(path, ignore_errors=True)
    with received(pieces(parts[4])) as message:
        made = quarantine.store(message, answer, options, Run(b"/usr/bin/avcheck"), path)
        again = quarantine.store(message, answer, options, Run(b"/usr/bin/avcheck"), path)
    assert (again == made) is bool(options.queue_id), "stored twice, or two as one"
    with Directory(path, "quarantine", 0o007) as where:
        store = Quarantine(where)
        entry = store.one(made)
        fd = store.message(entry)
        kept = os.read(fd, 1 << 20)
        os.close(fd)
    assert kept == text(parts[4])
    assert not entry.error
    assert entry.sha256 == sha256(kept).hexdigest()
    assert entry.size == len(kept)
    assert release.text(entry.sender) == options.sender
    assert tuple(map(release.text, entry.recipients)) == options.recipients
    assert entry.queue_id == options.queue_id.decode()
    assert entry.virus == ", ".join(finding.names)
    is_usable(entry)


def stores() -> Iterator[bytes]:
    words = (
        (b"4X", b"a@b", b"c@d", b"Eicar", b"Subject: x\n\n"),
        (b"", b"", b"\xff\xfe@x", b"a\x1b\xf5\xf5", b"\0\xff"),
        (b"\xff", b"\xed\xa0\x80@x", b'"a b"@\xc3\xbc', b"", b""),
    )
    for each in words:
        yield mark(FIELD).join(each)
    yield mark(FIELD).join(
        quoted(word) for word in (b"x" * 120, b"\x7f\\u0041", b"</>", b"n" * 200, b"\n.\n" * 50)
    )
