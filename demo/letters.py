"""The messages of the demonstration, as a mail system gives them to avcheck: lines end in LF."""

from __future__ import annotations

from email.message import EmailMessage

# The EICAR test file, in two pieces, so that no scanner takes this file for it.
EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD" + "-ANTIVIRUS-TEST-FILE!$H+H*"

ALICE = "alice@example.org"
BOB = "bob@example.net"
# Nobody knows who really sent it.
FORGED = "forged@example.com"


def clean() -> bytes:
    """A letter, with what a filter must leave alone: a lone dot, umlauts, From at a line start."""
    letter = _letter(ALICE, "Lunch?")
    letter.set_content("Hello Bob,\n\nlunch at Müller's?\n.\nFrom noon on.\n", cte="8bit")
    return letter.as_bytes()


def infected() -> bytes:
    """A letter with the test virus attached, in base64, so the scanner has to decode it."""
    letter = _letter(FORGED, "Your invoice")
    letter.set_content("See attachment.\n")
    letter.add_attachment(
        EICAR.encode(), maintype="application", subtype="octet-stream", filename="invoice.com"
    )
    return letter.as_bytes()


def _letter(sender: str, subject: str) -> EmailMessage:
    letter = EmailMessage()
    letter["From"] = sender
    letter["To"] = BOB
    letter["Subject"] = subject
    letter["Message-ID"] = f"<{subject.lower().replace(' ', '-').rstrip('?')}@{sender}>"
    return letter
