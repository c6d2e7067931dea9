"""The options of avcheck(1) as options of our commands, and the --postfix that finds them.

A whole command line of avcheck can be pasted: a command takes all of its options,
shows in its help those that matter to it, and makes up what it does not need.
"""

from __future__ import annotations

import contextlib
import functools
import grp
import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import click

from avcheck import exits, scanners
from avcheck.admin import places, postfix
from avcheck.admin.output import Trouble
from avcheck.exits import Defer, Leave
from avcheck.options import arguments, file, help, reading, rows
from avcheck.options.reading import Given
from avcheck.printable import printable
from avcheck.settings import Settings

# Attributes of Settings, of which a command may need some.
SCANNERS = ("scanners", "backups", "timeout", "scanner_ca", "scanner_cert", "scanner_key")
CONFIG = ("config",)

# What is made up where it is not needed, by attribute.
MADE_UP = {
    "sender": b"postmaster@localhost",
    "spool": b"/",
    "scanners": b"clamd",
    "queue_id": b"4AVCHECKCTL",
}


@dataclass(frozen=True)
class Service:
    """An avcheck: what it is called here, its settings, and how the mail system calls it.

    wrong is what avcheck has to say about its options, and settings are None then.
    program is the path it is called by, empty where that is not known; attributes are
    those of its settings that were given, and not made up or a default.
    """

    name: str
    settings: Settings | None
    wrong: str = ""
    program: str = ""
    pipe: postfix.Pipe | None = None
    attributes: frozenset[str] = frozenset()

    @property
    def require_settings(self) -> Settings:
        """The settings; raises click.UsageError if they mean nothing."""
        if self.settings is None:
            raise click.UsageError(f"{self.name}: {self.wrong}")
        return self.settings

    @property
    def runs_as(self) -> tuple[int, int | None]:
        """User and group that it runs as: by its user=, or the owner of its spool directory.

        Or of the nearest directory above, where it is not there.  The group is None for the
        user's own; without a spool directory it is us.  Raises Trouble if root is not to
        trust that directory: see places.
        """
        with contextlib.suppress(KeyError):  # no such account: doctor says so
            if self.pipe is not None:
                user = pwd.getpwnam(self.pipe.user)
                group = self.pipe.group
                return user.pw_uid, grp.getgrnam(group).gr_gid if group else user.pw_gid
        if os.geteuid() != 0 or not self.require_settings.spool:
            return os.geteuid(), None
        try:
            return places.owner(self.require_settings.spool), None
        except OSError as why:
            raise Trouble(
                f"spool {printable(self.require_settings.spool)}: {why.strerror}"
            ) from why


@dataclass(frozen=True)
class Site:
    """All that a command was told to look at.

    directory is that of Postfix's configuration; empty for the usual one.
    """

    services: tuple[Service, ...]
    postfix: postfix.Postfix | None = None
    directory: str = ""


# What options mean to these commands, by attribute, where that is not what they mean to avcheck.
WORDS = {
    "scanners": "A scanner to ask.  May be given again.",
    "backups": "A scanner that is asked when too few of the others answer.  May be given again.",
    "spool": "Directory for messages while they are checked.",
    "metrics": "Prometheus text file that avcheck keeps up to date.",
    "waitfile": "Every message is held back while FILE exists.",
    "infected": "Handler of infected mail; without it, it is not known here which it is.",
    "on": "What is done with a message of that verdict.  May be given again.",
    "deadline": "Time for a whole run of avcheck, 900 unless given; 0: no limit.",
    "timeout": "Time to wait for the scanners, as avcheck does.",
    "slots": "At most N scans at a time on this host.",
    "canary": "The known-answer test of avcheck, whose results are looked at.",
    "attempts": "The poison brake of avcheck, whose counts are looked at.",
}


def takes(
    *attributes: str, need: Sequence[str] = (), words: Mapping[str, str] = MappingProxyType({})
) -> Callable[..., Any]:
    """Give the command the options of avcheck, and its function the Site that they name.

    attributes are those of Settings that its help shows, need those that must be given;
    words say what some of them mean to this command.
    """
    meant = {**WORDS, **words}

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(**values: Any) -> Any:
            return function(_site(values, need), **values)

        shown = (*attributes, *CONFIG)
        for option in reversed(rows.OPTIONS):
            if option.attribute:
                parameter = help.parameter(option)
                parameter.hidden = option.attribute not in shown
                parameter.help = _sentence(option, meant, need)
                _remember(call, parameter)
        return click.option(
            "--postfix",
            "postfix_directory",
            is_flag=False,
            flag_value="",
            metavar="[DIR]",
            help="Take them from the services of Postfix that run avcheck.",
        )(call)

    return decorate


def _sentence(option: rows.Option, meant: Mapping[str, str], need: Sequence[str]) -> str:
    words = meant.get(option.attribute, option.help)
    return f"{words}  Required without --postfix." if option.attribute in need else words


def _remember(function: Callable[..., Any], parameter: click.Option) -> None:
    # What click's own decorators do.
    function.__dict__.setdefault("__click_params__", []).append(parameter)


def _site(values: dict[str, Any], need: Sequence[str]) -> Site:
    """The Site of a command line; takes its values out of those of click."""
    given = []
    for option in rows.OPTIONS:
        if option.attribute:
            value = values.pop(help.key(option))
            words = value if option.argument else ("",) * value
            given += [Given(option, os.fsencode(word)) for word in words]
    site = _named(values.pop("postfix_directory"), given, need)
    for service in site.services:
        if service.settings is not None:
            for scanner in (*service.settings.scanners, *service.settings.backups):
                # Now, because later it may be done by an account that cannot read the file.
                with contextlib.suppress(ImportError):  # asking it will say so
                    scanners.load(scanner.row)
    return site


def _named(directory: str | None, given: list[Given], need: Sequence[str]) -> Site:
    if directory is None:
        return Site((_command_line(given, need),))
    if given:
        raise click.UsageError("--postfix takes avcheck's options from master.cf: give none here")
    instance = postfix.read(directory)
    if not instance.pipes:
        raise Trouble("no service in master.cf runs avcheck", "avcheckctl setup postfix prints one")
    return Site(tuple(of_pipe(pipe) for pipe in instance.pipes), instance, directory)


def _command_line(given: list[Given], need: Sequence[str]) -> Service:
    try:
        known = with_configuration(given)
        attributes = frozenset(each.option.attribute for each in known)
        return Service("the command line", settle(known, need), attributes=attributes)
    except Leave as why:
        raise click.UsageError(why.text) from None


def of_pipe(pipe: postfix.Pipe) -> Service:
    """The avcheck of a service of Postfix; its settings are None if it cannot run at all."""
    words = [os.fsencode(word) for word in pipe.expanded()]
    try:
        known = with_configuration(reading.split(words)[0])
        attributes = frozenset(each.option.attribute for each in known)
        settings = reading.read(words, load)
        check_backups(settings)
    except Leave as why:
        return Service(printable(pipe.name), None, why.text, pipe.program, pipe)
    return Service(printable(pipe.name), settings, "", pipe.program, pipe, attributes)


def load(path: bytes) -> bytes:
    """The file of --config, read as the owner of its directory; raises Defer if that fails."""
    try:
        return places.read(path, file.SIZE_MAX)
    except OSError as why:
        remedy = places.as_root(why)
        text = f"--config {printable(path)}: {why.strerror}{remedy and f'; {remedy}'}"
        raise Defer(text, exits.CONFIG) from why
    except Trouble as why:
        raise Defer(f"--config {why.message}", exits.CONFIG) from why


def with_configuration(given: Sequence[Given]) -> list[Given]:
    """The options, with those of the file of --config; raises Leave where it cannot be read."""
    known = list(given)
    for each in given:
        if each.option.attribute == "config":
            file = each.value()
            own = {every.option.attribute for every in given} - {"on"}
            more = reading.configured(load(file), os.fsdecode(file))
            known = [line for line in more if line.option.attribute not in own] + known
    return [each for each in known if each.option.attribute not in ("config", "client")]


def settle(given: Sequence[Given], need: Sequence[str]) -> Settings:
    """The settings of these options; raises Leave where they mean nothing.

    What avcheck needs and the command does not is made up.
    """
    known = list(given)
    attributes = {each.option.attribute for each in known}
    for attribute in need:
        if attribute not in attributes:
            raise click.UsageError(f"{_spelled(attribute)} is needed, or --postfix")
    by_attribute = {option.attribute: option for option in rows.OPTIONS}
    for attribute, value in MADE_UP.items():
        if attribute not in attributes:
            known.append(Given(by_attribute[attribute], value))
    settings = reading.settle(known, [b"postmaster"], load)
    check_backups(settings)
    if "scanners" not in attributes:
        settings.scanners = ()
    if "spool" not in attributes:
        settings.spool = b""
    return settings


def check_backups(settings: Settings) -> None:
    """Raise Usage for a backup that could not be asked: avcheck finds out when it has to."""
    for scanner in settings.backups:
        arguments.check(scanner)


def _spelled(attribute: str) -> str:
    for option in rows.OPTIONS:
        if option.attribute == attribute:
            letter = f"-{option.letter} or " if option.letter else ""
            return f"{letter}--{option.name}"
    raise KeyError(attribute)


def unique(values: Sequence[Any]) -> list[Any]:
    """The values without duplicates, in order."""
    seen: Mapping[Any, None] = dict.fromkeys(values)
    return list(seen)
