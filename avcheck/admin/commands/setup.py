"""avcheckctl setup: the way from nothing to scanned mail, for this machine, out of a document.

The lines live in one place, the code blocks of docs/NAME.md, which are installed with
avcheck.  The live tests send mail through the same lines.
"""

from __future__ import annotations

import grp
import pwd
import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from avcheck.admin import exim, output, packaged
from avcheck.admin.calls import DOCUMENTED, GUARD
from avcheck.admin.checks.clamd import BOOTED
from avcheck.admin.guide import (
    FILES,
    PIPE,
    SHARED,
    WAYS,
    adapted,
    already,
    configuration,
    explained,
    places,
    set_up,
    steps,
    where,
)
from avcheck.admin.pages import Block, parts, title

# The names of the documents, which this machine may want to have otherwise.
USER = "avclient"
GROUP = "avgroup"
PROGRAMS = "/opt/avcheck/bin"
SHARE = "/opt/avcheck/share"
SPOOL = "/var/spool/avcheck"
SOCKET = "/run/clamav/clamd.ctl"
PORT = "10026"

# What may be put in their place: names as useradd(8) takes them, and paths that neither
# master.cf nor a shell takes apart.
ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?")
PATH = re.compile(r"/[A-Za-z0-9_./:@%+,=-]*")

CLAMD_CONF = (Path("/etc/clamav/clamd.conf"), Path("/etc/clamd.d/scan.conf"))


def programs_here() -> str:
    """The directory with the avcheck that belongs to this avcheckctl, or the documented one."""
    if packaged.is_packaged():
        return packaged.PROGRAMS
    scripts = sysconfig.get_path("scripts")
    return scripts if Path(scripts, "avcheck-guard.sh").exists() else PROGRAMS


def share_here() -> str:
    """Where the manual pages are that came with this avcheckctl, or the documented place."""
    if packaged.is_packaged():
        return packaged.SHARE
    share = f"{sysconfig.get_path('data')}/share"
    return share if Path(share, "man/man1/avcheck.1").exists() else SHARE


def socket_here(configurations: Iterable[Path] = CLAMD_CONF) -> str:
    """The socket that this machine's clamd listens on, or the documented one."""
    for file in configurations:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found = re.search(r"^\s*LocalSocket\s+(\S+)", text, re.MULTILINE)
        if found:
            return found[1]
    return SOCKET


def _missing(names: Mapping[str, str]) -> Iterator[str]:
    """What has to be made before the configuration works."""
    for what, database in ((USER, pwd.getpwnam), (GROUP, grp.getgrnam)):
        try:
            database(names[what])
        except KeyError:
            yield f"{names[what]}: no such account or group yet"
    for path in (names[SPOOL], names[SOCKET], f"{names[PROGRAMS]}/avcheck-guard.sh", GUARD):
        try:
            Path(path).lstat()
        except OSError as why:
            yield f"{path}: {why.strerror}"


def _account(context: click.Context, parameter: click.Parameter, name: str) -> str:
    """The name; raises click.BadParameter for one that useradd(8) would not take."""
    if not ACCOUNT.fullmatch(name):
        raise click.BadParameter(f"{name!r} is no name of an account or group")
    return name


def _path(context: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    """The path; raises click.BadParameter for one that master.cf and a shell would take apart."""
    if path is not None and not PATH.fullmatch(path):
        raise click.BadParameter(f"{path!r} is no absolute path without blanks and quotes")
    return path


def _blocks() -> str:
    """The names of --file, for its help."""
    every = {**FILES, "exim": {**exim.OWN, **exim.SPLIT}}
    ways = {f"postfix --way {name}": way.files for name, way in WAYS.items()}
    own = "; ".join(f"{name}: {', '.join(files)}" for name, files in sorted((every | ways).items()))
    return f"all: {', '.join(SHARED)}; {own}"


@click.command("setup")
@click.argument("system", type=click.Choice(sorted(FILES)), metavar="postfix|sendmail|exim")
@click.option(
    "--way",
    type=click.Choice([PIPE, *WAYS]),
    default=PIPE,
    show_default=True,
    help="Of Postfix: by pipe(8), or by SMTP after the queue or before it.",
)
@click.option(
    "--file",
    "block",
    metavar="BLOCK",
    help=f"Print this part alone, without comments ({_blocks()}).",
)
@output.json_option
@click.option(
    "--spool", default=SPOOL, show_default=True, callback=_path, help="avcheck's spool directory."
)
@click.option(
    "--clamd",
    "socket",
    metavar="SOCKET",
    callback=_path,
    help="clamd's socket.  [default: its clamd.conf]",
)
@click.option("--port", default=int(PORT), show_default=True, help="Where clean mail comes back.")
@click.option(
    "--user",
    default=USER,
    show_default=True,
    callback=_account,
    help="The account that runs avcheck.",
)
@click.option(
    "--group",
    default=GROUP,
    show_default=True,
    callback=_account,
    help="The group shared with clamd.",
)
def command(
    system: str,
    way: str,
    block: str | None,
    as_json: bool,
    spool: str,
    socket: str | None,
    port: int,
    user: str,
    group: str,
) -> None:
    """Print how a mail system is set up on this machine, with comments.

    Nothing is changed.  The lines are those of docs/SYSTEM.md, with the directory of this
    avcheck and the socket of this machine's clamd in them.
    """
    if way != PIPE and system != "postfix":
        raise click.UsageError(f"--way is for postfix; {system} has one way.")
    names = {
        USER: user,
        GROUP: group,
        PROGRAMS: programs_here(),
        SHARE: share_here(),
        DOCUMENTED: GUARD,
        SPOOL: spool,
        SOCKET: socket or socket_here(),
        PORT: str(port),
        exim.INTERFACES: exim.interfaces(str(port), exim.ETC),
    }
    if block is not None:
        found = configuration(system, names, way)
        if block not in found:
            known = ", ".join(map(repr, found))
            raise click.BadParameter(f"{block!r} is not one of {known}.", param_hint="--file")
        if place := already(system, block, found[block], way):
            output.note(f"avcheckctl: already there: {place}; printed all the same")
        click.echo(found[block], nl=False)
    elif as_json:
        output.as_json(_facts(system, names, way))
    else:
        _show(system, names, way)


def _show(system: str, names: Mapping[str, str], way: str) -> None:
    click.echo(f"# avcheck with {system}, for this machine. Nothing was changed.")
    click.echo("# Lines with # are explanations; the others are to be typed, or put into a file.")
    click.echo("# Pages that are named, and sections that are not here, are in:")
    click.echo(f"#     {names[SHARE]}/doc/avcheck")
    if not Path(BOOTED).is_dir():
        click.echo("# Without systemd, `systemctl VERB NAME` is: service NAME VERB")
    if place := set_up(system, way):
        click.echo("#")
        click.echo(f"# IT IS SET UP ALREADY: {place}.")
        click.echo("# Do not add these lines again. `avcheckctl doctor` looks at what is there.")
    missing = list(_missing(names))
    if missing:
        click.echo("#")
        click.echo("# Not there yet:")
    for what in missing:
        click.echo(f"#   {what}")
    click.echo()
    for page, section in steps(system, way):
        other = page if page != system else ""
        for line in explained(adapted(section, names), places(page, way), other):
            click.echo(line)


def _facts(system: str, names: Mapping[str, str], way: str) -> dict[str, Any]:
    """The same for a program."""
    return {
        "system": system,
        "set_up": set_up(system, way),
        "missing": list(_missing(names)),
        "steps": [
            {
                "section": title(section),
                "name": part.name,
                "where": place,
                "text": adapted(part.text, names),
            }
            for page, section in steps(system, way)
            for part in parts(section)
            if isinstance(part, Block) and (place := where(part, places(page, way)))
        ],
    }
