"""What a Postfix instance says of itself: its pipe(8) services that run avcheck.

Everything comes from postconf(1); no file of Postfix is read or changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from avcheck.admin import places
from avcheck.admin.account import account
from avcheck.admin.output import Trouble
from avcheck.printable import printable

PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])

# Seconds for postconf(1), which reads two files.
PATIENCE = 60.0

# What master.cf may call: avcheck, or the guard, where it was put or where pip puts it.
NAME = "avcheck"
GUARD = "/usr/local/libexec/avcheck-guard"
GUARDS = (os.path.basename(GUARD), "avcheck-guard.sh")

# The macros of pipe(8), and what they may stand for; all others: nothing.
MACROS = {
    "sender": "sender@example.org",
    "recipient": "recipient@example.org",
    "original_recipient": "recipient@example.org",
    "queue_id": "4AVCHECKCTL",
    "size": "1000",
    "client_address": "192.0.2.1",
    "client_port": "25",
    "client_protocol": "ESMTP",
}
MACRO = re.compile(r"\$(?:\{(\w+)\}|\((\w+)\)|(\w+))")

WORD = re.compile(r"\{[^{}]*\}|\S+")


@dataclass(frozen=True)
class Line:
    """A service of master.cf: its eight fields, the -o options of a command, and the rest."""

    name: str
    type: str
    private: str
    unprivileged: str
    chroot: str
    wakeup: str
    limit: str
    command: str
    overrides: Mapping[str, str]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Pipe:
    """A pipe(8) service that runs avcheck.

    attributes are what stands before argv= (flags, user, null_sender, ...), argv the words
    after it as they stand in master.cf.
    """

    line: Line
    attributes: Mapping[str, str]
    argv: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.line.name

    @property
    def guard(self) -> str:
        """The path of the guard, empty if avcheck is called without one."""
        return self.argv[0] if os.path.basename(self.argv[0]) in GUARDS else ""

    @property
    def _named(self) -> bool:
        """Whether the first word of the guard says which avcheck it is to run."""
        return bool(self.guard) and self.argv[1:2] != () and self.argv[1].startswith("/")

    @property
    def program(self) -> str:
        """The path of avcheck, which without a word for it lies beside the guard."""
        if self._named:
            return self.argv[1]
        return os.path.join(os.path.dirname(self.guard), NAME) if self.guard else self.argv[0]

    @property
    def words(self) -> tuple[str, ...]:
        """The words that avcheck gets, as they stand in master.cf."""
        return self.argv[2 if self._named else 1 :]

    @property
    def user(self) -> str:
        return self.attributes.get("user", "").partition(":")[0]

    @property
    def group(self) -> str:
        return self.attributes.get("user", "").partition(":")[2]

    def expanded(self) -> list[str]:
        """The words of a call, with something in the place of each macro."""
        return [
            MACRO.sub(lambda found: MACROS.get(found[1] or found[2] or found[3], ""), word)
            for word in self.words
        ]


@dataclass(frozen=True)
class Postfix:
    """An instance: the services of master.cf and the parameters in force, expanded."""

    lines: tuple[Line, ...]
    parameters: Mapping[str, str]
    pipes: tuple[Pipe, ...] = field(default=())

    def value(self, name: str, line: Line | None = None, default: str = "") -> str:
        """A parameter as the service has it, with what it refers to filled in."""
        if line is not None and name in line.overrides:
            text = line.overrides[name]
        else:
            text = self.parameters.get(name, default)
        return MACRO.sub(
            lambda found: self.parameters.get(found[1] or found[2] or found[3], ""), text
        )


def read(directory: str = "") -> Postfix:
    """The instance with that configuration directory, or the usual one; raises Trouble."""
    listing = ask(directory, "-M")
    lines = tuple(parse_line(line) for line in unfolded(listing) if line.strip())
    parameters = dict(parse_parameter(line) for line in ask(directory, "-x").splitlines())
    pipes = tuple(pipe for line in lines if (pipe := parse_pipe(line)) is not None)
    return Postfix(lines, parameters, pipes)


def ask(directory: str, *words: str) -> str:
    """The output of postconf(1); raises Trouble if it fails."""
    program = shutil.which("postconf", path=PLACES)
    if program is None:
        raise Trouble(
            "postconf: not found; is Postfix installed here?",
            "without Postfix, give avcheck's options in place of --postfix",
        )
    try:
        # A directory of somebody else's has his files, and what he has linked there.
        with account(places.owner(os.fsencode(directory)) if directory else 0):
            done = subprocess.run(  # noqa: S603 - the words are ours
                [program, *(["-c", directory] if directory else []), *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="surrogateescape",
                check=False,
                timeout=PATIENCE,
            )
    except (OSError, subprocess.TimeoutExpired) as why:
        raise Trouble(f"postconf {' '.join(words)}: {why}") from why
    if done.returncode != 0:
        raise Trouble(
            f"postconf {' '.join(words)}: {printable(done.stderr)}",
            "name the directory with main.cf and master.cf: --postfix=/etc/postfix",
        )
    return done.stdout


def unfolded(text: str) -> list[str]:
    """Logical lines: one that begins with white space continues the one before it."""
    lines: list[str] = []
    for line in text.splitlines():
        if line[:1] in (" ", "\t") and lines:
            lines[-1] += line
        elif line.strip() and not line.startswith("#"):
            lines.append(line)
    return lines


def parse_parameter(line: str) -> tuple[str, str]:
    """Name and value of a line of main.cf."""
    name, _, value = line.partition("=")
    return name.strip(), value.strip()


def parse_line(line: str) -> Line:
    """A logical line of master.cf; raises Trouble if it is none."""
    words = [
        word[1:-1].strip() if word.startswith("{") and word.endswith("}") else word
        for word in WORD.findall(line)
    ]
    if len(words) < 8:
        raise Trouble(f"master.cf: not a service: {printable(line)}", "run: postfix check")
    overrides: dict[str, str] = {}
    rest = words[8:]
    while rest[:1] == ["-o"] and len(rest) > 1:
        name, value = parse_parameter(rest[1])
        overrides[name] = value
        rest = rest[2:]
    # A flag such as -v may stand between; what it is does not matter here.
    name, type_, private, unprivileged, chroot, wakeup, limit, command = words[:8]
    return Line(
        name,
        type_,
        private,
        unprivileged,
        chroot,
        wakeup,
        limit,
        command,
        overrides,
        tuple(rest),
    )


def parse_pipe(line: Line) -> Pipe | None:
    """The service as a pipe that runs avcheck, or None if it is none."""
    if line.command != "pipe":
        return None
    attributes: dict[str, str] = {}
    for number, word in enumerate(line.words):
        name, equals, value = word.partition("=")
        if name == "argv" and equals:
            argv = (value, *line.words[number + 1 :]) if value else line.words[number + 1 :]
            if argv and os.path.basename(argv[0]) in (NAME, *GUARDS):
                return Pipe(line, attributes, argv)
            return None
        attributes[name] = value
    return None
