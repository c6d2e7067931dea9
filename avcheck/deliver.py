"""The message goes back to the mail system: by SMTP or by a sendmail program."""

from __future__ import annotations

from time import localtime, strftime

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from avcheck.options import Settings
    from avcheck.spool import Incoming, Message


def send_on(message: Message, settings: Settings, deadline: float) -> str:
    """Hand a good message on, with the header of -h; returns what was said to that, printable.

    Raises Defer unless the message was taken for every recipient.
    """
    if settings.no_inject:
        return "not handed on (-n)"
    header = b""
    if settings.header:
        # strftime is in the C locale, because nothing here calls setlocale(LC_TIME).
        now = strftime("%a, %d %b %Y %H:%M:%S %z", localtime()).encode()
        header = b"X-AV-Checked: " + now + b" " + settings.header
    return inject(message, header, settings, deadline)


def inject(message: Message | Incoming, header: bytes, settings: Settings, deadline: float) -> str:
    """Hand the message on unchecked, the header line (without its end, or empty) first."""
    if settings.program:
        from avcheck import deliver_sendmail

        return deliver_sendmail.send(message, header, settings, deadline)
    from avcheck import deliver_smtp

    return deliver_smtp.send(message, header, settings, deadline)
