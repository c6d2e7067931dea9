"""The message is kept in a quarantine directory.

One directory for each message, as infected.sh makes it, too:

    QUARANTINE/20260102T030405Z-0123456789ab/message       as received
    QUARANTINE/20260102T030405Z-0123456789ab/about.json    the rest

It is made under QUARANTINE/.new and appears with one rename, complete and on disk,
or not at all: storing is a delivery, and the MTA deletes its copy after it.

An MTA that is stopped before it hears of that tries again.  With a queue id the end of
the name is the same at each try, and a message that is there already is not stored twice.
"""

from __future__ import annotations

import os
from time import gmtime, strftime, time

from avcheck import injector, stop
from avcheck.exits import OK, because
from avcheck.printable import printable
from avcheck.spool import Directory, write

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from time import struct_time
    from typing import Any

    from avcheck.settings import Settings
    from avcheck.spool import Message
    from avcheck.verdict import Finding

NEW = b".new"  # where entries are made
OLD = 24 * 3600  # seconds; no run takes that long


def store(
    message: Message, finding: Finding, settings: Settings, called: bytes, path: bytes
) -> str:
    """Keep the message in the directory, durably; returns the name of the entry.

    called is the path avcheck was called by.

    Raises Defer when that fails; what was begun is removed then.  Only an entry that
    another try will find, and that can be seen already, stays.
    """
    path = path.rstrip(b"/") or b"/"
    try:
        _make(path)
        with Directory(path, "quarantine", 0o007) as place:
            _make(NEW, place.fd)
            _remove_old(place.fd)
            facts = _facts(message, finding, settings, called)
            key = _key(settings, facts["sha256"])
            entry = _stored(message, key, place.fd) or _new(message, facts, key, place.fd)
    except OSError as why:
        raise because(f"quarantine {printable(path)}", why) from why
    return entry.decode("ascii")


def _new(message: Message, facts: dict[str, Any], key: bytes, place: int) -> bytes:
    """Make an entry; returns its name, or that of another run which has stored the same."""
    now = gmtime()
    end = key or os.urandom(6).hex().encode()
    entry = strftime("%Y%m%dT%H%M%SZ-", now).encode() + end
    # Two tries at one time, which have one name, are not to make it in one place.
    made = NEW + b"/" + entry + (b"." + os.urandom(6).hex().encode() if key else b"")
    try:
        os.mkdir(made, 0o700, dir_fd=place)
        _message(message, made, place)
        _file(b"about.json", made, place, _about(entry, now, facts))
        _sync(made, place)
        stop.unless_called()
        # From here on it is stored, or not; a signal changes nothing about it.
        stop.commit()
        try:
            os.rename(made, entry, src_dir_fd=place, dst_dir_fd=place)
        except OSError:
            if not (key and _same(message, entry, place)):
                raise
            _remove(made, place)
        os.fsync(place)
        stop.settle(OK)
    except BaseException:
        _remove(made, place)
        # With a key it stays: the other try may have counted on it.
        if not key:
            _remove(entry, place)
        raise
    return _stored(message, key, place) or entry


def _digest(message: Message) -> str:
    """The SHA-256 digest of the bytes as received."""
    from hashlib import sha256

    digest = sha256()
    for piece in message.pieces():
        digest.update(piece)
    return digest.hexdigest()


def _key(settings: Settings, digest: str) -> bytes:
    """The end of the name: the same for each try of a run; empty without a queue id."""
    if not settings.queue_id:
        return b""
    from hashlib import sha256

    words = (settings.queue_id, digest.encode(), settings.sender, *settings.recipients)
    return sha256(b"".join(word + b"\0" for word in words)).hexdigest()[:12].encode()


def _stored(message: Message, key: bytes, place: int) -> bytes:
    """The entry with this key and these bytes, on disk; empty if there is none.

    Two tries at the same time can make two.  Of those all but the first by name are removed;
    whoever looks last sees both, and all agree on the one that stays.
    """
    if not key:
        return b""
    names = [os.fsencode(name) for name in sorted(os.listdir(place))]
    found = [name for name in names if name.endswith(b"-" + key) and _same(message, name, place)]
    if not found:
        return b""
    os.fsync(place)
    for name in found[1:]:
        # With one rename: half an entry is not to be seen.
        hidden = NEW + b"/" + name + b"." + os.urandom(6).hex().encode()
        try:
            os.rename(name, hidden, src_dir_fd=place, dst_dir_fd=place)
        except FileNotFoundError:
            continue  # the other run has done it
        _remove(hidden, place)
    return found[0]


def _same(message: Message, entry: bytes, place: int) -> bool:
    """Whether the entry holds these bytes; one that cannot be read does not."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(entry + b"/message", flags, dir_fd=place)
        with open(fd, "rb") as file:
            same = all(file.read(len(piece)) == piece for piece in message.pieces())
            return same and not file.read(1)
    except OSError:
        return False


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


def _message(message: Message, made: bytes, place: int) -> None:
    """Store the bytes as received."""
    fd = _create(b"message", made, place)
    try:
        for piece in message.pieces():
            write(fd, piece)
        os.fsync(fd)
    finally:
        os.close(fd)


def _facts(message: Message, finding: Finding, settings: Settings, called: bytes) -> dict[str, Any]:
    """What the sidecar says of the message, whenever it is stored."""
    return {
        "host": os.uname().nodename,
        "queue_id": os.fsdecode(settings.queue_id),
        "verdict": finding.verdict.name,
        "virus": ", ".join(finding.names),
        "scanner": finding.scanner,
        "text": finding.text,
        "sha256": _digest(message),
        "sender": _text(settings.sender),
        "sendmail": _text(injector.words(settings, called)),
        "recipients": [_text(recipient) for recipient in settings.recipients],
        "size": message.size,
    }


def _about(entry: bytes, now: struct_time, facts: dict[str, Any]) -> bytes:
    """The sidecar: JSON in ASCII; a byte that is no UTF-8 is written as \\udc80..\\udcff."""
    import json

    begun = {"entry": entry.decode("ascii"), "time": strftime("%Y-%m-%dT%H:%M:%SZ", now)}
    return json.dumps({**begun, **facts}, indent=2).encode("ascii") + b"\n"


def _text(words: bytes) -> str:
    return words.decode("utf-8", "surrogateescape")


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
