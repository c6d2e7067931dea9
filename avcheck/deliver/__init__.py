"""The message goes back to the mail system: by SMTP or by a sendmail program."""

from __future__ import annotations

from time import localtime, strftime

from avcheck.printable import printable
from avcheck.verdict import CLEAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from avcheck.incoming import Incoming
    from avcheck.run import Run
    from avcheck.settings import Settings
    from avcheck.spool import Message
    from avcheck.verdict import Finding

# A header line has at most 998 bytes (RFC 5322 2.1.1).
FOUND_MAX = 400


def send_on(message: Message, finding: Finding, settings: Settings, run: Run) -> str:
    """Hand the message on, with the header of -h; returns what was said to that, printable.

    Raises Defer unless the message was taken for every recipient.
    """
    if settings.no_inject:
        run.require_caller()
        run.mark_handed_over(settings.ok_status)
        return "not handed on (-n)"
    header = _header(finding, settings.header) if settings.header else b""
    if run.transaction:
        return run.transaction.send(message, header, run)
    return inject(message, header, settings, run)


def _header(finding: Finding, text: bytes) -> bytes:
    """X-AV-Checked for what was proved to be clean, and something else for the rest."""
    # strftime is in the C locale, because nothing here calls setlocale(LC_TIME).
    now = strftime("%a, %d %b %Y %H:%M:%S %z", localtime()).encode()
    if finding.verdict is CLEAN:
        return b"X-AV-Checked: %b %b" % (now, text)
    found = ", ".join(finding.names) or finding.text
    why = f"{finding.verdict.name}: {printable(found, FOUND_MAX)}".encode()
    return b"X-AV-Unchecked: %b %b (%b)" % (now, text[:FOUND_MAX], why)


def inject(message: Message | Incoming, header: bytes, settings: Settings, run: Run) -> str:
    """Hand the message on unchecked, the header line (without its end, or empty) first."""
    if settings.program:
        from avcheck.deliver import sendmail

        return sendmail.send(message, header, settings, run)
    from avcheck.deliver import smtp

    return smtp.send(message, header, settings, run)
