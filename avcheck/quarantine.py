"""The message is kept in a quarantine directory.

One directory for each message, as infected.sh makes it, too:

    QUARANTINE/20260102T030405Z-0123456789ab/message       as received
    QUARANTINE/20260102T030405Z-0123456789ab/about.json    the rest

It is made under QUARANTINE/.new and appears with one rename, complete and on disk,
or not at all: storing is a delivery, and the MTA deletes its copy after it.
"""

from __future__ import annotations

import os
from time import gmtime, strftime, time

from avcheck import stop
from avcheck.exits import because
from avcheck.printable import printable
from avcheck.spool import Directory, write

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from time import struct_time

    from avcheck.settings import Settings
    from avcheck.spool import Message
    from avcheck.verdict import Finding

NEW = b".new"  # where entries are made
OLD = 24 * 3600  # seconds; no run takes that long


def store(message: Message, finding: Finding, settings: Settings, path: bytes) -> str:
    """Keep the message in the directory, durably; returns the name of the entry.

    Raises Defer when that fails; what was begun is removed then.
    """
    path = path.rstrip(b"/") or b"/"
    try:
        _make(path)
        with Directory(path, "quarantine", 0o007) as place:
            _make(NEW, place.fd)
            _remove_old(place.fd)
            now = gmtime()
            entry = strftime("%Y%m%dT%H%M%SZ-", now).encode() + os.urandom(6).hex().encode()
            made = NEW + b"/" + entry
            try:
                os.mkdir(made, 0o700, dir_fd=place.fd)
                digest = _message(message, made, place.fd)
                about = _about(message, finding, settings, entry, digest, now)
                _file(b"about.json", made, place.fd, about)
                _sync(made, place.fd)
                stop.unless_called()
                # From here on it is stored, or not; a signal changes nothing about it.
                stop.commit()
                os.rename(made, entry, src_dir_fd=place.fd, dst_dir_fd=place.fd)
                os.fsync(place.fd)
            except BaseException:
                _remove(made, place.fd)
                _remove(entry, place.fd)
                raise
    except OSError as why:
        raise because(f"quarantine {printable(path)}", why) from why
    return entry.decode("ascii")


def _make(path: bytes, parent: int | None = None) -> None:
    """Make the directory if it is not there, durably."""
    try:
        os.mkdir(path, 0o700, dir_fd=parent)
    except FileExistsError:
        # One without entries may have been made just now, and not be synced yet.
        names = os.listdir(path if parent is None else parent)
        if any(os.fsencode(name) != NEW for name in names):
            return
    _sync(os.path.dirname(path) or b".", parent)


def _message(message: Message, made: bytes, place: int) -> str:
    """Store the bytes as received; returns their SHA-256 digest."""
    from hashlib import sha256

    digest = sha256()
    fd = _create(b"message", made, place)
    try:
        for piece in message.pieces():
            digest.update(piece)
            write(fd, piece)
        os.fsync(fd)
    finally:
        os.close(fd)
    return digest.hexdigest()


def _about(
    message: Message,
    finding: Finding,
    settings: Settings,
    entry: bytes,
    digest: str,
    now: struct_time,
) -> bytes:
    """The sidecar: JSON in ASCII; a byte that is no UTF-8 is written as \\udc80..\\udcff."""
    import json

    facts = {
        "entry": entry.decode("ascii"),
        "time": strftime("%Y-%m-%dT%H:%M:%SZ", now),
        "host": os.uname().nodename,
        "queue_id": os.fsdecode(settings.queue_id),
        "verdict": finding.verdict.name,
        "virus": ", ".join(finding.names),
        "scanner": finding.scanner,
        "text": finding.text,
        "sha256": digest,
        "sender": _text(settings.sender),
        "recipients": [_text(recipient) for recipient in settings.recipients],
        "size": message.size,
    }
    return json.dumps(facts, indent=2).encode("ascii") + b"\n"


def _text(address: bytes) -> str:
    return address.decode("utf-8", "surrogateescape")


def _file(name: bytes, made: bytes, place: int, data: bytes) -> None:
    fd = _create(name, made, place)
    try:
        write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _create(name: bytes, made: bytes, place: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(made + b"/" + name, flags, 0o600, dir_fd=place)


def _sync(path: bytes, parent: int | None) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove(made: bytes, place: int) -> None:
    for name in (b"message", b"about.json"):
        try:
            os.unlink(made + b"/" + name, dir_fd=place)
        except OSError:
            continue
    try:
        os.rmdir(made, dir_fd=place)
    except OSError:
        return


def _remove_old(place: int) -> None:
    """Remove what a run that was killed has left, a day later."""
    fd = os.open(NEW, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    try:
        for name in os.listdir(fd):
            if time() - os.stat(name, dir_fd=fd, follow_symlinks=False).st_mtime > OLD:
                _remove(NEW + b"/" + os.fsencode(name), place)
    except FileNotFoundError:
        return  # another run has finished its own, or removed the same
    finally:
        os.close(fd)
