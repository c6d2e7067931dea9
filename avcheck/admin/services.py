"""One avcheck, as a command line or a mail system runs it: its settings, and its account."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass

import click

from avcheck import exits
from avcheck.admin import places
from avcheck.admin.calls import Call
from avcheck.admin.master_cf import Pipe
from avcheck.admin.output import Trouble
from avcheck.exits import Defer, Leave
from avcheck.options import arguments, file, reading, rows
from avcheck.options.rows import GivenOption
from avcheck.printable import printable
from avcheck.settings import Settings

# What stands in for a setting that avcheck needs and the command does not, by attribute.
PLACEHOLDERS = {
    "sender": b"postmaster@localhost",
    "spool": b"/",
    "scanners": b"clamd",
    "queue_id": b"4AVCHECKCTL",
}


# Who is asked about at the next hop where the envelope comes by SMTP, as macros are else.
ENVELOPE = b"", (b"recipient@example.org",)


@dataclass(frozen=True)
class Service:
    """An avcheck: what it is called here, its settings, and how the mail system calls it.

    error is what avcheck says of its options if they mean nothing, and settings are None then.
    program is the path it is called by, empty where that is not known; attributes are
    those of its settings that were given, not placeholders or defaults.
    """

    name: str
    settings: Settings | None
    error: str = ""
    program: str = ""
    call: Call | None = None
    attributes: frozenset[str] = frozenset()

    @property
    def pipe(self) -> Pipe | None:
        """The service of master.cf that it is; None if it is another mail system's."""
        return self.call if isinstance(self.call, Pipe) else None

    @property
    def require_settings(self) -> Settings:
        """The settings; raises click.UsageError if they mean nothing."""
        if self.settings is None:
            raise click.UsageError(f"{self.name}: {self.error}")
        return self.settings

    @property
    def runs_as(self) -> tuple[int, int | None]:
        """User and group that it runs as: its user=, or else the owner of its spool directory.

        If that is not there, the owner of the nearest directory above it; without a spool
        directory, us.  The group is None for the user's own.  Raises Trouble if root is not
        to trust the directory: see places.
        """
        with contextlib.suppress(KeyError):  # there is no such account, as doctor says
            if self.call is not None:
                user, group = pwd.getpwnam(self.call.user), self.call.group
                with contextlib.suppress(KeyError):
                    return user.pw_uid, grp.getgrnam(group).gr_gid if group else user.pw_gid
                return user.pw_uid, user.pw_gid
        if os.geteuid() != 0 or not self.require_settings.spool:
            return os.geteuid(), None
        try:
            return places.owner(self.require_settings.spool), None
        except OSError as why:
            raise Trouble(
                f"spool {printable(self.require_settings.spool)}: {why.strerror}"
            ) from why


def of_call(call: Call) -> Service:
    """The avcheck that a mail system calls; its settings are None if it cannot run at all."""
    name, argv = printable(call.name), [os.fsencode(arg) for arg in call.expanded()]
    command = rows.Command(rows.SMTP) if call.by_smtp else rows.AVCHECK
    try:
        given = with_config(reading.parse_options(argv, command)[0], command)
        settings = reading.read(argv, load_config, command)
        check_backups(settings)
    except Leave as why:
        return Service(name, None, why.text, call.program, call)
    if call.by_smtp:
        settings.sender, settings.recipients = ENVELOPE
    return Service(name, settings, "", call.program, call, attributes_of(given))


def with_config(
    given: list[GivenOption], command: rows.Command = rows.AVCHECK
) -> list[GivenOption]:
    """The options, with those of the file of --config; raises Leave if it cannot be read."""
    # --config has been read then, and -c would leave nothing to look at.
    every = reading.add_config(given, load_config, command)
    return [each for each in every if each.option.attribute not in ("config", "client")]


def load_config(path: bytes) -> bytes:
    """The file of --config, read as the owner of its directory; raises Defer if that fails."""
    try:
        return places.read(path, file.SIZE_MAX)
    except OSError as why:
        remedy = places.as_root(why)
        text = f"--config {printable(path)}: {why.strerror}{remedy and f'; {remedy}'}"
        raise Defer(text, exits.CONFIG) from why
    except Trouble as why:
        raise Defer(f"--config {why.message}", exits.CONFIG) from why


def settings_from(given: Sequence[GivenOption], need: Sequence[str]) -> Settings:
    """The settings of these options; raises Leave if they mean nothing.

    need are the attributes that must be given; placeholders stand in for the others that
    avcheck would need.
    """
    attributes = attributes_of(given)
    for attribute in need:
        if attribute not in attributes:
            raise click.UsageError(f"{_spelled(attribute)} is needed, or --postfix")
    placeholders = [
        GivenOption(_option(attribute), argument)
        for attribute, argument in PLACEHOLDERS.items()
        if attribute not in attributes
    ]
    settings = reading.build_settings([*given, *placeholders], [b"postmaster"], load_config)
    check_backups(settings)
    if "scanners" not in attributes:
        settings.scanners = ()
    if "spool" not in attributes:
        settings.spool = b""
    return settings


def check_backups(settings: Settings) -> None:
    """Raise Usage for a backup that could not be asked: avcheck would find out in need only."""
    for scanner in settings.backups:
        arguments.check(scanner)


def attributes_of(given: Sequence[GivenOption]) -> frozenset[str]:
    return frozenset(each.option.attribute for each in given)


def _option(attribute: str) -> rows.Option:
    (option,) = [each for each in rows.OPTIONS if each.attribute == attribute]
    return option


def _spelled(attribute: str) -> str:
    option = _option(attribute)
    letter = f"-{option.letter} or " if option.letter else ""
    return f"{letter}--{option.name}"
