"""What a Postfix instance says of itself: its pipe(8) services that run avcheck.

Everything comes from postconf(1) (Postfix 2.11 and later); no file of Postfix is read or
changed.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from avcheck.address import Address
from avcheck.admin import inetd, peer, places, programs
from avcheck.admin.account import account
from avcheck.admin.calls import BY_SMTP
from avcheck.admin.master_cf import Line, Pipe, pipe_of, port_number, services, setting
from avcheck.admin.output import Trouble
from avcheck.admin.units import Socket
from avcheck.printable import printable

# The parameters by which mail goes through a filter: after it was taken, and before that.
FILTER = "content_filter"
PROXY = "smtpd_proxy_filter"

# The lists of restrictions in the order in which they are asked, and one whose first item is a
# FILTER for everybody.
RESTRICTIONS = ("client", "helo", "sender", "recipient", "data", "end_of_data")
FIRST = re.compile(r"\s*check_\w+_access\s+static:\{\s*FILTER\s+([^\s{}]+)\s*\}", re.IGNORECASE)

PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])

# Seconds for postconf(1), which reads two files, and the bytes that it may write.
PATIENCE = 60.0
OUTPUT_MAX = 16 * 1024 * 1024

# What else a service may be said to listen on that is reached by a host of -S.
SAME = {
    "": ("localhost", "127.0.0.1", "::1"),
    "localhost": ("127.0.0.1", "::1"),
    "127.0.0.1": ("localhost",),
    "::1": ("localhost",),
}

# What to do where none is found.
DIRECTORY = "name the directory with main.cf and master.cf: --postfix=/etc/postfix"


@dataclass(frozen=True)
class Postfix:
    """An instance: the services of master.cf and the parameters in force, expanded.

    sockets are those of this host that avcheck-smtp is started by, and not by master(8).
    given are the parameters of main.cf as they stand there.
    """

    lines: tuple[Line, ...]
    parameters: Mapping[str, str]
    pipes: tuple[Pipe, ...] = field(default=())
    directory: str = ""
    sockets: tuple[Socket, ...] = ()
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """postfix(1) for this instance."""
        return f"postfix{f' -c {printable(self.directory)}' if self.directory else ''}"

    def value(self, name: str, line: Line | None = None, default: str = "") -> str:
        """A parameter as the service has it."""
        if line is not None and name in line.overrides:
            return line.overrides[name]
        return self.parameters.get(name, default)

    def number(self, name: str, line: Line | None = None, default: int = 0) -> int:
        """A parameter that is a number, such as a size in bytes; default if it is not one."""
        text = self.value(name, line)
        return int(text) if text.isascii() and text.isdigit() else default

    def processes(self, line: Line) -> int:
        """How many processes the service may have at a time; 0: any number."""
        if line.limit == "-":
            return self.number("default_process_limit", default=100)
        return int(line.limit) if line.limit.isdigit() else 0

    def looks_like_one(self) -> str:
        """Words on each pipe(8) or spawn(8) service that is meant to run avcheck, and does not."""
        said = ""
        filtered = self.value(FILTER).partition(":")[0]
        for line in self.lines:
            words = [printable(each, 80) for each in line.arguments if not each.startswith("-o")]
            called = [os.path.basename(each.removeprefix("argv=")) for each in words]
            meant = {"pipe": "avcheck", "spawn": "avcheck-smtp"}.get(line.command, "")
            near = meant and difflib.get_close_matches(meant, called, 1, 0.7)
            if meant and (line.name == filtered or near):
                argv = " ".join(words)
                shown = argv[argv.find("argv=") :][:120] if "argv=" in argv else "no argv="
                said += f"; {printable(line.name)} looks like it, with {shown}"
        return said

    def service(self, name: str) -> Line | None:
        return next((line for line in self.lines if line.name == name), None)

    def listener(self, address: Address) -> Line | None:
        """The inet service of this host at that address, as -S has it; the exact one first.

        A service without a host listens wherever inet_interfaces says.
        """
        if address.path or not peer.is_here(address):
            return None
        number = port_number(address.port.decode("ascii", "replace"))
        found = {line.host: line for line in reversed(self.lines) if line.port == number}
        wanted = address.host.decode("ascii", "replace").lower()
        hosts = [wanted, "", "0.0.0.0", "::", *SAME.get(wanted, ())]  # noqa: S104 - looked for
        return next((found[host] for host in hosts if host in found), None)

    def proxy(self, line: Line) -> str:
        """Where smtpd(8) hands mail to before it has taken it; empty if it does not."""
        return self.value(PROXY, line).strip() if line.command == "smtpd" else ""

    def filter(self, line: Line) -> str:
        """Where mail that comes in by that service is sent first, as content_filter has it.

        What smtpd(8) hands to a proxy it does not queue, and so has no filter.
        """
        takes = line.command in ("smtpd", "pickup", "qmqpd") and not self.proxy(line)
        named = self._for_everybody(line) if line.command == "smtpd" else ""
        return (named or self.value(FILTER, line).strip()) if takes else ""

    def _for_everybody(self, line: Line) -> str:
        """The FILTER that smtpd(8) names for whoever comes; empty if there is none.

        It takes the place of the content_filter, and the last one counts.
        """
        values = [self.value(f"smtpd_{each}_restrictions", line) for each in RESTRICTIONS]
        return next((found[1] for each in reversed(values) if (found := FIRST.match(each))), "")

    def filters(self, line: Line, pipe: Pipe) -> bool:
        """Whether mail that comes in by that service goes to the pipe by content_filter."""
        return self.filter(line).partition(":")[0].strip() == pipe.name


def read(directory: str = "") -> Postfix:
    """The instance with that configuration directory, or the usual one; raises Trouble."""
    if directory:
        files = [os.path.join(directory, name) for name in ("", "main.cf", "master.cf")]
        places.refuse_strangers(files, "Postfix", DIRECTORY)
    lines = services(ask(directory, "-F"), ask(directory, "-P", "-x"))
    parameters = dict(setting(line) for line in ask(directory, "-x").splitlines())
    pipes = tuple(pipe for line in lines if (pipe := pipe_of(line)) is not None)
    given = dict(setting(line) for line in ask(directory, "-n").splitlines())
    return Postfix(lines, parameters, pipes, directory, inetd.listeners(BY_SMTP), given)


def ask(directory: str, *options: str) -> str:
    """The output of postconf(1); raises Trouble if it fails."""
    done = _run(directory, "postconf", *options)
    if done.status != 0:
        raise Trouble(f"postconf {' '.join(options)}: {printable(done.err)}", DIRECTORY)
    return os.fsdecode(done.out)


def lookup(directory: str, table: str, key: str) -> str:
    """What is in the table for the key, by postmap(1); empty if there is nothing.

    The table is type:name as main.cf has it.  Raises Trouble if it cannot be read.
    """
    done = _run(directory, "postmap", "-q", key, table)
    # It warns of much that has nothing to do with the table, such as main.cf.
    errors = [line for line in done.err.splitlines() if b": warning: " not in line]
    if done.status and errors:
        raise Trouble(f"{printable(table)}: {printable(errors[-1], 300)}")
    return os.fsdecode(done.out).strip() if not done.status else ""


def _run(directory: str, command: str, *options: str) -> programs.Done:
    program = shutil.which(command, path=PLACES)
    if program is None:
        raise Trouble(
            f"{command}: not found; is Postfix installed here?",
            "without Postfix, give avcheck's options in place of --postfix",
        )
    argv = [program, *(["-c", directory] if directory else []), *options]
    try:
        # A directory of somebody else's has his files, and what he has linked there.
        with account(places.owner(os.fsencode(directory)) if directory else 0):
            return programs.run(argv, PATIENCE, OUTPUT_MAX)
    except OSError as why:
        raise Trouble(f"{command} {' '.join(options)}: {why.strerror}") from why
