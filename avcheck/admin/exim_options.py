"""What `exim -bP` prints of a configuration, and of its transports those that run avcheck.

As Exim takes it apart; only the words of a command are split here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from avcheck.admin.calls import Call, runs_avcheck
from avcheck.admin.doors import is_here
from avcheck.admin.master_cf import port_number
from avcheck.admin.units import Socket

# The options of a section, or of a router or transport; one that is on or off has one of these.
Options = Mapping[str, str]
ON = "yes"
OFF = "no"

HEADING = re.compile(r"^(\S+) (?:router|transport):$")

# A word of a command: with escapes between double quotes, and without between single ones.
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|(\S+)')

# A word of a shell's command, or what ends the command.
SHELL_WORD = re.compile(r'"([^"]*)"|\'([^\']*)\'|([;&|\n])|([^\s"\';&|]+)')

SHELLS = ("/bin/sh", "/bin/dash", "/bin/bash", "/usr/bin/sh", "/usr/bin/dash", "/usr/bin/bash")

# What a word is called that the shell takes apart, or that vanishes if it is empty.
UNQUOTED = "unquoted "

# The variables with what a stranger has chosen.  Since 4.96 Exim puts none of them on a command
# line: it bounces the message.  Small letters: the shell's are not meant.
STRANGERS = re.compile(
    r"\$\{?(?:\w+:\$?\{?)?"
    r"(sender_(?:address\w*|helo_name|rcvhost|fullhost|host_name)|return_path"
    r"|(?:original_|parent_)?(?:local_part|domain)|[blr]?h(?:eader)?_[\w-]+:|reply_address"
    r"|message_(?:headers|body)\w*|authenticated_(?:id|sender))(?![\w-])"
)

# The shell of docs/exim.md: the sender comes from the environment.
SHELL = (
    "/bin/sh -c 'read -r _ _ _ above _ 2>/dev/null </proc/\\$PPID/stat;"
    ' export AVCHECK_CALLER="\\$PPID \\$above"; exec {} -f "\\$SENDER" "\\$@"\' avcheck'
)


@dataclass(frozen=True)
class Transport(Call):
    """A pipe transport that runs avcheck, with its options."""

    options: Options

    macro: ClassVar[re.Pattern[str]] = re.compile(r"\$\{?(\w+)\}?")
    values: ClassVar[Mapping[str, str]] = {
        "SENDER": "sender@example.org",
        "sender_address": "sender@example.org",
        "return_path": "sender@example.org",
        "local_part": "recipient",
        "domain": "example.org",
        "pipe_addresses": "recipient@example.org",
        "message_exim_id": "1AVCHK-CTL000-00",
        "message_id": "1AVCHK-CTL000-00",
    }
    sender: ClassVar[str] = "SENDER"
    recipient: ClassVar[str] = "pipe_addresses"
    spelling: ClassVar[str] = "${}"
    where: ClassVar[str] = "command of the transport"

    @property
    def corrected(self) -> str:
        """The command of docs/exim.md with the options of this one."""
        mine = [f'"{each}"' if " " in each else each for each in _without_addresses(self)]
        words = [SHELL.format(" ".join(self.words)), *mine, "--", self.spelled(self.recipient)]
        return self.line("command", " ".join(words))

    def line(self, option: str, value: str = ON) -> str:
        """The option as the transport is to have it, below a line that says where it goes."""
        setting = {ON: option, OFF: f"no_{option}"}.get(value, f"{option} = {value}".rstrip())
        return f"{self.name}:  # begin transports\n  {setting}"


@dataclass(frozen=True)
class SmtpTransport(Transport):
    """An smtp transport to avcheck-smtp; argv and account are those of what listens there.

    service is where that account is named.
    """

    service: str = ""

    macro: ClassVar[re.Pattern[str]] = re.compile(r"(?!)")
    values: ClassVar[Mapping[str, str]] = {}
    sender: ClassVar[str] = ""
    recipient: ClassVar[str] = ""
    spelling: ClassVar[str] = "{}"
    by_smtp: ClassVar[bool] = True
    where: ClassVar[str] = "ExecStart= of the unit, or the line of inetd"

    @property
    def port(self) -> str:
        """The port that it sends mail to."""
        return port_number(self.options.get("port", "smtp"))


def _without_addresses(call: Transport) -> Iterator[str]:
    """The options of avcheck, but for those with an address, or what else a stranger chooses."""
    words = list(call.arguments)
    end = words.index("--") if "--" in words else len(words)
    for number, word in enumerate(words[:end]):
        value = words[number + 1] if number + 1 < end else ""
        takes = word.startswith("-") and "=" not in word and not value.startswith("-")
        if not (_strange(call, word) or (takes and _strange(call, value))):
            yield word


def _strange(call: Transport, word: str) -> bool:
    return bool(call.macros(word) & {call.sender, call.recipient} or STRANGERS.search(word))


def options(text: str) -> dict[str, str]:
    """The options in lines such as `timeout = 10m`, `log_output` and `no_log_output`."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        name = name.strip()
        if equals:
            found[name] = value.strip()
        elif name:
            found[name.removeprefix("no_")] = OFF if name.startswith("no_") else ON
    return found


def blocks(text: str) -> dict[str, dict[str, str]]:
    """The options of each router, or transport, in the order of the configuration."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if heading := HEADING.match(line):
            lines = found.setdefault(heading[1], [])
        else:
            lines.append(line)
    return {name: options("\n".join(each)) for name, each in found.items()}


def transport_of(name: str, settings: Options) -> Transport | None:
    """The transport if it runs avcheck, else None."""
    if settings.get("driver") != "pipe":
        return None
    argv = words_of(settings.get("command", ""))
    if not runs_avcheck(argv):
        return None
    return Transport(name, argv, settings.get("user", ""), settings.get("group", ""), settings)


def smtp_transport_of(
    name: str, settings: Options, sockets: Iterable[Socket]
) -> SmtpTransport | None:
    """The transport if it sends mail to one of these sockets of this host, else None."""
    port = port_number(settings.get("port", "smtp"))
    if settings.get("driver") != "smtp" or not any(map(is_here, hosts_of(settings))):
        return None
    return next(
        (
            SmtpTransport(name, each.argv, each.user, each.group, settings, each.service)
            for each in sockets
            if each.port == port
        ),
        None,
    )


def hosts_of(settings: Options) -> list[str]:
    """The hosts that the transport sends mail to, whatever the router says of others."""
    return listed(settings.get("hosts", ""))


def listed(text: str) -> list[str]:
    """The items of one of Exim's lists, which may begin with its separator."""
    changed = re.match(r"\s*<(\S)", text)
    separator = changed[1] if changed else ":"
    body = text[changed.end() :] if changed else text
    items = body.replace(separator * 2, "\0").split(separator)  # two are one, in an item
    return [item for each in items if (item := each.replace("\0", separator).strip())]


def words_of(command: str) -> tuple[str, ...]:
    """The words of a command; those that a shell runs for it, where that is what it names."""
    words = [
        re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2] or found[3] or ""
        for found in WORD.finditer(command)
    ]
    if words[:1] and words[0] in SHELLS and words[1:2] == ["-c"] and len(words) > 2:
        script = re.sub(r"\\(.)", r"\1", words[2])  # a \$ is a $ that is not Exim's
        return tuple(_run_by_shell(script, words[4:]))
    return tuple(words)


def _run_by_shell(script: str, parameters: list[str]) -> Iterator[str]:
    """The words of the command in the script that is avcheck, with the parameters in it."""
    began = False
    for found in SHELL_WORD.finditer(script):
        quoted = found[4] is None
        word = next((each for each in found.groups() if each is not None), "")
        if not began and not runs_avcheck((word,)):
            continue
        if began and found[3]:
            return
        began = True
        if word in ("$@", "$*"):
            whole = quoted and word == "$@"
            yield from (
                each if whole or "$" not in each else UNQUOTED + each for each in parameters
            )
        else:
            yield word if quoted or "$" not in word else UNQUOTED + word
