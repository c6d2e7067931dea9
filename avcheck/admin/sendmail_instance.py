"""What two sendmails say of themselves: the front door, and the one behind it that delivers.

Everything comes from sendmail(8) in its test mode (`-bt`), but for some equates of a
mailer, and the rules.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from avcheck.admin import asking, places, programs, sendmail_options
from avcheck.admin.account import account
from avcheck.admin.output import Trouble
from avcheck.admin.postfix import PLACES
from avcheck.admin.sendmail_options import COMPLAINT, TRIED, Door, Equates, Mailer, mailer_of
from avcheck.admin.sendmail_rules import Rule, rules
from avcheck.printable import printable

USUAL = "/etc/mail/avcheck.cf"

# The configuration of the one behind, in the same directory.
BEHIND = "sendmail.cf"

OUTPUT_MAX = 16 * 1024 * 1024

# Whom mail is for when it is asked where it goes: this host, and elsewhere.
ADDRESSES = ("postmaster", "postmaster@example.net")

# What stands for no sender, and a sender that has to stay as it is.
SENDERS = ("MAILER-DAEMON", "anna@example.com")

DAEMON = "sendmail"

# Debian's account for it, whose directory /etc/mail is (confTRUSTED_USER).
TRUSTED = ("smmta",)


@dataclass(frozen=True)
class Half:
    """One of the two: its options and mailers, and where it sends mail.

    hops are mailer and host for each of ADDRESSES; complaints are what it says against its
    configuration; rules are those of its rulesets.
    """

    configuration: str
    options: Mapping[str, str]
    mailers: Mapping[str, Equates]
    doors: tuple[Door, ...]
    hops: tuple[tuple[str, str], ...]
    complaints: tuple[str, ...] = ()
    rules: Mapping[str, list[Rule]] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The file that the configuration is made of."""
        return self.configuration.removesuffix(".cf") + ".mc"

    def define(self, macro: str, value: str) -> str:
        """The line that sets the macro, and after its dnl where it belongs."""
        return f"define(`{macro}', `{value}')dnl {os.path.basename(self.source)}"

    @property
    def ports(self) -> set[str]:
        return {door.port for door in self.doors}


@dataclass(frozen=True)
class Sendmail:
    """The front door with the mailers that run avcheck; behind is None where it is not known.

    senders are what the senders of SENDERS become, by mailer.
    """

    front: Half
    calls: tuple[Mailer, ...]
    behind: Half | None = None
    senders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """The mailers that run avcheck."""
        return {call.name for call in self.calls}

    @property
    def size(self) -> int:
        """The largest message that is taken; 0: any."""
        text = self.front.options.get("MaxMessageSize", "0")
        return int(text) if text.isdigit() else 0


def read(configuration: str = "") -> Sendmail:
    """The front door with that configuration file, and what is behind it; raises Trouble."""
    if os.geteuid() != 0:
        raise Trouble("sendmail tells root only what all of its options are", places.AS_ROOT)
    path = configuration or USUAL
    front = _half(path)
    calls = tuple(
        call for name, each in front.mailers.items() if (call := mailer_of(name, each)) is not None
    )
    senders = {call.name: _senders(path, call.name) for call in calls}
    other = os.path.join(os.path.dirname(os.path.abspath(path)), BEHIND)
    behind = None
    if os.path.exists(other) and not os.path.samefile(other, path):
        behind = _half(other)
    return Sendmail(front, calls, behind, senders)


def _half(path: str) -> Half:
    files = [os.path.dirname(os.path.abspath(path)), path]
    remedy = f"name its file: --sendmail-cf={USUAL}"
    places.refuse_strangers(files, "sendmail", remedy, TRUSTED)
    text = ask(path, "=M", *(f"/parse {address}" for address in ADDRESSES))
    with open(path, encoding="utf-8", errors="replace") as file:
        configuration = file.read()
    untold = sendmail_options.untold(configuration)
    mailers = {
        name: each | untold.get(name, {}) for name, each in sendmail_options.mailers(text).items()
    }
    return Half(
        path,
        sendmail_options.options(text),
        mailers,
        sendmail_options.doors(text),
        tuple(sendmail_options.parsed(text)),
        tuple(found[1] for found in COMPLAINT.finditer(text)),
        rules(configuration),
    )


def _senders(path: str, mailer: str) -> tuple[str, ...]:
    """What the mailer makes of each of SENDERS."""
    words = [f"/try {mailer} {sender}" for sender in SENDERS]
    return tuple(found[1] for found in TRIED.finditer(ask(path, "/tryflags ES", *words)))


def ask(path: str, *commands: str) -> str:
    """What sendmail says in its test mode; raises Trouble if it fails."""
    program = shutil.which(DAEMON, path=PLACES)
    if program is None:
        raise Trouble(
            "sendmail: not found; is it installed here?",
            "without sendmail, give avcheck's options in place of --sendmail-cf",
        )
    argv = [program, "-C", path, "-d37.8", "-bt"]
    given = "".join(f"{command}\n" for command in commands)
    try:
        with account(0):
            done = programs.run(argv, asking.LIMIT, OUTPUT_MAX, given=given.encode())
    except OSError as why:
        remedy = "has this host a name with a dot in /etc/hosts?  sendmail waits a minute for one"
        raise Trouble(f"sendmail -C {printable(path)} -bt: {why.strerror}", remedy) from why
    said = os.fsdecode(done.out + done.err)
    if "ADDRESS TEST MODE" not in said:
        remedy = "is it sendmail itself?  avcheckctl setup sendmail"
        raise Trouble(f"sendmail -C {printable(path)} -bt: {printable(said, 300)}", remedy)
    return said
