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
    except BaseException:
        # Before the dialogue; in it nothing is raised.  (A socket that listens takes no words.)
        try:
            posix.write(1, BROKEN)
        except OSError:
            from time import sleep

            sleep(AGAIN)
            posix._exit(TEMPFAIL)
    finally:
        try:
            from avcheck import __main__ as way_out

            way_out.clean_up()
        finally:
            posix._exit(status)


if __name__ == "__main__":
    main()
