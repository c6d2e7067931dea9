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

from avcheck.admin import exim, output, postfix
from avcheck.admin.master_cf import GUARD
from avcheck.admin.output import Trouble
from avcheck.admin.pages import WIDTH, Block, blocks, document, parts, sections, title, wrapped

# Which blocks of a document are configuration, and where they go.
FILES = {
    "postfix": {
        "master.cf": "/etc/postfix/master.cf: add to its end",
        "main.cf": "/etc/postfix/main.cf: add",
        "avcheck_dsn": "/etc/postfix/avcheck_dsn: the whole file",
    },
    "sendmail": {
        "avcheck.mc": "/etc/mail/avcheck.mc: the whole file",
        "avcheck.mc-checks": "/etc/mail/avcheck.mc: before MAILER(`local'), or your own",
        "sendmail.mc": "/etc/mail/sendmail.mc: add, and switch off what the comment says",
        "sendmail-avcheck.service": "/etc/systemd/system/sendmail-avcheck.service: the whole file",
    },
    "exim": exim.OWN,
}

# Every mail system needs this too; it is told in the document of Postfix.
SHARED = {
    "accounts": "commands, for root",
    "clamd.conf": "/etc/clamav/clamd.conf: change or add",
    "clamd-socket.conf": "/etc/clamav/clamd.conf: change or add",
    "socket.conf": "/etc/systemd/system/clamav-daemon.socket.d/avcheck.conf: the whole file",
    "programs": "commands, for root",
}

# The sections that every mail system needs, and the one that a set-up ends with.
COMMON = ("Accounts and directories", "clamd", "avcheck itself")
LAST = "See that it works"

COMMANDS = "commands, for root"

# The block that whoever runs this has behind him.
DONE = "install"

# Where the configuration of the others is, to see whether avcheck is in it.
CONFIGURATION = {"exim": "/etc/exim4", "sendmail": "/etc/mail"}

# The names of the documents, which this machine may want to have otherwise.
USER = "avclient"
GROUP = "avgroup"
PROGRAMS = "/opt/avcheck/bin"
SHARE = "/opt/avcheck/share"
SPOOL = "/var/spool/avcheck"
SOCKET = "/run/clamav/clamd.ctl"
PORT = "10026"

CLAMD_CONF = (Path("/etc/clamav/clamd.conf"), Path("/etc/clamd.d/scan.conf"))


def adapted(text: str, names: Mapping[str, str]) -> str:
    """The text with each of the documented names replaced, all in one pass."""
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(pattern, lambda found: names[found[0]], text) if names else text


def files_here(system: str) -> dict[str, str]:
    """Which blocks are for the mail system of this machine, and where each of them goes."""
    return exim.files(exim.ETC) if system == "exim" else FILES[system]


def places(page: str) -> dict[str, str]:
    """What is to be done with the blocks of a page; nothing with those for other machines."""
    others = dict.fromkeys(exim.commands_elsewhere(exim.ETC), "") if page == "exim" else {}
    return {**SHARED, **files_here(page), **others}


def configuration(system: str, names: Mapping[str, str]) -> dict[str, str]:
    """Every block of configuration for a mail system, by its name, without the comments."""
    every = FILES[system] | files_here(system)
    return {
        name: adapted(text, names)
        for page, files in ((document("postfix"), SHARED), (document(system), every))
        for name, text in blocks(page).items()
        if name in files
    }


def steps(system: str) -> list[tuple[str, str]]:
    """The sections of a set-up, in order: the page each is on, and its text.

    What all mail systems need stands in the page of Postfix, and comes second elsewhere.
    """
    own = [("postfix" if system == "postfix" else system, each) for each in _to_the_end(system)]
    if system == "postfix":
        return own
    shared = [("postfix", each) for each in sections(document("postfix")) if title(each) in COMMON]
    return [*own[:1], *shared, *own[1:]]


def _to_the_end(system: str) -> list[str]:
    found = sections(document(system))
    names = [title(section) for section in found]
    return found[: names.index(LAST) + 1] if LAST in names else found


def where(block: Block, files: Mapping[str, str]) -> str:
    """What is to be done with a block; empty for one that only shows something."""
    if block.name == DONE:
        return ""
    return files.get(block.name, COMMANDS if block.kind == "sh" else "")


def explained(section: str, files: Mapping[str, str]) -> Iterator[str]:
    """A section: its words as comments, its configuration and commands as they are."""
    heading = f"# ==== {title(section)} "
    yield heading.ljust(WIDTH - 1, "=")
    yield "#"
    for part in parts(section):
        if isinstance(part, str):
            yield from wrapped(part, "# ")
        elif place := where(part, files):
            yield "#"
            yield f"# ---- {place}"
            yield ""
            yield from part.text.splitlines()
            yield ""
        else:
            yield "#"
            if part.name == DONE:
                yield "# (This is done: avcheckctl would not run otherwise.)"
            yield from (f"#     {line}".rstrip() for line in part.text.splitlines())
            yield "#"
    yield ""


def set_up(system: str) -> str:
    """Where avcheck is in the configuration of this machine already; empty if it is not."""
    if system == "postfix":
        try:
            names = [pipe.name for pipe in postfix.read().pipes]
        except Trouble:
            return ""  # no Postfix yet
        return f"master.cf, service {', '.join(names)}" if names else ""
    for file in sorted(Path(CONFIGURATION[system]).rglob("*")):
        try:
            if file.is_file() and GUARD in file.read_text(encoding="utf-8", errors="replace"):
                return str(file)
        except OSError:
            continue
    return ""


def programs_here() -> str:
    """The directory with the avcheck that belongs to this avcheckctl, or the documented one."""
    scripts = sysconfig.get_path("scripts")
    return scripts if Path(scripts, "avcheck-guard.sh").exists() else PROGRAMS


def share_here() -> str:
    """Where the manual pages are that came with this avcheckctl, or the documented place."""
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


@click.command("setup")
@click.argument("system", type=click.Choice(sorted(FILES)), metavar="postfix|sendmail|exim")
@click.option("--file", "block", metavar="BLOCK", help="Print this part alone, without comments.")
@output.json_option
@click.option("--spool", default=SPOOL, show_default=True, help="avcheck's spool directory.")
@click.option(
    "--clamd", "socket", metavar="SOCKET", help="clamd's socket.  [default: its clamd.conf]"
)
@click.option("--port", default=int(PORT), show_default=True, help="Where clean mail comes back.")
@click.option("--user", default=USER, show_default=True, help="The account that runs avcheck.")
@click.option("--group", default=GROUP, show_default=True, help="The group shared with clamd.")
def command(
    system: str,
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
    names = {
        USER: user,
        GROUP: group,
        PROGRAMS: programs_here(),
        SHARE: share_here(),
        SPOOL: spool,
        SOCKET: socket or socket_here(),
        PORT: str(port),
        exim.INTERFACES: exim.interfaces(str(port), exim.ETC),
    }
    if block is not None:
        found = configuration(system, names)
        if block not in found:
            raise click.BadParameter(f"{block}: one of {', '.join(found)}", param_hint="--file")
        if place := set_up(system):
            output.note(f"avcheckctl: avcheck is set up already ({place}): do not add it twice")
        click.echo(found[block], nl=False)
    elif as_json:
        output.as_json(_facts(system, names))
    else:
        _show(system, names)


def _show(system: str, names: Mapping[str, str]) -> None:
    click.echo(f"# avcheck with {system}, for this machine. Nothing was changed.")
    click.echo("# Lines with # are explanations; the others are to be typed, or put into a file.")
    click.echo(f"# The pages that are named in them are in {names[SHARE]}/doc/avcheck.")
    if place := set_up(system):
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
    for page, section in steps(system):
        for line in explained(adapted(section, names), places(page)):
            click.echo(line)


def _facts(system: str, names: Mapping[str, str]) -> dict[str, Any]:
    """The same for a program."""
    return {
        "system": system,
        "set_up": set_up(system),
        "missing": list(_missing(names)),
        "steps": [
            {
                "section": title(section),
                "name": part.name,
                "where": place,
                "text": adapted(part.text, names),
            }
            for page, section in steps(system)
            for part in parts(section)
            if isinstance(part, Block) and (place := where(part, places(page)))
        ],
    }
