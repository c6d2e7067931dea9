"""The check of the net below the pipe: what Postfix would bounce by accident."""

from __future__ import annotations

import os
from collections.abc import Iterator

from avcheck.admin import postfix as postfixes
from avcheck.admin.calls import GUARD
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result
from avcheck.admin.output import Trouble
from avcheck.admin.postfix import Postfix
from avcheck.printable import printable

# What pipe(8) says of the two accidents.
ACCIDENTS = (
    '5.3.0 Command died with status 1: "/usr/local/libexec/avcheck-guard"',
    '5.3.0 Command time limit exceeded: "/usr/local/libexec/avcheck-guard"',
)

# Tables that are a text file, which postmap(1) can be asked about without any server.
TEXTS = ("regexp", "pcre")


def safety_net(look: Look) -> Iterator[Result]:
    """No mail is bounced or lost by a Python that cannot start, nor while avcheck is replaced."""
    pipe, postfix = look.service.pipe, look.postfix
    if pipe is None or postfix is None:
        return
    net = postfix.value("pipe_delivery_status_filter", pipe.line)
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
            f"argv={GUARD} {printable(pipe.program)} ...   # docs/postfix.md",
        )
    elif kept:
        yield Result(OK, "what Postfix would bounce by accident is kept")
    elif hole is None:
        yield Result(
            OK, "avcheck-guard keeps mail if Python cannot start (but not if it is killed)"
        )


def _hole(postfix: Postfix, net: str) -> Result | None:
    """What the net lets through, asked as Postfix would; None if it holds."""
    place = printable(net)
    for table in net.replace(",", " ").split():
        kind, _, path = table.partition(":")
        if kind not in TEXTS:
            text = f"pipe_delivery_status_filter {place}: only a text file can be asked about"
            return Result(SKIPPED, text, f"postmap -q '{ACCIDENTS[0]}' {printable(table)}")
        try:
            owner = os.stat(path).st_uid
        except OSError as why:
            text = f"pipe_delivery_status_filter {place}: {why.strerror}: it catches nothing"
            return Result(ERROR, text, _mend(path))
        if owner not in (0, os.geteuid()):
            text = f"pipe_delivery_status_filter {place}: its file is not root's"
            return Result(ERROR, text, f"chown root {printable(path)}")
    path = net.replace(",", " ").split()[-1].partition(":")[2]
    for accident in ACCIDENTS:
        try:
            answers = [
                answer
                for table in net.replace(",", " ").split()
                if (answer := postfixes.lookup(postfix.directory, table, accident))
            ]
        except Trouble as why:
            return Result(ERROR, f"pipe_delivery_status_filter {why.message}", _mend(path))
        if not answers or not answers[0].startswith("4"):
            what = accident.partition(":")[0]
            text = f"pipe_delivery_status_filter {place} does not catch {what!r}: mail bounces"
            return Result(ERROR, text, _mend(path))
    return None


def _mend(path: str) -> str:
    return f"avcheckctl setup postfix --file avcheck_dsn >>{printable(path)}"
