"""Hand the message on by a sendmail program."""

from __future__ import annotations

from avcheck import child
from avcheck.exits import Defer
from avcheck.printable import printable
from avcheck.process import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from avcheck.incoming import Incoming
    from avcheck.run import Run
    from avcheck.settings import Settings
    from avcheck.spool import Message

# The options of sendmail(1) that have a value.
VALUED = b"ABCFLNOQRXbdfhpqr"


def send(message: Message | Incoming, header: bytes, settings: Settings, run: Run) -> str:
    """Run the program for all recipients; returns its name and its output.

    Status 0 is the only success, and only of a program that has read the whole message:
    whatever else it means to it, to us it is Defer.
    """
    # "--": an address that begins with a dash is not an option to it (sendmail(1) of
    # Postfix warns of "a malicious user").
    argv = (*settings.program, b"-f", settings.sender, b"--", *settings.recipients)
    stdin = message.as_stdin(header)
    try:
        run.require_caller()
        # The program takes the message when its standard input ends, and that is not
        # for us to see: from here on its status decides, not a signal.
        run.commit()
        ended = child.hand_over(run, settings.ok_status, argv, stdin, child.environment())
    finally:
        close(stdin)
    name = printable(settings.program[0])
    if ended.unread:  # it may have handed on what it has read
        raise Defer(f"possible duplicate: {name} {ended}{advice(settings.program)}")
    if ended.killed:
        raise Defer(f"possible duplicate: {name} {ended}")
    if ended.status:
        raise Defer(f"{name} {ended}")
    return f"{name} {printable(ended.output)}{advice(settings.program)}".rstrip()


def advice(program: Sequence[bytes]) -> str:
    """Which option a sendmail program of -S should have been given, if any."""
    if not program[0].endswith(b"/sendmail"):
        return ""
    options = letters(program[1:])
    if b"i" not in options:
        return " (warning: without -i in -S a line with a single dot ends a message)"
    if b"G" not in options:
        return " (warning: without -G in -S Postfix completes the header)"
    return ""


def letters(arguments: Sequence[bytes]) -> bytes:
    """The options of sendmail(1) in these arguments: those of -G -i, of -Gi and of -oi.

    Letters are read up to one that takes what follows as its value.
    """
    found = b""
    for argument in arguments:
        if argument.startswith(b"-"):
            for letter in argument[2:] if argument.startswith(b"-o") else argument[1:]:
                found += bytes((letter,))
                if letter in VALUED:
                    break
    return found
