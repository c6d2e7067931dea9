"""avcheckctl setup: the configuration of a mail system, for this machine, out of its document.

The lines live in one place, the code blocks of docs/NAME.md, which are installed with
avcheck.  The live tests send mail through the same lines.
"""

from __future__ import annotations

import grp
import pwd
import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

import click

from avcheck.admin.postfix import GUARD

# Which blocks of a document are configuration, and where they go.
FILES = {
    "postfix": {
        "master.cf": "/etc/postfix/master.cf: add to its end",
        "main.cf": "/etc/postfix/main.cf: add",
        "avcheck_dsn": "/etc/postfix/avcheck_dsn: the whole file",
    },
    "sendmail": {
        "avcheck.mc": "/etc/mail/avcheck.mc: the whole file",
        "sendmail.mc": "/etc/mail/sendmail.mc: in place of its DAEMON_OPTIONS",
        "sendmail-avcheck.service": "/etc/systemd/system/sendmail-avcheck.service: the whole file",
    },
    "exim": {
        "main": "the main section, before the first `begin`",
        "acl": "after `begin acl`",
        "router": "first after `begin routers`",
        "transport": "after `begin transports`",
    },
}

# Every mail system needs this too; it is told in the document of Postfix.
SHARED = {
    "accounts": "commands, for root",
    "clamd.conf": "/etc/clamav/clamd.conf: change or add",
    "programs": "commands, for root",
}

# The names of the documents, which this machine may want to have otherwise.
USER = "avclient"
GROUP = "avgroup"
PROGRAMS = "/opt/avcheck/bin"
SHARE = "/opt/avcheck/share"
SPOOL = "/var/spool/avcheck"
SOCKET = "/run/clamav/clamd.ctl"
PORT = "10026"

CLAMD_CONF = (Path("/etc/clamav/clamd.conf"), Path("/etc/clamd.d/scan.conf"))

# A fenced block with a name: ```text master.cf
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^(?=## )", re.MULTILINE)


def document(name: str) -> str:
    """The text of docs/NAME.md; raises FileNotFoundError if it was not installed."""
    beside = Path(__file__).parents[2] / "docs" / f"{name}.md"
    if beside.is_file():  # in a copy of the source
        return beside.read_text(encoding="utf-8")
    for file in metadata.files("avcheck") or ():
        if file.parts[-2:] == ("avcheck", f"{name}.md"):
            return Path(str(file.locate())).read_text(encoding="utf-8")
    raise FileNotFoundError(f"share/doc/avcheck/{name}.md was not installed with avcheck")


def blocks(text: str) -> dict[str, str]:
    """The named code blocks of a document."""
    return {found[1]: found[2] for found in BLOCK.finditer(text)}


def adapted(text: str, names: Mapping[str, str]) -> str:
    """The text with each of the documented names replaced, all in one pass."""
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(pattern, lambda found: names[found[0]], text) if names else text


def configuration(system: str, names: Mapping[str, str]) -> dict[str, str]:
    """Every block of configuration for a mail system, by its name, without the comments."""
    return {
        name: adapted(text, names)
        for page, files in ((document("postfix"), SHARED), (document(system), FILES[system]))
        for name, text in blocks(page).items()
        if name in files
    }


def explained(text: str, files: Mapping[str, str]) -> Iterator[str]:
    """The sections with one of these blocks: their words as comments, the blocks as they are."""
    for section in SECTION.split(text):
        if not any(name in files for name in blocks(section)):
            continue
        end = 0
        for found in BLOCK.finditer(section):
            if found[1] in files:
                yield from _comment(section[end : found.start()])
                yield f"# ---- {files[found[1]]} ----"
                yield ""
                yield from found[2].splitlines()
                yield ""
                end = found.end()
        yield from _comment(section[end:])
        yield ""


def _comment(text: str) -> Iterator[str]:
    lines = [line for line in text.strip("\n").splitlines() if not line.startswith("```")]
    return (f"# {line}".rstrip() for line in lines)


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
@click.option("--spool", default=SPOOL, show_default=True, help="avcheck's spool directory.")
@click.option(
    "--clamd", "socket", metavar="SOCKET", help="clamd's socket.  [default: its clamd.conf]"
)
@click.option("--port", default=int(PORT), show_default=True, help="Where clean mail comes back.")
@click.option("--user", default=USER, show_default=True, help="The account that runs avcheck.")
@click.option("--group", default=GROUP, show_default=True, help="The group shared with clamd.")
def command(
    system: str, block: str | None, spool: str, socket: str | None, port: int, user: str, group: str
) -> None:
    """Print the configuration of a mail system for this machine, with comments.

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
    }
    if block is not None:
        found = configuration(system, names)
        if block not in found:
            raise click.BadParameter(f"{block}: one of {', '.join(found)}", param_hint="--file")
        click.echo(found[block], nl=False)
        return
    click.echo(
        f"# avcheck with {system}: printed by avcheckctl setup {system}; nothing was changed."
    )
    for what in _missing(names):
        click.echo(f"# To do: {what}.")
    click.echo()
    for page, files in ((document("postfix"), SHARED), (document(system), FILES[system])):
        for line in explained(page, files):
            click.echo(adapted(line, names))
