"""The options of avcheck(1) as options of our commands, and the --postfix that finds them.

A whole command line of avcheck can be pasted: a command takes all of its options,
shows in its help those that matter to it, and ignores the others.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import click

from avcheck import scanners
from avcheck.admin import exim_instance, postfix, sendmail_instance, spawned
from avcheck.admin.output import Trouble
from avcheck.admin.services import Service, attributes_of, of_call, settings_from, with_config
from avcheck.exits import Leave
from avcheck.options import help, rows
from avcheck.options.rows import GivenOption
from avcheck.printable import printable

# Attributes of Settings that several commands need.
SCANNERS = ("scanners", "backups", "timeout", "scanner_ca", "scanner_cert", "scanner_key")
CONFIG = ("config",)


@dataclass(frozen=True)
class Site:
    """All that a command was told to look at.

    directory is that of Postfix's configuration, empty for the default one.
    """

    services: tuple[Service, ...]
    postfix: postfix.Postfix | None = None
    directory: str = ""
    exim: exim_instance.Exim | None = None
    sendmail: sendmail_instance.Sendmail | None = None


# The options that take avcheck's options from a mail system: what each names, and its help.
# (--sendmail is avcheck's own.)
SYSTEMS = {
    "postfix": ("DIR", "Take them from the services of Postfix that run avcheck."),
    "exim": ("FILE", "Take them from the transports of Exim that run avcheck."),
    "sendmail-cf": ("FILE", "Take them from the mailers of sendmail that run avcheck."),
}

# The help of options that mean something else to these commands than to avcheck, by attribute.
HELP = {
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
    "canary": "Show the results of --canary.",
    "attempts": "Show the counts of --attempts.",
}


def takes(
    *attributes: str,
    need: Sequence[str] = (),
    texts: Mapping[str, str] = MappingProxyType({}),
    systems: bool = False,
) -> Callable[..., Any]:
    """Give the command the options of avcheck, and its function the Site that they name.

    attributes are those of Settings that its help shows, need those that must be given;
    texts is the help of those that mean something else to this command than to others.
    systems tells that it takes the options of other mail systems than Postfix, too.
    """
    help_of = {**HELP, **texts}
    found_in = [name for name in SYSTEMS if systems or name == "postfix"]
    without = f"  Required without {' or '.join(f'--{name}' for name in found_in)}."

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(**values: Any) -> Any:
            return function(_site(values, need), **values)

        shown = (*attributes, *CONFIG)
        decorated = call
        for option in reversed(rows.OPTIONS):
            if option.attribute:
                spellings, declared = help.declaration(option)
                text = help_of.get(option.attribute, option.help)
                if option.attribute in need:
                    text += without
                declared |= {"help": text, "hidden": option.attribute not in shown}
                decorated = click.option(*spellings, **declared)(decorated)
        for name in reversed(found_in):
            metavar, text = SYSTEMS[name]
            decorated = click.option(
                f"--{name}",
                _key(name),
                is_flag=False,
                flag_value="",
                metavar=f"[{metavar}]",
                help=text,
            )(decorated)
        return decorated

    return decorate


def _site(values: dict[str, Any], need: Sequence[str]) -> Site:
    """The Site of a command line; takes its values out of those of click."""
    given = []
    for option in rows.OPTIONS:
        if option.attribute:
            value = values.pop(help.key(option))
            texts = value if option.argument else ("",) * value
            given += [GivenOption(option, os.fsencode(text)) for text in texts]
    named = {name: values.pop(_key(name), None) for name in SYSTEMS}
    site = _named({name: each for name, each in named.items() if each is not None}, given, need)
    for service in site.services:
        if service.settings is not None:
            for scanner in (*service.settings.scanners, *service.settings.backups):
                # Now, because later it may be done by an account that cannot read the file.
                with contextlib.suppress(Exception):  # asking it will say so
                    scanners.load(scanner.row)
    return site


def _key(name: str) -> str:
    """What click calls the option of a mail system."""
    return f"in_{name.replace('-', '_')}"


def _named(named: Mapping[str, str], given: list[GivenOption], need: Sequence[str]) -> Site:
    if not named:
        return Site((_command_line(given, need),))
    name, *others = named
    if others:
        raise click.UsageError(f"--{name} and --{others[0]}: one at a time")
    if given:
        text = f"--{name} takes avcheck's options from the configuration: give none here"
        raise click.UsageError(text)
    read = {"postfix": _of_postfix, "exim": _of_exim, "sendmail-cf": _of_sendmail}[name]
    return read(named[name])


def _of_exim(file: str) -> Site:
    instance = exim_instance.read(file)
    if not instance.calls:
        raise Trouble(
            f"no transport of Exim runs avcheck, or avcheck-smtp{SCRIPT}", "avcheckctl setup exim"
        )
    return Site(tuple(map(of_call, instance.calls)), exim=instance)


def _of_sendmail(file: str) -> Site:
    instance = sendmail_instance.read(file)
    if not instance.calls:
        place = printable(instance.front.configuration)
        text = f"no mailer of {place} runs avcheck{SCRIPT}"
        raise Trouble(text, "avcheckctl setup sendmail")
    return Site(tuple(map(of_call, instance.calls)), sendmail=instance)


# What to do where a script stands between.
SCRIPT = " (if a script of yours runs it, give avcheck's options in place of this one)"


def _of_postfix(directory: str) -> Site:
    instance = postfix.read(directory)
    services = spawned.avchecks(instance)
    if not services:
        raise Trouble(
            f"no service in master.cf runs avcheck{instance.looks_like_one()}",
            "avcheckctl setup postfix prints one; if systemd or a script of yours runs avcheck,"
            " give its options in place of --postfix, such as --config /etc/avcheck/smtp.conf",
        )
    return Site(services, instance, directory)


def _command_line(given: list[GivenOption], need: Sequence[str]) -> Service:
    try:
        given = with_config(given)
        settings = settings_from(given, need)
    except Leave as why:
        raise click.UsageError(why.text) from None
    return Service("the command line", settings, attributes=attributes_of(given))


def unique(values: Sequence[Any]) -> list[Any]:
    """The values without duplicates, in order."""
    return list(dict.fromkeys(values))


def clamd_conf_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option --clamd-conf of a command."""
    return click.option(
        "--clamd-conf",
        metavar="FILE",
        type=click.Path(readable=False),
        default="",
        help="clamd's configuration file.",
    )(function)
