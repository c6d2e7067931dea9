"""What the system may plausibly say to a call, by open(2), write(2) and so on."""

from __future__ import annotations

import re

from tests.campaigns.faults.tamper import SHORTENED
from tests.support.traced import Call

# In place of the call, which is not carried out.
ERRORS = {
    "openat": "EACCES EMFILE ENOMEM EIO EINTR ENOSPC",
    "read": "EIO EINTR EAGAIN",
    "pread64": "EIO EINTR",
    "write": "ENOSPC EIO EINTR EAGAIN EPIPE",
    "pwrite64": "ENOSPC EIO EINTR",
    "accept4": "ECONNABORTED EMFILE ENOMEM EINTR EAGAIN",
    "recvmsg": "ECONNRESET EINTR ENOMEM",
    "recvfrom": "ECONNRESET EINTR EAGAIN ENOMEM",
    "sendto": "EPIPE ECONNRESET EINTR EAGAIN ENOMEM",
    "sendmsg": "EPIPE ECONNRESET EINTR EAGAIN ENOMEM",
    "sendfile": "EPIPE ECONNRESET EINTR EAGAIN EIO ENOMEM",
    "socketpair": "EMFILE ENOMEM",
    "socket": "EMFILE ENOMEM EACCES",
    "connect": "ECONNREFUSED EACCES EAGAIN EINTR ENOMEM",
    "getsockopt": "ENOMEM",
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
    "dup2": "EMFILE EINTR",
    "dup3": "EMFILE EINTR",
    "pipe2": "EMFILE",
    "setsid": "EPERM",
    "fchdir": "EACCES EIO",
    "execve": "EACCES ENOENT ENOMEM EIO ETXTBSY",
    "clone": "EAGAIN ENOMEM",
    "clone3": "EAGAIN ENOMEM",
    "fork": "EAGAIN ENOMEM",
    "vfork": "EAGAIN ENOMEM",
    "wait4": "EINTR",
    "pidfd_open": "EMFILE ENOMEM",
    "getrandom": "EINTR EAGAIN",
    "mmap": "ENOMEM",
    "mprotect": "ENOMEM",
    # Not brk: it says no with an address, which no error of strace's is.
}

# After the call, which has been carried out: close(2) on Linux gives the descriptor back
# whatever it says; the others' answer can be lost between here and a file server.
ERRORS_AFTER = {
    "close": "EIO EINTR",
    "connect": "EINTR",
    "rename": "EIO",
    "renameat": "EIO",
    "mkdir": "EIO",
    "mkdirat": "EIO",
    "unlink": "EIO",
    "unlinkat": "EIO",
    "write": "EIO",
    "pwrite64": "EIO",
}

SIGNALS = ("KILL", "TERM", "STOP")

# A file of the interpreter or of the package.
MODULE = re.compile(r"/avcheck/[a-z_/]*(__pycache__|\w+\.py|scanners)|/python3")
MODULE_ERRORS = {"EIO", "EMFILE", "ENOMEM"}


def is_module(call: Call) -> bool:
    """Whether the call has to do with loading a module."""
    return bool(MODULE.search(call.words))


def of(call: Call) -> list[str]:
    """The errors for the call; those that come after it begin with "after="."""
    errors = ERRORS.get(call.name, "").split()
    after = [f"after={error}" for error in ERRORS_AFTER.get(call.name, "").split()]
    if is_module(call):
        return [error for error in errors if error in MODULE_ERRORS] + after
    waits = "pipe:" in call.words or "socket:" in call.words
    makes = re.search("O_CREAT|O_TMPFILE", call.words)
    implausible = set()
    if call.name in ("read", "write"):
        implausible = {"ENOSPC", "after=EIO"} if waits else {"EAGAIN", "EPIPE"}
    elif call.name == "openat":
        implausible = set() if makes else {"ENOSPC"}
        after = ["after=EIO"] if makes else []
    return [error for error in [*errors, *after] if error not in implausible]


def short(call: Call) -> list[str]:
    """Fewer bytes than the call has read or written: one, half of them, all but one."""
    if call.name not in SHORTENED or not call.result.isdigit():
        return []
    size = int(call.result)
    sizes = {1, size // 2, size - 1} if not is_module(call) else {1, size - 1}
    return [f"short={each}" for each in sorted(sizes) if 0 < each < size]
