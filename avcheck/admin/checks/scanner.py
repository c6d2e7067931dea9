"""Checks of the scanners: are they there, are they trusted, whose are they?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from avcheck.admin import asking
from avcheck.admin.checks.clamd import BOOTED
from avcheck.admin.look import ERROR, OK, SKIPPED, WARNING, Look, Result, Skip
from avcheck.printable import printable
from avcheck.scanners import command_parameters
from avcheck.scanners.rows import PATH
from avcheck.settings import Scanner, Target

# Days after which signatures are a fault and no longer an oddity.
VERY_OLD = 30


def _answers(look: Look) -> list[asking.Answer]:
    look.accounts()
    return [look.ask(sign_of_life, scanner, target) for scanner, target in look.targets]


def sign_of_life(look: Look, scanner: Scanner, target: Target) -> asking.Answer:
    """A question: what the scanner says there to a ping."""
    return look.asked.answer(look.service, scanner, target)


def scanner_answers(look: Look) -> Iterator[Result]:
    """Each scanner answers at each of its places, to the account that runs avcheck."""
    for answer in _answers(look):
        name = f"{answer.scanner} {answer.where}"
        if answer.error:
            yield Result(ERROR, f"{answer.scanner}: {answer.error}", _how_to_start(answer))
        else:
            yield Result(OK, f"{name} answers after {answer.seconds * 1000:.1f} ms")


def _how_to_start(answer: asking.Answer) -> str:
    if answer.scanner == "clamd" and "Permission" not in answer.error:
        return "systemctl status clamav-daemon; grep Socket /etc/clamav/clamd.conf"
    return f"check the permissions: namei -l {answer.where}"


def scanner_proof(look: Look) -> Iterator[Result]:
    """A program says in words that a message is clean, and does not just end with 0."""
    for scanner, target in look.targets:
        if not scanner.row.program:
            continue
        name = f"{scanner.type} {printable(target.path)}"
        doubt = command_parameters.unproved(target, command_parameters.parameters_of(target))
        if doubt:
            yield Result(WARNING, f"{name}: {doubt}", "passed=WORDS: docs/scanners.md, Programs")
        else:
            yield Result(OK, f"{name} says in words that a message is clean")


def scanner_signatures(look: Look) -> Iterator[Result]:
    """Its signatures are of these days."""
    for answer in _answers(look):
        name = f"{answer.scanner} {answer.where}"
        if answer.age_days is None:
            if answer.scanner == "clamd" and not answer.error:
                text = f"{name}: says no date of its signatures; has freshclam fetched any?"
                yield Result(WARNING, text, "systemctl status clamav-freshclam; freshclam")
            continue
        text = f"{name}: signatures {answer.signatures} are {answer.age_days:.0f} days old"
        if answer.age_days > asking.OLD:
            level = ERROR if answer.age_days > VERY_OLD else WARNING
            yield Result(level, text, "systemctl status clamav-freshclam; freshclam")
        else:
            yield Result(OK, text)


def scanner_account(look: Look) -> Iterator[Result]:
    """Two accounts, and neither is root's: the SECURITY section of the original manual."""
    user, _ = look.service.runs_as
    for scanner, target in look.targets:
        peer = look.peer(target)
        if peer is None:
            yield from _nobody(scanner, target)
            continue
        who = f"{scanner.type} (process {peer.pid})"
        if peer.uid == 0:
            yield Result(
                WARNING,
                f"{who} runs as root: a fault in it is the whole machine's",
                "User clamav" if scanner.type == "clamd" else "uchroot -u avdaemon / ...",
            )
        elif peer.uid == user:
            yield Result(
                WARNING,
                f"{who} runs as {peer.user}, as avcheck does: it can change the mail",
                "give avcheck an account of its own: docs/security.md",
            )
        else:
            yield Result(OK, f"{who} runs as {peer.user}, which is not avcheck's account")


def _nobody(scanner: Scanner, target: Target) -> Iterator[Result]:
    """What there is to say of a process that was not found: nothing of one elsewhere."""
    if target.address and target.address.path:
        text = f"{scanner.type} {target.address}: no process is seen to listen there"
        yield Result(SKIPPED, text, "see scanner_answers")


def scanner_socket(look: Look) -> Iterator[Result]:
    """Not everybody on this host can talk to it, which includes: shut it down."""
    for scanner, target in look.targets:
        path = target.address.path if target.address else b""
        try:
            with look.acting():
                mode = os.stat(path).st_mode if path else 0
                directory = os.stat(os.path.dirname(path)).st_mode if path else 0
        except OSError as why:
            yield Result(SKIPPED, f"{printable(path)}: {why.strerror}", "see scanner_answers")
            continue
        if not path:
            continue
        where = printable(path)
        if stat.S_ISSOCK(mode) and mode & stat.S_IWOTH and directory & stat.S_IXOTH:
            text = f"{scanner.type} {where}: every account on this host can talk to it"
            yield Result(WARNING, text, _close(scanner, where))
        else:
            yield Result(OK, f"{scanner.type} {where}: not open to every account")


def _close(scanner: Scanner, where: str) -> str:
    """How to take the socket away from others; of clamd's it is systemd that may have made it."""
    if scanner.type != "clamd":
        return f"chgrp avgroup {where}; chmod 0660 {where}, or as its own configuration has it"
    remedy = "in clamd.conf: LocalSocketGroup avgroup, LocalSocketMode 660"
    if os.path.isdir(BOOTED):
        remedy += (
            "\nif systemd makes the socket: systemctl edit clamav-daemon.socket:"
            " [Socket] SocketGroup=avgroup SocketMode=0660"
        )
    return remedy


def scanner_chroot(look: Look) -> Iterator[Result]:
    """What -d says about the scanner's root directory is so."""
    chroot, dot, _ = look.settings.spool.partition(b"/./")
    for scanner, target in look.targets:
        peer = look.peer(target)
        if target.way != PATH:
            continue
        if peer is None:
            yield from _nobody(scanner, target)
            continue
        said = os.fsdecode(chroot) or "/" if dot else "/"
        with look.acting():
            real = os.path.realpath(said)
        if real != peer.root:
            wanted = "-d DIR" if peer.root == "/" else f"-d {printable(peer.root)}/./DIR"
            yield Result(
                ERROR,
                f"{scanner.type} has the root directory {printable(peer.root)},"
                f" and -d says {printable(said)}",
                wanted,
            )
        else:
            yield Result(OK, f"{scanner.type} has the root directory that -d says")


def scanner_group(look: Look) -> Iterator[Result]:
    """A scanner that opens files can get at them, by the group of the spool directory."""
    try:
        with look.acting():
            status = os.stat(look.settings.spool)
    except OSError as why:
        place = printable(look.settings.spool)
        raise Skip(f"spool {place}: {why.strerror}", "see spool_usable") from why
    for scanner, target in look.targets:
        peer = look.peer(target)
        if target.way != PATH or (peer is not None and peer.uid == 0):
            continue
        if peer is None:
            yield from _nobody(scanner, target)
            continue
        place = printable(look.settings.spool)
        if status.st_gid not in peer.groups:
            yield Result(
                ERROR,
                f"{scanner.type} opens files, and is not in the group of spool {place}",
                f"usermod --append --groups {_group_name(status.st_gid)} {peer.user}",
            )
        elif not status.st_mode & stat.S_IXGRP:
            text = f"{scanner.type} opens files, and its group cannot enter spool {place}"
            yield Result(ERROR, text, f"chmod g+x {place}")
        else:
            yield Result(OK, f"{scanner.type} can open files in spool {place}")


def _group_name(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
