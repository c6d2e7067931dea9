"""The options of avcheck(1) and avcheck-smtp(8), each declared once.

Whatever knows an option has it from here: the reader of command lines (reading), help and
completion (help), and the tests that compare them with the manual pages.
"""

from __future__ import annotations

from avcheck.exits import Usage
from avcheck.options import arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Option:
    """A row of EVERY.

    commands says which command knows it; letter and name are its spellings.  argument is what
    --help calls its argument, empty if it takes none; read makes a value of it, which becomes
    the attribute of Settings (empty for --help and --version, which are handled apart).  help
    is what --help says.  If an option is given twice, the last one counts, or with many all of
    them do.
    """

    __slots__ = (
        *("argument", "attribute", "commands", "default", "help", "letter", "many", "name"),
        "read",
    )

    def __init__(
        self,
        commands: str,
        letter: str,
        name: str,
        argument: str,
        attribute: str,
        read: Callable[[bytes], Any],
        default: Any,
        help: str,
        many: bool = False,
    ) -> None:
        self.commands = commands
        self.letter = letter
        self.name = name
        self.argument = argument
        self.attribute = attribute
        self.read = read
        self.default = default
        self.help = help
        self.many = many


# Which command knows an option: avcheck, avcheck-smtp, or both.
PIPE = "avcheck"
SMTP = "avcheck-smtp"
BOTH = "avcheck avcheck-smtp"

EVERY = (
    Option(PIPE, "f", "from", "ADDRESS", "sender", arguments.sender, None,
           "Envelope sender; empty or <> for a bounce.  Required."),
    Option(BOTH, "s", "scanner", "TYPE[:WHERE]", "scanners", arguments.scanner, (),
           "A scanner to ask.  May be given again: each must answer.  Required (avcheck: only "
           "without -c).", True),
    Option(BOTH, "d", "spool", "DIR", "spool", arguments.directory, None,
           "Directory for messages while they are checked.  Required (avcheck: only without -c)."),
    Option(BOTH, "t", "timeout", "SECONDS", "timeout", arguments.seconds, arguments.FOREVER,
           "Time to wait for the scanners."),
    Option(BOTH, "", "deadline", "SECONDS", "deadline", arguments.seconds, 900.0,
           "Time for one message, 900 (avcheck-smtp: 250) unless given; 0: no limit."),
    Option(PIPE, "n", "no-inject", "", "no_inject", arguments.flag, False,
           "Do not hand good mail back to the mail system."),
    Option(PIPE, "g", "ok-status", "N", "ok_status", arguments.status, 0,
           "Exit with N for good mail."),
    Option(BOTH, "S", "sendmail", "PROGRAM|HOST:PORT", "program", arguments.destination, (),
           "Program, or host:port, that takes good mail; 127.0.0.1:smtp unless given.", True),
    Option(BOTH, "h", "header", "TEXT", "header", arguments.header, b"",
           "Prepend X-AV-Checked: TIME TEXT to good mail."),
    Option(BOTH, "i", "infected", "PROGRAM", "infected", arguments.file, b"",
           "Handler of infected mail; infected or infected.sh beside avcheck unless given."),
    Option(BOTH, "w", "waitfile", "FILE", "waitfile", arguments.file, b"",
           "Hold every message back while FILE exists."),
    Option(PIPE, "c", "client", "", "client", arguments.flag, False,
           "Only inject the message by -S, unchecked."),
    Option(BOTH, "", "backup", "TYPE[:WHERE]", "backups", arguments.scanner, (),
           "A scanner to ask when too few of the others answer.  May be given again.", True),
    Option(BOTH, "", "need", "N", "need", arguments.number, 0,
           "How many scanners must answer; all of -s unless given."),
    Option(BOTH, "", "on", "VERDICT=ACTION", "on", arguments.action, (),
           "What to do with a message of that verdict.  May be given again.", True),
    Option(BOTH, "", "attempts", "N", "attempts", arguments.number, 0,
           "Take a message for unscannable after N scans in vain; needs --queue-id."),
    Option(BOTH, "", "slots", "N", "slots", arguments.number, 0,
           "At most N scans at a time on this host."),
    Option(BOTH, "", "canary", "SECONDS", "canary", arguments.interval, 0.0,
           "Test every so often that the scanners know the EICAR test virus."),
    Option(BOTH, "", "metrics", "FILE", "metrics", arguments.file, b"",
           "Prometheus text file to keep up to date."),
    Option(BOTH, "", "config", "FILE", "config", arguments.file, b"",
           "More options, one on a line, by their long names; the command line wins."),
    Option(BOTH, "", "scanner-ca", "FILE", "scanner_ca", arguments.file, b"",
           "Verify scanners asked by TLS by the authorities in FILE, not of the system."),
    Option(BOTH, "", "scanner-cert", "FILE", "scanner_cert", arguments.file, b"",
           "Certificate to show to scanners asked by TLS."),
    Option(BOTH, "", "scanner-key", "FILE", "scanner_key", arguments.file, b"",
           "Key of that certificate, if it is not in the same file."),
    Option(BOTH, "", "tls", "never|may|require", "tls", arguments.one_of("never", "may", "require"),
           "never", "Encrypt the SMTP connection of -S by STARTTLS."),
    Option(BOTH, "", "tls-ca", "FILE", "tls_ca", arguments.file, b"",
           "Verify the server's certificate by the authorities in FILE, or of the system."),
    Option(BOTH, "", "tls-name", "HOST", "tls_name", arguments.host, b"",
           "The server's name in its certificate, if not the host of -S."),
    Option(PIPE, "", "refused", "defer|bounce", "refused", arguments.one_of("defer", "bounce"),
           "defer", "What becomes of a message that the SMTP server refuses for good."),
    Option(PIPE, "", "xforward", "NAME=VALUE", "xforward", arguments.attribute, (),
           "Tell the SMTP server about the original client.  May be given again.", True),
    Option(PIPE, "", "envid", "ID", "envid", arguments.envid, b"",
           "Envelope ID for delivery status notifications."),
    Option(PIPE, "", "ret", "full|hdrs", "ret", arguments.ret, b"",
           "What a failure notification is to contain."),
    Option(PIPE, "", "notify", "never|WHEN,...", "notify", arguments.notify, b"",
           "When to notify the sender: success, failure, delay."),
    Option(PIPE, "", "orcpt", "ADDRESS", "original", arguments.any_address, (),
           "Original recipient.  Given once for each recipient, in their order.", True),
    Option(PIPE, "", "queue-id", "ID", "queue_id", arguments.identifier, b"",
           "The mail system's name for the message, for the handler."),
    Option(SMTP, "", "xclient", "", "xclient", arguments.flag, False,
           "Pass XCLIENT on to a server that offers it."),
    Option(SMTP, "", "messages", "N", "messages", arguments.number, 100,
           "End the session after N messages, 100 unless given."),
    Option(SMTP, "", "session", "SECONDS", "session", arguments.seconds, 600.0,
           "End the session after so long, 600 unless given; 0: no limit."),
    Option(SMTP, "", "processes", "N", "processes", arguments.number, 20,
           "At most N connections at a time of a listening socket, 20 unless given."),
    Option(SMTP, "", "idle", "SECONDS", "idle", arguments.seconds, 300.0,
           "Leave a listening socket after so long without one, 300 unless given; 0: never."),
    Option(BOTH, "v", "verbose", "", "verbose", arguments.flag, False,
           "Show the steps, with times, on standard error."),
    Option(BOTH, "", "version", "", "", arguments.flag, False,
           "Show the version."),
    Option(BOTH, "", "help", "", "", arguments.flag, False,
           "Show this text."),
)  # fmt: skip


# Defaults that are not those of EVERY.  A session of avcheck-smtp, with the message that it ends
# after, takes less time than spawn(8) gives it, and a message less than an smtpd(8) behind waits.
DEFAULTS = {PIPE: {}, SMTP: {"deadline": 250.0}}


class Command:
    """The options that one of the commands knows, and defaults that are its own."""

    __slots__ = ("defaults", "letters", "name", "names", "options")

    def __init__(self, name: str) -> None:
        self.name = name
        self.defaults: dict[str, Any] = DEFAULTS[name]
        self.options = tuple([each for each in EVERY if name in each.commands.split()])
        self.letters = {each.letter.encode(): each for each in self.options if each.letter}
        self.names = {each.name.encode(): each for each in self.options}


AVCHECK = Command(PIPE)
OPTIONS, LETTERS, NAMES = AVCHECK.options, AVCHECK.letters, AVCHECK.names

# What a configuration file may name: it can serve both.
IN_FILE = {each.name.encode(): each for each in EVERY}


class GivenOption:
    """An option with its argument, as it was given; origin is file and line, or empty."""

    __slots__ = ("argument", "option", "origin")

    def __init__(self, option: Option, argument: bytes, origin: str = "") -> None:
        self.option = option
        self.argument = argument
        self.origin = origin

    def value(self) -> Any:
        """What the argument means; raises Usage, with where it was given, if it means nothing."""
        try:
            return self.option.read(self.argument)
        except Usage as error:
            raise self.error(error.text) from None

    def error(self, text: str) -> Usage:
        """A Usage that names the option, and where it was given."""
        if self.origin:
            return Usage(f"{self.origin}: {self.option.name}: {text}")
        letter, name = self.option.letter, self.option.name
        return Usage(f"{'-' + letter if letter else '--' + name}: {text}")
