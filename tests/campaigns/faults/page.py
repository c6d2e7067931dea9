"""The section of docs/faults.md about system calls and signals."""

from __future__ import annotations

from tests.campaigns.faults import campaign
from tests.campaigns.faults.campaign import Result

TITLE = "System calls and signals"

TEXT = """`make faults` does it all again and writes this section (half an hour on two cores);
`.venv/bin/python -m tests.campaigns faults 'infected, handler'` is one scene, and shows for each
broken promise the command line that breaks it. A choice of the faults is part of `make check`.

### Method

SQLite's: a run is traced, and then done once more for each of its system calls with a fault in
that one call.

- An *error* takes the place of the call: every one that is plausible for it, of ENOSPC, EIO, EINTR,
  EAGAIN, EMFILE, ENOMEM, EACCES, ECONNRESET, EPIPE and a few more
  (tests/campaigns/faults/errors.py), by strace(1) and its fault injection.
- An error comes *after* the call, which has been carried out: what close(2) says on Linux, and a
  file server whose answer is lost after a rename.
- A *short* read or write: the call is carried out, for one byte, half of the bytes, and all but one
  of those that it had moved. strace cannot do that; tests/campaigns/faults/tamper.py, a small
  ptrace(2) program, changes the count in the register (x86-64 only). It covers read, write,
  pread64, pwrite64, sendto, recvfrom, sendmsg, sendfile and getrandom.
- A *signal* comes with the call: SIGKILL, SIGTERM, and SIGSTOP followed by SIGCONT.

The threads of two scanners at once are struck like the main one, and so is a child between fork and
exec. Each call that loads a module has its faults in the first scene that makes it, all others in
every scene. What the interpreter does before avcheck's first line is struck behind
avcheck-guard.sh, which is what is there for it. The scanner, the next hop, sendmail and the handler
are played, and answer at once.

### What is looked at

After each run: that the MTA understands status and output as meant (0, or 75 and a 4.x.x, or 75 and
nothing that looks like a status code where the output itself was struck; never a 5); that the
message, unchanged, was handed on, stored or taken by the handler once, or is still the MTA's; that
nobody has it without every scanner having seen all of it; that the infected one was not delivered;
that nothing is left in the spool directory, nor in the quarantine, but by SIGKILL a named file
where one is documented; that it ended. And wherever the MTA keeps the message: the next try, with
no fault, is done, with one copy, and leaves nothing.

- *done*: the fault did no harm, the message was handed on or stored, and the status is 0.
- *kept*: the MTA keeps the message, and nobody else has it.
- *possible duplicate*: both, and the words say so: after the final dot nothing can be known.
- *stored, and kept*: with --queue-id in the quarantine, where the MTA's next try finds it and makes
  no second one.
- *killed*: by the signal, and nobody else has the message; *killed after commit*: somebody has.
- *not reached*: the run was over before it came to so many calls of that name.

### What came of it

**{count} faults, {violations} broken promises.**

{scenes}

{kinds}

{calls}

### What is not covered

- Two faults in one run; a fault that stays (a full disk: tests/command/test_spool.py).
- Other sizes of message than a small one: the loops over large ones are struck in their first
  rounds only.
- vDSO calls and memory that runs out without a call that says so; brk(2).
- Faults in sendmail, the handler and the scanner: from outside they are what
  tests/command/test_*.py and tests/campaigns/chaos do. The shell of avcheck-guard.sh itself.
- SIGTERM before avcheck catches it (*killed*, above) is a death by signal: Postfix and sendmail
  keep the mail then, and Exim does with avcheck-guard.sh in between.
- SIGKILL leaves what the manual page says (a named file, for scanners by path, programs and the
  handler; an unfinished entry in the quarantine's .new): that is not counted as broken.
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
