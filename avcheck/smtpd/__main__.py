"""The way in, and the only way out."""

from __future__ import annotations

import posix  # and not unix: what is loaded before loading takes twice as long
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

TEMPFAIL = 75  # EX_TEMPFAIL, here again because importing exits may be what fails

# As AGAIN of avcheck.smtpd.main, and for the same reason.
AGAIN = 5

BROKEN = b"421 4.3.5 Server configuration error\r\n"


def main() -> NoReturn:
    """Serve what standard input is, and exit with the status that avcheck-smtp(8) promises.

    What is said in any other way than by the dialogue would be read by the client as its part:
    where nothing works, that is one line and the end.
    """
    status = TEMPFAIL
    try:
        from avcheck import __main__ as way_in

        stdin = way_in.prepare()
        from avcheck import loading

        loading.install(loading.EVERY_SESSION)
        from avcheck import unix
        from avcheck.smtpd import main as steps

        argv = [unix.fsencode(word) for word in sys.argv]
        status = steps.main(argv[1:], stdin, argv[0])
    except BaseException as bug:
        _tell(bug)
    finally:
        try:
            from avcheck import __main__ as way_out

            way_out.clean_up()
        finally:
            posix._exit(status)


def _tell(bug: BaseException) -> None:
    """Say it to the log, and to the client; or wait, where a socket listens.

    This is before the dialogue, in which nothing is raised.
    """
    text = f"broken installation: {type(bug).__name__}: {bug}"
    try:
        from avcheck import report

        report.note(text)
    except BaseException:  # that is what is broken
        if _file(2) not in (_file(0), _file(1)):
            _say(2, f"avcheck-smtp: {text}\n".encode("ascii", "replace"))
    if _listens():
        from time import sleep

        sleep(AGAIN)
    else:
        _say(1, BROKEN)


def _listens() -> bool:
    """Whether standard input is a socket that listens: the connection is still there."""
    try:
        import _socket as socket  # see dial

        here = socket.socket(fileno=posix.dup(0))
        return bool(here.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except (OSError, ImportError):
        return False


def _file(fd: int) -> tuple[int, int]:
    status = posix.fstat(fd)
    return status.st_dev, status.st_ino


def _say(fd: int, words: bytes) -> None:
    try:
        posix.write(fd, words)
    except OSError:
        return


if __name__ == "__main__":
    main()
