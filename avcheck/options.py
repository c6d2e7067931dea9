"""The options of avcheck(1), each declared once, and their quick reader.  Pure.

Everything that knows an option reads OPTIONS: read() here, which runs for every
message; the click command in usage.py, which explains the options to a person;
the tests that compare both with each other and with the manual page.

The grammar is getopt_long's without its two guesses: a long name is written
out, and the first operand ends the options, so that a recipient can never be
taken for one.
"""

from __future__ import annotations

from avcheck import address, policy, scanners
from avcheck.exits import TEMPFAIL, Leave, Usage
from avcheck.printable import printable
from avcheck.scanners import DESCRIPTOR, PATH, SCANNERS
from avcheck.verdict import VERDICTS

TYPE_CHECKING = False
if TYPE_CHECKING:  # mypy takes this name for true
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from avcheck.address import Address
    from avcheck.scanners import Row
    from avcheck.verdict import Verdict


class Target:
    """A place to ask a scanner, and how.

    address is where it listens (None for a program), way how it gets the message, tls
    whether the connection is encrypted; path is what followed host:port (or the program),
    and parameters what followed a "?", decoded.
    """

    __slots__ = ("address", "parameters", "path", "tls", "way")

    def __init__(
        self,
        address: Address | None,
        way: str,
        tls: bool = False,
        path: bytes = b"",
        parameters: Mapping[str, bytes] | None = None,
    ) -> None:
        self.address = address
        self.way = way
        self.tls = tls
        self.path = path
        self.parameters = parameters or {}


class Scanner:
    """One -s: the type of the scanner, and where to ask it, in order of preference."""

    __slots__ = ("row", "targets", "type")

    def __init__(self, type_: str, row: Row, targets: tuple[Target, ...]) -> None:
        self.type = type_
        self.row = row
        self.targets = targets

    @property
    def opens_path(self) -> bool:
        """Whether the message file needs a name for it."""
        return any(target.way == PATH for target in self.targets)


class Settings:
    """The command line, complete and checked; no later code asks whether an option was given."""

    sender: bytes
    recipients: tuple[bytes, ...]
    scanners: tuple[Scanner, ...]
    spool: bytes
    timeout: float
    deadline: float
    no_inject: bool
    ok_status: int
    program: tuple[bytes, ...]  # the sendmail program and its words, or empty
    server: Address  # where to speak SMTP when there is no program
    header: bytes
    infected: bytes
    waitfile: bytes
    client: bool
    backups: tuple[Scanner, ...]
    need: int
    on: Mapping[Verdict, tuple[str, bytes]]  # an action, and its directory if it has one
    attempts: int
    slots: int
    canary: float
    metrics: bytes
    config: bytes
    scanner_ca: bytes
    scanner_cert: bytes
    scanner_key: bytes
    tls: str
    tls_ca: bytes
    tls_name: bytes
    refused: str
    xforward: tuple[tuple[bytes, bytes], ...]
    envid: bytes
    ret: bytes
    notify: bytes
    original: tuple[bytes, ...]
    queue_id: bytes
    verbose: bool


class Asked(Leave):
    """--help or --version was given, alone or with other options."""

    status = TEMPFAIL

    def __init__(self, what: str) -> None:
        super().__init__(f"--{what} is for a person at a terminal")
        self.what = what


# Readers: the bytes of an argument in, its value out; Usage for anything else.

FOREVER = float("inf")


def _address(value: bytes) -> bytes:
    for byte in b"\r\n\0":
        if byte in value:
            raise Usage(f"{printable(value)}: an address has no line break and no NUL")
    return value


def _sender(value: bytes) -> bytes:
    return b"" if value == b"<>" else _address(value)


def _recipient(value: bytes) -> bytes:
    if not value:
        raise Usage("an empty recipient")
    return _address(value)


TLS = "tls"  # the other word that may follow a type and a plus sign


def _scanner(value: bytes) -> tuple[str, Row, tuple[str, ...], bytes]:
    kind, _, where = value.partition(b":")
    name, *words = printable(kind).split("+")
    row = scanners.row(name)
    if row is None:
        raise Usage(f"{name or 'no type'}: known scanners are {', '.join(SCANNERS)}")
    for word in words:
        if word not in (*row.ways, TLS):
            raise Usage(f"{name}+{word}: {name} can be asked by {', '.join(row.ways)}")
    if not (where or row.where):
        raise Usage(f"{name}: this scanner has no usual place; write {name}:WHERE")
    return name, row, tuple(words), where or row.where


def _target(name: str, row: Row, words: tuple[str, ...], where: bytes, chrooted: bool) -> Target:
    """The place that one WHERE names: ADDRESS[/PATH][?NAME=VALUE&...]."""
    parameters: dict[str, bytes] = {}
    if row.parameters:
        where, _, query = where.partition(b"?")
        for word in query.split(b"&") if query else []:
            key, equals, value = word.partition(b"=")
            if not equals or not (row.parameters == scanners.ANY or _in(key, row.parameters)):
                known = ", ".join(row.parameters)
                raise Usage(f"{name}: {printable(word)}: NAME=VALUE, where NAME is one of {known}")
            parameters[printable(key)] = _decoded(value)
    if row.program:
        return Target(None, row.ways[0], False, where, parameters)
    path = b""
    if row.path and not where.startswith(b"/"):
        where, slash, path = where.partition(b"/")
        path = slash + path or row.path
    there = address.parse(where, row.port)
    ways = [
        way
        for way in ((PATH, *row.ways) if chrooted else row.ways)
        if way in row.ways and (there.path or way != DESCRIPTOR)
    ]
    ways = [word for word in words if word in ways] or (
        [] if any(word != TLS for word in words) else ways
    )
    if not ways or (TLS in words and there.path):
        raise Usage(f"{name}+{'+'.join(words)}: not at {there}")
    return Target(there, ways[0], TLS in words, path, parameters)


def _in(key: bytes, names: tuple[str, ...]) -> bool:
    return printable(key) in names


def _decoded(value: bytes) -> bytes:
    """The value with %XX decoded (RFC 3986 2.1); for what has a meaning in WHERE itself."""
    first, *rest = value.split(b"%")
    decoded = first
    for word in rest:
        try:
            decoded += bytes.fromhex(word[:2].decode("ascii")) + word[2:]
        except ValueError:
            raise Usage(f"{printable(value)}: a percent sign is written %25") from None
    return decoded


def _directory(value: bytes) -> bytes:
    if not value.startswith(b"/") or b"\0" in value or b"\n" in value:
        raise Usage(f"{printable(value)}: the spool directory is an absolute path")
    return value


def _file(value: bytes) -> bytes:
    if not value or b"\0" in value:
        raise Usage("an empty file name")
    return value


def _seconds(value: bytes) -> float:
    """Seconds as a decimal number; 0 is no limit."""
    digits = value.replace(b".", b"", 1)
    if not digits.isdigit() or len(digits) > 9:
        raise Usage(f"{printable(value)}: a number of seconds, such as 60 or 1.5")
    return float(value) or FOREVER


def _number(value: bytes) -> int:
    if not value.isdigit() or not 0 < int(value) < 100000:
        raise Usage(f"{printable(value)}: a number from 1 on")
    return int(value)


def _on(value: bytes) -> tuple[Verdict, str, bytes]:
    name, _, words = value.partition(b"=")
    action, colon, directory = words.partition(b":")
    for verdict in VERDICTS:
        if name == verdict.name.encode():
            break
    else:
        names = ", ".join(verdict.name for verdict in VERDICTS)
        raise Usage(f"{printable(value)}: VERDICT=ACTION, where VERDICT is one of {names}")
    if printable(action) not in policy.ACTIONS:
        raise Usage(f"{printable(value)}: an action is one of {', '.join(policy.ACTIONS)}")
    if action != policy.QUARANTINE.encode():
        if colon:
            raise Usage(f"{printable(value)}: only quarantine has a directory")
    elif not directory.startswith(b"/"):
        raise Usage(f"{printable(value)}: write quarantine:/DIRECTORY")
    return verdict, printable(action), directory


def _status(value: bytes) -> int:
    if not value.isdigit() or len(value) > 3 or int(value) > 255:
        raise Usage(f"{printable(value)}: an exit status is a number from 0 to 255")
    return int(value)


def _words(value: bytes) -> tuple[bytes, ...]:
    if b"\0" in value:
        raise Usage("a NUL in -S")
    return tuple(value.split())


def _header(value: bytes) -> bytes:
    for byte in value:
        if not 0x20 <= byte < 0x7F:  # a header is ASCII (RFC 5322 2.2)
            raise Usage(f"{printable(value)}: a header text is one line of printable ASCII")
    if len(value) > 900:  # the line limit of RFC 5322 2.1.1 is 998 with name and time
        raise Usage("a header text has at most 900 bytes")
    return value


def _id(value: bytes) -> bytes:
    return printable(value, 100).encode()


def _one_of(*words: str) -> Callable[[bytes], str]:
    def read(value: bytes) -> str:
        word = printable(value)
        if word not in words:
            raise Usage(f"{word}: one of {', '.join(words)}")
        return word

    return read


def _host(value: bytes) -> bytes:
    if not value or not value.replace(b".", b"").replace(b"-", b"").replace(b":", b"").isalnum():
        raise Usage(f"{printable(value)}: a host name")
    return value


def _attribute(value: bytes) -> tuple[bytes, bytes]:
    name, equals, text = value.partition(b"=")
    if not equals or name.upper() not in XFORWARD:
        names = ", ".join(word.decode() for word in XFORWARD)
        raise Usage(f"{printable(value)}: NAME=VALUE, where NAME is one of {names}")
    return name.upper(), text


# What Postfix's XFORWARD_README names.
XFORWARD = (b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"IDENT", b"SOURCE")


def _envid(value: bytes) -> bytes:
    """Strangers choose it, so one that RFC 3461 4.4 does not allow is left out."""
    fits = len(value) <= 100 and all(0x20 <= byte < 0x7F for byte in value)
    return value if fits else b""


def _notify(value: bytes) -> bytes:
    words = value.upper().split(b",")
    if words != [b"NEVER"] and not all(
        word in (b"SUCCESS", b"FAILURE", b"DELAY") for word in words
    ):
        raise Usage(f"{printable(value)}: never, or some of success,failure,delay")
    return b",".join(words)


def _ret(value: bytes) -> bytes:
    if value.upper() not in (b"FULL", b"HDRS"):
        raise Usage(f"{printable(value)}: full or hdrs")
    return value.upper()


def _flag(value: bytes) -> bool:
    return True


class Option:
    """A row of OPTIONS.

    letter and name are its spellings, argument what follows it (empty: nothing),
    attribute the one of Settings that read's result becomes (empty: --help and
    --version, which are handled apart), sentence what --help says.  An option that
    is not many takes its last value.
    """

    __slots__ = ("argument", "attribute", "default", "letter", "many", "name", "read", "sentence")

    def __init__(
        self,
        letter: str,
        name: str,
        argument: str,
        attribute: str,
        read: Callable[[bytes], Any],
        default: Any,
        sentence: str,
        many: bool = False,
    ) -> None:
        self.letter = letter
        self.name = name
        self.argument = argument
        self.attribute = attribute
        self.read = read
        self.default = default
        self.sentence = sentence
        self.many = many


OPTIONS = (
    Option("f", "from", "ADDRESS", "sender", _sender, None,
           "Envelope sender; empty or <> for a bounce.  Required."),
    Option("s", "scanner", "TYPE[:WHERE]", "scanners", _scanner, (),
           "A scanner to ask.  May be given again: each must answer.  Required without -c.", True),
    Option("d", "spool", "DIR", "spool", _directory, None,
           "Directory for messages while they are checked.  Required without -c."),
    Option("t", "timeout", "SECONDS", "timeout", _seconds, FOREVER,
           "Time to wait for the scanners."),
    Option("", "deadline", "SECONDS", "deadline", _seconds, 900.0,
           "Time for the whole run, 900 unless given; 0: no limit."),
    Option("n", "no-inject", "", "no_inject", _flag, False,
           "Do not hand good mail back to the mail system."),
    Option("g", "ok-status", "N", "ok_status", _status, 0,
           "Exit with N for good mail."),
    Option("S", "sendmail", "WORDS", "program", _words, (),
           "Program, or host:port, that takes good mail; 127.0.0.1:smtp unless given.", True),
    Option("h", "header", "TEXT", "header", _header, b"",
           "Prepend X-AV-Checked: TIME TEXT to good mail."),
    Option("i", "infected", "PROGRAM", "infected", _file, b"",
           "Handler of infected mail; infected or infected.sh beside avcheck unless given."),
    Option("w", "waitfile", "FILE", "waitfile", _file, b"",
           "Hold every message back while FILE exists."),
    Option("c", "client", "", "client", _flag, False,
           "Only inject the message by -S, unchecked."),
    Option("", "backup", "TYPE[:WHERE]", "backups", _scanner, (),
           "A scanner to ask when too few of the others answer.  May be given again.", True),
    Option("", "need", "N", "need", _number, 0,
           "How many scanners must answer; all of -s unless given."),
    Option("", "on", "VERDICT=ACTION", "on", _on, (),
           "What to do with a message of that verdict.  May be given again.", True),
    Option("", "attempts", "N", "attempts", _number, 0,
           "Take a message for unscannable after N scans in vain; needs --queue-id."),
    Option("", "slots", "N", "slots", _number, 0,
           "At most N scans at a time on this host."),
    Option("", "canary", "SECONDS", "canary", _seconds, 0.0,
           "Test every so often that the scanners know the EICAR test virus."),
    Option("", "metrics", "FILE", "metrics", _file, b"",
           "Prometheus text file to keep up to date."),
    Option("", "config", "FILE", "config", _file, b"",
           "More options, one on a line, by their long names; the command line wins."),
    Option("", "scanner-ca", "FILE", "scanner_ca", _file, b"",
           "Verify scanners asked by TLS by the authorities in FILE, not of the system."),
    Option("", "scanner-cert", "FILE", "scanner_cert", _file, b"",
           "Certificate to show to scanners asked by TLS."),
    Option("", "scanner-key", "FILE", "scanner_key", _file, b"",
           "Key of that certificate, if it is not in the same file."),
    Option("", "tls", "never|may|require", "tls", _one_of("never", "may", "require"), "never",
           "Encrypt the SMTP connection of -S by STARTTLS."),
    Option("", "tls-ca", "FILE", "tls_ca", _file, b"",
           "Verify the server's certificate by the authorities in FILE, or of the system."),
    Option("", "tls-name", "HOST", "tls_name", _host, b"",
           "The server's name in its certificate, if not the host of -S."),
    Option("", "refused", "defer|bounce", "refused", _one_of("defer", "bounce"), "defer",
           "What becomes of a message that the SMTP server refuses for good."),
    Option("", "xforward", "NAME=VALUE", "xforward", _attribute, (),
           "Tell the SMTP server about the original client.  May be given again.", True),
    Option("", "envid", "ID", "envid", _envid, b"",
           "Envelope ID for delivery status notifications."),
    Option("", "ret", "full|hdrs", "ret", _ret, b"",
           "What a failure notification is to contain."),
    Option("", "notify", "never|WHEN,...", "notify", _notify, b"",
           "When to notify the sender: success, failure, delay."),
    Option("", "orcpt", "ADDRESS", "original", _address, (),
           "Original recipient.  Given once for each recipient, in their order.", True),
    Option("", "queue-id", "ID", "queue_id", _id, b"",
           "The mail system's name for the message, for the handler."),
    Option("v", "verbose", "", "verbose", _flag, False,
           "Show the steps, with times, on standard error."),
    Option("", "version", "", "", _flag, False,
           "Show the version."),
    Option("", "help", "", "", _flag, False,
           "Show this text."),
)  # fmt: skip

LETTERS = {option.letter.encode(): option for option in OPTIONS if option.letter}
NAMES = {option.name.encode(): option for option in OPTIONS}
SMTP = b"smtp"  # the port that -S host means; a service name, as in the original manual page


class Given:
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
        except Usage as why:
            raise self.wrong(why.text) from None

    def wrong(self, text: str) -> Usage:
        if self.origin:
            return Usage(f"{self.origin}: {self.option.name}: {text}")
        letter, name = self.option.letter, self.option.name
        return Usage(f"{'-' + letter if letter else '--' + name}: {text}")


def read(argv: list[bytes], load: Callable[[bytes], bytes]) -> Settings:
    """The settings that the arguments (without the command's name) mean.

    load gives the bytes of the file of --config.  Raises Usage where they mean nothing,
    Asked for --help and --version, and what load raises.
    """
    return settle(*split(argv), load)


def split(argv: list[bytes]) -> tuple[list[Given], list[bytes]]:
    """The options with their arguments as given, and the operands."""
    given: list[Given] = []
    rest = iter(argv)
    for word in rest:
        if word == b"--":
            break
        if word.startswith(b"--"):
            name, equals, value = word[2:].partition(b"=")
            option = NAMES.get(name)
            if option is None:
                raise Usage(f"no such option: {printable(b'--' + name)}")
            if option.argument:
                given.append(Given(option, value if equals else _next(rest, option)))
            elif equals:
                raise Usage(f"--{option.name} takes no argument")
            else:
                given.append(Given(option, b""))
        elif word.startswith(b"-") and len(word) > 1:
            at = 1
            while at < len(word):
                option = LETTERS.get(word[at : at + 1])
                at += 1
                if option is None:
                    raise Usage(f"no such option: -{printable(word[at - 1 : at])}")
                if option.argument:
                    given.append(Given(option, word[at:] or _next(rest, option)))
                    break
                given.append(Given(option, b""))
        else:
            return given, [word, *rest]
    return given, list(rest)


def _next(rest: Iterable[bytes], option: Option) -> bytes:
    for word in rest:
        return word
    raise Usage(f"--{option.name} needs an argument: {option.argument}")


def configured(data: bytes, file: str) -> list[Given]:
    """The options of a configuration file; raises Usage, with file and line."""
    given = []
    for number, line in enumerate(data.split(b"\n"), 1):
        name, _, argument = line.strip().replace(b"\t", b" ", 1).partition(b" ")
        if not name or name.startswith(b"#"):
            continue
        origin = f"{file}, line {number}"
        option = NAMES.get(name)
        if option is None or not option.attribute or option.attribute == "config":
            raise Usage(f"{origin}: no such option: {printable(name)}")
        argument = argument.strip()
        if argument and not option.argument:
            raise Usage(f"{origin}: {option.name} takes no argument")
        if option.argument and not argument:
            raise Usage(f"{origin}: {option.name} needs an argument: {option.argument}")
        given.append(Given(option, argument, origin))
    return given


def settle(given: list[Given], operands: list[bytes], load: Callable[[bytes], bytes]) -> Settings:
    """The checked settings of options and operands that are well-formed; as read()."""
    for option in OPTIONS:
        if not option.attribute and any(each.option is option for each in given):
            raise Asked(option.name)
    if any(each.option.attribute == "client" for each in given):
        # Every other option is ignored, so it cannot be wrong either.
        given = [each for each in given if each.option.attribute in CLIENT]
    values = _values(_with_configuration(given, load))

    settings = Settings()
    for attribute, value in values.items():
        setattr(settings, attribute, value)
    if settings.sender is None:
        raise Usage("-f is required: the envelope sender, empty for a bounce")
    if not operands:
        raise Usage("no recipient")
    settings.recipients = tuple([_recipient(operand) for operand in operands])
    words: list[bytes] = [word for words in values["program"] for word in words]
    settings.program, settings.server = _mailer(words)
    if settings.original and len(settings.original) != len(settings.recipients):
        raise Usage("--orcpt is given once for each recipient, or not at all")
    if settings.client:
        return settings
    if settings.spool is None:
        raise Usage("-d is required: the directory for messages while they are checked")
    if not settings.scanners:
        raise Usage("-s is required: the scanner to ask")
    chrooted = b"/./" in settings.spool
    settings.scanners = _scanners(values["scanners"], chrooted)
    settings.backups = _scanners(values["backups"], chrooted)
    settings.need = settings.need or len(settings.scanners)
    if settings.need > len(settings.scanners) + len(settings.backups):
        raise Usage(f"--need {settings.need}: there are not so many scanners")
    if settings.attempts and not any(each.option.attribute == "queue_id" for each in given):
        raise Usage("--attempts needs --queue-id")
    return settings


def _with_configuration(given: list[Given], load: Callable[[bytes], bytes]) -> list[Given]:
    """What was given, after what the file of --config says and the command line does not."""
    files = [each for each in given if each.option.attribute == "config"]
    if not files:
        return given
    file = files[-1].value()
    own = {each.option.attribute for each in given} - {"on"}
    more = [
        each for each in configured(load(file), printable(file)) if each.option.attribute not in own
    ]
    return more + given


def _values(given: list[Given]) -> dict[str, Any]:
    """The value of each attribute, its default where it was not given."""
    values: dict[str, Any] = {
        option.attribute: option.default for option in OPTIONS if option.attribute
    }
    on = {verdict: (action, b"") for verdict, action in policy.DEFAULT.items()}
    said: dict[tuple[Verdict, bool], tuple[str, bytes]] = {}
    for each in given:
        value = each.value()
        if each.option.attribute == "on":
            verdict, *action = value
            before = said.setdefault((verdict, bool(each.origin)), tuple(action))
            if before != tuple(action):
                raise each.wrong(f"two actions for {verdict.name}")
            on[verdict] = before
        elif each.option.many:
            values[each.option.attribute] = (*values[each.option.attribute], value)
        else:
            values[each.option.attribute] = value
    values["on"] = on
    return values


def _scanners(
    given: Iterable[tuple[str, Row, tuple[str, ...], bytes]], chrooted: bool
) -> tuple[Scanner, ...]:
    found = []
    for name, row, words, where in given:
        places = [_target(name, row, words, one, chrooted) for one in where.split(b",")]
        found.append(Scanner(name, row, tuple(places)))
    return tuple(found)


CLIENT = ("sender", "program", "client", "verbose")


def _mailer(words: list[bytes]) -> tuple[tuple[bytes, ...], Address]:
    if not words:
        words = [address.LOCALHOST]
    if words[0].startswith(b"/"):
        return tuple(words), address.parse(address.LOCALHOST, SMTP)
    if len(words) > 1:
        raise Usage(f"-S: {printable(b' '.join(words))}: a program's path begins with a slash")
    return (), address.parse(words[0], SMTP)
