"""The administrator's program takes care of the message."""

from __future__ import annotations

import os

from avcheck import child
from avcheck.deliver import injector
from avcheck.directory import release_file, remove_leftovers
from avcheck.exits import CONFIG, OK, SYSTEM, Defer, Leave, defer_from
from avcheck.printable import printable
from avcheck.process import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.run import Run
    from avcheck.settings import Settings
    from avcheck.spool import Message
    from avcheck.verdict import Answer

# The handler's exit statuses that are passed on, with the enhanced status code that
# Postfix (sys_exits.c) gives each, so that our first words and the status agree.
# Any other status is TEMPFAIL: a shell's own 1, 2, 126 and 127 would bounce the mail.
PASSED_ON = {
    64: "5.3.0",
    65: "5.6.0",
    66: "5.3.0",
    67: "5.1.1",
    68: "5.1.2",
    69: "5.3.0",
    70: "5.3.0",
    71: SYSTEM,
    72: "5.3.0",
    73: "5.2.0",
    74: "5.3.0",
    75: SYSTEM,
    76: "5.5.0",
    77: "5.7.0",
    78: "5.3.5",
}

# What the names of what was found may take; execve(2) refuses a variable of 128 KiB, and how
# many names a scanner has for a message is up to whom it comes from.
NAMES_MAX = 4096

# Looked for in the directory avcheck was called from, in this order.
NAMES = (b"infected", b"infected.sh")


class Handled(Leave):
    """The handler left with a status of its own that the MTA is to see."""

    def __init__(self, status: int, text: str, code: str) -> None:
        super().__init__(text, code)
        self.status = status


def hand_over(message: Message, answer: Answer, settings: Settings, run: Run) -> str:
    """Have the handler take the message over; returns its name, without its path, and its output.

    Raises Handled for a status that is passed
    on, Defer for any other but 0.  Unless the handler exits 0, the file is gone then.
    """
    program = os.path.abspath(settings.infected) if settings.infected else _beside(run.called)
    try:
        stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as why:
        raise defer_from(os.devnull, why) from why
    try:
        name = message.hand_over()
        file = message.directory.join(name).replace(b"/./", b"/")
        argv = (program, file, answer.finding.text.encode(), settings.sender, *settings.recipients)
        env = {
            **child.environment(),
            b"SENDMAIL": injector.command(settings, run.called),
            b"AVCHECK_VERDICT": answer.finding.verdict.name.encode(),
            b"AVCHECK_VIRUS": _listed(answer.finding.names),
            b"AVCHECK_SCANNER": answer.scanner.encode(),
            b"AVCHECK_QUEUE_ID": settings.queue_id,
            b"AVCHECK_SHA256": message.sha256().encode(),
            b"AVCHECK_SENDER": settings.sender,
        }
        run.require_caller()
        ended = child.hand_over(run, OK, argv, stdin, env, message.directory.fd)
        if ended.status == OK:
            release_file(name)
    finally:
        remove_leftovers()
        close(stdin)
    words = f"handler {printable(program)} {ended}"
    if ended.status == OK:
        return f"{printable(os.path.basename(program))} {printable(ended.output)}".rstrip()
    if ended.killed:  # it may have done its work already
        raise Defer(f"possible duplicate: {words}")
    if ended.status in PASSED_ON:
        raise _passed_on(ended, words)
    raise Defer(words)


def _beside(called: bytes) -> bytes:
    """The handler in the directory avcheck was called from."""
    directory = os.path.dirname(os.path.abspath(called))
    for name in NAMES:
        program = directory + b"/" + name
        if os.access(program, os.X_OK):
            return program
    raise Defer(
        f"no handler in {printable(directory)}: neither infected nor infected.sh is an"
        " executable file; name one with -i",
        CONFIG,
    )


def _listed(names: tuple[str, ...]) -> bytes:
    """The names in one line; how many more there are where that would be too long."""
    listed = ""
    for number, name in enumerate(names):
        longer = f"{listed}, {name}" if listed else name
        if len(longer) > NAMES_MAX:
            listed += f", and {len(names) - number} more"
            break
        listed = longer
    return listed.encode()


def _passed_on(ended: child.Ended, words: str) -> Handled:
    """With the handler's own enhanced code and text where it says one that fits its status."""
    code = PASSED_ON[ended.status]
    said, _, text = printable(ended.output).partition(" ")
    numbers = said.split(".")
    own = (
        len(numbers) == 3
        and all(number.isdigit() and len(number) <= 3 for number in numbers)
        and numbers[0] in ("4", code[0])  # a temporary code is the safer one of two
    )
    if own:
        return Handled(ended.status, text, said)
    return Handled(ended.status, words, code)
