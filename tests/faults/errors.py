"""What the system may plausibly say to a call, by open(2), write(2) and so on."""

from __future__ import annotations

import re

from tests.traced import Call

ERRORS = {
    "openat": "EACCES EMFILE ENOMEM EIO EINTR ENOSPC",
    "read": "EIO EINTR EAGAIN",
    "pread64": "EIO EINTR",
    "write": "ENOSPC EIO EINTR EAGAIN EPIPE",
    "pwrite64": "ENOSPC EIO EINTR",
    "recvfrom": "ECONNRESET EINTR EAGAIN ENOMEM",
    "sendto": "EPIPE ECONNRESET EINTR EAGAIN ENOMEM",
    "sendmsg": "EPIPE ECONNRESET EINTR EAGAIN ENOMEM",
    "sendfile": "EPIPE ECONNRESET EINTR EAGAIN EIO ENOMEM",
    "socket": "EMFILE ENOMEM EACCES",
    "connect": "ECONNREFUSED EACCES EAGAIN EINTR ENOMEM",
    "setsockopt": "ENOMEM",
    "poll": "EINTR ENOMEM",
    "select": "EINTR ENOMEM",
    "fstat": "EIO ENOMEM",
    "newfstatat": "EIO ENOMEM EACCES",
    "lstat": "EIO ENOMEM EACCES",
    "unlink": "EIO EACCES",
    "unlinkat": "EIO EACCES",
    "rename": "ENOSPC EIO EACCES",
    "renameat": "ENOSPC EIO EACCES",
    "mkdir": "ENOSPC EIO EACCES",
    "mkdirat": "ENOSPC EIO EACCES",
    "fsync": "EIO ENOSPC",
    "flock": "EINTR ENOMEM EAGAIN",
    "getdents64": "EIO ENOMEM",
    "fchmod": "EIO EACCES",
    "fchown": "EIO EACCES",
    "readlink": "EIO EACCES",
    "access": "EIO EACCES",
    "dup": "EMFILE",
    "pipe2": "EMFILE",
    "clone": "EAGAIN ENOMEM",
    "clone3": "EAGAIN ENOMEM",
    "fork": "EAGAIN ENOMEM",
    "vfork": "EAGAIN ENOMEM",
    "wait4": "EINTR",
    "pidfd_open": "EMFILE ENOMEM",
    "getrandom": "EINTR EAGAIN",
    "close": "EIO EINTR EBADF",
    "mmap": "ENOMEM",
    # Not brk: it says no with an address, which no error of strace's is.
}

SIGNALS = ("KILL", "TERM", "STOP")

# A file of the interpreter or of the package.
MODULE = re.compile(r"/avcheck/[a-z_/]*(__pycache__|\w+\.py|scanners)|/python3")
MODULE_ERRORS = {"EIO", "EMFILE", "ENOMEM"}


def is_module(call: Call) -> bool:
    """Whether the call has to do with loading a module."""
    return bool(MODULE.search(call.words))


def of(call: Call) -> list[str]:
    """The errors for the call."""
    errors = ERRORS.get(call.name, "").split()
    if is_module(call):
        return [error for error in errors if error in MODULE_ERRORS]
    waits = "pipe:" in call.words or "socket:" in call.words
    makes = re.search("O_CREAT|O_TMPFILE", call.words)
    implausible = set()
    if call.name in ("read", "write"):
        implausible = {"ENOSPC"} if waits else {"EAGAIN", "EPIPE"}
    elif call.name == "openat" and not makes:
        implausible = {"ENOSPC"}
    return [error for error in errors if error not in implausible]
