"""The command line and the configuration file become settings, for every message.  Pure.

The grammar is getopt_long(3)'s, with nothing guessed: a long name is written out, and
the first operand ends the options, so that a recipient is never taken for one.
"""

from __future__ import annotations

from avcheck import address, policy
from avcheck.exits import HelpRequest, Usage
from avcheck.options import arguments
from avcheck.options.rows import AVCHECK, EVERY, IN_FILE, Command, GivenOption, Option
from avcheck.printable import printable
from avcheck.settings import Scanner, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from avcheck.address import Address
    from avcheck.verdict import Verdict


SMTP = b"smtp"  # the port that -S host means; a service name, as in the original manual page


def read(argv: list[bytes], load: Callable[[bytes], bytes], command: Command = AVCHECK) -> Settings:
    """The settings that the command line (without the command's name) means.

    load gives the bytes of the file of --config.  Raises Usage if it means nothing,
    HelpRequest for --help and --version, and what load raises.
    """
    return build_settings(*parse_options(argv, command), load, command)


def parse_options(
    argv: list[bytes], command: Command = AVCHECK
) -> tuple[list[GivenOption], list[bytes]]:
    """The options with their arguments, and the operands."""
    given: list[GivenOption] = []
    rest = iter(argv)
    for arg in rest:
        if arg == b"--":
            break
        if arg.startswith(b"--"):
            given.append(_long_option(arg, rest, command))
        elif arg.startswith(b"-") and len(arg) > 1:
            given += _short_options(arg, rest, command)
        else:
            return given, [arg, *rest]
    return given, list(rest)


def _long_option(arg: bytes, rest: Iterable[bytes], command: Command) -> GivenOption:
    """--name, --name=argument, or --name and the next argument of the command line."""
    name, equals, argument = arg[2:].partition(b"=")
    option = command.names.get(name)
    if option is None:
        raise _unknown(b"--" + name)
    if option.argument:
        return GivenOption(option, argument if equals else _next(rest, option))
    if equals:
        raise Usage(f"--{option.name} takes no argument")
    return GivenOption(option, b"")


def _short_options(arg: bytes, rest: Iterable[bytes], command: Command) -> list[GivenOption]:
    """-abc: a takes no argument, nor does b; if c does, it is what follows."""
    given: list[GivenOption] = []
    for at in range(1, len(arg)):
        option = command.letters.get(arg[at : at + 1])
        if option is None:
            raise _unknown(b"-" + arg[at : at + 1])
        if option.argument:
            argument = arg[at + 1 :] or _next(rest, option)
            return [*given, GivenOption(option, argument)]
        given.append(GivenOption(option, b""))
    return given


def _unknown(spelled: bytes) -> Usage:
    """What to say of an option that the command does not have; the other one may."""
    for option in EVERY:
        if spelled in (b"--" + option.name.encode(), b"-" + option.letter.encode()):
            return Usage(f"{printable(spelled)}: an option of {option.commands} only")
    return Usage(f"no such option: {printable(spelled)}")


def _next(rest: Iterable[bytes], option: Option) -> bytes:
    for arg in rest:
        return arg
    raise Usage(f"--{option.name} needs an argument: {option.argument}")


# A file is for many messages: it says neither whose this one is, nor to pass it unchecked.
NOT_IN_FILE = ("config", "client", "sender")


def parse_config(data: bytes, file: str, command: Command = AVCHECK) -> list[GivenOption]:
    """The options in a configuration file; raises Usage, with file and line.

    Those that only the other command knows are for that one.
    """
    given = []
    for number, line in enumerate(data.split(b"\n"), 1):
        name, argument = (*line.split(None, 1), b"", b"")[:2]
        if not name or name.startswith(b"#"):
            continue
        origin = f"{file}, line {number}"
        option = IN_FILE.get(name)
        if option is None or not option.attribute or option.attribute in NOT_IN_FILE:
            raise Usage(f"{origin}: no such option: {printable(name)}")
        argument = argument.strip()
        if argument and not option.argument:
            raise Usage(f"{origin}: {option.name} takes no argument")
        if option.argument and not argument:
            raise Usage(f"{origin}: {option.name} needs an argument: {option.argument}")
        if name in command.names:
            given.append(GivenOption(option, argument, origin))
    return given


def build_settings(
    given: list[GivenOption],
    operands: list[bytes],
    load: Callable[[bytes], bytes],
    command: Command = AVCHECK,
) -> Settings:
    """The settings that these options and operands mean, checked; raises what read() does."""
    for option in command.options:
        if not option.attribute and any(each.option is option for each in given):
            raise HelpRequest(option.name)
    if any(each.option.attribute == "client" for each in given):
        # Every other option is ignored, so its argument is not read either.
        given = [each for each in given if each.option.attribute in CLIENT]
    given = add_config(given, load, command)
    values = _values(given, command)

    settings = Settings()
    vars(settings).update(values)
    if command is AVCHECK:
        _set_envelope(settings, operands)
    elif operands:
        raise Usage(f"{printable(operands[0])}: recipients come from the SMTP dialogue")
    try:
        settings.program, settings.server = _next_hop(values["program"])
    except Usage as error:
        raise _last(given, "program").error(error.text) from None
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
        raise _last(given, "need").error(f"{settings.need}: there are not so many scanners")
    named = any(each.option.attribute == "queue_id" for each in given) or command is not AVCHECK
    if settings.attempts and not named:
        raise Usage("--attempts needs --queue-id")
    return settings


def _set_envelope(settings: Settings, operands: list[bytes]) -> None:
    if settings.sender is None:
        raise Usage("-f is required: the envelope sender, empty for a bounce")
    if not operands:
        raise Usage("no recipient")
    settings.recipients = tuple([arguments.recipient(operand) for operand in operands])
    if settings.original and len(settings.original) != len(settings.recipients):
        raise Usage("--orcpt is given once for each recipient, or not at all")


def add_config(
    given: list[GivenOption], load: Callable[[bytes], bytes], command: Command = AVCHECK
) -> list[GivenOption]:
    """These options, and before them those of the file of --config that they do not replace."""
    files = [each for each in given if each.option.attribute == "config"]
    if not files:
        return given
    file = files[-1].value()
    replaced = {each.option.attribute for each in given} - {"on"}
    more = parse_config(load(file), printable(file), command)
    return [each for each in more if each.option.attribute not in replaced] + given


def _values(given: list[GivenOption], command: Command) -> dict[str, Any]:
    """The value of each attribute, or its default."""
    values: dict[str, Any] = {each.attribute: each.default for each in EVERY if each.attribute}
    values.update(command.defaults)
    on = {verdict: (action, b"") for verdict, action in policy.DEFAULT.items()}
    # The command line may change what the file says, and neither may contradict itself.
    said: dict[tuple[Verdict, bool], tuple[str, bytes]] = {}
    for each in given:
        value = each.value()
        if each.option.attribute == "on":
            verdict, *action = value
            before = said.setdefault((verdict, bool(each.origin)), tuple(action))
            if before != tuple(action):
                raise each.error(f"two actions for {verdict.name}")
            on[verdict] = before
        elif each.option.many:
            values[each.option.attribute] = (*values[each.option.attribute], value)
        else:
            values[each.option.attribute] = value
    values["on"] = on
    return values


def _last(given: list[GivenOption], attribute: str) -> GivenOption:
    return [each for each in given if each.option.attribute == attribute][-1]


def _scanners(
    given: list[GivenOption], attribute: str, values: Mapping[str, Any], chrooted: bool
) -> tuple[Scanner, ...]:
    """The scanners of -s or --backup; what WHERE means depends on the spool directory, too."""
    found = []
    origins = [each for each in given if each.option.attribute == attribute]
    for origin, (name, row, ways, where) in zip(origins, values[attribute], strict=True):
        places = [where] if row.program else where.split(b",")
        try:
            targets = [arguments.target(name, row, ways, place, chrooted) for place in places]
            scanner = Scanner(name, row, tuple(targets))
            # A backup may never be asked, and then its module is never needed.
            if attribute == "scanners":
                arguments.check(scanner)
        except Usage as error:
            raise origin.error(error.text) from None
        found.append(scanner)
    return tuple(found)


# What -c does not ignore.
CLIENT = ("sender", "program", "client", "verbose", "tls", "tls_ca", "tls_name")


def _next_hop(given: Iterable[tuple[bytes, ...]]) -> tuple[tuple[bytes, ...], Address]:
    """The program of -S with its arguments, or none and the server that takes good mail."""
    argv = tuple([arg for args in given for arg in args]) or (address.LOCALHOST,)
    if argv[0].startswith(b"/"):
        return argv, address.parse(address.LOCALHOST, SMTP)
    if len(argv) > 1:
        raise Usage(f"{printable(b' '.join(argv))}: a program's path begins with a slash")
    return (), address.parse(argv[0], SMTP)
