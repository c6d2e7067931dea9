"""The command line and the configuration file become settings, for every message.  Pure.

The grammar is getopt_long's without its two guesses: a long name is written
out, and the first operand ends the options, so that a recipient can never be
taken for one.
"""

from __future__ import annotations

from avcheck import address, policy
from avcheck.exits import TEMPFAIL, Leave, Usage
from avcheck.options import arguments
from avcheck.options.rows import LETTERS, NAMES, OPTIONS, Option
from avcheck.printable import printable
from avcheck.settings import Scanner, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from avcheck.address import Address
    from avcheck.verdict import Verdict


class Asked(Leave):
    """--help or --version was given, alone or with other options."""

    status = TEMPFAIL

    def __init__(self, what: str) -> None:
        super().__init__(f"--{what} is for a person at a terminal")
        self.what = what


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


# What says which message it is, or what is to be done at all.
NOT_IN_FILE = ("config", "client", "sender")


def configured(data: bytes, file: str) -> list[Given]:
    """The options of a configuration file; raises Usage, with file and line."""
    given = []
    for number, line in enumerate(data.split(b"\n"), 1):
        name, argument = (*line.split(None, 1), b"", b"")[:2]
        if not name or name.startswith(b"#"):
            continue
        origin = f"{file}, line {number}"
        option = NAMES.get(name)
        if option is None or not option.attribute or option.attribute in NOT_IN_FILE:
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
    given = _with_configuration(given, load)
    values = _values(given)

    settings = Settings()
    for attribute, value in values.items():
        setattr(settings, attribute, value)
    if settings.sender is None:
        raise Usage("-f is required: the envelope sender, empty for a bounce")
    if not operands:
        raise Usage("no recipient")
    settings.recipients = tuple([arguments.recipient(operand) for operand in operands])
    words: list[bytes] = [word for words in values["program"] for word in words]
    try:
        settings.program, settings.server = _mailer(words)
    except Usage as why:
        raise _last(given, "program").wrong(why.text) from None
    if settings.original and len(settings.original) != len(settings.recipients):
        raise Usage("--orcpt is given once for each recipient, or not at all")
    if settings.client:
        return settings
    if settings.spool is None:
        raise Usage("-d is required: the directory for messages while they are checked")
    if not settings.scanners:
        raise Usage("-s is required: the scanner to ask")
    chrooted = b"/./" in settings.spool
    settings.scanners = _scanners(given, "scanners", values, chrooted)
    settings.backups = _scanners(given, "backups", values, chrooted)
    settings.need = settings.need or len(settings.scanners)
    if settings.need > len(settings.scanners) + len(settings.backups):
        raise _last(given, "need").wrong(f"{settings.need}: there are not so many scanners")
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


def _last(given: list[Given], attribute: str) -> Given:
    return [each for each in given if each.option.attribute == attribute][-1]


def _scanners(
    given: list[Given], attribute: str, values: Mapping[str, Any], chrooted: bool
) -> tuple[Scanner, ...]:
    """What these options name; what a WHERE means depends on the spool directory, too."""
    found = []
    origins = [each for each in given if each.option.attribute == attribute]
    for origin, (name, row, words, where) in zip(origins, values[attribute], strict=True):
        wheres = [where] if row.program else where.split(b",")
        try:
            places = [arguments.target(name, row, words, one, chrooted) for one in wheres]
            scanner = Scanner(name, row, tuple(places))
            # A backup may never be asked, and then its module is never needed.
            if attribute == "scanners":
                arguments.check(scanner)
        except Usage as why:
            raise origin.wrong(why.text) from None
        found.append(scanner)
    return tuple(found)


# What -c does not ignore.
CLIENT = ("sender", "program", "client", "verbose", "tls", "tls_ca", "tls_name")


def _mailer(words: list[bytes]) -> tuple[tuple[bytes, ...], Address]:
    if not words:
        words = [address.LOCALHOST]
    if words[0].startswith(b"/"):
        return tuple(words), address.parse(address.LOCALHOST, SMTP)
    if len(words) > 1:
        raise Usage(f"{printable(b' '.join(words))}: a program's path begins with a slash")
    return (), address.parse(words[0], SMTP)
