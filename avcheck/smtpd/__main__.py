"""The way in, and the only way out."""

from __future__ import annotations

import sys

from avcheck import unix

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
        from avcheck.smtpd import main as steps

        argv = [unix.fsencode(word) for word in sys.argv]
        status = steps.main(argv[1:], stdin, argv[0])
    except BaseException:
        # Before the dialogue; in it nothing is raised.  (A socket that listens takes no words.)
        try:
            unix.write(1, BROKEN)
        except OSError:
            from time import sleep

            sleep(AGAIN)
            unix._exit(TEMPFAIL)
    finally:
        try:
            from avcheck import __main__ as way_out

            way_out.clean_up()
        finally:
            unix._exit(status)


if __name__ == "__main__":
    main()
