"""The way in, and the only way out."""

from __future__ import annotations

import gc
import posix  # and not unix: what is loaded before loading takes twice as long
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import NoReturn

TEMPFAIL = 75  # EX_TEMPFAIL, here again because importing exits may be what fails


def main(success: int = 0) -> NoReturn:
    """Check one message and exit with the status that avcheck(1) promises.

    success is what to exit with in the place of 0, for a caller to whom 0 proves nothing:
    an interpreter that is an empty file ends with it, too.

    Whatever goes wrong, in here or in any module, the status is 75: an uncaught
    exception would be status 1, and bounce the mail.  After somebody else has taken the
    message it is what was to be the status: 75 would be a second delivery.
    """
    status = TEMPFAIL
    try:
        stdin = prepare()
        from avcheck import loading

        loading.install(loading.EVERY_RUN)
        from avcheck import main as steps
        from avcheck import unix

        argv = [unix.fsencode(word) for word in sys.argv]
        status = steps.main(argv[1:], stdin, argv[0])
    except BaseException as bug:
        status = _after(bug)
    finally:
        try:
            clean_up()
        finally:
            posix._exit(status or success)


def prepare() -> int:
    """Make the process one that avcheck can run in; returns standard input, -1 if it is closed."""
    gc.disable()  # it would look twice, for 0.4 ms each, at modules that stay to the end
    posix.umask(0o077)
    # Python's own words, of a thread that found no memory to begin, would come before ours.
    sys.unraisablehook = lambda _: None
    stdin = _standard_descriptors()
    if sys.flags.no_site:  # a launcher of ours has started us
        sys.meta_path.append(_Elsewhere)
    return stdin


class _Elsewhere:
    """The finder that is asked last: a module that is not beside avcheck, site may find.

    A scanner of the administrator's, for instance, that a .pth file leads to.
    """

    _asked = False

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if cls._asked:
            return None
        cls._asked = True
        import site

        site.main()
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                return spec
        return None


def _standard_descriptors() -> int:
    """Standard input, or -1 if it is closed; 0, 1 and 2 are taken by something after this.

    Otherwise the spool file could become descriptor 1, and our words part of the message.
    """
    stdin = 0
    for fd in (0, 1, 2):
        try:
            posix.fstat(fd)
        except OSError:
            posix.open(b"/dev/null", posix.O_RDWR)  # gets the lowest free number, this one
            if not fd:
                stdin = -1
    return stdin


def _after(bug: BaseException) -> int:
    """The status to leave with after that, which is said in one line; never raises."""
    status, words = TEMPFAIL, b"4.3.0 avcheck: "
    try:
        # What is asked may be what is broken, or not there yet.
        run = getattr(sys.modules.get("avcheck.run"), "current", None)
        handed_over = getattr(run, "handed_over", None)
        if handed_over is not None:
            status, words = handed_over, b"handed on; then: "
        elif getattr(run, "in_doubt", False):
            words += b"possible duplicate: "
        if status in (0, TEMPFAIL):  # with another one nothing is printed
            _say(words, bug)
    except BaseException:
        return status
    return status


def _say(words: bytes, bug: BaseException) -> None:
    """One line with these words first; for 75 they are a status code that keeps the mail."""
    what = f"{type(bug).__name__}: {bug}".encode("ascii", "replace")[:400]
    text = bytes(byte if 0x20 <= byte < 0x7F else 0x3F for byte in what)
    posix.write(2, words + b"bug or broken installation: " + text + b"\n")


def clean_up() -> None:
    """End every program that runs, and remove files with a name once more.

    A signal may have struck while that was done, or a thread be left that would have.
    """
    _last("avcheck.program", "end_all")
    _last("avcheck.directory", "remove_leftovers")


def _last(name: str, function: str) -> None:
    """Call the function of a module, if that has been loaded; never raises."""
    try:
        module = sys.modules.get(name)
        if module is not None:
            getattr(module, function)()
    except BaseException:
        return


if __name__ == "__main__":
    main()
