"""The options of avcheck(1), each declared once.

Whatever knows an option has it from OPTIONS: the reader of command lines (reading), help and
completion (help), and the tests that compare them with the manual page.
"""

from __future__ import annotations

from avcheck.options import arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Option:
    """A row of OPTIONS.

    letter and name are its spellings.  argument is what --help calls its argument, empty if
    it takes none; read makes a value of it, which becomes the attribute of Settings (empty
    for --help and --version, which are handled apart).  help is what --help says.  If an
    option is given twice, the last one counts, or with many all of them do.
    """

    __slots__ = ("argument", "attribute", "default", "help", "letter", "many", "name", "read")

    def __init__(
        self,
        letter: str,
        name: str,
        argument: str,
        attribute: str,
        read: Callable[[bytes], Any],
        default: Any,
        help: str,
        many: bool = False,
    ) -> None:
        self.letter = letter
        self.name = name
        self.argument = argument
        self.attribute = attribute
        self.read = read
        self.default = default
        self.help = help
        self.many = many


OPTIONS = (
    Option("f", "from", "ADDRESS", "sender", arguments.sender, None,
           "Envelope sender; empty or <> for a bounce.  Required."),
    Option("s", "scanner", "TYPE[:WHERE]", "scanners", arguments.scanner, (),
           "A scanner to ask.  May be given again: each must answer.  Required without -c.", True),
    Option("d", "spool", "DIR", "spool", arguments.directory, None,
           "Directory for messages while they are checked.  Required without -c."),
    Option("t", "timeout", "SECONDS", "timeout", arguments.seconds, arguments.FOREVER,
           "Time to wait for the scanners."),
    Option("", "deadline", "SECONDS", "deadline", arguments.seconds, 900.0,
           "Time for the whole run, 900 unless given; 0: no limit."),
    Option("n", "no-inject", "", "no_inject", arguments.flag, False,
           "Do not hand good mail back to the mail system."),
    Option("g", "ok-status", "N", "ok_status", arguments.status, 0,
           "Exit with N for good mail."),
    Option("S", "sendmail", "PROGRAM|HOST:PORT", "program", arguments.destination, (),
           "Program, or host:port, that takes good mail; 127.0.0.1:smtp unless given.", True),
    Option("h", "header", "TEXT", "header", arguments.header, b"",
           "Prepend X-AV-Checked: TIME TEXT to good mail."),
    Option("i", "infected", "PROGRAM", "infected", arguments.file, b"",
           "Handler of infected mail; infected or infected.sh beside avcheck unless given."),
    Option("w", "waitfile", "FILE", "waitfile", arguments.file, b"",
           "Hold every message back while FILE exists."),
    Option("c", "client", "", "client", arguments.flag, False,
           "Only inject the message by -S, unchecked."),
    Option("", "backup", "TYPE[:WHERE]", "backups", arguments.scanner, (),
           "A scanner to ask when too few of the others answer.  May be given again.", True),
    Option("", "need", "N", "need", arguments.number, 0,
           "How many scanners must answer; all of -s unless given."),
    Option("", "on", "VERDICT=ACTION", "on", arguments.action, (),
           "What to do with a message of that verdict.  May be given again.", True),
    Option("", "attempts", "N", "attempts", arguments.number, 0,
           "Take a message for unscannable after N scans in vain; needs --queue-id."),
    Option("", "slots", "N", "slots", arguments.number, 0,
           "At most N scans at a time on this host."),
    Option("", "canary", "SECONDS", "canary", arguments.interval, 0.0,
           "Test every so often that the scanners know the EICAR test virus."),
    Option("", "metrics", "FILE", "metrics", arguments.file, b"",
           "Prometheus text file to keep up to date."),
    Option("", "config", "FILE", "config", arguments.file, b"",
           "More options, one on a line, by their long names; the command line wins."),
    Option("", "scanner-ca", "FILE", "scanner_ca", arguments.file, b"",
           "Verify scanners asked by TLS by the authorities in FILE, not of the system."),
    Option("", "scanner-cert", "FILE", "scanner_cert", arguments.file, b"",
           "Certificate to show to scanners asked by TLS."),
    Option("", "scanner-key", "FILE", "scanner_key", arguments.file, b"",
           "Key of that certificate, if it is not in the same file."),
    Option("", "tls", "never|may|require", "tls", arguments.one_of("never", "may", "require"),
           "never", "Encrypt the SMTP connection of -S by STARTTLS."),
    Option("", "tls-ca", "FILE", "tls_ca", arguments.file, b"",
           "Verify the server's certificate by the authorities in FILE, or of the system."),
    Option("", "tls-name", "HOST", "tls_name", arguments.host, b"",
           "The server's name in its certificate, if not the host of -S."),
    Option("", "refused", "defer|bounce", "refused", arguments.one_of("defer", "bounce"), "defer",
           "What becomes of a message that the SMTP server refuses for good."),
    Option("", "xforward", "NAME=VALUE", "xforward", arguments.attribute, (),
           "Tell the SMTP server about the original client.  May be given again.", True),
    Option("", "envid", "ID", "envid", arguments.envid, b"",
           "Envelope ID for delivery status notifications."),
    Option("", "ret", "full|hdrs", "ret", arguments.ret, b"",
           "What a failure notification is to contain."),
    Option("", "notify", "never|WHEN,...", "notify", arguments.notify, b"",
           "When to notify the sender: success, failure, delay."),
    Option("", "orcpt", "ADDRESS", "original", arguments.any_address, (),
           "Original recipient.  Given once for each recipient, in their order.", True),
    Option("", "queue-id", "ID", "queue_id", arguments.identifier, b"",
           "The mail system's name for the message, for the handler."),
    Option("v", "verbose", "", "verbose", arguments.flag, False,
           "Show the steps, with times, on standard error."),
    Option("", "version", "", "", arguments.flag, False,
           "Show the version."),
    Option("", "help", "", "", arguments.flag, False,
           "Show this text."),
)  # fmt: skip

LETTERS = {option.letter.encode(): option for option in OPTIONS if option.letter}
NAMES = {option.name.encode(): option for option in OPTIONS}
