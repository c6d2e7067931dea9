"""How avcheck leaves: the exit statuses, and the two reasons to leave early.

75 is the only status that Postfix, sendmail, Exim, OpenSMTPD and qmail all
read as "keep the message and try again"; every other one bounces somewhere.
"""

from __future__ import annotations

from errno import EDQUOT, EFBIG, ENOSPC

from avcheck.printable import printable

OK = 0
USAGE = 64  # EX_USAGE of sysexits.h; bounces under every MTA
TEMPFAIL = 75  # EX_TEMPFAIL
REJECT = 77  # EX_NOPERM; permanent under every MTA, qmail included

# The words of EXIT STATUS in avcheck(1), which a test compares with this table.
TABLE = {
    OK: "The message was handed on, or the handler took care of it.",
    USAGE: "Wrong usage at a terminal.",
    REJECT: "The message is refused for good; the caller is to bounce it.",
    TEMPFAIL: "Anything else. The caller is to keep the message and try again.",
}

# Enhanced status codes (RFC 3463) for the first bytes of our output.  Postfix
# lets them override the exit status, so they all begin with 4.
SYSTEM = "4.3.0"  # other mail system status
FULL = "4.3.1"  # mail system full
HELD = "4.3.2"  # system not accepting messages at the moment
CONFIG = "4.3.5"  # system incorrectly configured
SILENT = "4.4.1"  # no answer from host
BROKEN = "4.4.2"  # bad connection
EXPIRED = "4.4.7"  # time is up
REFUSED = "4.5.0"  # the other side said no


class Leave(Exception):  # noqa: N818 - not every end is an error
    """An expected end: status is what to exit with, code and text are what to say."""

    status: int

    def __init__(self, text: bytes | str, code: str = SYSTEM) -> None:
        super().__init__(text)
        self.text = printable(text)
        self.code = code


class Defer(Leave):
    """The message cannot be finished now; the MTA keeps it."""

    status = TEMPFAIL


class Stopped(Leave):
    """A signal, or the end of the time for the whole run.

    Not a Defer: code that catches Defer tries the next place, and after this nothing may be
    tried.
    """

    status = TEMPFAIL


class Rejected(Leave):
    """The administrator wants the message to bounce."""

    status = REJECT

    def __init__(self, text: bytes | str) -> None:
        super().__init__(text, "5.7.1")


class Refused(Defer):
    """The server refused the message as a whole and for good, with a permanent code.

    To be tried again all the same, unless the administrator wants it to bounce
    (--refused): then for_good() is what to leave with.
    """

    def __init__(self, text: bytes | str, detail: str) -> None:
        """detail is subject and detail of the server's enhanced code, such as ".1.1"."""
        super().__init__(text, "4" + detail)
        self.permanent = "5" + detail

    def for_good(self) -> Leave:
        """The end that makes every MTA bounce the message, with the server's words."""
        end = Leave(self.text, self.permanent)
        end.status = REJECT
        return end


class Usage(Leave):
    """The command line is wrong.

    To an MTA 64 would be a bounce, so it is only for a person (see main.main).
    """

    status = TEMPFAIL

    def __init__(self, text: bytes | str) -> None:
        super().__init__(text, CONFIG)


class HelpRequest(Leave):
    """--help or --version was given, alone or with other options; what says which."""

    status = TEMPFAIL

    def __init__(self, what: str) -> None:
        super().__init__(f"--{what} is for a person at a terminal")
        self.what = what


def unexpected(reply: bytes) -> Defer:
    """A Defer for a reply that the protocol does not have."""
    return Defer(f"unexpected reply {printable(reply, 200)!r}", BROKEN)


_NO_ROOM = (ENOSPC, EDQUOT, EFBIG)


def defer_from(what: bytes | str, why: OSError) -> Defer:
    """A Defer that says what could not be done and why the system refused it."""
    reason = why.strerror or str(why) or type(why).__name__
    code = FULL if why.errno in _NO_ROOM else SYSTEM
    return Defer(f"{printable(what)}: {reason}", code)
