"""The way from nothing to scanned mail, out of the pages of docs/, and whether it was gone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from avcheck.admin import exim, postfix
from avcheck.admin.calls import BY_SMTP, GUARD
from avcheck.admin.master_cf import Line
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


@dataclass(frozen=True)
class Way:
    """Another way through Postfix: the section of its page, and the blocks of that."""

    section: str
    files: Mapping[str, str]


PIPE = "pipe"
MASTER_CF = FILES["postfix"]["master.cf"]
OPTIONS_FILE = "/etc/avcheck/smtp.conf: the whole file"
WAYS = {
    "smtp": Way(
        "By SMTP, after the queue",
        {
            "smtp.conf": OPTIONS_FILE,
            "master-smtp": MASTER_CF,
            "main-smtp": FILES["postfix"]["main.cf"],
        },
    ),
    "before-queue": Way(
        "By SMTP, before the queue",
        {
            "before.conf": OPTIONS_FILE,
            "master-door": "/etc/postfix/master.cf: in place of its line smtp inet",
            "master-before": MASTER_CF,
        },
    ),
}

# The blocks that undo a way again.
UNDONE = ("undo-smtp", "remove-smtp", "remove-before")

# The program of a spawn(8) service of these ways.

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


def files_here(system: str, way: str = PIPE) -> Mapping[str, str]:
    """Which blocks are for the mail system of this machine, and where each of them goes."""
    if way != PIPE:
        return WAYS[way].files
    return exim.files(exim.ETC) if system == "exim" else FILES[system]


def places(page: str, way: str = PIPE) -> dict[str, str]:
    """What is to be done with the blocks of a page; nothing with those for other machines."""
    others = dict.fromkeys(exim.commands_elsewhere(exim.ETC), "") if page == "exim" else {}
    undone = dict.fromkeys(UNDONE, "")
    return {**SHARED, **files_here(page, way), **others, **undone}


def configuration(system: str, names: Mapping[str, str], way: str = PIPE) -> dict[str, str]:
    """Every block of configuration for a mail system, by its name, without the comments."""
    every = {**(FILES[system] if way == PIPE else {}), **files_here(system, way)}
    return {
        name: adapted(text, names)
        for page, files in ((document("postfix"), SHARED), (document(system), every))
        for name, text in blocks(page).items()
        if name in files
    }


def steps(system: str, way: str = PIPE) -> list[tuple[str, str]]:
    """The sections of a set-up, in order: the page each is on, and its text.

    What all mail systems need stands in the page of Postfix, and comes second elsewhere.
    """
    shared = [("postfix", each) for each in sections(document("postfix")) if title(each) in COMMON]
    if way != PIPE:
        every = sections(document(system))
        return [*shared, *((system, each) for each in every if title(each) == WAYS[way].section)]
    own = [("postfix" if system == "postfix" else system, each) for each in _to_the_end(system)]
    if system == "postfix":
        return own
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


def set_up(system: str, way: str = PIPE) -> str:
    """Where avcheck is in the configuration of this machine already; empty if it is not."""
    if system == "postfix":
        try:
            found = postfix.read()
        except Trouble:
            return ""  # no Postfix yet
        if way == PIPE:
            names = [pipe.name for pipe in found.pipes]
        else:
            names = [line.name for line in found.lines if _filters_by_smtp(line)]
        return f"master.cf, service {', '.join(names)}" if names else ""
    for file in sorted(Path(CONFIGURATION[system]).rglob("*")):
        try:
            if file.is_file() and GUARD in file.read_text(encoding="utf-8", errors="replace"):
                return str(file)
        except OSError:
            continue
    return ""


def _filters_by_smtp(line: Line) -> bool:
    """Whether it is a spawn(8) service that runs avcheck-smtp."""
    programs = [each.removeprefix("argv=") for each in line.arguments if each.startswith("argv=")]
    return line.command == "spawn" and BY_SMTP in map(os.path.basename, programs)


def already(system: str, block: str, text: str, way: str = PIPE) -> str:
    """Where the lines of a block are already; empty if they are not, or cannot be looked for."""
    place = places(system, way).get(block, "").partition(":")[0]
    if place == MASTER_CF.partition(":")[0]:
        return set_up(system, way)
    file = Path(place if place.startswith("/") else set_up(system) or "/nowhere")
    lines = [line.strip() for line in text.splitlines()]
    try:
        there = {line.strip() for line in file.read_text("utf-8", "replace").splitlines()}
    except OSError:
        return ""
    return str(file) if {line for line in lines if line[:1] not in ("", "#")} <= there else ""
