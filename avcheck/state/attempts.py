"""The poison brake: a message that was scanned in vain too often is not scanned again.

Some messages make a scanner hang or crash each time.  They are tried for five days, and
each try may start another endless scan (Cisco-Talos/clamav#1129).  So every scan that
begins and gives no verdict adds a byte to a file named after the queue ID and the
envelope; its size is the count.  Nothing has to be locked, nothing can be half-written,
and the files can be deleted.
"""

from __future__ import annotations

from time import time

from avcheck import files, unix
from avcheck.verdict import UNSCANNABLE, Answer, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.directory import Directory
    from avcheck.settings import Settings

PREFIX = b"attempts."

# Seconds after which a count is useless: Postfix and sendmail give up after 5 days.
OLD = 10 * 24 * 3600


def key(settings: Settings) -> bytes:
    """The name of the count: the queue ID, and a digest of the envelope.

    A mail system may run us once for each recipient, with the same queue ID; and it may
    give the ID to another message when this one is gone, without our having seen its end.
    Not the size: of a message that was cut short it is another one, and nobody would ever
    remove that count.
    """
    # FNV-1a, 64 bits: hashlib costs more to import than this loop takes.
    digest = 0xCBF29CE484222325
    for byte in b"\0".join([settings.sender, *settings.recipients]):
        digest = (digest ^ byte) * 0x100000001B3 % (1 << 64)
    return b"%b %016x" % (settings.queue_id, digest)


def too_many(directory: Directory, key: bytes, most: int) -> Answer | None:
    """The answer UNSCANNABLE if that many scans of the message came to nothing, else None."""
    try:
        status = unix.stat(_name(key), dir_fd=directory.fd, follow_symlinks=False)
    except OSError:  # there is no count, or it is lost: scanning is never wrong
        return None
    made = status.st_size
    if made < most or not unix.S_ISREG(status.st_mode) or not _of_this_time(status):
        return None
    finding = Finding(UNSCANNABLE, (), f"{made} scans came to nothing (--attempts {most})")
    return Answer("attempts", "", finding)


def count(directory: Directory, key: bytes, answer: Answer) -> None:
    """Count a scan that came to nothing; never raises.

    A scan that never began, because no scanner answered or none could be trusted, does not
    count: that is not the message's fault.
    """
    if not answer.asked:
        return
    try:
        _forget_old(directory)  # first: a count of this name may be of an older message
        fd = files.open_regular(
            _name(key), unix.O_WRONLY | unix.O_CREAT | unix.O_APPEND, dir_fd=directory.fd
        )
        try:
            unix.write(fd, b".")
        finally:
            unix.close(fd)
    except OSError:
        return


def forget(directory: Directory, key: bytes) -> None:
    """The message is done; never raises."""
    try:
        unix.unlink(_name(key), dir_fd=directory.fd)
    except OSError:
        return


def _forget_old(directory: Directory) -> None:
    """Remove counts by their age alone: one that is removed too early begins again."""
    for name in unix.listdir(directory.fd):
        if not name.startswith(PREFIX.decode()):
            continue
        try:
            status = unix.stat(name, dir_fd=directory.fd, follow_symlinks=False)
            if not _of_this_time(status):
                unix.unlink(name, dir_fd=directory.fd)
        except OSError:  # another run was faster
            continue


def _of_this_time(status: unix.stat_result) -> bool:
    """Whether the count can belong to a message that is still in the queue.

    Queue IDs are used again, and the clock may have been set back.
    """
    return 0 <= time() - status.st_mtime <= OLD


def _name(key: bytes) -> bytes:
    return PREFIX + key.hex().encode()
