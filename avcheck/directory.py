"""The spool directory: opened only where it is safe, and the files made in it."""

from __future__ import annotations

from errno import EINVAL, EISDIR, ELOOP, EOPNOTSUPP

from avcheck import unix
from avcheck.exits import CONFIG, Defer, defer_from
from avcheck.printable import printable
from avcheck.process import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


_OTHERS_WRITE = 0o002
_GROUP_WRITE = 0o020

# Names of files that exist now, with their directory.  A name is noted before its
# file is made and struck out after it is gone, so that remove_leftovers() finds it whenever
# a signal strikes.
_named: dict[bytes, int] = {}

# Those that a program got, with a descriptor of their own of the directory: there may be more
# under longer names (name.bak), until the program has ended.
_given: dict[bytes, int] = {}


class Directory:
    """The spool directory, opened and found safe.  Close it by leaving the with block."""

    __slots__ = ("fd", "inside", "path")

    def __init__(self, path: bytes, what: str = "spool", others: int = _OTHERS_WRITE) -> None:
        """Raise Defer, with what to change, unless only we (or root) decide what is in there.

        what is the directory's name in that text; others the permissions that others
        must not have.
        """
        self.path = path
        # /var/avscan/./tmp: the scanner is chrooted in /var/avscan and sees /tmp.
        _, dot, inside = path.partition(b"/./")
        self.inside = b"/" + inside.strip(b"/") if dot else path
        name = path
        while len(name) > 1 and name.endswith((b"/", b"/.")):  # O_NOFOLLOW is about the last one
            name = name[:-1]
        flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
        try:
            self.fd = unix.open(name, flags)
        except OSError as why:
            raise _unusable(f"{what} {printable(name)}", name, why) from why
        status = unix.fstat(self.fd)
        place = f"{what} {printable(name)}"
        if status.st_uid not in (unix.geteuid(), 0):
            close(self.fd)
            raise Defer(f"{place}: {_anothers(status.st_uid)}", CONFIG)
        # Where we own it, the group is the scanner's and has no business writing there.
        unsafe = others | (_GROUP_WRITE if status.st_uid == unix.geteuid() else 0)
        if status.st_mode & unsafe:
            close(self.fd)
            remedy = "g-w,o-w" if others == _OTHERS_WRITE else "g-w,o="
            raise Defer(f"{place}: open to others; chmod {remedy}", CONFIG)

    def __enter__(self) -> Directory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None
    ) -> None:
        remove_leftovers()
        close(self.fd)

    def create(self, name: bytes, mode: int) -> int:
        """A new file that only this call can have made, for reading and writing."""
        _named[name] = self.fd
        flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
        try:
            return unix.open(name, flags, mode, dir_fd=self.fd)
        except FileExistsError:  # somebody else's
            release_file(name)
            raise

    def nameless(self) -> int:
        """A new file that goes with its descriptor."""
        flags = unix.O_RDWR | unix.O_TMPFILE | unix.O_CLOEXEC
        try:
            return unix.open(b".", flags, 0o600, dir_fd=self.fd)
        except OSError as why:
            if why.errno not in _NO_TMPFILE:
                raise
        name = new_file_name()
        fd = self.create(name, 0o600)
        remove_file(name)
        return fd

    def share(self, fd: int, mode: int) -> None:
        """Make a file of ours readable for the scanner, through the directory's group."""
        try:  # on a directory with the set-group-ID bit the file has it already
            unix.fchown(fd, -1, unix.fstat(self.fd).st_gid)
        except PermissionError as why:
            text = "this user is not in the group of the spool directory, as the scanner is"
            raise Defer(text, CONFIG) from why
        unix.fchmod(fd, mode)  # the umask is 077

    def join(self, name: bytes) -> bytes:
        return self.path.rstrip(b"/") + b"/" + name

    def path_for_scanner(self, name: bytes) -> bytes:
        """The name's path as the scanner sees it, from within its chroot if it has one."""
        return self.inside.rstrip(b"/") + b"/" + name


def _anothers(owner: int) -> str:
    """Whose the directory is, and as whom to run avcheck for it.

    It stays its owner's: given to root, it is lost to the account that avcheck runs as.
    """
    from pwd import getpwuid

    def name(user: int) -> str:
        try:
            return printable(getpwuid(user).pw_name)
        except KeyError:
            return str(user)

    us = unix.geteuid()
    text = f"belongs to {name(owner)} and not to {name(us)}"
    if name(owner) != str(owner):
        return f"{text}: run avcheck as {name(owner)}"
    account = name(us) if us else "the account that is to run avcheck"
    return f"{text}, and there is no such account: chown it to {account}"


def _unusable(spool: str, name: bytes, why: OSError) -> Defer:
    if isinstance(why, FileNotFoundError):
        return Defer(
            f"{spool}: no such directory; create it for the account that runs avcheck alone", CONFIG
        )
    # A symbolic link with O_NOFOLLOW|O_DIRECTORY is ENOTDIR on Linux, ELOOP elsewhere.
    if isinstance(why, NotADirectoryError) or why.errno == ELOOP:
        try:
            link = unix.readlink(name)
        except OSError:
            return Defer(f"{spool}: not a directory", CONFIG)
        return Defer(f"{spool}: a symbolic link; name {printable(link)} itself", CONFIG)
    return defer_from(spool, why)


# What open(2) says of O_TMPFILE where the kernel or the file system does not have it.
_NO_TMPFILE = (EISDIR, EOPNOTSUPP, EINVAL)


def new_file_name() -> bytes:
    """A name that nobody can foresee, of characters that every scanner's protocol carries."""
    return b"avcheck." + unix.urandom(12).hex().encode()


def remove_file(name: bytes) -> None:
    """Remove a file made by create; that it is gone already is fine."""
    try:  # noqa: SIM105 - contextlib takes 1.7 ms to import
        unix.unlink(name, dir_fd=_named[name])
    except FileNotFoundError:
        pass
    del _named[name]


def release_file(name: bytes) -> None:
    """Leave a file made by create to its new owner."""
    _named.pop(name, None)


def give(name: bytes, directory: Directory) -> None:
    """Note that a program gets the name of a file made by create."""
    # Not dup(2): each has its own position.
    flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
    _given[name] = unix.open(b".", flags, dir_fd=directory.fd)


def take_back(name: bytes) -> None:
    """Remove what was given, and what has been made beside it, now that the program has ended."""
    if name in _given:
        _remove_all(name)
        close(_given.pop(name))
    remove_file(name)


def _remove_all(name: bytes) -> None:
    """Remove everything whose name begins so, directories included."""
    place = _given[name]
    for found in unix.listdir(place):
        if not unix.fsencode(found).startswith(name):
            continue
        try:
            unix.unlink(found, dir_fd=place)
        except FileNotFoundError:
            continue
        except OSError:  # a directory
            from shutil import rmtree

            rmtree(found, ignore_errors=True, dir_fd=place)


def remove_leftovers() -> None:
    """Remove what create made; never raises, so it can be the last thing done.

    What was given to a program stays noted: it may run on until it is killed.
    """
    for name in [*_named, *_named]:  # twice: what failed once may have been interrupted
        try:
            remove_file(name)
        except (KeyError, OSError):
            continue
    for name in [*_given]:
        try:
            _remove_all(name)
        except (KeyError, OSError):
            continue
