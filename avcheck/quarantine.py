"""The message is kept in a quarantine directory, whose format is entry's.

An entry is made under QUARANTINE/.new (draft) and appears with one rename, complete and
on disk, or not at all: storing is a delivery, and the MTA deletes its copy after it.

An MTA that is stopped before it hears of that tries again.  With a queue id the end of
the name is the same at each try, and a message that is there already is not stored twice.
"""

from __future__ import annotations

import os
from errno import ENOENT
from time import gmtime

from avcheck import draft, entry, files
from avcheck.directory import Directory
from avcheck.exits import OK, defer_from
from avcheck.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from avcheck.draft import Draft
    from avcheck.run import Run
    from avcheck.settings import Settings
    from avcheck.spool import Message
    from avcheck.verdict import Answer


def store(message: Message, answer: Answer, settings: Settings, run: Run, path: bytes) -> str:
    """Keep the message in the directory, durably; returns the name of the entry.

    Raises Defer when that fails; what was begun is removed then.  Only an entry that
    another try will find, and that can be seen already, stays.
    """
    path = path.rstrip(b"/") or b"/"
    try:
        _make(path)
        with Directory(path, "quarantine", entry.OTHERS) as place:
            _make(entry.NEW, place.fd)
            draft.remove_old(place.fd)
            facts = entry.facts(message, answer, settings, run.called)
            key = entry.key_of(settings, facts["sha256"])
            name = _stored(message, key, place.fd) or _new(message, facts, key, place.fd, run)
    except OSError as why:
        raise defer_from(f"quarantine {printable(path)}", why) from why
    return name.decode("ascii")


def _new(message: Message, facts: dict[str, Any], key: bytes, place: int, run: Run) -> bytes:
    """Make an entry; returns its name, or that of another run which has stored the same."""
    now = gmtime()
    made = draft.begin(now, key, place)
    try:
        sidecar = entry.sidecar(made.name, now, facts)
        made.add(entry.MESSAGE, message.pieces())
        made.add(entry.SIDECAR, [sidecar])
        os.fsync(made.fd)
        run.require_caller()
        # From here on it is stored, or not; a signal changes nothing about it.
        run.commit()
        _publish(message, made, key, len(sidecar))
        run.mark_handed_over(OK)
    except BaseException:
        made.remove()
        # With a key it stays: the other try may have counted on it.
        if not key:
            draft.remove(made.name, place)
        raise
    finally:
        made.close()
    return _stored(message, key, place) or made.name


def _publish(message: Message, made: Draft, key: bytes, sidecar: int) -> None:
    """Have it appear, on disk, unless another try has stored the same meanwhile.

    Raises OSError if neither is there in the end.  sidecar is its size.
    """
    try:
        made.publish()
    except OSError:
        if not (key and _has(message, made.name, made.place)):
            raise
        made.remove()
    os.fsync(made.place)
    if made.is_at(made.name):
        whole = made.has(message.size, sidecar)
    else:  # another try may have found its own to be the one that stays
        whole = bool(_stored(message, key, made.place))
    if not whole:
        raise FileNotFoundError(ENOENT, "the entry was removed as it was made")


def _stored(message: Message, key: bytes, place: int) -> bytes:
    """The entry with this key and these bytes, on disk; empty if there is none.

    Two tries at the same time can make two.  Of those all but the first by name are removed;
    whoever looks last sees both, and all agree on the one that stays.
    """
    if not key:
        return b""
    names = [os.fsencode(name) for name in sorted(os.listdir(place))]
    found = [name for name in names if name.endswith(b"-" + key) and _has(message, name, place)]
    if not found:
        return b""
    os.fsync(place)
    for name in found[1:]:
        # With one rename: half an entry is not to be seen.
        hidden = draft.hidden(name)
        try:
            os.rename(name, hidden, src_dir_fd=place, dst_dir_fd=place)
        except FileNotFoundError:
            continue  # the other run has done it
        draft.remove(hidden, place)
    return found[0]


def _has(message: Message, name: bytes, place: int) -> bool:
    """Whether the entry holds these bytes; one that cannot be read does not."""
    try:
        fd = files.open_regular(name + b"/" + entry.MESSAGE, dir_fd=place)
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
        if any(os.fsencode(name) != entry.NEW for name in names):
            return
    _sync(os.path.dirname(path) or b".", parent)


def _sync(path: bytes, parent: int | None) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
