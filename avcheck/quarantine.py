"""The message is kept in a quarantine directory.

One directory for each message, as infected.sh makes it, too:

    QUARANTINE/20260102T030405Z-0123456789ab/message       as received
    QUARANTINE/20260102T030405Z-0123456789ab/about.json    the rest

It is made under QUARANTINE/.new and appears with one rename, complete and on disk,
or not at all: storing is a delivery, and the MTA deletes its copy after it.  Who makes
it has a lock on its directory until then.  By that, and never by the clock alone, others
tell it from what a kill has left: a clock can be set a day ahead while a run stores.

An MTA that is stopped before it hears of that tries again.  With a queue id the end of
the name is the same at each try, and a message that is there already is not stored twice.
"""

from __future__ import annotations

import fcntl
import os
from errno import ENOENT
from stat import S_ISDIR
from time import gmtime, strftime, time

from avcheck.deliver import injector
from avcheck.descriptors import close
from avcheck.directory import Directory
from avcheck.exits import OK, defer_from
from avcheck.printable import printable
from avcheck.spool import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from time import struct_time
    from typing import Any

    from avcheck.run import Run
    from avcheck.settings import Settings
    from avcheck.spool import Message
    from avcheck.verdict import Answer

NEW = b".new"  # where entries are made

# Seconds.  What is younger is left alone, locked or not: on NFS the lock of another host
# cannot be seen, and infected.sh has none where there is no flock(1).
OLD = 24 * 3600

# How often an entry is begun: another run can remove it before its lock is there, if the
# clock was set ahead in this very moment.
TRIES = 9

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def store(message: Message, answer: Answer, settings: Settings, run: Run, path: bytes) -> str:
    """Keep the message in the directory, durably; returns the name of the entry.

    Raises Defer when that fails; what was begun is removed then.  Only an entry that
    another try will find, and that can be seen already, stays.
    """
    path = path.rstrip(b"/") or b"/"
    try:
        _make(path)
        with Directory(path, "quarantine", 0o007) as place:
            _make(NEW, place.fd)
            _remove_old(place.fd)
            facts = _facts(message, answer, settings, run.called)
            key = _key(settings, facts["sha256"])
            entry = _stored(message, key, place.fd) or _new(message, facts, key, place.fd, run)
    except OSError as why:
        raise defer_from(f"quarantine {printable(path)}", why) from why
    return entry.decode("ascii")


def _new(message: Message, facts: dict[str, Any], key: bytes, place: int, run: Run) -> bytes:
    """Make an entry; returns its name, or that of another run which has stored the same."""
    now = gmtime()
    entry, made, fd = _begin(strftime("%Y%m%dT%H%M%SZ-", now).encode(), key, place)
    try:
        about = _about(entry, now, facts)
        _message(message, fd)
        _file(b"about.json", fd, about)
        os.fsync(fd)
        run.require_caller()
        # From here on it is stored, or not; a signal changes nothing about it.
        run.commit()
        try:
            os.rename(made, entry, src_dir_fd=place, dst_dir_fd=place)
        except OSError:
            if not (key and _same(message, entry, place)):
                raise
            _remove(made, place)
        os.fsync(place)
        if _is(entry, fd, place):
            whole = _has(fd, message.size, len(about))
        else:  # another try may have found its own to be the one that stays
            whole = bool(_stored(message, key, place))
        if not whole:
            raise FileNotFoundError(ENOENT, "the entry was removed as it was made")
        run.mark_handed_over(OK)
    except BaseException:
        _remove(made, place)
        # With a key it stays: the other try may have counted on it.
        if not key:
            _remove(entry, place)
        raise
    finally:
        close(fd)
    return _stored(message, key, place) or entry


def _begin(stamp: bytes, key: bytes, place: int) -> tuple[bytes, bytes, int]:
    """The name of a new entry, the directory it is made in, and that one's descriptor.

    As long as the descriptor is open, the directory is locked, and nobody removes it.
    """
    for _ in range(TRIES):
        entry = stamp + (key or os.urandom(6).hex().encode())
        # Two tries at one time, which have one name, are not to make it in one place.
        made = NEW + b"/" + entry + (b"." + os.urandom(6).hex().encode() if key else b"")
        try:
            os.mkdir(made, 0o700, dir_fd=place)
            fd = _opened(made, place)
        except FileExistsError:  # somebody else's
            continue
        except BaseException:
            _remove(made, place)
            raise
        if fd >= 0:
            return entry, made, fd
        _remove(made, place)
    raise FileNotFoundError(ENOENT, "each new entry is removed by somebody; is the clock right?")


def _opened(made: bytes, place: int) -> int:
    """A descriptor of the directory with the lock on it; -1 if another has it, or it is gone.

    Who gets the lock after another may have removed the directory.  So only one that still
    has its name is locked.
    """
    try:
        fd = os.open(made, _DIRECTORY, dir_fd=place)
    except FileNotFoundError:
        return -1
    locked = False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked = _is(made, fd, place)
    except BlockingIOError:
        pass
    finally:
        if not locked:
            close(fd)
    return fd if locked else -1


def _is(name: bytes, fd: int, place: int) -> bool:
    """Whether that is the name of the open directory."""
    try:
        there = os.stat(name, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))


def _has(fd: int, message: int, about: int) -> bool:
    """Whether the directory has both files, of these sizes."""
    try:
        return all(
            os.stat(name, dir_fd=fd, follow_symlinks=False).st_size == size
            for name, size in ((b"message", message), (b"about.json", about))
        )
    except FileNotFoundError:
        return False


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


def _message(message: Message, made: int) -> None:
    """Store the bytes as received."""
    fd = _create(b"message", made)
    try:
        for piece in message.pieces():
            write(fd, piece)
        os.fsync(fd)
    finally:
        os.close(fd)


def _facts(message: Message, answer: Answer, settings: Settings, called: bytes) -> dict[str, Any]:
    """What the sidecar says of the message, whenever it is stored."""
    return {
        "host": os.uname().nodename,
        "queue_id": os.fsdecode(settings.queue_id),
        "verdict": answer.finding.verdict.name,
        "virus": ", ".join(answer.finding.names),
        "scanner": answer.scanner,
        "text": answer.finding.text,
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


def _file(name: bytes, made: int, data: bytes) -> None:
    fd = _create(name, made)
    try:
        write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _create(name: bytes, made: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=made)


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
    """Remove what a run that was killed has left, a day later; what is in use is locked."""
    fd = os.open(NEW, _DIRECTORY, dir_fd=place)
    try:
        for name in os.listdir(fd):
            _remove_left(NEW + b"/" + os.fsencode(name), place)
    finally:
        os.close(fd)


def _remove_left(made: bytes, place: int) -> None:
    try:
        status = os.stat(made, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return  # another run has finished its own, or removed the same
    if not S_ISDIR(status.st_mode) or time() - status.st_mtime <= OLD:
        return
    fd = _opened(made, place)
    if fd >= 0:
        try:
            _remove(made, place)
        finally:
            os.close(fd)
