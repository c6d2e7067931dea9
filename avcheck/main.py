"""One message, from standard input to where it belongs.

Read this beside DESCRIPTION in avcheck(1): same steps, same order, same words.
"""

from __future__ import annotations

import os
from time import monotonic

from avcheck import ask, deliver, hold, options, policy, report, spool, stop
from avcheck.exits import OK, Defer, Leave, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from avcheck.options import Settings
    from avcheck.spool import Message
    from avcheck.verdict import Finding


def run(argv: list[bytes], stdin: int, called: bytes) -> int:
    """Check one message; returns the exit status that avcheck(1) promises.

    argv is without the command's own name, which is called; stdin is the descriptor
    with the message, -1 if it is closed.
    """
    stop.catch()
    try:
        if "_AVCHECK_COMPLETE" in os.environ:
            raise options.Asked("complete")
        return check(options.read(argv), stdin, called)
    except options.Asked as asked:
        from avcheck import usage

        return usage.show(asked.what)
    except Usage as why:
        if not os.isatty(2):  # no person is looking, and an MTA would bounce the mail
            return report.left(why)
        from avcheck import usage

        return usage.explain(argv)
    except Leave as why:
        return report.left(why)


def check(settings: Settings, stdin: int, called: bytes) -> int:
    deadline = monotonic() + settings.deadline
    stop.after(settings.deadline)
    if settings.verbose:
        report.verbosely()
    if stdin < 0:
        raise Defer("standard input is closed; the message is expected there")
    if settings.client:
        said = deliver.inject(spool.Incoming(stdin), b"", settings, deadline)
        return report.done(f"injected: {said}", OK)

    # While the waitfile exists, no message is taken.
    hold.unless_open(settings.waitfile)

    # The spool directory is opened, and used only if it is safe.  It stays locked
    # (shared) until the end, so that somebody who wants to know can wait for us.
    with spool.Directory(settings.spool) as directory:
        hold.share(directory.fd, settings.waitfile)

        # The message is saved there, in a file that is gone when this block is left.
        named = any(scanner.opens_path for scanner in settings.scanners)
        with spool.receive(stdin, directory, settings.sender, named) as message:
            report.step(f"saved {message.size} bytes in {os.fsdecode(directory.path)}")

            # Every scanner is asked.  One that cannot answer has FAILED; it has not
            # said CLEAN.
            until = min(deadline, monotonic() + settings.timeout)
            findings = ask.every(settings.scanners, message, settings, until)
            for finding in findings:
                report.step(f"{finding.scanner} {finding.where}: {finding.verdict.name}")

            # The worst finding decides what is done with the message.
            finding = policy.worst(findings)
            action = policy.decide(findings)
            report.step(f"action: {action}")

            # It is done.  Until this returns, the caller's queue has the message: a
            # failure here may deliver twice, but never not at all.
            return ACT[action](message, finding, settings, called, deadline)


def _deliver(
    message: Message, finding: Finding, settings: Settings, called: bytes, deadline: float
) -> int:
    said = deliver.send_on(message, settings, deadline)
    # It is done and cannot be undone: nothing changes the status any more.
    took = f"{finding.scanner} {finding.seconds * 1000:.0f}ms"
    return report.done(f"clean: {took}; {said}", settings.ok_status)


def _handle(
    message: Message, finding: Finding, settings: Settings, called: bytes, deadline: float
) -> int:
    from avcheck import handle

    said = handle.run(message, finding, settings, called, deadline)
    found = ", ".join(finding.names) or finding.text
    return report.done(f"{finding.verdict.name}: {found}; {said}", OK)


def _defer(
    message: Message, finding: Finding, settings: Settings, called: bytes, deadline: float
) -> int:
    raise Defer(f"{finding.scanner} {finding.text}", finding.code)


ACT = {
    policy.DELIVER: _deliver,  # back into the mail system
    policy.HANDLE: _handle,  # to the administrator's program
    policy.DEFER: _defer,  # not at all: the caller keeps it
}
