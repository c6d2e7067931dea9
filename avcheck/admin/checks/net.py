"""The check of the net below the pipe: what Postfix would bounce by accident."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from avcheck.admin import postfix as postfixes
from avcheck.admin.calls import GUARD
from avcheck.admin.checks.running import USUAL
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result
from avcheck.admin.output import Trouble
from avcheck.admin.postfix import Postfix
from avcheck.printable import printable

# What pipe(8) says of the two accidents.
ACCIDENTS = (
    '5.3.0 Command died with status 1: "/usr/local/libexec/avcheck-guard"',
    '5.3.0 Command time limit exceeded: "/usr/local/libexec/avcheck-guard"',
)

# What it says of mail that waits, and of mail that is on its way, both of which are to stay so.
OTHERS = (
    "4.3.2 avcheck: held back while /var/spool/avcheck/wait exists",
    "4.4.1 avcheck: clamd /run/clamav/clamd.ctl: connect: No such file or directory",
    "2.0.0 delivered via avcheck service (clean: clamd 8ms)",
)

# Tables that are a text, which postmap(1) can be asked about without any server.
TEXTS = ("regexp", "pcre")

# A table in a parameter; one in braces may have blanks in it.
TABLE = re.compile(r"(?:[^\s,{}]|\{(?:[^{}]|\{[^{}]*\})*\})+")

NET = "pipe_delivery_status_filter"


def safety_net(look: Look) -> Iterator[Result]:
    """No mail is bounced or lost by a Python that cannot start, nor while avcheck is replaced."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    net = postfix.value(NET, pipe.line)
    soft = postfix.value("soft_bounce", pipe.line) == "yes"
    hole = _hole(postfix, net) if net and not soft else None
    kept = soft or (bool(net) and hole is None)
    if hole is not None:
        yield hole
    if not pipe.guard:
        yield Result(
            WARNING,
            "while avcheck is replaced, mail can be lost"
            + ("" if kept else ", and if Python cannot start, Postfix bounces it"),
            f"argv={GUARD} {printable(' '.join(pipe.argv), 2000)}",
        )
    elif kept:
        yield Result(OK, "what Postfix would bounce by accident is kept")
    elif hole is None:
        yield Result(
            OK, "avcheck-guard keeps mail if Python cannot start (but not if it is killed)"
        )


def answer(postfix: Postfix, value: str, text: str) -> str:
    """What the tables of the parameter make of the text; empty if they have nothing for it.

    Raises Trouble if one of them cannot be asked.
    """
    answers = (postfixes.lookup(postfix.directory, table, text) for table in TABLE.findall(value))
    return next(filter(None, answers), "")


def changed(postfix: Postfix, value: str, texts: tuple[str, ...]) -> str:
    """What the tables make of a text, where that changes what becomes of mail; else empty."""
    for text in texts:
        other = answer(postfix, value, text) or text
        if other[:1] != text[:1]:
            return f"{text[:40]!r} becomes {printable(other, 40)!r}"
    return ""


def opaque(value: str) -> str:
    """A table of the parameter that has no text to ask about; empty if there is none."""
    kinds = ((table, table.partition(":")[0]) for table in TABLE.findall(value))
    return next((table for table, kind in kinds if kind not in TEXTS), "")


def _hole(postfix: Postfix, net: str) -> Result | None:
    """What the net lets through, or catches that it should not; None if it holds."""
    named = f"{NET} {printable(net)}"
    if table := opaque(net):
        text = f"{named}: only a text file can be asked about"
        return Result(SKIPPED, text, f"postmap -q '{ACCIDENTS[0]}' {printable(table)}")
    for table in TABLE.findall(net):
        path = table.partition(":")[2]
        if path.startswith("{"):
            continue  # the table is here, whole
        try:
            owner = os.stat(path).st_uid
        except OSError as why:
            text = f"{named}: {why.strerror}: it catches nothing"
            return Result(ERROR, text, _mend(postfix, net))
        if owner not in (0, os.geteuid()):
            text = f"{named}: its file is not root's"
            return Result(ERROR, text, f"chown root {printable(path)}")
    try:
        for accident in ACCIDENTS:
            if not answer(postfix, net, accident).startswith("4"):
                what = accident.partition(":")[0]
                text = f"{named} does not catch {what!r}: mail bounces"
                return Result(ERROR, text, _mend(postfix, net))
        if other := changed(postfix, net, OTHERS):
            text = f"{named}: {other}: mail is lost, bounces, or comes again"
            return Result(ERROR, text, _mend(postfix, net, anew=True))
    except Trouble as why:
        return Result(ERROR, f"{NET} {why.message}", _mend(postfix, net))
    return None


def _mend(postfix: Postfix, net: str, anew: bool = False) -> str:
    """The commands that have the net catch what it is for; anew: and nothing else."""
    path = TABLE.findall(net)[-1].partition(":")[2]
    ours = "avcheckctl setup postfix --file avcheck_dsn"
    if path.startswith("{"):
        path = f"{postfix.directory or USUAL}/avcheck_dsn"
        option = f" -c {printable(postfix.directory)}" if postfix.directory else ""
        return f"{ours} >{printable(path)} && postconf{option} -e {NET}=regexp:{printable(path)}"
    path = printable(path)
    return f"cp -p {path} {path}.before && {ours} >{path}" if anew else f"{ours} >>{path}"
