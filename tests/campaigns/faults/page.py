"""The section of docs/faults.md about system calls and signals."""

from __future__ import annotations

from tests.campaigns.faults import campaign
from tests.campaigns.faults.campaign import Result

TITLE = "System calls and signals"

TEXT = """`make faults` repeats it and writes this section (half an hour on two cores);
`.venv/bin/python -m tests.campaigns faults 'infected, handler'` runs one scene, and prints for each
broken promise the command line that breaks it. A selection of the faults is part of `make check`.

### Method

SQLite's method: one run is traced; then there is one more run for each of its system calls, with a
fault in that call.

- An *error* takes the place of the call: every one that is plausible for it, of ENOSPC, EIO, EINTR,
  EAGAIN, EMFILE, ENOMEM, EACCES, ECONNRESET, EPIPE and a few more
  (tests/campaigns/faults/errors.py), by strace(1) and its fault injection.
- An error *after* the call: the call has been carried out all the same. close(2) does that on
  Linux, and so does a file server whose reply is lost after a rename.
- A *short* read or write: the call is carried out, for one byte, half of the bytes, and all but one
  of those that it had moved. strace cannot do that; tests/campaigns/faults/tamper.py, a small
  ptrace(2) program, changes the count in the register (x86-64 only). It covers read, write,
  pread64, pwrite64, sendto, recvfrom, sendmsg, sendfile and getrandom.
- A *signal* comes with the call: SIGKILL, SIGTERM, and SIGSTOP followed by SIGCONT.

A session of avcheck-smtp is a run, too: three messages on one connection, the second of which is
infected. With a socket that listens the third comes on another connection, to the same child. The
client is strict, and sends what was not taken in another session.

Faults also strike the threads that ask two scanners at once, and a child between fork and exec. A
call that loads a module gets its faults in the first scene that makes it, every other call in every
scene. The calls of the interpreter before avcheck's first line are tested behind avcheck-guard.sh,
which is there for such faults. The scanner, the next hop, sendmail and the handler are played by
the test, and answer at once.

### What is checked

After each run it is checked that the MTA gets a correct status and output (0, or 75 and a 4.x.x, or
75 and nothing that looks like a status code if the fault struck the output itself; never a 5); that
the message, unchanged, was handed on, stored or taken by the handler once, or is still the MTA's;
that nobody has it before every scanner has seen all of it; that an infected one was not delivered;
that nothing is left in the spool directory or the quarantine, except by SIGKILL a named file where
one is documented; and that the run ended. Wherever the MTA keeps the message, the next try, without
a fault, has to deliver one copy and leave nothing behind.

- *done*: the fault did no harm, the message was handed on or stored, and the status is 0.
- *kept*: the MTA keeps the message, and nobody else has it.
- *possible duplicate*: both, and the text says so: after the final dot nobody can know.
- *stored, and kept*: with --queue-id in the quarantine, where the MTA's next try finds it and makes
  no second one.
- *killed*: by the signal, and nobody else has the message; *killed after commit*: somebody has.
- *not reached*: the run ended before it had made that many calls of that name.

### Results

**{count} faults, {violations} broken promises.**

{scenes}

{kinds}

{calls}

### What is not covered

- Two faults in one run; a fault that stays (a full disk: tests/command/test_spool.py).
- Other sizes of message than a small one: loops over large ones get faults in their first rounds
  only.
- vDSO calls, and a lack of memory that no call reports; brk(2).
- Faults inside sendmail, the handler and the scanner; tests/command/test_*.py and
  tests/campaigns/chaos test what avcheck sees of them. Faults in the shell of avcheck-guard.sh
  itself.
- SIGTERM before avcheck catches it (*killed*, above) is a death by signal: Postfix and sendmail
  keep the mail then, and Exim does with avcheck-guard.sh in between.
- What SIGKILL leaves according to the manual page (a named file, for scanners by path, programs and
  the handler; an unfinished entry in the quarantine's .new) is not counted as broken.
"""


def text(results: list[Result]) -> str:
    """Markdown."""
    return TEXT.format(
        count=f"{len(results):,}".replace(",", " "),
        violations=sum(1 for result in results if result.text),
        scenes=by_scene(results),
        kinds=campaign.table(sorted(results, key=kind), "fault", kind),
        calls=campaign.table(sorted(results, key=lambda each: each.call), "call", call),
    )


def by_scene(results: list[Result]) -> str:
    """The table with a row for each scene."""
    return campaign.table(results, "scene", lambda result: result.scene)


def call(result: Result) -> str:
    return result.call


def kind(result: Result) -> str:
    """What happened to the call, without the number of bytes."""
    name, _, value = result.what.partition("=")
    if name == "short":
        return "short"
    return f"{value} after it" if value else name
