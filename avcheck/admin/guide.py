"""The way from nothing to scanned mail, out of the pages of docs/, and whether it was gone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from avcheck.admin import exim, postfix
from avcheck.admin.master_cf import GUARD
from avcheck.admin.output import Trouble
from avcheck.admin.pages import (
    WIDTH,
    Block,
    blocks,
    document,
    numbered,
    parts,
    sections,
    title,
    wrapped,
)

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


def explained(section: str, files: Mapping[str, str], page: str = "") -> Iterator[str]:
    """A section: its text as comments, its configuration and commands as they are.

    Those of another page keep their numbers, too: the text of that page names them.
    """
    heading = f"# ==== {numbered(section)}{page and f' ({page}.md)'} "
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


def already(system: str, block: str, text: str) -> str:
    """Where the lines of a block are already; empty if they are not, or cannot be looked for."""
    if (system, block) == ("postfix", "master.cf"):
        return set_up(system)
    place = places(system).get(block, "").partition(":")[0]
    file = Path(place if place.startswith("/") else set_up(system) or "/nowhere")
    lines = [line.strip() for line in text.splitlines()]
    try:
        there = {line.strip() for line in file.read_text("utf-8", "replace").splitlines()}
    except OSError:
        return ""
    return str(file) if {line for line in lines if line[:1] not in ("", "#")} <= there else ""
